//! An event of a batch: what it says, and what the apply log will say of it.

use alloy_primitives::{Address, U256};
use plimsoll_journal::{Event, Record};
use plimsoll_types::{ApplyStatus, RequestId};
use serde_json::Value;

use super::Poison;
use crate::plan::{Action, Plan, write_key, write_object};
use crate::reason::LATE_HISTORY;

/// What the apply log says of an event.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) status: ApplyStatus,
    pub(crate) code: Option<&'static str>,
    pub(crate) detail: Option<Value>,
}

impl Outcome {
    pub(crate) fn plain(status: ApplyStatus) -> Self {
        Self { status, code: None, detail: None }
    }

    /// It came late, and the mirror has a later event's.
    pub(crate) fn late() -> Self {
        Self { code: Some(LATE_HISTORY), ..Self::plain(ApplyStatus::Ignored) }
    }

    /// Why it was refused, where it was.
    pub(crate) fn reject_code(&self) -> Option<&'static str> {
        self.code.filter(|_| self.status == ApplyStatus::Rejected)
    }

    pub(crate) fn rejected(code: &'static str, detail: Value) -> Self {
        Self { status: ApplyStatus::Rejected, code: Some(code), detail: Some(detail) }
    }
}

/// What an event says, decoded as far as the fold needs it.
#[derive(Clone, Debug)]
pub(crate) enum Says {
    Position {
        slot: usize,
        collateral: U256,
        debt: U256,
        version: u64,
    },
    /// `version` is the one that the mirror has the same request id at.
    Replay {
        slot: usize,
        version: Option<u64>,
    },
    Push,
    Failure {
        view: Address,
        code: &'static str,
    },
    Mirror {
        slot: usize,
    },
    Trail,
    Ignored,
}

/// An event of the batch.
#[derive(Debug)]
pub(crate) struct Item<'a> {
    pub(crate) record: &'a Record,
    pub(crate) event: &'a Event,
    /// `None`: no ABI knows it.
    pub(crate) plan: Option<&'a Plan>,
    pub(crate) user: Option<Address>,
    pub(crate) asset: Option<Address>,
    /// Its own, else its push's.
    pub(crate) request_id: Option<RequestId>,
    pub(crate) seq: Option<u64>,
    pub(crate) says: Says,
    /// The push's answer or the answer's push, as an index into the items.
    pub(crate) counterpart: Option<usize>,
    pub(crate) outcome: Outcome,
    /// Its record's index in the batch.
    pub(super) at: usize,
}

impl<'a> Item<'a> {
    /// An event of which nothing is decoded yet.
    pub(crate) fn bare(
        record: &'a Record,
        event: &'a Event,
        plan: Option<&'a Plan>,
        outcome: Outcome,
    ) -> Self {
        Self {
            record,
            event,
            plan,
            user: None,
            asset: None,
            request_id: None,
            seq: None,
            says: Says::Ignored,
            counterpart: None,
            outcome,
            at: 0,
        }
    }

    fn poison(&self, reason: String) -> Poison {
        Poison { seq: self.record.seq, reason }
    }

    /// The value parameters of a mirrored or trailed event, as a JSON object.
    pub(crate) fn value(&self) -> Result<String, Poison> {
        let (Action::Mirror { value, .. } | Action::Trail { value, .. }) = self.action() else {
            return Ok("{}".into());
        };
        let mut json = Vec::new();
        write_object(value, self.event, &mut json).map_err(|reason| self.poison(reason))?;
        String::from_utf8(json).map_err(|error| self.poison(error.to_string()))
    }

    /// The key parameters of a mirrored or trailed event.
    pub(crate) fn key(&self) -> Result<String, Poison> {
        let (Action::Mirror { key, .. } | Action::Trail { key, .. }) = self.action() else {
            return Ok(String::new());
        };
        let mut text = Vec::new();
        write_key(key, self.event, &mut text).map_err(|reason| self.poison(reason))?;
        String::from_utf8(text).map_err(|error| self.poison(error.to_string()))
    }

    fn action(&self) -> &Action {
        self.plan.map_or(&Action::Ignored, |plan| &plan.action)
    }
}
