//! What a write answers: whole, so that it can be kept, and given again byte for byte.

use axum::http::header::{
    CONTENT_DISPOSITION, CONTENT_LANGUAGE, CONTENT_TYPE, ETAG, HeaderName, LAST_MODIFIED, LOCATION,
};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use plimsoll_store::idempotency::{self, IdempotencyError, Settled};
use serde::Serialize;

use crate::problem::Problem;

const JSON: &str = "application/json";
const PROBLEM_JSON: &str = "application/problem+json";

/// The headers that belong to an answer's content. All others (cookies, limits, ids) belong to one exchange, and are not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentHeader {
    /// `Content-Type`.
    Type,
    /// `Content-Language`.
    Language,
    /// `Content-Disposition`.
    Disposition,
    /// `Location`.
    Location,
    /// `ETag`.
    ETag,
    /// `Last-Modified`.
    LastModified,
}

impl ContentHeader {
    fn name(self) -> HeaderName {
        match self {
            Self::Type => CONTENT_TYPE,
            Self::Language => CONTENT_LANGUAGE,
            Self::Disposition => CONTENT_DISPOSITION,
            Self::Location => LOCATION,
            Self::ETag => ETAG,
            Self::LastModified => LAST_MODIFIED,
        }
    }
}

/// An answer that is to be committed. There is no streaming one.
#[derive(Clone, Debug)]
pub struct Reply {
    status: StatusCode,
    headers: Vec<(ContentHeader, String)>,
    body: Body,
}

#[derive(Clone, Debug)]
enum Body {
    Bytes(Vec<u8>),
    /// Written when it is known whose it is.
    Problem(Box<Problem>),
}

impl Reply {
    /// An answer without a body.
    #[must_use]
    pub fn empty(status: StatusCode) -> Self {
        Self { status, headers: Vec::new(), body: Body::Bytes(Vec::new()) }
    }

    /// An answer in JSON.
    ///
    /// # Errors
    /// When the value has no JSON form.
    pub fn json(status: StatusCode, value: &impl Serialize) -> Result<Self, serde_json::Error> {
        Ok(Self::bytes(status, JSON, serde_json::to_vec(value)?))
    }

    /// An answer in any other media type.
    #[must_use]
    pub fn bytes(status: StatusCode, content_type: &str, body: Vec<u8>) -> Self {
        Self { body: Body::Bytes(body), ..Self::empty(status) }.with_header(ContentHeader::Type, content_type)
    }

    /// With one more header.
    #[must_use]
    pub fn with_header(mut self, header: ContentHeader, value: impl Into<String>) -> Self {
        self.headers.push((header, value.into()));
        self
    }

    /// In the form that is kept. A problem gets its place and its request's id.
    pub(super) fn into_kept(
        self,
        instance: &str,
        request_id: &str,
    ) -> Result<idempotency::Response, IdempotencyError> {
        let body = match self.body {
            Body::Bytes(body) => body,
            Body::Problem(problem) => serde_json::to_vec(&problem.into_body(instance, request_id))
                .map_err(|_| IdempotencyError::NotAnOutcome { status: self.status.as_u16() })?,
        };
        let headers =
            self.headers.into_iter().map(|(header, value)| (header.name().to_string(), value)).collect();
        idempotency::Response::new(self.status.as_u16(), headers, body)
    }
}

/// A rejection by the business: it was executed, and its answer is no.
impl From<Problem> for Reply {
    fn from(problem: Problem) -> Self {
        let status = problem.kind.status();
        let headers = vec![(ContentHeader::Type, PROBLEM_JSON.to_owned())];
        Self { status, headers, body: Body::Problem(Box::new(problem)) }
    }
}

/// An answer that is committed with its key and its effects. Nothing else makes one, so a handler that returns one has committed.
#[derive(Debug)]
pub struct Answered {
    response: idempotency::Response,
}

impl From<Settled> for Answered {
    fn from(settled: Settled) -> Self {
        Self { response: settled.into_response() }
    }
}

impl IntoResponse for Answered {
    fn into_response(self) -> Response {
        response(&self.response)
    }
}

/// An answer that is kept, on its way to a client.
pub(super) fn response(kept: &idempotency::Response) -> Response {
    let mut response = Response::new(axum::body::Body::from(kept.body().to_vec()));
    // Both were an HTTP status and headers when they were written.
    *response.status_mut() = StatusCode::from_u16(kept.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in kept.headers() {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().append(name, value);
        }
    }
    response
}
