//! The roles of a tenant: listed, and given or deprived of permissions.
//!
//! The built-in roles are the same in every tenant and do not change; the app's role could not change them either. A role of agents takes no write:
//! that is in the type where a role is made ([`crate::directory::NewRole`]), asked here, and a CHECK in the database.
//!
//! Run these on a transaction of the app role that is confined to the tenant (`Db::tenant_tx`).

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::directory::User;
use crate::permission::{Permission, PermissionSet};
use crate::repo::roles as repo;

/// A role as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// Its name, unique in its tenant.
    pub name: String,
    /// Whether agents may hold it; it holds no write then.
    pub is_agent: bool,
    /// Whether every tenant has it.
    pub is_builtin: bool,
    /// What it allows.
    pub permissions: PermissionSet,
    /// How many users have it.
    pub holders: i64,
    /// When it was made.
    pub created_at: OffsetDateTime,
}

/// Why a role's permissions were not changed.
#[derive(Debug, thiserror::Error)]
pub enum RoleError {
    /// No such role in this tenant.
    #[error("the tenant has no role {0:?}")]
    NoRole(String),
    /// It is built in.
    #[error("the role {0:?} is built in, and the same in every tenant: make another beside it")]
    Builtin(String),
    /// It is an agent's, and that writes.
    #[error(
        "{role:?} is a role of agents, and {permission} changes something: an agent can hold nothing that writes"
    )]
    AgentsRole {
        /// The role.
        role: String,
        /// The write.
        permission: Permission,
    },
    /// The database's.
    #[error("the roles could not be read or written: {0}")]
    Db(#[from] sqlx::Error),
}

/// The tenant's roles, by name.
///
/// # Errors
/// The database's.
pub async fn all(conn: &mut PgConnection, tenant_id: Uuid) -> Result<Vec<Role>, RoleError> {
    Ok(repo::all(conn, tenant_id, None).await?)
}

/// The role.
///
/// # Errors
/// [`RoleError::NoRole`], or the database's.
pub async fn role(conn: &mut PgConnection, tenant_id: Uuid, name: &str) -> Result<Role, RoleError> {
    let found = repo::all(conn, tenant_id, Some(name)).await?.pop();
    found.ok_or_else(|| RoleError::NoRole(name.to_owned()))
}

/// Who has the role, by id: at most `limit` users with ids above `after`.
///
/// # Errors
/// The database's.
pub async fn holders(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    name: &str,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<User>, RoleError> {
    Ok(repo::holders(conn, tenant_id, name, after, limit).await?)
}

/// Lets the role allow one thing more. Returns whether it did not yet.
///
/// # Errors
/// [`RoleError`] says why it cannot.
pub async fn grant(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    name: &str,
    permission: Permission,
) -> Result<bool, RoleError> {
    let role = changeable(conn, tenant_id, name).await?;
    if role.is_agent && permission.is_write() {
        return Err(RoleError::AgentsRole { role: role.name, permission });
    }
    Ok(repo::grant(conn, tenant_id, name, role.is_agent, permission).await?)
}

/// Lets the role allow one thing less. Returns whether it did.
///
/// # Errors
/// [`RoleError`] says why it cannot.
pub async fn revoke(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    name: &str,
    permission: Permission,
) -> Result<bool, RoleError> {
    changeable(conn, tenant_id, name).await?;
    Ok(repo::revoke(conn, tenant_id, name, permission).await?)
}

async fn changeable(conn: &mut PgConnection, tenant_id: Uuid, name: &str) -> Result<Role, RoleError> {
    let role = role(conn, tenant_id, name).await?;
    if role.is_builtin { Err(RoleError::Builtin(role.name)) } else { Ok(role) }
}
