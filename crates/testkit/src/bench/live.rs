//! Against a live Anvil, each beside what the node alone takes for it in the same run: a long chain with few logs, a head with a block each 100 ms, and 64 blocks
//! that are replaced.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use alloy_primitives::B256;
use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use plimsoll_chain::interval::IntervalPolicy;
use plimsoll_chain::{EndpointConfig, HeadHint, Rpc};
use plimsoll_ingest::{Finality, IngestConfig};
use serde::Serialize;

use super::ingest::{Load, config, deploy_load, load_contracts, push_call};
use super::pipeline::{Pipeline, Store, time_to_mirror};
use crate::anvil::{Anvil, AnvilOptions, Mining, Replacement};
use crate::node::Node;

/// A log each so many blocks, in the long chain.
const SPARSE_BLOCKS_PER_LOG: u64 = 500;
/// Headers that the floor asks for at a time, and such questions in flight: as a backfill may.
const FLOOR_RANGE_BLOCKS: u64 = 500;
const FLOOR_IN_FLIGHT: usize = 2;
/// The head's block time.
const BLOCK_INTERVAL: Duration = Duration::from_millis(100);
/// Positions that change in each block at the head, and in each that is replaced.
const EVENTS_PER_BLOCK: u64 = 20;
/// The first blocks at the head find the backfill at work and connections cold.
const WARM_BLOCKS: u64 = 20;
/// Blocks that the floor of the head is taken from.
const FLOOR_HEAD_BLOCKS: usize = 50;
/// Blocks that are replaced, and how often.
const REORG_BLOCKS: u64 = 64;
const REORGS: usize = 5;
/// Between two looks at the journal's head: a reorganisation's resolution.
const HEAD_POLL: Duration = Duration::from_millis(1);
/// What takes longer is broken.
const HANGS_AFTER: Duration = Duration::from_secs(60);

/// A long chain with few logs.
#[derive(Clone, Debug, Serialize)]
pub struct Sparse {
    /// Its blocks.
    pub sparse_blocks: u64,
    /// Blocks a second of a backfill of it, from the node to the mirror, every header proven and linked.
    pub blocks_per_s_sparse: f64,
    /// Blocks a second where each header is asked for once, and nothing is done with it.
    pub floor_blocks_per_s_sparse: f64,
}

/// The head.
#[derive(Clone, Debug, Serialize)]
pub struct Head {
    /// Blocks, one each 100 ms, every one of which the journal has.
    pub head_journal_blocks: usize,
    /// From the node's announcement of a block to its commit in the journal, median, ms.
    pub head_to_journal_p50_ms: f64,
    /// The same, 99th percentile.
    pub head_to_journal_p99_ms: f64,
    /// From the announcement to the node's answers with the block and its receipts and one commit of one row, without Plimsoll, 99th percentile, ms.
    pub floor_head_p99_ms: f64,
}

/// A reorganisation.
#[derive(Clone, Debug, Serialize)]
pub struct Reorg {
    /// 64 blocks replaced: from the node's word that they are to the journal that ends with the new head, the slowest of 5, ms.
    pub reorg64_repair_ms: f64,
    /// The replacing blocks and their receipts asked for one after the other, without Plimsoll, the slowest of 5, ms.
    pub floor_reorg64_ms: f64,
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

fn percentile(sorted: &[f64], share: usize) -> Result<f64> {
    let at = (sorted.len() * share / 100).min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().context("nothing was measured")
}

/// Backfills a chain of so many blocks.
#[allow(clippy::cast_precision_loss)]
pub(super) async fn sparse(directory: &Path, blocks: u64) -> Result<Sparse> {
    let options = AnvilOptions { mining: Mining::OnDemand, states: Some(16), ..AnvilOptions::default() };
    let anvil = Anvil::start(&options).await?;
    let load = deploy_load(&anvil, true).await?;
    let mut mined = anvil.block_number().await?;
    while mined < blocks {
        anvil.send(&push_call(&load, mined, 1)?).await?;
        let next = SPARSE_BLOCKS_PER_LOG.min(blocks - mined);
        anvil.mine(next).await?;
        mined += next;
    }
    let rpc = Rpc::connect(&EndpointConfig::new(anvil.url())).await?;
    let ranges: Vec<u64> = (0..=mined).step_by(usize::try_from(FLOOR_RANGE_BLOCKS)?).collect();
    let began = Instant::now();
    let headers: usize = stream::iter(ranges)
        .map(|from| rpc.headers_by_number(from, mined.min(from + FLOOR_RANGE_BLOCKS - 1)))
        .buffered(FLOOR_IN_FLIGHT)
        .try_fold(0, async |sum, headers| Ok(sum + headers.len()))
        .await?;
    let floor = began.elapsed();
    ensure!(headers as u64 == mined + 1, "{headers} headers of {mined} blocks");
    let store = Store::fresh(directory).await?;
    let contracts = load_contracts(load.address, 0);
    let settings = IngestConfig { range: IntervalPolicy::default(), ..config(anvil.chain_id().await?) };
    let took = time_to_mirror(&store, rpc, &contracts, settings, mined).await?;
    store.stop().await?;
    anvil.stop().await?;
    let per_second = |elapsed: Duration| (mined + 1) as f64 / elapsed.as_secs_f64();
    Ok(Sparse {
        sparse_blocks: mined + 1,
        blocks_per_s_sparse: per_second(took),
        floor_blocks_per_s_sparse: per_second(floor),
    })
}

/// When each block was announced, on a socket of the bench's own.
#[derive(Clone, Default)]
struct Announced(Arc<Mutex<BTreeMap<u64, Instant>>>);

impl Announced {
    fn locked(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn listen(self, rpc: Rpc) {
        let mut heads = rpc.heads();
        loop {
            if let HeadHint::Announced { number, .. } = heads.next_head_hint().await {
                self.locked().entry(number).or_insert_with(Instant::now);
            }
        }
    }
}

/// Follows a chain with a block each 100 ms for so long.
pub(super) async fn head(directory: &Path, duration: Duration) -> Result<Head> {
    let mining = Mining::Every(BLOCK_INTERVAL);
    let anvil = Anvil::start(&AnvilOptions { mining, states: Some(64), ..AnvilOptions::default() }).await?;
    let load = deploy_load(&anvil, false).await?;
    let store = Store::fresh(directory).await?;
    let endpoint = EndpointConfig::new(anvil.url().replacen("http", "ws", 1));
    let traffic = tokio::spawn(traffic(anvil.node(), load));
    let floor_head_p99_ms = head_floor(&store, &endpoint).await?;

    let announced = Announced::default();
    let listening = tokio::spawn(announced.clone().listen(Rpc::connect(&endpoint).await?));
    let settings =
        IngestConfig { confirmations: 4, finality: Finality::Depth(16), ..config(anvil.chain_id().await?) };
    let contracts = load_contracts(load.address, load.block);
    let pipeline = Pipeline::start(&store, Rpc::connect(&endpoint).await?, &contracts, settings).await?;
    let mut end = pipeline.tail.subscribe(anvil.chain_id().await?);
    let (mut committed, began) = (BTreeMap::new(), Instant::now());
    let mut covered = None;
    while began.elapsed() < duration {
        tokio::time::timeout(HANGS_AFTER, end.changed()).await.context("the journal stands still")??;
        let (now, number) = (Instant::now(), end.borrow_and_update().block_number);
        for number in covered.map_or(number, |last| last + 1)..=number {
            committed.insert(number, now);
        }
        covered = Some(number);
    }
    listening.abort();
    let announced = announced.locked().clone();
    let first = announced.keys().next().context("the node announced no block")? + WARM_BLOCKS;
    let last = covered.context("the journal covers no block")?;
    let mut delays = Vec::new();
    for (number, announced) in announced.range(first..=last) {
        let committed =
            committed.get(number).with_context(|| format!("block {number} is not in the journal"))?;
        delays.push(millis(committed.saturating_duration_since(*announced)));
    }
    missed_none(&store, first, last).await?;
    traffic.abort();
    pipeline.stop().await?;
    store.stop().await?;
    anvil.stop().await?;
    delays.sort_by(f64::total_cmp);
    Ok(Head {
        head_journal_blocks: delays.len(),
        head_to_journal_p50_ms: percentile(&delays, 50)?,
        head_to_journal_p99_ms: percentile(&delays, 99)?,
        floor_head_p99_ms,
    })
}

/// The journal has each of these blocks, by itself.
async fn missed_none(store: &Store, first: u64, last: u64) -> Result<()> {
    let kept: i64 = sqlx::query_scalar(
        "SELECT count(DISTINCT number) FROM chain_blocks WHERE number BETWEEN $1 AND $2 AND state <> 'orphaned'",
    )
    .bind(i64::try_from(first)?)
    .bind(i64::try_from(last)?)
    .fetch_one(store.db.worker())
    .await?;
    let wanted = i64::try_from((last + 1).saturating_sub(first))?;
    ensure!(wanted > 0, "no block was measured: give the head more time");
    ensure!(kept == wanted, "the journal missed {} of the blocks {first} to {last}", wanted - kept);
    Ok(())
}

/// What the node and one commit take.
async fn head_floor(store: &Store, endpoint: &EndpointConfig) -> Result<f64> {
    let (announcer, rpc) = (Rpc::connect(endpoint).await?, Rpc::connect(endpoint).await?);
    let mut heads = announcer.heads();
    let mut delays = Vec::new();
    while delays.len() < FLOOR_HEAD_BLOCKS {
        let HeadHint::Announced { hash, .. } = heads.next_head_hint().await else { continue };
        let announced = Instant::now();
        let answers = tokio::join!(rpc.block_with_transactions(hash), rpc.reported_receipts(hash));
        answers.0?.context("the node has the block that it announced")?;
        answers.1?.context("the node has the receipts of the block that it announced")?;
        let mut tx = store.db.begin_worker().await?;
        sqlx::query("SELECT pg_logical_emit_message(true, 'bench', 'a block')").execute(&mut *tx).await?;
        tx.commit().await?;
        delays.push(millis(announced.elapsed()));
    }
    delays.sort_by(f64::total_cmp);
    percentile(&delays, 99)
}

async fn traffic(node: Node, load: Load) -> Result<()> {
    for batch in 0.. {
        node.send(&push_call(&load, (batch % 50) * EVENTS_PER_BLOCK, EVENTS_PER_BLOCK)?).await?;
        tokio::time::sleep(BLOCK_INTERVAL).await;
    }
    Ok(())
}

/// Replaces 64 blocks, some times.
pub(super) async fn reorg(directory: &Path) -> Result<Reorg> {
    let anvil = Anvil::start(&AnvilOptions { mining: Mining::OnDemand, ..AnvilOptions::default() }).await?;
    let load = deploy_load(&anvil, true).await?;
    for block in 0..2 * REORG_BLOCKS {
        anvil.send(&push_call(&load, block * EVENTS_PER_BLOCK, EVENTS_PER_BLOCK)?).await?;
        anvil.mine(1).await?;
    }
    let store = Store::fresh(directory).await?;
    let endpoint = EndpointConfig::new(anvil.url().replacen("http", "ws", 1));
    let settings = IngestConfig {
        confirmations: 4,
        finality: Finality::Depth(REORG_BLOCKS + 16),
        ..config(anvil.chain_id().await?)
    };
    let contracts = load_contracts(load.address, load.block);
    let pipeline = Pipeline::start(&store, Rpc::connect(&endpoint).await?, &contracts, settings).await?;
    let floor_rpc = Rpc::connect(&endpoint).await?;
    ends_with(&store, floor_rpc.head().await?.hash).await?;
    let (mut slowest, mut slowest_floor) = (Duration::ZERO, Duration::ZERO);
    for round in 0..REORGS {
        let transactions = replacements(&load, round)?;
        anvil.reorg(REORG_BLOCKS, &transactions).await?;
        let began = Instant::now();
        let head = floor_rpc.head().await?;
        ends_with(&store, head.hash).await?;
        slowest = slowest.max(began.elapsed());
        let began = Instant::now();
        fetch(&floor_rpc, head.number).await?;
        slowest_floor = slowest_floor.max(began.elapsed());
        // A branch as long as the old one is believed once it stays; the next one finds a longer chain below it.
        anvil.mine(1).await?;
        ends_with(&store, floor_rpc.head().await?.hash).await?;
    }
    pipeline.stop().await?;
    store.stop().await?;
    anvil.stop().await?;
    Ok(Reorg { reorg64_repair_ms: millis(slowest), floor_reorg64_ms: millis(slowest_floor) })
}

/// One transaction in each of the new blocks.
fn replacements(load: &Load, round: usize) -> Result<Vec<(Replacement, u64)>> {
    let push = |block| {
        let call = push_call(load, (block + round as u64) * EVENTS_PER_BLOCK, EVENTS_PER_BLOCK)?;
        Ok((Replacement::Other(call), block))
    };
    (0..REORG_BLOCKS).map(push).collect()
}

/// The blocks that end with this one, and their receipts.
async fn fetch(rpc: &Rpc, head: u64) -> Result<()> {
    for header in rpc.headers_by_number(head + 1 - REORG_BLOCKS, head).await? {
        let hash = header.context("the node has its own blocks")?.hash;
        let answers = tokio::join!(rpc.block_with_transactions(hash), rpc.reported_receipts(hash));
        answers.0?.context("the node has its own blocks")?;
        answers.1?.context("the node has its own receipts")?;
    }
    Ok(())
}

/// Waits until the journal ends with this block.
async fn ends_with(store: &Store, hash: B256) -> Result<()> {
    let began = Instant::now();
    loop {
        let head: Option<Vec<u8>> = sqlx::query_scalar("SELECT head_hash FROM chains")
            .fetch_optional(store.db.worker())
            .await?
            .flatten();
        if head.as_deref() == Some(hash.as_slice()) {
            return Ok(());
        }
        ensure!(began.elapsed() < HANGS_AFTER, "the journal does not come to end with block {hash}");
        tokio::time::sleep(HEAD_POLL).await;
    }
}
