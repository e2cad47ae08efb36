//! How often, and how much at once.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{Method, Request};
use plimsoll_identity::UserKind;
use serde_json::json;
use tokio::sync::Notify;

use super::{Api, bearer};
use crate::gateway::{Access, Declaration, Peer, Routes, WriteMethod};
use crate::routes::StreamOptions;
use crate::{ApiOptions, ApiState, Rate, RateLimits};

/// So slow that nothing comes back while a test runs.
const SLOW: Duration = Duration::from_secs(3_600);

fn some(burst: u32) -> Rate {
    Rate { interval: SLOW, burst }
}

async fn limited(rate_limits: RateLimits) -> Api {
    let options = ApiOptions {
        rate_limits,
        trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
        ..ApiOptions::default()
    };
    let sign_in = Declaration::exempt(WriteMethod::Post, "/auth/test", Access::Anybody, "changes nothing");
    let more = Routes::default().exempt(sign_in, async || "signed in").into_router();
    Api::start_with(options, more).await
}

/// Asks until it is refused; how often it was not.
async fn passed(api: &Api, address: &str, headers: &[(&str, &str)]) -> usize {
    for count in 0..100 {
        let answer = api.get_from(address, "/api/v1/chains", headers).await;
        if answer.status.as_u16() == 429 {
            assert_eq!(answer.kind(), "too-many-requests");
            assert!(answer.headers["retry-after"].to_str().unwrap().parse::<u64>().unwrap() >= 1);
            return count;
        }
        assert_eq!(answer.status.as_u16(), 200, "{}", answer.body);
    }
    panic!("never refused");
}

#[tokio::test]
async fn an_address_that_asks_too_often_is_told_when_to_come_back() {
    let api = limited(RateLimits { address: some(20), ..RateLimits::default() }).await;
    let first = api.get_from("192.0.2.1", "/api/v1/chains", &[]).await;
    assert_eq!(first.all("ratelimit-policy"), ["\"address\";q=20;w=72000"]);
    assert_eq!(first.all("ratelimit"), ["\"address\";r=19;t=3600"]);
    assert_eq!(passed(&api, "192.0.2.1", &[]).await, 19);
    let refused = api.get_from("192.0.2.1", "/api/v1/chains", &[]).await;
    assert_eq!(refused.status.as_u16(), 429);
    let wait_s: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!(
        (1..=3_600).contains(&wait_s) && refused.body.contains(&format!("wait {wait_s} s")),
        "{}",
        refused.body
    );
    assert!(refused.all("ratelimit")[0].starts_with("\"address\";r=0;t="));
    let problem = refused.json();
    insta::with_settings!({sort_maps => true}, {
        insta::assert_json_snapshot!("too_many_requests", problem, {".request_id" => "[id]", ".remedy" => "[wait]"});
    });
    for probe in ["/healthz", "/readyz", "/metrics"] {
        assert_ne!(api.get_from("192.0.2.1", probe, &[]).await.status.as_u16(), 429, "{probe}");
    }
    assert!(api.get("/metrics").await.body.contains("requests_refused_total{limit=\"address\"}"));
    assert_eq!(api.get_from("192.0.2.2", "/api/v1/chains", &[]).await.status.as_u16(), 200);
    assert_eq!(
        api.get_from("10.0.0.1", "/api/v1/chains", &[("x-forwarded-for", "192.0.2.3")]).await.status.as_u16(),
        200
    );
    let behind_a_proxy =
        api.get_from("10.0.0.1", "/api/v1/chains", &[("x-forwarded-for", "192.0.2.1")]).await;
    assert_eq!(behind_a_proxy.status.as_u16(), 429, "the same client by another way");
    let liar = api.get_from("192.0.2.1", "/api/v1/chains", &[("x-forwarded-for", "192.0.2.9")]).await;
    assert_eq!(liar.status.as_u16(), 429, "a client cannot give itself another address");
}

#[tokio::test]
async fn guessing_credentials_costs_what_asking_costs() {
    let api = limited(RateLimits { address: some(5), ..RateLimits::default() }).await;
    let wrong = bearer("plk_0000000000000000_wrong");
    let headers = [("authorization", wrong.as_str())];
    let mut statuses = Vec::new();
    for _ in 0..6 {
        statuses.push(api.get_with("/api/v1/chains", &headers).await.status.as_u16());
    }
    assert_eq!(statuses, [401, 401, 401, 401, 401, 429]);
}

#[tokio::test]
async fn a_user_and_a_tenant_have_limits_of_their_own() {
    let api = limited(RateLimits { user: some(10), tenant: some(15), ..RateLimits::default() }).await;
    let (acme, globex) = (api.tenant_named("acme").await, api.tenant_named("globex").await);
    let (one, two, other) = (
        bearer(&api.key(acme, None).await),
        bearer(&api.key(acme, None).await),
        bearer(&api.key(globex, None).await),
    );
    let first = api.get_with("/api/v1/chains", &[("authorization", &one)]).await;
    assert_eq!(first.all("ratelimit-policy"), ["\"user\";q=10;w=36000", "\"tenant\";q=15;w=54000"]);
    assert_eq!(first.all("ratelimit"), ["\"user\";r=9;t=3600", "\"tenant\";r=14;t=3600"]);
    assert_eq!(passed(&api, "192.0.2.1", &[("authorization", &one)]).await, 9);
    // What one user was refused is not taken from the tenant's others.
    for _ in 0..20 {
        api.get_with("/api/v1/chains", &[("authorization", &one)]).await;
    }
    let of_two = passed(&api, "192.0.2.2", &[("authorization", &two)]).await;
    assert_eq!(of_two, 5, "the tenant has 15, of which one user had 10");
    let refused = api.get_with("/api/v1/chains", &[("authorization", &two)]).await;
    assert!(refused.body.contains("a tenant may send"), "{}", refused.body);
    assert_eq!(passed(&api, "192.0.2.3", &[("authorization", &other)]).await, 10);
}

#[tokio::test]
async fn the_tenants_configuration_tells_the_limits_that_are_kept() {
    let options = ApiOptions {
        request_timeout_ms: 7_000,
        body_timeout_ms: 3_000,
        write_timeout_ms: 20_000,
        max_concurrent_requests: 11,
        max_costly_requests: 5,
        streams: StreamOptions { max: 3, max_per_tenant: 9, ..StreamOptions::default() },
        rate_limits: RateLimits {
            user: some(10),
            tenant: Rate::per(Duration::from_secs(1), 3, 40),
            sign_in: Rate::per(Duration::from_secs(60), 10, 5),
            address: Rate::default(),
        },
        ..ApiOptions::default()
    };
    let api = Api::start_with(options, Router::new()).await;
    let tenant_id = api.tenant_named("acme").await;
    let person = api.person(tenant_id, UserKind::Person, &["admin"]).await;
    let answer = api.read(&person, &format!("/tenants/{tenant_id}/config")).await;
    let limits = answer.expect(200)["limits"].clone();
    assert_eq!(
        limits,
        json!({
            "head_bytes": 32_768, "body_bytes": 65_536, "body_timeout_ms": 3_000, "request_timeout_ms": 7_000, "write_timeout_ms": 20_000,
            "page_rows": 200, "concurrent_requests": 11, "concurrent_costly_requests": 5, "concurrent_streams": 3,
            "rates": {
                "address": null,
                "user": { "requests": 10, "window_ms": 36_000_000 },
                "tenant": { "requests": 40, "window_ms": 13_334 },
                "sign-in": { "requests": 5, "window_ms": 30_000 },
            },
        })
    );
    let policies = ["\"user\";q=10;w=36000", "\"tenant\";q=40;w=14"];
    assert_eq!(answer.all("ratelimit-policy"), policies, "the headers say the same, in seconds");
    let authorization = bearer(&person.token);
    let left = limits["rates"]["user"]["requests"].as_u64().unwrap() - 1;
    assert_eq!(passed(&api, "192.0.2.1", &[("authorization", &authorization)]).await as u64, left);
}

#[tokio::test]
async fn signing_in_has_a_stricter_limit_that_reading_does_not_have() {
    let api = limited(RateLimits { sign_in: some(3), address: some(50), ..RateLimits::default() }).await;
    let sign_in = || {
        let mut request = Request::post("/auth/test").body(Body::empty()).unwrap();
        request.extensions_mut().insert(Peer("192.0.2.1".parse().unwrap()));
        request
    };
    let first = api.send(sign_in()).await;
    assert_eq!((first.status.as_u16(), first.body.as_str()), (200, "signed in"));
    assert_eq!(first.all("ratelimit-policy"), ["\"sign-in\";q=3;w=10800", "\"address\";q=50;w=180000"]);
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(api.send(sign_in()).await.status.as_u16());
    }
    assert_eq!(statuses, [200, 200, 429]);
    assert_eq!(api.get_with("/api/v1/chains", &[]).await.status.as_u16(), 200);
}

#[tokio::test]
async fn of_costly_requests_fewer_are_worked_on_at_once() {
    let (entered, leave) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (inside, gate) = (entered.clone(), leave.clone());
    let slow = async move || {
        inside.notify_one();
        gate.notified().await;
        "done"
    };
    let costly = Declaration::read("/api/v1/costly", Access::Anybody).costly();
    let more: Router<ApiState> = Routes::default().read(costly, slow).into_router();
    let options = ApiOptions { max_costly_requests: 1, ..ApiOptions::default() };
    let api = Arc::new(Api::start_with(options, more).await);
    let first = tokio::spawn({
        let api = api.clone();
        async move { api.get("/api/v1/costly").await.status.as_u16() }
    });
    entered.notified().await;
    let refused = api.get("/api/v1/costly").await;
    assert_eq!((refused.status.as_u16(), refused.kind().as_str()), (503, "overloaded"));
    assert_eq!(refused.headers["retry-after"], "2");
    assert_eq!(api.get("/api/v1/chains").await.status.as_u16(), 200, "cheap ones go on");
    leave.notify_one();
    assert_eq!(first.await.unwrap(), 200);
    leave.notify_one();
    assert_eq!(api.get("/api/v1/costly").await.status.as_u16(), 200, "the place is free again");
}

#[tokio::test]
async fn a_body_without_a_length_is_counted_and_one_that_does_not_come_is_given_up() {
    let read = Declaration::exempt(WriteMethod::Post, "/api/v1/read", Access::Anybody, "changes nothing");
    let more = Routes::default().exempt(read, async |body: Bytes| body.len().to_string()).into_router();
    let options = ApiOptions { body_timeout_ms: 20, ..ApiOptions::default() };
    let api = Api::start_with(options, more).await;
    let send = async |body: Body| {
        api.send(Request::builder().method(Method::POST).uri("/api/v1/read").body(body).unwrap()).await
    };
    assert_eq!(send(Body::from("four")).await.body, "4");
    let chunks = |count: usize| {
        Body::from_stream(futures::stream::iter(
            std::iter::repeat_n(Bytes::from_static(&[b'x'; 1_024]), count).map(Ok::<_, std::io::Error>),
        ))
    };
    assert_eq!(send(chunks(64)).await.body, "65536");
    let answer = send(chunks(65)).await;
    assert_eq!((answer.status.as_u16(), answer.kind().as_str()), (413, "body-too-large"));
    let answer = send(Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>())).await;
    assert_eq!((answer.status.as_u16(), answer.kind().as_str()), (408, "body-too-slow"), "{}", answer.body);
    assert_eq!(answer.headers["connection"], "close");
}
