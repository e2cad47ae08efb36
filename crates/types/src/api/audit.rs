//! The audit log.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use time::OffsetDateTime;
use uuid::Uuid;

/// Who did what. `digest`, `prev_hash` and `hash` are recomputed from the rest as `docs/audit.md` tells.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditEntry {
    /// Its number in the log of all tenants; null while it waits for one.
    #[cfg_attr(feature = "openapi", schema(required = true, example = 4711))]
    pub sequence: Option<i64>,
    /// When, by the clock of whoever wrote it.
    #[serde(with = "time::serde::rfc3339")]
    pub recorded_at: OffsetDateTime,
    /// For whom.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub tenant_id: Option<Uuid>,
    /// The request.
    pub request_id: Uuid,
    /// For which of the tenant's users.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub user_id: Option<Uuid>,
    /// Who did it.
    #[cfg_attr(feature = "openapi", schema(example = "user:0b9c1d1e-6f4a-4d0e-9b1a-2f3c4d5e6f70"))]
    pub actor: String,
    /// What was done.
    #[cfg_attr(feature = "openapi", schema(example = "identity.user.suspend"))]
    pub action: String,
    /// To what kind of thing.
    #[cfg_attr(feature = "openapi", schema(example = "user"))]
    pub target_type: String,
    /// To which of them.
    #[cfg_attr(feature = "openapi", schema(example = "7d3f1c2a-9e8b-4c6d-8a5f-0e1d2c3b4a59"))]
    pub target_id: String,
    /// Its state before; null where there was none.
    #[cfg_attr(feature = "openapi", schema(required = true, value_type = Option<Object>, example = json!({ "status": "active" })))]
    pub before: Option<Box<RawValue>>,
    /// Its state after; null where there is none.
    #[cfg_attr(feature = "openapi", schema(required = true, value_type = Option<Object>, example = json!({ "status": "suspended" })))]
    pub after: Option<Box<RawValue>>,
    /// The transaction of the ledger or the chain, where there is one.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub tx_id: Option<String>,
    /// Why, in the actor's words.
    #[cfg_attr(feature = "openapi", schema(required = true, example = "ticket 42"))]
    pub reason: Option<String>,
    /// The story: its events are at `/api/v1/events/chain/{correlation_id}`.
    pub correlation_id: String,
    /// SHA-256 of what the entry says, in hexadecimal.
    #[cfg_attr(feature = "openapi", schema(pattern = "^[0-9a-f]{64}$"))]
    pub digest: String,
    /// The hash of the entry before it in the log of all tenants.
    #[cfg_attr(feature = "openapi", schema(required = true, pattern = "^[0-9a-f]{64}$"))]
    pub prev_hash: Option<String>,
    /// The hash of this one, over number, digest and `prev_hash`.
    #[cfg_attr(feature = "openapi", schema(required = true, pattern = "^[0-9a-f]{64}$"))]
    pub hash: Option<String>,
}

/// All that one request put on record.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditOfRequest {
    /// The request.
    pub request_id: Uuid,
    /// Its entries, in order; what waits for its number comes last.
    pub items: Vec<AuditEntry>,
}

/// A page of the audit log.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditPage {
    /// The entries, in the order that was asked for.
    pub items: Vec<AuditEntry>,
    /// Where the next page begins; null on the last one. A page may be short, or empty, and still have one.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub next_cursor: Option<String>,
}
