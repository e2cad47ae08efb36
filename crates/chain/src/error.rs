//! What went wrong with a request, and what that means for whoever asked.

use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

use alloy_primitives::Bytes;

/// Bytes of a malformed answer that are shown.
pub const EXCERPT_BYTES: usize = 200;

/// The name of a JSON-RPC method.
pub(crate) type Method = Cow<'static, str>;

/// What an error means for the caller. Only [`ErrorClass::Transient`] and [`ErrorClass::RateLimited`] are
/// retried inside, a bounded number of times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// It may pass by itself: a timeout, a lost connection, a 5xx.
    Transient,
    /// The endpoint wants to be asked less often.
    RateLimited {
        /// How long it wants to be left alone, if it said so.
        retry_after: Option<Duration>,
    },
    /// The same question about fewer blocks may be answered.
    RangeTooLarge,
    /// The node does not know that block, or no longer holds it canonical: look at the chain again.
    BlockUnknown,
    /// The node knows the block but not its state (pruned): an archive node would answer.
    StateUnavailable,
    /// The answer is not what the protocol promises, so nothing can be concluded from it.
    Protocol,
    /// The endpoint understood and refused.
    Rejected,
}

impl ErrorClass {
    /// A stable name, used as a metric label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::RateLimited { .. } => "rate_limited",
            Self::RangeTooLarge => "range_too_large",
            Self::BlockUnknown => "block_unknown",
            Self::StateUnavailable => "state_unavailable",
            Self::Protocol => "protocol",
            Self::Rejected => "rejected",
        }
    }

    const fn remedy(self) -> &'static str {
        match self {
            Self::Transient => "check that the node runs and is reachable; it is asked again later",
            Self::RateLimited { .. } => {
                "lower max_concurrent_requests, or use an endpoint with a larger allowance"
            }
            Self::RangeTooLarge => "ask for fewer blocks at once",
            Self::BlockUnknown => {
                "the block left the canonical chain or the node is behind; compare its head with another node"
            }
            Self::StateUnavailable => "use an archive node, or ask about a more recent block",
            Self::Protocol => {
                "check that the URL is an Ethereum JSON-RPC endpoint and what proxies do to its answers"
            }
            Self::Rejected => "check the URL, its credentials, and that the node serves this method",
        }
    }
}

impl fmt::Display for ErrorClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What happened, in the terms of the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The whole answer did not arrive in time.
    Timeout {
        /// The limit of one attempt.
        after: Duration,
    },
    /// No connection, or it broke.
    Connection(String),
    /// An HTTP status other than 2xx.
    Http {
        /// The status.
        status: u16,
        /// The beginning of the body.
        excerpt: String,
    },
    /// A JSON-RPC error.
    Answer {
        /// Its code.
        code: i64,
        /// Its message.
        message: String,
    },
    /// An answer that cannot be believed.
    Malformed {
        /// What is wrong with it.
        what: String,
        /// Its beginning, [`EXCERPT_BYTES`] at most.
        excerpt: String,
    },
    /// The answer is beyond the size that is accepted.
    TooLarge {
        /// That size.
        limit_bytes: usize,
    },
    /// The request never left, because the configuration or a recording does not allow it.
    Local(String),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout { after } => write!(f, "no answer within {after:?}"),
            Self::Connection(what) | Self::Local(what) => f.write_str(what),
            Self::Http { status, excerpt } if excerpt.is_empty() => write!(f, "HTTP status {status}"),
            Self::Http { status, excerpt } => write!(f, "HTTP status {status}: {excerpt}"),
            Self::Answer { code, message } => write!(f, "error {code}: {message}"),
            Self::Malformed { what, excerpt } if excerpt.is_empty() => write!(f, "malformed answer: {what}"),
            Self::Malformed { what, excerpt } => write!(f, "malformed answer: {what}; it begins: {excerpt}"),
            Self::TooLarge { limit_bytes } => write!(f, "the answer is larger than {limit_bytes} bytes"),
        }
    }
}

/// A request that was not answered. Names the method and the endpoint's host, never its credentials.
#[derive(Clone)]
pub struct RpcError(Box<Inner>);

#[derive(Clone)]
struct Inner {
    method: Method,
    endpoint: Arc<str>,
    class: ErrorClass,
    cause: Cause,
    attempts: u32,
}

impl RpcError {
    pub(crate) fn new(method: &Method, endpoint: &Arc<str>, class: ErrorClass, cause: Cause) -> Self {
        Self(Box::new(Inner {
            method: method.clone(),
            endpoint: endpoint.clone(),
            class,
            cause,
            attempts: 1,
        }))
    }

    pub(crate) fn after_attempts(mut self, attempts: u32) -> Self {
        self.0.attempts = attempts;
        self
    }

    /// What it means for the caller.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        self.0.class
    }

    /// What happened on the wire.
    #[must_use]
    pub fn cause(&self) -> &Cause {
        &self.0.cause
    }

    /// The JSON-RPC method.
    #[must_use]
    pub fn method(&self) -> &str {
        &self.0.method
    }

    /// Whether the answer did not come in time, as opposed to other transient trouble.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self.0.cause, Cause::Timeout { .. })
    }

    /// Whether the node does not serve this method at all.
    #[must_use]
    pub fn is_method_missing(&self) -> bool {
        matches!(self.0.cause, Cause::Answer { code: -32_601, .. })
    }
}

impl fmt::Display for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { method, endpoint, class, cause, attempts } = &*self.0;
        write!(f, "{method} at {endpoint}: {cause}")?;
        if *attempts > 1 {
            write!(f, " (after {attempts} attempts)")?;
        }
        write!(f, " [{class}]. What to do: {}", class.remedy())
    }
}

impl fmt::Debug for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RpcError({self})")
    }
}

impl std::error::Error for RpcError {}

/// Why one call of many has no result, while the block and the node are fine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The contract ran and reverted.
    #[error("the call reverted: {message}")]
    Reverted {
        /// What the node says of it.
        message: String,
        /// The revert reason, ABI encoded; empty if there is none or the node keeps it to itself.
        data: Bytes,
    },
    /// The node refused this call, so its result is unknown.
    #[error("the node did not run the call, error {code}: {message}")]
    Failed {
        /// The JSON-RPC error's code.
        code: i64,
        /// Its message.
        message: String,
    },
}

/// The first [`EXCERPT_BYTES`] of a text, cut at a character.
pub(crate) fn excerpt(text: &str) -> String {
    let mut end = text.len().min(EXCERPT_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_where_why_and_what_to_do() {
        let error = RpcError::new(
            &Cow::Borrowed("eth_getLogs"),
            &Arc::from("node.example.org"),
            ErrorClass::Transient,
            Cause::Timeout { after: Duration::from_secs(10) },
        )
        .after_attempts(3);
        assert_eq!(
            error.to_string(),
            "eth_getLogs at node.example.org: no answer within 10s (after 3 attempts) [transient]. \
             What to do: check that the node runs and is reachable; it is asked again later"
        );
        assert!(error.is_timeout());
    }

    #[test]
    fn an_excerpt_is_short_and_whole_characters() {
        assert_eq!(excerpt("short"), "short");
        let cut = excerpt(&"é".repeat(150));
        assert_eq!(cut, "é".repeat(100));
        assert_eq!(excerpt(&format!("a{}", "é".repeat(150))).len(), 199);
    }
}
