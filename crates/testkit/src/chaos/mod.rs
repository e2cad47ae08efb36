//! Chaos: an ingest, a relayer, or a ledger, lives through what a chain, its endpoints, a database and a process can do to it, and what came of it is held
//! against the truth.
//!
//! `cargo xtask chaos ingest --seeds N` runs N seeds of the ingest's [simulator](sim), and with `--real` N seeds of [real processes](real);
//! `cargo xtask chaos relayer --seeds N` runs N of the [relayer's](relayer), or N of its [real processes](real_relayer); `cargo xtask chaos ledger --kills N` kills the
//! [ledger's](real_ledger) N times. `docs/ingest.md`, `docs/relayer.md` and `docs/ledger.md` say how a seed is replayed.

mod client;
mod conduct;
mod counts;
pub mod dice;
pub(crate) mod house;
mod people;
pub mod real;
pub mod real_ledger;
pub mod real_relayer;
pub mod relayer;
mod runs;
pub mod seeds;
pub mod sim;
mod trace;

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

pub use self::counts::Sums;
pub use self::runs::{RealOptions, RealRun};
pub use self::trace::Tally;

/// What is run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The first seed.
    pub first: u64,
    /// How many.
    pub count: u64,
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Report<C> {
    /// Seeds that were run.
    pub seeds: u64,
    /// Seeds in which a promise was broken.
    pub failed: usize,
    /// Those seeds.
    pub failing_seeds: Vec<u64>,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// How often what happened, in all.
    #[serde(flatten)]
    pub counts: C,
    /// The promise that each failing seed broke first.
    pub broken: BTreeMap<u64, String>,
}

/// Runs seeds, as many at a time as there are processors. `simulate` runs one, and tells how often what happened and which promise was broken;
/// `failed` is called with each failing one as it ends.
pub fn run<C: Tally + Send>(
    options: &Options,
    simulate: impl Fn(u64) -> (C, Option<String>) + Sync,
    failed: impl Fn(u64, &str) + Sync,
) -> Report<C> {
    let began = Instant::now();
    let next = AtomicU64::new(0);
    let sum: Mutex<(C, BTreeMap<u64, String>)> = Mutex::default();
    let work = || {
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            if place >= options.count {
                break;
            }
            let seed = options.first.wrapping_add(place);
            let (counts, violation) = simulate(seed);
            let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
            sum.0.add(&counts);
            if let Some(violation) = violation {
                failed(seed, &violation);
                sum.1.insert(seed, violation);
            }
        }
    };
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
        (0..threads).for_each(|_| _ = scope.spawn(work));
    });
    let (counts, broken) = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    Report::new(options.count, began.elapsed(), counts, broken)
}

impl<C> Report<C> {
    fn new(seeds: u64, time: Duration, counts: C, broken: BTreeMap<u64, String>) -> Self {
        let failing_seeds: Vec<u64> = broken.keys().copied().collect();
        Self {
            seeds,
            failed: failing_seeds.len(),
            failing_seeds,
            seconds: time.as_secs_f64(),
            counts,
            broken,
        }
    }
}
