//! From the head to the mirror: how long after a block is available its effects are in the mirror.

use std::time::{Duration, Instant};

use alloy_primitives::Address;
use anyhow::{Context as _, Result};
use plimsoll_chain::abi::Contracts;
use plimsoll_chain::{EndpointConfig, HeadHint, Rpc};
use plimsoll_ingest::{Finality, IngestConfig};
use plimsoll_types::Completeness;

use super::pipeline::{Pipeline, Store};
use crate::anvil::{Anvil, AnvilOptions, Mining};
use crate::bench::ingest::{deploy_load, load_contracts, push_batch};

/// The chain's block time.
const BLOCK_INTERVAL: Duration = Duration::from_millis(250);
/// Positions that change in each block.
const EVENTS_PER_BLOCK: u64 = 20;
/// Between two looks at the mirror's watermark: the measurement's resolution.
const WATERMARK_POLL: Duration = Duration::from_millis(1);

/// Percentiles of the delay, milliseconds.
pub(super) struct Delays {
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) blocks: usize,
}

/// Follows a live chain for `blocks` blocks. A block counts as available when the node announces it on a socket of the bench's own.
pub(super) async fn measure(directory: &std::path::Path, blocks: usize) -> Result<Delays> {
    let anvil =
        Anvil::start(&AnvilOptions { mining: Mining::Every(BLOCK_INTERVAL), ..AnvilOptions::default() })
            .await?;
    let load = deploy_load(&anvil, false).await?;
    let store = Store::fresh(directory).await?;
    let socket = anvil.url().replacen("http", "ws", 1);
    let contracts: Contracts = load_contracts(load.address, load.block);
    let config = IngestConfig {
        confirmations: 4,
        finality: Finality::Depth(16),
        head_completeness: Completeness::Receipts,
        backfill_completeness: Completeness::Bloom,
        ..crate::bench::ingest::config(anvil.chain_id().await?)
    };
    let pipeline =
        Pipeline::start(&store, Rpc::connect(&EndpointConfig::new(&*socket)).await?, &contracts, config)
            .await?;
    let announcer = Rpc::connect(&EndpointConfig::new(&*socket)).await?;
    let mut heads = announcer.heads();
    let mut delays = Vec::with_capacity(blocks);
    let mut next = 0;
    let traffic = tokio::spawn(traffic(anvil.node(), load.admin, load.address));
    while delays.len() < blocks {
        let HeadHint::Announced { number, .. } = heads.next_head_hint().await else { continue };
        let announced = Instant::now();
        let number = i64::try_from(number)?;
        while store.mirrored().await?.is_none_or(|mirrored| mirrored < number) {
            anyhow::ensure!(
                announced.elapsed() < Duration::from_secs(30),
                "block {number} did not reach the mirror in 30 s"
            );
            tokio::time::sleep(WATERMARK_POLL).await;
        }
        next += 1;
        // The first blocks find the backfill at work and connections cold.
        if next > 10 {
            delays.push(announced.elapsed().as_secs_f64() * 1000.0);
        }
    }
    traffic.abort();
    pipeline.stop().await?;
    store.stop().await?;
    anvil.stop().await?;
    delays.sort_by(f64::total_cmp);
    let at = |share: usize| delays.get((delays.len() * share / 100).min(delays.len() - 1)).copied();
    Ok(Delays {
        p50_ms: at(50).context("no block was measured")?,
        p99_ms: at(99).context("no block was measured")?,
        blocks: delays.len(),
    })
}

async fn traffic(node: crate::node::Node, admin: Address, contract: Address) -> Result<()> {
    for batch in 0.. {
        push_batch(&node, admin, contract, (batch % 50) * EVENTS_PER_BLOCK, EVENTS_PER_BLOCK).await?;
        tokio::time::sleep(BLOCK_INTERVAL).await;
    }
    Ok(())
}
