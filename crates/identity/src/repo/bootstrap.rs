//! The first administrator's link.

use std::time::Duration;

use sqlx::PgConnection;
use uuid::Uuid;

use crate::repo::interval;

pub(crate) struct Link {
    pub(crate) tenant_id: Uuid,
    pub(crate) is_used: bool,
    pub(crate) is_expired: bool,
}

/// Whether the tenant is there. What asks for an administrator runs one at a time; foreign keys to the tenant do not wait for it.
pub(crate) async fn lock_tenant(conn: &mut PgConnection, tenant_id: Uuid) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!("SELECT tenant_id FROM tenants WHERE tenant_id = $1 FOR NO KEY UPDATE", tenant_id)
        .fetch_optional(conn)
        .await
        .map(|found| found.is_some())
}

/// Whether anybody who is not suspended has the role.
pub(crate) async fn has_holder(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    role: &str,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM role_assignments a JOIN users u USING (tenant_id, user_id)
                          WHERE a.tenant_id = $1 AND a.role = $2 AND u.status <> 'suspended') AS "has_holder!""#,
        tenant_id,
        role,
    )
    .fetch_one(conn)
    .await
}

pub(crate) async fn insert(
    conn: &mut PgConnection,
    token_hash: &[u8; 32],
    tenant_id: Uuid,
    term: Duration,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO bootstrap_links (token_hash, tenant_id, expires_at) VALUES ($1, $2, now() + $3)",
        token_hash.as_slice(),
        tenant_id,
        interval(term)?,
    )
    .execute(conn)
    .await
    .map(drop)
}

pub(crate) async fn lock(
    conn: &mut PgConnection,
    token_hash: &[u8; 32],
) -> Result<Option<Link>, sqlx::Error> {
    sqlx::query_as!(
        Link,
        r#"SELECT tenant_id, used_at IS NOT NULL AS "is_used!", expires_at <= now() AS "is_expired!"
           FROM bootstrap_links WHERE token_hash = $1 FOR NO KEY UPDATE"#,
        token_hash.as_slice(),
    )
    .fetch_optional(conn)
    .await
}

pub(crate) async fn mark_used(
    conn: &mut PgConnection,
    token_hash: &[u8; 32],
    user_id: Uuid,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE bootstrap_links SET used_at = now(), used_by = $2 WHERE token_hash = $1",
        token_hash.as_slice(),
        user_id,
    )
    .execute(conn)
    .await
    .map(drop)
}
