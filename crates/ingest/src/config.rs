use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use alloy_primitives::Address;
use plimsoll_chain::FinalityTag;
use plimsoll_chain::interval::IntervalPolicy;
use plimsoll_journal::Watched;
use plimsoll_types::Completeness;

/// When a block is final: nothing at or below it is ever taken back, and a chain that does so halts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finality {
    /// With so many blocks on top of it; at least as many as confirm it.
    Depth(u64),
    /// When the chain says so, by the tag `finalized` or `safe`: up to the block that a majority of the endpoints has passed.
    Tag(FinalityTag),
    /// When it is this much older than the head, by the chain's own clock.
    Age(Duration),
}

impl fmt::Display for Finality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Depth(blocks) => write!(f, "{blocks} blocks"),
            Self::Tag(tag) => f.write_str(tag.as_str()),
            Self::Age(age) => write!(f, "{} s", age.as_secs()),
        }
    }
}

/// How one chain is followed.
#[derive(Clone, Debug)]
pub struct IngestConfig {
    /// EIP-155 chain id; the endpoint must agree.
    pub chain_id: u64,
    /// The chain's name, for people.
    pub name: String,
    /// Blocks on top before a block is confirmed.
    pub confirmations: u64,
    /// When a block is final.
    pub finality: Finality,
    /// What proves the blocks at the head.
    pub head_completeness: Completeness,
    /// What proves the ranges of a backfill.
    pub backfill_completeness: Completeness,
    /// How often the head is asked for where the endpoint does not announce it.
    pub poll_interval: Duration,
    /// Whose transactions are journaled (`included`), whatever they call, and from which block on.
    pub watched_senders: BTreeMap<Address, u64>,
    /// How many ranges of a backfill are in flight.
    pub ranges_in_flight: usize,
    /// How large they are.
    pub range: IntervalPolicy,
}

impl IngestConfig {
    /// The same, watching these senders too.
    #[must_use]
    pub(crate) fn watching(&self, added: &[Watched]) -> Self {
        let mut config = self.clone();
        for Watched { address, from, .. } in added {
            let known = config.watched_senders.entry(*address).or_insert(*from);
            *known = (*known).min(*from);
        }
        config
    }

    /// The same, proving past blocks at this level at least.
    pub(crate) fn proving(&self, level: Option<Completeness>) -> Self {
        let backfill_completeness =
            level.map_or(self.backfill_completeness, |it| it.max(self.backfill_completeness));
        Self { backfill_completeness, ..self.clone() }
    }
}
