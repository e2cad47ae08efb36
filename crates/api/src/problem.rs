//! Every error that the API gives, as RFC 9457 problems.
//!
//! A handler returns a [`Problem`]; [`crate::context`] writes its body, as only there the request's id and path are known.

use std::borrow::Cow;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use plimsoll_types::api;
use plimsoll_types::api::FieldProblem;

use crate::gateway::redacted;
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
    TooManyStreams,
    UpgradeRequired,
    InvalidApiVersion,
    BodyTooSlow,
    TooManyRequests,
    InvalidBody,
    UnsupportedMediaType,
    MissingKey,
    Conflict,
    NotConfigured,
    MalformedSignIn,
    WrongDomain,
    WrongUri,
    WrongChain,
    MessageExpired,
    MessageNotYetValid,
    WrongSignature,
    NonceUnknown,
    NonceUsed,
    OtherTenantsNonce,
    NoSuchUser,
    Suspended,
    WrongCredentials,
    SessionOver,
    SecondFactorRefused,
    WalletUnavailable,
    ProviderUnavailable,
    ProviderSignInRefused,
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
        Self::TooManyStreams,
        Self::UpgradeRequired,
        Self::InvalidApiVersion,
        Self::BodyTooSlow,
        Self::TooManyRequests,
        Self::InvalidBody,
        Self::UnsupportedMediaType,
        Self::MissingKey,
        Self::Conflict,
        Self::NotConfigured,
        Self::MalformedSignIn,
        Self::WrongDomain,
        Self::WrongUri,
        Self::WrongChain,
        Self::MessageExpired,
        Self::MessageNotYetValid,
        Self::WrongSignature,
        Self::NonceUnknown,
        Self::NonceUsed,
        Self::OtherTenantsNonce,
        Self::NoSuchUser,
        Self::Suspended,
        Self::WrongCredentials,
        Self::SessionOver,
        Self::SecondFactorRefused,
        Self::WalletUnavailable,
        Self::ProviderUnavailable,
        Self::ProviderSignInRefused,
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
            Self::TooManyStreams => "too-many-streams",
            Self::UpgradeRequired => "upgrade-required",
            Self::InvalidApiVersion => "invalid-api-version",
            Self::BodyTooSlow => "body-too-slow",
            Self::TooManyRequests => "too-many-requests",
            Self::InvalidBody => "invalid-body",
            Self::UnsupportedMediaType => "unsupported-media-type",
            Self::MissingKey => "missing-key",
            Self::Conflict => "conflict",
            Self::NotConfigured => "not-configured",
            Self::MalformedSignIn => "malformed-sign-in",
            Self::WrongDomain => "wrong-domain",
            Self::WrongUri => "wrong-uri",
            Self::WrongChain => "wrong-chain",
            Self::MessageExpired => "message-expired",
            Self::MessageNotYetValid => "message-not-yet-valid",
            Self::WrongSignature => "wrong-signature",
            Self::NonceUnknown => "nonce-unknown",
            Self::NonceUsed => "nonce-used",
            Self::OtherTenantsNonce => "other-tenants-nonce",
            Self::NoSuchUser => "no-such-user",
            Self::Suspended => "suspended",
            Self::WrongCredentials => "wrong-credentials",
            Self::SessionOver => "session-over",
            Self::SecondFactorRefused => "second-factor-refused",
            Self::WalletUnavailable => "wallet-unavailable",
            Self::ProviderUnavailable => "provider-unavailable",
            Self::ProviderSignInRefused => "provider-sign-in-refused",
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
            Self::TooManyStreams => "Too many streams are open",
            Self::UpgradeRequired => "This path speaks WebSocket",
            Self::InvalidApiVersion => "The version of the API cannot be served",
            Self::BodyTooSlow => "The request's body took too long",
            Self::TooManyRequests => "There were too many requests",
            Self::InvalidBody => "The request's body cannot be used",
            Self::UnsupportedMediaType => "The request's body is of another media type",
            Self::MissingKey => "A write lacks one of its three keys",
            Self::Conflict => "This cannot be done as things stand",
            Self::NotConfigured => "This server was not set up for it",
            Self::MalformedSignIn => "This is no sign-in message",
            Self::WrongDomain => "The message is for another site",
            Self::WrongUri => "The message is for another URI",
            Self::WrongChain => "The message is for another chain",
            Self::MessageExpired => "The message is too old",
            Self::MessageNotYetValid => "The message is of the future",
            Self::WrongSignature => "The message was not signed by its address",
            Self::NonceUnknown => "The nonce is none of ours",
            Self::NonceUsed => "The nonce was used already",
            Self::OtherTenantsNonce => "The nonce is for another tenant",
            Self::NoSuchUser => "Nobody here has this identity",
            Self::Suspended => "The user is suspended",
            Self::WrongCredentials => "The credentials are not right",
            Self::SessionOver => "The session is over",
            Self::SecondFactorRefused => "The second factor was not taken",
            Self::WalletUnavailable => "The wallet's contract could not be asked",
            Self::ProviderUnavailable => "The identity provider could not be asked",
            Self::ProviderSignInRefused => "The sign-in at the identity provider is not taken",
        }
    }

    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::UnknownParameter
            | Self::InvalidParameter
            | Self::MissingParameter
            | Self::InvalidCursor
            | Self::MissingIdempotencyKey
            | Self::InvalidIdempotencyKey
            | Self::InvalidBody
            | Self::MissingKey
            | Self::MalformedSignIn
            | Self::InvalidApiVersion => StatusCode::BAD_REQUEST,
            Self::BodyTooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::UpgradeRequired => StatusCode::UPGRADE_REQUIRED,
            Self::TooManyRequests | Self::TooManyStreams => StatusCode::TOO_MANY_REQUESTS,
            Self::Unauthenticated
            | Self::WrongDomain
            | Self::WrongUri
            | Self::WrongChain
            | Self::MessageExpired
            | Self::MessageNotYetValid
            | Self::WrongSignature
            | Self::NonceUnknown
            | Self::NonceUsed
            | Self::OtherTenantsNonce
            | Self::WrongCredentials
            | Self::SessionOver
            | Self::ProviderSignInRefused => StatusCode::UNAUTHORIZED,
            Self::Forbidden
            | Self::SecondFactorRequired
            | Self::NoSuchUser
            | Self::Suspended
            | Self::SecondFactorRefused => StatusCode::FORBIDDEN,
            Self::RequestInFlight | Self::Conflict | Self::NotConfigured => StatusCode::CONFLICT,
            Self::ResponseWithheld => StatusCode::GONE,
            Self::IdempotencyKeyReused => StatusCode::UNPROCESSABLE_ENTITY,
            Self::NotFound | Self::UnknownChain => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NotSynced
            | Self::DatabaseUnavailable
            | Self::SchemaMismatch
            | Self::TimedOut
            | Self::Overloaded
            | Self::WalletUnavailable
            | Self::ProviderUnavailable => StatusCode::SERVICE_UNAVAILABLE,
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
            Self::TooManyStreams => {
                "end one that is not needed any longer, or come again later with the last number that was received"
            }
            Self::UpgradeRequired => {
                "connect with a WebSocket, or read the same events at `/api/v1/events/stream`"
            }
            Self::SecondFactorRequired => {
                "give a second factor and ask again; a machine: use a key that is bound to its client certificate"
            }
            Self::InvalidApiVersion => {
                "ask for a version that is served, the same in the path and in `Api-Version`, or leave the header out"
            }
            Self::BodyTooSlow => "send the request again, over a better connection or with less in it",
            Self::TooManyRequests => "wait for as long as `Retry-After` says",
            Self::InvalidBody => "send what `/docs` describes for this path, as JSON",
            Self::UnsupportedMediaType => "send JSON, with `Content-Type: application/json`",
            Self::MissingKey => {
                "send `request_id`, `tenant_id` and `user_id` in the body, the latter two as `/auth/session` gives them"
            }
            Self::Conflict => "look at what there is, and ask for what can be done",
            Self::NotConfigured => "ask whoever runs this server to set it up, or use another way",
            Self::MalformedSignIn => "sign a message as EIP-4361 has it, with what `/auth/nonce` gave",
            Self::WrongDomain => {
                "sign a message for the domain that `/auth/nonce` gave. If your wallet showed another, somebody may be passing on what you sign elsewhere"
            }
            Self::WrongUri => "sign a message for the URI that `/auth/nonce` gave",
            Self::WrongChain => "sign a message for one of the chains that `/auth/nonce` gave",
            Self::MessageExpired => "ask for a new nonce and sign again",
            Self::MessageNotYetValid => "set the clock of the device that made the message, and sign again",
            Self::WrongSignature => "sign with the wallet of the address that the message names",
            Self::NonceUnknown => "ask `/auth/nonce` for one, and sign a message with it",
            Self::NonceUsed => {
                "ask for a new nonce and sign again; if the answer to the first sign-in was lost, so"
            }
            Self::OtherTenantsNonce => "ask for a nonce for the tenant that you want to sign in to",
            Self::NoSuchUser => "ask an administrator of the tenant to link it to your user",
            Self::Suspended => "ask an administrator of the tenant",
            Self::WrongCredentials => "try again, or sign in by another way",
            Self::SessionOver => "sign in again",
            Self::SecondFactorRefused => {
                "wait for the next code and give that; the clock of the device must be right"
            }
            Self::WalletUnavailable => "try again soon; it is neither a yes nor a no",
            Self::ProviderUnavailable => "try again soon; it is neither a yes nor a no",
            Self::ProviderSignInRefused => {
                "begin again at `/auth/oidc/{provider}/start`, and come back in the same browser"
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
                | Self::TooManyStreams
                | Self::RequestInFlight
                | Self::WalletUnavailable
                | Self::ProviderUnavailable
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
