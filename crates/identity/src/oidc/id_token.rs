//! Is this ID token about this sign-in? OpenID Connect Core 1.0 §3.1.3.7, stricter where it leaves a choice: an audience is us and nobody else, and
//! the algorithm is one of three. Pure: keys and time are given.

use std::time::Duration;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation};
use serde::Deserialize;
use time::OffsetDateTime;

use super::SecondFactorPolicy;
use crate::secret;
use crate::session::SECOND_FACTOR_TERM;

/// How far the clocks of a provider and of ours may be apart.
pub const CLOCK_SKEW: Duration = Duration::from_secs(60);
/// How long ago a token may have been issued: it comes straight from the provider.
pub const MAX_AGE: Duration = Duration::from_secs(10 * 60);

const ALGORITHMS: [Algorithm; 3] = [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];
const MAX_TOKEN_BYTES: usize = 32 * 1024;

/// Why an ID token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdTokenError {
    /// It is no signed JWT with the claims of an ID token.
    #[error("it is not an ID token")]
    Malformed,
    /// It is signed otherwise than we take, or not at all.
    #[error(
        "it must be signed with RS256, ES256 or EdDSA; set the client's ID token algorithm to one of them at the provider"
    )]
    Algorithm,
    /// No key of the provider's fits.
    #[error("it names a key that the provider does not have")]
    UnknownKey,
    /// The signature is wrong.
    #[error("its signature is wrong")]
    BadSignature,
    /// Another issuer's.
    #[error("it names another issuer")]
    OtherIssuer,
    /// For another client, or for others beside us.
    #[error("it was made for another client")]
    OtherAudience,
    /// It belongs to another sign-in.
    #[error("it belongs to another sign-in: begin again")]
    OtherNonce,
    /// It has run out.
    #[error("it has expired")]
    Expired,
    /// It was issued too long ago.
    #[error("it was issued too long ago")]
    TooOld,
    /// It comes from the future.
    #[error("it comes from the future: the clocks of the provider and of this server differ")]
    FromFuture,
}

/// What a token must say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a str,
    pub(super) client_id: &'a str,
    pub(super) nonce_hash: &'a [u8; 32],
    pub(super) now: OffsetDateTime,
}

/// What a token says.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Claims {
    iss: String,
    pub(super) sub: String,
    aud: Audience,
    azp: Option<String>,
    exp: i64,
    iat: i64,
    nbf: Option<i64>,
    nonce: Option<String>,
    auth_time: Option<i64>,
    pub(super) acr: Option<String>,
    pub(super) amr: Option<Vec<String>>,
    pub(super) name: Option<String>,
    pub(super) preferred_username: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

/// How a token is signed, before anything of it is believed.
pub(super) fn header(token: &str) -> Result<Header, IdTokenError> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(IdTokenError::Malformed);
    }
    // An algorithm that the library does not know, `none` among them, is no header to it.
    let header = jsonwebtoken::decode_header(token).map_err(|_| IdTokenError::Algorithm)?;
    if !ALGORITHMS.contains(&header.alg) {
        return Err(IdTokenError::Algorithm);
    }
    // What must be understood and is not (RFC 7515 §4.1.11).
    if header.crit.is_some() {
        return Err(IdTokenError::Malformed);
    }
    Ok(header)
}

/// What a token says, if `key` signed it and it is about this sign-in.
pub(super) fn verify(
    token: &str,
    algorithm: Algorithm,
    key: &DecodingKey,
    expected: &Expected<'_>,
) -> Result<Claims, IdTokenError> {
    // The library judges the signature; claims are judged here, against a time that the caller names.
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    let claims = jsonwebtoken::decode::<Claims>(token, key, &validation)
        .map_err(|error| match error.kind() {
            ErrorKind::InvalidSignature => IdTokenError::BadSignature,
            ErrorKind::InvalidAlgorithm => IdTokenError::Algorithm,
            _ => IdTokenError::Malformed,
        })?
        .claims;
    claims.check(expected)?;
    Ok(claims)
}

impl Claims {
    fn check(&self, expected: &Expected<'_>) -> Result<(), IdTokenError> {
        if self.iss != expected.issuer {
            return Err(IdTokenError::OtherIssuer);
        }
        let is_for_us = match &self.aud {
            Audience::One(one) => one == expected.client_id,
            Audience::Many(many) => matches!(many.as_slice(), [one] if one == expected.client_id),
        };
        if !is_for_us || self.azp.as_deref().is_some_and(|party| party != expected.client_id) {
            return Err(IdTokenError::OtherAudience);
        }
        let nonce = self.nonce.as_deref().ok_or(IdTokenError::OtherNonce)?;
        if !secret::equal(&secret::sha256(nonce.as_bytes()), expected.nonce_hash) {
            return Err(IdTokenError::OtherNonce);
        }
        let now = expected.now.unix_timestamp();
        let skew = seconds(CLOCK_SKEW);
        if self.exp <= now.saturating_sub(skew) {
            return Err(IdTokenError::Expired);
        }
        if self.iat < now.saturating_sub(seconds(MAX_AGE)).saturating_sub(skew) {
            return Err(IdTokenError::TooOld);
        }
        if self.iat.max(self.nbf.unwrap_or(i64::MIN)) > now.saturating_add(skew) {
            return Err(IdTokenError::FromFuture);
        }
        Ok(())
    }

    /// When a second factor was given at the provider: as the policy has it, and not longer ago than one of ours would count.
    pub(super) fn second_factor_at(
        &self,
        policy: &SecondFactorPolicy,
        now: OffsetDateTime,
    ) -> Option<OffsetDateTime> {
        let SecondFactorPolicy::Trusted { amr, acr } = policy else { return None };
        let is_trusted = self.amr.iter().flatten().any(|method| amr.contains(method))
            || self.acr.as_ref().is_some_and(|class| acr.contains(class));
        let at = OffsetDateTime::from_unix_timestamp(self.auth_time?).ok()?.min(now);
        (is_trusted && now - at < SECOND_FACTOR_TERM).then_some(at)
    }
}

fn seconds(term: Duration) -> i64 {
    i64::try_from(term.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[path = "id_token_tests.rs"]
mod tests;
