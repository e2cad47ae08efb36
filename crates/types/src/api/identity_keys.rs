//! API keys, sessions, and a tenant's configuration.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use time::OffsetDateTime;
use uuid::Uuid;

use super::identity::keyed;
use super::{Secret, SignInMethod};

/// A machine's key, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ApiKey {
    /// Its id: the part of the key that is no secret.
    #[cfg_attr(feature = "openapi", schema(pattern = "^[0-9a-f]{16}$", example = "9f86d081884c7d65"))]
    pub key_id: String,
    /// Whose.
    pub user_id: Uuid,
    /// What it is for.
    #[cfg_attr(feature = "openapi", schema(example = "settlement batch"))]
    pub label: String,
    /// The most that it may do, within what its user may do at that moment.
    #[cfg_attr(feature = "openapi", schema(example = json!(["ledger:read", "ledger:post"])))]
    pub scopes: Vec<String>,
    /// Whether it is good only with its client certificate.
    pub is_certificate_bound: bool,
    /// When it was issued.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// Until when it is good.
    #[serde(with = "time::serde::rfc3339")]
    pub expires_at: OffsetDateTime,
    /// When it was used last, to the minute.
    #[serde(with = "time::serde::rfc3339::option")]
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub last_used_at: Option<OffsetDateTime>,
    /// When it was revoked.
    #[serde(with = "time::serde::rfc3339::option")]
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub revoked_at: Option<OffsetDateTime>,
}

/// A page of keys, by id.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ApiKeys {
    /// The keys.
    pub items: Vec<ApiKey>,
    /// Give this as `cursor` for the next page; null on the last one.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub next_cursor: Option<String>,
}

/// A key with its secret, which is shown this once.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct IssuedApiKey {
    /// Its id.
    #[cfg_attr(feature = "openapi", schema(pattern = "^[0-9a-f]{16}$", example = "9f86d081884c7d65"))]
    pub key_id: String,
    /// The whole key, for `Authorization: Bearer`. It is not shown again.
    #[cfg_attr(feature = "openapi", schema(value_type = String, example = "plk_9f86d081884c7d65_…"))]
    pub key: Secret,
    /// Until when it is good.
    #[serde(with = "time::serde::rfc3339")]
    pub expires_at: OffsetDateTime,
}

keyed! {
    /// A key to be issued.
    pub struct NewApiKey {
        /// Whose it will be.
        #[cfg_attr(feature = "openapi", schema(example = "0198c5a1-8a01-7b1e-b7a4-5f0d3c2b1a00"))]
        pub holder: Uuid,
        /// What it is for: 1 to 200 characters.
        #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 200, example = "settlement batch"))]
        pub label: String,
        /// The most that it may do: of what its holder may do, and of what the caller may do.
        #[cfg_attr(feature = "openapi", schema(value_type = Vec<super::identity::PermissionName>, min_items = 1, max_items = 64, example = json!(["ledger:read", "ledger:post"])))]
        pub scopes: Vec<String>,
        /// For how many days: up to 400.
        #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 400, example = 90))]
        #[serde(deserialize_with = "crate::api::whole::whole")]
        pub lifetime_days: u16,
        /// SHA-256 of the client certificate (DER) without which it is not good.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schema(pattern = "^0x[0-9a-f]{64}$"))]
        pub certificate_sha256: Option<String>,
    }
}

keyed! {
    /// A new secret for a key.
    pub struct Rotation {
        /// How long the old secret is good beside the new one, in seconds: up to 30 days; 0 for one that leaked.
        #[cfg_attr(feature = "openapi", schema(maximum = 2_592_000, example = 86_400))]
        #[serde(deserialize_with = "crate::api::whole::whole")]
        pub grace_seconds: u32,
    }
}

/// A session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Session {
    /// Its id, by age.
    pub session_id: Uuid,
    /// Whose.
    pub user_id: Uuid,
    /// How it was opened.
    pub method: SignInMethod,
    /// Since when.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// Until when, at most.
    #[serde(with = "time::serde::rfc3339")]
    pub expires_at: OffsetDateTime,
    /// When its user last gave a second factor.
    #[serde(with = "time::serde::rfc3339::option")]
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub second_factor_at: Option<OffsetDateTime>,
    /// When it was revoked.
    #[serde(with = "time::serde::rfc3339::option")]
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub revoked_at: Option<OffsetDateTime>,
    /// Why (`signed_out`, `refresh_reused`, `administrator`, `suspended`).
    #[cfg_attr(feature = "openapi", schema(required = true, example = "administrator"))]
    pub revoke_reason: Option<String>,
}

/// A page of sessions, by id, which is by age.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Sessions {
    /// The sessions.
    pub items: Vec<Session>,
    /// Give this as `cursor` for the next page; null on the last one.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub next_cursor: Option<String>,
}

/// What a front end has to know of a tenant.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TenantConfig {
    /// The tenant.
    pub tenant_id: Uuid,
    /// Its name.
    #[cfg_attr(feature = "openapi", schema(example = "acme"))]
    pub name: String,
    /// Its looks, as it chose them; empty until then.
    #[cfg_attr(feature = "openapi", schema(value_type = Object, example = json!({ "accent": "#0b3d91" })))]
    pub theme: Map<String, Value>,
    /// What the caller may do.
    #[cfg_attr(feature = "openapi", schema(example = json!(["positions:read", "tenant:read"])))]
    pub permissions: Vec<String>,
    /// What a request may cost.
    pub limits: TenantLimits,
}

/// What a request may cost, and how often one may ask. Rates and numbers are those of the process that answers: two processes behind one balancer let through twice as
/// much.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TenantLimits {
    /// The largest head of a request, in bytes.
    #[cfg_attr(feature = "openapi", schema(example = 32_768))]
    pub head_bytes: u64,
    /// The largest body, in bytes.
    #[cfg_attr(feature = "openapi", schema(example = 65_536))]
    pub body_bytes: u64,
    /// The longest that a body may take to arrive, in milliseconds.
    #[cfg_attr(feature = "openapi", schema(example = 10_000))]
    pub body_timeout_ms: u64,
    /// The longest that a request may take, in milliseconds.
    #[cfg_attr(feature = "openapi", schema(example = 15_000))]
    pub request_timeout_ms: u64,
    /// The longest that a client may take nothing of what it is sent, in milliseconds.
    #[cfg_attr(feature = "openapi", schema(example = 30_000))]
    pub write_timeout_ms: u64,
    /// The most rows on a page of a list.
    #[cfg_attr(feature = "openapi", schema(example = 200))]
    pub page_rows: u32,
    /// Requests that are worked on at a time, of all tenants together.
    #[cfg_attr(feature = "openapi", schema(example = 256))]
    pub concurrent_requests: u64,
    /// Of these, requests that cost as much as many: exports, and what looks far back.
    #[cfg_attr(feature = "openapi", schema(example = 8))]
    pub concurrent_costly_requests: u64,
    /// Streams of events that the tenant may have open at a time.
    #[cfg_attr(feature = "openapi", schema(example = 64))]
    pub concurrent_streams: u64,
    /// How often who may ask.
    pub rates: RateLimits,
}

/// How often who may ask, under the names that `RateLimit` and `RateLimit-Policy` have for it. Null: there is no limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RateLimits {
    /// A client address; of IPv6, a /64.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub address: Option<RateLimit>,
    /// A user, whatever credentials are used.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub user: Option<RateLimit>,
    /// All users of the tenant together.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub tenant: Option<RateLimit>,
    /// A client address, where people sign in.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub sign_in: Option<RateLimit>,
}

/// So many requests at once, which come back one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RateLimit {
    /// Requests at once after a pause.
    #[cfg_attr(feature = "openapi", schema(example = 100))]
    pub requests: u32,
    /// How long it takes for all of these to come back, in milliseconds, rounded up.
    #[cfg_attr(feature = "openapi", schema(example = 2_000))]
    pub window_ms: u64,
}

keyed! {
    /// A tenant's configuration, whole.
    pub struct NewTenantConfig {
        /// Its looks: an object of up to 16 KiB.
        #[cfg_attr(feature = "openapi", schema(value_type = Object, example = json!({ "accent": "#0b3d91" })))]
        pub theme: Map<String, Value>,
    }
}
