//! What the node itself says happened, read from the receipts of every block.
//!
//! Plimsoll reads logs; receipts are another path through the node, so that neither a filter that is too narrow nor a
//! range that is forgotten can hide on both sides of a comparison.

mod senders;

use std::collections::HashSet;

use alloy_primitives::{Address, B256, Bytes, U64};
use futures::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;
use serde_json::{Value, json};

pub use self::senders::{TruthTransaction, read_senders, sender_differences};
use crate::node::{Node, NodeError};

/// Blocks asked for at once.
const IN_FLIGHT: usize = 8;

/// A log on the canonical chain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TruthEvent {
    /// Block number.
    pub block_number: u64,
    /// The log's index in the block.
    pub log_index: u32,
    /// Block hash.
    pub block_hash: B256,
    /// Transaction hash.
    pub tx_hash: B256,
    /// The transaction's index in the block.
    pub tx_index: u32,
    /// The contract.
    pub address: Address,
    /// Its topics, topic0 first.
    pub topics: Vec<B256>,
    /// Its data.
    pub data: Bytes,
}

/// The canonical chain from block 0 or later up to a block, and its logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Truth {
    /// The last block that was read.
    pub head_number: u64,
    /// Its hash.
    pub head_hash: B256,
    /// The logs of the contracts asked for, in chain order.
    pub events: Vec<TruthEvent>,
    /// Transactions in all.
    pub transactions: u64,
}

/// Why there is no truth to be had.
#[derive(Debug, thiserror::Error)]
pub enum TruthError {
    /// The node failed.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The chain changed under our hands.
    #[error("the chain changed while it was read, at block {0}: stop what mines and read again")]
    Moved(u64),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Receipt {
    block_hash: B256,
    transaction_hash: B256,
    transaction_index: U64,
    logs: Vec<ReceiptLog>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReceiptLog {
    address: Address,
    topics: Vec<B256>,
    data: Bytes,
    log_index: U64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Header {
    hash: B256,
    parent_hash: B256,
}

/// Reads blocks `from_block` to the head and keeps the logs of these contracts.
pub async fn read(node: &Node, contracts: &[Address], from_block: u64) -> Result<Truth, TruthError> {
    let contracts: HashSet<Address> = contracts.iter().copied().collect();
    let head_number = node.block_number().await?;
    let mut blocks = stream::iter(from_block..=head_number)
        .map(|number| async move {
            let tag = format!("{number:#x}");
            let header: Option<Header> = node.request("eth_getBlockByNumber", json!([tag, false])).await?;
            let header = header.ok_or(TruthError::Moved(number))?;
            let receipts: Vec<Receipt> = node.request("eth_getBlockReceipts", json!([tag])).await?;
            if receipts.iter().any(|receipt| receipt.block_hash != header.hash) {
                return Err(TruthError::Moved(number));
            }
            Ok::<_, TruthError>((number, header, receipts))
        })
        .buffered(IN_FLIGHT);

    let mut truth = Truth { head_number, head_hash: B256::ZERO, events: Vec::new(), transactions: 0 };
    let mut last: Option<B256> = None;
    while let Some((number, header, receipts)) = blocks.try_next().await? {
        if last.is_some_and(|last| last != header.parent_hash) {
            return Err(TruthError::Moved(number));
        }
        last = Some(header.hash);
        truth.head_hash = header.hash;
        truth.transactions += receipts.len() as u64;
        for receipt in receipts {
            for log in receipt.logs.into_iter().filter(|log| contracts.contains(&log.address)) {
                truth.events.push(TruthEvent {
                    block_number: number,
                    log_index: log.log_index.to(),
                    block_hash: header.hash,
                    tx_hash: receipt.transaction_hash,
                    tx_index: receipt.transaction_index.to(),
                    address: log.address,
                    topics: log.topics,
                    data: log.data,
                });
            }
        }
    }
    truth.events.sort_unstable();
    Ok(truth)
}

/// What differs between two sets of events, the first few of each kind, in words; empty when nothing does.
#[must_use]
pub fn differences(expected: &[TruthEvent], found: &[TruthEvent]) -> Vec<String> {
    const SHOWN: usize = 5;
    let (want, have): (HashSet<_>, HashSet<_>) = (expected.iter().collect(), found.iter().collect());
    let mut differences = Vec::new();
    let mut tell = |what: &str, mut events: Vec<&TruthEvent>| {
        events.sort_unstable();
        if events.len() > SHOWN {
            differences.push(format!("{} events are {what}; the first {SHOWN}:", events.len()));
        }
        for event in events.iter().take(SHOWN) {
            differences.push(format!(
                "{what}: block {} log {} tx {} contract {} topic0 {}",
                event.block_number,
                event.log_index,
                event.tx_hash,
                event.address,
                event.topics.first().map_or_else(|| "none".into(), B256::to_string),
            ));
        }
    };
    tell("on the chain and not in the database", want.difference(&have).copied().collect());
    tell("in the database and not on the chain", have.difference(&want).copied().collect());
    if found.len() != have.len() {
        differences.push(format!("{} events are in the database twice", found.len() - have.len()));
    }
    differences
}

/// The block of a hash, as the truth has it: for calls at exactly that block.
#[must_use]
pub fn at_block(hash: B256) -> Value {
    json!({ "blockHash": hash })
}
