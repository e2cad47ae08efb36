//! Routes that change something, and the keys under which they do it once. What a client is promised is in `docs/idempotency.md`.
//!
//! A route that changes something is made by `gateway::Routes::write`. Its handler gets an [`Execution`] and gives back an
//! [`Answered`], and there are two ways from one to the other:
//!
//! - [`Execution::begin_effects`] opens a transaction for the effects, which [`Effect::commit`] ends together with key and answer. Effects outside
//!   the database come after [`Effect::advance`].
//! - [`Execution::hand_over`] gives the claim to a batch writer, which commits for many; its word makes the [`Answered`].
//!
//! A handler can therefore not answer with what it did not commit, nor commit without leaving the answer and, for effects, an entry in the audit. An error says that the request
//! was not executed; it is not kept. A rejection that is an outcome is committed like any other answer, as a [`Reply`] made of
//! its problem. A 5xx is never kept, and a stream cannot be a [`Reply`].
//!
//! What comes first: authentication and limits (layers outside), the key's form, the body's size, the extractors, then the claim, then the
//! handler. All that is refused before the claim leaves no trace.

mod execute;
mod execution;
mod header;
mod reply;

pub use execute::ApiVersion;
pub(crate) use execute::execute;
pub use execution::{Effect, Execution, Form};
pub use reply::{Answered, ContentHeader, Reply};

use plimsoll_bus::audit::RecordError;
use plimsoll_store::idempotency::IdempotencyError;

use crate::problem::{Problem, ProblemKind};
use crate::repo::RepoError;

/// Why effects were not committed.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Of key and answer.
    #[error(transparent)]
    Key(#[from] IdempotencyError),
    /// The audit refused its entry.
    #[error(transparent)]
    Audit(#[from] RecordError),
}

impl From<CommitError> for Problem {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Key(error) => error.into(),
            CommitError::Audit(error) => error.into(),
        }
    }
}

impl From<RecordError> for Problem {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::Database(error) => RepoError::from(error).into(),
            error => {
                tracing::error!(%error, "a change could not be put on record, so it was not made");
                Self::new(ProblemKind::Internal, "the change could not be put on record, so it was not made")
            }
        }
    }
}

impl From<IdempotencyError> for Problem {
    fn from(error: IdempotencyError) -> Self {
        match error {
            IdempotencyError::Database(error) => RepoError::from(error).into(),
            IdempotencyError::Fenced { .. } => {
                Self::new(ProblemKind::RequestInFlight, "another attempt at this request has taken over")
            }
            IdempotencyError::TooManyItems { .. } => {
                Self::new(ProblemKind::InvalidParameter, error.to_string())
            }
            error => {
                tracing::error!(%error, "a request could not be completed under its key");
                Self::new(
                    ProblemKind::Internal,
                    "the answer could not be kept, so the request was not executed",
                )
            }
        }
    }
}

impl From<serde_json::Error> for Problem {
    fn from(error: serde_json::Error) -> Self {
        tracing::error!(%error, "an answer has no JSON form");
        Self::new(ProblemKind::Internal, "the answer could not be written")
    }
}
