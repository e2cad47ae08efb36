//! How often what happened in runs of the follower.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::chaos::trace::Tally;

/// How often what happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Simulated time, in seconds.
    pub simulated_seconds: u64,
    /// Blocks that were made, on whatever branch.
    pub blocks: u64,
    /// Requests, a batch being one.
    pub requests: u64,
    /// Commits.
    pub commits: u64,
    /// Events that were committed, each time that they were.
    pub events: u64,
    /// Transactions of watched senders that were committed, each time that they were.
    pub transactions: u64,
    /// Commits that took blocks back.
    pub reorgs: u64,
    /// Blocks that they took back.
    pub blocks_taken_back: u64,
    /// Ranges that were backfilled.
    pub ranges: u64,
    /// Ranges that came late, of contracts and senders that were added.
    pub late_ranges: u64,
    /// Times that the follower was dropped in the midst of its work.
    pub crashes: u64,
    /// Times that it ended with an error and was started again.
    pub restarts: u64,
    /// Times that the chain halted, rightly.
    pub halts: u64,
    /// What was done to requests, commits and endpoints, by kind.
    pub faults: BTreeMap<&'static str, u64>,
}

impl Tally for Counts {
    fn faults(&mut self) -> &mut BTreeMap<&'static str, u64> {
        &mut self.faults
    }

    fn lasted(&mut self, seconds: u64) {
        self.simulated_seconds += seconds;
    }

    fn add(&mut self, other: &Self) {
        let Self {
            simulated_seconds,
            blocks,
            requests,
            commits,
            events,
            transactions,
            reorgs,
            blocks_taken_back,
            ranges,
            late_ranges,
            crashes,
            restarts,
            halts,
            faults,
        } = other;
        self.simulated_seconds += simulated_seconds;
        self.blocks += blocks;
        self.requests += requests;
        self.commits += commits;
        self.events += events;
        self.transactions += transactions;
        self.reorgs += reorgs;
        self.blocks_taken_back += blocks_taken_back;
        self.ranges += ranges;
        self.late_ranges += late_ranges;
        self.crashes += crashes;
        self.restarts += restarts;
        self.halts += halts;
        for (kind, count) in faults {
            *self.faults.entry(kind).or_default() += count;
        }
    }
}
