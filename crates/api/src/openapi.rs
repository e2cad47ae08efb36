use std::collections::BTreeMap;

use axum::http::StatusCode;
use plimsoll_types::api;
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::{Content, Ref, RefOr};
use utoipa::{IntoResponses, OpenApi};

use crate::problem::ProblemKind;
use crate::routes::{chains, events, health, metrics, openapi as document, positions, ready};

/// Of RFC 9457.
const PROBLEM_JSON: &str = "application/problem+json";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Plimsoll",
        description = "The off-chain half of an on-chain business: what the chain said, mirrored and proven.\n\n\
            Amounts, versions and on-chain sequences are decimal strings. Every answer says which block it is true at and how far behind the \
            chain that is; `stale: true` means: do not act on this. Errors are RFC 9457 problems with a `request_id` (send your own \
            as `X-Request-Id`) and a `remedy`. Parameters that are not known are refused.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    paths(
        positions::positions,
        events::events,
        chains::chains,
        chains::chain,
        health::healthz,
        ready::readyz,
        metrics::metrics,
        document::document,
    ),
    components(schemas(api::Problem)),
    tags(
        (name = "positions", description = "What each user holds and owes, as the position view last wrote it"),
        (name = "events", description = "What the followed contracts logged"),
        (name = "chains", description = "How far each chain is followed"),
        (name = "operations", description = "For those who run it"),
    ),
)]
struct Document;

/// The OpenAPI 3.1 document of this API, made from the handlers.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

/// The problems of a route over data.
pub(crate) struct DataProblems;

/// [`DataProblems`], and those of a chain that is not followed.
pub(crate) struct ChainProblems;

const DATA: &[ProblemKind] = &[
    ProblemKind::UnknownParameter,
    ProblemKind::InvalidParameter,
    ProblemKind::DatabaseUnavailable,
    ProblemKind::SchemaMismatch,
    ProblemKind::TimedOut,
    ProblemKind::Overloaded,
    ProblemKind::Internal,
];

impl IntoResponses for DataProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        responses(DATA)
    }
}

impl IntoResponses for ChainProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        responses(&[DATA, &[ProblemKind::UnknownChain]].concat())
    }
}

/// The problems of a page: those of a chain, of cursors and of folds.
pub(crate) struct PageProblems;

impl IntoResponses for PageProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let of_pages = [
            ProblemKind::MissingParameter,
            ProblemKind::InvalidCursor,
            ProblemKind::UnknownChain,
            ProblemKind::NotSynced,
        ];
        responses(&[DATA, &of_pages].concat())
    }
}

fn responses(kinds: &[ProblemKind]) -> BTreeMap<String, RefOr<Response>> {
    let mut by_status: BTreeMap<StatusCode, Vec<&'static str>> = BTreeMap::new();
    for kind in kinds {
        by_status.entry(kind.status()).or_default().push(kind.slug());
    }
    by_status
        .into_iter()
        .map(|(status, slugs)| {
            let description = format!("Problem: {}", slugs.join(", "));
            let content = Content::new(Some(Ref::from_schema_name("Problem")));
            let response =
                ResponseBuilder::new().description(description).content(PROBLEM_JSON, content).build();
            (status.as_str().to_owned(), response.into())
        })
        .collect()
}
