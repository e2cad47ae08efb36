//! What was included, as statements take it.

use plimsoll_types::{Amount, address_text};

use super::to_i64;
use crate::fold::Seen;

/// Columns of inclusions, for `unnest`.
pub(super) struct Columns {
    pub(super) senders: Vec<String>,
    pub(super) nonces: Vec<i64>,
    pub(super) tx_hashes: Vec<Vec<u8>>,
    pub(super) blocks: Vec<i64>,
    pub(super) block_hashes: Vec<Vec<u8>>,
    pub(super) succeeded: Vec<bool>,
    pub(super) gas_used: Vec<Amount>,
    pub(super) gas_paid: Vec<Amount>,
}

impl Columns {
    pub(super) fn of(seen: &[Seen]) -> Self {
        Self {
            senders: seen.iter().map(|tx| address_text(&tx.sender)).collect(),
            nonces: seen.iter().map(|tx| to_i64(tx.nonce)).collect(),
            tx_hashes: seen.iter().map(|tx| tx.tx_hash.to_vec()).collect(),
            blocks: seen.iter().map(|tx| to_i64(tx.block_number)).collect(),
            block_hashes: seen.iter().map(|tx| tx.block_hash.to_vec()).collect(),
            succeeded: seen.iter().map(|tx| tx.succeeded).collect(),
            gas_used: seen.iter().map(|tx| tx.gas_used).collect(),
            gas_paid: seen.iter().map(|tx| tx.gas_paid_wei).collect(),
        }
    }
}
