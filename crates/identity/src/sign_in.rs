//! The sign-in itself: a nonce is given out, comes back in a signed message, and is used once.
//!
//! 1. [`issue_nonce`], for a tenant.
//! 2. [`crate::siwe::check`], outside of any transaction: a contract wallet may have to be asked.
//! 3. [`sign_in`], in one transaction with [`crate::session::open`]: the nonce is used, the user found or made, the session opened, or
//!    nothing of it.
//!
//! A nonce belongs to a tenant, so a message that was signed to sign in to one cannot be used at another. Run these on the worker's
//! transactions: nobody knows yet who is there.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::directory::{self, DirectoryError, User};
use crate::principal::{Principal, UserKind, UserStatus};
use crate::repo::nonces as repo;
use crate::secret;
use crate::siwe::{MAX_AGE, Proven};

/// 128 random bits.
const NONCE_BYTES: usize = 16;

/// What becomes of an address that no user of the tenant has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registration {
    /// It is turned away.
    Closed,
    /// It becomes a user without any role, with this status ([`UserStatus::PendingReview`] where a KYC process comes first).
    Open(UserStatus),
}

/// Why a proven message did not sign anybody in.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// We never gave it out, or so long ago that it is forgotten.
    #[error("the message's nonce was not given out by this server: ask for a new one")]
    NonceUnknown,
    /// It signed somebody in already: this is a replay, or an answer that was lost.
    #[error("the message was used already: ask for a new nonce and sign again")]
    NonceUsed,
    /// It came back too late.
    #[error("the message's nonce has expired: ask for a new one")]
    NonceExpired,
    /// The address is nobody's.
    #[error("no user of this tenant has this address on this chain; an administrator can link it")]
    NoUser,
    /// The user is suspended.
    #[error("this user is suspended")]
    Suspended,
    /// The nonce was given out for another tenant than the one that the principal is of.
    #[error("the nonce was given out for another tenant")]
    OtherTenant,
    /// The address could not be linked, or the user not be made.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The database's.
    #[error("the sign-in could not be recorded: {0}")]
    Db(#[from] sqlx::Error),
}

/// A nonce for one sign-in to the tenant, good for [`MAX_AGE`].
///
/// # Errors
/// The database's; a tenant that is not there among them.
pub async fn issue_nonce(conn: &mut PgConnection, tenant_id: Uuid) -> Result<String, sqlx::Error> {
    let nonce = alloy_primitives::hex::encode(secret::random::<NONCE_BYTES>().as_slice());
    repo::insert(conn, &nonce, tenant_id, MAX_AGE).await?;
    Ok(nonce)
}

/// Uses the nonce and returns the user who signed.
///
/// # Errors
/// [`SignInError`]; the transaction is to be rolled back then.
pub async fn sign_in(
    conn: &mut PgConnection,
    proven: &Proven,
    registration: Registration,
) -> Result<User, SignInError> {
    let tenant_id = consume(conn, &proven.nonce).await?;
    let found = directory::owner_of(conn, tenant_id, proven.chain_id, proven.address).await?;
    let user = match (found, registration) {
        (Some(user), _) => user,
        (None, Registration::Closed) => return Err(SignInError::NoUser),
        (None, Registration::Open(status)) => {
            let name = proven.address.to_checksum(None);
            let user = directory::create_user(conn, tenant_id, UserKind::Person, status, &name).await?;
            directory::link_address(conn, tenant_id, user.user_id, proven.chain_id, proven.address).await?;
            user
        }
    };
    if user.status == UserStatus::Suspended { Err(SignInError::Suspended) } else { Ok(user) }
}

/// Uses the nonce and gives the address that signed to a user who has signed in already.
///
/// # Errors
/// As [`sign_in`]; [`DirectoryError::AddressTaken`] when another user of the tenant has the address.
pub async fn link(
    conn: &mut PgConnection,
    proven: &Proven,
    principal: &Principal,
) -> Result<(), SignInError> {
    if consume(conn, &proven.nonce).await? != principal.tenant_id {
        return Err(SignInError::OtherTenant);
    }
    directory::link_address(conn, principal.tenant_id, principal.user_id, proven.chain_id, proven.address)
        .await?;
    Ok(())
}

async fn consume(conn: &mut PgConnection, nonce: &str) -> Result<Uuid, SignInError> {
    if let Some(tenant_id) = repo::consume(conn, nonce).await? {
        return Ok(tenant_id);
    }
    Err(match repo::is_used(conn, nonce).await? {
        None => SignInError::NonceUnknown,
        Some(true) => SignInError::NonceUsed,
        Some(false) => SignInError::NonceExpired,
    })
}
