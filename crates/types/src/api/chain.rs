use alloy_primitives::B256;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;

use super::{BlockRef, Reason};

/// Whether a chain is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum ChainState {
    /// New blocks are taken in.
    Following,
    /// Stopped for a reason that needs an operator.
    Halted,
}

/// Whether a fold runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum FoldState {
    /// It applies records.
    Running,
    /// It met a record that it cannot apply, and waits for an operator.
    Stopped,
}

/// The node's head when it was last seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodeHead {
    /// Its number.
    pub number: u64,
    /// When it was seen.
    #[serde(with = "time::serde::rfc3339::option")]
    #[cfg_attr(feature = "openapi", schema(required = true, value_type = Option<String>, format = DateTime))]
    pub seen_at: Option<OffsetDateTime>,
    /// How long ago, in seconds.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub age_seconds: Option<f64>,
}

/// A fold over a chain's journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Fold {
    /// Its name.
    #[cfg_attr(feature = "openapi", schema(example = "views"))]
    pub fold: String,
    /// Whether it runs.
    pub state: FoldState,
    /// The record that stopped it, why, and what to do; null when it runs.
    #[cfg_attr(feature = "openapi", schema(required = true, value_type = Option<Object>))]
    pub stop: Option<Value>,
    /// The last journal record that is in its tables.
    pub journal_seq: u64,
    /// The last block that its tables cover; null before the first.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub watermark: Option<BlockRef>,
    /// Blocks of the journal that it has not covered.
    pub lag_blocks: u64,
    /// Journal records that it has not applied.
    pub lag_records: u64,
    /// Seconds since the oldest of those records was written; 0 when there is none.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub lag_seconds: Option<f64>,
    /// Whether to refuse to act on its tables.
    pub stale: bool,
    /// Why they are stale; empty when they are not.
    pub why: Vec<Reason>,
    /// When its cursor last moved.
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
}

/// A chain: how far it is followed, and how sure each part is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Chain {
    /// Its EIP-155 id.
    #[cfg_attr(feature = "openapi", schema(example = 31_337))]
    pub chain_id: u64,
    /// Its name in the configuration.
    #[cfg_attr(feature = "openapi", schema(example = "anvil"))]
    pub name: String,
    /// Its genesis block's hash.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^0x[0-9a-f]{64}$"))]
    pub genesis_hash: B256,
    /// The first block that is followed.
    pub start_block: u64,
    /// The depth at which a block counts as confirmed.
    pub confirmations: u64,
    /// When a block counts as final: so many blocks deep, by the chain's own tag (`finalized`, `safe`), or by age.
    #[cfg_attr(feature = "openapi", schema(example = "64 blocks"))]
    pub finality: String,
    /// Whether it is followed.
    pub state: ChainState,
    /// Why it is halted and how to resume; null when it is followed.
    #[cfg_attr(feature = "openapi", schema(required = true, value_type = Option<Object>))]
    pub halt: Option<Value>,
    /// The last block that the journal covers.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub head: Option<BlockRef>,
    /// The last block at the confirmation depth.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub confirmed_number: Option<u64>,
    /// The last final block.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub final_number: Option<u64>,
    /// The node's head when last seen.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub node_head: Option<NodeHead>,
    /// Blocks between the node's head and the journal's.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub lag_blocks: Option<u64>,
    /// The journal's last record; 0 before the first.
    pub journal_seq: u64,
    /// Whether the raw store is too far behind the node to act on.
    pub stale: bool,
    /// Why it is; empty when it is not.
    pub why: Vec<Reason>,
    /// Every fold over its journal, by name.
    pub folds: Vec<Fold>,
}

/// Every chain, by id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Chains {
    /// The chains.
    pub items: Vec<Chain>,
}

/// What became of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum BlockMarkKind {
    /// It and all below it reached the confirmation depth.
    Confirmed,
    /// It was confirmed, and left the canonical chain. Newest first, before anything is confirmed in its place.
    Retracted,
    /// It and all below it are final: nothing of it is retracted any more.
    Final,
}

/// What became of a block, as a chain's journal says it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BlockMark {
    /// What became of it.
    pub kind: BlockMarkKind,
    /// The chain's EIP-155 id.
    #[cfg_attr(feature = "openapi", schema(example = 31_337))]
    pub chain_id: u64,
    /// The block's number.
    #[cfg_attr(feature = "openapi", schema(example = 19_000_000))]
    pub number: u64,
    /// The block's hash.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^0x[0-9a-f]{64}$"))]
    pub hash: B256,
    /// Its parent's hash.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^0x[0-9a-f]{64}$"))]
    pub parent_hash: B256,
    /// The chain's own time of it.
    #[serde(with = "time::serde::rfc3339")]
    pub time: OffsetDateTime,
    /// The journal's record that says so: the `id` of the stream, to begin after.
    #[cfg_attr(feature = "openapi", schema(example = 4_711))]
    pub journal_seq: u64,
}
