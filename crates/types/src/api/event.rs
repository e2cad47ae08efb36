use alloy_primitives::{B256, Bytes};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use time::OffsetDateTime;

use super::{AsOf, Block, Fresh};
use crate::Amount;

/// A log of a contract that is followed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Event {
    /// The chain.
    #[cfg_attr(feature = "openapi", schema(example = 31_337))]
    pub chain_id: u64,
    /// The contract that emitted it.
    #[cfg_attr(feature = "openapi", schema(pattern = "^0x[0-9a-f]{40}$"))]
    pub contract: String,
    /// The event's name; null when no ABI knows it.
    #[cfg_attr(feature = "openapi", schema(required = true, example = "UserPositionCachedV2"))]
    pub event_name: Option<String>,
    /// The `requestId` that it carries: a UUID, or `0x` text where it is none.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub request_id: Option<String>,
    /// The `seq` that it carries.
    #[cfg_attr(feature = "openapi", schema(required = true, value_type = Option<String>, pattern = "^[0-9]{1,20}$"))]
    pub seq: Option<Amount>,
    /// The block that holds it, and how sure that is.
    pub block: Block,
    /// Whether it is on the canonical chain as we see it. An orphaned event is kept, and says so here.
    pub canonical: bool,
    /// The transaction.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^0x[0-9a-f]{64}$"))]
    pub tx_hash: B256,
    /// The transaction's index within its block.
    pub tx_index: u32,
    /// The log's index within its block.
    pub log_index: u32,
    /// The decoded parameters by name: integers as decimal strings, bytes and addresses as `0x` text; null when no ABI knows it.
    #[cfg_attr(feature = "openapi", schema(required = true, value_type = Option<Object>))]
    pub payload: Option<Box<RawValue>>,
    /// All topics, topic0 first: only when no ABI knows the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Vec<String>>))]
    pub topics: Option<Vec<B256>>,
    /// The log's data: only when no ABI knows the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub data: Option<Bytes>,
    /// When it was stored here.
    #[serde(with = "time::serde::rfc3339")]
    pub recorded_at: OffsetDateTime,
}

/// A page of events, ordered by block number, block hash and log index.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Events {
    /// The events. May be fewer than `limit`, even none, before the last page: a page looks at a bounded number of rows.
    pub items: Vec<Event>,
    /// Give this as `cursor` for the next page; null on the last one.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub next_cursor: Option<String>,
    /// The last block that the raw store covers; null before the first.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub as_of: Option<AsOf>,
    /// How far behind the chain that is.
    pub fresh: Fresh,
}
