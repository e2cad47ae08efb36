//! A posting and its lines as the bytes that are hashed.
//!
//! Integers are big-endian and of a fixed width; a text is its length in bytes (u16) and its UTF-8; what may be missing is a byte 0, or
//! a byte 1 and the value. `docs/ledger.md` has the fields in order. Every encoding can be read back, and only what is written here is
//! read: that is the proof that two different postings never encode alike.
//!
//! The types are generic in how they hold their texts, so that a writer encodes what it has (`&str`) and copies nothing.

mod read;
#[cfg(test)]
mod tests;
mod write;

use alloy_primitives::{B256, I256, U256};
use uuid::Uuid;

pub use self::read::Undecodable;
pub use self::write::{Encoder, Unencodable};

/// What a line's checksum begins with.
pub const LINE_TAG: &[u8] = b"plimsoll ledger line v1\n";
/// What a posting's digest begins with.
pub const POSTING_TAG: &[u8] = b"plimsoll posting v1\n";

/// The side of an account that a line is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Adds to the balance, which is debit-positive.
    Debit,
    /// Takes from the balance.
    Credit,
}

/// All of a posting that is sealed, but for its lines, which go in by their checksums.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedPosting<T = String> {
    /// Whose books.
    pub tenant_id: Uuid,
    /// The posting.
    pub posting_id: Uuid,
    /// For which user; `None` for an operation of the platform.
    pub user_id: Option<Uuid>,
    /// The request that it came by.
    pub request_id: Uuid,
    /// The operation, as the request's key names it.
    pub operation_type: T,
    /// The checksum of the request, which a retry must have too.
    pub request_checksum: B256,
    /// Which books: cash, reward, platform …
    pub domain: T,
    /// The transaction of ours that caused it.
    pub internal_tx_id: Option<Uuid>,
    /// The trace that it belongs to.
    pub trace_id: Option<Uuid>,
    /// When it happened, in microseconds since 1970 UTC.
    pub effective_at_us: i64,
    /// When it counts in the books, which a closed period keeps apart from `effective_at`; in microseconds since 1970 UTC.
    pub booked_at_us: i64,
    /// When it was written down, in microseconds since 1970 UTC.
    pub recorded_at_us: i64,
    /// The chain that it is about (EIP-155).
    pub chain_id: Option<u64>,
    /// The transaction on that chain.
    pub chain_tx_hash: Option<B256>,
    /// The block that it is true at.
    pub chain_block_number: Option<u64>,
    /// That block's hash.
    pub chain_block_hash: Option<B256>,
    /// The posting that it undoes.
    pub reverses: Option<Uuid>,
    /// The posting that it makes good.
    pub compensates: Option<Uuid>,
    /// Why, where it corrects another.
    pub reason: Option<T>,
    /// Who had it written: the actor, as the audit log names him.
    pub created_by: T,
    /// The story.
    pub correlation_id: T,
    /// The event that directly caused it.
    pub causation_id: Option<T>,
    /// The canonical text of its JSON.
    pub metadata: T,
}

/// One line of a posting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedLine<T = String> {
    /// Its posting.
    pub posting_id: Uuid,
    /// Its place in the posting, from 1.
    pub sequence: u16,
    /// The account.
    pub account_id: Uuid,
    /// Debit or credit.
    pub direction: Direction,
    /// How much, in the currency's smallest unit.
    pub amount: U256,
    /// Of what.
    pub currency: T,
    /// What kind of line.
    pub entry_type: T,
    /// The account's version after this line: 1 after its first.
    pub account_version: u64,
    /// The account's balance after this line, debit-positive, in the currency's smallest unit.
    pub balance_after: I256,
}

impl Direction {
    fn to_byte(self) -> u8 {
        match self {
            Self::Debit => 0,
            Self::Credit => 1,
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Debit),
            1 => Some(Self::Credit),
            _ => None,
        }
    }
}
