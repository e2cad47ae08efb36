//! What the relayer carries: requests accepted and given nonces, and the whole way to their verdicts.
//!
//! The workload. One signer (and then 4, and 16), calls of a contract that counts each request's id, with the gas limit given. First without a chain behind: a node that takes everything, so that
//! accepting, signing, committing and the rest of the work in this process and Postgres is all there is; with as many callers as wait for each other anyway, and then with each
//! request accepted in a transaction of its own. Then to Anvil, a block each 250 ms: as many transactions signed beforehand and sent raw in batches of 100 (the floor), and as
//! requests through the relayer, with the ingest and the verdicts beside it, until the chain has included them all. Last, whole processes. Client, Postgres and Anvil share the machine.

mod floor;
mod ground;
mod processes;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures::{StreamExt, stream};
use serde::Serialize;

use super::pipeline::Store;
use super::usage::cpu_ms_of;
use floor::Beside;
use ground::Ground;

/// Callers at once.
const CALLERS: usize = 512;
/// Requests that are accepted one after the other, for comparison.
const ALONE: usize = 1_000;

/// Transactions that Anvil's pool has to hold at once: with many thousands it stops to answer.
const POOL_MAX: usize = 4_096;
/// As many signers as are measured beside the one.
const MORE_SIGNERS: [u8; 2] = [4, 16];

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Requests of each part.
    pub requests: usize,
    /// Where the database goes while it runs.
    pub directory: PathBuf,
}

/// What came out.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Requests accepted, given a nonce, signed and committed a second, by one signer, through the library.
    pub accept_per_s: f64,
    /// Share of the requests that shared the transaction of their acceptance, percent.
    pub batch_hit_rate: f64,
    /// Acceptances alone a second, with callers at once.
    pub batched_accepts_per_s: f64,
    /// The same, one transaction each.
    pub single_accepts_per_s: f64,
    /// The first over the second.
    pub batch_speedup: f64,
    /// Signatures of such transactions a second, on all cores.
    pub sign_per_s_floor: f64,
    /// Requests a second from the first acceptance to the last inclusion.
    pub end_to_end_per_s: f64,
    /// Signed beforehand and sent raw, the same.
    pub floor_per_s: f64,
    /// The same, while somebody has the node tell each block's transactions and receipts once: what proving an inclusion costs at the node.
    pub followed_floor_per_s: f64,
    /// `end_to_end_per_s` over `followed_floor_per_s`.
    pub ratio_to_followed_floor: f64,
    /// `end_to_end_per_s` over `floor_per_s`.
    pub ratio_to_floor: f64,
    /// CPU of this process and Postgres for a request, end to end, ms.
    pub cpu_ms_per_tx: f64,
    /// `accept_per_s` and `end_to_end_per_s` of so many signers, between which the same requests are shared out.
    pub signers: BTreeMap<u8, OfSigners>,
    /// Requests of each part.
    pub requests: usize,
    /// Of whole processes.
    #[serde(flatten)]
    pub processes: processes::Figures,
}

/// What so many signers carry together.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct OfSigners {
    /// Requests accepted, given a nonce, signed and committed a second.
    pub accept_per_s: f64,
    /// Requests a second from the first acceptance to the last inclusion.
    pub end_to_end_per_s: f64,
}

/// How long so many requests took until each was accepted, and until each had an attempt that is committed.
struct Taken {
    accepted: Duration,
    tracked: Duration,
    /// How many shared the transaction of their acceptance.
    shared: usize,
}

/// Hands in so many requests, as many at once as there are callers; how many shared their transaction.
async fn hand_in(ground: &Ground, count: usize) -> Result<usize> {
    let accepted: Vec<_> = stream::iter(ground.requests(count))
        .map(|request| ground.intake.accept(request))
        .buffer_unordered(CALLERS)
        .collect()
        .await;
    let accepted: Vec<_> = accepted.into_iter().collect::<Result<_, _>>()?;
    Ok(accepted.iter().filter(|accepted| accepted.batch > 1).count())
}

/// By a node that takes everything.
async fn taken(ground: &Ground, count: usize) -> Result<Taken> {
    let desks = ground.desks(count).await?;
    let started = Instant::now();
    let shared = hand_in(ground, count).await?;
    let accepted = started.elapsed();
    ground.until_tracked(count).await?;
    let tracked = started.elapsed();
    desks.stop().await;
    Ok(Taken { accepted, tracked, shared })
}

/// How long it takes from the first acceptance to the last inclusion, and the CPU of this process and Postgres, ms.
async fn end_to_end(directory: &Path, signers: u8, count: usize) -> Result<(Duration, u64)> {
    let store = Store::fresh(directory).await?;
    let ground = Ground::on_anvil(&store, signers).await?;
    let desks = ground.desks(POOL_MAX / usize::from(signers)).await?;
    let before = cpu_ms_of(None, store.cluster.pid());
    let started = Instant::now();
    hand_in(&ground, count).await?;
    ground.until_included(count).await?;
    let whole = started.elapsed();
    let cpu_ms = cpu_ms_of(None, store.cluster.pid()) - before;
    ground.until_mined(count).await?;
    desks.stop().await;
    ground.stop().await?;
    store.stop().await?;
    Ok((whole, cpu_ms))
}

/// Runs the benchmark.
///
/// # Errors
/// When a server cannot be started, or a request did not take effect exactly once.
#[allow(clippy::cast_precision_loss)]
pub async fn run(options: &Options) -> Result<Report> {
    let say = |what: &str| eprintln!("bench relayer: {what}");
    let directory = tempfile::Builder::new().prefix("bench").tempdir_in(&options.directory)?;
    let count = options.requests;
    let per_second = |count: usize, elapsed: Duration| count as f64 / elapsed.as_secs_f64();

    say("accepting, signing, committing; a node that takes everything");
    let store = Store::fresh(&directory.path().join("accept")).await?;
    let ground = Ground::without_a_chain(&store, 1).await?;
    let Taken { accepted, tracked, shared } = taken(&ground, count).await?;

    say("accepting one after the other");
    let started = Instant::now();
    for request in ground.requests(ALONE) {
        let alone = ground.intake.accept(request).await?;
        ensure!(alone.batch == 1, "a request that nobody waits beside shares no transaction");
    }
    let single = per_second(ALONE, started.elapsed());
    store.stop().await?;

    say("signing");
    let sign_per_s_floor = floor::signatures(count).await?;
    say("the floor: signed beforehand, sent raw");
    let floor_per_s = per_second(count, floor::sent_raw(count, Beside::Nobody).await?);
    say("the same, and each block told once");
    let followed_floor_per_s = per_second(count, floor::sent_raw(count, Beside::Reader).await?);

    say("end to end");
    let (whole, cpu_ms) = end_to_end(&directory.path().join("whole"), 1, count).await?;

    let of_one =
        OfSigners { accept_per_s: per_second(count, tracked), end_to_end_per_s: per_second(count, whole) };
    let mut signers = BTreeMap::from([(1, of_one)]);
    for more in MORE_SIGNERS {
        say(&format!("the same with {more} signers"));
        let store = Store::fresh(&directory.path().join(format!("accept-{more}"))).await?;
        let Taken { tracked, .. } = taken(&Ground::without_a_chain(&store, more).await?, count).await?;
        store.stop().await?;
        let (whole, _) = end_to_end(&directory.path().join(format!("whole-{more}")), more, count).await?;
        let of_them = OfSigners {
            accept_per_s: per_second(count, tracked),
            end_to_end_per_s: per_second(count, whole),
        };
        signers.insert(more, of_them);
    }

    say("whole processes: one that is killed, and 20 confirmations");
    let processes = processes::figures(&super::server::program()?).await?;

    let batched = per_second(count, accepted);
    let OfSigners { accept_per_s, end_to_end_per_s } = of_one;
    Ok(Report {
        accept_per_s,
        batch_hit_rate: 100.0 * shared as f64 / count as f64,
        batched_accepts_per_s: batched,
        single_accepts_per_s: single,
        batch_speedup: batched / single,
        sign_per_s_floor,
        end_to_end_per_s,
        floor_per_s,
        followed_floor_per_s,
        ratio_to_followed_floor: end_to_end_per_s / followed_floor_per_s,
        ratio_to_floor: end_to_end_per_s / floor_per_s,
        cpu_ms_per_tx: cpu_ms as f64 / count as f64,
        signers,
        requests: count,
        processes,
    })
}
