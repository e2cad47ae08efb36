use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request};
use plimsoll_store::idempotency::KeyOptions;
use serde_json::json;
use sqlx::{ConnectOptions as _, Connection as _};
use uuid::Uuid;

use super::{Asks, House, NOTES, TENANT, THINGS, TOKENS, caller, post};
use crate::tests::recorder;

#[tokio::test]
async fn line_1_a_key_is_quoted_or_bare_has_two_names_and_is_demanded_where_value_moves() {
    let house = House::start().await;
    let body = json!({"name": "a"});
    let first = house.post(THINGS, "\"the key\"", &body).await;
    assert_eq!((first.status.as_u16(), first.is_replayed()), (201, false));
    assert!(house.post(THINGS, "\"the key\"", &body).await.is_replayed());
    let bare = house.post(THINGS, "bare", &body).await;
    assert!(!bare.is_replayed());
    let mut alias = post(THINGS, "", &body);
    alias.headers_mut().insert("x-idempotency-key", "\"bare\"".parse().unwrap());
    let alias = house.send(alias).await;
    assert_eq!((alias.is_replayed(), alias.body), (true, bare.body));

    let mut both = post(THINGS, "one", &body);
    both.headers_mut().insert("x-idempotency-key", "other".parse().unwrap());
    house.send(both).await.is_problem(400, "invalid-idempotency-key");
    for malformed in ["\"open", "a b", "auto:0123", &"x".repeat(256)] {
        house.post(THINGS, malformed, &body).await.is_problem(400, "invalid-idempotency-key");
    }
    house.post(THINGS, "", &body).await.is_problem(400, "missing-idempotency-key");
    assert_eq!(house.effects().await, 2);
}

#[tokio::test]
async fn line_1_without_a_key_only_what_is_in_flight_is_guarded() {
    let house = House::start().await;
    let body = json!({"name": "a"});
    house.probe.close();
    let first = tokio::spawn(super::answer(house.router.clone(), post(NOTES, "", &body)));
    house.probe.one_entered().await;
    let duplicate = tokio::spawn(super::answer(house.router.clone(), post(NOTES, "", &body)));
    house.waiting(1).await;
    house.probe.gate.add_permits(1);
    let (first, duplicate) = (first.await.unwrap(), duplicate.await.unwrap());
    assert_eq!((first.is_replayed(), duplicate.is_replayed()), (false, true));
    assert_eq!(first.body, duplicate.body);
    assert_eq!(house.effects().await, 1);

    house.probe.gate.add_permits(1);
    let later = house.post(NOTES, "", &body).await;
    assert_eq!((later.status.as_u16(), later.is_replayed()), (201, false), "a request of its own");
    assert_eq!(house.effects().await, 2);
}

#[tokio::test]
async fn line_2_the_same_key_of_another_tenant_principal_method_or_route_is_another_key() {
    let house = House::start().await;
    let body = json!({"name": "a"});
    let request = |method: Method, path: &str, tenant_id, actor: &str| {
        let mut request = post(path, "k", &body);
        *request.method_mut() = method;
        request.extensions_mut().insert(Asks(caller(tenant_id, actor)));
        request
    };
    let other = Some(Uuid::from_u128(2));
    let asks = [
        (Method::POST, THINGS, Some(TENANT), "user:ada"),
        (Method::POST, THINGS, other, "user:ada"),
        (Method::POST, THINGS, Some(TENANT), "user:ben"),
        (Method::PUT, THINGS, Some(TENANT), "user:ada"),
        (Method::POST, NOTES, Some(TENANT), "user:ada"),
    ];
    for replayed in [false, true] {
        for (method, path, tenant_id, actor) in asks.clone() {
            let answer = house.send(request(method.clone(), path, tenant_id, actor)).await;
            assert_eq!(
                (answer.status.as_u16(), answer.is_replayed()),
                (201, replayed),
                "{method} {path} {tenant_id:?} {actor}"
            );
        }
    }
    assert_eq!(house.effects().await, 5);
}

#[tokio::test]
async fn line_3_spelling_does_not_matter_and_every_value_does() {
    let house = House::start().await;
    let request = |path: String, body: &str| {
        let mut request = post(&path, "k", &json!(null));
        *request.body_mut() = Body::from(body.to_owned());
        request
    };
    let first = r#"{"name":"a","amount":9007199254740993}"#;
    assert_eq!(house.send(request(format!("{THINGS}?a=1&b=2"), first)).await.status.as_u16(), 201);
    let respelt = "{ \"amount\" : 9007199254740993,\n \"n\\u0061me\": \"a\" }";
    assert!(house.send(request(format!("{THINGS}?b=2&a=%31"), respelt)).await.is_replayed());
    for (query, body) in [
        ("?a=1&b=2", r#"{"name":"a","amount":9007199254740992}"#),
        ("?a=1&b=2", r#"{"name":"a","amount":"9007199254740993"}"#),
        ("?a=1&b=2", r#"{"name":"a","amount":9007199254740993,"more":null}"#),
        ("?a=1&b=3", first),
        ("?a=1", first),
    ] {
        house.send(request(format!("{THINGS}{query}"), body)).await.is_problem(422, "idempotency-key-reused");
    }
    assert_eq!(house.effects().await, 1);
}

#[tokio::test]
async fn line_4_a_replay_is_the_first_answer_byte_for_byte() {
    let house = House::start().await;
    for outcome in ["created", "rejected"] {
        let body = json!({"outcome": outcome, "name": "ä\u{0}"});
        let first = house.post(THINGS, outcome, &body).await;
        let again = house.post(THINGS, outcome, &body).await;
        assert_eq!((first.is_replayed(), again.is_replayed()), (false, true));
        assert_eq!((first.status, &first.body), (again.status, &again.body));
        for name in ["content-type", "location", "etag", "content-length"] {
            assert_eq!(first.header(name), again.header(name), "{name}");
        }
        assert_ne!(first.header("x-request-id"), again.header("x-request-id"), "each exchange has its own");
    }
}

#[tokio::test]
async fn line_5_a_key_of_another_request_is_422_and_changes_nothing() {
    let house = House::start().await;
    let first = house.post(THINGS, "k", &json!({"name": "a"})).await;
    house.post(THINGS, "k", &json!({"name": "b"})).await.is_problem(422, "idempotency-key-reused");
    assert_eq!(house.post(THINGS, "k", &json!({"name": "a"})).await.body, first.body);
    assert_eq!((house.effects().await, house.entries().await, house.probe.executions()), (1, 1, 1));
}

#[tokio::test]
async fn line_6_a_duplicate_waits_for_the_first_one_and_gets_its_answer() {
    let house = House::start().await;
    let body = json!({"name": "a"});
    house.probe.close();
    let first = tokio::spawn(super::answer(house.router.clone(), post(THINGS, "k", &body)));
    house.probe.one_entered().await;
    let duplicate = tokio::spawn(super::answer(house.router.clone(), post(THINGS, "k", &body)));
    house.waiting(1).await;
    house.probe.gate.add_permits(1);
    let (first, duplicate) = (first.await.unwrap(), duplicate.await.unwrap());
    assert_eq!((first.status, first.is_replayed()), (duplicate.status, !duplicate.is_replayed()));
    assert_eq!((first.body, house.effects().await, house.probe.executions()), (duplicate.body, 1, 1));
}

#[tokio::test]
async fn line_6_past_the_bound_a_duplicate_is_told_to_come_back_and_that_is_not_kept() {
    let house = House::start_with(KeyOptions { wait: Duration::ZERO, ..KeyOptions::default() }).await;
    let body = json!({"name": "a"});
    house.probe.close();
    let first = tokio::spawn(super::answer(house.router.clone(), post(THINGS, "k", &body)));
    house.probe.one_entered().await;
    let early = house.post(THINGS, "k", &body).await;
    early.is_problem(409, "request-in-flight");
    assert_eq!(early.header("retry-after"), Some("2"));
    house.probe.gate.add_permits(1);
    let first = first.await.unwrap();
    let late = house.post(THINGS, "k", &body).await;
    assert_eq!((late.is_replayed(), late.body), (true, first.body));
}

#[tokio::test]
async fn line_7_what_was_refused_before_execution_is_not_kept() {
    let house = House::start().await;
    let refused = json!({"outcome": "refused"});
    house.post(THINGS, "k", &refused).await.is_problem(400, "invalid-parameter");
    // The same key, and now another body: it was never used.
    assert_eq!(house.post(THINGS, "k", &json!({"name": "a"})).await.status.as_u16(), 201);

    let mut garbled = post(THINGS, "g", &json!(null));
    *garbled.body_mut() = Body::from("{");
    assert_eq!(house.send(garbled).await.status.as_u16(), 400);
    let large = post(THINGS, "l", &json!({"name": "x".repeat(70_000)}));
    house.send(large).await.is_problem(413, "body-too-large");
    assert_eq!((house.entries().await, house.effects().await), (1, 1));

    let mut stranger = post(THINGS, "s", &refused);
    stranger.extensions_mut().clear();
    house.send(stranger).await.is_problem(500, "internal");
    assert_eq!(house.probe.executions(), 2);
}

#[tokio::test]
async fn line_7_a_refusal_is_sent_once_its_key_is_free_and_not_before() {
    let house = House::start().await;
    house.probe.close();
    let refused = post(THINGS, "k", &json!({"outcome": "refused"}));
    let refused = tokio::spawn(super::answer(house.router.clone(), refused));
    house.probe.one_entered().await;
    // As long as another has the entry, the key cannot be given up.
    let mut other = house.urls.owner.connect().await.unwrap();
    let mut holding = other.begin().await.unwrap();
    let held =
        sqlx::query("SELECT FROM idempotency_cache FOR UPDATE").fetch_all(&mut *holding).await.unwrap();
    assert_eq!(held.len(), 1);
    house.probe.gate.add_permits(1);
    // A transaction sees one moment of what others do.
    let mut watching = house.urls.owner.connect().await.unwrap();
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    while sqlx::query_scalar::<_, i64>(waits).fetch_one(&mut watching).await.unwrap() == 0 {}
    assert!(!refused.is_finished(), "it was sent before its key was free");
    holding.rollback().await.unwrap();
    refused.await.unwrap().is_problem(400, "invalid-parameter");
    assert_eq!(house.entries().await, 0);
}

#[tokio::test]
async fn line_7_a_rejection_that_was_executed_is_kept() {
    let house = House::start().await;
    let rejected = json!({"outcome": "rejected"});
    let first = house.post(THINGS, "k", &rejected).await;
    first.is_problem(404, "unknown-chain");
    assert_eq!(first.header("content-type"), Some("application/problem+json"));
    let again = house.post(THINGS, "k", &rejected).await;
    assert_eq!((again.is_replayed(), again.body), (true, first.body));
    assert_eq!((house.probe.executions(), house.effects().await), (1, 0));
}

#[tokio::test]
async fn line_7_a_5xx_is_not_frozen() {
    for outcome in ["broken", "panic"] {
        let house = House::start().await;
        let body = json!({"outcome": outcome});
        house.post(THINGS, "k", &body).await.is_problem(500, "internal");
        let again = house.post(THINGS, "k", &body).await;
        assert_eq!((again.status.as_u16(), again.is_replayed()), (201, false), "{outcome}");
        assert_eq!((house.effects().await, house.probe.executions()), (1, 2));
    }
    let house = House::start().await;
    let frozen = json!({"outcome": "frozen"});
    house.post(THINGS, "k", &frozen).await.is_problem(500, "internal");
    assert_eq!(house.effects().await, 0, "a 5xx cannot be committed as an answer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn line_9_a_hundred_identical_calls_at_once_have_one_effect_and_one_body() {
    let house = House::start().await;
    for path in [THINGS, NOTES] {
        let before = house.effects().await;
        let body = json!({"name": path});
        let key = if path == THINGS { "k" } else { "" };
        house.probe.close();
        let calls: Vec<_> = (0..100)
            .map(|_| tokio::spawn(super::answer(house.router.clone(), post(path, key, &body))))
            .collect();
        house.probe.one_entered().await;
        house.waiting(99).await;
        house.probe.gate.add_permits(1);
        let mut bodies = std::collections::BTreeSet::new();
        let mut originals = 0;
        for call in calls {
            let answer = call.await.unwrap();
            assert_eq!(answer.status.as_u16(), 201, "{}", String::from_utf8_lossy(&answer.body));
            originals += usize::from(!answer.is_replayed());
            bodies.insert(answer.body);
        }
        assert_eq!((bodies.len(), originals, house.effects().await - before), (1, 1, 1), "{path}");
    }
}

#[tokio::test]
async fn line_13_an_answer_with_a_secret_is_given_once_and_the_replay_says_so() {
    let house = House::start().await;
    let body = json!({"name": "hunter2"});
    let first = house.post(TOKENS, "k", &body).await;
    assert_eq!((first.status.as_u16(), first.json()["name"].as_str()), (201, Some("hunter2")));
    let again = house.post(TOKENS, "k", &body).await;
    again.is_problem(410, "response-withheld");
    assert!(again.is_replayed());
    assert!(!again.json().to_string().contains("hunter2"));
    let rows: Vec<String> = sqlx::query_scalar("SELECT entry::text FROM idempotency_cache AS entry")
        .fetch_all(house.db.worker())
        .await
        .unwrap();
    assert!(!rows.concat().contains(&hex("hunter2")) && !rows.concat().contains("hunter2"), "{rows:?}");
    assert_eq!(house.effects().await, 1);
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn line_13_hits_conflicts_and_rejections_are_counted() {
    const PATH: &str = "/api/v1/metered";
    let house = House::start_with(KeyOptions { wait: Duration::ZERO, ..KeyOptions::default() }).await;
    let body = json!({"name": "a"});
    house.probe.close();
    let first = tokio::spawn(super::answer(house.router.clone(), post(PATH, "k", &body)));
    house.probe.one_entered().await;
    house.post(PATH, "k", &body).await.is_problem(409, "request-in-flight");
    house.probe.gate.add_permits(1);
    first.await.unwrap();
    for _ in 0..2 {
        assert!(house.post(PATH, "k", &body).await.is_replayed());
    }
    house.post(PATH, "k", &json!({"name": "b"})).await.is_problem(422, "idempotency-key-reused");
    let metrics = recorder().render();
    for line in [
        "idempotency_hits_total{route=\"/api/v1/metered\"} 2",
        "idempotency_conflicts_total{route=\"/api/v1/metered\"} 1",
        "idempotency_in_flight_rejections_total{route=\"/api/v1/metered\"} 1",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
}

#[tokio::test]
async fn a_key_is_not_looked_at_where_nothing_is_written() {
    let house = House::start().await;
    let request =
        Request::get("/api/v1/chains").header("idempotency-key", "\"open").body(Body::empty()).unwrap();
    assert_eq!(house.send(request).await.status.as_u16(), 200);
}
