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
