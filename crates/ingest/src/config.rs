use std::time::Duration;

use alloy_primitives::Address;
use plimsoll_chain::interval::IntervalPolicy;

/// How one chain is followed.
#[derive(Clone, Debug)]
pub struct IngestConfig {
    /// EIP-155 chain id; the endpoint must agree.
    pub chain_id: u64,
    /// The chain's name, for people.
    pub name: String,
    /// Blocks on top before a block is confirmed.
    pub confirmations: u64,
    /// Blocks on top before a block is final; at least `confirmations`.
    pub finality_depth: u64,
    /// How often the head is asked for where the endpoint does not announce it.
    pub poll_interval: Duration,
    /// Whose transactions are journaled (`included`), whatever they call.
    pub watched_senders: Vec<Address>,
    /// How many ranges of a backfill are in flight.
    pub ranges_in_flight: usize,
    /// How large they are.
    pub range: IntervalPolicy,
}
