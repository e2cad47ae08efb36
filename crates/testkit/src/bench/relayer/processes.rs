//! What only whole processes show: how soon a request over HTTP is answered, and a node has it; whether it is worked where it was handed in; how long a signer stands still when the process that works it is killed, and how long after its last confirmation a request is told to be confirmed.
//!
//! Two processes that follow the chain and send, one that takes requests over HTTP, as configured by default but for `poll_interval_ms = 100`; client, Postgres and Anvil share the machine. The block that is
//! waited for is made by the measuring task itself, so what a block takes is in no figure.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde::Serialize;

use crate::chaos::real_relayer::{excess_over_confirmations, served, takeovers};

/// How often a process is killed.
const KILLS: usize = 3;
/// Requests whose confirmation is waited for, in blocks of their own.
const CONFIRMED: usize = 5;
const CONFIRMATIONS: u64 = 20;

/// Requests a second that are offered, for how soon each is answered, and for how soon a node has it.
const OFFERED: u32 = 1_000;
const OFFERED_FOR_SENDING: u32 = 500;
const OFFERED_FOR: Duration = Duration::from_secs(10);

/// What came out.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// From when a request is due until it is answered over HTTP: on record, with its key, its audit entry and its answer. 1,000 are offered a second; 99 of 100 are faster, ms.
    pub accept_p99_ms_at_1000: f64,
    /// From when a request is due until a node has it: accepted, given a nonce, signed, committed and sent. 500 are offered a second; 99 of 100 are faster, ms.
    pub added_p99_ms_at_500: f64,
    /// Share of the requests that were worked by the process to which the API's hint had sent them, percent.
    pub routing_hit_rate: f64,
    /// From SIGKILL of the process that works a signer to the inclusion of its next transaction, which was handed in at that moment; a block each 100 ms. The longest of several, s.
    pub takeover_s: f64,
    /// The term of its lease, s. Twice as much is promised.
    pub lease_term_s: f64,
    /// From the block that is 20 above a request's own to its being told confirmed; a block each second. The longest of several, ms.
    pub excess_over_20_blocks_ms: f64,
}

/// Measures.
///
/// # Errors
/// When something cannot be run, nobody took over within two terms of the lease, or something was not confirmed.
#[allow(clippy::cast_precision_loss)]
pub(super) async fn figures(program: &Path) -> Result<Figures> {
    let at_once = Box::pin(served(program, OFFERED, OFFERED_FOR)).await?;
    let sending = Box::pin(served(program, OFFERED_FOR_SENDING, OFFERED_FOR)).await?;
    let requests = at_once.answered.len() + sending.answered.len();
    let term = plimsoll_store::DEFAULT_TERM;
    let longest = |of: Vec<Duration>| of.into_iter().max().unwrap_or_default();
    let takeover = longest(Box::pin(takeovers(program, KILLS)).await?);
    ensure!(takeover < 2 * term, "a signer stood still for {takeover:?}");
    let excess = longest(Box::pin(excess_over_confirmations(program, CONFIRMATIONS, CONFIRMED)).await?);
    Ok(Figures {
        accept_p99_ms_at_1000: p99_ms(at_once.answered),
        added_p99_ms_at_500: p99_ms(sending.sent),
        routing_hit_rate: 100.0 * (at_once.hits + sending.hits) as f64 / requests as f64,
        takeover_s: takeover.as_secs_f64(),
        lease_term_s: term.as_secs_f64(),
        excess_over_20_blocks_ms: excess.as_secs_f64() * 1_000.0,
    })
}

/// The time that 99 of 100 do not exceed.
fn p99_ms(mut took: Vec<Duration>) -> f64 {
    took.sort_unstable();
    took.get(took.len().saturating_sub(1) * 99 / 100).copied().unwrap_or_default().as_secs_f64() * 1_000.0
}
