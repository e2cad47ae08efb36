//! Approvals. Every statement names the tenant, and row-level security says it again.

use std::time::Duration;

use serde_json::Value;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::approval::{Approval, Decision};
use crate::permission::Permission;
use crate::principal::Principal;
use crate::repo::{hash, interval};

struct Row {
    approval_id: Uuid,
    action: String,
    action_digest: Vec<u8>,
    body: Value,
    requested_by: Uuid,
    requested_at: OffsetDateTime,
    expires_at: OffsetDateTime,
    decision: Option<String>,
    decided_by: Option<Uuid>,
    reason: Option<String>,
    used_at: Option<OffsetDateTime>,
    is_expired: bool,
}

impl TryFrom<Row> for Approval {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> Result<Self, sqlx::Error> {
        Ok(Self {
            approval_id: row.approval_id,
            action: row.action,
            action_digest: hash(&row.action_digest)?,
            body: row.body,
            requested_by: row.requested_by,
            requested_at: row.requested_at,
            expires_at: row.expires_at,
            decision: row.decision.as_deref().map(Decision::stored).transpose()?,
            decided_by: row.decided_by,
            reason: row.reason,
            used_at: row.used_at,
            is_expired: row.is_expired,
        })
    }
}

pub(crate) async fn insert(
    conn: &mut PgConnection,
    requester: &Principal,
    approval_id: Uuid,
    action: Permission,
    digest: &[u8; 32],
    body: &Value,
    term: Duration,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO approvals (approval_id, tenant_id, action, action_digest, body, requested_by, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, now() + $7)",
        approval_id,
        requester.tenant_id,
        action.name(),
        digest.as_slice(),
        body,
        requester.user_id,
        interval(term)?,
    )
    .execute(conn)
    .await
    .map(drop)
}

/// Locked until the transaction ends: of two uses, or of a use and a decision, the second sees the first.
pub(crate) async fn lock(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    approval_id: Uuid,
) -> Result<Option<Approval>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        r#"SELECT approval_id, action, action_digest, body, requested_by, requested_at, expires_at, decision, decided_by, reason, used_at,
                  expires_at <= clock_timestamp() AS "is_expired!"
           FROM approvals WHERE tenant_id = $1 AND approval_id = $2 FOR NO KEY UPDATE"#,
        tenant_id,
        approval_id,
    )
    .fetch_optional(conn)
    .await?
    .map(Approval::try_from)
    .transpose()
}

pub(crate) async fn mark_used(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    approval_id: Uuid,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE approvals SET used_at = now() WHERE tenant_id = $1 AND approval_id = $2",
        tenant_id,
        approval_id,
    )
    .execute(conn)
    .await
    .map(drop)
}

pub(crate) async fn decide(
    conn: &mut PgConnection,
    approver: &Principal,
    approval_id: Uuid,
    decision: Decision,
    reason: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE approvals SET decision = $3, decided_by = $4, decider_kind = $5, decided_at = now(), reason = $6
         WHERE tenant_id = $1 AND approval_id = $2",
        approver.tenant_id,
        approval_id,
        decision.as_str(),
        approver.user_id,
        approver.kind.as_str(),
        reason,
    )
    .execute(conn)
    .await
    .map(drop)
}

/// Ids are UUIDs of version 7: their order is that of the requests.
pub(crate) async fn requests(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    only_open: bool,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Approval>, sqlx::Error> {
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT approval_id, action, action_digest, body, requested_by, requested_at, expires_at, decision, decided_by, reason, used_at,
                  expires_at <= now() AS "is_expired!"
           FROM approvals
           WHERE tenant_id = $1 AND (NOT $2 OR (decision IS NULL AND expires_at > now())) AND ($3::uuid IS NULL OR approval_id > $3)
           ORDER BY approval_id LIMIT $4"#,
        tenant_id,
        only_open,
        after,
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Approval::try_from).collect()
}

pub(crate) async fn find(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    approval_id: Uuid,
) -> Result<Option<Approval>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        r#"SELECT approval_id, action, action_digest, body, requested_by, requested_at, expires_at, decision, decided_by, reason, used_at,
                  expires_at <= now() AS "is_expired!"
           FROM approvals WHERE tenant_id = $1 AND approval_id = $2"#,
        tenant_id,
        approval_id,
    )
    .fetch_optional(conn)
    .await?
    .map(Approval::try_from)
    .transpose()
}
