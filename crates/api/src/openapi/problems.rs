//! Which problems an operation may answer with, by what kind of operation it is.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use utoipa::IntoResponses;
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::{Content, Ref, RefOr};

use crate::problem::ProblemKind;

/// Of RFC 9457.
const PROBLEM_JSON: &str = "application/problem+json";
pub(super) const PROBLEM_PREFIX: &str = "Problem: ";

/// The problems of whatever reads or writes.
const ALWAYS: [ProblemKind; 7] = [
    ProblemKind::InvalidApiVersion,
    ProblemKind::TooManyRequests,
    ProblemKind::DatabaseUnavailable,
    ProblemKind::SchemaMismatch,
    ProblemKind::TimedOut,
    ProblemKind::Overloaded,
    ProblemKind::Internal,
];
/// The problems of a query.
const DATA: [ProblemKind; 9] = [
    ProblemKind::InvalidApiVersion,
    ProblemKind::TooManyRequests,
    ProblemKind::UnknownParameter,
    ProblemKind::InvalidParameter,
    ProblemKind::DatabaseUnavailable,
    ProblemKind::SchemaMismatch,
    ProblemKind::TimedOut,
    ProblemKind::Overloaded,
    ProblemKind::Internal,
];
/// The problems of a body.
const BODY: [ProblemKind; 3] =
    [ProblemKind::InvalidBody, ProblemKind::UnsupportedMediaType, ProblemKind::BodyTooLarge];
/// The problems of a write with the three keys.
const WRITE: [ProblemKind; 3] = [ProblemKind::MissingKey, ProblemKind::NotFound, ProblemKind::Conflict];
/// The problems of what is asked for in one's own session.
const OWN: [ProblemKind; 3] =
    [ProblemKind::Unauthenticated, ProblemKind::SecondFactorRequired, ProblemKind::Conflict];

/// Kinds of operation, each with its problems.
macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident: $($list:expr),+;)*) => {$(
        $(#[$doc])*
        pub(crate) struct $name;

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                responses(&[$(&$list[..]),+].concat())
            }
        }
    )*};
}

operations! {
    /// A route over data.
    DataProblems: DATA;
    /// A route over a chain's data.
    ChainProblems: DATA, [ProblemKind::UnknownChain];
    /// A stream of a chain's data.
    ChainStreamProblems: DATA, [ProblemKind::InvalidCursor, ProblemKind::UnknownChain];
    /// A page of what a chain said or a fold made of it.
    PageProblems: DATA, [
        ProblemKind::MissingParameter,
        ProblemKind::InvalidCursor,
        ProblemKind::UnknownChain,
        ProblemKind::NotSynced,
    ];
    /// A stream.
    StreamProblems: DATA, [ProblemKind::InvalidCursor];
    /// The same, where a browser cannot say in a header who asks.
    SocketProblems: DATA, [
        ProblemKind::InvalidCursor,
        ProblemKind::Unauthenticated,
        ProblemKind::Forbidden,
        ProblemKind::UpgradeRequired,
    ];
    /// A page that is of no chain: a list of a tenant's things, or the audit.
    ListProblems: DATA, [ProblemKind::InvalidCursor];
    /// One thing of a tenant's.
    RecordProblems: DATA, [ProblemKind::NotFound];
    /// A write with the three keys.
    WriteProblems: ALWAYS, BODY, WRITE;
    /// Handing in a transaction.
    SubmitProblems: ALWAYS, BODY, WRITE, [
        ProblemKind::Forbidden,
        ProblemKind::ManagedSender,
        ProblemKind::NotConfigured,
        ProblemKind::ChainUnavailable,
    ];
    /// Posting to the books.
    PostingProblems: ALWAYS, BODY, WRITE, [ProblemKind::PostingRefused];
    /// Importing a file of postings.
    ImportProblems: DATA, [ProblemKind::UnsupportedMediaType, ProblemKind::BodyTooLarge], [ProblemKind::MissingKey, ProblemKind::PostingRefused];
    /// Proofs, checkpoints and keys of a tenant's log.
    LogProblems: DATA, [ProblemKind::NotFound, ProblemKind::Conflict];
    /// A page of what is of one thing.
    StatementProblems: DATA, [ProblemKind::InvalidCursor, ProblemKind::NotFound];
    /// Having a signer hand over.
    RotationProblems: ALWAYS, BODY, WRITE, [ProblemKind::Forbidden, ProblemKind::NotConfigured];
    /// Who signs.
    SignerProblems: DATA, [ProblemKind::NotFound, ProblemKind::NotConfigured];
    /// What is one's own, read.
    OwnProblems: DATA, OWN;
    /// The same, written.
    OwnWriteProblems: ALWAYS, BODY, WRITE, OWN;
    /// Signing in, staying in and signing out.
    SignInProblems: ALWAYS, BODY, [
        ProblemKind::NotFound,
        ProblemKind::Conflict,
        ProblemKind::NotConfigured,
        ProblemKind::MalformedSignIn,
        ProblemKind::Unauthenticated,
        ProblemKind::WrongDomain,
        ProblemKind::WrongUri,
        ProblemKind::WrongChain,
        ProblemKind::MessageExpired,
        ProblemKind::MessageNotYetValid,
        ProblemKind::WrongSignature,
        ProblemKind::NonceUnknown,
        ProblemKind::NonceUsed,
        ProblemKind::OtherTenantsNonce,
        ProblemKind::NoSuchUser,
        ProblemKind::Suspended,
        ProblemKind::WrongCredentials,
        ProblemKind::SessionOver,
        ProblemKind::WalletUnavailable,
    ];
    /// Signing in at a provider.
    OidcProblems: DATA, [
        ProblemKind::MissingParameter,
        ProblemKind::NotFound,
        ProblemKind::Conflict,
        ProblemKind::NotConfigured,
        ProblemKind::ProviderUnavailable,
        ProblemKind::ProviderSignInRefused,
        ProblemKind::NoSuchUser,
        ProblemKind::Suspended,
        ProblemKind::Unauthenticated,
        ProblemKind::SessionOver,
    ];
    /// Setting out to link a subject of a provider.
    OidcLinkProblems: ALWAYS, BODY, OWN, [
        ProblemKind::NotFound,
        ProblemKind::NotConfigured,
        ProblemKind::ProviderUnavailable,
    ];
    /// Second factors, set up and given.
    SecondFactorProblems: ALWAYS, BODY, [
        ProblemKind::Unauthenticated,
        ProblemKind::SessionOver,
        ProblemKind::SecondFactorRequired,
        ProblemKind::SecondFactorRefused,
        ProblemKind::Conflict,
        ProblemKind::NotConfigured,
    ];
}

/// The answers of these, by status.
pub(super) fn responses(kinds: &[ProblemKind]) -> BTreeMap<String, RefOr<Response>> {
    let mut by_status: BTreeMap<StatusCode, Vec<&'static str>> = BTreeMap::new();
    for kind in kinds {
        let slugs = by_status.entry(kind.status()).or_default();
        if !slugs.contains(&kind.slug()) {
            slugs.push(kind.slug());
        }
    }
    by_status
        .into_iter()
        .map(|(status, slugs)| {
            let description = format!("{PROBLEM_PREFIX}{}", slugs.join(", "));
            let content = Content::new(Some(Ref::from_schema_name("Problem")));
            let response =
                ResponseBuilder::new().description(description).content(PROBLEM_JSON, content).build();
            (status.as_str().to_owned(), response.into())
        })
        .collect()
}
