//! What must hold in every state.

use stateright::{Checker, HasDiscoveries, Model, Property};

use crate::protocol::Protocol;
use crate::state::{Depth, Row, RowState, State};
use crate::transactions::{NONCES, Payload, REQUESTS};

pub(crate) const ONE_EFFECT: &str = "a request has at most one effect";
pub(crate) const ONE_REQUEST: &str = "a nonce has one request at a time";
pub(crate) const TABLE: &str = "rows keep their table's checks";
pub(crate) const COMMITTED_FIRST: &str = "only committed bytes are sent";
pub(crate) const EVIDENCE: &str = "no verdict without evidence";
pub(crate) const NO_LATE_EFFECT: &str = "an ended or waiting request can have no effect behind its back";
pub(crate) const COUNTED_ON: &str = "the holder counts on every committed attempt";
pub(crate) const NONE_PASSED_OVER: &str = "no nonce is passed over that the chain had not consumed";
pub(crate) const ENDS: &str = "every request can still end, with no gap left";

pub(crate) fn all() -> Vec<Property<Protocol>> {
    vec![
        Property::always(ONE_EFFECT, |_, state| one_effect(state)),
        Property::always(ONE_REQUEST, |_, state| one_request(state)),
        Property::always(TABLE, |_, state| table(state)),
        Property::always(COMMITTED_FIRST, |_, state| committed_first(state)),
        Property::always(EVIDENCE, |_, state| evidence(state)),
        Property::always(NO_LATE_EFFECT, |_, state| no_late_effect(state)),
        Property::always(COUNTED_ON, |_, state| counted_on(state)),
        Property::always(NONE_PASSED_OVER, |_, state| none_passed_over(state)),
        Property::always(ENDS, Protocol::ends),
    ]
}

/// Visits every state, on that many threads, and asserts all of it in each.
pub(crate) fn hold(model: Protocol, threads: usize) -> impl Checker<Protocol> {
    let checker =
        model.checker().threads(threads).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    if let Some((property, path)) = checker.discoveries().into_iter().next() {
        let end = path.last_state().clone();
        panic!("not so that {property}: {:?} ends in {end:?}", path.into_actions());
    }
    assert!(checker.is_done(), "states are left that were not visited");
    checker
}

/// On the canonical chain at any depth, not only on its final part.
fn one_effect(state: &State) -> bool {
    (0..REQUESTS).all(|request| state.chain.effects_of(request) <= 1)
}

fn one_request(state: &State) -> bool {
    let held = |nonce| state.rows.iter().filter(|row| row.nonce == Some(nonce)).count();
    let signed_for = |nonce| {
        let mut owners = state.committed.at(nonce).iter().map(|tx| tx.payload.owner());
        let first = owners.next();
        owners.all(|owner| Some(owner) == first)
    };
    (0..NONCES).all(|nonce| held(nonce) <= 1 && signed_for(nonce))
}

/// `migrations/0016_relayer.sql`: what waits has no nonce, what is on its way has one.
fn table(state: &State) -> bool {
    state.rows.iter().all(|row| match row.state {
        RowState::Absent | RowState::Pending => row.nonce.is_none(),
        RowState::Tracking | RowState::Mined | RowState::Confirmed | RowState::Failed => row.nonce.is_some(),
        RowState::Cancelled => true,
    })
}

fn committed_first(state: &State) -> bool {
    state.airborne.without(state.committed).is_empty()
}

/// A verdict other than success stands on a final block, or on there being no attempt; a success was shown at its depth.
fn evidence(state: &State) -> bool {
    let finally = |row: &Row, is: &dyn Fn(Payload, bool) -> bool| {
        let shown = row.nonce.and_then(|nonce| state.chain.at(nonce));
        shown.is_some_and(|(it, depth)| depth == Depth::Final && is(it.payload, it.succeeded))
    };
    !state.misjudged
        && (0..).zip(&state.rows).all(|(request, row)| {
            let own = |payload: Payload| payload.effect_of() == Some(request);
            match row.state {
                RowState::Failed => finally(row, &|payload, succeeded| own(payload) && !succeeded),
                RowState::Cancelled if row.nonce.is_none() => row.cancel,
                RowState::Cancelled => row.cancel && finally(row, &|payload, _| !own(payload)),
                RowState::Absent
                | RowState::Pending
                | RowState::Tracking
                | RowState::Mined
                | RowState::Confirmed => true,
            }
        })
}

/// Whoever is told that a request failed, was cancelled or waits again may rely on it: no attempt is left that a block could contain.
fn no_late_effect(state: &State) -> bool {
    (0..).zip(&state.rows).all(|(request, row)| {
        let settled = matches!(
            row.state,
            RowState::Pending | RowState::Failed | RowState::Cancelled | RowState::Absent
        );
        let open = state.committed.or(state.airborne).from(state.chain.finalized);
        !settled || (open.effects_of(request).is_empty() && state.chain.effects_of(request) == 0)
    })
}

/// What a frozen holder may send when it wakes is what its successor sends too.
fn counted_on(state: &State) -> bool {
    let unsent = state.committed.without(state.airborne);
    state.holder().is_none_or(|holder| unsent.without(state.nodes[holder].outbox).is_empty())
}

fn none_passed_over(state: &State) -> bool {
    (state.chain.highest..state.next_nonce).all(|nonce| !state.committed.at(nonce).is_empty())
}
