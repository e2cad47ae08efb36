//! Why a posting is not on record.

use std::sync::Arc;

use uuid::Uuid;

use crate::book::Refusal;
use crate::posting::Invalid;

/// Why a posting is not on record. Cheap to clone: what concerns a batch is told to each of it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PostError {
    /// It is none.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The accounts do not allow it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The tenant has no books.
    #[error("tenant {tenant_id} has no books here: open an account first")]
    NoBooks {
        /// Whose.
        tenant_id: Uuid,
    },
    /// Its key is another posting's.
    #[error(
        "request_id {request_id} was used for another {operation_type} (posting {posting_id}): send what is new under a new request_id"
    )]
    Conflict {
        /// The key.
        request_id: Uuid,
        /// The key.
        operation_type: String,
        /// What has it.
        posting_id: Uuid,
    },
    /// Too many wait already.
    #[error("too many postings wait to be written: send it again in a moment, under the same request_id")]
    Overloaded,
    /// The database. Whether the posting is on record is not known: send it again under the same `request_id`.
    #[error("posting: {0}; send it again under the same request_id")]
    Database(Arc<sqlx::Error>),
    /// The process ends. As with the database.
    #[error("the ledger is being stopped: send it again under the same request_id")]
    Stopped,
}

impl From<sqlx::Error> for PostError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(Arc::new(error))
    }
}
