//! Every route that may change something has a declaration, found by asking each path for each method.

use std::path::Path;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::routing::post;
use tower::ServiceExt;

use super::{House, NOTES, THINGS, TOKENS};
use crate::gateway::{Access, Declaration, Declared, Routes, WriteMethod};
use crate::routes::{DECLARATIONS, router, router_with};

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src");

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
    let paths: Vec<_> = DECLARATIONS.iter().map(|declaration| declaration.path).collect();
    assert_eq!(undeclared(&router(house.state.clone()), &paths).await, Vec::<String>::new());
}

#[tokio::test]
async fn the_walk_finds_a_route_without_a_declaration() {
    let house = House::start().await;
    let stray = Router::new().route("/api/v1/stray", post(async || "done"));
    let exempt = Routes::default().exempt(
        Declaration::exempt(WriteMethod::Post, "/api/v1/exempt", Access::Anybody, "changes nothing"),
        async || "done",
    );
    let routes = super::routes(&house.probe);
    assert_eq!(routes.declarations().len(), 6);
    let more = routes.merge(exempt).into_router().merge(stray);
    let router = router_with(house.state.clone(), more);
    let paths = [THINGS, NOTES, TOKENS, "/api/v1/exempt", "/api/v1/stray", "/api/v1/chains/{chain_id}"];
    assert_eq!(undeclared(&router, &paths).await, ["POST /api/v1/stray"]);
}

/// Every source of this crate but the tests and the one place where such routes are made, with its text.
fn sources(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(SOURCES).unwrap().display().to_string();
        if path.is_dir() {
            if !matches!(name.as_str(), "tests" | "gateway") {
                sources(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push((name, std::fs::read_to_string(&path).unwrap()));
        }
    }
}

/// The walks ask the paths that are declared. A route at another would be made like this.
#[test]
fn routes_are_made_in_one_place_alone() {
    let mut found = Vec::new();
    sources(Path::new(SOURCES), &mut found);
    assert!(found.iter().any(|(name, _)| name == "routes/mod.rs"), "{found:?}");
    for (name, text) in found {
        for way in ["axum::routing", ".route(", ".route_service(", ".nest(", ".nest_service("] {
            assert_eq!(text.lines().find(|line| line.contains(way)), None, "{name} makes a route by {way}");
        }
    }
}

#[test]
fn what_is_served_and_what_is_documented_are_the_same_routes() {
    let document = crate::openapi();
    let mut documented: Vec<String> = Vec::new();
    for (path, item) in &document.paths.paths {
        let item = serde_json::to_value(item).unwrap();
        let methods = item.as_object().unwrap().keys().filter(|key| *key != "parameters");
        documented.extend(methods.map(|method| format!("{} {path}", method.to_uppercase())));
    }
    // For people with a browser: the way to the documentation, and its looks.
    let is_shown = |path: &str| !matches!(path, "/" | "/docs" | "/docs/style.css");
    let mut served: Vec<String> = DECLARATIONS
        .iter()
        .filter(|declaration| is_shown(declaration.path))
        .map(|declaration| format!("{} {}", declaration.method(), declaration.path))
        .collect();
    documented.sort();
    served.sort();
    assert_eq!(documented, served);
}
