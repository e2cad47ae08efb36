//! Idempotency keys: a request that is sent again is answered again, and not done again.
//!
//! # The promise
//! Under one key within one [`Scope`], effects are committed once, however often, from wherever and in whatever state of decay the
//! request comes; and everyone who asks gets the answer that was committed with them, byte for byte, for as long as the key lives.
//!
//! # Why it holds
//! An entry is one row, unique over the whole scope, tenants that are NULL included. It is worked on under a *claim*, a random token in the row.
//!
//! 1. *Claiming* writes a token of one's own: into a new row (of two inserts one gives way), or over one that was seen and is free: by a
//!    compare-and-set on the token and state that were seen.
//! 2. *Effects* are written in a transaction that has locked the row under its own token ([`Claim::begin_effects`], [`lock_all`]). Whoever lost the
//!    claim does not find its token, and commits nothing. Whoever holds the lock cannot lose it: taking over skips a locked row.
//! 3. *The answer* is written into the row by that same transaction. Key, effects and answer are there together or not at all.
//! 4. A row that is done changes no more until its time is over.
//!
//! What has effects outside the database goes through a *recovery point* ([`Claim::advance`]): committed before, with what is needed to do
//! the same again under the same identity; the next attempt goes on from there.
//!
//! # Deferred claims
//! Who commits many requests together need not claim their keys before: [`Keys::defer`] asks nothing of the database, and the row is written by the transaction of the effects, as its
//! first statement. It is seen with its answer or not at all, so nobody has to be found gone and nothing to be given up; a duplicate that comes to a writer at the same time waits, within the
//! database, for one transaction. What there was under the key is found then, and not before: whoever defers asks [`Keys::enter`] after any refusal, so that an answer that was committed is
//! told, whatever would be said now. All who write entries do so first in their transactions and in the order of the unique index: nobody waits in a circle.
//!
//! # When a claim is free
//! None of this is needed for the promise, which rests on 1. and 2. alone: it only says when somebody else may try.
//!
//! - When its process is gone: no session of that process is left ([`crate::presence`]), so nothing under the claim can be committed any more. A process
//!   that is killed frees its claims with that, and its successor goes on at once.
//! - When it is of the asker's own process, and not at work there: the database was away when it was to be given up, or when it was made.
//! - When its term is over by the database's clock: its holder is frozen with its connections open, or takes too long.
//!
//! A holder that was frozen, or had lost all its connections for a moment, finds at 2. that it was taken over.
//!
//! # Who waits
//! A duplicate of what is in flight waits without a connection: it is told by its own process, or looks again, ever more seldom.
//! Handlers that have a batch writer commit for them give it their [`Claim`] and await its word: they hold no connection either.
//!
//! # What it costs
//! Beside a bare commit of the same effects: one transaction, shared with all who come while another is on its way, that does not wait for the disk (BEGIN with its settings, the insert, COMMIT), and one statement more
//! for the answer. Proving and locking the claim goes with the BEGIN of the effects. Whether a claim's process is there is asked with the row, by
//! duplicates alone. A deferred claim costs two statements more and no transaction. A test counts the round trips.
//!
//! # Traps
//! - The claim's own transaction does not wait for the disk (`synchronous_commit` off). A crash of the server may forget a claim, and with
//!   it the right to commit under it, which is harmless. Recovery points and answers are committed in full.
//! - A dropped [`Claim`] is given up by a statement that waits for the row's lock: the outcome of a transaction that was dropped at its
//!   COMMIT is known by then, and a row that is done stays.
//! - A number in JSON counts as it is written: `1` and `1.0` are different requests. That refuses a few that were meant the same, and
//!   never takes two amounts for one.

mod claim;
mod decision;
mod fingerprint;
mod flights;
mod key;
mod keys;
mod read;
mod repo;
mod response;
mod shared;
mod sweep;

pub use claim::{Claim, RecoveryPoint, Settled, lock_all, write_all};
pub use decision::State;
pub use fingerprint::{Asked, Fingerprint, canonical_json};
pub(crate) use flights::Flights;
pub use key::{AUTOMATIC_PREFIX, KEY_MAX_CHARS, Key, KeyError, PLATFORM, Scope};
pub use keys::{Entered, ITEMS_MAX, Item, KeyOptions, Keys, Request};
pub use read::{Entry, EntryFilter, entries, entry, lock_entry};
pub use response::{RESPONSE_MAX_BYTES, Replay, Response};
pub use sweep::{Invalidated, invalidate, sweep};

/// Why a key could not be worked with.
#[derive(Debug, thiserror::Error)]
pub enum IdempotencyError {
    /// Another has taken over, or an operator took the key out. Whatever the transaction wrote must be rolled back.
    #[error(
        "the claim on idempotency key {key:?} is no longer held: another took over after it had expired, or the key was invalidated; ask again for what came of it"
    )]
    Fenced {
        /// Which key.
        key: String,
    },
    /// An answer that is none.
    #[error(
        "status {status} is not an outcome that could be kept: only 200 to 499 are; return an error instead, and the request is tried again"
    )]
    NotAnOutcome {
        /// The status.
        status: u16,
    },
    /// A header that no client would get.
    #[error("the header {name:?} of an answer has a value that is not printable ASCII: encode it")]
    Header {
        /// Which header.
        name: String,
    },
    /// An answer that is not kept.
    #[error(
        "an answer of {bytes} bytes is too large to be kept, {RESPONSE_MAX_BYTES} may be: answer with a reference"
    )]
    ResponseTooLarge {
        /// Its size.
        bytes: usize,
    },
    /// More than a batch may have.
    #[error("a batch of {items} items is too large: {ITEMS_MAX} may bring keys; send it in parts")]
    TooManyItems {
        /// How many there were.
        items: usize,
    },
    /// Invalidation is on record, so it needs both.
    #[error("taking out a key is kept on record: give the operator's name and the reason")]
    Unsigned,
    /// A row that cannot be: another hand wrote it.
    #[error("the row {entry_id} of idempotency_cache holds what no answer is")]
    Malformed {
        /// Which row.
        entry_id: i64,
    },
    /// The sweeper's lease.
    #[error("idempotency keys: {0}")]
    Lease(#[from] crate::LeaseError),
    /// The database's own error.
    #[error("idempotency keys: {0}")]
    Database(#[from] sqlx::Error),
}
