//! A tenant's users, their addresses, its roles and who has them.
//!
//! Run these on a transaction of the app role that is confined to the tenant (`Db::tenant_tx`): the database then refuses another
//! tenant's rows whatever the arguments say. The worker may run them too, as sign-in and `bootstrap` do.

use alloy_primitives::Address;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::permission::{Permission, PermissionSet, ReadPermission};
use crate::principal::{UserKind, UserStatus};
use crate::repo::directory as repo;

/// The roles that every tenant is born with. They are the same in every tenant; a tenant adds its own beside them.
pub mod builtin {
    /// Reads positions, books and queues.
    pub const VIEWER: &str = "viewer";
    /// Works the queues and the relayer.
    pub const OPERATOR: &str = "operator";
    /// Posts to the books.
    pub const ACCOUNTANT: &str = "accountant";
    /// Decides what others asked for.
    pub const APPROVER: &str = "approver";
    /// Everything.
    pub const ADMIN: &str = "admin";
    /// The AI layer's: reads.
    pub const AGENT: &str = "agent";
}

/// A user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Whose.
    pub tenant_id: Uuid,
    /// Which.
    pub user_id: Uuid,
    /// What.
    pub kind: UserKind,
    /// Where the user stands.
    pub status: UserStatus,
    /// For people to read.
    pub display_name: String,
    /// When it was made.
    pub created_at: OffsetDateTime,
}

/// An address that is a user's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkedAddress {
    /// On which chain.
    pub chain_id: u64,
    /// Which.
    pub address: Address,
    /// Since when.
    pub linked_at: OffsetDateTime,
}

/// A role to be made. That an agent's role holds reads alone is in the type.
#[derive(Clone, Debug)]
pub enum NewRole<'a> {
    /// For people and machines.
    Ordinary(&'a [Permission]),
    /// For agents.
    Agent(&'a [ReadPermission]),
}

/// Why the directory was not changed.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// No such user in this tenant.
    #[error("the tenant has no user {0}")]
    NoUser(Uuid),
    /// No such role in this tenant.
    #[error("the tenant has no role {0:?}; its roles are listed with their permissions")]
    NoRole(String),
    /// The role's name is taken.
    #[error("the tenant has a role {0:?} already")]
    RoleExists(String),
    /// The name is not one.
    #[error(
        "{0:?} is no name for a role: lower-case letters, digits, `-` and `_`, a letter first, at most 64"
    )]
    RoleName(String),
    /// Nor this.
    #[error("a display name has 1 to 200 characters")]
    DisplayName,
    /// The user is an agent, the role is not an agent's.
    #[error("the user is an agent, and {0:?} is not an agent's role: an agent can hold nothing that writes")]
    AgentsRole(String),
    /// Another user of this tenant has the address on that chain.
    #[error(
        "the address {address} on chain {chain_id} belongs to another user of this tenant: it must be removed there first"
    )]
    AddressTaken {
        /// The chain.
        chain_id: u64,
        /// The address.
        address: Address,
    },
    /// The chain's id is zero or past what the database holds.
    #[error("{0} is no chain id")]
    ChainId(u64),
    /// The database's.
    #[error("the directory could not be read or written: {0}")]
    Db(#[from] sqlx::Error),
}

const DISPLAY_NAME_MAX_CHARS: usize = 200;
const ROLE_NAME_MAX_BYTES: usize = 64;

/// Makes a user.
///
/// # Errors
/// [`DirectoryError::DisplayName`], or the database's.
pub async fn create_user(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    kind: UserKind,
    status: UserStatus,
    display_name: &str,
) -> Result<User, DirectoryError> {
    if display_name.is_empty()
        || display_name.chars().count() > DISPLAY_NAME_MAX_CHARS
        || display_name.contains('\0')
    {
        return Err(DirectoryError::DisplayName);
    }
    let user_id = Uuid::now_v7();
    Ok(repo::insert_user(conn, tenant_id, user_id, kind, status, display_name).await?)
}

/// The user.
///
/// # Errors
/// [`DirectoryError::NoUser`], or the database's.
pub async fn user(conn: &mut PgConnection, tenant_id: Uuid, user_id: Uuid) -> Result<User, DirectoryError> {
    repo::user(conn, tenant_id, user_id).await?.ok_or(DirectoryError::NoUser(user_id))
}

/// Moves the user to `status`. A suspended user is turned away everywhere within the time that an authentication is remembered
/// (`authenticator::CACHE_TERM`).
///
/// # Errors
/// [`DirectoryError::NoUser`], or the database's.
pub async fn set_status(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    user_id: Uuid,
    status: UserStatus,
) -> Result<(), DirectoryError> {
    if repo::set_status(conn, tenant_id, user_id, status).await? {
        Ok(())
    } else {
        Err(DirectoryError::NoUser(user_id))
    }
}

/// Gives the user an address that it has proved to be its own. Once more is no change.
///
/// # Errors
/// [`DirectoryError::AddressTaken`] when another user of the tenant has it.
pub async fn link_address(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    user_id: Uuid,
    chain_id: u64,
    address: Address,
) -> Result<(), DirectoryError> {
    let chain = stored_chain(chain_id)?;
    user(conn, tenant_id, user_id).await?;
    if repo::insert_address(conn, tenant_id, user_id, chain, address).await? {
        return Ok(());
    }
    match repo::owner_of(conn, tenant_id, chain, address).await? {
        Some(owner) if owner.user_id == user_id => Ok(()),
        _ => Err(DirectoryError::AddressTaken { chain_id, address }),
    }
}

/// Takes an address from the user; the row stays, with the time. Returns whether the user had it.
///
/// # Errors
/// The database's.
pub async fn remove_address(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    user_id: Uuid,
    chain_id: u64,
    address: Address,
) -> Result<bool, DirectoryError> {
    Ok(repo::remove_address(conn, tenant_id, user_id, stored_chain(chain_id)?, address).await?)
}

/// Whose address it is, in this tenant.
///
/// # Errors
/// The database's.
pub async fn owner_of(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    chain_id: u64,
    address: Address,
) -> Result<Option<User>, DirectoryError> {
    Ok(repo::owner_of(conn, tenant_id, stored_chain(chain_id)?, address).await?)
}

/// The user's addresses.
///
/// # Errors
/// The database's.
pub async fn addresses(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    user_id: Uuid,
) -> Result<Vec<LinkedAddress>, DirectoryError> {
    Ok(repo::addresses(conn, tenant_id, user_id).await?)
}

/// Makes a role of the tenant's own.
///
/// # Errors
/// [`DirectoryError::RoleName`], [`DirectoryError::RoleExists`], or the database's.
pub async fn create_role(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    name: &str,
    role: NewRole<'_>,
) -> Result<(), DirectoryError> {
    let is_name = name.len() <= ROLE_NAME_MAX_BYTES
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_'));
    if !is_name {
        return Err(DirectoryError::RoleName(name.to_owned()));
    }
    let (is_agent, permissions): (bool, PermissionSet) = match role {
        NewRole::Ordinary(permissions) => (false, permissions.iter().copied().collect()),
        NewRole::Agent(permissions) => (true, permissions.iter().copied().map(Permission::from).collect()),
    };
    if !repo::insert_role(conn, tenant_id, name, is_agent).await? {
        return Err(DirectoryError::RoleExists(name.to_owned()));
    }
    repo::grant(conn, tenant_id, name, is_agent, permissions).await?;
    Ok(())
}

/// What the role allows.
///
/// # Errors
/// [`DirectoryError::NoRole`], or the database's.
pub async fn role_permissions(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    role: &str,
) -> Result<PermissionSet, DirectoryError> {
    repo::role_permissions(conn, tenant_id, role)
        .await?
        .ok_or_else(|| DirectoryError::NoRole(role.to_owned()))
}

/// Gives the user a role. Once more is no change.
///
/// # Errors
/// [`DirectoryError::AgentsRole`] for an agent and a role that is not an agent's; [`DirectoryError::NoUser`], [`DirectoryError::NoRole`].
pub async fn assign_role(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    user_id: Uuid,
    role: &str,
) -> Result<(), DirectoryError> {
    let user = user(conn, tenant_id, user_id).await?;
    let role_is_agent = repo::role_is_agent(conn, tenant_id, role)
        .await?
        .ok_or_else(|| DirectoryError::NoRole(role.to_owned()))?;
    let user_is_agent = user.kind == UserKind::Agent;
    if user_is_agent && !role_is_agent {
        return Err(DirectoryError::AgentsRole(role.to_owned()));
    }
    repo::assign(conn, tenant_id, user_id, role, user_is_agent, role_is_agent).await?;
    Ok(())
}

/// Takes a role from the user. Returns whether the user had it.
///
/// # Errors
/// The database's.
pub async fn withdraw_role(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    user_id: Uuid,
    role: &str,
) -> Result<bool, DirectoryError> {
    Ok(repo::withdraw(conn, tenant_id, user_id, role).await?)
}

/// The user's roles, by name.
///
/// # Errors
/// The database's.
pub async fn roles_of(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    user_id: Uuid,
) -> Result<Vec<String>, DirectoryError> {
    Ok(repo::roles_of(conn, tenant_id, user_id).await?)
}

/// All that the user's roles allow together.
///
/// # Errors
/// The database's.
pub async fn permissions_of(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    user_id: Uuid,
) -> Result<PermissionSet, DirectoryError> {
    Ok(repo::permissions_of(conn, tenant_id, user_id).await?)
}

fn stored_chain(chain_id: u64) -> Result<i64, DirectoryError> {
    match i64::try_from(chain_id) {
        Ok(stored) if stored > 0 => Ok(stored),
        _ => Err(DirectoryError::ChainId(chain_id)),
    }
}
