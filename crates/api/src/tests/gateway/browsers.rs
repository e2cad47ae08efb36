//! What browsers are told.

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request};

use super::super::Answer;
use super::Api;
use crate::ApiOptions;

const OURS: &str = "https://console.example";

async fn preflight(api: &Api, origin: &str, path: &str) -> Answer {
    let request = Request::builder()
        .method(Method::OPTIONS)
        .uri(path)
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization,idempotency-key")
        .body(Body::empty())
        .unwrap();
    api.send(request).await
}

#[tokio::test]
async fn without_a_configured_origin_no_page_of_others_reads_an_answer() {
    let api = Api::start().await;
    let answer = api.get_with("/api/v1/chains", &[("origin", OURS)]).await;
    assert_eq!(answer.status.as_u16(), 200);
    assert!(
        !answer.headers.keys().any(|name| name.as_str().starts_with("access-control")),
        "{:?}",
        answer.headers
    );
    assert_eq!(preflight(&api, OURS, "/api/v1/chains").await.status.as_u16(), 405);
}

#[tokio::test]
async fn a_configured_origin_reads_answers_and_problems_without_credentials_of_the_browser() {
    let options =
        ApiOptions { cors_origins: vec![OURS.parse().unwrap()], open_reads: false, ..ApiOptions::default() };
    let api = Api::start_with(options, Router::new()).await;
    let asked = preflight(&api, OURS, "/api/v1/chains").await;
    assert_eq!(asked.status.as_u16(), 200, "nobody is asked who they are");
    assert_eq!(asked.headers["access-control-allow-origin"], OURS);
    let allowed = asked.headers["access-control-allow-headers"].to_str().unwrap();
    for header in ["authorization", "idempotency-key", "content-type", "api-version", "traceparent"] {
        assert!(allowed.contains(header), "{header} in {allowed}");
    }
    for (path, status) in [("/healthz", 200), ("/api/v1/chains", 401), ("/nowhere", 404), ("/api/v9/x", 400)]
    {
        let answer = api.get_with(path, &[("origin", OURS)]).await;
        assert_eq!(answer.status.as_u16(), status);
        if status != 400 {
            assert_eq!(answer.headers["access-control-allow-origin"], OURS, "{path}");
            let exposed = answer.headers["access-control-expose-headers"].to_str().unwrap();
            for header in ["x-request-id", "ratelimit", "retry-after", "idempotent-replayed", "traceresponse"]
            {
                assert!(exposed.contains(header), "{header} in {exposed}");
            }
        }
        assert_eq!(answer.headers.get("access-control-allow-credentials"), None);
    }
    let stranger = api.get_with("/healthz", &[("origin", "https://console.example.evil")]).await;
    assert_eq!(stranger.headers.get("access-control-allow-origin"), None);
    let stranger = preflight(&api, "null", "/api/v1/chains").await;
    assert_eq!(stranger.headers.get("access-control-allow-origin"), None);
}

#[tokio::test]
async fn every_answer_tells_browsers_to_do_nothing_clever_with_it() {
    for is_https in [false, true] {
        let api = Api::start_with(ApiOptions { is_https, ..ApiOptions::default() }, Router::new()).await;
        for path in ["/healthz", "/api/v1/chains", "/nowhere", "/docs", "/api/v9/x"] {
            let answer = api.get(path).await;
            for (name, value) in [
                ("x-content-type-options", "nosniff"),
                ("referrer-policy", "no-referrer"),
                ("x-frame-options", "DENY"),
                ("cross-origin-resource-policy", "same-origin"),
            ] {
                assert_eq!(answer.all(name), [value], "{path}");
            }
            let policy = answer.headers["content-security-policy"].to_str().unwrap();
            assert!(
                policy.starts_with("default-src 'none'; ") && policy.contains("frame-ancestors 'none'"),
                "{policy}"
            );
            assert!(!policy.contains("unsafe") && !policy.contains("script-src"), "{policy}");
            let hsts = answer.all("strict-transport-security");
            assert_eq!(hsts, if is_https { vec!["max-age=31536000"] } else { vec![] }, "{path}");
        }
    }
}
