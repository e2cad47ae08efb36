//! What a failure means: transport, HTTP status, refusal or unreadable answer as one [`RpcError`] with its class.

use std::time::Duration;

use alloy_json_rpc::ErrorPayload;
use alloy_transport::{TransportError, TransportErrorKind};
use serde_json::value::RawValue;

use super::{Client, Refusal};
use crate::{
    classify,
    error::{Cause, ErrorClass, Method, RpcError, excerpt},
    transport::TransportFailure,
};

impl Client {
    pub(crate) fn error(&self, method: &Method, class: ErrorClass, cause: Cause) -> RpcError {
        RpcError::new(method, &self.endpoint, class, cause)
    }

    pub(crate) fn malformed(&self, method: &Method, what: impl Into<String>, beginning: &str) -> RpcError {
        let cause = Cause::Malformed { what: what.into(), excerpt: excerpt(beginning) };
        self.error(method, ErrorClass::Protocol, cause)
    }

    pub(crate) fn refused(&self, method: &Method, refusal: &Refusal) -> RpcError {
        let Refusal { class, error } = refusal;
        self.error(method, *class, Cause::Answer { code: error.code, message: excerpt(&error.message) })
    }

    /// What a transport's error means.
    pub(crate) fn explain(&self, method: &Method, error: TransportError) -> RpcError {
        match error {
            TransportError::ErrorResp(error) => self.refused(method, &refusal(method, error)),
            TransportError::NullResp => self.malformed(method, "an empty answer", ""),
            TransportError::DeserError { err, text } => self.malformed(method, err.to_string(), &text),
            TransportError::Transport(kind) => self.explain_kind(method, kind),
            error @ (TransportError::UnsupportedFeature(_)
            | TransportError::LocalUsageError(_)
            | TransportError::SerError(_)) => {
                self.error(method, ErrorClass::Rejected, Cause::Local(error.to_string()))
            }
        }
    }

    fn explain_kind(&self, method: &Method, kind: TransportErrorKind) -> RpcError {
        let retry_after = kind.retry_after();
        if let Some(http) = kind.as_http_error() {
            return self.http(method, http.status, &http.body, retry_after);
        }
        let (class, cause) = match kind {
            TransportErrorKind::MissingBatchResponse(id) => {
                return self.malformed(method, format!("no answer carries the id {id} of the request"), "");
            }
            TransportErrorKind::Custom(error) => match error.downcast_ref::<TransportFailure>() {
                Some(TransportFailure::Http { status, body, retry_after }) => {
                    return self.http(method, *status, body, *retry_after);
                }
                Some(TransportFailure::Connection(what)) => {
                    (ErrorClass::Transient, Cause::Connection(what.clone()))
                }
                Some(TransportFailure::Timeout(after)) => {
                    (ErrorClass::Transient, Cause::Timeout { after: *after })
                }
                Some(TransportFailure::TooLarge { limit_bytes }) => {
                    (ErrorClass::RangeTooLarge, Cause::TooLarge { limit_bytes: *limit_bytes })
                }
                Some(TransportFailure::Local(what)) => (ErrorClass::Rejected, Cause::Local(what.clone())),
                None => (ErrorClass::Transient, Cause::Connection(error.to_string())),
            },
            TransportErrorKind::BackendGone => {
                (ErrorClass::Transient, Cause::Connection("the connection is closed".to_owned()))
            }
            // What ended a session, perhaps after it had carried the request.
            TransportErrorKind::NonRetryable(error) => {
                (ErrorClass::Rejected, Cause::Connection(error.to_string()))
            }
            other => (ErrorClass::Rejected, Cause::Local(other.to_string())),
        };
        self.error(method, class, cause)
    }

    fn http(&self, method: &Method, status: u16, body: &str, retry_after: Option<Duration>) -> RpcError {
        let class = classify::of_http(method, status, body, retry_after);
        self.error(method, class, Cause::Http { status, excerpt: excerpt(body) })
    }
}

pub(super) fn refusal(method: &Method, error: ErrorPayload) -> Refusal {
    let data = error.data.as_deref().map(RawValue::get);
    Refusal { class: classify::of_answer(method, error.code, &error.message, data), error }
}
