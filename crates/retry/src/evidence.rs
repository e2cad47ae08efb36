//! What has to be known for a job's status to change, and what of it is kept.

use std::time::Duration;

use alloy_primitives::Address;
use uuid::Uuid;

/// What a change writes beside the status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Columns {
    pub(crate) action: &'static str,
    pub(crate) note: String,
    pub(crate) attempt: Option<Taken>,
    pub(crate) transaction_id: Option<Uuid>,
    pub(crate) retry_in: Option<Duration>,
    pub(crate) ended_seq: Option<i64>,
}

/// What has to be known for a change.
pub trait Evidence {
    /// What of it is kept.
    fn columns(self) -> Columns;
}

/// A worker takes it for an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Which attempt, from 1.
    pub attempt: u32,
    /// The attempt's request.
    pub request_id: Uuid,
    /// Who is to sign.
    pub signer: Address,
    /// The worker's fencing token.
    pub fencing_token: i64,
}

impl Evidence for Taken {
    fn columns(self) -> Columns {
        let note = format!("attempt {}", self.attempt);
        Columns { action: "retry", note, attempt: Some(self), ..Columns::default() }
    }
}

/// It was looked at, and its attempt may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// The block that it was looked at on.
    pub block_number: u64,
}

impl Evidence for Ready {
    fn columns(self) -> Columns {
        let note = format!("nothing stands in its way on block {}", self.block_number);
        Columns { action: "submit", note, ..Columns::default() }
    }
}

/// Its attempt is on record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Under this id.
    pub transaction_id: Uuid,
}

impl Evidence for Accepted {
    fn columns(self) -> Columns {
        let (note, transaction_id) = ("it is on record as a transaction".into(), Some(self.transaction_id));
        Columns { action: "accepted", note, transaction_id, ..Columns::default() }
    }
}

/// The attempt failed, for good: nothing of it comes any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// Why, for people.
    pub why: String,
    /// When it is tried again.
    pub retry_in: Duration,
}

impl Evidence for Failed {
    fn columns(self) -> Columns {
        Columns { action: "failed", note: self.why, retry_in: Some(self.retry_in), ..Columns::default() }
    }
}

/// The attempt failed, for good, and was the last one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exhausted {
    /// Why, for people.
    pub why: String,
}

impl Evidence for Exhausted {
    fn columns(self) -> Columns {
        Columns { action: "deadletter", note: self.why, ..Columns::default() }
    }
}

/// A healing event of its key is in the journal, of its own transaction or after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Healed {
    /// The event's record.
    pub journal_seq: i64,
}

impl Evidence for Healed {
    fn columns(self) -> Columns {
        let note = "the view has it, since its own transaction or later".into();
        Columns { action: "succeed", note, ended_seq: Some(self.journal_seq), ..Columns::default() }
    }
}

/// Nothing of it is under way, and there is nothing to heal: others did, its failures left the chain, or another job has its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needless {
    /// The record that says so, where one does.
    pub journal_seq: Option<i64>,
    /// Why, for people.
    pub why: String,
}

impl Needless {
    /// Others healed it: so says this record.
    #[must_use]
    pub fn healed(journal_seq: i64) -> Self {
        Self { journal_seq: Some(journal_seq), why: "others healed it".into() }
    }

    /// What failed is not on the chain any more.
    #[must_use]
    pub fn without_failure() -> Self {
        Self { journal_seq: None, why: "the failure that it was for left the chain".into() }
    }
}

impl Evidence for Needless {
    fn columns(self) -> Columns {
        Columns { action: "superseded", note: self.why, ended_seq: self.journal_seq, ..Columns::default() }
    }
}

/// Its attempt ended without success, for good, and meanwhile there is nothing to heal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedNeedless {
    /// Why there is nothing to heal.
    pub needless: Needless,
    /// Why the attempt failed, for people.
    pub failure: String,
}

impl Evidence for EndedNeedless {
    fn columns(self) -> Columns {
        let mut columns = self.needless.columns();
        columns.note = format!("{}; its attempt had failed: {}", columns.note, self.failure);
        columns
    }
}

/// An operator leaves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// Why.
    pub note: String,
}

impl Evidence for Left {
    fn columns(self) -> Columns {
        Columns { action: "ignore", note: self.note, ..Columns::default() }
    }
}

/// A reorganisation took back what had ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TakenBack {
    /// The record that was taken back.
    pub journal_seq: i64,
}

impl Evidence for TakenBack {
    fn columns(self) -> Columns {
        let note = format!("record {}, which had ended it, left the chain", self.journal_seq);
        Columns { action: "taken_back", note, ..Columns::default() }
    }
}
