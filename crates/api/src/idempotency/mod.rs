//! Routes that change something, and the keys under which they do it once. What a client is promised is in `docs/idempotency.md`.
//!
//! A [`WriteRoutes`] is the only way to such a route, and asks for a [`Declaration`]: a route without one does not get past the tests. Its
//! handler gets an [`Execution`] and gives back an [`Answered`], and there are two ways from one to the other:
//!
//! - [`Execution::begin_effects`] opens a transaction for the effects, which [`Effect::commit`] ends together with key and answer. Effects outside
//!   the database come after [`Effect::advance`].
//! - [`Execution::hand_over`] gives the claim to a batch writer, which commits for many; its word makes the [`Answered`].
//!
//! A handler can therefore not answer with what it did not commit, nor commit without leaving the answer. An error says that the request
//! was not executed; it is not kept. A rejection that is an outcome is committed like any other answer, as a [`Reply`] made of
//! its problem. A 5xx is never kept, and a stream cannot be a [`Reply`].
//!
//! What comes first: authentication and limits (layers outside), the key's form, the body's size, the extractors, then the claim, then the
//! handler. All that is refused before the claim leaves no trace.

mod declaration;
mod execution;
mod header;
mod reply;
mod routes;

pub use declaration::{Declaration, KeyPolicy, WriteMethod};
pub use execution::{Effect, Execution};
pub use reply::{Answered, ContentHeader, Reply};
pub use routes::{ApiVersion, Declared, WriteRoutes};

use plimsoll_store::idempotency::IdempotencyError;

use crate::problem::{Problem, ProblemKind};
use crate::repo::RepoError;

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
