//! The journal: what a chain said, in the order in which it is acted upon.
//!
//! **The promise.** One journal a chain; `seq` is dense; a record once committed never changes. What the chain takes back is
//! appended as retractions, newest first. Everything derived is a [`Fold`] over it, and a fold's cursor moves in the transaction
//! of its effects: each record is in a fold's tables exactly once, whatever dies.
//!
//! **Why it holds.** There is one [`Writer`] a chain, by lease, and it takes its numbers from a row that it locks, so commit order is
//! sequence order and a reader's cursor is one integer ([`writer`](Writer)). A fold reads from its cursor, writes its effects, its
//! undo entries and the cursor under its own lease's token, and commits once ([`step`]). Retractions pop the undo
//! stack, and the stack must have on top what the journal takes back.
//!
//! **The traps.** A table `journal` row refers to the raw store by id and block number; the number follows from the block's hash, so a
//! lookup by it is exact, and it prunes partitions. The same log that comes back after a flip A → B → A is the same `chain_events`
//! row, appended again. Whether a record can still be taken back follows from the order of records alone (`finalize` precedes
//! what a backfill brings in below it), never from the time at which someone reads: a replay from zero gives what the first run gave.

pub mod backfills;
mod beneath;
mod confirmed;
mod coverage;
mod filter;
mod fold;
mod marks;
mod record;
mod repo;
mod runner;
mod step;
mod tail;
mod verified;
mod watch;
mod writer;

pub use beneath::{Oldest, oldest_undos, replace_undos};
pub use confirmed::confirmed;
pub use coverage::{Certificate, Uncovered, certificates, uncovered};
pub use filter::Filter;
pub use fold::{Fold, FoldError, Unconfirmed, Undone};
pub use marks::{BlockMarks, Mark, MarkKind, Marks, MarksChannel, MarksClosed, MarksError};
pub use record::{Block, Body, Event, Record, Transaction};
pub use runner::{FoldRunner, SkipError, lease_name, listen, retry, skip};
pub use step::{Step, StepOn, StepOptions, step};
pub use tail::{End, Tail};
pub use verified::{Certifier, Standing, Stored, note_finding, standing, stored};
pub use watch::{WatchError, Watched, watch, watched};
pub use writer::{
    ChainIdentity, Content, Decoding, Evidence, NewBlock, NewEvent, Range, WriteError, Writer, resume,
};
