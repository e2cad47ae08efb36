//! What can be wrong with an export, in words.

use std::fmt;

use alloy_primitives::{B256, I256};
use uuid::Uuid;

use crate::ledger::encoding::Unencodable;
use crate::ledger::export::ExportFault;

/// One thing that does not hold, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Break {
    /// The index that the posting says it has; `None` where it is the export as a whole.
    pub index: Option<u64>,
    /// The posting; `None` where it is the export as a whole.
    pub posting_id: Option<Uuid>,
    /// What does not hold.
    pub fault: Fault,
}

/// What does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A line of the file that is no posting.
    #[error("the export cannot be read: {0}")]
    Unreadable(ExportFault),
    /// A posting of another's books.
    #[error("it is of tenant {found}")]
    Tenant {
        /// Whose it is.
        found: Uuid,
    },
    /// A posting that cannot have been sealed.
    #[error("it cannot be sealed: {0}")]
    Unencodable(Unencodable),
    /// Fewer than two lines.
    #[error("it has {lines} lines, and a posting has two at least")]
    TooFewLines {
        /// How many.
        lines: usize,
    },
    /// Lines that are not numbered from 1 on.
    #[error("line {sequence} is where line {expected} should be: a line was removed, added or moved")]
    LineOrder {
        /// Its number.
        sequence: u16,
        /// Its place.
        expected: usize,
    },
    /// A line that was changed, or its checksum was.
    #[error("line {sequence} has the checksum {found}, and its content {computed}")]
    LineChecksum {
        /// The line.
        sequence: u16,
        /// What it has.
        found: B256,
        /// What it should have.
        computed: B256,
    },
    /// Debits and credits that are not the same.
    #[error("its debits and credits of {currency:?} are not the same")]
    Unbalanced {
        /// Of what.
        currency: String,
    },
    /// Something of the posting was changed: a field, the number of its lines, a line together with its checksum, its index, or the entry's hashes.
    #[error("its entry has the hash {found}, and its content (posting digest {digest}) gives {computed}")]
    PostingDigest {
        /// What it has.
        found: B256,
        /// What it should have.
        computed: B256,
        /// The digest that was recomputed.
        digest: B256,
    },
    /// It names another entry as the one before it: one of the two was changed or put there.
    #[error("it follows on the entry {found}, but the one before it is {expected}")]
    PrevHash {
        /// What it names.
        found: B256,
        /// The hash of the entry before it.
        expected: B256,
    },
    /// An index that was there before.
    #[error("its index is there a second time")]
    Repeated,
    /// A posting that comes after one of a higher index.
    #[error("it is out of order: it comes after the posting at index {after}")]
    OutOfOrder {
        /// The index.
        after: u64,
    },
    /// More than was signed.
    #[error("it is beyond the checkpoint, which is of {size} entries")]
    Beyond {
        /// The checkpoint's.
        size: u64,
    },
    /// Postings that are not there.
    #[error("the postings from index {from} to {to} are missing")]
    Missing {
        /// The first.
        from: u64,
        /// The last.
        to: u64,
    },
    /// Less than was signed.
    #[error("the export is truncated: it ends before index {from}, and the checkpoint is of {size} entries")]
    Truncated {
        /// The first that is missing.
        from: u64,
        /// The checkpoint's size.
        size: u64,
    },
    /// Other entries than those that were signed.
    #[error(
        "the entries have the root {computed}, and the checkpoint has {expected}: this is not the log that was signed"
    )]
    Root {
        /// The entries'.
        computed: B256,
        /// The checkpoint's.
        expected: B256,
    },
    /// An account's line in another currency than the account's first.
    #[error("line {sequence} books {found:?} on account {account_id}, which is kept in another currency")]
    Currency {
        /// The line.
        sequence: u16,
        /// The account.
        account_id: Uuid,
        /// The line's currency.
        found: String,
    },
    /// Lines of an account are missing.
    #[error(
        "line {sequence} is version {found} of account {account_id}, and the one before it is version {last}"
    )]
    VersionGap {
        /// The line.
        sequence: u16,
        /// The account.
        account_id: Uuid,
        /// The line's version.
        found: u64,
        /// The last before it.
        last: u64,
    },
    /// An account has two lines of one version.
    #[error("line {sequence} is version {found} of account {account_id}, which has such a line already")]
    VersionRepeated {
        /// The line.
        sequence: u16,
        /// The account.
        account_id: Uuid,
        /// The line's version.
        found: u64,
    },
    /// A balance that is not the one before it and the line's amount.
    #[error(
        "line {sequence} leaves account {account_id} with {found}, which does not follow from {before} before it"
    )]
    BalanceAfter {
        /// The line.
        sequence: u16,
        /// The account.
        account_id: Uuid,
        /// The balance that it has.
        found: I256,
        /// The balance before it.
        before: I256,
    },
}

impl Break {
    pub(super) fn of_export(fault: Fault) -> Self {
        Self { index: None, posting_id: None, fault }
    }
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.index, self.posting_id) {
            (Some(index), Some(posting_id)) => {
                write!(f, "posting {posting_id} at index {index}: {}", self.fault)
            }
            _ => fmt::Display::fmt(&self.fault, f),
        }
    }
}
