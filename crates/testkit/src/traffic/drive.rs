//! Sending the traffic, and reorganising the chain under it.

use std::collections::BTreeSet;

use alloy_dyn_abi::DynSolValue;
use alloy_primitives::{Address, B256, Bytes};
use rand::RngExt as _;
use serde_json::{Value, json};

use super::{Step, Traffic};
use crate::anvil::Replacement;
use crate::deploy::address;
use crate::node::{Node, NodeError};

/// Steps that the blocks of the other branch hold, at most.
const OTHER_STEPS: u64 = 6;
/// Rounds of mining after which a transaction that is still in the pool will stay there.
const DRAIN_ROUNDS: u32 = 50;

/// A reorganisation that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reorg {
    /// Blocks that were replaced.
    pub depth: u64,
    /// The number of the last block that stayed.
    pub ancestor: u64,
    /// Hashes of the blocks that left, oldest first.
    pub orphaned: Vec<B256>,
    /// Event kinds (topic0) that the orphaned blocks held.
    pub orphaned_event_kinds: usize,
}

impl Traffic {
    /// Sends the next step's transactions, in order, without waiting for blocks.
    pub async fn send_next(&mut self, node: &Node) -> Result<Step, NodeError> {
        let step = self.next_step();
        for call in &step.calls {
            node.send(call).await?;
        }
        Ok(step)
    }

    /// Sends the next step and makes one block of it.
    pub async fn mine_next(&mut self, node: &Node) -> Result<Step, NodeError> {
        let step = self.send_next(node).await?;
        node.mine(1).await?;
        Ok(step)
    }

    /// Replaces the last `depth` blocks by as many others: some of their transactions come again in other blocks, most are
    /// others. Never reaches below the deployment.
    ///
    /// The pool is emptied into a block first: a transaction that waits there with a nonce of the old branch would block
    /// its sender for ever. Afterwards whatever the lost half of a scenario may have left broken is mended, and the book of
    /// positions is read anew from the chain.
    pub async fn reorg(&mut self, node: &Node, depth: u64) -> Result<Reorg, NodeError> {
        drain_pool(node).await?;
        let head = node.block_number().await?;
        let depth = depth.min(head.saturating_sub(self.deployment.end_block));
        if depth == 0 {
            return Ok(Reorg { depth, ancestor: head, orphaned: Vec::new(), orphaned_event_kinds: 0 });
        }
        let (mut orphaned, mut old) = (Vec::new(), Vec::new());
        let mut kinds: BTreeSet<B256> = BTreeSet::new();
        for number in head - depth + 1..=head {
            let tag = format!("{number:#x}");
            let block: Value = node.raw("eth_getBlockByNumber", json!([tag, true])).await?;
            orphaned.push(serde_json::from_value(block["hash"].clone()).unwrap_or_default());
            for transaction in block["transactions"].as_array().into_iter().flatten() {
                let sender: Address = serde_json::from_value(transaction["from"].clone()).unwrap_or_default();
                old.push((sender, transaction["hash"].clone()));
            }
            let logs: Vec<LogKind> =
                node.request("eth_getLogs", json!([{ "fromBlock": tag, "toBlock": tag }])).await?;
            kinds.extend(logs.iter().filter_map(|log| log.topics.first()));
        }
        let replacements = self.other_branch(node, depth, &old).await?;
        node.reorg(depth, &replacements).await?;
        for call in self.mend() {
            node.send(&call).await?;
        }
        drain_pool(node).await?;
        self.read_book(node).await?;
        Ok(Reorg { depth, ancestor: head - depth, orphaned, orphaned_event_kinds: kinds.len() })
    }

    /// The transactions of the other branch. One sender's all come again, in order, or none does: nonces leave no third way.
    async fn other_branch(
        &mut self,
        node: &Node,
        depth: u64,
        old: &[(Address, Value)],
    ) -> Result<Vec<(Replacement, u64)>, NodeError> {
        let users: BTreeSet<Address> = self.deployment.users.iter().copied().collect();
        let senders: BTreeSet<Address> =
            old.iter().map(|(sender, _)| *sender).filter(|s| users.contains(s)).collect();
        let come_again: BTreeSet<Address> =
            senders.into_iter().filter(|_| self.rng.random_bool(0.3)).collect();
        let mut replacements = Vec::new();
        for (_, hash) in old.iter().filter(|(sender, _)| come_again.contains(sender)) {
            let raw: Bytes = node.request("eth_getRawTransactionByHash", json!([hash])).await?;
            replacements.push((Replacement::Same(raw), 0));
        }
        for _ in 0..self.rng.random_range(1..=OTHER_STEPS) {
            let calls = self.next_step().calls;
            let calls = calls.into_iter().filter(|call| !come_again.contains(&call.from));
            replacements.extend(calls.map(|call| (Replacement::Other(call), 0)));
        }
        // Spread over the blocks in order, so that each sender's nonces rise.
        let (count, mut block) = (replacements.len() as u64, 0);
        for (i, (_, at)) in replacements.iter_mut().enumerate() {
            let latest = i as u64 * depth / count;
            block = if latest > block { self.rng.random_range(block..=latest) } else { block };
            *at = block;
        }
        Ok(replacements)
    }

    /// Reads every position anew from the ledger contracts.
    pub async fn read_book(&mut self, node: &Node) -> Result<(), NodeError> {
        let deployment = self.deployment.clone();
        for (user, who) in deployment.users.iter().enumerate() {
            for (asset, what) in deployment.assets.iter().enumerate() {
                let key = [address(*who), address(what.token)];
                let latest = json!("latest");
                let collateral =
                    deployment.read(node, "CollateralManager", "getCollateral", &key, latest.clone()).await?;
                let debt =
                    deployment.read(node, "LendingEngineCore", "getDebt", &key, latest.clone()).await?;
                let trace =
                    deployment.read(node, "PositionView", "getUserPositionTrace", &key, latest).await?;
                let seq = trace.get(1..2).map_or(Ok(0), small)?;
                let seq = u64::try_from(seq).unwrap_or(u64::MAX);
                self.correct(user, asset, small(&collateral)?, small(&debt)?, seq);
            }
        }
        Ok(())
    }
}

#[derive(serde::Deserialize)]
struct LogKind {
    topics: Vec<B256>,
}

fn small(values: &[DynSolValue]) -> Result<u128, NodeError> {
    match values {
        [DynSolValue::Uint(value, _)] if u128::try_from(*value).is_ok() => Ok(value.to()),
        other => Err(NodeError::Malformed {
            method: "eth_call".into(),
            reason: "an amount below 2^128 was expected".into(),
            answer: format!("{other:?}"),
        }),
    }
}

/// Mines until nothing waits in the pool; what cannot be mined is dropped.
pub async fn drain_pool(node: &Node) -> Result<(), NodeError> {
    for _ in 0..DRAIN_ROUNDS {
        if node.pool_size().await? == 0 {
            return Ok(());
        }
        node.mine(1).await?;
    }
    node.drop_all_transactions().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::anvil::{Anvil, AnvilOptions};
    use crate::deploy::Deployment;
    use std::sync::Arc;

    #[tokio::test]
    async fn a_reorg_replaces_events_of_several_types_and_traffic_goes_on() {
        let anvil = Anvil::start(&AnvilOptions::default()).await.unwrap();
        let deployment = Arc::new(Deployment::deploy(&anvil, true).await.unwrap());
        let mut traffic = Traffic::new(deployment.clone(), 11);
        for _ in 0..40 {
            traffic.mine_next(&anvil).await.unwrap();
        }
        for depth in 1..=8 {
            let before = crate::truth::read(&anvil, &deployment.followed(), 0).await.unwrap();
            let reorg = traffic.reorg(&anvil, depth).await.unwrap();
            let after = crate::truth::read(&anvil, &deployment.followed(), 0).await.unwrap();
            assert_eq!(reorg.depth, depth);
            assert_eq!(reorg.orphaned.last(), Some(&before.head_hash));
            let kept = |events: &[crate::truth::TruthEvent]| -> Vec<crate::truth::TruthEvent> {
                events.iter().filter(|event| event.block_number <= reorg.ancestor).cloned().collect()
            };
            assert_eq!(kept(&before.events), kept(&after.events));
            assert_ne!(before.events, after.events);
            for _ in 0..3 {
                traffic.mine_next(&anvil).await.unwrap();
            }
            assert_eq!(anvil.pool_size().await.unwrap(), 0, "no sender is stuck");
        }
    }
}
