//! The tenant's log: entries that each name the one before.

use alloy_primitives::B256;
use uuid::Uuid;

use super::tree;

/// What the first entry has for the hash of the entry before it.
pub const NO_ENTRY: B256 = B256::ZERO;
/// The length of an entry's encoding.
pub const ENTRY_BYTES: usize = 88;

/// One entry: that this posting is at this place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Whose log.
    pub tenant_id: Uuid,
    /// Its place, from 0.
    pub index: u64,
    /// The hash of the entry before it, or [`NO_ENTRY`].
    pub prev_entry_hash: B256,
    /// The posting ([`super::encoding::Encoder::posting_digest`]).
    pub posting_digest: B256,
}

impl Entry {
    /// `tenant_id ‖ index ‖ prev_entry_hash ‖ posting_digest`: the data of a leaf of the tree.
    #[must_use]
    pub fn encode(&self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..16].copy_from_slice(self.tenant_id.as_bytes());
        bytes[16..24].copy_from_slice(&self.index.to_be_bytes());
        bytes[24..56].copy_from_slice(self.prev_entry_hash.as_slice());
        bytes[56..].copy_from_slice(self.posting_digest.as_slice());
        bytes
    }

    /// The leaf's hash, `SHA-256(0x00 ‖ entry)`.
    #[must_use]
    pub fn hash(&self) -> B256 {
        tree::leaf_hash(&self.encode())
    }
}

/// Where a log stands: what the next entry follows on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainHead {
    /// Whose log.
    pub tenant_id: Uuid,
    /// How many entries it has, which is the next one's index.
    pub size: u64,
    /// The last entry's hash, or [`NO_ENTRY`].
    pub entry_hash: B256,
}

/// Why an entry does not follow on the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainFault {
    /// Entries are missing, or come twice, or in another order.
    #[error("entry {index} is where entry {expected} should be")]
    Index {
        /// The entry's.
        index: u64,
        /// The one that should have come.
        expected: u64,
    },
    /// It names another entry as the one before it.
    #[error("entry {index} does not follow on the entry before it: it names {found}, which has {expected}")]
    Previous {
        /// The entry's index.
        index: u64,
        /// What it names.
        found: B256,
        /// The hash of the entry before it.
        expected: B256,
    },
    /// Its hash is not that of its content.
    #[error("entry {index} has the hash {found}, and its content {computed}")]
    Hash {
        /// The entry's index.
        index: u64,
        /// What it has.
        found: B256,
        /// What follows from tenant, index, entry before and posting.
        computed: B256,
    },
}

impl ChainHead {
    /// An empty log.
    #[must_use]
    pub fn new(tenant_id: Uuid) -> Self {
        Self { tenant_id, size: 0, entry_hash: NO_ENTRY }
    }

    /// Puts a posting into the log: its entry, and the entry's hash.
    pub fn append(&mut self, posting_digest: B256) -> (Entry, B256) {
        let entry = Entry {
            tenant_id: self.tenant_id,
            index: self.size,
            prev_entry_hash: self.entry_hash,
            posting_digest,
        };
        let hash = entry.hash();
        self.size += 1;
        self.entry_hash = hash;
        (entry, hash)
    }

    /// Checks that an entry as it is stored is the next one, and steps past it. After an error the head is where it was.
    ///
    /// # Errors
    /// Where it is not.
    pub fn check(
        &mut self,
        index: u64,
        prev_entry_hash: B256,
        posting_digest: B256,
        entry_hash: B256,
    ) -> Result<(), ChainFault> {
        if index != self.size {
            return Err(ChainFault::Index { index, expected: self.size });
        }
        if prev_entry_hash != self.entry_hash {
            let expected = self.entry_hash;
            return Err(ChainFault::Previous { index, found: prev_entry_hash, expected });
        }
        let mut next = *self;
        let (_, computed) = next.append(posting_digest);
        if computed != entry_hash {
            return Err(ChainFault::Hash { index, found: entry_hash, computed });
        }
        *self = next;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::hex;

    use super::*;

    #[test]
    fn an_entry_is_encoded_field_by_field_and_hashed_as_a_leaf() {
        let entry = Entry {
            tenant_id: Uuid::from_u128(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff),
            index: 0x0102_0304_0506_0708,
            prev_entry_hash: B256::repeat_byte(0x11),
            posting_digest: B256::repeat_byte(0x22),
        };
        let expected = [
            "00112233445566778899aabbccddeeff",
            "0102030405060708",
            "1111111111111111111111111111111111111111111111111111111111111111",
            "2222222222222222222222222222222222222222222222222222222222222222",
        ]
        .concat();
        assert_eq!(hex::encode(entry.encode()), expected);
        // (printf '\0'; printf … | xxd -r -p) | sha256sum
        assert_eq!(
            hex::encode(entry.hash()),
            "affc4a0457e088ff10807cfd00a956e8fed9065f41aa9e5f039923f55cd760f7"
        );
    }

    #[test]
    fn a_log_checks_and_what_does_not_follow_is_named_by_its_index() {
        let tenant_id = Uuid::from_u128(7);
        let mut head = ChainHead::new(tenant_id);
        let entries: Vec<_> = (0..4).map(|n| head.append(B256::repeat_byte(n))).collect();
        assert_eq!(head.size, 4);

        let stored = |at: usize| (entries[at].0.prev_entry_hash, entries[at].0.posting_digest, entries[at].1);
        let mut walk = ChainHead::new(tenant_id);
        for at in 0..2 {
            let (prev, digest, hash) = stored(at);
            walk.check(at as u64, prev, digest, hash).unwrap();
        }
        let (prev, digest, hash) = stored(2);
        let other = B256::repeat_byte(0xee);
        let before = walk;
        assert_eq!(walk.check(3, prev, digest, hash), Err(ChainFault::Index { index: 3, expected: 2 }));
        assert_eq!(
            walk.check(2, other, digest, hash),
            Err(ChainFault::Previous { index: 2, found: other, expected: prev })
        );
        assert_eq!(
            walk.check(2, prev, digest, other),
            Err(ChainFault::Hash { index: 2, found: other, computed: hash })
        );
        assert!(matches!(walk.check(2, prev, other, hash), Err(ChainFault::Hash { index: 2, .. })));
        let mut anothers = ChainHead { tenant_id: Uuid::from_u128(8), ..walk };
        assert!(matches!(anothers.check(2, prev, digest, hash), Err(ChainFault::Hash { index: 2, .. })));
        assert_eq!(walk, before, "what is refused moves nothing");
        for at in 2..4 {
            let (prev, digest, hash) = stored(at);
            walk.check(at as u64, prev, digest, hash).unwrap();
        }
        assert_eq!(walk, head);
    }
}
