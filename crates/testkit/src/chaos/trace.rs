//! What happened in a run, in order: a hash over all of it, by which two runs are told to be the same, how often what happened, and on demand the
//! lines themselves.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{DefaultHasher, Hasher as _};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::counts::Sums;

/// How often what happened, in a run or in several.
pub trait Tally: Clone + Sums {
    /// How often what was done to those who take part, by kind.
    fn faults(&mut self) -> &mut BTreeMap<&'static str, u64>;

    /// A run took so long, in simulated seconds.
    fn lasted(&mut self, seconds: u64);
}

/// What happened so far.
#[derive(Debug)]
pub(super) struct Trace<C> {
    began: Instant,
    inner: Mutex<Inner<C>>,
}

#[derive(Debug)]
struct Inner<C> {
    hash: DefaultHasher,
    counts: C,
    lines: Option<Vec<String>>,
    violation: Option<String>,
}

impl<C: Tally> Trace<C> {
    /// Nothing has happened yet. With `keeps_lines`, what happens is kept to be shown.
    pub(super) fn new(keeps_lines: bool) -> Self {
        let lines = keeps_lines.then(Vec::new);
        let inner = Inner { hash: DefaultHasher::new(), counts: C::default(), lines, violation: None };
        Self { began: Instant::now(), inner: Mutex::new(inner) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner<C>> {
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
        *self.inner().counts.faults().entry(kind).or_default() += 1;
    }

    /// Counts.
    pub(super) fn count(&self, with: impl FnOnce(&mut C)) {
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
    pub(super) fn end(&self) -> (u64, C, Vec<String>) {
        let mut inner = self.inner();
        let seconds = self.began.elapsed().as_secs();
        inner.counts.lasted(seconds);
        (inner.hash.finish(), inner.counts.clone(), inner.lines.take().unwrap_or_default())
    }
}
