//! Senders that are added while a chain is followed.
//!
//! A sender's transactions can be relied on to be in the journal from the block that its watch was *acknowledged* with: each writer, when it opens the
//! journal, acknowledges those that it follows, in the transaction that gives it its authority, and refuses to open while one is acknowledged that it does
//! not follow. So whichever writer appends a later block has asked for it. What lies before, back to the block from which the sender is wanted, comes late.

use alloy_primitives::Address;
use sqlx::PgConnection;

use crate::fold::FoldError;
use crate::repo::watch as repo;

/// A sender that was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watched {
    /// Who.
    pub address: Address,
    /// From which block on its transactions are wanted.
    pub from: u64,
    /// From which block on no transaction of it can be missing from what is appended; none before a writer has acknowledged it.
    pub acknowledged: Option<u64>,
}

/// Why a sender cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// There is no such journal.
    #[error("chain {chain_id} has no journal yet: `plimsoll run` begins it")]
    NotBegun {
        /// The chain.
        chain_id: u64,
    },
    /// The database, or what it holds.
    #[error(transparent)]
    Journal(#[from] FoldError),
    /// Postgres.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
}

/// Has a sender watched from this block on, or from the block after the journal's head; in the caller's transaction. One that is watched already stays so, from
/// the earlier of the two blocks. Whoever follows the chain notices within a second, and acknowledges it: see [`watched`].
///
/// # Errors
/// [`WatchError`].
pub async fn watch(
    conn: &mut PgConnection,
    chain_id: u64,
    sender: Address,
    from: Option<u64>,
    added_by: &str,
) -> Result<Watched, WatchError> {
    repo::add(conn, chain_id, sender, from, added_by).await?.ok_or(WatchError::NotBegun { chain_id })
}

/// The senders that were added to this chain, by address.
///
/// # Errors
/// When the database fails, or has what this version cannot read.
pub async fn watched(conn: &mut PgConnection, chain_id: u64) -> Result<Vec<Watched>, FoldError> {
    repo::all(conn, chain_id).await
}
