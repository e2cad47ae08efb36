//! Every route, found by its declaration, against those who may not use it.

use plimsoll_identity::{Permission, UserKind};
use serde_json::json;

use super::super::Api;
use crate::gateway::Access;
use crate::routes::DECLARATIONS;

/// Each declared route that needs a permission, with a path that could be one of its.
fn needing(is_wanted: impl Fn(Permission) -> bool) -> Vec<(axum::http::Method, String, Permission)> {
    DECLARATIONS
        .iter()
        .filter_map(|route| match route.access {
            Access::Needs(permission) if is_wanted(permission) => {
                let parts: Vec<&str> =
                    route
                        .path
                        .split('/')
                        .map(|part| {
                            if part.starts_with('{') { "0198c5a1-7d2e-7c3a-9a55-3f1f0c6d2b10" } else { part }
                        })
                        .collect();
                Some((route.method(), parts.join("/"), permission))
            }
            _ => None,
        })
        .collect()
}

#[tokio::test]
async fn an_agent_writes_over_no_route() {
    let api = Api::start().await;
    let tenant_id = api.tenant_named("acme").await;
    let agent = api.person(tenant_id, UserKind::Agent, &["agent"]).await;
    let routes = needing(Permission::is_write);
    assert!(routes.len() > 15, "{routes:?}");
    for (method, path, permission) in routes {
        let body = agent.body(json!({}));
        let answer = api.ask(Some(&agent.token), method.clone(), &path, Some(&body)).await;
        let detail = answer.refused(403, "forbidden");
        assert!(detail.contains("agent never does"), "{method} {path}, {permission}: {detail}");
    }
    api.read(&agent, "/api/v1/approvals").await.expect(200);
}

#[tokio::test]
async fn what_is_sensitive_waits_for_the_second_factor_on_every_route() {
    let api = Api::start().await;
    let tenant_id = api.tenant_named("acme").await;
    let user = api.user(tenant_id, UserKind::Person, &["admin"]).await;
    let once = api.session(&user, false).await;
    let routes = needing(Permission::is_sensitive);
    assert!(routes.len() > 15, "{routes:?}");
    for (method, path, _) in routes {
        let body = once.body(json!({}));
        let answer = api.ask(Some(&once.token), method, &path, Some(&body)).await;
        answer.refused(403, "second-factor-required");
    }
    let twice = api.session(&user, true).await;
    let new = json!({ "kind": "person", "display_name": "Grace" });
    api.post(&once, "/api/v1/users", new.clone()).await.refused(403, "second-factor-required");
    api.post(&twice, "/api/v1/users", new).await.expect(201);
}

#[tokio::test]
async fn nobody_in_particular_and_who_has_no_role_get_nowhere() {
    let api = Api::start().await;
    let tenant_id = api.tenant_named("acme").await;
    let nobody = api.person(tenant_id, UserKind::Person, &[]).await;
    for (method, path, permission) in needing(|_| true) {
        let body = nobody.body(json!({}));
        let body = (method != axum::http::Method::GET).then_some(&body);
        api.ask(None, method.clone(), &path, body).await.refused(401, "unauthenticated");
        let detail = api.ask(Some(&nobody.token), method, &path, body).await.refused(403, "forbidden");
        assert!(detail.contains(permission.name()), "{path}: {detail}");
    }
}
