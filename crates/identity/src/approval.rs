//! Two-person approval: for one exact action, by one other person, for one use.
//!
//! What is approved is a digest of the permission, the tenant and the whole body of the action. Who acts gives the body again, and any other
//! digest is another action: nobody can have "repair these two rows" approved and repair three. The body is stored beside it, so that the
//! approver sees what is approved.
//!
//! ```text
//! requester: Guard::request ──▶ open ──▶ approver: decide ──▶ approved ──▶ requester: Guard::check, in the action's own transaction ──▶ used
//!                                 └────── expires ─────────┴── rejected
//! ```
//!
//! That nobody approves their own request, and that it is a person who approves, is said three times: here, by a CHECK, and by a foreign key
//! that carries the approver's kind. Run these on a transaction of the app role that is confined to the tenant.

use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use serde_json::Value;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::permission::Permission;
use crate::principal::{Denied, Principal, UserKind, stored_enum};
use crate::repo::approvals as repo;
use crate::secret;

/// How long a request waits for a decision and its use, at most.
pub const MAX_TERM: Duration = Duration::from_secs(7 * 24 * 3600);
/// The longest body, as text.
const MAX_BODY_BYTES: usize = 64 * 1024;
const MAX_REASON_CHARS: usize = 2_000;
const DIGEST_DOMAIN: &[u8] = b"plimsoll approval v1\0";

/// What another person said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It may be done, once.
    Approved,
    /// It may not.
    Rejected,
}

stored_enum!(Decision { Approved = "approved", Rejected = "rejected", });

/// A request for approval, and what became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Approval {
    /// Which.
    pub approval_id: Uuid,
    /// What it is that the action needs.
    pub action: String,
    /// The digest of the action.
    pub action_digest: [u8; 32],
    /// The action's body, for the approver to read.
    pub body: Value,
    /// Who asked.
    pub requested_by: Uuid,
    /// When.
    pub requested_at: OffsetDateTime,
    /// Until when it can be decided and used.
    pub expires_at: OffsetDateTime,
    /// What was decided.
    pub decision: Option<Decision>,
    /// By whom.
    pub decided_by: Option<Uuid>,
    /// Why, in the approver's words.
    pub reason: Option<String>,
    /// When it was used.
    pub used_at: Option<OffsetDateTime>,
    pub(crate) is_expired: bool,
}

/// Why something was not requested, decided or done.
#[derive(Debug, thiserror::Error)]
pub enum ApprovalError {
    /// The principal may not, approval or no.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The action needs an approval, and none was named.
    #[error("{0} needs another person's approval: request one, and name it when it is approved")]
    Needed(Permission),
    /// There is none of that id in this tenant.
    #[error("the tenant has no approval {0}")]
    Unknown(Uuid),
    /// It is for something else.
    #[error("the approval is for another action: what is done must be exactly what was approved")]
    OtherAction,
    /// Somebody else asked for it.
    #[error("the approval was given to the user who asked for it, and to nobody else")]
    OtherRequester,
    /// Nobody has decided yet.
    #[error("nobody has decided on this request yet")]
    Undecided,
    /// The answer was no.
    #[error("the request was rejected")]
    Rejected,
    /// It is too late.
    #[error("the request has expired: ask again")]
    Expired,
    /// It was used.
    #[error("the approval was used already: it is good for one action")]
    Used,
    /// Somebody has decided before.
    #[error("the request was decided already")]
    Decided,
    /// It is one's own.
    #[error("nobody approves their own request")]
    OwnRequest,
    /// A machine or an agent does not approve.
    #[error("only a person approves")]
    NotAPerson,
    /// The term is zero or too long.
    #[error("an approval waits for more than nothing and at most {} days", MAX_TERM.as_secs() / 86_400)]
    Term,
    /// The body or the reason is too long.
    #[error(
        "the body of a request has at most {MAX_BODY_BYTES} bytes, a reason at most {MAX_REASON_CHARS} characters, and neither a NUL"
    )]
    TooLong,
    /// The database's.
    #[error("the approval could not be read or written: {0}")]
    Db(#[from] sqlx::Error),
}

/// Stands before an action that two persons must want.
#[derive(Clone, Copy, Debug)]
pub struct Guard<'a> {
    action: Permission,
    body: &'a Value,
}

/// Says that an action was approved by another person and is done in this transaction. Only [`Guard::check`] makes one, so a function that
/// takes it cannot be called without.
#[derive(Debug, PartialEq, Eq)]
pub struct Approved {
    /// The approval that was used up.
    pub approval_id: Uuid,
    /// Who approved.
    pub approved_by: Uuid,
}

impl<'a> Guard<'a> {
    /// Before the action that needs the permission `action` and does what `body` says: all of it, amounts and targets too.
    #[must_use]
    pub fn new(action: Permission, body: &'a Value) -> Self {
        Self { action, body }
    }

    /// What is approved: SHA-256 over the tenant, the permission and the body with its keys in order.
    #[must_use]
    pub fn digest(&self, tenant_id: Uuid) -> [u8; 32] {
        let mut context = Context::new(&SHA256);
        context.update(DIGEST_DOMAIN);
        context.update(tenant_id.as_bytes());
        context.update(self.action.name().as_bytes());
        context.update(&[0]);
        let mut text = String::new();
        write_canonical(self.body, &mut text);
        context.update(text.as_bytes());
        let mut digest = [0; 32];
        digest.copy_from_slice(context.finish().as_ref());
        digest
    }

    /// Asks for another person's approval. The principal must be allowed to do it, but for that.
    ///
    /// # Errors
    /// [`ApprovalError::Denied`], [`ApprovalError::Term`], [`ApprovalError::TooLong`].
    pub async fn request(
        &self,
        conn: &mut PgConnection,
        principal: &Principal,
        term: Duration,
    ) -> Result<Uuid, ApprovalError> {
        principal.require(Permission::ApprovalsRequest)?;
        principal.require(self.action)?;
        if term.is_zero() || term > MAX_TERM {
            return Err(ApprovalError::Term);
        }
        let text = self.body.to_string();
        if text.len() > MAX_BODY_BYTES || text.contains("\\u0000") {
            return Err(ApprovalError::TooLong);
        }
        let approval_id = Uuid::now_v7();
        let digest = self.digest(principal.tenant_id);
        repo::insert(conn, principal, approval_id, self.action, &digest, self.body, term).await?;
        Ok(approval_id)
    }

    /// Whether the principal may do it now: the permission, and another person's approval of exactly this, which is used up here. Call it in
    /// the action's own transaction: then the approval is used if and only if the action is done.
    ///
    /// # Errors
    /// [`ApprovalError`] says what is missing.
    pub async fn check(
        &self,
        conn: &mut PgConnection,
        principal: &Principal,
        approval_id: Option<Uuid>,
    ) -> Result<Approved, ApprovalError> {
        principal.require(self.action)?;
        let approval_id = approval_id.ok_or(ApprovalError::Needed(self.action))?;
        let approval = repo::lock(conn, principal.tenant_id, approval_id)
            .await?
            .ok_or(ApprovalError::Unknown(approval_id))?;
        if !secret::equal(&approval.action_digest, &self.digest(principal.tenant_id)) {
            return Err(ApprovalError::OtherAction);
        }
        if approval.requested_by != principal.user_id {
            return Err(ApprovalError::OtherRequester);
        }
        if approval.used_at.is_some() {
            return Err(ApprovalError::Used);
        }
        let approved_by = match (approval.decision, approval.decided_by) {
            (Some(Decision::Rejected), _) => return Err(ApprovalError::Rejected),
            _ if approval.is_expired => return Err(ApprovalError::Expired),
            (Some(Decision::Approved), Some(approver)) => approver,
            _ => return Err(ApprovalError::Undecided),
        };
        repo::mark_used(conn, principal.tenant_id, approval_id).await?;
        Ok(Approved { approval_id, approved_by })
    }
}

/// Decides on another's request.
///
/// # Errors
/// [`ApprovalError`] says why this principal cannot, or why it is too late.
pub async fn decide(
    conn: &mut PgConnection,
    principal: &Principal,
    approval_id: Uuid,
    decision: Decision,
    reason: &str,
) -> Result<(), ApprovalError> {
    principal.require(Permission::ApprovalsDecide)?;
    if principal.kind != UserKind::Person {
        return Err(ApprovalError::NotAPerson);
    }
    if reason.chars().count() > MAX_REASON_CHARS || reason.contains('\0') {
        return Err(ApprovalError::TooLong);
    }
    let approval = repo::lock(conn, principal.tenant_id, approval_id)
        .await?
        .ok_or(ApprovalError::Unknown(approval_id))?;
    if approval.requested_by == principal.user_id {
        return Err(ApprovalError::OwnRequest);
    }
    if approval.decision.is_some() {
        return Err(ApprovalError::Decided);
    }
    if approval.is_expired {
        return Err(ApprovalError::Expired);
    }
    repo::decide(conn, principal, approval_id, decision, reason).await?;
    Ok(())
}

/// Requests of the tenant, by id, which is by age: up to `limit` with ids above `after`; those alone that wait for a decision, if asked for.
///
/// # Errors
/// [`ApprovalError::Denied`], or the database's.
pub async fn requests(
    conn: &mut PgConnection,
    principal: &Principal,
    only_open: bool,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Approval>, ApprovalError> {
    principal.require(Permission::ApprovalsRead)?;
    Ok(repo::requests(conn, principal.tenant_id, only_open, after, limit).await?)
}

/// The request.
///
/// # Errors
/// [`ApprovalError::Unknown`], or the database's.
pub async fn find(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    approval_id: Uuid,
) -> Result<Approval, ApprovalError> {
    repo::find(conn, tenant_id, approval_id).await?.ok_or(ApprovalError::Unknown(approval_id))
}

/// JSON with keys in order of their bytes, however the map keeps them, and without spaces.
fn write_canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut fields: Vec<_> = map.iter().collect();
            fields.sort_unstable_by_key(|(key, _)| key.as_str());
            out.push('{');
            for (at, (key, value)) in fields.into_iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                out.push_str(&Value::from(key.as_str()).to_string());
                out.push(':');
                write_canonical(value, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write_canonical(item, out);
            }
            out.push(']');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_digest_is_of_the_tenant_the_permission_and_the_whole_body() {
        let body = json!({ "rows": [1, 2], "note": "x" });
        let tenant = Uuid::from_u128(1);
        let digest = |tenant, action, body: &Value| Guard::new(action, body).digest(tenant);
        let this = digest(tenant, Permission::AdminRepair, &body);
        let reordered: Value = serde_json::from_str(r#"{ "note": "x", "rows": [1, 2] }"#).unwrap();
        assert_eq!(this, digest(tenant, Permission::AdminRepair, &reordered));
        for (tenant, action, body) in [
            (Uuid::from_u128(2), Permission::AdminRepair, body.clone()),
            (tenant, Permission::LedgerPost, body),
            (tenant, Permission::AdminRepair, json!({ "rows": [1, 2, 3], "note": "x" })),
            (tenant, Permission::AdminRepair, json!({ "rows": [2, 1], "note": "x" })),
            (tenant, Permission::AdminRepair, json!({ "rows": [1, "2"], "note": "x" })),
            (tenant, Permission::AdminRepair, json!({ "rows": [1, 2], "note": "x", "more": null })),
        ] {
            assert_ne!(this, digest(tenant, action, &body), "{body}");
        }
    }
}
