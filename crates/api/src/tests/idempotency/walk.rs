//! Every route that may change something has a declaration, found by asking each path for each method.

use std::path::Path;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::routing::post;
use tower::ServiceExt;

use super::{House, NOTES, THINGS, TOKENS};
use crate::idempotency::{Declared, WriteMethod, WriteRoutes};
use crate::routes::{PATHS, router, router_with};

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

/// Every source of this crate but the tests and the one place where such routes are made, with its text.
fn sources(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(SOURCES).unwrap().display().to_string();
        if path.is_dir() {
            if !matches!(name.as_str(), "tests" | "idempotency") {
                sources(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push((name, std::fs::read_to_string(&path).unwrap()));
        }
    }
}

/// The walk asks the paths that it knows. A route at another would be made with one of these.
#[test]
fn routes_that_change_something_are_made_in_one_place_alone() {
    let mut found = Vec::new();
    sources(Path::new(SOURCES), &mut found);
    assert!(found.iter().any(|(name, _)| name == "routes/mod.rs"), "{found:?}");
    for (name, text) in found {
        for makes in ["post", "put", "patch", "delete", "any", "on"] {
            for way in [format!(" {makes}("), format!(".{makes}("), format!("::{makes}(")] {
                let is_of_a_route = |line: &&str| {
                    line.contains(&way)
                        && (line.contains(".route(") || line.contains("routing::") || line.contains("get("))
                };
                assert_eq!(text.lines().find(is_of_a_route), None, "{name}");
            }
            for import in text.lines().filter(|line| line.contains("axum::routing::")) {
                let words: Vec<&str> = import.split(|c: char| !c.is_alphanumeric()).collect();
                assert!(!words.contains(&makes), "{name}: {import}");
            }
        }
    }
}
