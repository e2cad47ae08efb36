//! Every route that may change something has a declaration, found by asking each path for each method.

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::routing::post;
use tower::ServiceExt;

use super::{House, NOTES, THINGS, TOKENS};
use crate::idempotency::{Declared, WriteMethod, WriteRoutes};
use crate::routes::{PATHS, router, router_with};

/// `METHOD path` of each route that answers to a method that may change something, and is not declared.
async fn undeclared(router: &Router, paths: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for path in paths {
        for method in WriteMethod::ALL {
            // A value for each parameter of the path.
            let uri: String = path
                .split('/')
                .map(|part| if part.starts_with('{') { "1" } else { part })
                .collect::<Vec<_>>()
                .join("/");
            let request = Request::builder().method(method.http()).uri(uri).body(Body::empty()).unwrap();
            let response = router.clone().oneshot(request).await.unwrap();
            let is_route = response.status().as_u16() != 405;
            if is_route && response.extensions().get::<Declared>().is_none() {
                found.push(format!("{} {path}", method.http()));
            }
        }
    }
    found
}

#[tokio::test]
async fn every_route_that_may_change_something_has_a_declaration() {
    let house = House::start().await;
    assert_eq!(undeclared(&router(house.state.clone()), PATHS).await, Vec::<String>::new());
    let paths = crate::openapi().paths.paths;
    for path in paths.keys() {
        assert!(PATHS.contains(&path.as_str()), "{path} is not among the paths that are looked at");
    }
}

#[tokio::test]
async fn the_walk_finds_a_route_without_a_declaration() {
    let house = House::start().await;
    let stray = Router::new().route("/api/v1/stray", post(async || "done"));
    let exempt = WriteRoutes::new(house.keys.clone()).exempt(
        WriteMethod::Post,
        "/api/v1/exempt",
        "changes nothing",
        async || "done",
    );
    let more =
        super::routes(&house.keys, &house.probe).into_router().merge(exempt.into_router()).merge(stray);
    let router = router_with(house.state.clone(), more);
    let paths = [THINGS, NOTES, TOKENS, "/api/v1/exempt", "/api/v1/stray", "/api/v1/chains/{chain_id}"];
    assert_eq!(undeclared(&router, &paths).await, ["POST /api/v1/stray"]);
    assert_eq!(super::routes(&house.keys, &house.probe).declarations().len(), 5);
}
