//! Access tokens: short JWTs (RFC 7519, profile of RFC 9068), signed with Ed25519.
//!
//! A token says who and in which session, and nothing about what they may do: that is looked up, so that a role withdrawn or a session
//! revoked does not wait for a token to run out.

use std::time::Duration;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Header, Validation};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::keys::Keys;

/// How long a token is good.
pub const ACCESS_TERM: Duration = Duration::from_secs(10 * 60);
/// How far the clocks of two of our machines may be apart.
const CLOCK_SKEW_S: i64 = 5;
/// The longest token that is looked at.
const MAX_TOKEN_BYTES: usize = 2 * 1024;
const TOKEN_TYPE: &str = "at+jwt";

/// Makes tokens and reads them. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tokens {
    keys: Keys,
    issuer: String,
    audience: String,
    validation: Validation,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Claims {
    iss: String,
    aud: String,
    /// The user.
    pub(crate) sub: Uuid,
    /// The tenant.
    pub(crate) tid: Uuid,
    /// The session.
    pub(crate) sid: Uuid,
    iat: i64,
    exp: i64,
}

/// Why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is no token of ours.
    #[error("this is not an access token of this server")]
    Malformed,
    /// Its key is not among ours, or no longer.
    #[error("the token was signed with a key that this server does not have: refresh it or sign in again")]
    UnknownKey,
    /// It was not signed with the key that it names.
    #[error("the token's signature is wrong")]
    BadSignature,
    /// Another issuer's or for another audience.
    #[error("the token was made by another server, or for another one")]
    NotForUs,
    /// It has run out.
    #[error("the token has expired: refresh it")]
    Expired,
    /// It comes from the future.
    #[error("the token was issued in the future: the servers' clocks differ")]
    IssuedInFuture,
}

/// A token could not be signed: the signing key is not usable.
#[derive(Debug, thiserror::Error)]
#[error("the access token could not be signed: {0}")]
pub struct SigningError(#[from] jsonwebtoken::errors::Error);

impl Tokens {
    /// Tokens of `issuer` for `audience` (both URIs by custom).
    #[must_use]
    pub fn new(keys: Keys, issuer: &str, audience: &str) -> Self {
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[issuer]);
        validation.set_audience(&[audience]);
        validation.set_required_spec_claims(&["iss", "aud", "exp", "sub"]);
        // Looked at here, against a time that the caller names.
        validation.validate_exp = false;
        Self { keys, issuer: issuer.to_owned(), audience: audience.to_owned(), validation }
    }

    /// The keys behind it.
    #[must_use]
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// A token for a session, and when it runs out.
    pub(crate) fn sign(
        &self,
        tenant_id: Uuid,
        user_id: Uuid,
        session_id: Uuid,
        now: OffsetDateTime,
    ) -> Result<(SecretString, OffsetDateTime), SigningError> {
        let ring = self.keys.current();
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(TOKEN_TYPE.to_owned());
        header.kid = Some(ring.signing_id().to_owned());
        let expires_at = now + ACCESS_TERM;
        let claims = Claims {
            iss: self.issuer.clone(),
            aud: self.audience.clone(),
            sub: user_id,
            tid: tenant_id,
            sid: session_id,
            iat: now.unix_timestamp(),
            exp: expires_at.unix_timestamp(),
        };
        Ok((SecretString::from(jsonwebtoken::encode(&header, &claims, ring.signing())?), expires_at))
    }

    /// What a token of ours says at `now`.
    pub(crate) fn verify(&self, token: &str, now: OffsetDateTime) -> Result<Claims, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::Malformed);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Malformed)?;
        if header.alg != Algorithm::EdDSA || header.typ.as_deref() != Some(TOKEN_TYPE) {
            return Err(TokenError::Malformed);
        }
        let ring = self.keys.current();
        let key = header.kid.as_deref().and_then(|id| ring.verifying(id)).ok_or(TokenError::UnknownKey)?;
        let claims = jsonwebtoken::decode::<Claims>(token, key, &self.validation)
            .map_err(|error| match error.kind() {
                ErrorKind::InvalidSignature => TokenError::BadSignature,
                ErrorKind::InvalidIssuer | ErrorKind::InvalidAudience => TokenError::NotForUs,
                _ => TokenError::Malformed,
            })?
            .claims;
        let now = now.unix_timestamp();
        if now >= claims.exp.saturating_add(CLOCK_SKEW_S) {
            return Err(TokenError::Expired);
        }
        if claims.iat > now.saturating_add(CLOCK_SKEW_S) {
            return Err(TokenError::IssuedInFuture);
        }
        Ok(claims)
    }
}

#[cfg(test)]
#[path = "token_tests.rs"]
mod tests;
