//! What can happen next, by whose hand.

use crate::protocol::{Protocol, Variant};
use crate::state::{Node, RowState, State};
use crate::transactions::{NONCES, Payload, REQUESTS, Tx};

/// One step. `node` is an index into [`State::nodes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Somebody asks for a request's end.
    AskCancel { request: u8 },
    /// The term ends by the database's clock: the holder is gone, or it stopped where it stands (SIGSTOP, a long pause, a partition from
    /// the database). It wakes with its next step, which may come at any time and finds its memory as it was.
    Expire,
    /// A node writes the next token and reads what the signer has in flight.
    Take { node: usize },
    /// The holder is late, and nobody took its lease.
    Renew { node: usize },
    /// Its memory is lost.
    Crash { node: usize },
    /// Nonces are predicted and the batch is signed, in memory.
    Prepare { node: usize, batch: u8 },
    /// As `Prepare`, on the word of an endpoint whose `pending` is one too high.
    PrepareOnLie { node: usize, batch: u8 },
    /// The transaction that takes the nonces begins: it reads the lease's row.
    Begin { node: usize },
    /// It compares, writes and commits.
    Commit { node: usize },
    /// It commits, and the node hears of an error.
    CommitUnanswered { node: usize },
    /// It is rolled back: by the database, or because a taker that waits for it ends its session.
    Abort { node: usize },
    /// Another attempt with a higher fee.
    Bump { node: usize, request: u8 },
    /// Another attempt that does nothing.
    Compete { node: usize, request: u8 },
    /// A no-op for a nonce that no attempt holds and no block consumed.
    Fill { node: usize, nonce: u8 },
    /// Bytes leave the building.
    Send { node: usize, tx: Tx },
    /// Bytes leave the building that are in memory only.
    SendPrepared { node: usize },
    /// A block contains the transaction.
    Include { tx: Tx, succeeds: bool },
    /// A block contains a stranger's transaction.
    IncludeForeign,
    /// The oldest inclusion that is merely seen reaches the confirmation depth.
    Confirm,
    /// The oldest inclusion that is merely confirmed becomes final.
    Finalize,
    /// Another branch becomes canonical.
    Reorg { to: u8 },
    /// The fold writes what the journal says of a request.
    Fold { request: u8 },
}

impl Protocol {
    /// Every step that someone may take.
    pub(crate) fn possible(&self, state: &State, out: &mut Vec<Action>) {
        self.of_clients(state, out);
        self.of_the_lease(state, out);
        for node in 0..state.nodes.len() {
            self.of_the_window(state, node, out);
            self.of_attempts(state, node, out);
        }
        of_the_chain(state, out);
        for request in 0..self.bounds.requests {
            if self.folded(state, request) != *state.row(request) {
                out.push(Action::Fold { request });
            }
        }
    }

    fn of_clients(&self, state: &State, out: &mut Vec<Action>) {
        if state.left.second_thoughts > 0 {
            for request in 0..self.bounds.requests {
                let row = state.row(request);
                if !row.cancel && matches!(row.state, RowState::Pending | RowState::Tracking) {
                    out.push(Action::AskCancel { request });
                }
            }
        }
    }

    fn of_the_lease(&self, state: &State, out: &mut Vec<Action>) {
        let holder = state.holder();
        if !state.lease.expired && (holder.is_none() || state.left.freezes > 0) {
            out.push(Action::Expire);
        }
        for (node, it) in state.nodes.iter().enumerate() {
            if state.lease.expired {
                if holder == Some(node) {
                    out.push(Action::Renew { node });
                } else if !self.locked(state) {
                    out.push(Action::Take { node });
                }
            }
            if state.left.crashes > 0 && *it != Node::default() {
                out.push(Action::Crash { node });
            }
        }
    }

    fn of_the_window(&self, state: &State, node: usize, out: &mut Vec<Action>) {
        let it = &state.nodes[node];
        if it.token == 0 {
            return;
        }
        if let Some(prepared) = it.prepared {
            if prepared.begun {
                out.extend([Action::Commit { node }, Action::Abort { node }]);
                if self.is(Variant::UnansweredIsRolledBack) {
                    out.push(Action::CommitUnanswered { node });
                }
            } else {
                out.push(Action::Begin { node });
            }
            if self.is(Variant::BroadcastBeforeCommit) {
                out.push(Action::SendPrepared { node });
            }
        } else {
            let (believed, lie) = (state.chain.latest, lie(state));
            for batch in 1..1 << self.bounds.requests {
                if self.may_enter(state, node, batch, believed) {
                    out.push(Action::Prepare { node, batch });
                }
                if self.is(Variant::PendingBelieved) && self.may_enter(state, node, batch, lie) {
                    out.push(Action::PrepareOnLie { node, batch });
                }
            }
        }
    }

    fn of_attempts(&self, state: &State, node: usize, out: &mut Vec<Action>) {
        let it = &state.nodes[node];
        out.extend(it.outbox.iter().map(|tx| Action::Send { node, tx }));
        if it.token == 0 || !self.guarded(state, node) {
            return;
        }
        for request in 0..self.bounds.requests {
            let row = state.row(request);
            if let (RowState::Tracking, Some(nonce)) = (row.state, row.nonce) {
                let unsigned = |payload| !state.committed.contains(Tx { nonce, payload });
                if state.left.second_thoughts > 0 && unsigned(Payload::Bump(request)) {
                    out.push(Action::Bump { node, request });
                }
                if row.cancel && unsigned(Payload::Noop(request)) {
                    out.push(Action::Compete { node, request });
                }
            }
        }
        let hole = state.chain.latest;
        if hole < state.next_nonce && !self.is(Variant::NoFill) && state.committed.at(hole).is_empty() {
            out.push(Action::Fill { node, nonce: hole });
        }
    }

    /// Whether every request of the batch waits for a nonce, as far as the node can see, and the bounds have room for it.
    pub(crate) fn may_enter(&self, state: &State, node: usize, batch: u8, latest: u8) -> bool {
        let waits = |request: u8| {
            let row = state.row(request);
            row.state == RowState::Pending || self.taken_for_unsent(state, node, request)
        };
        let first = state.nodes[node].cache.max(latest);
        u32::from(first) + batch.count_ones() <= u32::from(NONCES)
            && (0..REQUESTS).filter(|request| batch & (1 << request) != 0).all(waits)
    }
}

/// The `pending` of an endpoint that counts a transaction too many.
pub(crate) fn lie(state: &State) -> u8 {
    state.chain.latest.max(state.next_nonce) + 1
}

fn of_the_chain(state: &State, out: &mut Vec<Action>) {
    let chain = &state.chain;
    if chain.latest < NONCES {
        for tx in state.airborne.at(chain.latest).iter() {
            out.push(Action::Include { tx, succeeds: true });
            if state.left.reverts > 0 && tx.payload.effect_of().is_some() {
                out.push(Action::Include { tx, succeeds: false });
            }
        }
        if chain.foreign == Some(chain.latest) || (chain.foreign.is_none() && state.left.foreign > 0) {
            out.push(Action::IncludeForeign);
        }
    }
    if chain.confirmed < chain.latest {
        out.push(Action::Confirm);
    }
    if chain.finalized < chain.confirmed {
        out.push(Action::Finalize);
    }
    if state.left.reorgs > 0 {
        out.extend((chain.finalized..chain.latest).map(|to| Action::Reorg { to }));
    }
}
