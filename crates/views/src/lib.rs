//! The views: mirrors of what the contracts cache, the log of how each event was applied, and the proof that they agree.
//!
//! **The promise.** `position_cache_mirror` and `view_mirror` hold, as of the fold's watermark, exactly what the followed contracts say
//! they hold (spec 1 §5–6). Every `append` record of the journal, and every retraction of one, has exactly one row in
//! `view_apply_log`. Replaying the journal from its first record gives the same tables.
//!
//! **Why it holds.** The fold ([`ViewFold`]) decides from the records and its own tables alone: no clock, no chain, no configuration but the
//! ABIs. Its effects and its cursor are one transaction. A batch is whole blocks, folded in memory: the mirror
//! rows of the batch's keys are loaded with one statement, the rules are applied in record order, and the last row of each key is written with
//! one statement. Each mirrored event leaves the row it replaced as its undo entry; a retraction puts it back, newest
//! first, so that what remains is what stood before the oldest. Trails and links have their record's sequence as key and are removed by it.
//! The apply log is never removed from: a retraction is a row of its own (`reorg_rollback`).
//!
//! **Position events.** `UserPositionCachedV2` is the authority. Router pushes are traces: they are linked to the version that they led to,
//! and never applied. A version that repeats is a duplicate, one that goes back is rejected, one that jumps is applied; each of
//! them is an anomaly. A push whose sequence does not increase although its version was written is itself rejected
//! (`out_of_order_seq`), while the mirror follows the authority.
//!
//! **A new view event** is one entry of [`DECLARATIONS`]: its signature, its view's name and key, what to do with it, and the getter that
//! proves it. Nothing else is to be written.
//!
//! **The traps.** An undo entry names its row itself, so that a contract which is not followed any more can still be taken back. Undo
//! entries are not built at or below finality: that is most of a backfill's cost. Pairing looks ahead within a transaction, which is sound only
//! because a block is applied and taken back as a whole. Counters are published after the commit, not when a batch is folded: a
//! rolled back batch is folded again. In `replay` the same statements meet temporary tables of the same names: no
//! statement here may name the schema.

mod batch;
mod cache;
mod counters;
mod declaration;
mod declarations;
mod fold;
mod links;
mod plan;
mod position;
mod reason;
pub mod replay;
mod repo;
mod row;
mod rows;
pub mod verify;

pub use declaration::{Declaration, Mode};
pub use declarations::{DECLARATIONS, POSITION_VIEW};
pub use fold::ViewFold;
pub use verify::Verifier;

/// The fold's name: the key of its cursor, undo stack and lease.
pub const FOLD_NAME: &str = "views";
