//! What a second look found, for people and for programs (JSON).

use std::fmt;

use plimsoll_journal::Uncovered;
use plimsoll_types::Completeness;
use serde::Serialize;

use super::compare::Difference;

/// Differences, contradictions and ranges that are listed; all of them are counted.
pub const MAX_LISTED: usize = 1_000;

/// An endpoint said what cannot be true.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Contradicting {
    /// Its name.
    pub endpoint: String,
    /// What contradicts what.
    pub what: String,
}

/// Blocks that could not be proven. Nothing is known of what is stored of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unproven {
    /// The first block.
    pub from: u64,
    /// The last block.
    pub to: u64,
    /// Why.
    pub why: String,
}

/// Blocks in which nobody was asked for what is wanted now, so that the journal does not have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NeverAskedFor {
    /// Whose logs or transactions, and in which blocks.
    #[serde(flatten)]
    pub what: Uncovered,
    /// How many of them there are, as far as those blocks were looked at.
    pub missing: u64,
}

/// Blocks, from the one to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Blocks {
    /// The first block.
    pub from: u64,
    /// The last block.
    pub to: u64,
}

/// What a second look found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CompletenessReport {
    /// The chain.
    pub chain_id: u64,
    /// The first block that was looked at.
    pub from: u64,
    /// The last one: final.
    pub to: u64,
    /// What was to be proven.
    pub level: Completeness,
    /// Blocks that were proven.
    pub proven_blocks: u64,
    /// Events of theirs on the chain.
    pub events: u64,
    /// Transactions of watched senders in them.
    pub transactions: u64,
    /// In how many events and transactions journal and chain differ.
    pub different: u64,
    /// The first [`MAX_LISTED`] of them.
    pub differences: Vec<Difference>,
    /// Endpoints that contradicted themselves meanwhile.
    pub contradictions: Vec<Contradicting>,
    /// Ranges that nobody could prove.
    pub unproven: Vec<Unproven>,
    /// Blocks of which nobody has been asked for what is wanted now, up to the journal's head.
    pub uncovered: Vec<NeverAskedFor>,
    /// Where something is missing from the journal that the chain has: of each range that was looked at, from the first such block to the last.
    pub holes: Vec<Blocks>,
}

impl CompletenessReport {
    /// Blocks that could not be proven.
    #[must_use]
    pub fn unproven_blocks(&self) -> u64 {
        self.unproven.iter().map(|range| range.to - range.from + 1).sum()
    }

    /// What this level cannot show.
    #[must_use]
    pub fn cannot_show(&self) -> Option<&'static str> {
        (self.level < Completeness::Receipts).then_some(
            "the bloom cannot show that one of several logs of a block is missing on both sides, nor, in blocks whose bloom says \"perhaps\" to \
             everything, that all are; transactions of watched senders are as the endpoint has them (`--level receipts` shows both)",
        )
    }
}

impl fmt::Display for CompletenessReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { chain_id, from, to, level, proven_blocks, events, transactions, .. } = self;
        writeln!(
            f,
            "chain {chain_id}: blocks {from} to {to} at level {level}: {proven_blocks} proven, {} not; {events} events, {transactions} transactions",
            self.unproven_blocks()
        )?;
        for range in &self.unproven {
            writeln!(f, "  not proven: {} to {}: {}", range.from, range.to, range.why)?;
        }
        for Contradicting { endpoint, what } in &self.contradictions {
            writeln!(f, "  {endpoint} contradicts itself: {what}")?;
        }
        for Difference { kind, of, address, block_number, block_hash, index, stored, chain } in
            &self.differences
        {
            let name = kind.anomaly().trim_start_matches("completeness_").replace('_', " ");
            writeln!(f, "  {name}: {of} {index} of block {block_number} ({block_hash}), by {address:#x}")?;
            for (side, what) in [("stored", stored), ("chain", chain)] {
                if let Some(what) = what {
                    writeln!(f, "    {side}: {what}")?;
                }
            }
        }
        if self.different > self.differences.len() as u64 {
            writeln!(f, "  … and {} more differences", self.different - self.differences.len() as u64)?;
        }
        for NeverAskedFor { what: Uncovered { address, is_sender, from, to }, missing } in &self.uncovered {
            let what = if *is_sender { "transactions of" } else { "logs of" };
            writeln!(
                f,
                "  never asked for: {what} {address:#x} in blocks {from} to {to}; {missing} were found"
            )?;
        }
        match self.cannot_show() {
            Some(what) => writeln!(f, "  not shown: {what}"),
            None => Ok(()),
        }
    }
}
