//! The routes: a file for each resource.

pub(crate) mod chains;
pub(crate) mod docs;
pub(crate) mod events;
pub(crate) mod health;
pub(crate) mod metrics;
pub(crate) mod openapi;
pub(crate) mod positions;
pub(crate) mod ready;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::Method;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::Redirect;
use axum::routing::get;
use tower_http::catch_panic::CatchPanicLayer;

use crate::context;
use crate::limits::BODY_MAX_BYTES;
use crate::problem::{Problem, ProblemKind};
use crate::state::ApiState;

const HEALTHZ: &str = "/healthz";
const READYZ: &str = "/readyz";
const METRICS: &str = "/metrics";
const OPENAPI: &str = "/openapi.json";
const DOCS: &str = "/docs";
const DOCS_STYLE: &str = "/docs/style.css";
const POSITIONS: &str = "/api/v1/positions";
const EVENTS: &str = "/api/v1/events";
const CHAINS: &str = "/api/v1/chains";
const CHAIN: &str = "/api/v1/chains/{chain_id}";

/// Every path, as metrics label it.
pub(crate) const PATHS: &[&str] =
    &["/", HEALTHZ, READYZ, METRICS, OPENAPI, DOCS, DOCS_STYLE, POSITIONS, EVENTS, CHAINS, CHAIN];

/// All routes with everything around them.
pub fn router(state: ApiState) -> Router {
    router_with(state, Router::new())
}

/// [`router`], with more routes over data: the tests' ways to a panic and to a slow answer.
pub(crate) fn router_with(state: ApiState, more: Router<ApiState>) -> Router {
    let data = Router::new()
        .route(POSITIONS, get(positions::positions))
        .route(EVENTS, get(events::events))
        .route(CHAINS, get(chains::chains))
        .route(CHAIN, get(chains::chain))
        .merge(more)
        .layer(from_fn_with_state(state.clone(), context::bounded));
    Router::new()
        .route("/", get(async || Redirect::temporary(DOCS)))
        .route(HEALTHZ, get(health::healthz))
        .route(READYZ, get(ready::readyz))
        .route(METRICS, get(metrics::metrics))
        .route(OPENAPI, get(openapi::document))
        .route(DOCS, get(docs::page))
        .route(DOCS_STYLE, get(docs::style))
        .merge(data)
        .fallback(nothing_here)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(BODY_MAX_BYTES))
        .layer(from_fn(context::bounded_body))
        .layer(CatchPanicLayer::custom(context::panicked))
        .layer(from_fn(context::around))
        .with_state(state)
}

async fn nothing_here(request: Request) -> Problem {
    Problem::new(
        ProblemKind::NotFound,
        format!("there is no `{}` here", crate::query::shown(request.uri().path())),
    )
}

async fn wrong_method(method: Method) -> Problem {
    Problem::new(
        ProblemKind::MethodNotAllowed,
        format!("`{}` is not a method of this path", crate::query::shown(method.as_str())),
    )
}
