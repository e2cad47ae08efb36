//! One hash over the hashes of a range of blocks.

use alloy_primitives::{B256, keccak256};

/// Commits to the blocks of a range, in order: 32 zero bytes for none, and for each block the keccak-256 of what came before and the block's hash.
/// Two who looked at the same range saw the same blocks exactly if they have the same root.
///
/// ```
/// # use plimsoll_proof::BlocksRoot;
/// # use alloy_primitives::B256;
/// let seen: BlocksRoot = [B256::repeat_byte(1), B256::repeat_byte(2)].iter().collect();
/// let mut grown: BlocksRoot = [B256::repeat_byte(1)].iter().collect();
/// grown.push(&B256::repeat_byte(2));
/// assert_eq!(seen, grown);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlocksRoot(B256);

impl BlocksRoot {
    /// As it was kept.
    #[must_use]
    pub fn kept(root: B256) -> Self {
        Self(root)
    }

    /// Takes the next block in.
    pub fn push(&mut self, hash: &B256) {
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(self.0.as_slice());
        bytes[32..].copy_from_slice(hash.as_slice());
        self.0 = keccak256(bytes);
    }

    /// The root.
    #[must_use]
    pub fn root(&self) -> B256 {
        self.0
    }
}

impl<'a> FromIterator<&'a B256> for BlocksRoot {
    fn from_iter<I: IntoIterator<Item = &'a B256>>(hashes: I) -> Self {
        let mut root = Self::default();
        hashes.into_iter().for_each(|hash| root.push(hash));
        root
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_tells_apart_every_other_range_of_blocks() {
        let root = |bytes: &[u8]| {
            let hashes: Vec<_> = bytes.iter().map(|byte| B256::repeat_byte(*byte)).collect();
            hashes.iter().collect::<BlocksRoot>()
        };
        let ranges: [&[u8]; 7] = [&[], &[0], &[1], &[1, 2], &[2, 1], &[1, 2, 3], &[2, 3]];
        for (at, one) in ranges.iter().enumerate() {
            for other in &ranges[at + 1..] {
                assert_ne!(root(one), root(other), "{one:?} and {other:?}");
            }
        }
    }

    #[test]
    fn what_is_kept_of_it_does_not_change_with_the_program() {
        let root: BlocksRoot = [B256::repeat_byte(1), B256::repeat_byte(2)].iter().collect();
        let first = keccak256([[0; 32], [1; 32]].concat());
        assert_eq!(root.root(), keccak256([first.0, [2; 32]].concat()));
        assert_eq!(BlocksRoot::kept(root.root()), root);
    }
}
