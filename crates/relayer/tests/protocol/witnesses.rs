//! That the model is not empty: what must be able to happen in it.
//!
//! A state does not know what happened on the way to it, so a watched run carries that along. It is another, larger space, which is
//! searched only until everything was seen.

use std::collections::BTreeSet;

use stateright::{Checker, HasDiscoveries, Model, Property};

use crate::NONE;
use crate::protocol::{Bounds, Protocol};
use crate::state::{Mishaps, Row, RowState, State};
use crate::transactions::Payload;

const TAKEN_IN_FLIGHT: &str = "a node takes over with attempts in flight";
const SENT_LATE: &str = "a holder that was frozen sends after another has taken over";
const FENCED: &str = "a transaction is fenced";
const COMMITTED_LATE: &str = "a term ends inside a transaction that then commits";
const DISCARDED: &str = "signed bytes are discarded";
const TAKEN_BACK: &str = "a reorg takes back what was mined";
const REVISED: &str = "a success is revised";
const REQUEUED: &str = "a displaced request waits again";
const REQUEUED_EXECUTED: &str = "a displaced request is executed at another nonce";
const CANCEL_WON: &str = "a no-op wins";
const CANCEL_LOST: &str = "a no-op loses";
const BUMP_WON: &str = "a bump wins";
const REVERTED: &str = "a request fails for good";
const FILLED: &str = "a gap is filled";

/// Something that was seen to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Witness {
    TakenInFlight,
    SentLate,
    Fenced,
    CommittedLate,
    Discarded,
    TakenBack,
    Revised,
    Requeued,
    RequeuedExecuted,
    CancelWon,
    CancelLost,
    BumpWon,
    Reverted,
    Filled,
}

impl Witness {
    pub(crate) fn bit(self) -> u16 {
        1 << self as u16
    }

    fn seen(self, state: &State) -> bool {
        state.witnessed & self.bit() != 0
    }

    pub(crate) fn properties() -> Vec<Property<Protocol>> {
        vec![
            Property::sometimes(TAKEN_IN_FLIGHT, |_, state| Self::TakenInFlight.seen(state)),
            Property::sometimes(SENT_LATE, |_, state| Self::SentLate.seen(state)),
            Property::sometimes(FENCED, |_, state| Self::Fenced.seen(state)),
            Property::sometimes(COMMITTED_LATE, |_, state| Self::CommittedLate.seen(state)),
            Property::sometimes(DISCARDED, |_, state| Self::Discarded.seen(state)),
            Property::sometimes(TAKEN_BACK, |_, state| Self::TakenBack.seen(state)),
            Property::sometimes(REVISED, |_, state| Self::Revised.seen(state)),
            Property::sometimes(REQUEUED, |_, state| Self::Requeued.seen(state)),
            Property::sometimes(REQUEUED_EXECUTED, |_, state| Self::RequeuedExecuted.seen(state)),
            Property::sometimes(CANCEL_WON, |_, state| Self::CancelWon.seen(state)),
            Property::sometimes(CANCEL_LOST, |_, state| Self::CancelLost.seen(state)),
            Property::sometimes(BUMP_WON, |_, state| Self::BumpWon.seen(state)),
            Property::sometimes(REVERTED, |_, state| Self::Reverted.seen(state)),
            Property::sometimes(FILLED, |_, state| Self::Filled.seen(state)),
        ]
    }
}

impl Protocol {
    pub(crate) fn witness_fold(&self, state: &mut State, request: u8, before: &Row, after: &Row) {
        let payload = before.nonce.and_then(|nonce| state.chain.at(nonce)).map(|(it, _)| it.payload);
        let happened = match (before.state, after.state) {
            (RowState::Mined, RowState::Tracking) => Witness::TakenBack,
            (RowState::Confirmed, RowState::Tracking | RowState::Mined) => Witness::Revised,
            (_, RowState::Pending) => Witness::Requeued,
            (_, RowState::Cancelled) => Witness::CancelWon,
            (_, RowState::Failed) => Witness::Reverted,
            (_, RowState::Confirmed) if payload == Some(Payload::Bump(request)) => Witness::BumpWon,
            (_, RowState::Confirmed) if before.cancel => Witness::CancelLost,
            // There is one stranger, and one request where this is asked: it is the one that was displaced.
            (_, RowState::Confirmed) if Witness::Requeued.seen(state) => Witness::RequeuedExecuted,
            _ => return,
        };
        self.witness(state, happened);
    }
}

fn happens(requests: u8, mishaps: Mishaps, what: &[&'static str]) {
    let checker = Protocol::watched(Bounds { requests, mishaps })
        .checker()
        .finish_when(HasDiscoveries::AllOf(BTreeSet::from_iter(what.iter().copied())))
        .spawn_bfs()
        .join();
    for property in what {
        let path = checker.discovery(property).unwrap_or_else(|| panic!("it never happens that {property}"));
        println!("{property}: {:?}", path.into_actions());
    }
}

#[test]
fn holders_change_with_work_in_hand() {
    happens(1, Mishaps { freezes: 1, ..NONE }, &[TAKEN_IN_FLIGHT, SENT_LATE, FENCED, COMMITTED_LATE]);
}

#[test]
fn the_chain_changes_its_mind() {
    let all = [TAKEN_BACK, REVISED, REQUEUED, REQUEUED_EXECUTED, REVERTED, FILLED];
    happens(1, Mishaps { reorgs: 1, foreign: 1, reverts: 1, ..NONE }, &all);
}

#[test]
fn attempts_compete_for_a_nonce() {
    happens(2, Mishaps { second_thoughts: 1, ..NONE }, &[CANCEL_WON, CANCEL_LOST, BUMP_WON, DISCARDED]);
}
