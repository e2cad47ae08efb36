//! The routes: a file for each resource.

pub(crate) mod approvals;
pub(crate) mod audit;
pub(crate) mod auth;
pub(crate) mod chains;
pub(crate) mod docs;
pub(crate) mod events;
pub(crate) mod health;
pub(crate) mod keys;
pub(crate) mod kill_switches;
pub(crate) mod ledger;
pub(crate) mod metrics;
pub(crate) mod openapi;
mod paging;
pub(crate) mod positions;
pub(crate) mod ready;
pub(crate) mod roles;
pub(crate) mod sessions;
pub(crate) mod signers;
pub(crate) mod story;
pub(crate) mod streams;
pub(crate) mod tenants;
pub(crate) mod transactions;
pub(crate) mod users;

pub use streams::StreamOptions;
pub(crate) use streams::Streams;

use std::sync::LazyLock;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::Method;
use axum::middleware::from_fn_with_state;
use axum::response::Redirect;
use plimsoll_identity::Permission::{EventsRead, PositionsRead};
use tower::util::option_layer;
use tower_http::catch_panic::CatchPanicLayer;

use crate::context;
use crate::gateway::Access::{Anybody, Open};
use crate::gateway::{Declaration, Routes, Side, authenticate, bounded_body, cors};
use crate::limits::BODY_MAX_BYTES;
use crate::problem::{Problem, ProblemKind};
use crate::state::ApiState;

const DOCS: &str = "/docs";

/// What every route says of itself.
pub(crate) static DECLARATIONS: LazyLock<Vec<Declaration>> =
    LazyLock::new(|| operations(Side::Local).merge(data()).declarations().to_vec());

/// For those who run it, and the way in: these look at no credential and are never turned away for load.
fn operations(side: Side) -> Routes<ApiState> {
    let open = |path| Declaration::read(path, Anybody);
    let probe = |path| open(path).everywhere();
    let routes = Routes::default()
        .read(open("/"), async || Redirect::temporary(DOCS))
        .read(probe("/healthz"), health::healthz)
        .read(open("/metrics").for_operators(), metrics::metrics)
        .read(open("/openapi.json"), openapi::document)
        .read(open(DOCS), docs::page)
        .read(open("/docs/style.css"), docs::style)
        .read(open("/.well-known/jwks.json"), auth::jwks);
    match side {
        Side::Public => routes.read(probe("/readyz"), ready::in_brief),
        Side::Local | Side::Open | Side::Internal => routes.read(probe("/readyz"), ready::readyz),
    }
}

/// All others, bounded in time and number.
fn data() -> Routes<ApiState> {
    Routes::default()
        .read(Declaration::read("/api/v1/positions", Open(PositionsRead)), positions::positions)
        .read(Declaration::read("/api/v1/events", Open(EventsRead)), events::events)
        .read(Declaration::read("/api/v1/chains", Open(EventsRead)), chains::chains)
        .read(Declaration::read("/api/v1/chains/{chain_id}", Open(EventsRead)), chains::chain)
        .merge(auth::routes())
        .merge(users::routes())
        .merge(roles::routes())
        .merge(keys::routes())
        .merge(sessions::routes())
        .merge(approvals::routes())
        .merge(tenants::routes())
        .merge(story::routes())
        .merge(streams::routes())
        .merge(audit::routes())
        .merge(transactions::routes())
        .merge(signers::routes())
        .merge(kill_switches::routes())
        .merge(ledger::routes())
}

/// All routes with everything around them, as a listener serves them that nobody but this machine reaches.
pub fn router(state: ApiState) -> Router {
    router_on(Side::Local, state, Router::new())
}

/// [`router`], with more routes over data: the tests' ways to a panic and to a slow answer.
#[cfg(test)]
pub(crate) fn router_with(state: ApiState, more: Router<ApiState>) -> Router {
    router_on(Side::Local, state, more)
}

/// The routes of one listener, and `more` over data.
pub(crate) fn router_on(side: Side, state: ApiState, more: Router<ApiState>) -> Router {
    let origins = &state.options().cors_origins;
    let data = data()
        .served_on(side)
        .merge(more)
        .layer(from_fn_with_state(state.clone(), authenticate))
        .layer(from_fn_with_state(state.clone(), context::bounded));
    operations(side)
        .served_on(side)
        .merge(data)
        .fallback(nothing_here)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(BODY_MAX_BYTES))
        .layer(from_fn_with_state(state.clone(), bounded_body))
        .layer(CatchPanicLayer::custom(context::panicked))
        .layer(option_layer((!origins.is_empty()).then(|| cors(origins))))
        .layer(from_fn_with_state(state.clone(), context::around))
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
