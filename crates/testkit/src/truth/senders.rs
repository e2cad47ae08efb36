//! What watched senders did, read from every block's transactions and their receipts.

use std::collections::BTreeSet;
use std::fmt;

use alloy_primitives::{Address, B256, U64, U256};
use futures::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;
use serde_json::json;

use super::{IN_FLIGHT, Truth, TruthError};
use crate::node::Node;

/// A watched sender's transaction on the canonical chain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TruthTransaction {
    /// Block number.
    pub block_number: u64,
    /// The transaction's index in the block.
    pub tx_index: u32,
    /// Block hash.
    pub block_hash: B256,
    /// Transaction hash.
    pub tx_hash: B256,
    /// Who sent it.
    pub sender: Address,
    /// To whom; none creates a contract.
    pub to: Option<Address>,
    /// The sender's nonce.
    pub nonce: u64,
    /// Whether it did not revert.
    pub succeeded: bool,
    /// Gas that it used.
    pub gas_used: U256,
    /// What it paid for each unit, wei.
    pub effective_gas_price: U256,
}

impl fmt::Display for TruthTransaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { block_number, tx_index, tx_hash, sender, nonce, .. } = self;
        write!(f, "block {block_number} transaction {tx_index} {tx_hash} of {sender}, nonce {nonce}")
    }
}

#[derive(Deserialize)]
struct Block {
    hash: B256,
    transactions: Vec<Transaction>,
}

#[derive(Deserialize)]
struct Transaction {
    hash: B256,
    from: Address,
    to: Option<Address>,
    nonce: U64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Receipt {
    transaction_hash: B256,
    transaction_index: U64,
    status: U64,
    gas_used: U256,
    effective_gas_price: U256,
}

/// What these senders did from `from_block` to the end of the truth, in chain order.
///
/// # Errors
///
/// The node fails, or the chain is no longer that of the truth.
pub async fn read_senders(
    node: &Node,
    truth: &Truth,
    senders: &[Address],
    from_block: u64,
) -> Result<Vec<TruthTransaction>, TruthError> {
    let mut blocks = stream::iter(from_block..=truth.head_number)
        .map(|number| async move {
            let tag = format!("{number:#x}");
            let block: Option<Block> = node.request("eth_getBlockByNumber", json!([tag, true])).await?;
            let block = block.ok_or(TruthError::Moved(number))?;
            if number == truth.head_number && block.hash != truth.head_hash {
                return Err(TruthError::Moved(number));
            }
            let is_watched = block.transactions.iter().any(|tx| senders.contains(&tx.from));
            let receipts: Vec<Receipt> = if is_watched {
                node.request("eth_getBlockReceipts", json!([tag])).await?
            } else {
                Vec::new()
            };
            Ok::<_, TruthError>((number, block, receipts))
        })
        .buffered(IN_FLIGHT);
    let mut found = Vec::new();
    while let Some((number, block, receipts)) = blocks.try_next().await? {
        for tx in block.transactions.into_iter().filter(|tx| senders.contains(&tx.from)) {
            let receipt = receipts.iter().find(|receipt| receipt.transaction_hash == tx.hash);
            let receipt = receipt.ok_or(TruthError::Moved(number))?;
            found.push(TruthTransaction {
                block_number: number,
                tx_index: receipt.transaction_index.to(),
                block_hash: block.hash,
                tx_hash: tx.hash,
                sender: tx.from,
                to: tx.to,
                nonce: tx.nonce.to(),
                succeeded: receipt.status == U64::ONE,
                gas_used: receipt.gas_used,
                effective_gas_price: receipt.effective_gas_price,
            });
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// What differs between two lists of transactions, in words; empty when nothing does.
#[must_use]
pub fn sender_differences(expected: &[TruthTransaction], found: &[TruthTransaction]) -> Vec<String> {
    let (want, have): (BTreeSet<_>, BTreeSet<_>) = (expected.iter().collect(), found.iter().collect());
    let missing = want.difference(&have).map(|tx| format!("on the chain and not in the database: {tx}"));
    let surplus = have.difference(&want).map(|tx| format!("in the database and not on the chain: {tx}"));
    let twice = found.len() - have.len();
    let twice = (twice > 0).then(|| format!("{twice} transactions are in the database twice"));
    missing.chain(surplus).chain(twice).collect()
}
