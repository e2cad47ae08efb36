//! Keys of machines: `plk_<id>_<secret>`.
//!
//! The id finds the row, in one indexed query that brings the user's standing along; the secret's SHA-256 is compared in constant time. Not
//! argon2id: a slow hash makes *guessing* dear, and 256 random bits are not guessed; it would add tens of milliseconds to each request
//! of a machine, and hand out a way to exhaust the server.
//!
//! What a key may do is its scopes *and* what its user may do at that moment: a role that is withdrawn narrows every key at once.
//! After a rotation the old secret is good for a grace period beside the new one, so that a fleet can be moved over.
//! A key may be bound to a client certificate: then a stolen key is of no use without the certificate's private key, and the two
//! together count as two factors.
//!
//! Run these on either role's transactions: the app's role sees its tenant's keys, and no hash of any.

use std::time::Duration;

use secrecy::SecretString;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::permission::{Permission, PermissionSet};
use crate::repo::{api_keys as repo, directory};
use crate::secret::{self, Secret};

/// How every key begins, so that secret scanners know it.
pub const PREFIX: &str = "plk_";
/// The longest that a key may live.
pub const MAX_LIFETIME: Duration = Duration::from_secs(400 * 24 * 3600);
/// The longest that a rotated secret may live on.
pub const MAX_GRACE: Duration = Duration::from_secs(30 * 24 * 3600);

const KEY_ID_BYTES: usize = 8;
const KEY_ID_DIGITS: usize = 2 * KEY_ID_BYTES;
const LABEL_MAX_CHARS: usize = 200;

/// A key to be issued.
#[derive(Clone, Debug)]
pub struct NewApiKey<'a> {
    /// Whose user.
    pub tenant_id: Uuid,
    /// In whose name it acts.
    pub user_id: Uuid,
    /// For people to tell it by.
    pub label: &'a str,
    /// What it may do at most; all of it what the user may do now.
    pub scopes: PermissionSet,
    /// From now on.
    pub lifetime: Duration,
    /// SHA-256 of the client certificate (DER) that must come with it.
    pub certificate_hash: Option<[u8; 32]>,
}

/// A key that was issued or rotated. The token is nowhere else: show it once.
#[derive(Debug)]
pub struct IssuedApiKey {
    /// Its id, which is no secret.
    pub key_id: String,
    /// `plk_<id>_<secret>`.
    pub token: SecretString,
    /// Until when.
    pub expires_at: OffsetDateTime,
}

/// A key as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKeyInfo {
    /// Its id.
    pub key_id: String,
    /// In whose name it acts.
    pub user_id: Uuid,
    /// For people.
    pub label: String,
    /// What it may do at most.
    pub scopes: PermissionSet,
    /// Whether a client certificate must come with it.
    pub is_certificate_bound: bool,
    /// Since when.
    pub created_at: OffsetDateTime,
    /// Until when.
    pub expires_at: OffsetDateTime,
    /// To the minute; `None` when it was never used.
    pub last_used_at: Option<OffsetDateTime>,
    /// When it was revoked.
    pub revoked_at: Option<OffsetDateTime>,
}

/// Why no key was issued or rotated.
#[derive(Debug, thiserror::Error)]
pub enum ApiKeyError {
    /// No such user in this tenant, or a suspended one.
    #[error("the tenant has no active user {0}")]
    NoUser(Uuid),
    /// No such key in this tenant, or one that is over.
    #[error("the tenant has no key {0:?} that is in force")]
    NoKey(String),
    /// A key without scopes opens nothing.
    #[error("a key needs at least one scope")]
    NoScope,
    /// The user may not do that.
    #[error("the key's user may not {0}: a key can do no more than its user")]
    ScopeBeyondUser(Permission),
    /// The lifetime is zero or too long.
    #[error("a key lives for more than nothing and at most {} days", MAX_LIFETIME.as_secs() / 86_400)]
    Lifetime,
    /// The grace is too long.
    #[error("a rotated secret lives on for at most {} days", MAX_GRACE.as_secs() / 86_400)]
    Grace,
    /// The label is empty or too long.
    #[error("a label has 1 to {LABEL_MAX_CHARS} characters")]
    Label,
    /// The database's.
    #[error("the keys could not be read or written: {0}")]
    Db(#[from] sqlx::Error),
}

/// Issues a key.
///
/// # Errors
/// [`ApiKeyError`] says which part of it cannot be.
pub async fn issue(conn: &mut PgConnection, new: &NewApiKey<'_>) -> Result<IssuedApiKey, ApiKeyError> {
    if new.label.is_empty() || new.label.chars().count() > LABEL_MAX_CHARS || new.label.contains('\0') {
        return Err(ApiKeyError::Label);
    }
    if new.lifetime.is_zero() || new.lifetime > MAX_LIFETIME {
        return Err(ApiKeyError::Lifetime);
    }
    if new.scopes.is_empty() {
        return Err(ApiKeyError::NoScope);
    }
    let user = directory::user(conn, new.tenant_id, new.user_id).await?;
    if user.is_none_or(|user| user.status == crate::UserStatus::Suspended) {
        return Err(ApiKeyError::NoUser(new.user_id));
    }
    let may = directory::permissions_of(conn, new.tenant_id, new.user_id).await?;
    if let Some(beyond) = new.scopes.iter().find(|scope| !may.contains(*scope)) {
        return Err(ApiKeyError::ScopeBeyondUser(beyond));
    }
    let key_id = alloy_primitives::hex::encode(secret::random::<KEY_ID_BYTES>().as_slice());
    let secret = secret::random();
    let expires_at = repo::insert(conn, &key_id, new, &secret::sha256(secret.as_slice())).await?;
    Ok(IssuedApiKey { token: token(&key_id, &secret), key_id, expires_at })
}

/// Gives the key a new secret. The old one is good for `grace` more, within the key's own life; one that was rotated out before is over.
///
/// # Errors
/// [`ApiKeyError::NoKey`] for a key that is not in force, [`ApiKeyError::Grace`].
pub async fn rotate(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    key_id: &str,
    grace: Duration,
) -> Result<IssuedApiKey, ApiKeyError> {
    if grace > MAX_GRACE {
        return Err(ApiKeyError::Grace);
    }
    let secret = secret::random();
    let expires_at = repo::rotate(conn, tenant_id, key_id, &secret::sha256(secret.as_slice()), grace)
        .await?
        .ok_or_else(|| ApiKeyError::NoKey(key_id.to_owned()))?;
    Ok(IssuedApiKey { token: token(key_id, &secret), key_id: key_id.to_owned(), expires_at })
}

/// Ends the key for good. Returns whether it was in force. Elsewhere it is turned away within `authenticator::CACHE_TERM`.
///
/// # Errors
/// The database's.
pub async fn revoke(conn: &mut PgConnection, tenant_id: Uuid, key_id: &str) -> Result<bool, ApiKeyError> {
    Ok(repo::revoke(conn, tenant_id, key_id).await?)
}

/// The tenant's keys, those that are over too, by id.
///
/// # Errors
/// The database's.
pub async fn list(conn: &mut PgConnection, tenant_id: Uuid) -> Result<Vec<ApiKeyInfo>, ApiKeyError> {
    Ok(repo::list(conn, tenant_id).await?)
}

fn token(key_id: &str, secret: &Secret) -> SecretString {
    secret::token(&format!("{PREFIX}{key_id}_"), secret)
}

/// The id and the secret of a token; `None` for anything that we would not have made.
pub(crate) fn parse(token: &str) -> Option<(&str, Secret)> {
    let (key_id, digits) = token.strip_prefix(PREFIX)?.split_once('_')?;
    if key_id.len() != KEY_ID_DIGITS || !secret::is_lower_hex(key_id) {
        return None;
    }
    Some((key_id, secret::parse(digits)?))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_token_is_parsed_into_what_it_was_made_of() {
        let secret = secret::random();
        let made = token("0123456789abcdef", &secret);
        let (key_id, read) = parse(made.expose_secret()).unwrap();
        assert_eq!((key_id, read), ("0123456789abcdef", secret));
    }

    #[test]
    fn what_we_would_not_have_made_is_no_key() {
        let digits = "a".repeat(64);
        for text in [
            String::new(),
            "plk_".into(),
            "plk__".into(),
            format!("plk_0123456789abcdef{digits}"),
            format!("plk_0123456789ABCDEF_{digits}"),
            format!("plk_0123456789abcde_{digits}"),
            format!("plk_0123456789abcdef_{digits}0"),
            format!("PLK_0123456789abcdef_{digits}"),
            format!("plk_0123456789abcdef_{}", "ä".repeat(32)),
        ] {
            assert!(parse(&text).is_none(), "{text}");
        }
    }
}
