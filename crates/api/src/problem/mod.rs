//! Every error that the API gives, as RFC 9457 problems.
//!
//! A handler returns a [`Problem`] of one of the kinds of a table ([`ProblemKind`]); [`crate::context`] writes its body, as only there the request's id and path are
//! known.

mod kind;

use std::borrow::Cow;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use plimsoll_types::api;
use plimsoll_types::api::FieldProblem;

pub(crate) use self::kind::ProblemKind;
use crate::gateway::redacted;
use crate::limits::RETRY_AFTER_SECONDS;
use crate::repo::RepoError;

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
            detail: redacted(&self.detail).into_owned(),
            instance: redacted(instance).into_owned(),
            request_id: request_id.to_owned(),
            remedy: self.remedy.into_owned(),
            parameters: self.parameters.iter().map(repeatable).collect(),
        }
    }
}

fn repeatable(field: &FieldProblem) -> FieldProblem {
    FieldProblem { name: redacted(&field.name).into_owned(), reason: redacted(&field.reason).into_owned() }
}

impl IntoResponse for Problem {
    /// Status and headers; the body is written by [`crate::context`].
    fn into_response(self) -> Response {
        let mut response = self.kind.status().into_response();
        if self.kind.is_worth_a_retry() {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS));
        }
        if self.kind.status() == StatusCode::UNAUTHORIZED {
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
        Self::of(kind_of(&error), &error)
    }
}

impl From<&sqlx::Error> for Problem {
    fn from(error: &sqlx::Error) -> Self {
        Self::of(kind_of_answer(error), error)
    }
}

impl Problem {
    fn of(kind: ProblemKind, error: &dyn std::error::Error) -> Self {
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
    match error {
        RepoError::Database(error) => kind_of_answer(error),
        RepoError::Malformed { .. } => ProblemKind::Internal,
    }
}

fn kind_of_answer(error: &sqlx::Error) -> ProblemKind {
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
