//! Runs of real processes, one after the other, whatever they are about.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::Report;
use super::counts::Sums;

/// What is run.
#[derive(Clone, Debug)]
pub struct RealOptions {
    /// The first seed.
    pub first: u64,
    /// How many, one after the other.
    pub count: u64,
    /// The `plimsoll` program.
    pub plimsoll: PathBuf,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct RealRun<C> {
    /// Its seed.
    pub seed: u64,
    /// How often what happened.
    pub counts: C,
    /// What was broken.
    pub violation: Option<String>,
    /// What happened.
    pub lines: Vec<String>,
    /// Where logs and database of a failed run are.
    pub kept: Option<PathBuf>,
}

/// Runs seeds one after the other, which two processors are busy enough with. `ended` is called with each run as it ends.
pub(super) async fn all<C: Sums>(
    options: &RealOptions,
    mut ended: impl FnMut(&RealRun<C>),
    one: impl AsyncFn(u64, &Path) -> RealRun<C>,
) -> Report<C> {
    let began = Instant::now();
    let (mut counts, mut broken) = (C::default(), BTreeMap::new());
    for place in 0..options.count {
        let run = one(options.first.wrapping_add(place), &options.plimsoll).await;
        counts.add(&run.counts);
        if let Some(violation) = &run.violation {
            broken.insert(run.seed, violation.clone());
        }
        ended(&run);
    }
    Report::new(options.count, began.elapsed(), counts, broken)
}

impl<C: Sums> RealRun<C> {
    /// One that could not begin.
    pub(super) fn unset(seed: u64, error: &anyhow::Error) -> Self {
        let violation = Some(format!("the run could not be set up: {error:#}"));
        Self { seed, counts: C::default(), violation, lines: Vec::new(), kept: None }
    }

    /// One in which everything was as promised, and what came of its end.
    pub(super) fn ended(seed: u64, lines: Vec<String>, end: anyhow::Result<C>) -> Self {
        match end {
            Ok(counts) => Self { seed, counts, violation: None, lines, kept: None },
            Err(error) => {
                let violation = Some(format!("when told to end: {error:#}"));
                Self { seed, counts: C::default(), violation, lines, kept: None }
            }
        }
    }

    /// One in which something was not.
    pub(super) fn failed(
        seed: u64,
        error: &anyhow::Error,
        (kept, lines, counts): (PathBuf, Vec<String>, C),
    ) -> Self {
        Self { seed, counts, violation: Some(format!("{error:#}")), lines, kept: Some(kept) }
    }
}
