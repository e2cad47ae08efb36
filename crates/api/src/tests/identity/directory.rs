//! Users, addresses and roles.

use plimsoll_identity::UserKind;
use serde_json::json;

use super::super::Api;
use super::super::people::{Person, Wallet};

#[tokio::test]
async fn a_user_is_made_shown_suspended_and_activated_each_on_record() {
    let api = Api::start().await;
    let tenant_id = api.tenant_named("acme").await;
    let admin = api.person(tenant_id, UserKind::Person, &["admin"]).await;
    let new = json!({ "kind": "person", "display_name": "Grace", "roles": ["viewer"] });
    let made = api.post(&admin, "/api/v1/users", new).await.expect(201);
    assert_eq!((&made["status"], &made["roles"]), (&json!("active"), &json!(["viewer"])));
    let path = format!("/api/v1/users/{}", made["user_id"].as_str().unwrap());
    assert_eq!(api.read(&admin, &path).await.expect(200), made);

    let user_id = made["user_id"].as_str().unwrap().parse().unwrap();
    let mut tx = api.db.tenant_tx(&[tenant_id]).await.unwrap();
    let grace = plimsoll_identity::directory::user(&mut tx, tenant_id, user_id).await.unwrap();
    drop(tx);
    let grace = api.session(&grace, false).await;
    api.read(&grace, "/auth/session").await.expect(200);
    let suspended = api.post(&admin, &format!("{path}/suspend"), json!({})).await.expect(200);
    assert_eq!(suspended["status"], "suspended");
    api.read(&grace, "/auth/session").await.refused(401, "unauthenticated");
    let listed = api.read(&admin, "/api/v1/users?status=suspended").await.expect(200);
    assert_eq!(listed["items"][0]["user_id"], made["user_id"]);
    let active = api.post(&admin, &format!("{path}/activate"), json!({})).await.expect(200);
    assert_eq!(active["status"], "active");
    for action in ["identity.user.create", "identity.user.suspend", "identity.user.activate"] {
        assert_eq!(api.recorded(action).await.len(), 1, "{action}");
    }
    let own = format!("/api/v1/users/{}/suspend", admin.user_id);
    api.post(&admin, &own, json!({})).await.refused(409, "conflict");
}

#[tokio::test]
async fn an_address_is_one_users_at_a_time() {
    let api = Api::start().await;
    let tenant_id = api.tenant_named("acme").await;
    let admin = api.person(tenant_id, UserKind::Person, &["admin"]).await;
    let (ada, bob) = (
        api.user(tenant_id, UserKind::Person, &[]).await.user_id,
        api.user(tenant_id, UserKind::Person, &[]).await.user_id,
    );
    let address = Wallet::new(1).address();
    let change = json!({ "chain_id": 1, "address": address.to_checksum(None) });
    let linked =
        api.post(&admin, &format!("/api/v1/users/{ada}/addresses"), change.clone()).await.expect(200);
    assert_eq!(linked["addresses"][0]["address"], format!("{address:#x}"));
    api.post(&admin, &format!("/api/v1/users/{bob}/addresses"), change.clone())
        .await
        .refused(409, "conflict");
    let gone = format!("/api/v1/users/{ada}/addresses/remove");
    assert_eq!(api.post(&admin, &gone, change.clone()).await.expect(200)["addresses"], json!([]));
    api.post(&admin, &gone, change.clone()).await.refused(409, "conflict");
    api.post(&admin, &format!("/api/v1/users/{bob}/addresses"), change).await.expect(200);
    let zero = json!({ "chain_id": 0, "address": address.to_string() });
    api.post(&admin, &gone, zero).await.refused(400, "invalid-body");
}

#[tokio::test]
async fn nobody_gives_what_they_do_not_have_and_no_agent_gets_a_write() {
    let api = Api::start().await;
    let tenant_id = api.tenant_named("acme").await;
    let admin = api.person(tenant_id, UserKind::Person, &["admin"]).await;
    let new = json!({ "name": "porter", "permissions": ["roles:read", "roles:write", "ledger:read"] });
    api.post(&admin, "/api/v1/roles", new).await.expect(201);
    let porter = api.person(tenant_id, UserKind::Person, &["porter"]).await;
    let roles = format!("/api/v1/users/{}/roles", porter.user_id);
    api.post(&porter, &roles, json!({ "role": "admin" })).await.refused(403, "forbidden");
    let bold = json!({ "name": "bold", "permissions": ["ledger:post"] });
    api.post(&porter, "/api/v1/roles", bold).await.refused(403, "forbidden");
    let grant = json!({ "permission": "users:write" });
    api.post(&porter, "/api/v1/roles/porter/permissions", grant).await.refused(403, "forbidden");
    api.post(&admin, "/api/v1/roles/viewer/permissions", json!({ "permission": "ledger:post" }))
        .await
        .refused(409, "conflict");

    let agent = api.user(tenant_id, UserKind::Agent, &[]).await.user_id;
    let roles = format!("/api/v1/users/{agent}/roles");
    api.post(&admin, &roles, json!({ "role": "operator" })).await.refused(409, "conflict");
    api.post(&admin, &roles, json!({ "role": "agent" })).await.expect(200);
    let hand = json!({ "name": "hand", "is_agent": true, "permissions": ["ledger:post"] });
    api.post(&admin, "/api/v1/roles", hand).await.refused(409, "conflict");
}

#[tokio::test]
async fn a_role_is_widened_and_narrowed_and_listed_page_by_page() {
    let api = Api::start().await;
    let tenant_id = api.tenant_named("acme").await;
    let admin = api.person(tenant_id, UserKind::Person, &["admin"]).await;
    api.post(&admin, "/api/v1/roles", json!({ "name": "desk" })).await.expect(201);
    api.post(&admin, "/api/v1/roles", json!({ "name": "desk" })).await.refused(409, "conflict");
    let change = json!({ "permission": "retry:operate" });
    let wide = api.post(&admin, "/api/v1/roles/desk/permissions", change.clone()).await.expect(200);
    assert_eq!(wide["permissions"], json!(["retry:operate"]));
    let narrow = api.post(&admin, "/api/v1/roles/desk/permissions/remove", change).await.expect(200);
    assert_eq!(narrow["permissions"], json!([]));
    api.post(&admin, "/api/v1/roles/desk/permissions", json!({ "permission": "ledger:burn" }))
        .await
        .refused(400, "invalid-body");
    let (mut names, mut path) = (Vec::new(), "/api/v1/roles?limit=3".to_owned());
    loop {
        let page = api.read(&admin, &path).await.expect(200);
        names.extend(page["items"].as_array().unwrap().iter().map(|role| role["name"].clone()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        assert!(names.len() < 8, "a walk must end");
        path = format!("/api/v1/roles?limit=3&cursor={cursor}");
    }
    assert_eq!(names, ["accountant", "admin", "agent", "approver", "desk", "operator", "viewer"]);
}

/// Without being forgotten, who somebody is would be remembered for five seconds.
#[tokio::test]
async fn what_is_given_or_withdrawn_holds_here_at_once_for_sessions_and_keys() {
    let api = Api::start().await;
    let tenant_id = api.tenant_named("acme").await;
    let admin = api.person(tenant_id, UserKind::Person, &["admin"]).await;
    let desk = json!({ "name": "desk", "permissions": ["tenant:read"] });
    api.post(&admin, "/api/v1/roles", desk).await.expect(201);
    let ada = api.person(tenant_id, UserKind::Person, &["desk"]).await;
    let new = json!({ "holder": ada.user_id, "label": "ci", "scopes": ["tenant:read"], "lifetime_days": 1 });
    let key = api.post(&admin, "/api/v1/api-keys", new).await.expect(201);
    let machine = Person { token: key["key"].as_str().unwrap().to_owned(), ..ada.clone() };
    let config = format!("/tenants/{tenant_id}/config");
    let user = |rest: &str| format!("/api/v1/users/{}/{rest}", ada.user_id);
    let (role, permission) = (json!({ "role": "desk" }), json!({ "permission": "tenant:read" }));
    let permissions = "/api/v1/roles/desk/permissions";
    for (path, body, status) in [
        (user("roles/remove"), &role, 403),
        (user("roles"), &role, 200),
        (format!("{permissions}/remove"), &permission, 403),
        (permissions.to_owned(), &permission, 200),
        (user("suspend"), &json!({}), 401),
    ] {
        api.post(&admin, &path, body.clone()).await.expect(200);
        for who in [&ada, &machine] {
            assert_eq!(api.read(who, &config).await.status.as_u16(), status, "after {path}");
        }
    }
}
