//! `bench ingest`: a backfill of positions, from the endpoint to the mirror and the apply log, and the delay at the head.
//!
//! The fixture is made on Anvil: blocks of 200 `UserPositionCachedV2` of 25,000 users in turn. It is brought in three times: live, so that
//! memory is measured without a fixture in it; once more while its answers are recorded; and from the recording, so that the node is not
//! what is measured. The floor writes the same rows to the same tables by plain COPY. What is measured against a live node comes last ([`live`]).

use std::path::PathBuf;
use std::time::Duration;

use alloy_dyn_abi::{DynSolValue, JsonAbiExt as _};
use alloy_primitives::{Address, Bytes, U256};
use anyhow::{Context as _, Result, ensure};
use plimsoll_chain::abi::{Contract, Contracts};
use plimsoll_chain::interval::IntervalPolicy;
use plimsoll_chain::transport::{Recorder, Replayer, open};
use plimsoll_chain::{EndpointConfig, Rpc};
use plimsoll_ingest::{Finality, IngestConfig};
use plimsoll_types::Completeness;
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use super::floor::Rows;
use super::live::{Head, Reorg, Sparse};
use super::pipeline::{Store, time_to_mirror};
use super::usage::{cpu_ms_of, rss_peak_mb};
use super::{head, live};
use crate::anvil::{Anvil, AnvilOptions, Mining};
use crate::deploy::artifacts::artifact;
use crate::node::{Call, Node};

/// Events of a fixture block.
const EVENTS_PER_BLOCK: u64 = 200;
/// Users that they are of: each position is written about as often as the events outnumber the users.
const USERS: u64 = 25_000;
/// Blocks of a range, and ranges in flight.
const RANGE_BLOCKS: u64 = 20;
const RANGES_IN_FLIGHT: usize = 2;
/// Gas of one fixture block: a new position costs some 75,000.
const BATCH_GAS: u64 = 30_000_000;
const PUSH: &str = "pushSyntheticBatch";

/// What is measured.
#[derive(Clone, Debug)]
pub struct Options {
    /// Events of the backfill.
    pub events: u64,
    /// Blocks at the head whose delay is measured.
    pub head_blocks: usize,
    /// Blocks of the chain with few logs.
    pub sparse_blocks: u64,
    /// How long a head with a block each 100 ms is followed.
    pub head_for: Duration,
    /// Where databases and the recording go.
    pub directory: PathBuf,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Events of the backfill.
    pub events: u64,
    /// Blocks that hold them.
    pub blocks: u64,
    /// From the recording to the mirror.
    pub events_per_s: f64,
    /// From the live node to the mirror.
    pub live_events_per_s: f64,
    /// Plain COPY of the same rows.
    pub floor_events_per_s: f64,
    /// `events_per_s` over `floor_events_per_s`.
    pub ratio_to_floor: f64,
    /// CPU of Plimsoll and Postgres together, from the recording.
    pub cpu_ms_per_1000_events: f64,
    /// Plimsoll's largest resident set in the live run, MB.
    pub rss_peak_mb: u64,
    /// From a block's announcement to its effects in the mirror, blocks each 250 ms.
    pub head_to_mirror_p50_ms: f64,
    /// The same, 99th percentile.
    pub head_to_mirror_p99_ms: f64,
    /// Blocks that the two are taken from.
    pub head_blocks: usize,
    /// A long chain with few logs.
    #[serde(flatten)]
    pub sparse: Sparse,
    /// The head at 100 ms.
    #[serde(flatten)]
    pub head: Head,
    /// 64 blocks replaced.
    #[serde(flatten)]
    pub reorg: Reorg,
}

/// The load contract, deployed.
#[derive(Clone, Copy)]
pub(super) struct Load {
    pub(super) address: Address,
    pub(super) admin: Address,
    pub(super) block: u64,
}

/// Runs the benchmark.
#[allow(clippy::cast_precision_loss)]
pub async fn run(options: &Options) -> Result<Report> {
    let say = |what: &str| eprintln!("bench ingest: {what}");
    let blocks = options.events.div_ceil(EVENTS_PER_BLOCK);
    let per_second = |elapsed: Duration| options.events as f64 / elapsed.as_secs_f64();
    let directory = tempfile::Builder::new().prefix("bench").tempdir_in(&options.directory)?;

    say("delay at the head");
    let delays = head::measure(&directory.path().join("head"), options.head_blocks).await?;

    say(&format!("making {} events in {blocks} blocks on Anvil", options.events));
    let anvil =
        Anvil::start(&AnvilOptions { mining: Mining::OnDemand, states: Some(16), ..AnvilOptions::default() })
            .await?;
    let load = deploy_load(&anvil, true).await?;
    for block in 0..blocks {
        let start = block * EVENTS_PER_BLOCK;
        let count = EVENTS_PER_BLOCK.min(options.events - start);
        push_batch(&anvil, load.admin, load.address, start % USERS, count).await?;
        anvil.mine(1).await?;
    }
    let contracts = load_contracts(load.address, load.block);
    let (chain_id, last) = (anvil.chain_id().await?, anvil.block_number().await?);
    let endpoint = EndpointConfig::new(anvil.url());

    say("live");
    let store = Store::fresh(&directory.path().join("live")).await?;
    let live =
        time_to_mirror(&store, Rpc::connect(&endpoint).await?, &contracts, config(chain_id), last).await?;
    check(&store, options.events).await?;
    let rss_peak_mb = rss_peak_mb();
    store.stop().await?;

    say("recording");
    let tape = directory.path().join("tape");
    let (recorder, handle) = Recorder::create(open(&endpoint)?, &tape)?;
    let store = Store::fresh(&directory.path().join("recorded")).await?;
    let rpc = Rpc::over(alloy_transport::BoxTransport::new(recorder), &endpoint);
    time_to_mirror(&store, rpc, &contracts, config(chain_id), last).await?;
    handle.flush()?;
    store.stop().await?;
    anvil.stop().await?;

    say("from the recording");
    let replayer = Replayer::open(&tape)?;
    let store = Store::fresh(&directory.path().join("replayed")).await?;
    let rpc = Rpc::over(alloy_transport::BoxTransport::new(replayer), &endpoint);
    let before = cpu_ms_of(None, store.cluster.pid());
    let replayed = time_to_mirror(&store, rpc, &contracts, config(chain_id), last).await?;
    let cpu = cpu_ms_of(None, store.cluster.pid()) - before;
    check(&store, options.events).await?;
    let rows = Rows::read(&store).await?;
    let end = sqlx::query!("SELECT next_seq FROM chains").fetch_one(store.db.worker()).await?.next_seq;
    store.stop().await?;

    say("floor");
    let store = Store::fresh(&directory.path().join("floor")).await?;
    let floor = rows.write(&store, chain_id, i64::try_from(last)?, end).await?;
    check(&store, options.events).await?;
    store.stop().await?;

    say(&format!("a block each 100 ms for {} s", options.head_for.as_secs()));
    let head = live::head(&directory.path().join("quick"), options.head_for).await?;
    say("64 blocks replaced");
    let reorg = live::reorg(&directory.path().join("reorg")).await?;
    say(&format!("a chain of {} blocks with few logs", options.sparse_blocks));
    let sparse = live::sparse(&directory.path().join("sparse"), options.sparse_blocks).await?;

    Ok(Report {
        events: options.events,
        blocks,
        events_per_s: per_second(replayed),
        live_events_per_s: per_second(live),
        floor_events_per_s: per_second(floor),
        ratio_to_floor: floor.as_secs_f64() / replayed.as_secs_f64(),
        cpu_ms_per_1000_events: cpu as f64 * 1000.0 / options.events as f64,
        rss_peak_mb,
        head_to_mirror_p50_ms: delays.p50_ms,
        head_to_mirror_p99_ms: delays.p99_ms,
        head_blocks: delays.blocks,
        sparse,
        head,
        reorg,
    })
}

/// Everything is final, ranges are of one size: the same questions in each run, so that a recording answers them.
pub(super) fn config(chain_id: u64) -> IngestConfig {
    IngestConfig {
        chain_id,
        name: "bench".into(),
        confirmations: 0,
        finality: Finality::Depth(0),
        head_completeness: Completeness::Receipts,
        backfill_completeness: Completeness::Bloom,
        poll_interval: Duration::from_millis(500),
        watched_senders: std::collections::BTreeMap::new(),
        ranges_in_flight: RANGES_IN_FLIGHT,
        range: IntervalPolicy {
            initial_blocks: RANGE_BLOCKS,
            max_blocks: RANGE_BLOCKS,
            increase_blocks: 1,
            target_logs: u64::MAX,
            target_duration: Duration::from_secs(3600),
        },
    }
}

pub(super) fn load_contracts(address: Address, start_block: u64) -> Contracts {
    let abi = artifact("PositionLoad").abi.clone();
    Contracts::new([Contract::new("PositionView", address, Uuid::from_u128(1), start_block, abi)])
}

/// Deploys a registry and the load contract.
pub(super) async fn deploy_load(anvil: &Anvil, mines: bool) -> Result<Load> {
    let admin = *anvil.accounts().await?.first().context("Anvil has accounts")?;
    let registry = deploy(anvil, admin, artifact("Registry").bytecode.to_vec(), mines).await?.0;
    let mut code = artifact("PositionLoad").bytecode.to_vec();
    code.extend_from_slice(&DynSolValue::Address(registry).abi_encode());
    let (address, block) = deploy(anvil, admin, code, mines).await?;
    Ok(Load { address, admin, block })
}

async fn deploy(anvil: &Anvil, from: Address, code: Vec<u8>, mines: bool) -> Result<(Address, u64)> {
    let call = Call { from, to: None, data: Bytes::from(code) };
    let receipt = anvil.execute("deployment", &call, mines).await?;
    let address =
        receipt["contractAddress"].as_str().context("a deployment's receipt names the contract")?.parse()?;
    let number = receipt["blockNumber"].as_str().context("a receipt has a block")?;
    Ok((address, u64::from_str_radix(number.trim_start_matches("0x"), 16)?))
}

/// Sends one fixture batch; the next block has it.
pub(super) async fn push_batch(
    node: &Node,
    from: Address,
    to: Address,
    start: u64,
    count: u64,
) -> Result<()> {
    let data = push_data(start, count)?;
    let call = json!([{ "from": from, "to": to, "data": data, "gas": format!("{BATCH_GAS:#x}") }]);
    node.raw("eth_sendTransaction", call).await?;
    Ok(())
}

/// A batch of some events, as a call.
pub(super) fn push_call(load: &Load, start: u64, count: u64) -> Result<Call> {
    Ok(Call { from: load.admin, to: Some(load.address), data: push_data(start, count)? })
}

fn push_data(start: u64, count: u64) -> Result<Bytes> {
    let function = artifact("PositionLoad")
        .abi
        .function(PUSH)
        .and_then(|f| f.first())
        .context("PositionLoad pushes batches")?;
    let arguments = [DynSolValue::Uint(U256::from(start), 256), DynSolValue::Uint(U256::from(count), 256)];
    Ok(Bytes::from(function.abi_encode_input(&arguments)?))
}

/// Every event reached every table: a run that lost some would be fast for nothing.
async fn check(store: &Store, events: u64) -> Result<()> {
    let counts = sqlx::query!(
        r#"SELECT (SELECT count(*) FROM chain_events) AS "events!", (SELECT count(*) FROM chain_live) AS "live!",
                  (SELECT count(*) FROM view_apply_entries WHERE apply_status = 'applied') AS "applied!",
                  (SELECT count(*) FROM position_cache_mirror) AS "mirrored!""#
    )
    .fetch_one(store.db.worker())
    .await?;
    let expected = i64::try_from(events)?;
    for (table, count) in
        [("chain_events", counts.events), ("chain_live", counts.live), ("view_apply_entries", counts.applied)]
    {
        ensure!(count == expected, "{table} has {count} rows for {expected} events");
    }
    let users = expected.min(i64::try_from(USERS)?);
    ensure!(counts.mirrored == users, "the mirror has {} rows for {users} users", counts.mirrored);
    Ok(())
}
