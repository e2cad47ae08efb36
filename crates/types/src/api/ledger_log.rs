//! What of the ledger is sealed: checkpoints, keys and proofs.

use alloy_primitives::B256;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

/// Where the tenant's log stood, signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LedgerCheckpoint {
    /// The log: its name and the tenant.
    #[cfg_attr(
        feature = "openapi",
        schema(example = "books.example.com/0198c5a1-7d2e-7c3a-9a55-3f1f0c6d2b10")
    )]
    pub origin: String,
    /// How many postings it had.
    pub tree_size: u64,
    /// The Merkle tree's root over them.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^0x[0-9a-f]{64}$"))]
    pub root_hash: B256,
    /// The signed note (C2SP): what is to be kept, and checked against the log's key.
    pub note: String,
    /// When it was put down.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

/// A key that has signed the tenant's checkpoints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LedgerKey {
    /// `<origin>+<key id>+<Base64>`, as verifiers take it.
    pub key: String,
    /// The log that it signs.
    pub origin: String,
    /// Since when.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
}

/// The keys that have signed the tenant's checkpoints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LedgerKeys {
    /// The newest first.
    pub items: Vec<LedgerKey>,
}

/// The proof that a posting is in the log of a checkpoint (RFC 9162 §2.1.3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LedgerInclusion {
    /// The posting.
    pub posting_id: Uuid,
    /// Its place in the log, from 0.
    pub leaf_index: u64,
    /// The hash of the entry before it.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^0x[0-9a-f]{64}$"))]
    pub prev_entry_hash: B256,
    /// The posting's digest: what of it is bound.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^0x[0-9a-f]{64}$"))]
    pub posting_digest: B256,
    /// The hash of its entry.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^0x[0-9a-f]{64}$"))]
    pub entry_hash: B256,
    /// The hashes of the proof, from the entry up.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pub proof: Vec<B256>,
    /// The checkpoint under which it is: take size and root from here.
    pub checkpoint: LedgerCheckpoint,
}

/// The proof that one log is the beginning of another (RFC 9162 §2.1.4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LedgerConsistency {
    /// The earlier checkpoint.
    pub from: LedgerCheckpoint,
    /// The later one.
    pub to: LedgerCheckpoint,
    /// The hashes of the proof.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pub proof: Vec<B256>,
}
