//! That the properties can fail: each guard of the protocol is taken away once, and a named property notices.
//!
//! The same bounds hold with the guard in place: what is found is the guard's absence.

use std::collections::BTreeSet;

use stateright::{Checker, HasDiscoveries, Model};

use crate::NONE;
use crate::properties::{
    self, COMMITTED_FIRST, COUNTED_ON, ENDS, EVIDENCE, NO_LATE_EFFECT, NONE_PASSED_OVER, ONE_EFFECT,
    ONE_REQUEST, TABLE,
};
use crate::protocol::{Bounds, Protocol, Variant};
use crate::state::Mishaps;

/// Shows a way to each of the named properties' end.
fn is_caught(variant: Variant, requests: u8, mishaps: Mishaps, by: &[&'static str]) {
    let bounds = Bounds { requests, mishaps };
    properties::hold(Protocol::new(bounds), 1);
    let checker = Protocol::broken(bounds, variant)
        .checker()
        .finish_when(HasDiscoveries::AllOf(BTreeSet::from_iter(by.iter().copied())))
        .spawn_bfs()
        .join();
    for property in by {
        let path = checker.discovery(property);
        let path = path.unwrap_or_else(|| panic!("{variant:?} does not break {property:?}"));
        println!("{variant:?} breaks {property:?}: {:?}", path.into_actions());
    }
}

#[test]
fn a_commit_that_does_not_look_at_the_lease() {
    is_caught(Variant::NoFencing, 1, Mishaps { freezes: 1, ..NONE }, &[COUNTED_ON, ENDS]);
}

#[test]
fn a_lease_that_is_read_and_not_locked() {
    is_caught(Variant::NoLock, 1, Mishaps { freezes: 1, ..NONE }, &[COUNTED_ON, ENDS]);
}

#[test]
fn a_term_judged_by_the_holders_clock() {
    is_caught(Variant::HolderClock, 1, Mishaps { freezes: 1, ..NONE }, &[COUNTED_ON, ENDS]);
}

#[test]
fn bytes_sent_before_they_are_committed() {
    is_caught(Variant::BroadcastBeforeCommit, 2, NONE, &[COMMITTED_FIRST, NO_LATE_EFFECT, ONE_EFFECT]);
}

#[test]
fn a_cache_that_moves_before_the_commit() {
    is_caught(Variant::CacheBeforeCommit, 1, NONE, &[NONE_PASSED_OVER]);
}

#[test]
fn a_cache_that_a_refusal_does_not_lower() {
    let mishaps = Mishaps { foreign: 1, reorgs: 1, second_thoughts: 1, ..NONE };
    is_caught(Variant::CacheNeverFalls, 2, mishaps, &[ENDS]);
}

#[test]
fn a_commit_without_an_answer_that_is_taken_for_a_rollback() {
    is_caught(Variant::UnansweredIsRolledBack, 1, NONE, &[COUNTED_ON, ENDS]);
}

#[test]
fn a_prediction_that_is_not_verified() {
    is_caught(Variant::NotVerified, 2, Mishaps { freezes: 1, crashes: 1, ..NONE }, &[ONE_REQUEST]);
}

#[test]
fn one_lying_endpoint_that_is_believed() {
    is_caught(Variant::PendingBelieved, 1, NONE, &[NONE_PASSED_OVER]);
}

#[test]
fn a_new_holder_that_gives_an_attempted_request_another_nonce() {
    is_caught(Variant::NewNonceAfterTakeover, 1, Mishaps { crashes: 1, ..NONE }, &[ONE_EFFECT]);
}

#[test]
fn a_new_holder_that_does_not_send_again() {
    is_caught(Variant::NoRebroadcast, 1, Mishaps { crashes: 1, ..NONE }, &[COUNTED_ON, ENDS]);
}

#[test]
fn a_new_holder_that_forgets_what_a_reorg_may_take_back() {
    let mishaps = Mishaps { crashes: 1, foreign: 1, reorgs: 1, ..NONE };
    is_caught(Variant::ForgetsConsumed, 1, mishaps, &[COUNTED_ON, ENDS]);
}

#[test]
fn a_gap_that_nobody_fills() {
    is_caught(Variant::NoFill, 1, Mishaps { foreign: 1, reorgs: 1, ..NONE }, &[ENDS]);
}

#[test]
fn a_displaced_request_that_waits_again_before_finality() {
    let mishaps = Mishaps { foreign: 1, reorgs: 1, ..NONE };
    is_caught(Variant::RequeueBeforeFinality, 1, mishaps, &[NO_LATE_EFFECT, ONE_EFFECT]);
}

#[test]
fn a_displaced_request_that_keeps_its_nonce() {
    is_caught(Variant::RequeuedWithNonce, 1, Mishaps { foreign: 1, ..NONE }, &[TABLE]);
}

#[test]
fn a_success_declared_when_it_is_seen() {
    is_caught(Variant::ConfirmedWhenSeen, 1, NONE, &[EVIDENCE]);
}

#[test]
fn a_success_that_is_never_revised() {
    is_caught(Variant::NeverRevised, 1, Mishaps { reorgs: 1, reverts: 1, ..NONE }, &[ENDS]);
}

#[test]
fn a_failure_declared_at_the_confirmation_depth() {
    let mishaps = Mishaps { reverts: 1, reorgs: 1, ..NONE };
    is_caught(Variant::FailedAtDepth, 1, mishaps, &[EVIDENCE, NO_LATE_EFFECT]);
}

#[test]
fn a_cancellation_declared_when_its_no_op_is_sent() {
    is_caught(
        Variant::CancelledWhenSent,
        1,
        Mishaps { second_thoughts: 1, ..NONE },
        &[EVIDENCE, NO_LATE_EFFECT],
    );
}

#[test]
fn a_failure_declared_for_what_a_reorg_took_back() {
    is_caught(Variant::TakenBackIsFailed, 1, Mishaps { reorgs: 1, ..NONE }, &[EVIDENCE, NO_LATE_EFFECT]);
}
