//! The state: one signer's rows in the database, the nodes' memories, the chain, and what is in the air between them.

use crate::transactions::{NONCES, Payload, REQUESTS, Tx, Txs};

/// What consumed a nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Inclusion {
    pub(crate) payload: Payload,
    pub(crate) succeeded: bool,
}

/// How deep an inclusion lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Depth {
    Seen,
    Confirmed,
    Final,
}

/// The sender's canonical history. Nonces are consumed in order, one transaction each, so the n-th inclusion is nonce n's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Chain {
    pub(crate) inclusions: [Option<Inclusion>; NONCES as usize],
    /// The account's nonce at the head, `latest`.
    pub(crate) latest: u8,
    /// The nonces below it are at the confirmation depth.
    pub(crate) confirmed: u8,
    /// No reorg goes below it.
    pub(crate) finalized: u8,
    /// The highest `latest` that there ever was.
    pub(crate) highest: u8,
    /// The nonce of the stranger's transaction, once it was sent.
    pub(crate) foreign: Option<u8>,
}

impl Chain {
    pub(crate) fn at(&self, nonce: u8) -> Option<(Inclusion, Depth)> {
        let depth = match nonce {
            _ if nonce < self.finalized => Depth::Final,
            _ if nonce < self.confirmed => Depth::Confirmed,
            _ => Depth::Seen,
        };
        self.inclusions[usize::from(nonce)].map(|inclusion| (inclusion, depth))
    }

    /// How often the canonical chain executed a request.
    pub(crate) fn effects_of(&self, request: u8) -> usize {
        let executed =
            |inclusion: &&Inclusion| inclusion.succeeded && inclusion.payload.effect_of() == Some(request);
        self.inclusions.iter().flatten().filter(executed).count()
    }

    pub(crate) fn include(&mut self, payload: Payload, succeeded: bool) {
        self.inclusions[usize::from(self.latest)] = Some(Inclusion { payload, succeeded });
        self.latest += 1;
        self.highest = self.highest.max(self.latest);
    }

    /// Another branch becomes canonical, which has only the inclusions below `to` in common with this one.
    pub(crate) fn reorg(&mut self, to: u8) {
        for nonce in to..self.latest {
            self.inclusions[usize::from(nonce)] = None;
        }
        self.latest = to;
        self.confirmed = self.confirmed.min(to);
    }
}

/// `transaction_state`. `expired` takes the way of `cancelled` and `replaced` is its other name: see the crate's head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum RowState {
    /// There is no such request in this run.
    #[default]
    Absent,
    Pending,
    Tracking,
    Mined,
    Confirmed,
    Failed,
    Cancelled,
}

/// A row of `managed_transactions`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Row {
    pub(crate) state: RowState,
    pub(crate) nonce: Option<u8>,
    /// Somebody asked for its end.
    pub(crate) cancel: bool,
}

/// The lease's row: what the database's own clock and the last taker say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Lease {
    pub(crate) token: u8,
    pub(crate) expired: bool,
}

/// Bytes that were signed and are not committed: memory, not more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Prepared {
    /// The requests of the batch, a bit each; they get consecutive nonces in order.
    pub(crate) batch: u8,
    /// The first predicted nonce.
    pub(crate) first: u8,
    /// What the quorum called `latest` before it was signed. The chain may have moved since.
    pub(crate) latest: u8,
    /// The holder looked at its own clock and found the lease in its term (only where a variant believes that clock).
    pub(crate) in_term: bool,
    /// Its transaction has begun and read the lease's row.
    pub(crate) begun: bool,
}

impl Prepared {
    pub(crate) fn requests(self) -> impl Iterator<Item = u8> {
        (0..REQUESTS).filter(move |request| self.batch & (1 << request) != 0)
    }

    /// What was signed, in the order of the nonces.
    pub(crate) fn transactions(self) -> impl Iterator<Item = Tx> {
        (self.first..)
            .zip(self.requests())
            .map(|(nonce, request)| Tx { nonce, payload: Payload::Send(request) })
    }

    /// The first nonce above the batch.
    pub(crate) fn end(self) -> u8 {
        self.first + u8::try_from(self.batch.count_ones()).unwrap_or(u8::MAX)
    }
}

/// A process. What it has is lost with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Node {
    /// The token that it believes to hold, 0 for none.
    pub(crate) token: u8,
    /// The next nonce, as far as it knows.
    pub(crate) cache: u8,
    pub(crate) prepared: Option<Prepared>,
    /// Committed attempts that it knows of and that nobody has sent yet: what it will send, or send again.
    pub(crate) outbox: Txs,
}

/// How often each mishap may still happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Mishaps {
    pub(crate) crashes: u8,
    /// How often a holder misses its term.
    pub(crate) freezes: u8,
    pub(crate) reorgs: u8,
    pub(crate) foreign: u8,
    pub(crate) reverts: u8,
    /// Bumps and wishes to cancel.
    pub(crate) second_thoughts: u8,
}

/// Everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) chain: Chain,
    pub(crate) lease: Lease,
    /// `signers.next_nonce`.
    pub(crate) next_nonce: u8,
    pub(crate) rows: [Row; REQUESTS as usize],
    /// `transaction_attempts`, but for those whose nonce is final.
    pub(crate) committed: Txs,
    /// Sent at least once, so that a block may contain it from now on for ever; or it was lost.
    pub(crate) airborne: Txs,
    /// In order: which is which makes no difference.
    pub(crate) nodes: [Node; 2],
    pub(crate) left: Mishaps,
    /// A success was declared that the chain did not show at its depth.
    pub(crate) misjudged: bool,
    /// What has happened on the way here, where a run watches for it (`witnesses.rs`); else 0.
    pub(crate) witnessed: u16,
}

impl State {
    /// A request that is accepted later is one that nobody has picked yet.
    pub(crate) fn new(requests: u8, left: Mishaps) -> Self {
        let mut rows = [Row::default(); REQUESTS as usize];
        rows[..usize::from(requests)].fill(Row { state: RowState::Pending, ..Row::default() });
        Self {
            chain: Chain::default(),
            lease: Lease { token: 0, expired: true },
            next_nonce: 0,
            rows,
            committed: Txs::default(),
            airborne: Txs::default(),
            nodes: Default::default(),
            left,
            misjudged: false,
            witnessed: 0,
        }
    }

    /// The node whose token is in force, or would be if its term had not ended.
    pub(crate) fn holder(&self) -> Option<usize> {
        self.nodes.iter().position(|node| node.token != 0 && node.token == self.lease.token)
    }

    pub(crate) fn row(&self, request: u8) -> &Row {
        &self.rows[usize::from(request)]
    }

    pub(crate) fn row_mut(&mut self, request: u8) -> &mut Row {
        &mut self.rows[usize::from(request)]
    }

    /// Makes equal what no later step can tell apart: the nodes' order, a second send of the same bytes, attempts at nonces that are
    /// consumed for good, and what a node remembers of a window that it must read again.
    pub(crate) fn normalize(&mut self) {
        let chain = &mut self.chain;
        let open = if self.left.reorgs == 0 { chain.latest } else { chain.finalized };
        self.airborne = self.airborne.from(open);
        self.committed = self.committed.from(open);
        let held = |nonce| !self.committed.at(nonce).is_empty();
        if (chain.latest..chain.highest.min(self.next_nonce)).all(held) && chain.highest <= self.next_nonce {
            chain.highest = chain.latest;
        }
        for node in &mut self.nodes {
            node.outbox = node.outbox.from(open).without(self.airborne);
            if node.token == 0 {
                node.cache = 0;
            }
        }
        self.nodes.sort_unstable();
    }
}
