//! Making proofs: first which nodes they need, then the hashes, so that whoever reads nodes from far away can fetch them at once.

use std::ops::Range;

use alloy_primitives::B256;

use super::{NodeId, Nodes, fold_subtrees, perfect_subtrees};

/// A proof that is asked for and cannot be, since no such tree has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutOfRange {
    /// An entry that is not in the tree.
    #[error("entry {index} is not in a tree of {size} entries")]
    Entry {
        /// Its index.
        index: u64,
        /// The tree's size.
        size: u64,
    },
    /// A tree that is not a beginning of the other.
    #[error("a tree of {first} entries is no beginning of one of {second}")]
    Sizes {
        /// The size of the tree that should be the beginning.
        first: u64,
        /// The other's.
        second: u64,
    },
}

/// What a proof is made of: for each of its hashes the range of leaves that it is the root of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    steps: Vec<Range<u64>>,
}

impl Plan {
    /// The proof that entry `index` is in the tree of `size` entries: RFC 9162, section 2.1.3.1.
    ///
    /// # Errors
    /// Where it is not.
    pub fn inclusion(index: u64, size: u64) -> Result<Self, OutOfRange> {
        if index >= size {
            return Err(OutOfRange::Entry { index, size });
        }
        let (mut steps, mut leaves) = (Vec::new(), 0..size);
        // Ends: the range gets shorter, and `index` stays in it.
        while leaves.end - leaves.start > 1 {
            let middle = split(&leaves);
            if index < middle {
                steps.push(middle..leaves.end);
                leaves.end = middle;
            } else {
                steps.push(leaves.start..middle);
                leaves.start = middle;
            }
        }
        steps.reverse();
        Ok(Self { steps })
    }

    /// The proof that the tree of `first` entries is the beginning of that of `second`: RFC 9162, section 2.1.4.1. Of an empty tree, and of one
    /// and the same, there is nothing to prove: the proof is empty.
    ///
    /// # Errors
    /// Where the first is larger.
    pub fn consistency(first: u64, second: u64) -> Result<Self, OutOfRange> {
        if first > second {
            return Err(OutOfRange::Sizes { first, second });
        }
        let (mut steps, mut leaves) = (Vec::new(), 0..second);
        if first == 0 {
            return Ok(Self { steps });
        }
        // Ends: the range gets shorter, and its end does not go below `first`.
        while leaves.end > first {
            let middle = split(&leaves);
            if first <= middle {
                steps.push(middle..leaves.end);
                leaves.end = middle;
            } else {
                steps.push(leaves.start..middle);
                leaves.start = middle;
            }
        }
        // What the first tree itself is, is known to whoever checks.
        if leaves.start > 0 {
            steps.push(leaves);
        }
        steps.reverse();
        Ok(Self { steps })
    }

    /// All nodes that it takes.
    pub fn needs(&self) -> impl Iterator<Item = NodeId> {
        self.steps.iter().cloned().flat_map(perfect_subtrees)
    }

    /// The proof.
    ///
    /// # Errors
    /// Where a node cannot be read.
    pub fn read<N: Nodes>(&self, nodes: &N) -> Result<Vec<B256>, N::Error> {
        self.steps
            .iter()
            .map(|leaves| {
                let subtrees: Vec<_> =
                    perfect_subtrees(leaves.clone()).map(|id| nodes.node(id)).collect::<Result<_, _>>()?;
                Ok(fold_subtrees(subtrees.into_iter()).expect("no step is without leaves"))
            })
            .collect()
    }
}

/// Where a tree of two leaves or more is divided: after the largest power of two that is less than all of them.
fn split(leaves: &Range<u64>) -> u64 {
    leaves.start + (1 << (leaves.end - leaves.start - 1).ilog2())
}
