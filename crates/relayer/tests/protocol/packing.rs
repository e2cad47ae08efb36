//! A state as a few words: most of the time of a run goes into hashing, and this crate's own code is not optimised in a test.

use std::hash::{Hash, Hasher};

use crate::state::{Node, Row, State};
use crate::transactions::{Payload, Tx, Txs};

/// Values in front of one another, each in its own number of bits.
struct Word {
    bits: u64,
    free: u32,
}

impl Word {
    fn new() -> Self {
        Self { bits: 0, free: u64::BITS }
    }

    fn push(&mut self, value: u8, width: u32) {
        debug_assert!(u32::from(value) < 1 << width, "{value} needs more than {width} bits");
        self.bits = self.bits << width | u64::from(value);
        self.free = self.free.checked_sub(width).expect("a word has 64 bits");
    }
}

fn nonce(nonce: Option<u8>) -> u8 {
    nonce.map_or(0, |nonce| nonce + 1)
}

fn payload(payload: Payload) -> u8 {
    Tx { nonce: 0, payload }.index()
}

impl Hash for State {
    fn hash<H: Hasher>(&self, into: &mut H) {
        let mut shared = Word::new();
        for inclusion in self.chain.inclusions {
            let kind = inclusion.map_or(0, |it| 1 + 2 * payload(it.payload) + u8::from(it.succeeded));
            shared.push(kind, 5);
        }
        for value in [self.chain.latest, self.chain.confirmed, self.chain.finalized, self.chain.highest] {
            shared.push(value, 3);
        }
        shared.push(nonce(self.chain.foreign), 3);
        shared.push(self.lease.token, 3);
        shared.push(u8::from(self.lease.expired), 1);
        shared.push(self.next_nonce, 3);
        shared.push(u8::from(self.misjudged), 1);
        let left = &self.left;
        let rare =
            [left.crashes, left.freezes, left.reorgs, left.foreign, left.reverts, left.second_thoughts];
        for value in rare {
            shared.push(value, 2);
        }
        let mut rest = Word::new();
        for row in &self.rows {
            let Row { state, nonce: at, cancel } = *row;
            rest.push(state as u8, 3);
            rest.push(nonce(at), 3);
            rest.push(u8::from(cancel), 1);
        }
        for node in &self.nodes {
            memory(node, &mut rest);
        }
        let sets = [self.committed, self.airborne, self.nodes[0].outbox, self.nodes[1].outbox];
        for word in [shared.bits, rest.bits, u64::from(self.witnessed)].into_iter().chain(sets.map(Txs::bits))
        {
            into.write_u64(word);
        }
    }
}

fn memory(node: &Node, into: &mut Word) {
    into.push(node.token, 3);
    into.push(node.cache, 3);
    into.push(u8::from(node.prepared.is_some()), 1);
    let prepared = node.prepared.unwrap_or_default();
    into.push(prepared.batch, 3);
    into.push(prepared.first, 3);
    into.push(prepared.latest, 3);
    into.push(u8::from(prepared.in_term), 1);
    into.push(u8::from(prepared.begun), 1);
}
