//! A tree that grows: the perfect subtrees of its leaves so far, one for each bit of their number.

use alloy_primitives::B256;

use super::{EMPTY_ROOT, NodeId, Nodes, fold_subtrees, node_hash, perfect_subtrees};

/// What is needed of a tree to append to it and to know its root: at most 64 hashes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    /// The largest first.
    subtrees: Vec<B256>,
}

/// Hashes that are not those of a frontier of this size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the frontier of a tree of {size} leaves has {expected} hashes, not {found}")]
pub struct MalformedFrontier {
    /// The tree's.
    pub size: u64,
    /// How many there are.
    pub found: usize,
    /// How many there have to be.
    pub expected: u32,
}

impl Frontier {
    /// Of a tree without leaves.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// As it was kept: size, and [`Frontier::subtrees`].
    ///
    /// # Errors
    /// Where the number of hashes is not that size's.
    pub fn from_parts(size: u64, subtrees: Vec<B256>) -> Result<Self, MalformedFrontier> {
        let (found, expected) = (subtrees.len(), size.count_ones());
        if u32::try_from(found) != Ok(expected) {
            return Err(MalformedFrontier { size, found, expected });
        }
        Ok(Self { size, subtrees })
    }

    /// What [`Frontier::read`] asks for.
    pub fn needs(size: u64) -> impl Iterator<Item = NodeId> {
        perfect_subtrees(0..size)
    }

    /// The frontier of the tree of the first `size` leaves.
    ///
    /// # Errors
    /// Where a node cannot be read.
    pub fn read<N: Nodes>(nodes: &N, size: u64) -> Result<Self, N::Error> {
        let subtrees = Self::needs(size).map(|id| nodes.node(id)).collect::<Result<_, _>>()?;
        Ok(Self { size, subtrees })
    }

    /// Adds a leaf, by its hash. A tree does not come to 2^64 leaves.
    pub fn append(&mut self, leaf_hash: B256) {
        let mut hash = leaf_hash;
        for _ in 0..self.size.trailing_ones() {
            let left = self.subtrees.pop().expect("one for each bit of the size");
            hash = node_hash(left, hash);
        }
        self.subtrees.push(hash);
        self.size += 1;
    }

    /// How many leaves.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The perfect subtrees' hashes, the largest first.
    #[must_use]
    pub fn subtrees(&self) -> &[B256] {
        &self.subtrees
    }

    /// The tree's root.
    #[must_use]
    pub fn root(&self) -> B256 {
        fold_subtrees(self.subtrees.iter().copied()).unwrap_or(EMPTY_ROOT)
    }
}
