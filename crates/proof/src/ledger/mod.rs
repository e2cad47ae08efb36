//! The seal of a tenant's ledger: what makes it impossible to change, remove, reorder or add a posting unnoticed, and how
//! somebody who has only an export and a signed checkpoint finds out.
//!
//! # What it promises
//!
//! | step | made by | then bound |
//! | --- | --- | --- |
//! | [`encoding`] | [`encoding::Encoder`]: a line's checksum, and a posting's digest over its fields and its lines' checksums | every field, every line, their number and order |
//! | [`log`] | [`log::ChainHead`]: an entry has the tenant, its index, the entry before it, and the digest | the posting's place, and everything before it |
//! | [`tree`] | [`tree::Frontier`]: RFC 6962's Merkle tree over the entries' hashes | the whole log in one hash; one posting, or a later log, shown by a few hashes |
//! | [`tiles`] | full tiles of 256 hashes | nothing: how the tree is stored |
//! | [`checkpoint`] | [`checkpoint::NoteSigner`]: origin, size and root, signed | us: we cannot say later that it was another log |
//!
//! [`export`] is the form that a ledger leaves the house in, [`verify`] the check of it. `docs/ledger.md` has the whole for
//! somebody who writes a verifier of his own.
//!
//! # Why it holds
//!
//! An encoding can be read back ([`encoding::SealedPosting::decode`]), so two different postings are different bytes, and equal
//! hashes mean equal postings as long as nobody finds a collision of SHA-256. What is hashed begins with a tag of its own, or with
//! a length that nothing else has, so that no hash can be passed off as one of another kind. The rest is the tree's argument (RFC 9162,
//! section 2.1), and the signature's.
//!
//! # Traps
//!
//! - A proof of inclusion does not bind the tree's *size*: what it shows is under the root. Size and root belong together because they
//!   are signed together; take both from one checkpoint.
//! - A checkpoint shows that the log has not been changed *since*. Somebody who keeps no checkpoint from before learns only
//!   that the books agree with themselves.

pub mod checkpoint;
pub mod encoding;
pub mod export;
pub mod log;
#[cfg(test)]
mod made;
pub mod tiles;
pub mod tree;
pub mod verify;

use alloy_primitives::B256;
use sha2::{Digest, Sha256};

fn sha256(bytes: &[u8]) -> B256 {
    B256::new(Sha256::digest(bytes).into())
}
