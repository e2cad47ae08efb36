//! Checking proofs: RFC 9162, sections 2.1.3.2 and 2.1.4.2.

use alloy_primitives::B256;

use super::{EMPTY_ROOT, OutOfRange, node_hash};

/// Why a proof shows nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofFault {
    /// It is of something that cannot be.
    #[error(transparent)]
    OutOfRange(#[from] OutOfRange),
    /// It has more or fewer hashes than the way to the root has steps.
    #[error("a proof of {hashes} hashes is not one between these sizes")]
    Length {
        /// How many it has.
        hashes: usize,
    },
    /// It leads to another root.
    #[error("the proof leads to the root {computed}, not to {root}")]
    Root {
        /// Where it leads.
        computed: B256,
        /// Where it should.
        root: B256,
    },
    /// Its beginning is another tree than the first.
    #[error("the proof begins with a tree of the root {computed}, not {root}")]
    FirstRoot {
        /// The root of the tree that it begins with.
        computed: B256,
        /// The first tree's.
        root: B256,
    },
}

/// Checks that an entry of this hash is entry `index` of the tree with that root. `size` and `root` must come from one checkpoint: the proof itself
/// does not bind the size.
///
/// # Errors
/// Where the proof does not show it.
pub fn verify_inclusion(
    leaf_hash: B256,
    index: u64,
    size: u64,
    proof: &[B256],
    root: B256,
) -> Result<(), ProofFault> {
    if index >= size {
        return Err(OutOfRange::Entry { index, size }.into());
    }
    let mut way = Way { at: index, last: size - 1 };
    let mut computed = leaf_hash;
    for &hash in proof {
        computed = match way.step() {
            Some(Side::Left) => node_hash(hash, computed),
            Some(Side::Right) => node_hash(computed, hash),
            None => return Err(ProofFault::Length { hashes: proof.len() }),
        };
    }
    if way.last != 0 {
        return Err(ProofFault::Length { hashes: proof.len() });
    }
    if computed == root { Ok(()) } else { Err(ProofFault::Root { computed, root }) }
}

/// Checks that the tree of the first `first_size` entries of the second tree is the first tree: nothing of it was changed or removed. Each size and
/// its root must come from one checkpoint.
///
/// # Errors
/// Where the proof does not show it.
pub fn verify_consistency(
    first_size: u64,
    second_size: u64,
    proof: &[B256],
    first_root: B256,
    second_root: B256,
) -> Result<(), ProofFault> {
    if first_size > second_size {
        return Err(OutOfRange::Sizes { first: first_size, second: second_size }.into());
    }
    let length = ProofFault::Length { hashes: proof.len() };
    if first_size == 0 || first_size == second_size {
        let known = if first_size == 0 { EMPTY_ROOT } else { second_root };
        if !proof.is_empty() {
            return Err(length);
        }
        if second_size == 0 && second_root != EMPTY_ROOT {
            return Err(ProofFault::Root { computed: EMPTY_ROOT, root: second_root });
        }
        return if first_root == known {
            Ok(())
        } else {
            Err(ProofFault::FirstRoot { computed: known, root: first_root })
        };
    }
    // A perfect first tree is itself the node that the way begins with.
    let (start, rest) = if first_size.is_power_of_two() {
        (first_root, proof)
    } else {
        let (start, rest) = proof.split_first().ok_or(length)?;
        (*start, rest)
    };
    let skipped = (first_size - 1).trailing_ones();
    let mut way = Way { at: (first_size - 1) >> skipped, last: (second_size - 1) >> skipped };
    let (mut first, mut second) = (start, start);
    for &hash in rest {
        match way.step() {
            Some(Side::Left) => {
                first = node_hash(hash, first);
                second = node_hash(hash, second);
            }
            Some(Side::Right) => second = node_hash(second, hash),
            None => return Err(length),
        }
    }
    if way.last != 0 {
        return Err(length);
    }
    if first != first_root {
        return Err(ProofFault::FirstRoot { computed: first, root: first_root });
    }
    if second != second_root {
        return Err(ProofFault::Root { computed: second, root: second_root });
    }
    Ok(())
}

/// On which side of the way the next hash of the proof is.
enum Side {
    Left,
    Right,
}

/// The way up: the node, and the last node of its level.
struct Way {
    at: u64,
    last: u64,
}

impl Way {
    /// One hash further; `None` at the root.
    fn step(&mut self) -> Option<Side> {
        if self.last == 0 {
            return None;
        }
        let side = if self.at & 1 == 1 {
            Side::Left
        } else if self.at == self.last {
            // The last of its level, without a neighbour: it goes up as it is, until it has one on its left. Ends: `at` is `last`, not 0.
            let lonely = self.at.trailing_zeros();
            self.at >>= lonely;
            self.last >>= lonely;
            Side::Left
        } else {
            Side::Right
        };
        self.at >>= 1;
        self.last >>= 1;
        Some(side)
    }
}
