//! What can be signed: each transaction that the model knows, and sets of them.

use std::fmt;

/// Array sizes: the bounds of a run may be smaller, not larger.
pub(crate) const REQUESTS: u8 = 3;
/// One nonce a request, and one that a stranger consumes.
pub(crate) const NONCES: u8 = 4;

/// Per request a send, a bump and a no-op; a fill; a stranger's.
const KINDS: u8 = REQUESTS * 3 + 2;
const FILL: u8 = REQUESTS * 3;
const FOREIGN: u8 = FILL + 1;

/// What a transaction does on the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Payload {
    /// The effect that a request asked for.
    Send(u8),
    /// The same effect for a higher fee.
    Bump(u8),
    /// Nothing: it competes with that request's effect for the nonce.
    Noop(u8),
    /// Nothing: it fills a nonce that nobody holds.
    Fill,
    /// A stranger's, signed with the same key.
    Foreign,
}

impl Payload {
    /// The request whose effect it has, if it succeeds.
    pub(crate) fn effect_of(self) -> Option<u8> {
        match self {
            Self::Send(request) | Self::Bump(request) => Some(request),
            Self::Noop(_) | Self::Fill | Self::Foreign => None,
        }
    }

    /// The request that it was signed for.
    pub(crate) fn owner(self) -> Option<u8> {
        match self {
            Self::Send(request) | Self::Bump(request) | Self::Noop(request) => Some(request),
            Self::Fill | Self::Foreign => None,
        }
    }
}

/// Signed bytes: equal ones have one hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Tx {
    pub(crate) nonce: u8,
    pub(crate) payload: Payload,
}

impl Tx {
    /// A number of its own, in the order of the nonces.
    pub(crate) fn index(self) -> u8 {
        let kind = match self.payload {
            Payload::Send(request) => request * 3,
            Payload::Bump(request) => request * 3 + 1,
            Payload::Noop(request) => request * 3 + 2,
            Payload::Fill => FILL,
            Payload::Foreign => FOREIGN,
        };
        self.nonce * KINDS + kind
    }

    fn of(index: u8) -> Self {
        let (nonce, kind) = (index / KINDS, index % KINDS);
        let payload = match kind {
            FILL => Payload::Fill,
            FOREIGN => Payload::Foreign,
            _ => match kind % 3 {
                0 => Payload::Send(kind / 3),
                1 => Payload::Bump(kind / 3),
                _ => Payload::Noop(kind / 3),
            },
        };
        Self { nonce, payload }
    }
}

/// A set of signed transactions, ordered by nonce.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Txs(u64);

impl Txs {
    pub(crate) fn insert(&mut self, tx: Tx) {
        self.0 |= 1 << tx.index();
    }

    pub(crate) fn contains(self, tx: Tx) -> bool {
        self.0 & (1 << tx.index()) != 0
    }

    pub(crate) fn bits(self) -> u64 {
        self.0
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(crate) fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Those at that nonce.
    pub(crate) fn at(self, nonce: u8) -> Self {
        Self(self.0 & (((1 << KINDS) - 1) << (nonce * KINDS)))
    }

    /// Those at that nonce or a later one.
    pub(crate) fn from(self, nonce: u8) -> Self {
        Self(self.0 & (u64::MAX << (nonce * KINDS)))
    }

    /// Those with the effect of a request.
    pub(crate) fn effects_of(self, request: u8) -> Self {
        let mut both = 0;
        for nonce in 0..NONCES {
            both |= 0b11 << (nonce * KINDS + request * 3);
        }
        Self(self.0 & both)
    }

    /// The one that pays most: a no-op outbids a bump, a bump the first send.
    pub(crate) fn dearest(self) -> Option<Tx> {
        self.0.checked_ilog2().and_then(|index| u8::try_from(index).ok()).map(Tx::of)
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = Tx> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let index = u8::try_from(rest.trailing_zeros()).ok().filter(|index| *index < 64)?;
            rest &= rest - 1;
            Some(Tx::of(index))
        })
    }
}

impl fmt::Debug for Txs {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_set().entries(self.iter()).finish()
    }
}
