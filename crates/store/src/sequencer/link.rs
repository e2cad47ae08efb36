//! The hash link of a stream's rows.

use sha2::{Digest, Sha256};

use super::{SequencerError, Stream};
use crate::repo::sequencer::{Position, Queued};

/// The size of a digest and of a hash: SHA-256.
pub const HASH_BYTES: usize = 32;
/// A digest, or a hash.
pub type Hash = [u8; HASH_BYTES];

/// What the first row's `prev_hash` is.
const NO_HASH: Hash = [0; HASH_BYTES];

/// `SHA-256("plimsoll stream link v1\n" ‖ name ‖ 0x00 ‖ sequence ‖ prev_hash ‖ digest)`, the sequence as 8 bytes, most significant first.
/// The tag and the stream's name keep a link from being taken for anything else that is hashed, or for another stream's.
#[must_use]
pub fn link_hash(stream: &str, sequence: i64, prev_hash: &Hash, digest: &Hash) -> Hash {
    Sha256::new()
        .chain_update(b"plimsoll stream link v1\n")
        .chain_update(stream.as_bytes())
        .chain_update([0])
        .chain_update(sequence.to_be_bytes())
        .chain_update(prev_hash)
        .chain_update(digest)
        .finalize()
        .into()
}

/// The links of a batch, as `prev_hash` and `hash` of each row, and the new head. Empty and unchanged where the stream is not linked.
#[derive(Debug, Default)]
pub(crate) struct Links {
    pub(crate) prev_hashes: Vec<Vec<u8>>,
    pub(crate) hashes: Vec<Vec<u8>>,
}

pub(super) fn link_batch(
    stream: &'static Stream,
    at: &Position,
    queued: &[Queued],
) -> Result<(Links, Hash), SequencerError> {
    let mut links = Links::default();
    let mut head = at.head_hash;
    if !stream.is_linked() {
        return Ok((links, head));
    }
    for (sequence, row) in (at.next..).zip(queued) {
        let digest = row
            .digest
            .as_deref()
            .and_then(|digest| Hash::try_from(digest).ok())
            .ok_or(SequencerError::NoDigest { staging: stream.staging(), staging_id: row.staging_id })?;
        let hash = link_hash(stream.name(), sequence, &head, &digest);
        links.prev_hashes.push(head.to_vec());
        links.hashes.push(hash.to_vec());
        head = hash;
    }
    Ok((links, head))
}

/// Why a row does not follow on the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokenLink {
    /// Rows are missing before this one, or it is there twice.
    #[error("row {sequence} follows where row {expected} was expected")]
    Gap {
        /// The row.
        sequence: i64,
        /// The number that should have come.
        expected: i64,
    },
    /// `prev_hash` is not the hash of the row before.
    #[error("row {sequence} does not link to the row before it")]
    Previous {
        /// The row.
        sequence: i64,
    },
    /// `hash` is not what number, `prev_hash` and digest give.
    #[error("the hash of row {sequence} is not that of its number, its digest and the hash before it")]
    Hash {
        /// The row.
        sequence: i64,
    },
}

/// Walks a linked stream, row by row.
#[derive(Clone, Debug)]
pub struct LinkCheck<'a> {
    stream: &'a str,
    expected: i64,
    prev_hash: Option<Hash>,
}

impl<'a> LinkCheck<'a> {
    /// From the row `first` on. The first row of all must link to zeros; of a later one `prev_hash` is taken as given.
    #[must_use]
    pub fn from(stream: &'a str, first: i64) -> Self {
        Self { stream, expected: first, prev_hash: (first == 1).then_some(NO_HASH) }
    }

    /// After the row `sequence`, whose hash is known.
    #[must_use]
    pub fn after(stream: &'a str, sequence: i64, hash: Hash) -> Self {
        Self { stream, expected: sequence + 1, prev_hash: Some(hash) }
    }

    /// The number of the row that comes next.
    #[must_use]
    pub fn expected(&self) -> i64 {
        self.expected
    }

    /// The hash of the last row that was checked.
    #[must_use]
    pub fn head_hash(&self) -> Option<Hash> {
        self.prev_hash
    }

    /// Checks the next row, whose `digest` was recomputed from what the row says now.
    ///
    /// # Errors
    /// See [`BrokenLink`].
    pub fn next(
        &mut self,
        sequence: i64,
        digest: &Hash,
        prev_hash: &[u8],
        hash: &[u8],
    ) -> Result<(), BrokenLink> {
        if sequence != self.expected {
            return Err(BrokenLink::Gap { sequence, expected: self.expected });
        }
        let prev_hash = match (Hash::try_from(prev_hash), self.prev_hash) {
            (Ok(given), None) => given,
            (Ok(given), Some(known)) if given == known => given,
            _ => return Err(BrokenLink::Previous { sequence }),
        };
        let computed = link_hash(self.stream, sequence, &prev_hash, digest);
        if computed != hash {
            return Err(BrokenLink::Hash { sequence });
        }
        self.expected = sequence + 1;
        self.prev_hash = Some(computed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_what_its_documentation_says() {
        // Computed apart: printf 'plimsoll stream link v1\naudit_log\0' and the bytes, through sha256sum.
        let hash = link_hash("audit_log", 1, &NO_HASH, &[0xab; 32]);
        let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "4932e096746dd47b33156699b63e7d09a027768f5e28ad41bb1b326dd880a3ef");
    }

    #[test]
    fn each_kind_of_break_is_found_at_its_row() {
        let digest = |n: u8| [n; 32];
        let first = link_hash("s", 1, &NO_HASH, &digest(1));
        let second = link_hash("s", 2, &first, &digest(2));
        let after_one = || {
            let mut check = LinkCheck::from("s", 1);
            check.next(1, &digest(1), &NO_HASH, &first).unwrap();
            check
        };
        let mut check = after_one();
        check.next(2, &digest(2), &first, &second).unwrap();
        assert_eq!((check.expected(), check.head_hash()), (3, Some(second)));
        assert_eq!(
            after_one().next(3, &digest(2), &first, &second),
            Err(BrokenLink::Gap { sequence: 3, expected: 2 })
        );
        assert_eq!(
            after_one().next(2, &digest(2), &NO_HASH, &second),
            Err(BrokenLink::Previous { sequence: 2 })
        );
        assert_eq!(after_one().next(2, &digest(9), &first, &second), Err(BrokenLink::Hash { sequence: 2 }));
        assert_eq!(
            LinkCheck::from("s", 1).next(1, &digest(1), &first, &first),
            Err(BrokenLink::Previous { sequence: 1 })
        );
    }
}
