//! All SQL of the journal.

pub(crate) mod backfill;
pub(crate) mod certificate;
pub(crate) mod cursor;
pub(crate) mod marks;
pub(crate) mod read;
pub(crate) mod watch;
pub(crate) mod write;

use alloy_primitives::{Address, B256};
use plimsoll_types::parse_address;

use crate::fold::FoldError;

/// A chain id, number or index as Postgres keeps it. All of them fit: the schema has no larger ones.
pub(crate) fn to_i64(value: u64) -> i64 {
    i64::try_from(value).expect("block numbers and chain ids stay below 2^63")
}

pub(crate) fn to_u64(value: i64) -> u64 {
    u64::try_from(value).expect("the schema keeps no negative number here")
}

pub(crate) fn to_hash(chain_id: u64, bytes: &[u8]) -> Result<B256, FoldError> {
    B256::try_from(bytes)
        .map_err(|_| FoldError::Malformed { chain_id, what: format!("a hash of {} bytes", bytes.len()) })
}

pub(crate) fn to_address(chain_id: u64, text: &str) -> Result<Address, FoldError> {
    parse_address(text).map_err(|error| FoldError::Malformed { chain_id, what: error.to_string() })
}
