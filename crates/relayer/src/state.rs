//! The states of a managed transaction, as types: a change that the diagram does not have does not compile.
//!
//! ```text
//!            refused, called off, too late             reverted, called off, too late: in a final block
//!   Pending ───────────────────────────▶ Failed, Cancelled, Expired ◀──────────────────────────┐
//!    │  ▲                                                                                      │
//!    │  │ a stranger took the nonce, in a final block                                          │
//!    │  └──────────────────────────────┐                                                       │
//!    │ an attempt is committed         │      an attempt of ours is in a block                 │
//!    └────────────────────────────▶ Tracking ────────────────────────────────────────────▶ Mined
//!                                      │  ▲                                                 │  ▲
//!   Replaced ◀─────────────────────────┘  └─────────────────────────────────────────────────┘  │
//!      a stranger took the nonce, in a final block    its block left the chain                 │
//!                                                                                              │
//!                                                       Confirmed ◀── it succeeded, at depth ──┤
//!                                                           └── a deeper reorganisation ───────┘
//! ```
//!
//! A [`Change`] can be made only with its evidence, and what writes to the database takes nothing but changes:
//!
//! ```
//! use plimsoll_relayer::state::{Change, Committed, Pending, Tracking};
//! # let id = uuid::Uuid::nil();
//! let change: Change<Pending, Tracking> = Change::new(id, Committed { nonce: 7 });
//! ```
//!
//! Success is never claimed for what was not seen in a block:
//!
//! ```compile_fail
//! # use plimsoll_relayer::state::{Change, Confirmed, Tracking, AtDepth};
//! # let id = uuid::Uuid::nil();
//! let change: Change<Tracking, Confirmed> = Change::new(id, AtDepth { confirmed_number: 7 });
//! ```
//!
//! Nothing that may be with a node ends because somebody says so:
//!
//! ```compile_fail
//! # use plimsoll_relayer::state::{Change, Cancelled, Tracking, CalledOff};
//! # let id = uuid::Uuid::nil();
//! let change: Change<Tracking, Cancelled> = Change::new(id, CalledOff { why: String::new() });
//! ```
//!
//! And a failure is a failure for ever:
//!
//! ```compile_fail
//! # use plimsoll_relayer::state::{Change, Committed, Failed, Tracking};
//! # let id = uuid::Uuid::nil();
//! let change: Change<Failed, Tracking> = Change::new(id, Committed { nonce: 7 });
//! ```

use std::marker::PhantomData;

use alloy_primitives::B256;
use plimsoll_types::{Amount, AttemptPurpose, TransactionState};
use uuid::Uuid;

/// A state, as a type.
pub trait State {
    /// The same, as a value.
    const STATE: TransactionState;
}

/// That there is an arrow from this state to that one, and what has to be known for it.
pub trait Becomes<To: State>: State {
    /// The evidence.
    type Because;
}

/// A change of one transaction's state.
#[derive(Debug)]
pub struct Change<From: Becomes<To>, To: State> {
    /// Which transaction.
    pub transaction_id: Uuid,
    /// Why it changes.
    pub because: From::Because,
    to: PhantomData<To>,
}

impl<From: Becomes<To>, To: State> Change<From, To> {
    /// A change, with its evidence.
    #[must_use]
    pub fn new(transaction_id: Uuid, because: From::Because) -> Self {
        Self { transaction_id, because, to: PhantomData }
    }
}

macro_rules! states {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug)]
            pub struct $name;

            impl State for $name {
                const STATE: TransactionState = TransactionState::$name;
            }
        )+
    };
}

states!(
    /// [`TransactionState::Pending`].
    Pending,
    /// [`TransactionState::Tracking`].
    Tracking,
    /// [`TransactionState::Mined`].
    Mined,
    /// [`TransactionState::Confirmed`].
    Confirmed,
    /// [`TransactionState::Failed`].
    Failed,
    /// [`TransactionState::Replaced`].
    Replaced,
    /// [`TransactionState::Cancelled`].
    Cancelled,
    /// [`TransactionState::Expired`].
    Expired,
);

macro_rules! arrows {
    ($($from:ident => $to:ident because $because:ty),+ $(,)?) => {
        $(
            impl Becomes<$to> for $from {
                type Because = $because;
            }
        )+

        /// Every arrow of the diagram.
        pub const ARROWS: &[(TransactionState, TransactionState)] =
            &[$((TransactionState::$from, TransactionState::$to)),+];
    };
}

arrows!(
    Pending => Tracking because Committed,
    Pending => Failed because CalledOff,
    Pending => Cancelled because CalledOff,
    Pending => Expired because CalledOff,
    Tracking => Mined because Inclusion,
    Tracking => Pending because Displaced,
    Tracking => Replaced because Displaced,
    Mined => Tracking because Left,
    Mined => Confirmed because AtDepth,
    Mined => Failed because Final,
    Mined => Cancelled because Final,
    Mined => Expired because Final,
    Confirmed => Mined because Revised,
);

/// An attempt is committed, by the transaction that gives the nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The nonce, which is the request's until a final block says who consumed it.
    pub nonce: u64,
}

/// Nothing of it can have left the building, and nothing will.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CalledOff {
    /// Why, for people.
    pub why: String,
}

/// An attempt of ours is in a block of the canonical chain, which the journal has proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inclusion {
    /// The block.
    pub block_number: u64,
    /// The block.
    pub block_hash: B256,
    /// The transaction's hash.
    pub tx_hash: B256,
    /// Which of the attempts at this nonce.
    pub attempt: u32,
    /// What that attempt was for.
    pub purpose: AttemptPurpose,
    /// Whether it succeeded.
    pub succeeded: bool,
    /// Gas.
    pub gas_used: Amount,
    /// Wei.
    pub gas_paid_wei: Amount,
}

/// Its block left the canonical chain: it may come again, in this attempt or another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// The block that left.
    pub block_hash: B256,
}

/// It succeeded, and the chain's confirmation depth lies above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AtDepth {
    /// The block that reached the depth: its own, or a later one.
    pub confirmed_number: u64,
}

/// A reorganisation deeper than the confirmations takes its block away. Loud: somebody was told otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revised {
    /// The block that leaves.
    pub block_hash: B256,
}

/// What was included is in a final block, and it is not what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Final {
    /// The block that became final: its own, or a later one.
    pub final_number: u64,
}

/// A transaction that is none of ours consumed the nonce in a final block: nothing of this request can be included any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Displaced {
    /// The block that became final: the stranger's own, or a later one.
    pub final_number: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_can_be_reached_and_only_ends_are_left_for_good() {
        use TransactionState as S;
        for state in S::ALL {
            let leaves = ARROWS.iter().any(|(from, _)| from == state);
            let reached = ARROWS.iter().any(|(_, to)| to == state);
            assert!(reached, "{state} cannot be reached");
            assert_eq!(leaves, !state.is_end() || *state == S::Confirmed, "{state}");
        }
    }

    #[test]
    fn nothing_that_may_be_with_a_node_ends_but_through_a_block() {
        use TransactionState as S;
        for (from, to) in ARROWS {
            let is_end = to.is_end();
            assert!(!is_end || *from != S::Tracking || *to == S::Replaced, "{from} becomes {to}");
        }
    }
}
