//! Roles as they are listed, and what they allow.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::directory::User;
use crate::permission::{Permission, PermissionSet};
use crate::repo::directory::{UserRow, each};
use crate::role::Role;

/// All of them, or the one of that name.
pub(crate) async fn all(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    name: Option<&str>,
) -> Result<Vec<Role>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT r.role, r.is_agent, r.is_builtin, r.created_at,
                  ARRAY(SELECT p.permission FROM role_permissions p WHERE p.tenant_id = r.tenant_id AND p.role = r.role) AS "permissions!",
                  (SELECT count(*) FROM role_assignments a WHERE a.tenant_id = r.tenant_id AND a.role = r.role) AS "holders!"
           FROM roles r WHERE r.tenant_id = $1 AND ($2::text IS NULL OR r.role = $2) ORDER BY r.role"#,
        tenant_id,
        name,
    )
    .fetch_all(conn)
    .await?;
    let roles = rows.into_iter().map(|row| Role {
        name: row.role,
        is_agent: row.is_agent,
        is_builtin: row.is_builtin,
        permissions: PermissionSet::from_names(row.permissions),
        holders: row.holders,
        created_at: row.created_at,
    });
    Ok(roles.collect())
}

pub(crate) async fn holders(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    role: &str,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<User>, sqlx::Error> {
    sqlx::query_as!(
        UserRow,
        "SELECT u.tenant_id, u.user_id, u.kind, u.status, u.display_name, u.created_at
         FROM role_assignments a JOIN users u USING (tenant_id, user_id)
         WHERE a.tenant_id = $1 AND a.role = $2 AND ($3::uuid IS NULL OR a.user_id > $3) ORDER BY a.user_id LIMIT $4",
        tenant_id,
        role,
        after,
        limit,
    )
    .fetch_all(conn)
    .await
    .and_then(each)
}

pub(crate) async fn grant(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    role: &str,
    is_agent: bool,
    permission: Permission,
) -> Result<bool, sqlx::Error> {
    sqlx::query!(
        "INSERT INTO role_permissions (tenant_id, role, is_agent, permission, is_write) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT DO NOTHING",
        tenant_id,
        role,
        is_agent,
        permission.name(),
        permission.is_write(),
    )
    .execute(conn)
    .await
    .map(|done| done.rows_affected() == 1)
}

pub(crate) async fn revoke(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    role: &str,
    permission: Permission,
) -> Result<bool, sqlx::Error> {
    sqlx::query!(
        "DELETE FROM role_permissions WHERE tenant_id = $1 AND role = $2 AND permission = $3",
        tenant_id,
        role,
        permission.name(),
    )
    .execute(conn)
    .await
    .map(|done| done.rows_affected() == 1)
}
