//! The first administrator of a tenant: a link that is good once, and only while there is none.
//!
//! Whoever can run a command on the server gets the link (`plimsoll admin init`); whoever opens it first becomes the administrator. The tenant's
//! row is locked meanwhile, so that two links cannot make two first administrators.
//! Run these on the worker's transactions.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::directory::{self, DirectoryError, User, builtin};
use crate::principal::{UserKind, UserStatus};
use crate::repo::bootstrap as repo;
use crate::secret;

/// How long a link is good.
pub const TERM: Duration = Duration::from_secs(60 * 60);

const PREFIX: &str = "plb_";

/// Why there is no link, or no administrator.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// There is no such tenant.
    #[error("there is no tenant {0}")]
    NoTenant(Uuid),
    /// The tenant has one.
    #[error("the tenant has an administrator already, who can make others")]
    HasAdministrator,
    /// We did not make it.
    #[error("this is not a link of this server")]
    Unknown,
    /// It was opened before.
    #[error("the link was used already")]
    Used,
    /// It is too late.
    #[error("the link has expired: run the command again for another")]
    Expired,
    /// The user could not be made.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The database's.
    #[error("the link could not be read or written: {0}")]
    Db(#[from] sqlx::Error),
}

/// Makes a link's token, good for [`TERM`]. Show it once.
///
/// # Errors
/// [`BootstrapError::NoTenant`], [`BootstrapError::HasAdministrator`].
pub async fn bootstrap(conn: &mut PgConnection, tenant_id: Uuid) -> Result<SecretString, BootstrapError> {
    require_no_administrator(conn, tenant_id).await?;
    let secret = secret::random();
    repo::insert(conn, &secret::sha256(secret.as_slice()), tenant_id, TERM).await?;
    Ok(secret::token(PREFIX, &secret))
}

/// Uses the token, and returns the administrator that it made; open a session for that user in the same transaction.
///
/// # Errors
/// [`BootstrapError`] says why not; the transaction is to be rolled back then.
pub async fn redeem(
    conn: &mut PgConnection,
    token: &SecretString,
    display_name: &str,
) -> Result<User, BootstrapError> {
    let secret =
        token.expose_secret().strip_prefix(PREFIX).and_then(secret::parse).ok_or(BootstrapError::Unknown)?;
    let hash = secret::sha256(secret.as_slice());
    let link = repo::lock(conn, &hash).await?.ok_or(BootstrapError::Unknown)?;
    if link.is_used {
        return Err(BootstrapError::Used);
    }
    if link.is_expired {
        return Err(BootstrapError::Expired);
    }
    require_no_administrator(conn, link.tenant_id).await?;
    let user =
        directory::create_user(conn, link.tenant_id, UserKind::Person, UserStatus::Active, display_name)
            .await?;
    directory::assign_role(conn, link.tenant_id, user.user_id, builtin::ADMIN).await?;
    repo::mark_used(conn, &hash, user.user_id).await?;
    Ok(user)
}

async fn require_no_administrator(conn: &mut PgConnection, tenant_id: Uuid) -> Result<(), BootstrapError> {
    if !repo::lock_tenant(conn, tenant_id).await? {
        return Err(BootstrapError::NoTenant(tenant_id));
    }
    if repo::has_holder(conn, tenant_id, builtin::ADMIN).await? {
        return Err(BootstrapError::HasAdministrator);
    }
    Ok(())
}
