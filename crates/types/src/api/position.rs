use alloy_primitives::B256;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{AsOf, Block, Fresh};
use crate::Amount;

/// One user's position in one asset, as the position view last wrote it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Position {
    /// The chain.
    #[cfg_attr(feature = "openapi", schema(example = 31_337))]
    pub chain_id: u64,
    /// The position view's address.
    #[cfg_attr(feature = "openapi", schema(pattern = "^0x[0-9a-f]{40}$"))]
    pub contract: String,
    /// The user's address.
    #[cfg_attr(feature = "openapi", schema(pattern = "^0x[0-9a-f]{40}$"))]
    pub user: String,
    /// The asset's address.
    #[cfg_attr(feature = "openapi", schema(pattern = "^0x[0-9a-f]{40}$"))]
    pub asset: String,
    /// Collateral, in the asset's smallest unit.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^[0-9]{1,78}$", example = "1500000000000000000"))]
    pub collateral: Amount,
    /// Debt, in the asset's smallest unit.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^[0-9]{1,78}$", example = "0"))]
    pub debt: Amount,
    /// The view's version of this row: strictly increasing on chain.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^[0-9]{1,20}$", example = "42"))]
    pub version: Amount,
    /// The request that wrote it: a UUID, or `0x` text where it is none; null where the chain carries none.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub last_request_id: Option<String>,
    /// The on-chain sequence that it was written with.
    #[cfg_attr(feature = "openapi", schema(required = true, value_type = Option<String>, pattern = "^[0-9]{1,20}$"))]
    pub last_seq: Option<Amount>,
    /// The block that wrote it.
    pub block: Block,
    /// The transaction that wrote it.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^0x[0-9a-f]{64}$"))]
    pub tx_hash: B256,
    /// The log's index within its block.
    pub log_index: u32,
    /// When this row was written here.
    #[serde(with = "time::serde::rfc3339")]
    pub last_updated_at: OffsetDateTime,
    /// The point of the chain that the row is true at.
    pub as_of: AsOf,
    /// How far behind the chain that is.
    pub fresh: Fresh,
}

/// A page of positions, ordered by chain, contract, user and asset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Positions {
    /// The positions.
    pub items: Vec<Position>,
    /// Give this as `cursor` for the next page; null on the last one.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub next_cursor: Option<String>,
    /// For each chain that was asked: the point that the page is true at, also where it has no row.
    pub as_of: Vec<AsOf>,
    /// Whether any of those chains is stale.
    pub stale: bool,
}
