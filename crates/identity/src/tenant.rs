//! Tenants: who they are, and how many of what they have.
//!
//! Run these on the worker's transactions: the app's role neither makes a tenant nor sees more than its own. A tenant is born with its built-in
//! roles (a trigger sees to it), whoever makes it, and none is ever deleted: its id is in every row that was written for it.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::repo::tenants as repo;

const NAME_MAX_CHARS: usize = 200;

/// A tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// Its id, for good.
    pub tenant_id: Uuid,
    /// Its name, which no other has.
    pub name: String,
    /// When it was made.
    pub created_at: OffsetDateTime,
}

/// How many of what a tenant has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Users that are active.
    pub active_users: i64,
    /// Users that are suspended.
    pub suspended_users: i64,
    /// Users that are under review.
    pub pending_users: i64,
    /// Users with the built-in role `admin` that are not suspended.
    pub administrators: i64,
    /// API keys in force.
    pub keys: i64,
    /// Sessions in force.
    pub sessions: i64,
    /// Contracts that are attributed to it.
    pub contracts: i64,
}

/// Why a tenant was not made or renamed.
#[derive(Debug, thiserror::Error)]
pub enum TenantError {
    /// There is none with this id.
    #[error("there is no tenant {0}")]
    NoTenant(Uuid),
    /// The id is another's, or the nil one, which stands for the platform.
    #[error(
        "the id {0} cannot be given to a new tenant: it is taken, or the nil id, which stands for the platform itself"
    )]
    IdTaken(Uuid),
    /// The name is another's.
    #[error("there is a tenant {0:?} already")]
    NameTaken(String),
    /// It is no name.
    #[error(
        "a tenant's name has 1 to {NAME_MAX_CHARS} characters, no control characters and no space at its ends, and is not a UUID, which could be taken for an id"
    )]
    Name,
    /// The database's.
    #[error("the tenants could not be read or written: {0}")]
    Db(#[from] sqlx::Error),
}

/// All tenants, by name.
///
/// # Errors
/// The database's.
pub async fn all(conn: &mut PgConnection) -> Result<Vec<Tenant>, TenantError> {
    Ok(repo::all(conn).await?)
}

/// The tenant of that id, or of that name; a name is never a UUID.
///
/// # Errors
/// The database's.
pub async fn find(conn: &mut PgConnection, id_or_name: &str) -> Result<Option<Tenant>, TenantError> {
    Ok(match id_or_name.parse() {
        Ok(tenant_id) => repo::by_id(conn, tenant_id).await?,
        // Postgres keeps no NUL, so no name has one.
        Err(_) if id_or_name.contains('\0') => None,
        Err(_) => repo::by_name(conn, id_or_name).await?,
    })
}

/// The tenant, its row locked until the transaction ends: of two changes the second sees what the first made of it.
///
/// # Errors
/// [`TenantError::NoTenant`], or the database's.
pub async fn lock(conn: &mut PgConnection, tenant_id: Uuid) -> Result<Tenant, TenantError> {
    repo::lock(conn, tenant_id).await?.ok_or(TenantError::NoTenant(tenant_id))
}

/// Makes a tenant.
///
/// # Errors
/// [`TenantError::Name`], [`TenantError::NameTaken`], [`TenantError::IdTaken`], or the database's.
pub async fn create(conn: &mut PgConnection, tenant_id: Uuid, name: &str) -> Result<Tenant, TenantError> {
    require_name(name)?;
    if tenant_id.is_nil() {
        return Err(TenantError::IdTaken(tenant_id));
    }
    if let Some(tenant) = repo::insert(conn, tenant_id, name).await? {
        return Ok(tenant);
    }
    match repo::is_name_taken(conn, name).await? {
        true => Err(TenantError::NameTaken(name.to_owned())),
        false => Err(TenantError::IdTaken(tenant_id)),
    }
}

/// Gives the tenant another name; its own is no change.
///
/// # Errors
/// [`TenantError::Name`], [`TenantError::NameTaken`], [`TenantError::NoTenant`], or the database's.
pub async fn rename(conn: &mut PgConnection, tenant_id: Uuid, name: &str) -> Result<Tenant, TenantError> {
    require_name(name)?;
    match repo::rename(conn, tenant_id, name).await {
        Ok(renamed) => renamed.ok_or(TenantError::NoTenant(tenant_id)),
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
            Err(TenantError::NameTaken(name.to_owned()))
        }
        Err(error) => Err(error.into()),
    }
}

/// How many of what the tenant has.
///
/// # Errors
/// The database's.
pub async fn holdings(conn: &mut PgConnection, tenant_id: Uuid) -> Result<Holdings, TenantError> {
    Ok(repo::holdings(conn, tenant_id).await?)
}

fn require_name(name: &str) -> Result<(), TenantError> {
    let is_name = (1..=NAME_MAX_CHARS).contains(&name.chars().count())
        && name.trim() == name
        && !name.contains(char::is_control)
        && name.parse::<Uuid>().is_err();
    if is_name { Ok(()) } else { Err(TenantError::Name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_be_taken_for_an_id_or_not_be_read_is_no_name() {
        for name in ["acme", "Acme & Söhne", "a"] {
            assert!(require_name(name).is_ok(), "{name}");
        }
        let long = "a".repeat(201);
        for name in ["", " acme", "acme ", "a\nb", "a\0", "00000000-0000-0000-0000-000000000001", &long] {
            assert!(matches!(require_name(name), Err(TenantError::Name)), "{name:?}");
        }
    }
}
