//! What the ledger carries: two-line postings through the library, durable, with the seal on.
//!
//! The workload. Postings between two of 1,000 accounts drawn at random (spread), and all between the same two (hot), by as many callers as its queue has room for, each waiting for its own; the
//! sealer and its signed checkpoints beside them, in this process. Then 2,000 a second offered, whatever the answers do, and one at a time. The floor is the very rows of the spread run,
//! headers, lines, balances and log entries, in tables with the same columns and indexes and without triggers or row security, as batches of 500 a statement over one connection of the owner's, each committed.

mod floor;
mod ground;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt, stream};
use plimsoll_ledger::{Posting, QUEUE_MAX};
use serde::Serialize;

use super::pipeline::Store;
use super::usage::cpu_ms_of;
use ground::{Ground, Sealing};

/// Callers at once.
const CALLERS: usize = QUEUE_MAX / 2;
/// What is offered a second, and for how long.
const OFFERED_PER_S: u64 = 2_000;
const OFFERED_FOR: Duration = Duration::from_secs(10);
/// Postings one after the other, and bare commits beside them.
const ALONE: usize = 1_000;

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Postings of each part.
    pub postings: usize,
    /// Where the database goes while it runs.
    pub directory: PathBuf,
}

/// What came out.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Postings a second, over many accounts.
    pub postings_per_s: f64,
    /// The same, all on one pair of accounts.
    pub hot_postings_per_s: f64,
    /// Hot against spread.
    pub hot_ratio: f64,
    /// The same rows, written plainly.
    pub floor_postings_per_s: f64,
    /// Spread against the floor.
    pub ratio_to_floor: f64,
    /// From being handed in to being durable, at 2,000 a second, ms.
    pub p50_ms_at_2000: f64,
    /// The same: 99 of 100 are faster.
    pub p99_ms_at_2000: f64,
    /// One at a time, less a bare commit's time, ms: half are faster.
    pub single_overhead_ms_p50: f64,
    /// From being written to being under a signed checkpoint, in the spread run, ms: 99 of 100 are faster.
    pub seal_lag_p99_ms: f64,
    /// CPU of this process and Postgres for a posting, in the spread run, seal included.
    pub cpu_ms_per_posting: f64,
    /// All that was booked, verified, for 1,000,000 postings: seconds. The last figure says how many it was measured on.
    pub verify_1m_s: f64,
    /// Postings of each part.
    pub postings: usize,
    /// Postings that were verified: all of this run.
    pub verified_postings: u64,
}

/// Runs the benchmark.
///
/// # Errors
/// When Postgres cannot be started, or a posting was not booked.
#[allow(clippy::cast_precision_loss)]
pub async fn run(options: &Options) -> Result<Report> {
    let say = |what: &str| eprintln!("bench ledger: {what}");
    let directory = tempfile::Builder::new().prefix("bench").tempdir_in(&options.directory)?;
    let count = options.postings;
    let per_second = |elapsed: Duration| count as f64 / elapsed.as_secs_f64();

    say("over many accounts");
    let store = Store::fresh(&directory.path().join("ledger")).await?;
    let ground = Ground::new(&store).await?;
    let sealing = Sealing::start(&store).await?;
    let before = cpu_ms_of(None, store.cluster.pid());
    let spread = hand_in(&ground, count, |n| ground.spread(n)).await?;
    ground.until_signed(count).await?;
    let cpu_ms = cpu_ms_of(None, store.cluster.pid()) - before;
    let seal_lag_p99_ms = ground.seal_lag_p99_ms().await?;

    say("all on one pair");
    let hot = hand_in(&ground, count, |_| ground.hot()).await?;
    ground.until_signed(2 * count).await?;

    say("2,000 a second");
    let mut offered = at_a_rate(&ground).await?;
    say("one at a time");
    let mut alone = one_by_one(&ground).await?;
    let mut bare = floor::bare_commits(&store, ALONE).await?;
    sealing.stop().await?;

    say("verified");
    let (verified_postings, verified_in) = ground::verify_all(&store).await?;
    say("the floor");
    let floor_postings_per_s = floor::plain(&store, count).await?;
    store.stop().await?;

    let postings_per_s = per_second(spread);
    Ok(Report {
        postings_per_s,
        hot_postings_per_s: per_second(hot),
        hot_ratio: per_second(hot) / postings_per_s,
        floor_postings_per_s,
        ratio_to_floor: postings_per_s / floor_postings_per_s,
        p50_ms_at_2000: percentile_ms(&mut offered, 50),
        p99_ms_at_2000: percentile_ms(&mut offered, 99),
        single_overhead_ms_p50: percentile_ms(&mut alone, 50) - percentile_ms(&mut bare, 50),
        seal_lag_p99_ms,
        cpu_ms_per_posting: cpu_ms as f64 / count as f64,
        verify_1m_s: verified_in.as_secs_f64() * 1e6 / verified_postings as f64,
        postings: count,
        verified_postings,
    })
}

/// Hands in so many postings, as many at once as there are callers; how long that takes.
async fn hand_in(ground: &Ground, count: usize, posting: impl Fn(usize) -> Posting) -> Result<Duration> {
    let started = Instant::now();
    let mut booked = stream::iter(0..count).map(|n| ground.intake.post(posting(n))).buffer_unordered(CALLERS);
    while let Some(posted) = booked.next().await {
        ensure!(!posted?.is_replay, "a posting that is new is no replay");
    }
    Ok(started.elapsed())
}

/// Offered at a constant rate: how long each took from the time at which it was due.
async fn at_a_rate(ground: &Ground) -> Result<Vec<Duration>> {
    let (count, started) = (OFFERED_PER_S * OFFERED_FOR.as_secs(), tokio::time::Instant::now());
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..count {
        let due = started + Duration::from_micros(n * 1_000_000 / OFFERED_PER_S);
        tokio::time::sleep_until(due).await;
        let (intake, posting) = (ground.intake.clone(), ground.spread(usize::try_from(n)?));
        tasks.spawn(async move { intake.post(posting).await.map(|_| due.elapsed()) });
    }
    let mut took = Vec::new();
    while let Some(done) = tasks.join_next().await {
        took.push(done.context("a caller")??);
    }
    Ok(took)
}

async fn one_by_one(ground: &Ground) -> Result<Vec<Duration>> {
    let mut took = Vec::with_capacity(ALONE);
    for n in 0..ALONE {
        let (posting, started) = (ground.spread(n), Instant::now());
        ground.intake.post(posting).await?;
        took.push(started.elapsed());
    }
    Ok(took)
}

/// So many of a hundred took no longer.
fn percentile_ms(took: &mut [Duration], percent: usize) -> f64 {
    took.sort_unstable();
    let place = (took.len() * percent).div_ceil(100).saturating_sub(1);
    took.get(place).map_or(0.0, |it| it.as_secs_f64() * 1_000.0)
}
