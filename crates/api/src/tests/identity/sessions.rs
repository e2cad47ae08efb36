//! Staying signed in, signing out, and being signed out.

use axum::http::Method;
use plimsoll_identity::UserKind;
use plimsoll_identity::session::{self, Method as How};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::super::{Answer, Api};

pub(super) async fn refresh(api: &Api, token: &Value) -> Answer {
    let body = json!({ "refresh_token": token });
    api.ask(None, Method::POST, "/auth/refresh", Some(&body)).await
}

async fn who(api: &Api, token: &Value) -> Answer {
    api.ask(token.as_str(), Method::GET, "/auth/session", None).await
}

/// The refresh token of a new session.
async fn signed_in(api: &Api) -> Value {
    let tenant_id = api.tenant_named("acme").await;
    let user = api.user(tenant_id, UserKind::Person, &["viewer"]).await;
    let mut tx = api.db.begin_worker().await.unwrap();
    let pair = session::open(&mut tx, api.state.authenticator().tokens(), &user, How::Wallet).await.unwrap();
    tx.commit().await.unwrap();
    json!(pair.refresh_token.expose_secret())
}

#[tokio::test]
async fn a_refresh_token_is_good_once_and_one_that_comes_twice_ends_the_session_at_once() {
    let api = Api::start().await;
    let first = signed_in(&api).await;
    let second = refresh(&api, &first).await.expect(200);
    who(&api, &second["access_token"]).await.expect(200);
    refresh(&api, &first).await.refused(401, "session-over");
    who(&api, &second["access_token"]).await.refused(401, "unauthenticated");
    refresh(&api, &second["refresh_token"]).await.refused(401, "session-over");
    assert_eq!(api.recorded("identity.session.revoke").await.len(), 1);
    refresh(&api, &json!("plr_made-up")).await.refused(401, "wrong-credentials");
}

#[tokio::test]
async fn who_signs_out_is_out_here_or_everywhere() {
    let api = Api::start().await;
    let tenant_id = api.tenant_named("acme").await;
    let user = api.user(tenant_id, UserKind::Person, &["viewer"]).await;
    let (desk, phone, pad) =
        (api.session(&user, false).await, api.session(&user, false).await, api.session(&user, false).await);
    for person in [&desk, &phone, &pad] {
        api.read(person, "/auth/session").await.expect(200);
    }
    let out = async |token: &str, all: bool| {
        let body = json!({ "all_sessions": all });
        api.ask(Some(token), Method::POST, "/auth/logout", Some(&body)).await
    };
    assert_eq!(out(&desk.token, false).await.expect(200)["ended_sessions"], 1);
    api.read(&desk, "/auth/session").await.refused(401, "unauthenticated");
    api.read(&phone, "/auth/session").await.expect(200);
    assert_eq!(out(&phone.token, true).await.expect(200)["ended_sessions"], 2);
    api.read(&pad, "/auth/session").await.refused(401, "unauthenticated");
    assert_eq!(api.recorded("identity.sign_out").await.len(), 2);
}

#[tokio::test]
async fn an_administrator_sees_sessions_page_by_page_and_ends_one() {
    let api = Api::start().await;
    let tenant_id = api.tenant_named("acme").await;
    let admin = api.person(tenant_id, UserKind::Person, &["admin"]).await;
    let user = api.user(tenant_id, UserKind::Person, &["viewer"]).await;
    let mut sessions = Vec::new();
    for _ in 0..3 {
        sessions.push(api.session(&user, false).await);
    }
    let (mut found, mut path) = (Vec::new(), format!("/api/v1/sessions?user_id={}&limit=2", user.user_id));
    loop {
        let page = api.read(&admin, &path).await.expect(200);
        found.extend(page["items"].as_array().unwrap().iter().map(|item| item["session_id"].clone()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        assert!(found.len() < 4, "a walk must end");
        path = format!("/api/v1/sessions?user_id={}&limit=2&cursor={cursor}", user.user_id);
    }
    assert_eq!(found, sessions.iter().map(|person| json!(person.session_id)).collect::<Vec<_>>());

    api.read(&sessions[0], "/auth/session").await.expect(200);
    let path = format!("/api/v1/sessions/{}/revoke", sessions[0].session_id);
    let ended = api.post(&admin, &path, json!({})).await.expect(200);
    assert_eq!(ended["revoke_reason"], "administrator");
    api.read(&sessions[0], "/auth/session").await.refused(401, "unauthenticated");
    let all = api.read(&admin, "/api/v1/sessions").await.expect(200);
    assert_eq!(all["items"].as_array().unwrap().len(), 3, "the administrator's, and two");
    assert_eq!(api.recorded("identity.session.revoke").await.len(), 1);
}
