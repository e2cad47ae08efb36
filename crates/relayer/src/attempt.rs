//! Attempts: bytes that may have left the building.

use alloy_primitives::{B256, Bytes, U256};
use plimsoll_types::{AttemptPurpose, TransactionState};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::fees::{Fees, max_cost_wei};
use crate::request::Call;

/// One signed transaction for a request's nonce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Whose.
    pub transaction_id: Uuid,
    /// For whom; none for the platform's own.
    pub tenant_id: Option<Uuid>,
    /// The nonce.
    pub nonce: u64,
    /// Which of the attempts at this nonce, from 1.
    pub number: u32,
    /// What it is for.
    pub purpose: AttemptPurpose,
    /// What it offers.
    pub fees: Fees,
    /// Gas.
    pub gas_limit: u64,
    /// The bytes.
    pub raw: Bytes,
    /// Their hash.
    pub tx_hash: B256,
    /// The decision behind it, in words.
    pub why: String,
}

/// A request that is under way: it has a nonce, and no block that we know of has consumed it.
#[derive(Clone, Debug)]
pub struct Flight {
    /// What was asked for.
    pub call: Call,
    /// Gas, where it was said.
    pub gas_asked: Option<u64>,
    /// Wei for a unit of gas that must not be exceeded.
    pub max_fee_limit: Option<u128>,
    /// Its priority.
    pub priority: i16,
    /// The end that is asked for, and why.
    pub end_wanted: Option<(TransactionState, String)>,
    /// That more is to be offered for it now, by whose wish, and why.
    pub speed_up: Option<String>,
    /// Whether it only fills a gap.
    pub is_fill: bool,
    /// When its latest attempt was committed, by the database's clock.
    pub committed_at: OffsetDateTime,
    /// Its latest attempt.
    pub latest: Attempt,
}

impl Flight {
    /// What it costs its signer at most, in wei.
    #[must_use]
    pub fn max_cost_wei(&self) -> U256 {
        let does_nothing = matches!(self.latest.purpose, AttemptPurpose::Cancel | AttemptPurpose::Fill);
        let value = if does_nothing { U256::ZERO } else { self.call.value };
        max_cost_wei(self.latest.gas_limit, self.latest.fees, value)
    }
}
