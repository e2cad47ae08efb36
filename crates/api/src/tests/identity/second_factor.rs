//! A second factor from an app, and what it opens.

use axum::http::Method;
use plimsoll_identity::UserKind;
use plimsoll_store::testing;
use serde_json::{Value, json};
use sqlx::{ConnectOptions, Connection};
use time::OffsetDateTime;

use super::super::people::{Person, sign_in};
use super::super::{Answer, Api};
use crate::SignInOptions;

/// The code that an app shows for a seed, so many steps from now.
pub(super) fn code(seed: &Value, steps: i64) -> String {
    let mut bits = String::new();
    for letter in seed.as_str().unwrap().bytes() {
        let value = if letter.is_ascii_uppercase() { letter - b'A' } else { letter - b'2' + 26 };
        bits += &format!("{value:05b}");
    }
    let seed: Vec<u8> = bits
        .as_bytes()
        .chunks_exact(8)
        .map(|byte| u8::from_str_radix(std::str::from_utf8(byte).unwrap(), 2).unwrap())
        .collect();
    let step = OffsetDateTime::now_utc().unix_timestamp() / 30 + steps;
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &seed);
    let tag = aws_lc_rs::hmac::sign(&key, &step.to_be_bytes());
    let bytes = tag.as_ref();
    let at = usize::from(bytes[19] % 16);
    let number = bytes[at..at + 4].iter().fold(0_u64, |number, byte| number * 256 + u64::from(*byte));
    format!("{:06}", number % (1 << 31) % 1_000_000)
}

pub(super) async fn give(api: &Api, who: &Person, step: &str, code: &str) -> Answer {
    let path = format!("/auth/second-factor/totp/{step}");
    api.ask(Some(&who.token), Method::POST, &path, Some(&json!({ "code": code }))).await
}

pub(super) async fn enroll(api: &Api, who: &Person) -> Answer {
    api.ask(Some(&who.token), Method::POST, "/auth/second-factor/totp/enroll", Some(&json!({}))).await
}

/// The answer to a request whose session ends as soon as the request has come to look at it.
pub(super) async fn ended_meanwhile(
    api: &Api,
    who: &Person,
    request: impl Future<Output = Answer>,
) -> Answer {
    let urls = api.db.urls();
    let (mut ending, mut watching) =
        (urls.owner.connect().await.unwrap(), urls.owner.connect().await.unwrap());
    let mut ending = ending.begin().await.unwrap();
    let end = "UPDATE sessions SET revoked_at = now(), revoke_reason = 'signed_out' WHERE session_id = $1";
    let ended = sqlx::query(end).bind(who.session_id).execute(&mut *ending).await.unwrap();
    assert_eq!(ended.rows_affected(), 1);
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let is_there =
        async { while sqlx::query_scalar::<_, i64>(waits).fetch_one(&mut watching).await.unwrap() == 0 {} };
    let mut request = std::pin::pin!(request);
    tokio::select! {
        answer = &mut request => panic!("it did not look: {}", answer.body),
        () = is_there => {}
    }
    ending.commit().await.unwrap();
    request.await
}

#[tokio::test]
async fn a_code_that_is_given_in_a_session_that_ends_meanwhile_counts_for_nothing() {
    let api = Api::start().await;
    let tenant_id = api.tenant_named("acme").await;
    let person = api.session(&api.user(tenant_id, UserKind::Person, &["admin"]).await, false).await;
    let seed = enroll(&api, &person).await.expect(200)["seed"].clone();
    let code = code(&seed, 0);
    let answer = ended_meanwhile(&api, &person, give(&api, &person, "confirm", &code)).await;
    answer.refused(401, "session-over");
}

#[tokio::test]
async fn a_code_opens_what_is_sensitive_and_is_good_once() {
    let api = Api::start().await;
    let tenant_id = api.tenant_named("acme").await;
    let user = api.user(tenant_id, UserKind::Person, &["admin"]).await;
    let person = api.session(&user, false).await;
    let new = json!({ "kind": "person", "display_name": "Grace" });
    api.post(&person, "/api/v1/users", new.clone()).await.refused(403, "second-factor-required");
    give(&api, &person, "verify", "000000").await.refused(409, "conflict");

    let seed = enroll(&api, &person).await.expect(200)["seed"].clone();
    give(&api, &person, "confirm", "xxxxxx").await.refused(403, "second-factor-refused");
    give(&api, &person, "confirm", &code(&seed, 0)).await.expect(200);
    api.post(&person, "/api/v1/users", new.clone()).await.expect(201);

    let later = api.session(&user, false).await;
    let who = api.read(&later, "/auth/session").await.expect(200);
    assert_eq!((&who["second_factor_given"], &who["second_factor_enrolled"]), (&json!(false), &json!(true)));
    enroll(&api, &later).await.refused(403, "second-factor-required");
    api.post(&later, "/api/v1/users", new.clone()).await.refused(403, "second-factor-required");
    // The step after, which is taken already, and has not been used wherever in its step the test runs.
    let now = code(&seed, 1);
    give(&api, &later, "verify", &now).await.expect(200);
    api.post(&later, "/api/v1/users", new).await.expect(201);
    give(&api, &later, "verify", &now).await.refused(403, "second-factor-refused");

    assert_eq!(api.recorded("identity.second_factor.enroll").await.len(), 1);
    for secret in [seed.as_str().unwrap(), &now] {
        assert!(!api.held("audit_staging").await.contains(secret));
    }
    assert_eq!(api.recorded("identity.second_factor.verify").await.len(), 3, "the taken and the refused");
}

#[tokio::test]
async fn wrong_codes_are_counted_and_lock() {
    let api = Api::start().await;
    let tenant_id = api.tenant_named("acme").await;
    let user = api.user(tenant_id, UserKind::Person, &["viewer"]).await;
    let person = api.session(&user, false).await;
    let seed = enroll(&api, &person).await.expect(200)["seed"].clone();
    for _ in 0..plimsoll_identity::totp::MAX_FAILURES {
        give(&api, &person, "confirm", "xxxxxx").await.refused(403, "second-factor-refused");
    }
    let detail = give(&api, &person, "confirm", &code(&seed, 0)).await.refused(403, "second-factor-refused");
    assert!(detail.contains("too many"), "{detail}");
}

#[tokio::test]
async fn without_a_sealing_key_nobody_sets_up_a_code_app_and_is_told_why() {
    let api = Api::signing_in(testing::db().await, SignInOptions { sealer: None, ..sign_in() });
    let tenant_id = api.tenant_named("acme").await;
    let person = api.person(tenant_id, UserKind::Person, &["viewer"]).await;
    let answer = enroll(&api, &person).await;
    answer.refused(409, "not-configured");
    assert!(answer.json()["remedy"].as_str().unwrap().contains("seal_key_file"), "{}", answer.body);
}
