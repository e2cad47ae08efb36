//! Numbers of the chain's state at a block: native balances, and integers that contracts return.
//!
//! # What it promises
//!
//! - **A number is of the block that was asked for, or there is none.** Everything is asked at the block's *hash*, demanded canonical
//!   (EIP-1898). A multicall says beside its results in which block it ran, and is believed only if that is the block of the header. At the end the
//!   block must still be the node's canonical one at its height. Where the block left the chain, or its state was pruned, the whole
//!   probe fails with that [`ErrorClass`](crate::ErrorClass): nothing is read from another block in its place.
//! - **Unknown is no number.** A contract that is not there, reverts, answers with something else than declared, with too much or too late,
//!   is that one answer's [`ProbeError`]; zero is only what a contract or the node said.
//! - **One answer disturbs no other**: not by failing, not by using up the gas or the size of what is asked together
//!   (it is asked again in halves, and what failed among others again alone), and not by acting while it is asked (`plan.rs`).
//!
//! # How it is asked
//!
//! A contract that is asked several things is called through Multicall3 where there is one at that block; the rest goes in batches of
//! `eth_call` and `eth_getBalance`. Every endpoint of the pool may answer any part, because the hash says what it is about.
//!
//! # Traps
//!
//! - In a multicall the caller is Multicall3, and without one the zero address. A function that answers by its caller is declared `direct`.
//! - A contract that catches its own want of gas and goes on with a default answers wrongly where others of its answers in the same multicall
//!   used up the gas. Such a function is declared `direct`, too.
//! - On a chain that is built on another, contracts may see that chain's block number and hashes (Arbitrum). There only the block's time is compared:
//!   [`ProbeOptions::has_own_block_number`].
//! - A node that holds state in memory while it makes a block may answer from the next one, whatever hash it was asked for; Anvil does,
//!   while it mines.

mod ask;
mod declared;
mod multicall;
mod plan;
mod reading;

use std::time::Instant;

use alloy_primitives::{Address, B256};

use self::ask::Asking;
pub use self::{
    declared::{DeclaredFunction, DeclaredProbe, InvalidProbe},
    multicall::MULTICALL3,
    reading::{Probe, ProbeError, Reading},
};
use crate::{Header, Pool, error::RpcError, metrics};

/// Chains whose contracts see the block numbers of the chain below: Arbitrum One, Arbitrum Nova, Arbitrum Sepolia.
const WITH_NUMBERS_OF_ANOTHER: [u64; 3] = [42_161, 42_170, 421_614];

/// How a chain is probed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeOptions {
    /// The chain, for metrics.
    pub chain_id: u64,
    /// Where Multicall3 is; none: it is not used. At a block before it was put there, probes go without it by themselves.
    pub multicall: Option<Address>,
    /// Whether contracts see this chain's block numbers and hashes, and not those of the chain that it is built on.
    pub has_own_block_number: bool,
}

impl ProbeOptions {
    /// As the chain is known to be: Multicall3 at its usual address, block numbers its own except on Arbitrum's chains.
    #[must_use]
    pub fn of_chain(chain_id: u64) -> Self {
        Self {
            chain_id,
            multicall: Some(MULTICALL3),
            has_own_block_number: !WITH_NUMBERS_OF_ANOTHER.contains(&chain_id),
        }
    }
}

/// Numbers at a block.
#[derive(Clone, Debug, PartialEq)]
pub struct Probed {
    /// The block's header, as a node told it.
    pub header: Header,
    /// For each probe, in their order, its number or why it is unknown.
    pub answers: Vec<Result<Reading, ProbeError>>,
}

/// Asks for numbers of the state after this block.
///
/// # Errors
/// When nothing can be said of this block's state: `BlockUnknown` if no node has it or holds it canonical, `StateUnavailable` if all have pruned its
/// state, `Protocol` if an answer cannot be believed, or as [`RpcError::class`] says.
pub async fn probes_at(
    pool: &Pool,
    options: &ProbeOptions,
    block_hash: B256,
    probes: &[Probe],
) -> Result<Probed, RpcError> {
    let started = Instant::now();
    let probed = ask(pool, options, block_hash, probes).await;
    metrics::probed(options.chain_id, probes.len(), &probed, started.elapsed());
    probed
}

async fn ask(
    pool: &Pool,
    options: &ProbeOptions,
    block_hash: B256,
    probes: &[Probe],
) -> Result<Probed, RpcError> {
    let header = pool.ask(None, |rpc| async move { rpc.header_of(block_hash).await }).await?;
    let answers = Asking::new(pool, options, &header, probes).all().await?;
    let number = header.number;
    pool.ask(Some(number), |rpc| async move { rpc.expect_canonical(number, block_hash).await }).await?;
    Ok(Probed { header, answers })
}
