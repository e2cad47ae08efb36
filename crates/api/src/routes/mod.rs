//! The routes: a file for each resource.

pub(crate) mod chains;
pub(crate) mod docs;
pub(crate) mod events;
pub(crate) mod health;
pub(crate) mod metrics;
pub(crate) mod openapi;
pub(crate) mod positions;
pub(crate) mod ready;

use std::sync::LazyLock;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::Method;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::Redirect;
use plimsoll_identity::Permission::{EventsRead, PositionsRead};
use tower_http::catch_panic::CatchPanicLayer;

use crate::context;
use crate::gateway::Access::{Anybody, Open};
use crate::gateway::{Declaration, Routes, authenticate};
use crate::limits::BODY_MAX_BYTES;
use crate::problem::{Problem, ProblemKind};
use crate::state::ApiState;

const DOCS: &str = "/docs";

/// What every route says of itself.
pub(crate) static DECLARATIONS: LazyLock<Vec<Declaration>> =
    LazyLock::new(|| operations().merge(data()).declarations().to_vec());

/// For those who run it, and the way in: these look at no credential and are never turned away for load.
fn operations() -> Routes<ApiState> {
    let open = |path| Declaration::read(path, Anybody);
    Routes::default()
        .read(open("/"), async || Redirect::temporary(DOCS))
        .read(open("/healthz"), health::healthz)
        .read(open("/readyz"), ready::readyz)
        .read(open("/metrics"), metrics::metrics)
        .read(open("/openapi.json"), openapi::document)
        .read(open(DOCS), docs::page)
        .read(open("/docs/style.css"), docs::style)
}

/// All others, bounded in time and number.
fn data() -> Routes<ApiState> {
    Routes::default()
        .read(Declaration::read("/api/v1/positions", Open(PositionsRead)), positions::positions)
        .read(Declaration::read("/api/v1/events", Open(EventsRead)), events::events)
        .read(Declaration::read("/api/v1/chains", Open(EventsRead)), chains::chains)
        .read(Declaration::read("/api/v1/chains/{chain_id}", Open(EventsRead)), chains::chain)
}

/// All routes with everything around them.
pub fn router(state: ApiState) -> Router {
    router_with(state, Router::new())
}

/// [`router`], with more routes over data: the tests' ways to a panic and to a slow answer.
pub(crate) fn router_with(state: ApiState, more: Router<ApiState>) -> Router {
    let data = data()
        .into_router()
        .merge(more)
        .layer(from_fn_with_state(state.clone(), authenticate))
        .layer(from_fn_with_state(state.clone(), context::bounded));
    operations()
        .into_router()
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
