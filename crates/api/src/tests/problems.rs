use std::future::pending;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request};
use axum::routing::get;
use tokio::sync::Notify;
use uuid::Uuid;

use super::seed::text;
use super::{Api, REQUEST_ID};
use crate::{ApiOptions, ApiState};

async fn bug() -> &'static str {
    panic!("a secret of the house")
}

async fn never() -> &'static str {
    pending().await
}

#[tokio::test]
async fn the_bodies_of_problems_change_only_on_purpose() {
    let api = Api::followed().await;
    for (name, path) in [
        ("not_found", "/nowhere?at=all".to_owned()),
        ("unknown_chain", "/api/v1/chains/5".to_owned()),
        ("unknown_parameter", "/api/v1/positions?usr=1&colour=red".to_owned()),
        ("missing_parameter", "/api/v1/positions".to_owned()),
        ("invalid_parameter", "/api/v1/events?limit=0&state=maybe&tx_hash=0x12".to_owned()),
        ("invalid_cursor", format!("/api/v1/positions?user={}&cursor=zz", text(7))),
    ] {
        let answer = api.get(&path).await;
        assert_eq!(answer.headers["x-request-id"], REQUEST_ID);
        assert_eq!(answer.headers["content-type"], "application/problem+json");
        insta::with_settings!({ sort_maps => true }, { insta::assert_json_snapshot!(name, answer.json()); });
    }
    let fresh = Api::start().await;
    let not_synced = fresh.get(&format!("/api/v1/positions?user={}", text(7))).await.json();
    insta::with_settings!({ sort_maps => true }, { insta::assert_json_snapshot!("not_synced", not_synced); });
}

#[tokio::test]
async fn a_wrong_method_is_told_which_are_right() {
    let api = Api::start().await;
    let request =
        Request::post("/api/v1/positions").header("x-request-id", REQUEST_ID).body(Body::empty()).unwrap();
    let answer = api.send(request).await;
    assert_eq!((answer.status.as_u16(), answer.headers["allow"].to_str().unwrap()), (405, "GET,HEAD"));
    insta::with_settings!({ sort_maps => true }, { insta::assert_json_snapshot!("method_not_allowed", answer.json()); });
}

#[tokio::test]
async fn a_panic_is_a_problem_that_keeps_the_secrets_of_the_house() {
    let api = Api::start_with(ApiOptions::default(), Router::<ApiState>::new().route("/bug", get(bug))).await;
    let problem = api.problem("/bug", 500, "internal").await;
    assert!(!problem.to_string().contains("secret"));
    insta::with_settings!({ sort_maps => true }, { insta::assert_json_snapshot!("internal", problem); });
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_given_up() {
    let options = ApiOptions { request_timeout_ms: 20, ..ApiOptions::default() };
    let api = Api::start_with(options, Router::<ApiState>::new().route("/never", get(never))).await;
    let answer = api.get("/never").await;
    assert_eq!((answer.status.as_u16(), answer.headers["retry-after"].to_str().unwrap()), (503, "2"));
    insta::with_settings!({ sort_maps => true }, { insta::assert_json_snapshot!("timed_out", answer.json()); });
}

#[tokio::test]
async fn one_request_too_many_is_told_to_come_back_while_probes_are_answered() {
    let (entered, leave) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (inside, gate) = (entered.clone(), leave.clone());
    let slow = async move || {
        inside.notify_one();
        gate.notified().await;
        "done"
    };
    let options = ApiOptions { max_concurrent_requests: 1, ..ApiOptions::default() };
    let api = Arc::new(Api::start_with(options, Router::<ApiState>::new().route("/slow", get(slow))).await);
    let first = tokio::spawn({
        let api = api.clone();
        async move { api.get("/slow").await.status }
    });
    entered.notified().await;
    let overloaded = api.problem("/api/v1/chains", 503, "overloaded").await;
    insta::with_settings!({ sort_maps => true }, { insta::assert_json_snapshot!("overloaded", overloaded); });
    assert_eq!(api.get("/healthz").await.status.as_u16(), 200);
    leave.notify_one();
    assert_eq!(first.await.unwrap().as_u16(), 200);
    api.ok("/api/v1/chains").await;
}

#[tokio::test]
async fn a_large_body_is_refused_before_it_is_read() {
    let api = Api::start().await;
    let request =
        Request::get("/api/v1/chains").header("content-length", "70000").body(Body::empty()).unwrap();
    let answer = api.send(request).await;
    assert_eq!(
        (answer.status.as_u16(), answer.json()["type"].as_str().unwrap()),
        (413, "urn:plimsoll:problem:body-too-large")
    );
}

#[tokio::test]
async fn a_database_that_is_gone_is_said_so_and_worth_a_retry() {
    let api = Api::start().await;
    api.db.close().await;
    for path in ["/api/v1/chains", "/api/v1/chains/1", "/api/v1/events?chain_id=1"] {
        api.problem(path, 503, "database-unavailable").await;
    }
    let answer = api.get(&format!("/api/v1/positions?user={}", text(7))).await;
    assert_eq!(answer.headers["retry-after"], "2");
    insta::with_settings!({ sort_maps => true }, { insta::assert_json_snapshot!("database_unavailable", answer.json()); });
}

#[tokio::test]
async fn a_head_request_has_the_headers_and_no_body() {
    let api = Api::start().await;
    for path in ["/healthz", "/nowhere", "/api/v1/chains"] {
        let request = Request::builder().method(Method::HEAD).uri(path).body(Body::empty()).unwrap();
        let answer = api.send(request).await;
        assert_eq!(answer.body, "", "{path}");
        assert!(answer.headers["x-request-id"].to_str().unwrap().parse::<Uuid>().is_ok(), "{path}");
    }
}

#[tokio::test]
async fn an_answer_is_not_kept_by_caches() {
    let api = Api::followed().await;
    assert_eq!(api.get("/api/v1/chains").await.headers["cache-control"], "no-store");
}
