//! The chain in.
//!
//! **The promise.** Every log of the followed contracts, and every transaction of the watched senders, on the canonical chain is in
//! the journal once; what leaves the canonical chain is taken back; what an endpoint merely fails to show is not.
//!
//! **How.** Below finality a *backfill* takes ranges, several in flight, committed in order; `finalize` is journaled before the
//! first of them. Above finality the *follower* takes blocks by hash, each linked to its parent, and commits a whole branch at once:
//! when the head does not continue the journal, it walks the new branch back to a block that the journal has (the common ancestor),
//! fetches everything on it, and only then takes the old one back, in the same transaction that appends the new one.
//!
//! **Several endpoints.** Each one's head is looked at by a task of its own. A round, from a head to the commit, is with one endpoint, so that
//! what is reached from its head by hash is of one chain; ranges of a backfill go to whichever has the final block. What takes
//! blocks back is judged by all endpoints ([`plan::Verdict`]): the majority decides, and while there is none, one that contradicts is
//! enough to wait. An endpoint that fails, lags, serves another chain or is on a fork of its own costs its answers and nothing else.
//!
//! **Wider than before.** What is wanted since later than it begins comes in late, the newest first, beside the following of the head.
//!
//! **The traps.** A lower head on our own branch is an endpoint that lags, not a reorg. A changed hash at an unchanged height is one. A
//! lower head on another branch may be a stale backend behind a load balancer: where no majority vouches for it, it must be seen several times
//! ([`plan::Patience`]). What is behind an endpoint's address may be replaced by another chain: a head that is not linked to the journal is
//! looked into only after the endpoint has shown chain id and genesis block again, and a range of a backfill comes from a node that has the final block
//! above it. A branch that does not meet the journal above finality is not repaired: the chain halts, keeps the evidence, says
//! how to go on, and nothing downstream moves.

mod asked;
mod backfill;
mod book;
mod branch;
mod config;
mod content;
mod endpoints;
mod error;
mod finality;
mod follow;
mod late;
mod metrics;
mod pace;
pub mod plan;
pub mod preview;
mod proven;
mod range;
pub mod verify;

pub use book::Book;
pub use config::{Finality, IngestConfig};
pub use content::filter;
pub use error::IngestError;
pub use follow::Follower;

use std::time::Duration;

use alloy_primitives::B256;
use plimsoll_chain::abi::Contracts;
use plimsoll_chain::{ErrorClass, Header, Pool};
use plimsoll_journal::{ChainIdentity, FoldError, NewBlock, Tail, Watched, WriteError, Writer, watched};
use plimsoll_store::{Db, Lease, LeaseError, Leases};
use plimsoll_types::address_text;
use tokio_util::sync::CancellationToken;

/// How often a halted chain looks whether an operator lifted the halt.
const HALT_RECHECK: Duration = Duration::from_secs(2);

/// How often it is looked whether a sender was added.
const SENDERS_RECHECK: Duration = Duration::from_millis(500);

/// The lease that a chain's ingest holds.
#[must_use]
pub fn lease_name(chain_id: u64) -> String {
    format!("ingest:{chain_id}")
}

/// Follows one chain into its journal.
pub struct Ingest {
    config: IngestConfig,
    pool: Pool,
    contracts: Contracts,
    db: Db,
    leases: Leases,
    tail: Tail,
}

impl Ingest {
    /// An ingest of `contracts` and of the configured watched senders.
    pub fn new(
        config: IngestConfig,
        endpoints: impl Into<Pool>,
        contracts: Contracts,
        db: Db,
        leases: Leases,
        tail: Tail,
    ) -> Self {
        Self { config, pool: endpoints.into(), contracts, db, leases, tail }
    }

    /// Runs until `cancel`, or until an error; [`IngestError::is_fatal`] tells whether it is of any use to run it again.
    pub async fn run(&mut self, cancel: &CancellationToken) -> Result<(), IngestError> {
        let genesis_hash = self.check_chain().await?;
        let identity = ChainIdentity {
            chain_id: self.config.chain_id,
            name: self.config.name.clone(),
            genesis_hash,
            start_block: self.contracts.start_block(),
            confirmations: self.config.confirmations,
            finality: self.config.finality.to_string(),
            filter: filter(&self.config, &self.contracts),
        };
        let name = lease_name(self.config.chain_id);
        while !cancel.is_cancelled() {
            let lease = match self.leases.acquire_wait(&name, cancel).await {
                Ok(lease) => lease,
                Err(LeaseError::Cancelled { .. }) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            tracing::info!(chain_id = self.config.chain_id, fencing_token = lease.token(), "ingest runs");
            let outcome = Box::pin(self.hold(&lease, &identity, cancel)).await;
            if let Err(error) = lease.release().await {
                tracing::warn!(lease = name, %error, "the lease could not be given back; it expires by itself");
            }
            match outcome {
                Err(error) if error.is_lost_authority() => {
                    tracing::warn!(lease = name, %error, "another node may write this journal; starting again");
                }
                other => return other,
            }
        }
        Ok(())
    }

    /// The endpoints serve the chain that the configuration names, and the contracts exist there. Returns block 0's hash.
    async fn check_chain(&self) -> Result<B256, IngestError> {
        let chain_id = self.config.chain_id;
        let genesis_hash = endpoints::genesis_of_all(&self.pool, chain_id).await?;
        let head = self.pool.ask(None, |rpc| async move { rpc.head().await }).await?;
        let first = self.contracts.start_block();
        if first > head.number {
            tracing::info!(chain_id, first, head = head.number, "the first block of interest lies ahead");
        }
        for contract in self.contracts.iter().filter(|c| c.start_block <= head.number) {
            let address = contract.address;
            let code =
                self.pool.ask(Some(head.number), |rpc| async move { rpc.code_at(address, head.hash).await });
            match code.await {
                Ok(code) if code.is_empty() => {
                    return Err(IngestError::NoCode {
                        chain_id,
                        contract: contract.name.to_string(),
                        address: address_text(&contract.address),
                        block_number: head.number,
                    });
                }
                Ok(_) => {}
                // The head may have left meanwhile, or its state be out of reach: no verdict, and none is needed to follow logs.
                Err(error)
                    if matches!(error.class(), ErrorClass::BlockUnknown | ErrorClass::StateUnavailable) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(genesis_hash)
    }

    async fn hold(
        &self,
        lease: &Lease,
        identity: &ChainIdentity,
        cancel: &CancellationToken,
    ) -> Result<(), IngestError> {
        let chain_id = self.config.chain_id;
        loop {
            let added = self.added().await?;
            let config = self.config.watching(&added);
            let identity = ChainIdentity { filter: filter(&config, &self.contracts), ..identity.clone() };
            let writer = match Writer::open(&self.db, lease.clone(), self.tail.clone(), &identity).await {
                Err(WriteError::Unwatched { .. }) => continue,
                opened => opened?,
            };
            if let Some(why) = writer.halted() {
                tracing::error!(chain_id = self.config.chain_id, %why, "the chain is halted");
                metrics::halted(self.config.chain_id, true);
                pause(HALT_RECHECK, lease, cancel).await;
                if cancel.is_cancelled() || lease.lost().is_cancelled() {
                    return Ok(());
                }
                continue;
            }
            metrics::halted(self.config.chain_id, false);
            let mut follower =
                Follower::new(&config, &self.pool, &self.contracts, identity.genesis_hash, writer);
            let followed = tokio::select! {
                biased;
                // Dropped, the follower leaves the journal as its last commit did.
                () = self.others_than(&added) => {
                    tracing::info!(chain_id, "another sender is to be watched");
                    continue;
                }
                () = lease.lost().cancelled() => {
                    Err(LeaseError::Fenced { name: lease.name().to_owned(), token: lease.token() }.into())
                }
                followed = follower.follow(cancel) => followed,
            };
            match followed {
                Err(IngestError::DeepReorg(evidence)) => {
                    tracing::error!(chain_id = self.config.chain_id, evidence = %evidence, "reorg past finality: the chain halts");
                    metrics::deep_reorg(self.config.chain_id);
                    follower.into_book().halt(evidence.to_json()).await?;
                }
                other => return other,
            }
        }
    }
}

impl Ingest {
    /// The senders that were added to those of the configuration.
    async fn added(&self) -> Result<Vec<Watched>, IngestError> {
        Ok(added_senders(&self.db, self.config.chain_id).await.map_err(WriteError::from)?)
    }

    /// Until others are to be watched than these, or from other blocks on.
    async fn others_than(&self, known: &[Watched]) {
        let wanted = |watched: &[Watched]| watched.iter().map(|it| (it.address, it.from)).collect::<Vec<_>>();
        loop {
            tokio::time::sleep(SENDERS_RECHECK).await;
            match self.added().await {
                Ok(added) if wanted(&added) != wanted(known) => return,
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(chain_id = self.config.chain_id, %error, "who is watched cannot be read");
                }
            }
        }
    }
}

/// The senders that were added to those of the configuration.
async fn added_senders(db: &Db, chain_id: u64) -> Result<Vec<Watched>, FoldError> {
    let mut conn = db.worker().acquire().await?;
    watched(&mut conn, chain_id).await
}

async fn pause(duration: Duration, lease: &Lease, cancel: &CancellationToken) {
    tokio::select! {
        () = tokio::time::sleep(duration) => {}
        () = cancel.cancelled() => {}
        () = lease.lost().cancelled() => {}
    }
}

fn new_block(header: &Header) -> NewBlock {
    NewBlock {
        number: header.number,
        hash: header.hash,
        parent_hash: header.parent_hash,
        timestamp: header.timestamp,
    }
}
