//! What must be booked from the chain, read from the node itself.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use alloy_json_abi::Event;
use alloy_primitives::{Address, B256, U256};
use anyhow::{Context as _, Result, anyhow};
use plimsoll_ledger::rules::RULES;
use serde_json::json;

use super::stage::Stage;
use crate::truth;

/// `balanceOf(address)` of a token.
const BALANCE_OF: [u8; 4] = [0x70, 0xa0, 0x82, 0x31];

/// A transaction, and the log in it; without one, its gas.
pub(super) type Occasion = (B256, Option<u32>);

impl Stage {
    /// Everything up to this block that a rule is about.
    pub(super) async fn occasions(&self, through: u64) -> Result<BTreeSet<Occasion>> {
        let (node, deployment) = (&self.house.node, self.traffic.deployment());
        let topics: HashSet<B256> = RULES
            .iter()
            .map(|rule| Event::parse(rule.event).map(|event| event.selector()))
            .collect::<Result<_, _>>()
            .map_err(|error| anyhow!("a rule's event: {error}"))?;
        let events = truth::read(node, &deployment.followed(), 0).await?.events;
        let ruled = events.into_iter().filter(|event| event.block_number <= through);
        let mut occasions: BTreeSet<Occasion> = ruled
            .filter(|event| event.topics.first().is_some_and(|topic| topics.contains(topic)))
            .map(|event| (event.tx_hash, Some(event.log_index)))
            .collect();
        let payers: HashSet<Address> = [deployment.admin, deployment.keeper].into();
        for number in deployment.start_block..=through {
            let block = node.raw("eth_getBlockByNumber", json!([format!("{number:#x}"), true])).await?;
            let transactions = block["transactions"].as_array().context("a block has transactions")?;
            for transaction in transactions {
                let from: Address = serde_json::from_value(transaction["from"].clone())?;
                if payers.contains(&from) {
                    occasions.insert((serde_json::from_value(transaction["hash"].clone())?, None));
                }
            }
        }
        Ok(occasions)
    }

    /// What has no cause that the books could know, by token, none for the native coin: what these holders had of it before the first event.
    pub(super) async fn unexplained(
        &self,
        holders: &[(Address, Option<Address>)],
    ) -> Result<BTreeMap<Option<Address>, U256>> {
        let (node, deployment) = (&self.house.node, self.traffic.deployment());
        let mut unexplained: BTreeMap<_, U256> = BTreeMap::new();
        for (holder, token) in holders {
            let had = match token {
                Some(token) => {
                    let data = [&BALANCE_OF[..], holder.into_word().as_slice()].concat().into();
                    let at = format!("{:#x}", deployment.end_block);
                    U256::from_be_slice(&node.call(*token, &data, json!(at)).await?)
                }
                None => {
                    let before = format!("{:#x}", deployment.start_block - 1);
                    node.request("eth_getBalance", json!([holder, before])).await?
                }
            };
            *unexplained.entry(*token).or_default() += had;
        }
        Ok(unexplained)
    }
}
