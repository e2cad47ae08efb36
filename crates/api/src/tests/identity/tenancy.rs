//! One tenant's administrator with another's ids, on every route that takes one.

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request};
use plimsoll_identity::UserKind;
use serde_json::{Value, json};
use tower::ServiceExt;
use uuid::Uuid;

use super::super::Api;
use super::super::people::Person;
use crate::gateway::Access;
use crate::routes::DECLARATIONS;

/// What a tenant has.
struct House {
    admin: Person,
    key_id: String,
    approval_id: Uuid,
}

async fn house(api: &Api, name: &str) -> House {
    let tenant_id = api.tenant_named(name).await;
    let admin = api.person(tenant_id, UserKind::Person, &["admin"]).await;
    let key =
        json!({ "holder": admin.user_id, "label": name, "scopes": ["ledger:read"], "lifetime_days": 1 });
    let key = api.post(&admin, "/api/v1/api-keys", key).await.expect(201);
    let asked = json!({ "action": "ledger:post", "body": { "of": name }, "term_seconds": 600 });
    let asked = api.post(&admin, "/api/v1/approvals", asked).await.expect(201);
    let role = json!({ "name": format!("role-of-{name}"), "permissions": ["ledger:read"] });
    api.post(&admin, "/api/v1/roles", role).await.expect(201);
    House {
        admin,
        key_id: key["key_id"].as_str().unwrap().to_owned(),
        approval_id: asked["approval_id"].as_str().unwrap().parse().unwrap(),
    }
}

impl House {
    /// What this house has that fits the parameter of a path.
    fn value(&self, parameter: &str, name: &str) -> Option<String> {
        Some(match parameter {
            "{user_id}" => self.admin.user_id.to_string(),
            "{session_id}" => self.admin.session_id.to_string(),
            "{key_id}" => self.key_id.clone(),
            "{approval_id}" => self.approval_id.to_string(),
            "{tenant_id}" => self.admin.tenant_id.to_string(),
            "{role}" => format!("role-of-{name}"),
            _ => return None,
        })
    }
}

/// What a write to this path says, beside the three keys.
fn fields(path: &str) -> Value {
    match path.rsplit_once('}').map(|(_, rest)| rest) {
        Some("/addresses" | "/addresses/remove") => {
            json!({ "chain_id": 1, "address": "0x70997970c51812dc3a010c7d01b50e0d17dc79c8" })
        }
        Some("/roles" | "/roles/remove") => json!({ "role": "viewer" }),
        Some("/permissions" | "/permissions/remove") => json!({ "permission": "ledger:read" }),
        Some("/second-factors/remove") => json!({ "factor_id": "totp" }),
        Some("/identities" | "/identities/remove") => {
            json!({ "issuer": "https://login.example.com", "subject": "somebody" })
        }
        Some("/rotate") => json!({ "grace_seconds": 0 }),
        Some("/config") => json!({ "theme": {} }),
        _ => json!({}),
    }
}

/// What a route answers, if that is a document: a stream does not end, and is walked where it is tested.
async fn document(api: &Api, who: &Person, path: &str) -> Option<String> {
    let request = Request::get(path)
        .header("authorization", format!("Bearer {}", who.token))
        .body(Body::empty())
        .unwrap();
    let response = api.router.clone().oneshot(request).await.unwrap();
    let kind = response.headers().get("content-type")?.to_str().unwrap();
    if !kind.ends_with("json") {
        return None;
    }
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    Some(String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn what_is_another_tenants_is_not_there() {
    let api = Api::start().await;
    let (acme, globex) = (house(&api, "acme").await, house(&api, "globex").await);
    let theirs = [
        globex.admin.tenant_id.to_string(),
        globex.admin.user_id.to_string(),
        globex.admin.session_id.to_string(),
        globex.key_id.clone(),
        globex.approval_id.to_string(),
        "role-of-globex".to_owned(),
    ];
    let before = api.held("users").await + &api.held("api_keys").await + &api.held("approvals").await;
    let (mut lists, mut things) = (0, 0);
    for route in DECLARATIONS.iter().filter(|route| matches!(route.access, Access::Needs(_))) {
        let parameter = route.path.split('/').find(|part| part.starts_with('{'));
        let Some(parameter) = parameter else {
            if route.method() == Method::GET {
                let Some(body) = document(&api, &acme.admin, route.path).await else { continue };
                for id in &theirs {
                    assert!(!body.contains(id.as_str()), "{}: {id} in {body}", route.path);
                }
                lists += 1;
            }
            continue;
        };
        // What others' routes take is walked where they are tested.
        let Some(value) = globex.value(parameter, "globex") else { continue };
        let path = route.path.replace(parameter, &value);
        let body = acme.admin.body(fields(route.path));
        let body = (route.method() != Method::GET).then_some(&body);
        let answer = api.ask(Some(&acme.admin.token), route.method(), &path, body).await;
        answer.refused(404, "not-found");
        things += 1;
    }
    assert!(lists >= 5 && things >= 15, "{lists} lists, {things} things");
    let after = api.held("users").await + &api.held("api_keys").await + &api.held("approvals").await;
    assert_eq!(before, after);
}

#[tokio::test]
async fn each_tenant_has_its_own_configuration() {
    let api = Api::start().await;
    let (acme, globex) = (house(&api, "acme").await.admin, house(&api, "globex").await.admin);
    let path = |who: &Person| format!("/tenants/{}/config", who.tenant_id);
    let theme = json!({ "accent": "#0b3d91" });
    let put = async |who: &Person, theme: Value| {
        let body = who.body(json!({ "theme": theme }));
        api.ask(Some(&who.token), Method::PUT, &path(who), Some(&body)).await
    };
    assert_eq!(api.read(&acme, &path(&acme)).await.expect(200)["theme"], json!({}));
    put(&acme, theme.clone()).await.expect(200);
    let config = api.read(&acme, &path(&acme)).await.expect(200);
    assert_eq!((&config["theme"], &config["name"]), (&theme, &json!("acme")));
    assert_eq!(config["limits"]["body_bytes"], crate::limits::BODY_MAX_BYTES);
    assert!(config["permissions"].as_array().unwrap().contains(&json!("tenant:configure")));
    assert_eq!(api.read(&globex, &path(&globex)).await.expect(200)["theme"], json!({}));
    let recorded = api.recorded("identity.tenant.configure").await;
    assert!(recorded.len() == 1 && recorded[0].contains("#0b3d91"), "{recorded:?}");
    put(&acme, json!({ "long": "x".repeat(17 * 1024) })).await.refused(400, "invalid-body");
    // Postgres writes their digits out, all of them.
    let numbers = json!({ "least": f64::MIN, "near": -1.797_693_134_862_315_5e308, "third": 1.0 / 3.0 });
    put(&acme, numbers.clone()).await.expect(200);
    assert_eq!(api.read(&acme, &path(&acme)).await.expect(200)["theme"], numbers);
    let viewer = api.person(acme.tenant_id, UserKind::Person, &["viewer"]).await;
    put(&viewer, theme).await.refused(403, "forbidden");
}
