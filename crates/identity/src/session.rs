//! Sessions: one sign-in, its access tokens, and the family of its refresh tokens.
//!
//! A refresh token is good once. Who comes with one that was used has stolen it, or was stolen from, and nobody can tell which: the whole
//! session ends. That must be *committed*, so a refusal is an answer ([`Refreshed::Refused`]) and not an error that would roll it back.
//!
//! An access token names its session, and the session is looked at with every request (through a short memory, `authenticator`): a
//! revocation is a row, not a list of tokens.
//!
//! Run these on the worker's transactions.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::directory::User;
use crate::principal::{UserStatus, text_enum};
use crate::repo::{nonces, oidc, sessions as repo, webauthn};
use crate::secret;
use crate::token::{SigningError, Tokens};

/// How long a session lasts at most, however often it is refreshed.
pub const SESSION_TERM: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long a refresh token waits to be used.
pub const REFRESH_TERM: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long a second factor counts.
pub const SECOND_FACTOR_TERM: Duration = Duration::from_secs(3600);
/// How long what is over is kept for those who ask what happened.
pub const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

const REFRESH_PREFIX: &str = "plr_";
/// Rows that one sweep deletes of each table at most.
const SWEEP_ROWS: i64 = 1_000;

/// How somebody signed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// With a wallet (EIP-4361).
    Wallet,
    /// At an OpenID Connect provider.
    Oidc,
    /// With a password of the development file.
    Password,
    /// With the first administrator's link.
    Bootstrap,
}

/// Why a session was revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevokeReason {
    /// By its own user.
    SignedOut,
    /// A refresh token came twice.
    RefreshReused,
    /// By an administrator.
    Administrator,
    /// The user was suspended.
    Suspended,
}

text_enum!(Method { Wallet = "wallet", Oidc = "oidc", Password = "password", Bootstrap = "bootstrap", });
text_enum!(RevokeReason {
    SignedOut = "signed_out",
    RefreshReused = "refresh_reused",
    Administrator = "administrator",
    Suspended = "suspended",
});

/// The tokens of a session.
#[derive(Debug)]
pub struct TokenPair {
    /// The session.
    pub session_id: Uuid,
    /// For requests: a JWT.
    pub access_token: SecretString,
    /// Until when.
    pub access_expires_at: OffsetDateTime,
    /// For the next pair: `plr_…`, good once.
    pub refresh_token: SecretString,
    /// Until when.
    pub refresh_expires_at: OffsetDateTime,
}

/// What came of a refresh token. Commit the transaction whichever it is.
#[derive(Debug)]
#[must_use]
pub enum Refreshed {
    /// A new pair; the token that was given is used up.
    Issued(TokenPair),
    /// None.
    Refused(RefreshRefusal),
}

/// Why there are no new tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefreshRefusal {
    /// We did not make it, or so long ago that it is forgotten.
    #[error("this is not a refresh token of this server")]
    Unknown,
    /// It was used before: the session is over now. After the commit, have its memory forgotten (`Authenticator::forget_session`).
    #[error(
        "this refresh token was used before; the session has been ended, as either use may have been a thief's. Sign in again"
    )]
    Reused {
        /// Whose.
        tenant_id: Uuid,
        /// Which.
        session_id: Uuid,
    },
    /// It, or the session, has run out.
    #[error("the session has expired: sign in again")]
    Expired,
    /// The session was revoked.
    #[error("the session has been revoked: sign in again")]
    Revoked,
    /// The user is suspended.
    #[error("this user is suspended")]
    Suspended,
}

/// Why a session was not opened or changed.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The access token could not be made.
    #[error(transparent)]
    Signing(#[from] SigningError),
    /// The database's.
    #[error("the session could not be read or written: {0}")]
    Db(#[from] sqlx::Error),
}

/// Opens a session for a user who has just proved who they are. Whoever is suspended is turned away at the first use of it.
///
/// # Errors
/// [`SessionError`].
pub async fn open(
    conn: &mut PgConnection,
    tokens: &Tokens,
    user: &User,
    method: Method,
) -> Result<TokenPair, SessionError> {
    let session_id = Uuid::now_v7();
    repo::insert(conn, session_id, user.tenant_id, user.user_id, method, SESSION_TERM).await?;
    pair(conn, tokens, user.tenant_id, user.user_id, session_id).await
}

/// Uses a refresh token up. Commit the transaction whatever the answer.
///
/// # Errors
/// [`SessionError`]; a refusal is not one.
pub async fn refresh(
    conn: &mut PgConnection,
    tokens: &Tokens,
    token: &SecretString,
) -> Result<Refreshed, SessionError> {
    let Some(secret) = token.expose_secret().strip_prefix(REFRESH_PREFIX).and_then(secret::parse) else {
        return Ok(Refreshed::Refused(RefreshRefusal::Unknown));
    };
    let hash = secret::sha256(secret.as_slice());
    let Some(used) = repo::use_refresh(conn, &hash).await? else {
        let Some((tenant_id, session_id)) = repo::family(conn, &hash).await? else {
            return Ok(Refreshed::Refused(RefreshRefusal::Unknown));
        };
        repo::revoke(conn, tenant_id, session_id, RevokeReason::RefreshReused).await?;
        tracing::warn!(%tenant_id, %session_id, "a refresh token was used twice; its session is revoked");
        return Ok(Refreshed::Refused(RefreshRefusal::Reused { tenant_id, session_id }));
    };
    let refusal = if used.is_revoked {
        RefreshRefusal::Revoked
    } else if used.is_expired {
        RefreshRefusal::Expired
    } else if used.status == UserStatus::Suspended {
        RefreshRefusal::Suspended
    } else {
        return Ok(Refreshed::Issued(
            pair(conn, tokens, used.tenant_id, used.user_id, used.session_id).await?,
        ));
    };
    Ok(Refreshed::Refused(refusal))
}

/// Ends a session. Returns whether it was in force.
///
/// # Errors
/// The database's.
pub async fn revoke(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    session_id: Uuid,
    reason: RevokeReason,
) -> Result<bool, SessionError> {
    Ok(repo::revoke(conn, tenant_id, session_id, reason).await?)
}

/// Ends all sessions of a user, and returns which.
///
/// # Errors
/// The database's.
pub async fn revoke_all(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    user_id: Uuid,
    reason: RevokeReason,
) -> Result<Vec<Uuid>, SessionError> {
    Ok(repo::revoke_all(conn, tenant_id, user_id, None, reason).await?)
}

/// Notes that the session's user gave a second factor now. Returns whether the session is in force.
///
/// # Errors
/// The database's.
pub async fn note_second_factor(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    session_id: Uuid,
) -> Result<bool, SessionError> {
    Ok(repo::note_second_factor(conn, tenant_id, session_id, None).await?)
}

/// Deletes nonces, sign-ins and challenges that were never finished, refresh tokens and sessions that are over for [`KEPT`], a bounded number at a time. Returns how many rows went; a caller
/// comes again until it is none.
///
/// # Errors
/// The database's.
pub async fn sweep(conn: &mut PgConnection) -> Result<u64, SessionError> {
    let begun = nonces::delete_expired(conn, KEPT, SWEEP_ROWS).await?
        + oidc::delete_expired(conn, KEPT, SWEEP_ROWS).await?
        + webauthn::delete_expired(conn, KEPT, SWEEP_ROWS).await?;
    Ok(begun + repo::delete_expired(conn, KEPT, SWEEP_ROWS).await?)
}

async fn pair(
    conn: &mut PgConnection,
    tokens: &Tokens,
    tenant_id: Uuid,
    user_id: Uuid,
    session_id: Uuid,
) -> Result<TokenPair, SessionError> {
    let secret = secret::random();
    let refresh_expires_at =
        repo::insert_refresh(conn, &secret::sha256(secret.as_slice()), tenant_id, session_id, REFRESH_TERM)
            .await?;
    let (access_token, access_expires_at) =
        tokens.sign(tenant_id, user_id, session_id, OffsetDateTime::now_utc())?;
    let refresh_token = secret::token(REFRESH_PREFIX, &secret);
    Ok(TokenPair { session_id, access_token, access_expires_at, refresh_token, refresh_expires_at })
}
