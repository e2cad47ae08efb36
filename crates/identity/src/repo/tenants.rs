//! Tenants.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::tenant::{Holdings, Tenant};

pub(crate) async fn all(conn: &mut PgConnection) -> Result<Vec<Tenant>, sqlx::Error> {
    sqlx::query_as!(Tenant, "SELECT tenant_id, name, created_at FROM tenants ORDER BY name")
        .fetch_all(conn)
        .await
}

pub(crate) async fn by_id(conn: &mut PgConnection, tenant_id: Uuid) -> Result<Option<Tenant>, sqlx::Error> {
    sqlx::query_as!(Tenant, "SELECT tenant_id, name, created_at FROM tenants WHERE tenant_id = $1", tenant_id)
        .fetch_optional(conn)
        .await
}

pub(crate) async fn by_name(conn: &mut PgConnection, name: &str) -> Result<Option<Tenant>, sqlx::Error> {
    sqlx::query_as!(Tenant, "SELECT tenant_id, name, created_at FROM tenants WHERE name = $1", name)
        .fetch_optional(conn)
        .await
}

/// Foreign keys to the tenant do not wait for this lock.
pub(crate) async fn lock(conn: &mut PgConnection, tenant_id: Uuid) -> Result<Option<Tenant>, sqlx::Error> {
    sqlx::query_as!(
        Tenant,
        "SELECT tenant_id, name, created_at FROM tenants WHERE tenant_id = $1 FOR NO KEY UPDATE",
        tenant_id
    )
    .fetch_optional(conn)
    .await
}

pub(crate) async fn insert(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    name: &str,
) -> Result<Option<Tenant>, sqlx::Error> {
    sqlx::query_as!(
        Tenant,
        "INSERT INTO tenants (tenant_id, name) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING tenant_id, name, created_at",
        tenant_id,
        name
    )
    .fetch_optional(conn)
    .await
}

pub(crate) async fn is_name_taken(conn: &mut PgConnection, name: &str) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(r#"SELECT EXISTS (SELECT FROM tenants WHERE name = $1) AS "is_taken!""#, name)
        .fetch_one(conn)
        .await
}

pub(crate) async fn rename(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    name: &str,
) -> Result<Option<Tenant>, sqlx::Error> {
    sqlx::query_as!(
        Tenant,
        "UPDATE tenants SET name = $2 WHERE tenant_id = $1 RETURNING tenant_id, name, created_at",
        tenant_id,
        name
    )
    .fetch_optional(conn)
    .await
}

pub(crate) async fn holdings(conn: &mut PgConnection, tenant_id: Uuid) -> Result<Holdings, sqlx::Error> {
    sqlx::query_as!(
        Holdings,
        r#"SELECT (SELECT count(*) FROM users WHERE tenant_id = $1 AND status = 'active') AS "active_users!",
                  (SELECT count(*) FROM users WHERE tenant_id = $1 AND status = 'suspended') AS "suspended_users!",
                  (SELECT count(*) FROM users WHERE tenant_id = $1 AND status = 'pending_review') AS "pending_users!",
                  (SELECT count(*) FROM role_assignments a JOIN users u USING (tenant_id, user_id)
                   WHERE a.tenant_id = $1 AND a.role = 'admin' AND u.status <> 'suspended') AS "administrators!",
                  (SELECT count(*) FROM api_keys WHERE tenant_id = $1 AND revoked_at IS NULL AND expires_at > now()) AS "keys!",
                  (SELECT count(*) FROM sessions WHERE tenant_id = $1 AND revoked_at IS NULL AND expires_at > now()) AS "sessions!",
                  (SELECT count(*) FROM tenant_contracts WHERE tenant_id = $1) AS "contracts!""#,
        tenant_id
    )
    .fetch_one(conn)
    .await
}
