//! Every error that the API gives, as RFC 9457 problems.
//!
//! A handler returns a [`Problem`]; [`crate::context`] writes its body, as only there the request's id and path are known.

use std::borrow::Cow;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use plimsoll_types::api;
use plimsoll_types::api::FieldProblem;

use crate::limits::RETRY_AFTER_SECONDS;
use crate::repo::RepoError;

/// The kinds of problem. Their URNs are part of the contract: a kind may be added, none changes its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProblemKind {
    UnknownParameter,
    InvalidParameter,
    MissingParameter,
    InvalidCursor,
    NotFound,
    UnknownChain,
    MethodNotAllowed,
    BodyTooLarge,
    Internal,
    NotSynced,
    DatabaseUnavailable,
    SchemaMismatch,
    TimedOut,
    Overloaded,
    MissingIdempotencyKey,
    InvalidIdempotencyKey,
    IdempotencyKeyReused,
    RequestInFlight,
    ResponseWithheld,
    Unauthenticated,
    Forbidden,
    SecondFactorRequired,
}

impl ProblemKind {
    pub(crate) const ALL: &[Self] = &[
        Self::UnknownParameter,
        Self::InvalidParameter,
        Self::MissingParameter,
        Self::InvalidCursor,
        Self::NotFound,
        Self::UnknownChain,
        Self::MethodNotAllowed,
        Self::BodyTooLarge,
        Self::Internal,
        Self::NotSynced,
        Self::DatabaseUnavailable,
        Self::SchemaMismatch,
        Self::TimedOut,
        Self::Overloaded,
        Self::MissingIdempotencyKey,
        Self::InvalidIdempotencyKey,
        Self::IdempotencyKeyReused,
        Self::RequestInFlight,
        Self::ResponseWithheld,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::SecondFactorRequired,
    ];

    pub(crate) fn slug(self) -> &'static str {
        match self {
            Self::UnknownParameter => "unknown-parameter",
            Self::InvalidParameter => "invalid-parameter",
            Self::MissingParameter => "missing-parameter",
            Self::InvalidCursor => "invalid-cursor",
            Self::NotFound => "not-found",
            Self::UnknownChain => "unknown-chain",
            Self::MethodNotAllowed => "method-not-allowed",
            Self::BodyTooLarge => "body-too-large",
            Self::Internal => "internal",
            Self::NotSynced => "not-synced",
            Self::DatabaseUnavailable => "database-unavailable",
            Self::SchemaMismatch => "schema-mismatch",
            Self::TimedOut => "timed-out",
            Self::Overloaded => "overloaded",
            Self::MissingIdempotencyKey => "missing-idempotency-key",
            Self::InvalidIdempotencyKey => "invalid-idempotency-key",
            Self::IdempotencyKeyReused => "idempotency-key-reused",
            Self::RequestInFlight => "request-in-flight",
            Self::ResponseWithheld => "response-withheld",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::SecondFactorRequired => "second-factor-required",
        }
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::UnknownParameter => "A parameter is not known",
            Self::InvalidParameter => "A parameter has a value that cannot be used",
            Self::MissingParameter => "A parameter is missing",
            Self::InvalidCursor => "The cursor cannot be used",
            Self::NotFound => "There is nothing at this path",
            Self::UnknownChain => "The chain is not followed",
            Self::MethodNotAllowed => "The path does not take this method",
            Self::BodyTooLarge => "The request's body is too large",
            Self::Internal => "Something went wrong here",
            Self::NotSynced => "There is nothing to answer from yet",
            Self::DatabaseUnavailable => "The database does not answer",
            Self::SchemaMismatch => "The database has another schema than this version knows",
            Self::TimedOut => "The request took too long",
            Self::Overloaded => "Too many requests are being worked on",
            Self::MissingIdempotencyKey => "The request has no idempotency key",
            Self::InvalidIdempotencyKey => "The idempotency key cannot be used",
            Self::IdempotencyKeyReused => "The idempotency key belongs to another request",
            Self::RequestInFlight => "The request is being worked on",
            Self::ResponseWithheld => "The answer was given once and not kept",
            Self::Unauthenticated => "It is not known who asks",
            Self::Forbidden => "The caller may not do this",
            Self::SecondFactorRequired => "This needs a second factor",
        }
    }

    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::UnknownParameter
            | Self::InvalidParameter
            | Self::MissingParameter
            | Self::InvalidCursor
            | Self::MissingIdempotencyKey
            | Self::InvalidIdempotencyKey => StatusCode::BAD_REQUEST,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Forbidden | Self::SecondFactorRequired => StatusCode::FORBIDDEN,
            Self::RequestInFlight => StatusCode::CONFLICT,
            Self::ResponseWithheld => StatusCode::GONE,
            Self::IdempotencyKeyReused => StatusCode::UNPROCESSABLE_ENTITY,
            Self::NotFound | Self::UnknownChain => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NotSynced
            | Self::DatabaseUnavailable
            | Self::SchemaMismatch
            | Self::TimedOut
            | Self::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// What to do when the case at hand knows nothing better.
    pub(crate) fn remedy(self) -> &'static str {
        match self {
            Self::UnknownParameter => "leave it out, or give one of the known parameters",
            Self::InvalidParameter => "give a value as `/docs` describes it",
            Self::MissingParameter => "give the parameter",
            Self::InvalidCursor => {
                "begin again without a cursor; keep filters and order the same from page to page"
            }
            Self::NotFound => "see `/docs` for the paths",
            Self::UnknownChain => "ask `/api/v1/chains` for the chains that are followed",
            Self::MethodNotAllowed => "use one of the methods in the `Allow` header",
            Self::BodyTooLarge => {
                "send less: what a path takes is in the documentation, and one that only reads takes nothing"
            }
            Self::Internal => "report it with the request_id: the log has the cause",
            Self::NotSynced => "try again soon; `/readyz` says what it waits for",
            Self::DatabaseUnavailable => {
                "try again soon; if it lasts, see `/readyz` and the database's own log"
            }
            Self::SchemaMismatch => {
                "run `plimsoll migrate`, or the version that the database was migrated to"
            }
            Self::TimedOut => {
                "ask for less: fewer blocks, a smaller limit, or an indexed filter (event_name, request_id, tx_hash)"
            }
            Self::Overloaded => "try again soon, with fewer requests at a time",
            Self::MissingIdempotencyKey => {
                "send an `Idempotency-Key` that is new for each new request, and the same when you send one again"
            }
            Self::InvalidIdempotencyKey => {
                "send 1 to 255 printable ASCII characters, in double quotes or without white space, commas and quotes"
            }
            Self::IdempotencyKeyReused => {
                "use a new key for a new request; to send one again, send it as it was the first time"
            }
            Self::RequestInFlight => "send the same request with the same key again, later",
            Self::ResponseWithheld => {
                "look at what was created; if the secret is lost, revoke it and ask for another with a new key"
            }
            Self::Unauthenticated => {
                "sign in at `/auth/login`, or send an API key, as `Authorization: Bearer <credential>`"
            }
            Self::Forbidden => "ask an administrator of the tenant for a role that allows it",
            Self::SecondFactorRequired => {
                "give a second factor and ask again; a machine: use a key that is bound to its client certificate"
            }
        }
    }

    /// The `type` of the problem.
    pub(crate) fn urn(self) -> String {
        format!("urn:plimsoll:problem:{}", self.slug())
    }

    fn is_worth_a_retry(self) -> bool {
        matches!(
            self,
            Self::NotSynced
                | Self::DatabaseUnavailable
                | Self::TimedOut
                | Self::Overloaded
                | Self::RequestInFlight
        )
    }
}

/// An error on its way to the client.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) kind: ProblemKind,
    pub(crate) detail: String,
    pub(crate) remedy: Cow<'static, str>,
    pub(crate) parameters: Vec<FieldProblem>,
}

impl Problem {
    #[cfg(test)]
    pub(crate) fn kind(&self) -> ProblemKind {
        self.kind
    }

    pub(crate) fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), remedy: Cow::Borrowed(kind.remedy()), parameters: Vec::new() }
    }

    pub(crate) fn with_remedy(mut self, remedy: impl Into<Cow<'static, str>>) -> Self {
        self.remedy = remedy.into();
        self
    }

    pub(crate) fn with_parameters(mut self, parameters: Vec<FieldProblem>) -> Self {
        self.parameters = parameters;
        self
    }

    pub(crate) fn unknown_chain(chain_id: u64) -> Self {
        Self::new(ProblemKind::UnknownChain, format!("chain {chain_id} is not followed"))
    }

    /// The body, once it is known whose it is.
    pub(crate) fn into_body(self, instance: &str, request_id: &str) -> api::Problem {
        api::Problem {
            kind: self.kind.urn(),
            title: self.kind.title().to_owned(),
            status: self.kind.status().as_u16(),
            detail: self.detail,
            instance: instance.to_owned(),
            request_id: request_id.to_owned(),
            remedy: self.remedy.into_owned(),
            parameters: self.parameters,
        }
    }
}

impl IntoResponse for Problem {
    /// Status and headers; the body is written by [`crate::context`].
    fn into_response(self) -> Response {
        let mut response = self.kind.status().into_response();
        if self.kind.is_worth_a_retry() {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS));
        }
        if self.kind == ProblemKind::Unauthenticated {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// Postgres error codes (appendix A of its manual).
mod sqlstate {
    pub(super) const QUERY_CANCELED: &str = "57014";
    pub(super) const INSUFFICIENT_PRIVILEGE: &str = "42501";
    /// Undefined table, column, function, object; invalid schema name.
    pub(super) const UNDEFINED: [&str; 5] = ["42P01", "42703", "42883", "42704", "3F000"];
    /// Connection exceptions, insufficient resources, operator intervention.
    pub(super) const UNAVAILABLE_CLASSES: [&str; 3] = ["08", "53", "57"];
}

impl From<RepoError> for Problem {
    fn from(error: RepoError) -> Self {
        let kind = kind_of(&error);
        match kind {
            ProblemKind::Internal => {
                tracing::error!(%error, "a query failed");
                Self::new(kind, "the query failed in a way that it should not")
            }
            ProblemKind::TimedOut => Self::new(kind, "the query ran into the statement timeout"),
            ProblemKind::SchemaMismatch => {
                tracing::error!(%error, "the schema is not the one that this version knows");
                Self::new(kind, "a table, column or grant that this version needs is missing")
            }
            _ => {
                tracing::warn!(%error, "the database does not answer");
                Self::new(kind, "no connection to the database could be had in time, or it broke")
            }
        }
    }
}

pub(crate) fn kind_of(error: &RepoError) -> ProblemKind {
    let RepoError::Database(error) = error else { return ProblemKind::Internal };
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::Protocol(_) => ProblemKind::DatabaseUnavailable,
        sqlx::Error::Database(database) => match database.code().as_deref() {
            Some(sqlstate::QUERY_CANCELED) => ProblemKind::TimedOut,
            Some(sqlstate::INSUFFICIENT_PRIVILEGE) => ProblemKind::SchemaMismatch,
            Some(code) if sqlstate::UNDEFINED.contains(&code) => ProblemKind::SchemaMismatch,
            Some(code) if sqlstate::UNAVAILABLE_CLASSES.iter().any(|class| code.starts_with(class)) => {
                ProblemKind::DatabaseUnavailable
            }
            _ => ProblemKind::Internal,
        },
        _ => ProblemKind::Internal,
    }
}
