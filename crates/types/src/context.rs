use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Who asks, for whom, and in which story: the three keys, and the two ids of causality (spec 2 §7, spec 4 §2).
///
/// It goes with the work that a request, a fold, a job or a command causes, without anyone passing it by hand (`plimsoll_bus::context`),
/// and ends up in whatever is published, recorded or logged on the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    /// The request, as the caller or the gateway named it.
    pub request_id: Uuid,
    /// For whom; `None` for an operation of the platform itself.
    pub tenant_id: Option<Uuid>,
    /// Which of the tenant's users; `None` for an operation of the platform itself.
    pub user_id: Option<Uuid>,
    /// Who acts, for people and for the audit: `user:<uuid>`, `key:<id>`, `fold:views`, `cli:<user of the system>`.
    pub actor: String,
    /// The story: the same for everything that one request set off.
    pub correlation_id: String,
    /// The event that directly caused what happens now; `None` at the story's beginning.
    pub causation_id: Option<String>,
}

impl Context {
    /// The beginning of a story, which is named after its request; nobody's until a tenant and a user are known.
    #[must_use]
    pub fn new(request_id: Uuid, actor: impl Into<String>) -> Self {
        Self {
            request_id,
            tenant_id: None,
            user_id: None,
            actor: actor.into(),
            correlation_id: request_id.to_string(),
            causation_id: None,
        }
    }

    /// The same story, for this tenant, and for this user of it.
    #[must_use]
    pub fn on_behalf_of(mut self, tenant_id: Uuid, user_id: Option<Uuid>) -> Self {
        self.tenant_id = Some(tenant_id);
        self.user_id = user_id;
        self
    }

    /// The same story, a step on: what happens now is the effect of the event `event_id`.
    #[must_use]
    pub fn caused_by(mut self, event_id: impl Into<String>) -> Self {
        self.causation_id = Some(event_id.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_story_keeps_its_name_from_step_to_step() {
        let (request_id, tenant_id) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let first = Context::new(request_id, "fold:views").on_behalf_of(tenant_id, None);
        let second = first.clone().caused_by("event-1");
        assert_eq!(
            (&*second.correlation_id, second.causation_id.as_deref()),
            (&*request_id.to_string(), Some("event-1"))
        );
        assert_eq!(Context { causation_id: None, ..second }, first);
    }
}
