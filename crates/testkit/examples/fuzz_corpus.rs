//! Writes the seeds of the fuzz targets `abi`, `account` and `answers` from what a real Anvil says of the contracts under traffic:
//! `cargo run -p plimsoll-testkit --example fuzz_corpus -- fuzz/corpus`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use alloy_primitives::Address;
use anyhow::{Context, Result};
use plimsoll_testkit::anvil::{Anvil, AnvilOptions, Mining};
use plimsoll_testkit::deploy::{Deployment, artifacts};
use plimsoll_testkit::node::Node;
use plimsoll_testkit::traffic::Traffic;
use serde_json::{Value, json};

const SEED: u64 = 7;
const BLOCKS: u32 = 12;
/// The contracts of the target `abi`, in its order.
const CONTRACTS: [&str; 4] = ["PositionView", "VaultRouter", "HealthView", "AccessControlView"];
/// The last block that the target `answers` asks logs of.
const RANGE_END: u64 = 64;
/// A seed for each event, not each log.
const LOGS_OF_AN_EVENT: usize = 2;

#[tokio::main]
async fn main() -> Result<()> {
    let corpus = PathBuf::from(std::env::args().nth(1).context("which directory is the corpus?")?);
    let options = AnvilOptions { mining: Mining::OnDemand, accounts: 8, ..AnvilOptions::default() };
    let anvil = Anvil::start(&options).await?;
    let deployment = Arc::new(Deployment::deploy(&anvil, true).await?);
    let mut traffic = Traffic::new(deployment.clone(), SEED);
    let node = anvil.node();
    for _ in 0..BLOCKS {
        traffic.mine_next(&node).await?;
    }
    logs(&corpus.join("abi"), &node, &deployment).await?;
    accounts(&corpus.join("account"), &node, &anvil.accounts().await?).await?;
    answers(&corpus.join("answers"), &node).await?;
    anvil.stop().await?;
    Ok(())
}

/// Logs and calls as the target `abi` reads them.
async fn logs(folder: &Path, node: &Node, deployment: &Deployment) -> Result<()> {
    for (at, name) in (0_u8..).zip(CONTRACTS) {
        let abi = &artifacts::artifact(name).abi;
        let filter =
            json!([{ "fromBlock": "0x0", "toBlock": "latest", "address": deployment.address(name) }]);
        let found: Vec<Value> = node.request("eth_getLogs", filter).await?;
        for (event, place) in abi.events().zip(0_u8..) {
            let own = found.iter().filter(|log| log["topics"][0] == json!(event.selector()));
            for (i, log) in own.take(LOGS_OF_AN_EVENT).enumerate() {
                let topics: Vec<Vec<u8>> = log["topics"]
                    .as_array()
                    .context("topics")?
                    .iter()
                    .skip(1)
                    .map(bytes)
                    .collect::<Result<_>>()?;
                let mut seed = vec![at, place, u8::try_from(topics.len())?];
                seed.extend(topics.concat());
                seed.extend(bytes(&log["data"])?);
                std::fs::write(folder.join(format!("seed-{name}-{}-{i}", event.name)), seed)?;
            }
        }
        let calls: Vec<Value> = found.iter().map(|log| log["transactionHash"].clone()).take(1).collect();
        for hash in calls {
            let transaction: Value = node.request("eth_getTransactionByHash", json!([hash])).await?;
            let seed = [&[0xff, at][..], &bytes(&transaction["input"])?].concat();
            std::fs::write(folder.join(format!("seed-{name}-call")), seed)?;
        }
    }
    Ok(())
}

/// Of an account that has sent something, and of one that is not there, what the node says, and the way to it.
async fn accounts(folder: &Path, node: &Node, accounts: &[Address]) -> Result<()> {
    for (name, address) in [("used", accounts[0]), ("absent", Address::repeat_byte(0xee))] {
        let told = node.raw("eth_getProof", json!([address, [], "latest"])).await?;
        std::fs::write(folder.join(format!("seed-{name}.json")), told.to_string())?;
    }
    Ok(())
}

/// Whole answers, each behind the number of its question in the target `answers`.
async fn answers(folder: &Path, node: &Node) -> Result<()> {
    let head = node.block_number().await?;
    let block: Value = node.request("eth_getBlockByNumber", json!([format!("{head:#x}"), false])).await?;
    let hash = &block["hash"];
    let seventh = node.raw("eth_getBlockByNumber", json!(["0x7", false])).await?;
    let of_block = json!([{ "blockHash": hash }]);
    let last = format!("{:#x}", head.min(RANGE_END));
    let early = json!([{ "fromBlock": last, "toBlock": last }]);
    let pair: Vec<Value> = vec![
        node.raw("eth_getBlockByNumber", json!(["0x0", false])).await?,
        node.raw("eth_getBlockByNumber", json!(["0x1", false])).await?,
    ];
    let full = node.raw("eth_getBlockByHash", json!([hash, true])).await?;
    let receipts = node.raw("eth_getBlockReceipts", json!([hash])).await?;
    let seeds: [(u8, &str, Value); 13] = [
        (0, "chain-id", single(&node.raw("eth_chainId", json!([])).await?)),
        (1, "head", single(&block)),
        (2, "header", single(&seventh)),
        (3, "header-by-hash", single(&block)),
        (4, "block", single(&full)),
        (5, "receipts", single(&receipts)),
        (6, "logs-of-range", single(&node.raw("eth_getLogs", early).await?)),
        (7, "logs-of-block", single(&node.raw("eth_getLogs", of_block).await?)),
        (8, "headers", batch(&pair)),
        (9, "calls", batch(&[json!("0x"), json!(format!("0x{}", "00".repeat(32)))])),
        (10, "reported-receipts", single(&receipts)),
        (11, "reported-transactions", single(&full)),
        (6, "refused", json!({ "jsonrpc": "2.0", "id": 0, "error": node_refusal(node).await? })),
    ];
    for (question, name, answer) in seeds {
        let seed = [&[question][..], answer.to_string().as_bytes()].concat();
        std::fs::write(folder.join(format!("seed-{name}")), seed)?;
    }
    Ok(())
}

fn single(result: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": 0, "result": result })
}

fn batch(results: &[Value]) -> Value {
    let answers = results
        .iter()
        .enumerate()
        .map(|(id, result)| json!({ "jsonrpc": "2.0", "id": id, "result": result }));
    answers.collect()
}

/// How the node says no.
async fn node_refusal(node: &Node) -> Result<Value> {
    use plimsoll_testkit::node::NodeError;
    match node.raw("eth_getLogs", json!([{ "fromBlock": "0x10", "toBlock": "0x1" }])).await {
        Err(NodeError::Refused { code, message, .. }) => Ok(json!({ "code": code, "message": message })),
        other => anyhow::bail!("the node does not refuse a range that ends before it begins: {other:?}"),
    }
}

fn bytes(text: &Value) -> Result<Vec<u8>> {
    Ok(alloy_primitives::hex::decode(text.as_str().context("a text")?)?)
}
