//! What happened in a run, in order: a hash over all of it, by which two runs are told to be the same, how often what happened, and on demand the
//! lines themselves.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{DefaultHasher, Hasher as _};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tokio::time::Instant;

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

impl Counts {
    /// Adds another run's.
    pub(crate) fn add(&mut self, other: &Self) {
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

/// What happened so far.
#[derive(Debug)]
pub(super) struct Trace {
    began: Instant,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    hash: DefaultHasher,
    counts: Counts,
    lines: Option<Vec<String>>,
    violation: Option<String>,
}

impl Trace {
    /// Nothing has happened yet. With `keeps_lines`, what happens is kept to be shown.
    pub(super) fn new(keeps_lines: bool) -> Self {
        let lines = keeps_lines.then(Vec::new);
        let inner = Inner { hash: DefaultHasher::new(), counts: Counts::default(), lines, violation: None };
        Self { began: Instant::now(), inner: Mutex::new(inner) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This happened.
    pub(super) fn note(&self, what: fmt::Arguments<'_>) {
        let line = format!("{:>9.3} {what}", self.began.elapsed().as_secs_f64());
        let mut inner = self.inner();
        inner.hash.write(line.as_bytes());
        if let Some(lines) = &mut inner.lines {
            lines.push(line);
        }
    }

    /// Something was done to a request, a commit or an endpoint.
    pub(super) fn fault(&self, kind: &'static str) {
        *self.inner().counts.faults.entry(kind).or_default() += 1;
    }

    /// Counts.
    pub(super) fn count(&self, with: impl FnOnce(&mut Counts)) {
        with(&mut self.inner().counts);
    }

    /// A promise is broken. Only the first is kept: the others may follow from it.
    pub(super) fn violated(&self, promise: String) {
        self.note(format_args!("BROKEN: {promise}"));
        self.inner().violation.get_or_insert(promise);
    }

    /// The promise that was broken first.
    pub(super) fn violation(&self) -> Option<String> {
        self.inner().violation.clone()
    }

    /// The hash over all that happened, the counts, and the lines where they were kept.
    pub(super) fn end(&self) -> (u64, Counts, Vec<String>) {
        let mut inner = self.inner();
        inner.counts.simulated_seconds = self.began.elapsed().as_secs();
        (inner.hash.finish(), inner.counts.clone(), inner.lines.take().unwrap_or_default())
    }
}
