//! By what a user is known, beside the first factor: second factors, and who they are at providers.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use super::identity::keyed;
use super::{Secret, Tokens};

/// What a second factor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum SecondFactorKind {
    /// A code app (RFC 6238).
    Totp,
    /// A security key or a passkey.
    Webauthn,
}

/// A second factor that is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SecondFactor {
    /// By what it is taken away: `totp`, or `webauthn:` and the key's id in base64url.
    #[cfg_attr(
        feature = "openapi",
        schema(
            pattern = "^(totp|webauthn:([A-Za-z0-9_-]{4})*([A-Za-z0-9_-]{4}|[A-Za-z0-9_-][AQgw]|[A-Za-z0-9_-]{2}[AEIMQUYcgkosw048]))$",
            example = "webauthn:kFb1ZcNLrDYe7xYV6Wc5Xg"
        )
    )]
    pub factor_id: String,
    /// What it is.
    pub kind: SecondFactorKind,
    /// What its user calls it; null of a code app.
    #[cfg_attr(feature = "openapi", schema(required = true, example = "the blue one"))]
    pub label: Option<String>,
    /// When it was set up.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it was last given.
    #[serde(with = "time::serde::rfc3339::option")]
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub last_used_at: Option<OffsetDateTime>,
    /// When its counter went back, as a copy's would: it is not taken since. Take it away and register another.
    #[serde(with = "time::serde::rfc3339::option")]
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub cloned_at: Option<OffsetDateTime>,
}

/// A user's second factors: a code app, and up to twenty security keys.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SecondFactors {
    /// All of them.
    pub items: Vec<SecondFactor>,
}

keyed! {
    /// A second factor to be taken away.
    pub struct SecondFactorRemoval {
        /// Which, as it is listed.
        #[cfg_attr(feature = "openapi", schema(pattern = "^(totp|webauthn:([A-Za-z0-9_-]{4})*([A-Za-z0-9_-]{4}|[A-Za-z0-9_-][AQgw]|[A-Za-z0-9_-]{2}[AEIMQUYcgkosw048]))$", max_length = 1_373, example = "totp"))]
        pub factor_id: String,
    }
}

/// Who a user is at an OpenID Connect provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ExternalIdentity {
    /// The provider, as its tokens name it.
    #[cfg_attr(feature = "openapi", schema(example = "https://login.example.com/realms/acme"))]
    pub issuer: String,
    /// What it calls the person.
    #[cfg_attr(feature = "openapi", schema(example = "f3a9c0de-77c1-4b0e-9a51-0d5cf1a3b2e4"))]
    pub subject: String,
    /// Since when they sign in with it.
    #[serde(with = "time::serde::rfc3339")]
    pub linked_at: OffsetDateTime,
}

/// All that a user is elsewhere.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ExternalIdentities {
    /// All of them, by issuer.
    pub items: Vec<ExternalIdentity>,
}

keyed! {
    /// A subject of a provider, to be linked to a user or taken away.
    pub struct IdentityChange {
        /// The provider, as it is configured here, to the letter.
        #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 1000, example = "https://login.example.com/realms/acme"))]
        pub issuer: String,
        /// What it calls the person: an id of its own, and no e-mail address.
        #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 255, pattern = "^[ -~]+$", example = "f3a9c0de-77c1-4b0e-9a51-0d5cf1a3b2e4"))]
        pub subject: String,
    }
}

/// Where to send the browser.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ProviderRedirect {
    /// The provider's page, good for ten minutes, in the browser that has the cookie of this answer.
    #[cfg_attr(feature = "openapi", schema(value_type = String, example = "https://login.example.com/authorize?…"))]
    pub url: Secret,
}

/// What came of a visit to a provider.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum ProviderOutcome {
    /// Somebody signed in: the session's tokens, this once.
    SignedIn(Tokens),
    /// Somebody who had signed in linked who they are there: all that they are elsewhere now.
    Linked(ExternalIdentities),
}
