//! Which of the three keys a write must have, and what a reader may see.

use plimsoll_types::Context;
use uuid::Uuid;

use crate::context;

/// The keys that a write demands beside `request_id`, which all do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keys {
    /// A tenant and one of its users.
    #[default]
    User,
    /// A tenant: nobody in particular asked for it, as when a fold writes what the chain said of a tenant's contract.
    Tenant,
    /// Neither: the platform's own operation.
    Platform,
}

/// A write that lacks a key that it demands. Nothing was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a write to {table} lacks {key}: run it within bus::context::scope, or give it the context itself; if it has no such key by its nature, say so with Keys"
)]
pub struct MissingKeys {
    /// Where it would have gone.
    pub table: &'static str,
    /// The first key that is missing.
    pub key: &'static str,
}

/// What a reader may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sight {
    /// What belongs to these tenants.
    Tenants(Vec<Uuid>),
    /// What belongs to any tenant, and the platform's own: for the platform's operators and outboxes.
    Everything,
}

impl Sight {
    /// Whether something of `tenant_id` may be seen.
    #[must_use]
    pub fn includes(&self, tenant_id: Option<Uuid>) -> bool {
        match self {
            Self::Tenants(tenants) => tenant_id.is_some_and(|tenant_id| tenants.contains(&tenant_id)),
            Self::Everything => true,
        }
    }

    /// The tenants, for a statement that takes NULL for all.
    pub(crate) fn tenants(&self) -> Option<&[Uuid]> {
        match self {
            Self::Tenants(tenants) => Some(tenants),
            Self::Everything => None,
        }
    }
}

impl Keys {
    /// The context of a write: the one that was given, else that of the task.
    pub(crate) fn resolve(self, given: Option<Context>, table: &'static str) -> Result<Context, MissingKeys> {
        let missing = |key| {
            metrics::counter!("missing_keys_total", "table" => table, "key" => key).increment(1);
            tracing::error!(table, key, "a write without its keys was refused");
            MissingKeys { table, key }
        };
        let context = given.or_else(context::current).ok_or_else(|| missing("request_id"))?;
        if self != Self::Platform && context.tenant_id.is_none() {
            return Err(missing("tenant_id"));
        }
        if self == Self::User && context.user_id.is_none() {
            return Err(missing("user_id"));
        }
        // A user is some tenant's.
        if context.user_id.is_some() && context.tenant_id.is_none() {
            return Err(missing("tenant_id"));
        }
        Ok(context)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use metrics::{
        Counter, CounterFn, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    };

    use super::*;

    /// Notes each count with its labels.
    #[derive(Clone, Default)]
    struct Counts(Arc<Mutex<Vec<String>>>);

    struct Noted(String, Counts);

    impl CounterFn for Noted {
        fn increment(&self, by: u64) {
            self.1.0.lock().unwrap().push(format!("{} {by}", self.0));
        }

        fn absolute(&self, _value: u64) {}
    }

    impl Recorder for Counts {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            let labels: Vec<String> =
                key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
            Counter::from_arc(Arc::new(Noted(
                format!("{}{{{}}}", key.name(), labels.join(",")),
                self.clone(),
            )))
        }

        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::noop()
        }

        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::noop()
        }
    }

    #[test]
    fn a_missing_key_is_named_and_counted() {
        let (request, tenant, user) = (Uuid::from_u128(1), Uuid::from_u128(2), Uuid::from_u128(3));
        let nobody = Context::new(request, "test");
        let nobodys_user = Context { user_id: Some(user), ..nobody.clone() };
        let of_tenant = nobody.clone().on_behalf_of(tenant, None);
        let of_user = nobody.clone().on_behalf_of(tenant, Some(user));
        let counts = Counts::default();
        metrics::with_local_recorder(&counts, || {
            for (keys, context, missing) in [
                (Keys::Platform, None, Some("request_id")),
                (Keys::Platform, Some(&nobody), None),
                (Keys::Platform, Some(&nobodys_user), Some("tenant_id")),
                (Keys::Tenant, Some(&nobody), Some("tenant_id")),
                (Keys::Tenant, Some(&of_tenant), None),
                (Keys::User, Some(&of_tenant), Some("user_id")),
                (Keys::User, Some(&of_user), None),
            ] {
                let resolved = keys.resolve(context.cloned(), "events");
                assert_eq!(resolved.as_ref().err().map(|error| error.key), missing, "{keys:?} {context:?}");
            }
        });
        let counted = |key| format!("missing_keys_total{{table=events,key={key}}} 1");
        assert_eq!(
            *counts.0.lock().unwrap(),
            ["request_id", "tenant_id", "tenant_id", "user_id"].map(counted)
        );
    }
}
