//! What only whole processes show: how long a signer stands still when the process that works it is killed, how long after its last confirmation a request is told to be
//! confirmed, and how often the process that accepts a request works it too.
//!
//! Two processes that follow the chain and send, for the last figure three, and one that takes requests over HTTP, as configured by default but for `poll_interval_ms = 100`;
//! client, Postgres and Anvil share the machine. The block that is waited for is made by the measuring task itself, so what a block takes is in no figure.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde::Serialize;

use crate::chaos::real_relayer::{excess_over_confirmations, routing_hit_rate, takeovers};

/// How often a process is killed.
const KILLS: usize = 3;
/// Requests whose confirmation is waited for, in blocks of their own.
const CONFIRMED: usize = 5;
const CONFIRMATIONS: u64 = 20;
/// Requests that are handed in where their signer is worked.
const ROUTED: usize = 400;

/// What came out.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// From SIGKILL of the process that works a signer to the inclusion of its next transaction, which was handed in at that moment; a block each 100 ms. The longest of several, s.
    pub takeover_s: f64,
    /// The term of its lease, s. Twice as much is promised.
    pub lease_term_s: f64,
    /// From the block that is 20 above a request's own to its being told confirmed; a block each second. The longest of several, ms.
    pub excess_over_20_blocks_ms: f64,
    /// Share of the requests to four signers of three processes that were worked by the process which accepted them, percent; the client asks `/api/v1/signers` before each twenty.
    pub routing_hit_rate: f64,
}

/// Measures.
///
/// # Errors
/// When something cannot be run, nobody took over within two terms of the lease, or something was not confirmed.
pub(super) async fn figures(program: &Path) -> Result<Figures> {
    let term = plimsoll_store::DEFAULT_TERM;
    let longest = |of: Vec<Duration>| of.into_iter().max().unwrap_or_default();
    let takeover = longest(Box::pin(takeovers(program, KILLS)).await?);
    ensure!(takeover < 2 * term, "a signer stood still for {takeover:?}");
    let excess = longest(Box::pin(excess_over_confirmations(program, CONFIRMATIONS, CONFIRMED)).await?);
    let routing_hit_rate = Box::pin(routing_hit_rate(program, ROUTED)).await?;
    Ok(Figures {
        routing_hit_rate,
        takeover_s: takeover.as_secs_f64(),
        lease_term_s: term.as_secs_f64(),
        excess_over_20_blocks_ms: excess.as_secs_f64() * 1_000.0,
    })
}
