//! How a signer is worked, as its process is told.

use std::time::Duration;

use crate::admission::Entry;
use crate::fees::{MAX_FEE_PER_GAS_WEI, Pricing};

/// How a signer is worked.
#[derive(Clone, Debug)]
pub struct DeskOptions {
    /// How many of its transactions may be under way at once.
    pub window: usize,
    /// How its chain prices gas.
    pub pricing: Pricing,
    /// The least tip that the chain's nodes take, in wei.
    pub min_priority_fee_per_gas: u128,
    /// The most that is paid for a unit of gas, in wei.
    pub max_fee_per_gas: u128,
    /// After so many blocks, what was taken by a node and is not in a block is sent again.
    pub resend_after_blocks: u64,
    /// After so many since it was first sent, with a better offer, where that helps.
    pub bump_after_blocks: u64,
    /// Or after this time.
    pub resend_after: Duration,
    /// How often it is looked for work while nothing rings.
    pub poll: Duration,
    /// What comes before something enters the window.
    pub entry: Entry,
}

impl Default for DeskOptions {
    fn default() -> Self {
        Self {
            window: 64,
            pricing: Pricing::BaseFee,
            min_priority_fee_per_gas: 0,
            max_fee_per_gas: MAX_FEE_PER_GAS_WEI,
            resend_after_blocks: 3,
            bump_after_blocks: 6,
            resend_after: Duration::from_secs(30),
            poll: Duration::from_millis(200),
            entry: Entry::default(),
        }
    }
}
