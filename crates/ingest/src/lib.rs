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
//! **The traps.** A lower head on our own branch is an endpoint that lags, not a reorg. A changed hash at an unchanged height is one. A
//! lower head on another branch may be a stale backend behind a load balancer: it must be seen several times
//! ([`plan::Patience`]). What is behind an endpoint's address may be replaced by another chain: a head that is not linked to the journal is
//! looked into only after the endpoint has shown chain id and genesis block again, and a range of a backfill comes from a node that has the final block
//! above it. A branch that does not meet the journal above finality is not repaired: the chain halts, keeps the evidence, says
//! how to go on, and nothing downstream moves.

mod backfill;
mod config;
mod content;
mod error;
mod follow;
pub mod plan;

pub use config::IngestConfig;
pub use error::IngestError;

use std::time::Duration;

use alloy_primitives::B256;
use plimsoll_chain::abi::Contracts;
use plimsoll_chain::interval::Interval;
use plimsoll_chain::{ErrorClass, Header, Rpc};
use plimsoll_journal::{ChainIdentity, NewBlock, Tail, WriteError, Writer};
use plimsoll_store::{Db, Lease, LeaseError, Leases};
use plimsoll_types::address_text;
use tokio_util::sync::CancellationToken;

use crate::plan::Patience;

/// How often a halted chain looks whether an operator lifted the halt.
const HALT_RECHECK: Duration = Duration::from_secs(2);

/// The lease that a chain's ingest holds.
#[must_use]
pub fn lease_name(chain_id: u64) -> String {
    format!("ingest:{chain_id}")
}

/// Follows one chain into its journal.
pub struct Ingest {
    config: IngestConfig,
    rpc: Rpc,
    contracts: Contracts,
    db: Db,
    leases: Leases,
    tail: Tail,
}

/// One tenure of the chain's lease: the writer, and what was learned of the endpoint.
struct Session<'a> {
    config: &'a IngestConfig,
    rpc: &'a Rpc,
    contracts: &'a Contracts,
    genesis_hash: B256,
    writer: Writer,
    interval: Interval,
    patience: Patience,
    /// Of its own: a lower head on a branch past finality is sighted as both, in turn, and each would make the other begin again.
    deep_patience: Patience,
    rpc_head_noted: Option<tokio::time::Instant>,
}

impl Ingest {
    /// An ingest of `contracts` and of the configured watched senders.
    pub fn new(
        config: IngestConfig,
        rpc: Rpc,
        contracts: Contracts,
        db: Db,
        leases: Leases,
        tail: Tail,
    ) -> Self {
        Self { config, rpc, contracts, db, leases, tail }
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
            finality_depth: self.config.finality_depth,
        };
        let name = lease_name(self.config.chain_id);
        while !cancel.is_cancelled() {
            let lease = match self.leases.acquire_wait(&name, cancel).await {
                Ok(lease) => lease,
                Err(LeaseError::Cancelled { .. }) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            tracing::info!(chain_id = self.config.chain_id, fencing_token = lease.token(), "ingest runs");
            let outcome = self.hold(&lease, &identity, cancel).await;
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

    /// The endpoint serves the chain that the configuration names, and the contracts exist there. Returns block 0's hash.
    async fn check_chain(&self) -> Result<B256, IngestError> {
        let chain_id = self.config.chain_id;
        let genesis_hash = genesis_of(&self.rpc, chain_id).await?;
        let head = self.rpc.head().await?;
        let first = self.contracts.start_block();
        if first > head.number {
            tracing::info!(chain_id, first, head = head.number, "the first block of interest lies ahead");
        }
        for contract in self.contracts.iter().filter(|c| c.start_block <= head.number) {
            match self.rpc.code_at(contract.address, head.hash).await {
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
        loop {
            let writer = Writer::open(&self.db, lease.clone(), self.tail.clone(), identity).await?;
            if let Some(why) = writer.halted() {
                tracing::error!(chain_id = self.config.chain_id, %why, "the chain is halted");
                metrics::gauge!("chain_halted", "chain_id" => self.config.chain_id.to_string()).set(1);
                pause(HALT_RECHECK, lease, cancel).await;
                if cancel.is_cancelled() || lease.lost().is_cancelled() {
                    return Ok(());
                }
                continue;
            }
            metrics::gauge!("chain_halted", "chain_id" => self.config.chain_id.to_string()).set(0);
            let mut session = Session {
                config: &self.config,
                rpc: &self.rpc,
                contracts: &self.contracts,
                genesis_hash: identity.genesis_hash,
                writer,
                interval: Interval::new(self.config.range),
                patience: Patience::default(),
                deep_patience: Patience::default(),
                rpc_head_noted: None,
            };
            match session.follow(lease, cancel).await {
                Err(IngestError::DeepReorg(evidence)) => {
                    tracing::error!(chain_id = self.config.chain_id, evidence = %evidence, "reorg past finality: the chain halts");
                    metrics::counter!("deep_reorg_total", "chain_id" => self.config.chain_id.to_string())
                        .increment(1);
                    session.writer.halt(evidence.to_json()).await?;
                }
                other => return other,
            }
        }
    }
}

impl Session<'_> {
    /// The endpoint still serves the chain that it served at first: what is behind its address may have been replaced.
    async fn check_chain(&self) -> Result<(), IngestError> {
        let chain_id = self.config.chain_id;
        let given = genesis_of(self.rpc, chain_id).await?;
        if given != self.genesis_hash {
            let known = self.genesis_hash.to_string();
            return Err(WriteError::DifferentGenesis { chain_id, given, known }.into());
        }
        Ok(())
    }
}

/// Block 0's hash, from an endpoint that serves this chain.
async fn genesis_of(rpc: &Rpc, chain_id: u64) -> Result<B256, IngestError> {
    let (found, genesis) = match rpc.identity().await {
        Ok(identity) => identity,
        // A node of another chain is told apart whatever else it cannot answer.
        Err(error) => match rpc.chain_id().await {
            Ok(found) if found != chain_id => (found, None),
            _ => return Err(error.into()),
        },
    };
    if found != chain_id {
        return Err(IngestError::WrongChain { expected: chain_id, found });
    }
    genesis.map(|genesis| genesis.hash).ok_or(IngestError::NoGenesis { chain_id })
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
