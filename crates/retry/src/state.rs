//! The states of a job, as types: a change that the diagram does not have does not compile.
//!
//! ```text
//!                 ┌──────────── it failed, and may be tried again ◀──────────────┐
//!                 ▼                                                              │
//!   Queued ──▶ Backoff                                                           │
//!      │          │     is taken            is to be sent           is on record │
//!      └──────────┴──────────▶ Leased ──────────▶ Submitted ──────────▶ AwaitingEvent
//!      │          │               │                   │                    │  ▲
//!      │          │               │                   └──── it healed ─────┤  │ the healing left the chain
//!      │          │               │ it failed for the last time            ▼  │
//!      │          │               └──────────▶ Deadletter ◀────        Succeeded
//!      │          │                                │
//!      └──────────┴──── healed by others, ─────────┴──────▶ Superseded ──▶ Queued, Deadletter
//!                       or the failure left the chain         the healing left the chain
//! ```
//!
//! What nobody is trying may be `Ignored` by an operator. An attempt that failed for good leaves its job `Superseded`, too, where there is nothing to heal any more.
//!
//! A [`Change`] can be made only with its evidence, and what writes to the database takes nothing but changes. Nothing is sent for what was not committed as to be sent:
//!
//! ```compile_fail
//! # use plimsoll_retry::state::{Accepted, AwaitingEvent, Change, Leased};
//! # let id = uuid::Uuid::nil();
//! let change: Change<Leased, AwaitingEvent> = Change::new(id, Accepted { transaction_id: id });
//! ```
//!
//! What may have been sent is not called off because it was healed meanwhile:
//!
//! ```compile_fail
//! # use plimsoll_retry::state::{AwaitingEvent, Change, Needless, Superseded};
//! # let id = uuid::Uuid::nil();
//! let change: Change<AwaitingEvent, Superseded> = Change::new(id, Needless::healed(7));
//! ```
//!
//! And what was not sent has not succeeded:
//!
//! ```compile_fail
//! # use plimsoll_retry::state::{Change, Healed, Queued, Succeeded};
//! # let id = uuid::Uuid::nil();
//! let change: Change<Queued, Succeeded> = Change::new(id, Healed { journal_seq: 7 });
//! ```

use std::fmt;
use std::marker::PhantomData;

use serde::Serialize;
use uuid::Uuid;

pub use crate::evidence::{
    Accepted, Columns, EndedNeedless, Evidence, Exhausted, Failed, Healed, Left, Needless, Ready, Taken,
    TakenBack,
};

/// Where a job stands (spec 1 §7), as a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "cache_retry_status", rename_all = "snake_case")]
pub enum Status {
    /// It waits to be tried, or asked for.
    Queued,
    /// A worker has taken it for its next attempt. Nothing has been sent of that.
    Leased,
    /// Its attempt is being handed in: it may have left the building.
    Submitted,
    /// Its attempt is on record with whoever sends it. The chain decides.
    AwaitingEvent,
    /// The view says that it has what it lacked.
    Succeeded,
    /// An attempt failed. It waits for the next one.
    Backoff,
    /// The last attempt failed: a person is needed.
    Deadletter,
    /// An operator said to leave it.
    Ignored,
    /// There is nothing to heal any more.
    Superseded,
}

impl Status {
    /// Every status.
    pub const ALL: &[Self] = &[
        Self::Queued,
        Self::Leased,
        Self::Submitted,
        Self::AwaitingEvent,
        Self::Succeeded,
        Self::Backoff,
        Self::Deadletter,
        Self::Ignored,
        Self::Superseded,
    ];

    /// The name in Postgres, events and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Leased => "leased",
            Self::Submitted => "submitted",
            Self::AwaitingEvent => "awaiting_event",
            Self::Succeeded => "succeeded",
            Self::Backoff => "backoff",
            Self::Deadletter => "deadletter",
            Self::Ignored => "ignored",
            Self::Superseded => "superseded",
        }
    }

    /// Whether it is its key's open job: further failures of that key are its own.
    #[must_use]
    pub fn is_open(self) -> bool {
        !matches!(self, Self::Succeeded | Self::Ignored | Self::Superseded)
    }

    /// Whether an attempt may have left the building, and has not ended.
    #[must_use]
    pub fn is_in_flight(self) -> bool {
        matches!(self, Self::Submitted | Self::AwaitingEvent)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A status, as a type.
pub trait State {
    /// The same, as a value.
    const STATUS: Status;
}

/// That there is an arrow from this state to that one, and what has to be known for it.
pub trait Becomes<To: State>: State {
    /// The evidence.
    type Because: Evidence;
}

/// A change of one job's status.
#[derive(Debug)]
pub struct Change<From: Becomes<To>, To: State> {
    /// Which job.
    pub job_id: Uuid,
    /// Why it changes.
    pub because: From::Because,
    to: PhantomData<To>,
}

impl<From: Becomes<To>, To: State> Change<From, To> {
    /// A change, with its evidence.
    #[must_use]
    pub fn new(job_id: Uuid, because: From::Because) -> Self {
        Self { job_id, because, to: PhantomData }
    }
}

macro_rules! states {
    ($($name:ident),+ $(,)?) => {
        $(
            #[doc = concat!("[`Status::", stringify!($name), "`].")]
            #[derive(Clone, Copy, Debug)]
            pub struct $name;

            impl State for $name {
                const STATUS: Status = Status::$name;
            }
        )+
    };
}

states!(Queued, Leased, Submitted, AwaitingEvent, Succeeded, Backoff, Deadletter, Ignored, Superseded);

macro_rules! arrows {
    ($($from:ident => $to:ident because $because:ty),+ $(,)?) => {
        $(
            impl Becomes<$to> for $from {
                type Because = $because;
            }
        )+

        /// Every arrow of the diagram.
        pub const ARROWS: &[(Status, Status)] = &[$((Status::$from, Status::$to)),+];
    };
}

arrows!(
    Queued => Leased because Taken,
    Backoff => Leased because Taken,
    Leased => Submitted because Ready,
    Leased => Backoff because Failed,
    Leased => Deadletter because Exhausted,
    Submitted => AwaitingEvent because Accepted,
    Submitted => Succeeded because Healed,
    Submitted => Backoff because Failed,
    Submitted => Deadletter because Exhausted,
    Submitted => Superseded because EndedNeedless,
    AwaitingEvent => Succeeded because Healed,
    AwaitingEvent => Backoff because Failed,
    AwaitingEvent => Deadletter because Exhausted,
    AwaitingEvent => Superseded because EndedNeedless,
    Queued => Superseded because Needless,
    Leased => Superseded because Needless,
    Backoff => Superseded because Needless,
    Deadletter => Superseded because Needless,
    Queued => Ignored because Left,
    Backoff => Ignored because Left,
    Deadletter => Ignored because Left,
    Succeeded => Submitted because TakenBack,
    Succeeded => AwaitingEvent because TakenBack,
    Succeeded => Superseded because Needless,
    Superseded => Queued because TakenBack,
    Superseded => Deadletter because TakenBack,
);

/// A change without its types: what is written.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) job_id: Uuid,
    pub(crate) from: Status,
    pub(crate) to: Status,
    pub(crate) columns: Columns,
}

impl<A: Becomes<B>, B: State> From<Change<A, B>> for Step {
    fn from(change: Change<A, B>) -> Self {
        let columns = change.because.columns();
        Self { job_id: change.job_id, from: A::STATUS, to: B::STATUS, columns }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_can_be_reached_and_what_is_open_can_be_left() {
        for status in Status::ALL {
            let reached = *status == Status::Queued || ARROWS.iter().any(|(_, to)| to == status);
            let leaves = ARROWS.iter().any(|(from, _)| from == status);
            assert!(reached, "{status} cannot be reached");
            assert!(leaves || !status.is_open(), "{status} cannot be left");
        }
    }

    #[test]
    fn what_may_have_left_the_building_is_only_reached_through_its_commitment() {
        for (from, to) in ARROWS.iter().filter(|(_, to)| to.is_in_flight()) {
            let is_committed = (*from, *to) == (Status::Leased, Status::Submitted)
                || *from == Status::Submitted
                || *from == Status::Succeeded;
            assert!(is_committed, "{from} becomes {to}");
        }
    }
}
