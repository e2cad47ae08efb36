//! What is on the chain, read from the node itself: what each signer sent, and how often the contract counted each request.

use std::collections::BTreeMap;

use alloy_primitives::{B256, U256};
use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use uuid::Uuid;

use super::asked::calldata;
use super::keys::KEYS;
use super::stage::Stage;
use crate::node::Field as _;

/// A transaction of a signer, in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Included {
    pub(super) tx_hash: B256,
    pub(super) block_hash: B256,
    pub(super) succeeded: bool,
}

/// By signer and nonce.
pub(super) type Sent = BTreeMap<(String, u64), Included>;

fn quantity(value: &Value) -> Option<u64> {
    u64::from_str_radix(value.as_str()?.strip_prefix("0x")?, 16).ok()
}

impl Stage {
    /// Everything that signers sent, block by block.
    pub(super) async fn sent(&mut self) -> Result<Sent> {
        let (node, mut sent) = (&self.house.node, Sent::new());
        let head = node.block_number().await?;
        self.counts.blocks = head + 1;
        for number in 0..=head {
            let number = format!("{number:#x}");
            let block = node.raw("eth_getBlockByNumber", json!([number, true])).await?;
            let transactions = block["transactions"].as_array().context("a block has transactions")?;
            if transactions.is_empty() {
                continue;
            }
            let receipts = node.raw("eth_getBlockReceipts", json!([number])).await?;
            for (place, transaction) in transactions.iter().enumerate() {
                let from = transaction["from"].as_str().unwrap_or_default().to_lowercase();
                if KEYS.iter().all(|sealed| sealed.address != from) {
                    continue;
                }
                let nonce = quantity(&transaction["nonce"]).context("a transaction has a nonce")?;
                let included = Included {
                    tx_hash: B256::deserialize_field(transaction, "hash", "eth_getBlockByNumber")?,
                    block_hash: B256::deserialize_field(&block, "hash", "eth_getBlockByNumber")?,
                    succeeded: receipts[place]["status"] == "0x1",
                };
                sent.insert((from, nonce), included);
            }
        }
        Ok(sent)
    }

    /// How often a request took effect, as the contract counted.
    pub(super) async fn effects(&self, request_id: Uuid) -> Result<u64> {
        let data = calldata("performed(bytes32)", request_id);
        let answer = self.house.node.call(self.counter, &data, json!("latest")).await?;
        u64::try_from(U256::from_be_slice(&answer)).context("the contract's count")
    }
}
