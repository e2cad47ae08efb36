//! The half of a sign-in that is in the database: begun, resumed once, and ended with a session; or, where somebody who has one began it,
//! with a subject that is theirs from then on.

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::provider::{BROWSER_PREFIX, shown};
use super::{Authorization, Identity, OidcError, Provider, Provisioning, REQUEST_TERM};
use crate::directory::{self, User};
use crate::external::{self, ExternalIdentity};
use crate::listing::{self, SessionInfo};
use crate::principal::{Principal, UserKind, UserStatus};
use crate::repo::{hash, oidc as repo, sessions};
use crate::secret::{self, Secret};
use crate::session::{self, Method, SessionError, TokenPair};
use crate::token::Tokens;

/// What the browser brings back: the query of the redirect (Core §3.1.2.5, RFC 9207).
#[derive(Clone, Debug, Deserialize)]
pub struct Callback {
    /// Which sign-in this is.
    pub state: SecretString,
    /// To be redeemed.
    pub code: Option<SecretString>,
    /// Why there is no code.
    pub error: Option<String>,
    /// Who answers.
    pub iss: Option<String>,
}

/// A sign-in that came back, for [`Provider::exchange`]. Its state is used up.
#[derive(Debug)]
pub struct Pending {
    pub(super) tenant_id: Uuid,
    pub(super) issuer: String,
    pub(super) named_issuer: Option<String>,
    /// The code, or why there is none.
    pub(super) answer: Result<SecretString, String>,
    pub(super) browser: Secret,
    pub(super) nonce_hash: [u8; 32],
    pub(super) session_id: Option<Uuid>,
}

/// Notes that a sign-in is under way, for [`REQUEST_TERM`].
///
/// # Errors
/// The database's; a tenant that is not there among them.
pub async fn begin(conn: &mut PgConnection, authorization: &Authorization) -> Result<(), OidcError> {
    Ok(repo::insert(conn, authorization, None, REQUEST_TERM).await?)
}

/// Notes that the principal goes there to link what the provider calls them, for [`REQUEST_TERM`]. Who has a second factor gives it before, as before
/// adding another: whoever has stolen a session would have a way in of their own.
///
/// # Errors
/// [`OidcError::OtherTenant`]; `ExternalError::NoSession` and `SecondFactor`; or the database's.
pub async fn begin_link(
    conn: &mut PgConnection,
    authorization: &Authorization,
    principal: &Principal,
) -> Result<(), OidcError> {
    let session_id = external::require_own(conn, principal).await?;
    if authorization.tenant_id != principal.tenant_id {
        return Err(OidcError::OtherTenant);
    }
    Ok(repo::insert(conn, authorization, Some(session_id), REQUEST_TERM).await?)
}

/// Uses the state up, whatever the provider's answer was. **Commit before [`Provider::exchange`]**, which says what it was.
///
/// # Errors
/// [`OidcError::StateUnknown`], [`OidcError::StateUsed`], [`OidcError::StateExpired`], [`OidcError::OtherBrowser`]: nothing was changed.
pub async fn resume(
    conn: &mut PgConnection,
    provider: &Provider,
    callback: Callback,
    browser_secret: &SecretString,
) -> Result<Pending, OidcError> {
    let (tenant_id, issuer) = (provider.config().tenant_id, provider.config().issuer.clone());
    let browser = browser_secret.expose_secret().strip_prefix(BROWSER_PREFIX).and_then(secret::parse);
    let browser = browser.ok_or(OidcError::OtherBrowser)?;
    let state_hash = secret::sha256(callback.state.expose_secret().as_bytes());
    let browser_hash = secret::sha256(browser.as_slice());
    let Some(begun) = repo::consume(conn, &state_hash, tenant_id, &issuer, &browser_hash).await? else {
        return Err(match repo::standing(conn, &state_hash, tenant_id, &issuer, &browser_hash).await? {
            None => OidcError::StateUnknown,
            Some(standing) if !standing.is_browsers => OidcError::OtherBrowser,
            Some(standing) if standing.is_used => OidcError::StateUsed,
            Some(standing) if standing.is_expired => OidcError::StateExpired,
            // Used by a rival between the two statements, and swept away by none.
            Some(_) => OidcError::StateUsed,
        });
    };
    let (nonce_hash, session_id) = (hash(&begun.nonce_hash)?, begun.session_id);
    let answer = match callback.error {
        Some(error) => Err(shown(&error)),
        None => callback.code.ok_or_else(|| "no code".to_owned()),
    };
    Ok(Pending { tenant_id, issuer, named_issuer: callback.iss, answer, browser, nonce_hash, session_id })
}

/// Finds or makes the user, and opens the session; with a second factor given, where the provider's counts.
///
/// # Errors
/// [`OidcError`]; the transaction is to be rolled back then. [`OidcError::OtherPurpose`] where it was begun by [`begin_link`].
pub async fn sign_in(
    conn: &mut PgConnection,
    provider: &Provider,
    tokens: &Tokens,
    identity: &Identity,
) -> Result<(User, TokenPair), OidcError> {
    let Identity { tenant_id, issuer, subject, session_id, .. } = identity;
    if session_id.is_some() {
        return Err(OidcError::OtherPurpose);
    }
    let user = match external::owner_of(conn, *tenant_id, issuer, subject).await? {
        Some(user) => user,
        None => create(conn, &provider.config().provisioning, identity).await?,
    };
    if user.status == UserStatus::Suspended {
        return Err(OidcError::Suspended);
    }
    let pair = session::open(conn, tokens, &user, Method::Oidc).await?;
    if let Some(at) = identity.second_factor_at {
        sessions::note_second_factor(conn, *tenant_id, pair.session_id, Some(at))
            .await
            .map_err(SessionError::from)?;
    }
    Ok((user, pair))
}

/// A user who has linked a subject to themselves.
#[derive(Debug)]
pub struct Linked {
    /// The user.
    pub user: User,
    /// What they were elsewhere before.
    pub before: Vec<ExternalIdentity>,
}

/// Links the subject to the user in whose session it was asked for ([`begin_link`]).
///
/// # Errors
/// [`OidcError`]; the transaction is to be rolled back then. [`OidcError::SessionOver`] where the session has ended meanwhile,
/// [`OidcError::OtherPurpose`] where it was begun by [`begin`].
pub async fn link(conn: &mut PgConnection, identity: &Identity) -> Result<Linked, OidcError> {
    let Identity { tenant_id, issuer, subject, .. } = identity;
    let session_id = identity.session_id.ok_or(OidcError::OtherPurpose)?;
    let session = listing::lock_session(conn, *tenant_id, session_id).await?;
    let is_in_force = |session: &SessionInfo| {
        session.revoked_at.is_none() && session.expires_at > OffsetDateTime::now_utc()
    };
    let session = session.filter(is_in_force).ok_or(OidcError::SessionOver)?;
    let user = listing::lock_user(conn, *tenant_id, session.user_id).await?;
    if user.status == UserStatus::Suspended {
        return Err(OidcError::Suspended);
    }
    let before = external::list(conn, *tenant_id, user.user_id).await?;
    external::link(conn, *tenant_id, user.user_id, issuer, subject).await?;
    Ok(Linked { user, before })
}

async fn create(
    conn: &mut PgConnection,
    provisioning: &Provisioning,
    identity: &Identity,
) -> Result<User, OidcError> {
    let Identity { tenant_id, issuer, subject, name, .. } = identity;
    let Provisioning::Create { role, status } = provisioning else {
        return Err(OidcError::NotLinked { issuer: issuer.clone(), subject: subject.clone() });
    };
    let user = directory::create_user(conn, *tenant_id, UserKind::Person, *status, name).await?;
    if let Some(role) = role {
        directory::assign_role(conn, *tenant_id, user.user_id, role).await?;
    }
    external::link(conn, *tenant_id, user.user_id, issuer, subject).await?;
    tracing::info!(%tenant_id, user_id = %user.user_id, issuer, "a subject of the identity provider became a user");
    Ok(user)
}
