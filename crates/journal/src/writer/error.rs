use alloy_primitives::B256;
use plimsoll_store::LeaseError;

use crate::fold::FoldError;

/// Why the journal could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The database has this chain id with another genesis.
    #[error(
        "chain {chain_id}: the node's block 0 is {given}, the database's is {known}; this is another chain with the same id: \
         use another database for it, or point the endpoint at the chain that this database follows"
    )]
    DifferentGenesis {
        /// The chain.
        chain_id: u64,
        /// The node's.
        given: B256,
        /// The database's.
        known: String,
    },
    /// The counters in memory are not the database's: another writer, or a commit whose answer was lost.
    #[error(
        "chain {chain_id}: the journal moved on without this writer; it starts again from what is committed"
    )]
    Stale {
        /// The chain.
        chain_id: u64,
    },
    /// A sender is acknowledged as watched that this writer does not follow: it was added meanwhile.
    #[error("chain {chain_id}: a sender was added since it was read who is watched; it is read again")]
    Unwatched {
        /// The chain.
        chain_id: u64,
    },
    /// The blocks do not continue the journal's head.
    #[error("chain {chain_id}: block {number} does not continue the journal's head {head:?}")]
    NotOnHead {
        /// The chain.
        chain_id: u64,
        /// The block offered.
        number: u64,
        /// The head.
        head: Option<(u64, B256)>,
    },
    /// Blocks that may still be taken back, or that the journal does not have yet, do not come late.
    #[error(
        "chain {chain_id}: block {number} is above {settled:?}, the last block that the journal has and calls final; only final blocks can come late"
    )]
    NotFinal {
        /// The chain.
        chain_id: u64,
        /// The block offered.
        number: u64,
        /// The last block that is final and in the journal.
        settled: Option<u64>,
    },
    /// A final block of the journal is another one.
    #[error(
        "chain {chain_id}: block {number} is {known} in the journal, where it is final, and what was to come late says {given}; \
         the endpoint is on another chain, or the journal is: `plimsoll verify completeness` tells which"
    )]
    OtherBlock {
        /// The chain.
        chain_id: u64,
        /// The block.
        number: u64,
        /// What was offered.
        given: B256,
        /// What the journal has.
        known: B256,
    },
    /// The journal cannot be read back.
    #[error(transparent)]
    Read(#[from] FoldError),
    /// The authority to write is gone.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// Postgres.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
}
