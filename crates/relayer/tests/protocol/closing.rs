//! No permanent gap: from every state that was reached, the protocol alone comes to an end.
//!
//! `stateright`'s *eventually* looks at paths without cycles, and here nearly everything may be put off for ever. What must be
//! shown is stronger anyway: whatever has happened so far, no luck is needed from here. So each state is closed: no more mishaps, all that
//! was sent is lost (what would arrive is in a state of its own, which is closed as well), and each step that is due is taken, in a
//! fixed order, until none is. Then every accepted request must have ended, every nonce that was given must be consumed, and the chain must
//! show one effect for each success and none for any other end.
//!
//! Two ways: the holder goes on from its own memory; and every process is dead, and a new one starts from the database.
//!
//! The order is fixed, so a closed state's successor is closed as well: what one closing passed through, no other goes through again.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::actions::Action;
use crate::protocol::{Protocol, Variant};
use crate::state::{Lease, Mishaps, Node, RowState, State};
use crate::transactions::{NONCES, Payload, Tx, Txs};

/// More than any closing within the bounds takes: each step is taken at most once a request, a nonce or a transaction.
const MOST_STEPS: usize = 200;

impl Protocol {
    pub(crate) fn ends(&self, state: &State) -> bool {
        let holder = state.holder().filter(|_| !state.lease.expired);
        let stays = holder.is_none_or(|holder| {
            let it = state.nodes[holder];
            let known = it.outbox.or(state.airborne.and(state.committed));
            self.closes(lonely(state, Node { outbox: known, ..it }))
        });
        stays && self.closes(lonely(state, Node::default()))
    }

    fn closes(&self, mut state: State) -> bool {
        let mut passed = Vec::new();
        for _ in 0..MOST_STEPS {
            let mut hasher = DefaultHasher::new();
            state.hash(&mut hasher);
            let fingerprint = hasher.finish();
            if self.closed.lock().is_ok_and(|closed| closed.contains(&fingerprint)) {
                break;
            }
            passed.push(fingerprint);
            match self.due(&state) {
                Some(step) => state = self.after(&state, step),
                None if has_ended(&state) => break,
                None => return false,
            }
        }
        if passed.len() == MOST_STEPS {
            return false;
        }
        self.closed.lock().is_ok_and(|mut closed| {
            closed.extend(passed);
            true
        })
    }

    /// The step that a fair scheduler takes next. The one node that lives is the last: the other has nothing, and sorts before it.
    fn due(&self, state: &State) -> Option<Action> {
        let node = 1;
        if state.holder().is_none() {
            return Some(if state.lease.expired { Action::Take { node } } else { Action::Expire });
        }
        let it = &state.nodes[node];
        if let Some(prepared) = it.prepared {
            return Some(if prepared.begun { Action::Commit { node } } else { Action::Begin { node } });
        }
        if let Some(tx) = it.outbox.iter().next() {
            return Some(Action::Send { node, tx });
        }
        let next = state.chain.latest;
        let requests = 0..self.bounds.requests;
        requests
            .clone()
            .find(|request| self.folded(state, *request) != *state.row(*request))
            .map(|request| Action::Fold { request })
            .or_else(|| self.competes(state, node))
            .or_else(|| (next < NONCES).then(|| state.airborne.at(next).dearest()).flatten().map(included))
            .or_else(|| {
                let hole = next < state.next_nonce
                    && state.committed.at(next).is_empty()
                    && !self.is(Variant::NoFill);
                hole.then_some(Action::Fill { node, nonce: next })
            })
            .or_else(|| {
                let batch = requests
                    .clone()
                    .find(|request| state.row(*request).state == RowState::Pending)
                    .map(|request| 1 << request)?;
                self.may_enter(state, node, batch, next).then_some(Action::Prepare { node, batch })
            })
            .or_else(|| (state.chain.confirmed < next).then_some(Action::Confirm))
            .or_else(|| (state.chain.finalized < state.chain.confirmed).then_some(Action::Finalize))
    }

    fn competes(&self, state: &State, node: usize) -> Option<Action> {
        let wished = |request: &u8| {
            let row = state.row(*request);
            let unsigned = |nonce| {
                let noop = Tx { nonce, payload: Payload::Noop(*request) };
                nonce >= state.chain.latest && !state.committed.contains(noop)
            };
            row.cancel && row.state == RowState::Tracking && row.nonce.is_some_and(unsigned)
        };
        (0..self.bounds.requests).find(wished).map(|request| Action::Compete { node, request })
    }
}

fn included(tx: Tx) -> Action {
    Action::Include { tx, succeeds: true }
}

/// The state with one node and nothing in the air, where nothing goes wrong any more.
fn lonely(state: &State, node: Node) -> State {
    let mut state = state.clone();
    state.left = Mishaps::default();
    state.airborne = Txs::default();
    state.chain.highest = state.chain.latest;
    state.chain.foreign = None;
    // Which token it is makes no difference from here, but that it is not the first.
    let stays = node.token != 0;
    state.lease = Lease { token: if stays { 2 } else { 1 }, expired: !stays };
    state.nodes = [Node::default(), Node { token: if stays { 2 } else { 0 }, ..node }];
    state.normalize();
    state
}

fn has_ended(state: &State) -> bool {
    let ended = (0..).zip(&state.rows).all(|(request, row)| {
        let effects = state.chain.effects_of(request);
        match row.state {
            RowState::Absent | RowState::Failed | RowState::Cancelled => effects == 0,
            RowState::Confirmed => effects == 1,
            RowState::Pending | RowState::Tracking | RowState::Mined => false,
        }
    });
    ended && state.chain.latest >= state.next_nonce
}
