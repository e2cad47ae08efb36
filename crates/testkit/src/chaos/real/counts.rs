//! How often what happened.

use std::collections::BTreeMap;

use serde::Serialize;

/// By kind.
pub(super) type Faults = BTreeMap<&'static str, u64>;

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
    /// Processes killed with SIGKILL.
    pub kills: u64,
    /// Processes that stood still, most for longer than their lease.
    pub freezes: u64,
    /// Times that the lease of the ingest changed hands.
    pub takeovers: u64,
    /// Sessions of the database that were ended.
    pub sessions_ended: u64,
    /// Restarts of the database server.
    pub postgres_restarts: u64,
    /// Processes that could not start while the database was away, and were started again.
    pub starts_refused: u64,
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

impl Counts {
    /// Adds another run's.
    pub(super) fn add(&mut self, other: &Self) {
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
            kills,
            freezes,
            takeovers,
            sessions_ended,
            postgres_restarts,
            starts_refused,
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
        self.kills += kills;
        self.freezes += freezes;
        self.takeovers += takeovers;
        self.sessions_ended += sessions_ended;
        self.postgres_restarts += postgres_restarts;
        self.starts_refused += starts_refused;
        self.rest_ms_max = self.rest_ms_max.max(*rest_ms_max);
        self.requests += requests;
        self.lies += lies;
        self.liars_named += liars_named;
        for (kind, count) in faults {
            *self.faults.entry(kind).or_default() += count;
        }
    }
}
