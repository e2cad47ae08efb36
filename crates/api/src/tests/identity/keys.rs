//! API keys: shown once, and no more than their holder.

use axum::body::Body;
use axum::http::{Method, Request};
use plimsoll_identity::UserKind;
use serde_json::json;

use super::super::Api;

const KEYS: &str = "/api/v1/api-keys";

#[tokio::test]
async fn a_key_is_shown_once_and_is_kept_nowhere() {
    let api = Api::start().await;
    let tenant_id = api.tenant_named("acme").await;
    let admin = api.person(tenant_id, UserKind::Person, &["admin"]).await;
    let machine = api.user(tenant_id, UserKind::Machine, &["accountant"]).await.user_id;
    let new = json!({ "holder": machine, "label": "batch", "scopes": ["ledger:read"], "lifetime_days": 30 });
    let body = admin.body(new).to_string();
    let issue = async || {
        let request = Request::post(KEYS)
            .header("authorization", format!("Bearer {}", admin.token))
            .header("content-type", "application/json")
            .header("idempotency-key", "the-key")
            .body(Body::from(body.clone()))
            .unwrap();
        api.send(request).await
    };
    let issued = issue().await.expect(201);
    let key = issued["key"].as_str().unwrap();
    let who = api.ask(Some(key), Method::GET, "/auth/session", None).await.expect(200);
    assert_eq!((&who["user_id"], &who["permissions"]), (&json!(machine), &json!(["ledger:read"])));
    assert_eq!(who["session_id"], json!(null));
    let out = json!({});
    api.ask(Some(key), Method::POST, "/auth/logout", Some(&out)).await.refused(409, "conflict");

    issue().await.refused(410, "response-withheld");
    let listed = api.read(&admin, KEYS).await;
    assert_eq!(listed.expect(200)["items"].as_array().unwrap().len(), 1, "one key, and no second");
    let secret = key.rsplit_once('_').unwrap().1;
    assert!(!listed.body.contains(secret));
    for table in ["api_keys", "idempotency_cache", "audit_staging"] {
        let held = api.held(table).await;
        assert!(!held.is_empty() && !held.contains(secret), "{table}");
    }
}

#[tokio::test]
async fn a_key_does_no_more_than_its_holder_and_than_who_issued_it() {
    let api = Api::start().await;
    let tenant_id = api.tenant_named("acme").await;
    let admin = api.person(tenant_id, UserKind::Person, &["admin"]).await;
    let viewer = api.user(tenant_id, UserKind::Machine, &["viewer"]).await.user_id;
    let new = |holder, scopes: &[&str]| json!({ "holder": holder, "label": "k", "scopes": scopes, "lifetime_days": 1 });
    api.post(&admin, KEYS, new(viewer, &["ledger:post"])).await.refused(409, "conflict");
    api.post(&admin, KEYS, new(viewer, &[])).await.refused(400, "invalid-body");
    api.post(&admin, KEYS, new(viewer, &["ledger:burn"])).await.refused(400, "invalid-body");
    let role = json!({ "name": "locksmith", "permissions": ["keys:read", "keys:write"] });
    api.post(&admin, "/api/v1/roles", role).await.expect(201);
    let smith = api.person(tenant_id, UserKind::Person, &["locksmith"]).await;
    let beyond = new(admin.user_id, &["users:write"]);
    api.post(&smith, KEYS, beyond).await.refused(403, "forbidden");
}

#[tokio::test]
async fn a_rotated_key_has_a_new_secret_and_a_revoked_one_none() {
    let api = Api::start().await;
    let tenant_id = api.tenant_named("acme").await;
    let admin = api.person(tenant_id, UserKind::Person, &["admin"]).await;
    let holder = api.user(tenant_id, UserKind::Machine, &["viewer"]).await.user_id;
    let new = json!({ "holder": holder, "label": "k", "scopes": ["ledger:read"], "lifetime_days": 1 });
    let issued = api.post(&admin, KEYS, new).await.expect(201);
    let path = format!("{KEYS}/{}", issued["key_id"].as_str().unwrap());
    let works = async |key: &serde_json::Value| {
        let answer = api.ask(key.as_str(), Method::GET, "/auth/session", None).await;
        answer.status.is_success()
    };
    assert!(works(&issued["key"]).await);
    let graceful =
        api.post(&admin, &format!("{path}/rotate"), json!({ "grace_seconds": 60 })).await.expect(200);
    assert!(works(&issued["key"]).await && works(&graceful["key"]).await, "both, for the time of grace");
    let leaked = api.post(&admin, &format!("{path}/rotate"), json!({ "grace_seconds": 0 })).await.expect(200);
    assert!(!works(&issued["key"]).await && !works(&graceful["key"]).await);
    assert!(works(&leaked["key"]).await);
    let revoked = api.post(&admin, &format!("{path}/revoke"), json!({})).await.expect(200);
    assert!(revoked["revoked_at"].is_string());
    assert!(!works(&leaked["key"]).await, "at once");
    // A refusal carries no secret: it is given again as it was, not withheld.
    let body = admin.body(json!({ "grace_seconds": 0 })).to_string();
    for _ in 0..2 {
        let request = Request::post(format!("{path}/rotate"))
            .header("authorization", format!("Bearer {}", admin.token))
            .header("content-type", "application/json")
            .header("idempotency-key", "once-more")
            .body(Body::from(body.clone()))
            .unwrap();
        api.send(request).await.refused(409, "conflict");
    }
    for (action, times) in [("identity.key.issue", 1), ("identity.key.rotate", 2), ("identity.key.revoke", 1)]
    {
        assert_eq!(api.recorded(action).await.len(), times, "{action}");
    }
}
