//! Second factors, listed and taken away: one's own, and another's.

use axum::http::Method;
use plimsoll_identity::UserKind;
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::people::Person;
use super::super::{Answer, Api};
use super::second_factor::{code, enroll, give};
use super::webauthn::Key;

const OWN: &str = "/auth/second-factor";

async fn take(api: &Api, who: &Person, factor_id: &str) -> Answer {
    api.post(who, "/auth/second-factor/remove", json!({ "factor_id": factor_id })).await
}

fn ids(listed: &Value) -> Vec<&str> {
    listed["items"].as_array().unwrap().iter().map(|factor| factor["factor_id"].as_str().unwrap()).collect()
}

/// Somebody with a code app and a security key, both given, and the app's seed.
async fn equipped(api: &Api, tenant_id: Uuid, role: &str) -> (Person, Value, Key) {
    let user = api.user(tenant_id, UserKind::Person, &[role]).await;
    let person = api.session(&user, false).await;
    let seed = enroll(api, &person).await.expect(200)["seed"].clone();
    give(api, &person, "confirm", &code(&seed, 0)).await.expect(200);
    let mut key = Key::default();
    key.register(api, &person, "the blue one").await;
    (person, seed, key)
}

#[tokio::test]
async fn what_is_ones_own_is_listed_and_taken_away_with_a_second_factor_that_was_just_given() {
    let api = Api::start().await;
    let tenant_id = api.tenant_named("acme").await;
    let (person, seed, mut key) = equipped(&api, tenant_id, "accountant").await;
    let elsewhere = api.session(&api.user_of(&person).await, false).await;
    let listed = api.read(&person, OWN).await;
    assert!(!listed.body.contains(seed.as_str().unwrap()), "{}", listed.body);
    let listed = listed.expect(200);
    let [app, blue] = &listed["items"].as_array().unwrap()[..] else { panic!("{listed}") };
    assert_eq!(
        (&app["kind"], &app["factor_id"], &app["label"]),
        (&json!("totp"), &json!("totp"), &Value::Null)
    );
    assert!(app["last_used_at"].is_string() && blue["last_used_at"].is_null(), "{listed}");
    assert_eq!((&blue["kind"], &blue["label"]), (&json!("webauthn"), &json!("the blue one")));
    let blue = blue["factor_id"].as_str().unwrap();

    take(&api, &elsewhere, "totp").await.refused(403, "second-factor-required");
    key.give(&api, &elsewhere).await;
    let left = take(&api, &elsewhere, "totp").await.expect(200);
    assert_eq!(ids(&left), [blue]);
    api.read(&person, "/auth/session").await.refused(401, "unauthenticated");
    give(&api, &elsewhere, "verify", &code(&seed, 1)).await.refused(409, "conflict");
    let detail = take(&api, &elsewhere, blue).await.refused(409, "conflict");
    assert!(detail.contains("last one"), "{detail}");
    take(&api, &elsewhere, "totp").await.refused(409, "conflict");
    take(&api, &elsewhere, "the blue one").await.refused(400, "invalid-body");
    assert_eq!(ids(&api.read(&elsewhere, OWN).await.expect(200)), [blue]);

    let recorded = api.recorded("identity.second_factor.remove").await;
    assert!(recorded.len() == 1 && recorded[0].contains("the blue one"), "{recorded:?}");
    assert!(recorded[0].contains(&person.session_id.to_string()), "which sessions ended: {recorded:?}");
}

#[tokio::test]
async fn who_needs_none_takes_the_last_one_away_and_sets_up_another() {
    let api = Api::start().await;
    let tenant_id = api.tenant_named("acme").await;
    let (viewer, ..) = equipped(&api, tenant_id, "viewer").await;
    let listed = api.read(&viewer, OWN).await.expect(200);
    for id in ids(&listed) {
        take(&api, &viewer, id).await.expect(200);
    }
    assert_eq!(api.read(&viewer, OWN).await.expect(200)["items"], json!([]));
    let again = api.session(&api.user_of(&viewer).await, false).await;
    enroll(&api, &again).await.expect(200);
}

#[tokio::test]
async fn an_administrator_helps_who_lost_the_last_one_and_whoever_had_it_is_out() {
    let api = Api::start().await;
    let tenant_id = api.tenant_named("acme").await;
    let (admin, ..) = equipped(&api, tenant_id, "admin").await;
    let (bob, ..) = equipped(&api, tenant_id, "accountant").await;
    let path = |who: &Person, rest: &str| format!("/api/v1/users/{}/second-factors{rest}", who.user_id);
    let factors = api.read(&admin, &path(&bob, "")).await.expect(200);
    assert_eq!(ids(&factors).len(), 2);
    let remove = async |by: &Person, of: &Person, id: &str| {
        api.post(by, &path(of, "/remove"), json!({ "factor_id": id })).await
    };
    remove(&bob, &bob, "totp").await.refused(403, "forbidden");
    for id in ids(&factors) {
        remove(&admin, &bob, id).await.expect(200);
    }
    remove(&admin, &bob, "totp").await.refused(409, "conflict");
    let detail = remove(&admin, &admin, "totp").await.refused(409, "conflict");
    assert!(detail.contains("own"), "{detail}");
    api.read(&bob, "/auth/session").await.refused(401, "unauthenticated");
    let nobody = Person { user_id: Uuid::now_v7(), ..bob.clone() };
    api.read(&admin, &path(&nobody, "")).await.refused(404, "not-found");
    remove(&admin, &nobody, "totp").await.refused(404, "not-found");

    let bob = api.session(&api.user_of(&bob).await, false).await;
    enroll(&api, &bob).await.expect(200);
    let recorded = api.recorded("identity.second_factor.remove").await;
    assert!(recorded.len() == 2 && recorded[0].contains(&admin.user_id.to_string()), "{recorded:?}");
}

#[tokio::test]
async fn a_key_of_a_machine_sees_and_takes_none_of_its_users() {
    let api = Api::start().await;
    let tenant_id = api.tenant_named("acme").await;
    let (admin, ..) = equipped(&api, tenant_id, "admin").await;
    let new =
        json!({ "holder": admin.user_id, "label": "ci", "scopes": ["ledger:read"], "lifetime_days": 1 });
    let key = api.post(&admin, "/api/v1/api-keys", new).await.expect(201);
    let machine = Person { token: key["key"].as_str().unwrap().to_owned(), ..admin };
    for path in [OWN, "/auth/identities"] {
        api.read(&machine, path).await.refused(409, "conflict");
    }
    take(&api, &machine, "totp").await.refused(409, "conflict");
    enroll(&api, &machine).await.refused(409, "conflict");
    for step in ["confirm", "verify"] {
        give(&api, &machine, step, "000000").await.refused(409, "conflict");
    }
    for step in ["registration/begin", "assertion/begin"] {
        let path = format!("{OWN}/webauthn/{step}");
        let answer = api.ask(Some(&machine.token), Method::POST, &path, Some(&json!({}))).await;
        answer.refused(409, "conflict");
    }
    let of_nobody = json!({ "issuer": "https://login.example.com", "subject": "ada" });
    api.post(&machine, "/auth/identities/remove", of_nobody).await.refused(409, "conflict");
}
