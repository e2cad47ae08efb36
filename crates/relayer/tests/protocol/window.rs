//! The holder's part: the lease, the window, and what leaves the building.

use crate::protocol::{Protocol, Variant};
use crate::state::{Node, Prepared, RowState, State};
use crate::transactions::{Payload, Tx, Txs};
use crate::witnesses::Witness;

impl Protocol {
    /// What a transaction that writes asks the lease's row for: its token is in force, by the database's clock.
    pub(crate) fn guarded(&self, state: &State, node: usize) -> bool {
        let in_force = state.nodes[node].token == state.lease.token && !state.lease.expired;
        in_force || self.is(Variant::NoFencing)
    }

    /// Whether a transaction that has begun keeps takers waiting (`FOR KEY SHARE`). It ends by `Commit`, by `Abort` or with its process.
    pub(crate) fn locked(&self, state: &State) -> bool {
        let unlocked = [Variant::NoFencing, Variant::NoLock, Variant::HolderClock];
        let begun = |node: &Node| node.prepared.is_some_and(|prepared| prepared.begun);
        !self.variant.is_some_and(|variant| unlocked.contains(&variant)) && state.nodes.iter().any(begun)
    }

    /// The next token; then the window, as the database has it.
    pub(crate) fn take(&self, state: &mut State, node: usize) {
        let in_flight = state.committed.from(state.chain.latest);
        if state.lease.token > 0 && !in_flight.is_empty() {
            self.witness(state, Witness::TakenInFlight);
        }
        state.lease.token += 1;
        state.lease.expired = false;
        let it = &mut state.nodes[node];
        it.token = state.lease.token;
        it.cache = state.next_nonce;
        it.outbox = match self.variant {
            Some(Variant::NoRebroadcast) => Txs::default(),
            Some(Variant::ForgetsConsumed) => in_flight,
            _ => state.committed,
        };
    }

    /// A new holder's mistake: what it did not send itself was never sent.
    pub(crate) fn taken_for_unsent(&self, state: &State, node: usize, request: u8) -> bool {
        self.is(Variant::NewNonceAfterTakeover)
            && state.nodes[node].token > 1
            && state.row(request).state == RowState::Tracking
    }

    /// `latest` is what the chain is believed to have said.
    pub(crate) fn prepare(&self, state: &mut State, node: usize, batch: u8, latest: u8) {
        let in_term = self.is(Variant::HolderClock) && self.guarded(state, node);
        let it = &mut state.nodes[node];
        let prepared = Prepared { batch, first: it.cache.max(latest), latest, in_term, begun: false };
        if self.is(Variant::CacheBeforeCommit) {
            it.cache = prepared.end();
        }
        it.prepared = Some(prepared);
    }

    /// The first statement of the transaction. Whoever is fenced forgets what was signed, and its lease.
    pub(crate) fn begin(&self, state: &mut State, node: usize) {
        let Some(mut prepared) = state.nodes[node].prepared else { return };
        prepared.begun =
            if self.is(Variant::HolderClock) { prepared.in_term } else { self.guarded(state, node) };
        let it = &mut state.nodes[node];
        it.prepared = prepared.begun.then_some(prepared);
        if !prepared.begun {
            it.token = 0;
            self.witness(state, Witness::Fenced);
        }
    }

    /// The rest of it: the prediction, the attempts, the rows. The memory follows the commit. A commit that is not answered is one of the
    /// two, `Commit` or `Abort`, and the node reads the window again, as a taker does.
    pub(crate) fn commit(&self, state: &mut State, node: usize) {
        let Some(prepared) = state.nodes[node].prepared.take() else { return };
        if state.lease.expired {
            self.witness(state, Witness::CommittedLate);
        }
        let expected = prepared.latest.max(state.next_nonce);
        let wanted = |request: u8| {
            state.row(request).state == RowState::Pending || self.taken_for_unsent(state, node, request)
        };
        if !self.verified(prepared.first, expected) || !prepared.requests().all(wanted) {
            let stale = if self.is(Variant::CacheNeverFalls) { prepared.first } else { 0 };
            state.nodes[node].cache = state.next_nonce.max(stale);
            self.witness(state, Witness::Discarded);
            return;
        }
        for tx in prepared.transactions() {
            state.committed.insert(tx);
            state.nodes[node].outbox.insert(tx);
            if let Some(request) = tx.payload.owner() {
                let row = state.row_mut(request);
                row.state = RowState::Tracking;
                row.nonce = Some(tx.nonce);
            }
        }
        state.next_nonce = state.next_nonce.max(prepared.end());
        let it = &mut state.nodes[node];
        it.cache = it.cache.max(state.next_nonce);
    }

    /// Whether the predicted nonce is the one that the rows and the chain ask for.
    fn verified(&self, predicted: u8, expected: u8) -> bool {
        match self.variant {
            Some(Variant::NotVerified) => true,
            // Where the cache runs ahead of the commits, it must be allowed to.
            Some(Variant::CacheBeforeCommit) => predicted >= expected,
            _ => predicted == expected,
        }
    }

    /// Whether the answer comes, or says the truth, changes nothing: what was sent may be in a block from now on, and may be lost.
    pub(crate) fn send(&self, state: &mut State, node: usize, tx: Tx) {
        state.airborne.insert(tx);
        if state.nodes[node].token != state.lease.token {
            self.witness(state, Witness::SentLate);
        }
        if let (true, Payload::Noop(request)) = (self.is(Variant::CancelledWhenSent), tx.payload) {
            state.row_mut(request).state = RowState::Cancelled;
        }
    }
}
