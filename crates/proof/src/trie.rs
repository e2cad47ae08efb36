//! Tries whose keys are positions: those of a block's transactions and receipts (yellow paper, section 4.4.3 and appendix D).
//!
//! The tree itself is `alloy-trie`'s; what goes into it is ours.

use alloy_primitives::{B256, Bytes};
use alloy_rlp::encode_fixed_size;
use alloy_trie::{
    HashBuilder, Nibbles,
    proof::{ProofRetainer, verify_proof},
    root::{adjust_index_for_rlp, ordered_trie_root_with_encoder},
};
use serde::{Deserialize, Serialize};

/// The root of items in their order.
pub(crate) fn ordered_root<T>(items: &[T], encode: impl Fn(&T, &mut Vec<u8>)) -> B256 {
    ordered_trie_root_with_encoder(items, encode)
}

/// That one value is at one position under a root: the nodes from the root down to it. Whoever has the root needs nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Inclusion {
    /// Position of the value.
    pub index: u64,
    /// The value, as the trie holds it.
    pub value: Bytes,
    /// The trie's nodes on the way, root first.
    pub nodes: Vec<Bytes>,
}

/// Why an inclusion is not proven.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InclusionFault {
    /// The nodes do not lead from the root to the value.
    #[error("value {index} is not shown to be under {root}: {reason}")]
    Path {
        /// The position.
        index: u64,
        /// The root.
        root: B256,
        /// What does not fit.
        reason: String,
    },
    /// The value is there, and is not what it should be.
    #[error("value {index} is under the root, but cannot be read: {source}")]
    Value {
        /// The position.
        index: u64,
        /// Why.
        source: alloy_rlp::Error,
    },
}

fn key(index: u64) -> Nibbles {
    Nibbles::unpack(encode_fixed_size(&index))
}

impl Inclusion {
    /// The proof for the item at `index`; none if there is no such item.
    pub(crate) fn build<T>(items: &[T], index: usize, encode: impl Fn(&T, &mut Vec<u8>)) -> Option<Self> {
        let mut value = Vec::new();
        encode(items.get(index)?, &mut value);
        let index = index as u64;

        let mut builder = HashBuilder::default().with_proof_retainer(ProofRetainer::new(vec![key(index)]));
        let mut encoded = Vec::new();
        for place in 0..items.len() {
            // Keys must come in the order of their encoding, where 0 comes after 127.
            let place = adjust_index_for_rlp(place, items.len());
            encoded.clear();
            encode(&items[place], &mut encoded);
            builder.add_leaf(key(place as u64), &encoded);
        }
        builder.root();
        let nodes =
            builder.take_proof_nodes().into_nodes_sorted().into_iter().map(|(_, node)| node).collect();
        Some(Self { index, value: value.into(), nodes })
    }

    /// Shows that the value is at its position under `root`.
    ///
    /// # Errors
    /// Where the nodes do not lead to it.
    pub fn verify(&self, root: B256) -> Result<(), InclusionFault> {
        verify_proof(root, key(self.index), Some(self.value.to_vec()), &self.nodes)
            .map_err(|error| InclusionFault::Path { index: self.index, root, reason: error.to_string() })
    }
}
