//! Who a user is elsewhere: the subject of an OpenID Connect issuer (`oidc`). Like an address, it belongs to one user of a tenant at a
//! time. An administrator links it, or the user by going there ([`oidc::begin_link`](crate::oidc::begin_link)): nothing that a provider says of a person (an e-mail
//! address least of all, which is given to another when somebody leaves) makes them a user whom we knew before.
//!
//! What one links or unlinks oneself is a way in: who has a second factor gives it before, and the only way in stays.
//!
//! Run these on a transaction of the app role that is confined to the tenant, as the rest of the `directory`.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::directory::{self, DirectoryError, User};
use crate::listing;
use crate::principal::{Credential, Principal};
use crate::repo::external as repo;
use crate::second_factor;

/// OpenID Connect Core 1.0 §2: a subject has at most 255 ASCII characters.
pub const MAX_SUBJECT_CHARS: usize = 255;
/// The longest issuer.
pub const MAX_ISSUER_CHARS: usize = 1_000;

/// A subject of an issuer, linked to a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalIdentity {
    /// The issuer, exactly as its tokens name it.
    pub issuer: String,
    /// What the issuer calls the person.
    pub subject: String,
    /// Since when.
    pub linked_at: OffsetDateTime,
}

/// Why an identity was not linked.
#[derive(Debug, thiserror::Error)]
pub enum ExternalError {
    /// The issuer or the subject is none.
    #[error(
        "an issuer has 1 to {MAX_ISSUER_CHARS} characters, and a subject 1 to {MAX_SUBJECT_CHARS} of ASCII"
    )]
    Malformed,
    /// Another user of this tenant has it.
    #[error("{subject:?} of {issuer} belongs to another user of this tenant: it must be removed there first")]
    Taken {
        /// The issuer.
        issuer: String,
        /// Its subject.
        subject: String,
    },
    /// It is one's own, and asked for with an API key.
    #[error("one's own identities are changed in a session: sign in first")]
    NoSession,
    /// The user has a second factor, and has not given it lately.
    #[error("this user has a second factor: give it before changing how they sign in")]
    SecondFactor,
    /// It is the only way in.
    #[error("the user has no other way to sign in: link another before, or ask an administrator")]
    OnlyWay,
    /// There is no such user.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The database's.
    #[error("the external identity could not be read or written: {0}")]
    Db(#[from] sqlx::Error),
}

/// Gives a subject of an issuer to a user. Doing it again changes nothing.
///
/// # Errors
/// [`ExternalError`].
pub async fn link(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    user_id: Uuid,
    issuer: &str,
    subject: &str,
) -> Result<(), ExternalError> {
    let is_subject = (1..=MAX_SUBJECT_CHARS).contains(&subject.len())
        && subject.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
    if !is_subject || !(1..=MAX_ISSUER_CHARS).contains(&issuer.chars().count()) || issuer.contains('\0') {
        return Err(ExternalError::Malformed);
    }
    directory::user(conn, tenant_id, user_id).await?;
    if repo::insert(conn, tenant_id, user_id, issuer, subject).await? {
        return Ok(());
    }
    match repo::owner_of(conn, tenant_id, issuer, subject).await? {
        Some(owner) if owner.user_id == user_id => Ok(()),
        _ => Err(ExternalError::Taken { issuer: issuer.to_owned(), subject: subject.to_owned() }),
    }
}

/// Takes it away. Returns whether the user had it.
///
/// # Errors
/// The database's.
pub async fn unlink(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    user_id: Uuid,
    issuer: &str,
    subject: &str,
) -> Result<bool, ExternalError> {
    Ok(repo::remove(conn, tenant_id, user_id, issuer, subject).await?)
}

/// Takes one of the principal's own away. Returns whether they had it.
///
/// # Errors
/// [`ExternalError`]; nothing was changed then.
pub async fn unlink_own(
    conn: &mut PgConnection,
    principal: &Principal,
    issuer: &str,
    subject: &str,
) -> Result<bool, ExternalError> {
    let Principal { tenant_id, user_id, .. } = *principal;
    require_own(conn, principal).await?;
    listing::lock_user(conn, tenant_id, user_id).await?;
    let identities = list(conn, tenant_id, user_id).await?;
    let is_only = matches!(&identities[..], [only] if only.issuer == issuer && only.subject == subject);
    if is_only && directory::addresses(conn, tenant_id, user_id).await?.is_empty() {
        return Err(ExternalError::OnlyWay);
    }
    unlink(conn, tenant_id, user_id, issuer, subject).await
}

/// The principal's session, in which they have proved as much as they can.
pub(crate) async fn require_own(
    conn: &mut PgConnection,
    principal: &Principal,
) -> Result<Uuid, ExternalError> {
    let Credential::Session(session_id) = principal.credential else { return Err(ExternalError::NoSession) };
    if !second_factor::is_given_if_any(conn, principal).await? {
        return Err(ExternalError::SecondFactor);
    }
    Ok(session_id)
}

/// Whose it is, in this tenant.
///
/// # Errors
/// The database's.
pub async fn owner_of(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    issuer: &str,
    subject: &str,
) -> Result<Option<User>, ExternalError> {
    Ok(repo::owner_of(conn, tenant_id, issuer, subject).await?)
}

/// Those of a user.
///
/// # Errors
/// The database's.
pub async fn list(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    user_id: Uuid,
) -> Result<Vec<ExternalIdentity>, ExternalError> {
    Ok(repo::list(conn, tenant_id, user_id).await?)
}
