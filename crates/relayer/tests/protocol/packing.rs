//! A state's hash in a few writes: much of a run's time goes into it, and code of this crate is not optimised in a test.

use std::hash::{Hash, Hasher};

use crate::state::{Inclusion, Node, State};
use crate::transactions::{Payload, Tx};

impl Hash for State {
    fn hash<H: Hasher>(&self, into: &mut H) {
        let [first, second, third, fourth] = self.chain.inclusions;
        let (chain, lease, left) = (&self.chain, &self.lease, &self.left);
        into.write(&[
            inclusion(first),
            inclusion(second),
            inclusion(third),
            inclusion(fourth),
            chain.latest,
            chain.confirmed,
            chain.finalized,
            chain.highest,
            nonce(chain.foreign),
            lease.token,
            u8::from(lease.expired),
            self.next_nonce,
            u8::from(self.misjudged),
            left.crashes,
            left.freezes,
            left.reorgs,
            left.foreign,
            left.reverts,
            left.second_thoughts,
        ]);
        for row in &self.rows {
            into.write_u16(u16::from_le_bytes([
                row.state as u8 * 2 + u8::from(row.cancel),
                nonce(row.nonce),
            ]));
        }
        for node in &self.nodes {
            memory(node, into);
        }
        into.write_u64(self.committed.bits());
        into.write_u64(self.airborne.bits());
        into.write_u16(self.witnessed);
    }
}

fn nonce(nonce: Option<u8>) -> u8 {
    match nonce {
        Some(nonce) => nonce + 1,
        None => 0,
    }
}

fn inclusion(inclusion: Option<Inclusion>) -> u8 {
    match inclusion {
        Some(it) => 1 + 2 * kind(it.payload) + u8::from(it.succeeded),
        None => 0,
    }
}

fn kind(payload: Payload) -> u8 {
    Tx { nonce: 0, payload }.index()
}

fn memory<H: Hasher>(node: &Node, into: &mut H) {
    into.write_u64(node.outbox.bits());
    let prepared = node.prepared.unwrap_or_default();
    into.write(&[
        node.token,
        node.cache,
        u8::from(node.prepared.is_some()),
        prepared.batch,
        prepared.first,
        prepared.latest,
        u8::from(prepared.in_term),
        u8::from(prepared.begun),
    ]);
}
