//! The relayer's protocol, explored exhaustively: a request has at most one effect, and ends, whatever dies.
//!
//! # What is modelled
//! One signer, two nodes, a database, a chain, and every order in which their steps can come:
//! - **The lease** (`plimsoll_store::lease`): a row with a token that rises. A transaction that writes reads it first and asks for its own
//!   token in its term; from then to its end takers wait. A term ends when the holder is gone, or late.
//! - **The window** (`window.rs`): nonces are predicted from the cache and from a `latest` that may be old when it is used; the bytes are
//!   signed in memory; one transaction checks the lease, compares the prediction with `max(latest, next_nonce)`, and writes attempts,
//!   rows and `next_nonce`. It may be rolled back instead. The cache and the outbox follow it. Bumps, no-ops and fills are attempts at a
//!   nonce that is known, so they are one step.
//! - **Sends**: only out of a node's outbox, which has what the node committed, and what it read when it took the lease.
//! - **The chain** (`state.rs`): consumes the sender's nonces in order; seen, confirmed, final; a reorg takes back any inclusion that is not
//!   final; a stranger with the same key; executions that revert.
//! - **The fold** (`protocol.rs`): rows follow the chain by compare-and-set.
//! - **Mishaps**, each as often as a run allows: a process loses its memory, a holder freezes past its term, a reorg, a stranger's
//!   transaction, a revert, a bump or a wish to cancel.
//!
//! # What stands for what
//! Each of these makes the model smaller and no less hostile:
//! - *Sent* means that any later block may contain it, for ever. That is every delay, repetition, eviction from a mempool and return from a
//!   reorg at once, and it makes an endpoint's answer irrelevant: a timeout, `already known` or a lie changes nothing that can follow.
//!   That a transaction was lost is the order in which no block contains it; that nothing depends on luck is what `closing.rs` shows.
//! - *A frozen process* is one that takes no step, and it wakes with its next one: with an old token, an old cache, bytes that it has signed
//!   and bytes that it may still send. *A crashed* one is at once a fresh one, so two nodes are as many as ever come up.
//! - *The fold reads the chain itself*, when it wants to. A journal that lags makes it write later what was so earlier. What is final stays
//!   so, and each other row that it writes would have been written in time by the same fold in another order, which is explored too.
//! - *A request that is accepted later* is one that nobody picks yet. That it is accepted once is a unique key, not an order of steps.
//! - *A commit that is not answered* was a commit or a rollback, after which the node reads its window again, as a taker does: both are here.
//! - *An expired request* takes the way of a cancelled one, by the clock's wish instead of a person's; *replaced* is another word for an
//!   end by a competing attempt.
//!
//! # What is not modelled
//! Fees and whether a bump is mined, the order in which requests enter, several signers (they share nothing), the database's own isolation
//! (the lease's module argues that), restored backups, finality that breaks. The unique keys of the tables are not used as guards: what
//! must hold because of the order of the steps is shown without them.
//!
//! # How much is explored
//! About a million states in the runs that every test does, seconds each; `--ignored --nocapture` adds the larger ones. Each run prints
//! what it visited.
//!
//! # Why so little is enough
//! Each race that we know has at most two writers, two transactions at one nonce or one request at two nonces, and a mishap or two between
//! them. A second request shows a nonce given twice; three nonces hold two requests and a stranger, and the fourth is room for a variant
//! to go wrong in. `variants.rs` takes each guard away and finds the harm within a part of these bounds. `witnesses.rs` shows that what
//! the bounds are for does happen in them. The checker tells states apart by 64-bit fingerprints: among five million, two
//! would share one with a probability below one in a million.

mod actions;
mod closing;
mod packing;
mod properties;
mod protocol;
mod state;
mod transactions;
mod variants;
mod window;
mod witnesses;

use std::time::Instant;

use stateright::Checker;

use crate::protocol::{Bounds, Protocol};
use crate::state::Mishaps;

const NONE: Mishaps =
    Mishaps { crashes: 0, freezes: 0, reorgs: 0, foreign: 0, reverts: 0, second_thoughts: 0 };

/// Says how many states there were, if every property holds in each.
fn explore(requests: u8, mishaps: Mishaps) {
    let begun = Instant::now();
    let checker = properties::hold(Protocol::new(Bounds { requests, mishaps }), 2);
    println!(
        "{requests} requests, {mishaps:?}: {} states by {} steps, at most {} deep, in {:.1} s",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        begun.elapsed().as_secs_f32()
    );
}

#[test]
fn two_requests_through_a_crash_a_frozen_holder_a_reorg_and_a_stranger() {
    explore(2, Mishaps { crashes: 1, freezes: 1, reorgs: 1, foreign: 1, ..NONE });
}

#[test]
fn two_requests_and_a_second_thought_through_a_crash_a_frozen_holder_and_a_reorg() {
    explore(2, Mishaps { crashes: 1, freezes: 1, reorgs: 1, second_thoughts: 1, ..NONE });
}

#[test]
fn two_requests_and_a_second_thought_through_a_reorg_a_stranger_and_a_revert() {
    explore(2, Mishaps { reorgs: 1, foreign: 1, reverts: 1, second_thoughts: 1, ..NONE });
}

#[test]
fn one_request_through_everything() {
    explore(1, Mishaps { crashes: 1, freezes: 1, reorgs: 1, foreign: 1, reverts: 1, second_thoughts: 2 });
}

#[test]
#[ignore = "a minute or more: four million states"]
fn two_requests_and_a_second_thought_through_a_crash_a_frozen_holder_a_reorg_and_a_stranger() {
    explore(2, Mishaps { crashes: 1, freezes: 1, reorgs: 1, foreign: 1, second_thoughts: 1, ..NONE });
}

#[test]
#[ignore = "a minute or more: five million states"]
fn three_requests_through_a_crash_a_frozen_holder_and_a_stranger() {
    explore(3, Mishaps { crashes: 1, freezes: 1, foreign: 1, ..NONE });
}
