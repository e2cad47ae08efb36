//! Positions to read, brought in from Anvil by the main job.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use plimsoll_chain::{EndpointConfig, Rpc};

use super::ingest::{config, deploy_load, load_contracts, push_batch};
use super::pipeline::{Store, time_to_mirror};
use crate::anvil::{Anvil, AnvilOptions, Mining};

const POSITIONS_PER_BLOCK: u64 = 200;

/// Fills a database at `data` with so many, of as many users. Returns the users and the chain.
pub(super) async fn fill(data: &Path, positions: u64) -> Result<(Vec<String>, u64)> {
    let anvil = Anvil::start(&AnvilOptions { mining: Mining::OnDemand, ..AnvilOptions::default() }).await?;
    let load = deploy_load(&anvil, true).await?;
    for start in (0..positions).step_by(usize::try_from(POSITIONS_PER_BLOCK)?) {
        push_batch(&anvil, load.admin, load.address, start, POSITIONS_PER_BLOCK.min(positions - start))
            .await?;
        anvil.mine(1).await?;
    }
    let (chain_id, last) = (anvil.chain_id().await?, anvil.block_number().await?);
    let store = Store::fresh(data).await?;
    let rpc = Rpc::connect(&EndpointConfig::new(anvil.url())).await?;
    time_to_mirror(&store, rpc, &load_contracts(load.address, load.block), config(chain_id), last).await?;
    let users: Vec<String> =
        sqlx::query_scalar!(r#"SELECT "user" FROM position_cache_mirror ORDER BY md5("user")"#)
            .fetch_all(store.db.worker())
            .await?;
    ensure!(users.len() as u64 == positions, "there are {} positions, not {positions}", users.len());
    sqlx::query!("SELECT FROM chains")
        .fetch_optional(store.db.worker())
        .await?
        .context("a chain was followed")?;
    store.stop().await?;
    anvil.stop().await?;
    Ok((users, chain_id))
}
