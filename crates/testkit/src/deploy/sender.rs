//! Transactions one after another, and the addresses of what they create.

use std::collections::BTreeMap;

use alloy_dyn_abi::DynSolValue;
use alloy_primitives::{Address, B256, keccak256};
use serde_json::json;

use super::artifacts::artifact;
use super::calls::creation;
use crate::node::{Call, Node, NodeError};

/// Sends transactions one after another and remembers them.
pub(super) struct Sender<'a> {
    node: &'a Node,
    mines: bool,
    sent: Vec<(String, B256)>,
    nonces: BTreeMap<Address, u64>,
}

impl<'a> Sender<'a> {
    /// `mines` says that blocks are only made when asked for.
    pub(super) fn new(node: &'a Node, mines: bool) -> Self {
        Self { node, mines, sent: Vec::new(), nonces: BTreeMap::new() }
    }

    pub(super) async fn send(&mut self, what: String, call: Call) -> Result<(), NodeError> {
        *self.nonces.entry(call.from).or_default() += 1;
        let tx_hash = self.node.send(&call).await?;
        self.sent.push((what, tx_hash));
        Ok(())
    }

    /// Sends a contract's creation and returns the address that it will have.
    pub(super) async fn create(
        &mut self,
        from: Address,
        name: &str,
        arguments: &[DynSolValue],
    ) -> Result<Address, NodeError> {
        let nonce = match self.nonces.get(&from) {
            Some(nonce) => *nonce,
            None => self.node.quantity("eth_getTransactionCount", json!([from, "pending"])).await?,
        };
        self.nonces.insert(from, nonce);
        let call = Call { from, to: None, data: creation(artifact(name), arguments) };
        self.send(format!("creation of {name}"), call).await?;
        Ok(created_address(from, nonce))
    }

    /// Waits until everything that was sent is in blocks, and checks that it succeeded.
    pub(super) async fn settle(&mut self) -> Result<(), NodeError> {
        for (what, tx_hash) in std::mem::take(&mut self.sent) {
            let receipt = loop {
                // A block may not have room for all: mine while something is left.
                match self.node.receipt(tx_hash).await? {
                    Some(receipt) => break receipt,
                    None if self.mines => self.node.mine(1).await?,
                    None => break self.node.wait_receipt(tx_hash).await?,
                }
            };
            if receipt["status"] != "0x1" {
                return Err(NodeError::Reverted { what, tx_hash });
            }
        }
        Ok(())
    }
}

/// The address of what an account creates with this nonce: the hash of both in RLP.
fn created_address(from: Address, nonce: u64) -> Address {
    let bytes = nonce.to_be_bytes();
    let digits = &bytes[nonce.leading_zeros() as usize / 8..];
    let mut list = vec![0x80 + 20];
    list.extend_from_slice(from.as_slice());
    match digits {
        [small] if *small < 0x80 => list.push(*small),
        digits => {
            list.push(0x80 + u8::try_from(digits.len()).expect("at most eight"));
            list.extend_from_slice(digits);
        }
    }
    list.insert(0, 0xc0 + u8::try_from(list.len()).expect("at most thirty"));
    Address::from_word(keccak256(list))
}
