//! How often what happened.

use serde::Serialize;

use crate::chaos::house::{Blows, Faults};
use crate::chaos::runs::Sums;

/// How often what happened, in one run or in several.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Blocks of the chains at the end, from block 0.
    pub blocks: u64,
    /// Events on them.
    pub events: u64,
    /// The most kinds of events (topic0) that a chain had.
    pub event_kinds_max: u64,
    /// Transactions of watched senders on them.
    pub transactions: u64,
    /// Records of the journals.
    pub journal_records: u64,
    /// Records that take another back.
    pub retractions: u64,
    /// Final blocks that were proven anew at the end.
    pub blocks_proven: u64,
    /// Mirror rows that were compared with the contracts at the end.
    pub mirror_rows: u64,
    /// Reorganisations that were made.
    pub reorgs: u64,
    /// Blocks that they replaced.
    pub blocks_orphaned: u64,
    /// What was done to processes and database.
    #[serde(flatten)]
    pub blows: Blows,
    /// Times that the lease of the ingest changed hands.
    pub takeovers: u64,
    /// The longest time from the last fault to rest, ms.
    pub rest_ms_max: u64,
    /// Questions to the endpoints, a batch being one.
    pub requests: u64,
    /// Answers with a hidden or altered log.
    pub lies: u64,
    /// Endpoints that lied; each was named.
    pub liars_named: u64,
    /// What was done to questions and answers, by kind.
    pub faults: Faults,
}

impl Sums for Counts {
    fn add(&mut self, other: &Self) {
        let Self {
            blocks,
            events,
            event_kinds_max,
            transactions,
            journal_records,
            retractions,
            blocks_proven,
            mirror_rows,
            reorgs,
            blocks_orphaned,
            blows,
            takeovers,
            rest_ms_max,
            requests,
            lies,
            liars_named,
            faults,
        } = other;
        self.blocks += blocks;
        self.events += events;
        self.event_kinds_max = self.event_kinds_max.max(*event_kinds_max);
        self.transactions += transactions;
        self.journal_records += journal_records;
        self.retractions += retractions;
        self.blocks_proven += blocks_proven;
        self.mirror_rows += mirror_rows;
        self.reorgs += reorgs;
        self.blocks_orphaned += blocks_orphaned;
        self.blows.add(blows);
        self.takeovers += takeovers;
        self.rest_ms_max = self.rest_ms_max.max(*rest_ms_max);
        self.requests += requests;
        self.lies += lies;
        self.liars_named += liars_named;
        for (kind, count) in faults {
            *self.faults.entry(kind).or_default() += count;
        }
    }
}
