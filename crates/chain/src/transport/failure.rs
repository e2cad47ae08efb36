//! What can go wrong on the way, as our own transports say it.

use std::time::Duration;

use alloy_transport::{TransportError, TransportErrorKind};

/// An error of the transports of this module, carried inside alloy's custom transport error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransportFailure {
    /// No connection, or it broke.
    #[error("{0}")]
    Connection(String),
    /// No answer in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// An HTTP status that is not 2xx and whose body is no JSON-RPC answer.
    #[error("HTTP status {status}: {body}")]
    Http {
        /// The status.
        status: u16,
        /// The beginning of the body.
        body: String,
        /// The `Retry-After` header, in its form of seconds.
        retry_after: Option<Duration>,
    },
    /// More bytes than are accepted.
    #[error("the answer is larger than {limit_bytes} bytes")]
    TooLarge {
        /// The limit.
        limit_bytes: usize,
    },
    /// The request cannot be sent as things are configured.
    #[error("{0}")]
    Local(String),
}

impl From<TransportFailure> for TransportError {
    fn from(failure: TransportFailure) -> Self {
        TransportErrorKind::custom(failure)
    }
}
