//! The three keys of a write, and what is refused of its body.

use axum::body::Body;
use axum::http::{Method, Request};
use plimsoll_identity::UserKind;
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::people::Person;
use super::super::{Answer, Api};

const USERS: &str = "/api/v1/users";

async fn admin(api: &Api) -> Person {
    let tenant_id = api.tenant_named("acme").await;
    api.person(tenant_id, UserKind::Person, &["admin"]).await
}

fn new() -> Value {
    json!({ "kind": "person", "display_name": "Grace" })
}

async fn write(api: &Api, who: &Person, body: &Value) -> Answer {
    api.ask(Some(&who.token), Method::POST, USERS, Some(body)).await
}

#[tokio::test]
async fn a_write_without_its_keys_is_refused_and_counted() {
    let api = Api::start().await;
    let admin = admin(&api).await;
    let count = async |key: &str| {
        let line = format!("missing_keys_total{{table=\"request\",key=\"{key}\"}} ");
        let metrics = api.get("/metrics").await.body;
        metrics.lines().find_map(|found| found.strip_prefix(&line)?.parse::<u64>().ok()).unwrap_or(0)
    };
    for key in ["request_id", "tenant_id", "user_id"] {
        for absent in [None, Some(Value::Null)] {
            let before = count(key).await;
            let mut body = admin.body(new());
            match absent {
                None => drop(body.as_object_mut().unwrap().remove(key)),
                Some(null) => body[key] = null,
            }
            let detail = write(&api, &admin, &body).await.refused(400, "missing-key");
            assert!(detail.contains(key), "{detail}");
            assert!(count(key).await > before, "{key} is counted");
        }
    }
    write(&api, &admin, &admin.body(new())).await.expect(201);
}

#[tokio::test]
async fn keys_that_are_not_the_callers_are_refused() {
    let api = Api::start().await;
    let admin = admin(&api).await;
    let other = api.tenant_named("globex").await;
    let with = |key: &str, value: Value| {
        let mut body = admin.body(new());
        body[key] = value;
        body
    };
    write(&api, &admin, &with("tenant_id", json!(other))).await.refused(404, "not-found");
    write(&api, &admin, &with("user_id", json!(Uuid::now_v7()))).await.refused(403, "forbidden");
    write(&api, &admin, &with("created_by", json!("key:somebody"))).await.refused(403, "forbidden");
    let mine = format!("user:{}", admin.user_id);
    write(&api, &admin, &with("created_by", json!(mine))).await.expect(201);
}

#[tokio::test]
async fn the_audit_knows_a_write_by_the_request_id_of_its_body() {
    let api = Api::start().await;
    let admin = admin(&api).await;
    let body = admin.body(new());
    write(&api, &admin, &body).await.expect(201);
    let recorded = api.recorded("identity.user.create").await;
    assert_eq!(recorded.len(), 1);
    for key in ["request_id", "tenant_id", "user_id"] {
        assert!(recorded[0].contains(body[key].as_str().unwrap()), "{key}: {recorded:?}");
    }
}

#[tokio::test]
async fn a_body_that_says_what_nobody_knows_or_nobody_could_keep_is_refused() {
    let api = Api::start().await;
    let admin = admin(&api).await;
    let with = |key: &str, value: Value| {
        let mut body = admin.body(new());
        body[key] = value;
        body
    };
    for body in [
        with("colour", json!("red")),
        with("display_name", json!("a\0b")),
        with("display_name", json!("")),
        with("kind", json!("emperor")),
        with("request_id", json!("not a uuid")),
        json!([1]),
        json!("text"),
    ] {
        write(&api, &admin, &body).await.refused(400, "invalid-body");
    }
    for (media_type, text, status, slug) in [
        ("application/json", "{", 400, "invalid-body"),
        ("text/plain", "{}", 415, "unsupported-media-type"),
        ("application/x-www-form-urlencoded", "a=1", 415, "unsupported-media-type"),
    ] {
        let request = Request::post(USERS)
            .header("authorization", format!("Bearer {}", admin.token))
            .header("content-type", media_type)
            .body(Body::from(text))
            .unwrap();
        api.send(request).await.refused(status, slug);
    }
}
