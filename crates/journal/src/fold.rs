//! What a fold is.

use std::future::Future;
use std::sync::Arc;

use serde_json::Value;
use sqlx::PgConnection;

use crate::record::{Block, Record};

/// A record that a reorg takes back.
#[derive(Clone, Debug)]
pub struct Undone {
    /// The `retract` record's own place.
    pub retract_seq: i64,
    /// The record that is taken back.
    pub record: Record,
    /// What [`Fold::apply`] returned for it.
    pub undo: Option<Value>,
}

/// A block that a reorganisation deeper than the confirmations takes back after it was confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unconfirmed {
    /// The `retract` record's own place.
    pub retract_seq: i64,
    /// The place of the `confirm` that is taken back.
    pub confirm_seq: i64,
    /// The block.
    pub block: Arc<Block>,
}

/// Why a fold could not go on.
#[derive(Debug, thiserror::Error)]
pub enum FoldError {
    /// One record cannot be folded. The fold stops before that record's block and says so; the others go on.
    #[error("fold {fold} on chain {chain_id}: record {seq} cannot be applied: {reason}")]
    Poisoned {
        /// The fold.
        fold: &'static str,
        /// The chain.
        chain_id: u64,
        /// The record.
        seq: i64,
        /// Why.
        reason: String,
    },
    /// The undo stack does not have the record on top that the journal takes back.
    #[error(
        "fold {fold} on chain {chain_id}: the journal takes back record {expected}, but the undo stack's top is \
         {found:?}; the fold's tables do not belong to this journal: rebuild them from it"
    )]
    UndoOrder {
        /// The fold.
        fold: &'static str,
        /// The chain.
        chain_id: u64,
        /// The record that is taken back.
        expected: i64,
        /// What is on top.
        found: Option<i64>,
    },
    /// The fold's cursor is past the journal's end: the database was put together from two.
    #[error(
        "fold {fold} on chain {chain_id}: its cursor {cursor} is past the journal's end {end}; restore both from one backup"
    )]
    CursorPastEnd {
        /// The fold.
        fold: &'static str,
        /// The chain.
        chain_id: u64,
        /// The cursor.
        cursor: i64,
        /// The last record.
        end: i64,
    },
    /// The authority to write is gone.
    #[error(transparent)]
    Lease(#[from] plimsoll_store::LeaseError),
    /// The raw store lacks what the journal refers to.
    #[error(
        "the journal of chain {chain_id} refers to {what} {reference}, which the raw store does not have"
    )]
    Dangling {
        /// The chain.
        chain_id: u64,
        /// What is missing.
        what: &'static str,
        /// Its id.
        reference: i64,
    },
    /// A record is missing: every reader counts on there being no hole, so what would follow it is not applied.
    #[error(
        "the journal of chain {chain_id} lacks record {missing}: after it comes {found}. Something else than its writer removed it; \
         bring it back from a backup, or build the chain's tables anew"
    )]
    Hole {
        /// The chain.
        chain_id: u64,
        /// The first record that is missing.
        missing: i64,
        /// The record that is there instead.
        found: i64,
    },
    /// A row that cannot be read back.
    #[error("the journal of chain {chain_id} holds a row that cannot be read: {what}")]
    Malformed {
        /// The chain.
        chain_id: u64,
        /// What is wrong.
        what: String,
    },
    /// Postgres.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
}

/// A view of the journal that is kept in tables, exactly in step with it.
///
/// Everything that a fold writes goes through the connection it is given, in the runner's transaction, which moves the
/// fold's cursor too. A fold decides from the records and its own tables alone, so that a replay from zero gives the same.
pub trait Fold: Send {
    /// Its name: the key of its cursor, undo stack and lease.
    fn name(&self) -> &'static str;

    /// Its tables that are partitioned by journal sequence.
    fn partitioned_tables(&self) -> &'static [&'static str] {
        &[]
    }

    /// Applies `append`, `included`, `block`, `confirm` and `finalize` records, oldest first; all records of one block come in one
    /// call. Late records come in calls of their own, the newest block first: later blocks than theirs were applied before. Returns one undo a record, `None` where there is nothing to take back. Undos of records at or below
    /// `final_number`, or of a later `finalize` in the call that covers them, are not kept: they need not be built.
    fn apply(
        &mut self,
        conn: &mut PgConnection,
        final_number: Option<u64>,
        records: &[Record],
    ) -> impl Future<Output = Result<Vec<Option<Value>>, FoldError>> + Send;

    /// Takes records back, newest first.
    fn undo(
        &mut self,
        conn: &mut PgConnection,
        undone: Vec<Undone>,
    ) -> impl Future<Output = Result<(), FoldError>> + Send;

    /// These blocks are not confirmed any more, newest first: they left the chain, and what they held is taken back in the same step. For a fold that acts on what
    /// is [confirmed](crate::confirmed); any other has nothing to do.
    fn unconfirm(
        &mut self,
        conn: &mut PgConnection,
        blocks: Vec<Unconfirmed>,
    ) -> impl Future<Output = Result<(), FoldError>> + Send {
        let _ = (conn, blocks);
        async { Ok(()) }
    }

    /// An operator had this record passed over.
    fn skip(
        &mut self,
        conn: &mut PgConnection,
        record: &Record,
        reason: &str,
    ) -> impl Future<Output = Result<(), FoldError>> + Send;

    /// What was last applied, undone and skipped is committed: metrics may count it now.
    fn committed(&mut self) {}

    /// What was last applied, undone and skipped is rolled back: forget it.
    fn rolled_back(&mut self) {}
}
