//! That the model is not empty: what must be able to happen in it.
//!
//! A state does not know what happened on the way to it, so a watched run carries that along. It is another, larger space, which is
//! searched only until everything was seen.

use stateright::Property;

use crate::protocol::Protocol;
use crate::state::{Row, RowState, State};
use crate::transactions::Payload;

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
            Property::sometimes("a node takes over with attempts in flight", |_, s| Self::TakenInFlight.seen(s)),
            Property::sometimes("a holder that was frozen sends late", |_, s| Self::SentLate.seen(s)),
            Property::sometimes("a commit is fenced", |_, s| Self::Fenced.seen(s)),
            Property::sometimes("a term ends inside a transaction", |_, s| Self::CommittedLate.seen(s)),
            Property::sometimes("a prediction is discarded", |_, s| Self::Discarded.seen(s)),
            Property::sometimes("a reorg takes back what was mined", |_, s| Self::TakenBack.seen(s)),
            Property::sometimes("a success is revised", |_, s| Self::Revised.seen(s)),
            Property::sometimes("a displaced request waits again", |_, s| Self::Requeued.seen(s)),
            Property::sometimes("and is executed", |_, s| Self::RequeuedExecuted.seen(s)),
            Property::sometimes("a no-op wins", |_, s| Self::CancelWon.seen(s)),
            Property::sometimes("a no-op loses", |_, s| Self::CancelLost.seen(s)),
            Property::sometimes("a bump wins", |_, s| Self::BumpWon.seen(s)),
            Property::sometimes("a request reverts for good", |_, s| Self::Reverted.seen(s)),
            Property::sometimes("a gap is filled", |_, s| Self::Filled.seen(s)),
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
