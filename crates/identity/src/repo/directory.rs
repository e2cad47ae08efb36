//! Users, addresses, roles.

use alloy_primitives::Address;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::directory::{LinkedAddress, User};
use crate::permission::PermissionSet;
use crate::principal::{UserKind, UserStatus};
use crate::repo::changed_one;

pub(crate) struct UserRow {
    pub(crate) tenant_id: Uuid,
    pub(crate) user_id: Uuid,
    pub(crate) kind: String,
    pub(crate) status: String,
    pub(crate) display_name: String,
    pub(crate) created_at: OffsetDateTime,
}

impl TryFrom<UserRow> for User {
    type Error = sqlx::Error;

    fn try_from(row: UserRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            tenant_id: row.tenant_id,
            user_id: row.user_id,
            kind: UserKind::stored(&row.kind)?,
            status: UserStatus::stored(&row.status)?,
            display_name: row.display_name,
            created_at: row.created_at,
        })
    }
}

/// The user of a row, where there is one.
pub(crate) fn one(row: Option<UserRow>) -> Result<Option<User>, sqlx::Error> {
    row.map(User::try_from).transpose()
}

/// The users of rows.
pub(crate) fn each(rows: Vec<UserRow>) -> Result<Vec<User>, sqlx::Error> {
    rows.into_iter().map(User::try_from).collect()
}

pub(crate) async fn insert_user(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    user_id: Uuid,
    kind: UserKind,
    status: UserStatus,
    display_name: &str,
) -> Result<User, sqlx::Error> {
    sqlx::query_as!(
        UserRow,
        "INSERT INTO users (tenant_id, user_id, kind, status, display_name) VALUES ($1, $2, $3, $4, $5)
         RETURNING tenant_id, user_id, kind, status, display_name, created_at",
        tenant_id,
        user_id,
        kind.as_str(),
        status.as_str(),
        display_name,
    )
    .fetch_one(conn)
    .await?
    .try_into()
}

pub(crate) async fn user(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    user_id: Uuid,
) -> Result<Option<User>, sqlx::Error> {
    sqlx::query_as!(
        UserRow,
        "SELECT tenant_id, user_id, kind, status, display_name, created_at FROM users WHERE tenant_id = $1 AND user_id = $2",
        tenant_id,
        user_id,
    )
    .fetch_optional(conn)
    .await
    .and_then(one)
}

pub(crate) async fn set_status(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    user_id: Uuid,
    status: UserStatus,
) -> Result<bool, sqlx::Error> {
    sqlx::query!(
        "UPDATE users SET status = $3, updated_at = now() WHERE tenant_id = $1 AND user_id = $2",
        tenant_id,
        user_id,
        status.as_str(),
    )
    .execute(conn)
    .await
    .map(changed_one)
}

/// Whether it was free. A rival's uncommitted claim is waited for.
pub(crate) async fn insert_address(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    user_id: Uuid,
    chain_id: i64,
    address: Address,
) -> Result<bool, sqlx::Error> {
    sqlx::query!(
        "INSERT INTO user_addresses (tenant_id, user_id, chain_id, address) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        tenant_id,
        user_id,
        chain_id,
        format!("{address:#x}"),
    )
    .execute(conn)
    .await
    .map(changed_one)
}

pub(crate) async fn remove_address(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    user_id: Uuid,
    chain_id: i64,
    address: Address,
) -> Result<bool, sqlx::Error> {
    sqlx::query!(
        "UPDATE user_addresses SET removed_at = now()
         WHERE tenant_id = $1 AND user_id = $2 AND chain_id = $3 AND address = $4 AND removed_at IS NULL",
        tenant_id,
        user_id,
        chain_id,
        format!("{address:#x}"),
    )
    .execute(conn)
    .await
    .map(changed_one)
}

pub(crate) async fn owner_of(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    chain_id: i64,
    address: Address,
) -> Result<Option<User>, sqlx::Error> {
    sqlx::query_as!(
        UserRow,
        "SELECT u.tenant_id, u.user_id, u.kind, u.status, u.display_name, u.created_at
         FROM user_addresses a JOIN users u USING (tenant_id, user_id)
         WHERE a.tenant_id = $1 AND a.chain_id = $2 AND a.address = $3 AND a.removed_at IS NULL",
        tenant_id,
        chain_id,
        format!("{address:#x}"),
    )
    .fetch_optional(conn)
    .await
    .and_then(one)
}

pub(crate) async fn addresses(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    user_id: Uuid,
) -> Result<Vec<LinkedAddress>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT chain_id, address, linked_at FROM user_addresses
         WHERE tenant_id = $1 AND user_id = $2 AND removed_at IS NULL ORDER BY chain_id, address",
        tenant_id,
        user_id,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(LinkedAddress {
                chain_id: u64::try_from(row.chain_id).map_err(|error| sqlx::Error::Decode(error.into()))?,
                address: row.address.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
                linked_at: row.linked_at,
            })
        })
        .collect()
}

pub(crate) async fn insert_role(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    role: &str,
    is_agent: bool,
) -> Result<bool, sqlx::Error> {
    sqlx::query!(
        "INSERT INTO roles (tenant_id, role, is_agent) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        tenant_id,
        role,
        is_agent,
    )
    .execute(conn)
    .await
    .map(changed_one)
}

pub(crate) async fn grant(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    role: &str,
    is_agent: bool,
    permissions: PermissionSet,
) -> Result<(), sqlx::Error> {
    let (names, writes): (Vec<String>, Vec<bool>) =
        permissions.iter().map(|permission| (permission.name().to_owned(), permission.is_write())).unzip();
    sqlx::query!(
        "INSERT INTO role_permissions (tenant_id, role, is_agent, permission, is_write)
         SELECT $1, $2, $3, p.name, p.is_write FROM unnest($4::text[], $5::boolean[]) AS p(name, is_write)",
        tenant_id,
        role,
        is_agent,
        &names,
        &writes,
    )
    .execute(conn)
    .await
    .map(drop)
}

pub(crate) async fn role_is_agent(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    role: &str,
) -> Result<Option<bool>, sqlx::Error> {
    sqlx::query_scalar!("SELECT is_agent FROM roles WHERE tenant_id = $1 AND role = $2", tenant_id, role)
        .fetch_optional(conn)
        .await
}

pub(crate) async fn role_permissions(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    role: &str,
) -> Result<Option<PermissionSet>, sqlx::Error> {
    let names = sqlx::query_scalar!(
        r#"SELECT ARRAY(SELECT p.permission FROM role_permissions p WHERE p.tenant_id = r.tenant_id AND p.role = r.role) AS "names!"
           FROM roles r WHERE r.tenant_id = $1 AND r.role = $2"#,
        tenant_id,
        role,
    )
    .fetch_optional(conn)
    .await?;
    Ok(names.map(PermissionSet::from_names))
}

pub(crate) async fn assign(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    user_id: Uuid,
    role: &str,
    user_is_agent: bool,
    role_is_agent: bool,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO role_assignments (tenant_id, user_id, role, user_is_agent, role_is_agent) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT DO NOTHING",
        tenant_id,
        user_id,
        role,
        user_is_agent,
        role_is_agent,
    )
    .execute(conn)
    .await
    .map(drop)
}

pub(crate) async fn withdraw(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    user_id: Uuid,
    role: &str,
) -> Result<bool, sqlx::Error> {
    sqlx::query!(
        "DELETE FROM role_assignments WHERE tenant_id = $1 AND user_id = $2 AND role = $3",
        tenant_id,
        user_id,
        role,
    )
    .execute(conn)
    .await
    .map(changed_one)
}

pub(crate) async fn roles_of(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    user_id: Uuid,
) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar!(
        "SELECT role FROM role_assignments WHERE tenant_id = $1 AND user_id = $2 ORDER BY role",
        tenant_id,
        user_id,
    )
    .fetch_all(conn)
    .await
}

pub(crate) async fn permissions_of(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    user_id: Uuid,
) -> Result<PermissionSet, sqlx::Error> {
    sqlx::query_scalar!(
        "SELECT DISTINCT p.permission FROM role_assignments a JOIN role_permissions p USING (tenant_id, role)
         WHERE a.tenant_id = $1 AND a.user_id = $2",
        tenant_id,
        user_id,
    )
    .fetch_all(conn)
    .await
    .map(PermissionSet::from_names)
}
