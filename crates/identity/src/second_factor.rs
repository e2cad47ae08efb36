//! What the kinds of second factor (`totp`, `webauthn`) have in common: how they are named, listed and taken away, and that who has one adds
//! another only after giving it. Else whoever stole a session, which is the first factor, would add a second of their own.
//!
//! # Taking one away
//! A person takes away what is theirs with a second factor that was given lately ([`remove_own`]). What their roles allow may demand one: the last one that is
//! taken then stays until another is there. An administrator takes away anybody's, the last one too ([`remove`]): that is the way back of who
//! lost it.
//!
//! Either ends the user's sessions, but for the one that asks: in one of them the factor may have been given by whoever it was taken away from, and
//! would count for an hour. After the commit, have them forgotten (`Authenticator::forget_session`). The user's row is locked meanwhile, so that of two removals the
//! second sees what the first left.
//!
//! Run these on either role's transactions: the app's lists and takes away, and reads neither seed nor key.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::directory::{self, DirectoryError};
use crate::listing;
use crate::permission::{Permission, PermissionSet};
use crate::principal::{Credential, Principal};
use crate::repo::{sessions, totp, webauthn};
use crate::session::RevokeReason;

const TOTP: &str = "totp";
const WEBAUTHN_PREFIX: &str = "webauthn:";
/// As long as an authenticator's name for a key gets (Web Authentication Level 3, §4).
const CREDENTIAL_ID_MAX_BYTES: usize = 1_023;

/// One of a user's second factors. As text: `totp`, or `webauthn:` and in base64url what the authenticator calls the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FactorId {
    /// The code app: a user has one.
    Totp,
    /// A security key.
    Webauthn(Vec<u8>),
}

/// The text names no second factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a second factor is `totp`, or `webauthn:` and the key's id in base64url, as it is listed")]
pub struct NoFactorId;

impl fmt::Display for FactorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Totp => f.write_str(TOTP),
            Self::Webauthn(id) => write!(f, "{WEBAUTHN_PREFIX}{}", URL_SAFE_NO_PAD.encode(id)),
        }
    }
}

impl FromStr for FactorId {
    type Err = NoFactorId;

    fn from_str(text: &str) -> Result<Self, NoFactorId> {
        if text == TOTP {
            return Ok(Self::Totp);
        }
        let id = text.strip_prefix(WEBAUTHN_PREFIX).and_then(|id| URL_SAFE_NO_PAD.decode(id).ok());
        id.filter(|id| (1..=CREDENTIAL_ID_MAX_BYTES).contains(&id.len()))
            .map(Self::Webauthn)
            .ok_or(NoFactorId)
    }
}

/// A second factor that is in force, for lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FactorInfo {
    /// Which.
    pub id: FactorId,
    /// What its user calls it; a code app has no name.
    pub label: Option<String>,
    /// When it was set up.
    pub created_at: OffsetDateTime,
    /// When it was last given.
    pub last_used_at: Option<OffsetDateTime>,
    /// When a security key's counter went back: it is not taken since.
    pub cloned_at: Option<OffsetDateTime>,
}

/// Why a second factor was not taken away.
#[derive(Debug, thiserror::Error)]
pub enum RemovalError {
    /// It was not given lately.
    #[error("a second factor is taken away by who gave one: give it first")]
    NotGiven,
    /// It is asked for with an API key.
    #[error("one's own second factor is taken away in a session: sign in first")]
    NoSession,
    /// The user has none of that name.
    #[error("the user has no second factor {0}")]
    Unknown(FactorId),
    /// The user's roles allow what asks for one.
    #[error("it is the last one, and the user's roles allow what asks for one: add another first")]
    Last,
    /// There is no such user.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The database's.
    #[error("the second factor could not be read or written: {0}")]
    Db(#[from] sqlx::Error),
}

/// Whether a user has a second factor in force, of whatever kind.
///
/// # Errors
/// The database's.
pub async fn is_enrolled(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    user_id: Uuid,
) -> Result<bool, sqlx::Error> {
    webauthn::has_second_factor(conn, tenant_id, user_id).await
}

/// Whether the principal gave a second factor lately, or has none to give: who is asked for this has proved as much as they can.
pub(crate) async fn is_given_if_any(
    conn: &mut PgConnection,
    principal: &Principal,
) -> Result<bool, sqlx::Error> {
    Ok(principal.second_factor || !is_enrolled(conn, principal.tenant_id, principal.user_id).await?)
}

/// A user's second factors in force: the code app, then the keys by label.
///
/// # Errors
/// The database's.
pub async fn list(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    user_id: Uuid,
) -> Result<Vec<FactorInfo>, sqlx::Error> {
    let mut factors: Vec<FactorInfo> = totp::confirmed(conn, tenant_id, user_id).await?.into_iter().collect();
    factors.extend(webauthn::list(conn, tenant_id, user_id).await?);
    Ok(factors)
}

/// Takes one of the principal's own second factors away, and ends their other sessions. Returns which these were.
///
/// # Errors
/// [`RemovalError`]; nothing was changed then.
pub async fn remove_own(
    conn: &mut PgConnection,
    principal: &Principal,
    id: &FactorId,
) -> Result<Vec<Uuid>, RemovalError> {
    let Principal { tenant_id, user_id, .. } = *principal;
    let Credential::Session(session_id) = principal.credential else { return Err(RemovalError::NoSession) };
    if !principal.second_factor {
        return Err(RemovalError::NotGiven);
    }
    listing::lock_user(conn, tenant_id, user_id).await?;
    let factors = list(conn, tenant_id, user_id).await?;
    let good: Vec<&FactorId> =
        factors.iter().filter(|factor| factor.cloned_at.is_none()).map(|factor| &factor.id).collect();
    if good == [id] && demands_one(directory::permissions_of(conn, tenant_id, user_id).await?) {
        return Err(RemovalError::Last);
    }
    take(conn, tenant_id, user_id, id).await?;
    Ok(sessions::revoke_all(conn, tenant_id, user_id, Some(session_id), RevokeReason::SignedOut).await?)
}

/// Takes a second factor away from a user, for an administrator, and ends all of the user's sessions. Returns which these were.
///
/// # Errors
/// [`RemovalError::Unknown`], [`RemovalError::Directory`], or the database's; nothing was changed then.
pub async fn remove(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    user_id: Uuid,
    id: &FactorId,
) -> Result<Vec<Uuid>, RemovalError> {
    listing::lock_user(conn, tenant_id, user_id).await?;
    take(conn, tenant_id, user_id, id).await?;
    Ok(sessions::revoke_all(conn, tenant_id, user_id, None, RevokeReason::Administrator).await?)
}

fn demands_one(permissions: PermissionSet) -> bool {
    permissions.iter().any(Permission::is_sensitive)
}

async fn take(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    user_id: Uuid,
    id: &FactorId,
) -> Result<(), RemovalError> {
    let had = match id {
        FactorId::Totp => totp::remove(conn, tenant_id, user_id).await?,
        FactorId::Webauthn(id) => webauthn::remove(conn, tenant_id, user_id, id).await?,
    };
    if had { Ok(()) } else { Err(RemovalError::Unknown(id.clone())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_factor_is_named_in_one_way() {
        for (text, id) in
            [("totp", FactorId::Totp), ("webauthn:AQID_w", FactorId::Webauthn(vec![1, 2, 3, 255]))]
        {
            assert_eq!((text.parse(), id.to_string().as_str()), (Ok(id.clone()), text));
        }
        let long = format!("webauthn:{}", URL_SAFE_NO_PAD.encode([0; 1_024]));
        for wrong in
            ["", "TOTP", "webauthn", "webauthn:", "webauthn:AQID/w", "webauthn:AQID_w==", "webauthn:A", &long]
        {
            assert_eq!(wrong.parse::<FactorId>(), Err(NoFactorId), "{wrong:?}");
        }
    }
}
