//! Signing in, staying in, and second factors.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{UserKind, UserStatus};

/// A text that no log shows: a password, a token, a key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[REDACTED]")
    }
}

/// How somebody signed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum SignInMethod {
    /// With a wallet (EIP-4361).
    Wallet,
    /// At an OpenID Connect provider.
    Oidc,
    /// With a password of the development file.
    Password,
    /// With the first administrator's link.
    Bootstrap,
}

/// Where somebody wants to sign in.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewNonce {
    /// The tenant's id, or its name.
    #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 200, example = "acme"))]
    pub tenant: String,
}

/// What a sign-in message (EIP-4361) must say.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Nonce {
    /// Its nonce, good once.
    #[cfg_attr(feature = "openapi", schema(pattern = "^[0-9a-f]{32}$"))]
    pub nonce: String,
    /// The tenant that it signs in to.
    pub tenant_id: Uuid,
    /// Its domain.
    #[cfg_attr(feature = "openapi", schema(example = "app.example.com"))]
    pub domain: String,
    /// Its URI, or one below it.
    #[cfg_attr(feature = "openapi", schema(example = "https://app.example.com"))]
    pub uri: String,
    /// Its version.
    #[cfg_attr(feature = "openapi", schema(example = "1"))]
    pub version: String,
    /// One of these is its chain.
    #[cfg_attr(feature = "openapi", schema(example = json!([1, 31_337])))]
    pub chain_ids: Vec<u64>,
    /// Until when the nonce is good.
    #[serde(with = "time::serde::rfc3339")]
    pub expires_at: OffsetDateTime,
}

/// A proof of who somebody is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "snake_case", deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum SignIn {
    /// A message that a wallet signed (EIP-4361, EIP-191, EIP-1271).
    Wallet {
        /// The tenant for which the nonce was asked: its id, or its name.
        #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 200, example = "acme"))]
        tenant: String,
        /// The message, to the letter.
        #[cfg_attr(feature = "openapi", schema(max_length = 8192))]
        message: String,
        /// Its signature.
        #[cfg_attr(feature = "openapi", schema(pattern = "^0x([0-9a-fA-F]{2})*$", max_length = 32770))]
        signature: String,
    },
    /// An operator's password, of the development file.
    Password {
        /// The operator's name in the file.
        #[cfg_attr(feature = "openapi", schema(max_length = 200, example = "ada"))]
        login: String,
        /// The password.
        #[cfg_attr(feature = "openapi", schema(value_type = String, format = "password"))]
        password: Secret,
    },
    /// The first administrator's link, which `plimsoll admin init` made.
    Bootstrap {
        /// The link's token.
        #[cfg_attr(feature = "openapi", schema(value_type = String, format = "password"))]
        token: Secret,
        /// The administrator's name.
        #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 200, example = "Ada Lovelace"))]
        display_name: String,
    },
}

/// The tokens of a session.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Tokens {
    /// For requests, as `Authorization: Bearer`: a JWT.
    #[cfg_attr(feature = "openapi", schema(value_type = String, example = "eyJhbGciOiJFZERTQSJ9.…"))]
    pub access_token: Secret,
    /// Always `Bearer`.
    #[cfg_attr(feature = "openapi", schema(example = "Bearer"))]
    pub token_type: String,
    /// Until when the access token is good.
    #[serde(with = "time::serde::rfc3339")]
    pub expires_at: OffsetDateTime,
    /// For the next pair: good once.
    #[cfg_attr(feature = "openapi", schema(value_type = String, example = "plr_…"))]
    pub refresh_token: Secret,
    /// Until when the refresh token is good.
    #[serde(with = "time::serde::rfc3339")]
    pub refresh_expires_at: OffsetDateTime,
    /// The session.
    pub session_id: Uuid,
    /// Whether the user has a second factor: what is sensitive asks for it.
    pub second_factor_wanted: bool,
}

/// A refresh token, to be used up.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Refresh {
    /// The token.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "password", example = "plr_…"))]
    pub refresh_token: Secret,
}

/// What is to end.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SignOut {
    /// Whether all sessions of the user are to end, and not this one alone.
    #[serde(default)]
    pub all_sessions: bool,
}

/// What ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SignedOut {
    /// How many sessions were in force.
    #[cfg_attr(feature = "openapi", schema(example = 1))]
    pub ended_sessions: u64,
}

/// Who the caller is, and what they may do now.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WhoAmI {
    /// Whose user.
    pub tenant_id: Uuid,
    /// Which user.
    pub user_id: Uuid,
    /// For people to read.
    #[cfg_attr(feature = "openapi", schema(example = "Ada Lovelace"))]
    pub display_name: String,
    /// What the user is.
    pub kind: UserKind,
    /// Where the user stands.
    pub status: UserStatus,
    /// As the audit names the caller.
    #[cfg_attr(feature = "openapi", schema(example = "user:0198c5a1-8a01-7b1e-b7a4-5f0d3c2b1a00"))]
    pub actor: String,
    /// The session; null where the caller has an API key.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub session_id: Option<Uuid>,
    /// What the caller may do: the roles', within the scopes of a key.
    #[cfg_attr(feature = "openapi", schema(example = json!(["positions:read", "ledger:read"])))]
    pub permissions: Vec<String>,
    /// Whether a second factor was given within the last hour, or the key's certificate is there.
    pub second_factor_given: bool,
    /// Whether the user has a second factor.
    pub second_factor_enrolled: bool,
}

/// A second factor to be set up. Shown once; it counts once it is confirmed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TotpEnrolment {
    /// The seed in base32, for typing.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub seed: Secret,
    /// `otpauth://totp/…`, for a QR code.
    #[cfg_attr(feature = "openapi", schema(value_type = String, example = "otpauth://totp/…"))]
    pub uri: Secret,
}

/// A code of the app.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TotpCode {
    /// Six digits.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^[0-9]{6}$", example = "287082"))]
    pub code: Secret,
}

/// A second factor was given, and counts from now.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SecondFactorGiven {
    /// For how long what is sensitive is allowed, in seconds.
    #[cfg_attr(feature = "openapi", schema(example = 3600))]
    pub counts_for_seconds: u64,
}

/// A body that says nothing.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Nothing {}

/// A security key to be registered.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewSecurityKey {
    /// What its user calls it.
    #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 200, example = "the blue one"))]
    pub label: String,
    /// What the browser's `PublicKeyCredential.toJSON()` gave (`RegistrationResponseJSON`).
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub credential: Value,
}

/// A security key that is given.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct GivenSecurityKey {
    /// What the browser's `PublicKeyCredential.toJSON()` gave (`AuthenticationResponseJSON`).
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub credential: Value,
}
