//! The Merkle tree over a log's entries: RFC 6962 and RFC 9162, section 2.1, with SHA-256.
//!
//! The root of `n` leaves is that of a left part of `k` leaves, `k` being the largest power of two below `n`, and of the rest. So every root and
//! every step of a proof is made of *perfect* subtrees, each a power of two of leaves in a place that is a multiple of it. A perfect
//! subtree that is full never changes again: those are what is kept, and all that [`Nodes`] is asked for.

mod check;
mod frontier;
mod plan;
#[cfg(test)]
mod tests;

use std::ops::Range;

use alloy_primitives::{B256, b256};
use sha2::{Digest, Sha256};

pub use self::check::{ProofFault, verify_consistency, verify_inclusion};
pub use self::frontier::{Frontier, MalformedFrontier};
pub use self::plan::{OutOfRange, Plan};

/// The root of a tree without leaves: SHA-256 of nothing.
pub const EMPTY_ROOT: B256 = b256!("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");

/// A leaf's hash, `SHA-256(0x00 ‖ data)`.
#[must_use]
pub fn leaf_hash(data: &[u8]) -> B256 {
    B256::new(Sha256::new().chain_update([0]).chain_update(data).finalize().into())
}

/// The hash of what is above two others, `SHA-256(0x01 ‖ left ‖ right)`.
#[must_use]
pub fn node_hash(left: B256, right: B256) -> B256 {
    let mut bytes = [1; 65];
    bytes[1..33].copy_from_slice(left.as_slice());
    bytes[33..].copy_from_slice(right.as_slice());
    super::sha256(&bytes)
}

/// A perfect subtree: that of the leaves from `index × 2^level` to before `(index + 1) × 2^level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId {
    /// How many steps it is above the leaves: 0 to 63.
    pub level: u8,
    /// Its place among those of its level, from 0.
    pub index: u64,
}

/// Where the hashes of perfect subtrees are read. Only of full ones is it asked.
pub trait Nodes {
    /// Why one cannot be read.
    type Error;

    /// The subtree's hash; of one at level 0, the leaf's.
    ///
    /// # Errors
    /// Where it cannot be read.
    fn node(&self, id: NodeId) -> Result<B256, Self::Error>;
}

/// The perfect subtrees that together have these leaves, from the left. The range must be one that the tree's definition comes to: its
/// start a multiple of a power of two that is not shorter than it.
fn perfect_subtrees(leaves: Range<u64>) -> impl Iterator<Item = NodeId> {
    let mut start = leaves.start;
    std::iter::from_fn(move || {
        let level = (leaves.end - start).checked_ilog2()?;
        let id = NodeId { level: u8::try_from(level).expect("at most 63"), index: start >> level };
        start += 1 << level;
        Some(id)
    })
}

/// The root over subtrees of ever fewer leaves; `None` of none.
fn fold_subtrees(hashes: impl DoubleEndedIterator<Item = B256>) -> Option<B256> {
    hashes.rev().reduce(|right, left| node_hash(left, right))
}
