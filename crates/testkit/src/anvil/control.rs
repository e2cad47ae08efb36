//! What Anvil can do beyond what a node can: blocks on demand, reorganisations, a clock, a pool to look into.

use std::time::Duration;

use alloy_primitives::{Address, B256, Bytes};
use serde_json::{Value, json};

use crate::node::{Call, Node, NodeError};

/// A transaction of a block that replaces another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replacement {
    /// One that exists already, signed: the same transaction in another block.
    Same(Bytes),
    /// A new one; the node fills in the nonce.
    Other(Call),
}

/// What Anvil can do beyond what a node can.
impl Node {
    /// Makes `blocks` blocks; the first takes what waits in the pool.
    pub async fn mine(&self, blocks: u64) -> Result<(), NodeError> {
        self.raw("anvil_mine", json!([format!("{blocks:#x}")])).await.map(drop)
    }

    /// Replaces the last `depth` blocks by as many others that hold `transactions`, each with which of the new blocks, from 0.
    pub async fn reorg(&self, depth: u64, transactions: &[(Replacement, u64)]) -> Result<(), NodeError> {
        let transactions: Vec<Value> = transactions
            .iter()
            .map(|(transaction, block)| match transaction {
                Replacement::Same(raw) => json!([raw, block]),
                Replacement::Other(call) => json!([call.to_json(), block]),
            })
            .collect();
        self.raw("anvil_reorg", json!([depth, transactions])).await.map(drop)
    }

    /// Takes the last `depth` blocks away.
    pub async fn rollback(&self, depth: u64) -> Result<(), NodeError> {
        self.raw("anvil_rollback", json!([depth])).await.map(drop)
    }

    /// Takes a transaction out of the pool; false when it was not there.
    pub async fn drop_transaction(&self, tx_hash: B256) -> Result<bool, NodeError> {
        Ok(!self.raw("anvil_dropTransaction", json!([tx_hash])).await?.is_null())
    }

    /// Empties the pool.
    pub async fn drop_all_transactions(&self) -> Result<(), NodeError> {
        self.raw("anvil_dropAllTransactions", json!([])).await.map(drop)
    }

    /// Transactions that wait in the pool, whether they could go into the next block or not.
    pub async fn pool_size(&self) -> Result<u64, NodeError> {
        let status: TxpoolStatus = self.request("txpool_status", json!([])).await?;
        Ok(status.pending.to::<u64>() + status.queued.to::<u64>())
    }

    /// Whether each transaction gets a block at once.
    pub async fn set_automine(&self, on: bool) -> Result<(), NodeError> {
        self.raw("evm_setAutomine", json!([on])).await.map(drop)
    }

    /// Makes a block each `seconds`; 0: no longer.
    pub async fn set_interval_mining(&self, seconds: u64) -> Result<(), NodeError> {
        self.raw("evm_setIntervalMining", json!([seconds])).await.map(drop)
    }

    /// Moves the chain's clock on; the next block shows it.
    pub async fn increase_time(&self, seconds: u64) -> Result<(), NodeError> {
        self.raw("evm_increaseTime", json!([seconds])).await.map(drop)
    }

    /// Notes the chain's state, for [`Node::revert`].
    pub async fn snapshot(&self) -> Result<Value, NodeError> {
        self.raw("evm_snapshot", json!([])).await
    }

    /// Goes back to a noted state, once.
    pub async fn revert(&self, snapshot: Value) -> Result<bool, NodeError> {
        self.request("evm_revert", json!([snapshot])).await
    }

    /// Makes the node send for this account without a signature.
    pub async fn impersonate(&self, account: Address) -> Result<(), NodeError> {
        self.raw("anvil_impersonateAccount", json!([account])).await.map(drop)
    }

    /// Sends, makes a block where `mines` says that nobody else does, and waits for the receipt.
    ///
    /// Ends in any case: a receipt that is still missing after [`RECEIPT_TIMEOUT`] is an error.
    pub async fn execute(&self, what: &str, call: &Call, mines: bool) -> Result<Value, NodeError> {
        let tx_hash = self.send(call).await?;
        if mines {
            self.mine(1).await?;
        }
        let receipt = self.wait_receipt(tx_hash).await?;
        if receipt["status"] != "0x1" {
            return Err(NodeError::Reverted { what: what.into(), tx_hash });
        }
        Ok(receipt)
    }

    /// Waits until a block has the transaction.
    pub async fn wait_receipt(&self, tx_hash: B256) -> Result<Value, NodeError> {
        let deadline = tokio::time::Instant::now() + RECEIPT_TIMEOUT;
        loop {
            if let Some(receipt) = self.receipt(tx_hash).await? {
                return Ok(receipt);
            }
            if tokio::time::Instant::now() > deadline {
                return Err(NodeError::Malformed {
                    method: "eth_getTransactionReceipt".into(),
                    reason: format!("no block had {tx_hash} within {} s", RECEIPT_TIMEOUT.as_secs()),
                    answer: "null".into(),
                });
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Longer than any block interval that is used.
pub const RECEIPT_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(serde::Deserialize)]
struct TxpoolStatus {
    pending: alloy_primitives::U64,
    queued: alloy_primitives::U64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::anvil::{Anvil, AnvilOptions};

    fn transfer(from: Address) -> Call {
        Call { from, to: Some(Address::repeat_byte(1)), data: Bytes::new() }
    }

    #[tokio::test]
    async fn a_reorg_replaces_the_last_blocks_and_keeps_the_height() {
        let anvil = Anvil::start(&AnvilOptions::default()).await.unwrap();
        let accounts = anvil.accounts().await.unwrap();
        let sent = anvil.send(&transfer(accounts[0])).await.unwrap();
        anvil.mine(1).await.unwrap();
        anvil.mine(4).await.unwrap();
        let (kept, replaced) = (anvil.block_hash(2).await.unwrap(), anvil.block_hash(3).await.unwrap());
        anvil
            .reorg(
                3,
                &[
                    (Replacement::Other(transfer(accounts[1])), 0),
                    (Replacement::Other(transfer(accounts[2])), 2),
                ],
            )
            .await
            .unwrap();
        assert_eq!(anvil.block_number().await.unwrap(), 5);
        assert_eq!(anvil.block_hash(2).await.unwrap(), kept);
        assert_ne!(anvil.block_hash(3).await.unwrap(), replaced);
        assert!(anvil.receipt(sent).await.unwrap().is_some(), "below the reorg nothing changes");
        let block: Value = anvil.raw("eth_getBlockByNumber", json!(["0x5", true])).await.unwrap();
        assert_eq!(block["transactions"][0]["from"], json!(accounts[2]));
    }
}
