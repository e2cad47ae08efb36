//! The protocol as `stateright` sees it: its bounds, its variants, and the steps' effects on the lease, the rows and the chain.

use std::collections::HashSet;
use std::sync::Mutex;

use stateright::{Model, Property};

use crate::actions::{Action, lie};
use crate::properties;
use crate::state::{Depth, Mishaps, Node, Row, RowState, State};
use crate::transactions::{Payload, Tx};
use crate::witnesses::Witness;

/// How much happens in one run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// At most [`crate::transactions::REQUESTS`].
    pub(crate) requests: u8,
    pub(crate) mishaps: Mishaps,
}

/// What is wrong in a broken variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variant {
    /// The transactions do not look at the lease.
    NoFencing,
    /// They read it as it is, and do not lock it.
    NoLock,
    /// The term is judged by the holder's own clock, before the commit.
    HolderClock,
    /// Bytes are sent as soon as they are signed.
    BroadcastBeforeCommit,
    /// The cache moves when the batch is signed, and is believed where it is ahead of the rows.
    CacheBeforeCommit,
    /// A refused prediction leaves the cache where it was, as `max(chain, cache, db + 1)` may be read.
    CacheNeverFalls,
    /// A commit whose answer is lost is taken for a rollback.
    UnansweredIsRolledBack,
    /// The transaction does not compare the predicted nonce with the rows.
    NotVerified,
    /// One endpoint's `pending` is believed.
    PendingBelieved,
    /// A new holder gives an attempted request another nonce.
    NewNonceAfterTakeover,
    /// A new holder does not send again what its predecessor committed.
    NoRebroadcast,
    /// It leaves out what the head, which may be taken back, has consumed.
    ForgetsConsumed,
    /// A nonce that nobody holds is left alone.
    NoFill,
    /// A displaced request goes back to the queue as soon as the stranger is seen.
    RequeueBeforeFinality,
    /// It keeps its nonce there.
    RequeuedWithNonce,
    /// A success is a verdict as soon as it is seen.
    ConfirmedWhenSeen,
    /// A success is never looked at again.
    NeverRevised,
    /// A revert is a verdict at the confirmation depth.
    FailedAtDepth,
    /// A request is cancelled when its no-op is sent.
    CancelledWhenSent,
    /// What a reorg took back has failed.
    TakenBackIsFailed,
}

/// The protocol, or one of its broken variants, within bounds.
#[derive(Debug)]
pub(crate) struct Protocol {
    pub(crate) bounds: Bounds,
    pub(crate) variant: Option<Variant>,
    /// Whether the state remembers what happened, for the properties that ask whether it ever does.
    pub(crate) watched: bool,
    /// States from which a fair end was reached: `closing.rs`.
    pub(crate) closed: Mutex<HashSet<u64>>,
}

impl Protocol {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self { bounds, variant: None, watched: false, closed: Mutex::default() }
    }

    pub(crate) fn broken(bounds: Bounds, variant: Variant) -> Self {
        Self { variant: Some(variant), ..Self::new(bounds) }
    }

    pub(crate) fn watched(bounds: Bounds) -> Self {
        Self { watched: true, ..Self::new(bounds) }
    }

    pub(crate) fn is(&self, variant: Variant) -> bool {
        self.variant == Some(variant)
    }

    pub(crate) fn witness(&self, state: &mut State, witness: Witness) {
        if self.watched {
            state.witnessed |= witness.bit();
        }
    }

    /// The state after a step that is possible.
    pub(crate) fn after(&self, state: &State, action: Action) -> State {
        let mut next = state.clone();
        self.take_step(&mut next, action);
        next.normalize();
        next
    }

    fn take_step(&self, state: &mut State, action: Action) {
        match action {
            Action::AskCancel { request } => ask_cancel(state, request),
            Action::Expire => {
                state.left.freezes -= u8::from(state.holder().is_some());
                state.lease.expired = true;
            }
            Action::Take { node } => self.take(state, node),
            Action::Renew { .. } => state.lease.expired = false,
            Action::Crash { node } => {
                state.left.crashes -= 1;
                state.nodes[node] = Node::default();
            }
            Action::Prepare { node, batch } => {
                let latest = state.chain.latest;
                self.prepare(state, node, batch, latest);
            }
            Action::PrepareOnLie { node, batch } => {
                let pending = lie(state);
                self.prepare(state, node, batch, pending);
            }
            Action::Begin { node } => self.begin(state, node),
            Action::Commit { node } => self.commit(state, node),
            Action::CommitUnanswered { node } => {
                let before = state.nodes[node];
                self.commit(state, node);
                state.nodes[node] = Node { prepared: None, ..before };
            }
            Action::Abort { node } => state.nodes[node].prepared = None,
            Action::Bump { node, request } => {
                state.left.second_thoughts -= 1;
                attempt(state, node, state.row(request).nonce, Payload::Bump(request));
            }
            Action::Compete { node, request } => {
                attempt(state, node, state.row(request).nonce, Payload::Noop(request));
            }
            Action::Fill { node, nonce } => attempt(state, node, Some(nonce), Payload::Fill),
            Action::Send { node, tx } => self.send(state, node, tx),
            Action::SendPrepared { node } => {
                let signed = state.nodes[node].prepared;
                signed.iter().flat_map(|it| it.transactions()).for_each(|tx| state.airborne.insert(tx));
            }
            Action::Include { tx, succeeds } => {
                if tx.payload == Payload::Fill {
                    self.witness(state, Witness::Filled);
                }
                state.left.reverts -= u8::from(!succeeds);
                state.chain.include(tx.payload, succeeds);
            }
            Action::IncludeForeign => {
                if state.chain.foreign.replace(state.chain.latest).is_none() {
                    state.left.foreign -= 1;
                }
                state.chain.include(Payload::Foreign, true);
            }
            Action::Confirm => state.chain.confirmed += 1,
            Action::Finalize => state.chain.finalized += 1,
            Action::Reorg { to } => {
                state.left.reorgs -= 1;
                state.chain.reorg(to);
            }
            Action::Fold { request } => self.fold(state, request),
        }
    }

    /// What the journal makes of a row. The fold is a compare-and-set, so that it does nothing where this is the row.
    pub(crate) fn folded(&self, state: &State, request: u8) -> Row {
        let row = *state.row(request);
        let (RowState::Tracking | RowState::Mined | RowState::Confirmed, Some(nonce)) =
            (row.state, row.nonce)
        else {
            return row;
        };
        if row.state == RowState::Confirmed && self.is(Variant::NeverRevised) {
            return row;
        }
        let to = |state| Row { state, ..row };
        let Some((inclusion, depth)) = state.chain.at(nonce) else {
            let taken_back = row.state != RowState::Tracking;
            let failed = taken_back && self.is(Variant::TakenBackIsFailed);
            return to(if failed { RowState::Failed } else { RowState::Tracking });
        };
        let succeeds_at = if self.is(Variant::ConfirmedWhenSeen) { Depth::Seen } else { Depth::Confirmed };
        let fails_at = if self.is(Variant::FailedAtDepth) { Depth::Confirmed } else { Depth::Final };
        let requeued_at = if self.is(Variant::RequeueBeforeFinality) { Depth::Seen } else { Depth::Final };
        match inclusion.payload {
            payload if payload.effect_of() == Some(request) => match inclusion.succeeded {
                true if depth >= succeeds_at => to(RowState::Confirmed),
                false if depth >= fails_at => to(RowState::Failed),
                _ => to(RowState::Mined),
            },
            Payload::Noop(owner) if owner == request => {
                to(if depth == Depth::Final { RowState::Cancelled } else { RowState::Mined })
            }
            _ if depth < requeued_at => to(RowState::Tracking),
            _ if row.cancel => to(RowState::Cancelled),
            _ if self.is(Variant::RequeuedWithNonce) => to(RowState::Pending),
            _ => Row { state: RowState::Pending, nonce: None, cancel: false },
        }
    }

    fn fold(&self, state: &mut State, request: u8) {
        let (before, after) = (*state.row(request), self.folded(state, request));
        let shown = before.nonce.and_then(|nonce| state.chain.at(nonce)).is_some_and(|(inclusion, depth)| {
            depth >= Depth::Confirmed && inclusion.succeeded && inclusion.payload.effect_of() == Some(request)
        });
        state.misjudged |= after.state == RowState::Confirmed && !shown;
        *state.row_mut(request) = after;
        self.witness_fold(state, request, &before, &after);
    }
}

/// Before any attempt it is the end at once; after one it is a wish.
fn ask_cancel(state: &mut State, request: u8) {
    state.left.second_thoughts -= 1;
    let row = state.row_mut(request);
    row.cancel = true;
    if row.state == RowState::Pending {
        row.state = RowState::Cancelled;
    }
}

/// Another attempt at a nonce that has one, or a fill: bound to that nonce, so there is nothing to predict.
fn attempt(state: &mut State, node: usize, nonce: Option<u8>, payload: Payload) {
    if let Some(nonce) = nonce {
        let tx = Tx { nonce, payload };
        state.committed.insert(tx);
        state.nodes[node].outbox.insert(tx);
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new(self.bounds.requests, self.bounds.mishaps)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.possible(state, actions);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        Some(self.after(state, action))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        if self.watched { Witness::properties() } else { properties::all() }
    }
}
