//! The demo's chain: begun, or gone on with if it is what the last run has left.

use alloy_primitives::B256;
use anyhow::{Result, bail};
use serde_json::json;

use super::FINALITY_DEPTH;
use super::home::{Home, Manifest};
use super::options::Options;
use crate::anvil::{Anvil, AnvilOptions, Mining, unix_time};
use crate::deploy::Deployment;
use crate::node::Node;

/// Starts the node, with the chain of the last run where there is one, else with the contracts newly deployed.
pub(super) async fn start_chain(
    options: &Options,
    home: &Home,
    resumed: Option<Manifest>,
) -> Result<(Anvil, Manifest, bool)> {
    let genesis_time = resumed.as_ref().map_or_else(unix_time, |manifest| manifest.genesis_time);
    let anvil = AnvilOptions {
        binary: options.anvil.clone(),
        mining: Mining::OnDemand,
        state: Some(home.chain_state()),
        genesis_time: Some(genesis_time),
        slots_in_an_epoch: FINALITY_DEPTH / 2,
        ..AnvilOptions::default()
    };
    println!("starting the chain");
    let node = Anvil::start(&anvil).await?;
    if let Some(manifest) = resumed {
        if let Some(why) = differs(&node, &manifest).await? {
            bail!(
                "{} does not hold the chain that the last run left ({why}): it was replaced, or could not be written whole, as on a full disk; \
                 make room, move {} away and start again",
                home.chain_state().display(),
                home.root().display()
            );
        }
        println!("going on with the chain of the last run, at block {}", node.block_number().await?);
        return Ok((node, manifest, true));
    }
    println!("deploying the contracts");
    let deployment = Deployment::deploy(&node, true).await?;
    let manifest = Manifest {
        deployment,
        genesis_time,
        head: None,
        runs: 0,
        under_way: true,
        node_pid: None,
        plimsoll_pid: None,
    };
    Ok((node, manifest, false))
}

/// Number and hash of the node's last block.
pub(super) async fn last_block(node: &Node) -> Result<Option<(u64, B256)>> {
    let number = node.block_number().await?;
    Ok(node.block_hash(number).await?.map(|hash| (number, hash)))
}

/// In what the node's chain is not the one that the last run's notes are about.
async fn differs(node: &Node, manifest: &Manifest) -> Result<Option<String>> {
    let genesis = (0, manifest.deployment.genesis_hash);
    for (number, hash) in [genesis].into_iter().chain(manifest.head) {
        if node.block_hash(number).await? != Some(hash) {
            return Ok(Some(format!("it has no block {number} with the hash {hash}")));
        }
    }
    for (name, address) in &manifest.deployment.contracts {
        let code: String = node.request("eth_getCode", json!([address, "latest"])).await?;
        if code == "0x" {
            return Ok(Some(format!("it has no contract {name} at {address}")));
        }
    }
    Ok(None)
}
