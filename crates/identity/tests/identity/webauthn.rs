//! Security keys as a second factor.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use passkey::crypto::iana::Algorithm;
use plimsoll_identity::seal::Sealer;
use plimsoll_identity::second_factor::RemovalError;
use plimsoll_identity::totp::{self, TotpError};
use plimsoll_identity::webauthn::{
    self, MAX_CREDENTIALS, MAX_LABEL_CHARS, Refusal, UserVerification, Verdict, WebauthnError,
};
use plimsoll_identity::{Credential, Principal, second_factor};
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::desk::{Desk, SITE};
use crate::security_key::{Key, encoded};

fn decoded(text: &Value) -> String {
    String::from_utf8(URL_SAFE_NO_PAD.decode(text.as_str().unwrap()).unwrap()).unwrap()
}

fn refused(refusal: Refusal) -> Verdict {
    Verdict::Refused(refusal)
}

#[tokio::test]
async fn a_key_that_is_given_is_a_second_factor_with_either_algorithm() {
    for algorithm in [Algorithm::ES256, Algorithm::EdDSA] {
        let desk = Desk::new().await;
        let mut key = Key::new(algorithm);
        assert!(matches!(desk.request_options().await, Err(WebauthnError::NotEnrolled)));
        assert_eq!(desk.register(&mut key).await, Verdict::Accepted, "{algorithm:?}");
        assert!(!desk.may_post().await, "it was registered, not given");
        assert_eq!(desk.give(&mut key).await, Verdict::Accepted, "{algorithm:?}");
        assert!(desk.may_post().await);
        assert_eq!(desk.give(&mut key).await, Verdict::Accepted, "and again");
        let principal = desk.principal().await;
        let mut tx = desk.house.worker().await;
        let listed = second_factor::list(&mut tx, principal.tenant_id, principal.user_id).await.unwrap();
        assert_eq!(
            (listed.len(), listed[0].label.as_deref(), listed[0].cloned_at),
            (1, Some("blue key"), None)
        );
        assert!(listed[0].last_used_at.unwrap() > listed[0].created_at);
        second_factor::remove(&mut tx, principal.tenant_id, principal.user_id, &listed[0].id).await.unwrap();
        tx.commit().await.unwrap();
        let desk = desk.anew(&principal).await;
        assert!(matches!(desk.request_options().await, Err(WebauthnError::NotEnrolled)));
    }
}

#[tokio::test]
async fn a_browser_is_told_which_keys_there_are_and_whether_to_verify_their_user() {
    let mut desk = Desk::new().await;
    let mut key = Key::new(Algorithm::ES256);
    let options = desk.creation_options().await.unwrap();
    assert_eq!(options["excludeCredentials"], json!([]));
    let made = key.create(SITE, options).await;
    assert_eq!(desk.registered(&made).await, Verdict::Accepted);
    assert_eq!(desk.give(&mut key).await, Verdict::Accepted);
    for (verification, name) in [
        (UserVerification::Required, "required"),
        (UserVerification::Preferred, "preferred"),
        (UserVerification::Discouraged, "discouraged"),
    ] {
        desk.party.user_verification = verification;
        let known = json!([{ "type": "public-key", "id": made["rawId"] }]);
        let creation = desk.creation_options().await.unwrap();
        assert_eq!(creation["excludeCredentials"], known, "no authenticator is registered twice");
        assert_eq!(creation["authenticatorSelection"]["userVerification"], name);
        let request = desk.request_options().await.unwrap();
        assert_eq!((&request["allowCredentials"], &request["userVerification"]), (&known, &json!(name)));
    }
}

#[tokio::test]
async fn a_key_has_a_label_of_some_length() {
    let desk = Desk::new().await;
    let made = Key::new(Algorithm::ES256).create(SITE, desk.creation_options().await.unwrap()).await;
    let made = serde_json::from_value(made).unwrap();
    let principal = desk.principal().await;
    for label in ["", "a\0b", &"é".repeat(MAX_LABEL_CHARS + 1)] {
        let mut tx = desk.house.worker().await;
        let verdict = webauthn::finish_registration(&mut tx, &desk.party, &principal, label, &made).await;
        assert!(matches!(verdict, Err(WebauthnError::Label)), "{label:?}: {verdict:?}");
    }
    let mut tx = desk.house.worker().await;
    let label = "é".repeat(MAX_LABEL_CHARS);
    let verdict = webauthn::finish_registration(&mut tx, &desk.party, &principal, &label, &made).await;
    assert_eq!(verdict.unwrap(), Verdict::Accepted, "a label that is none uses no challenge up");
}

#[tokio::test]
async fn a_challenge_is_answered_once_in_its_session_and_in_time() {
    let desk = Desk::new().await;
    let mut key = Key::new(Algorithm::ES256);
    let made = key.create(SITE, desk.creation_options().await.unwrap()).await;
    assert_eq!(desk.registered(&made).await, Verdict::Accepted);
    let given = key.get(SITE, desk.request_options().await.unwrap()).await;
    let (a, b) = tokio::join!(desk.given(&given), desk.given(&given));
    assert!(
        [a, b].contains(&Verdict::Accepted) && [a, b].contains(&refused(Refusal::NoChallenge)),
        "{a:?} {b:?}"
    );
    assert_eq!(desk.registered(&made).await, refused(Refusal::NoChallenge));
    let former = key.get(SITE, desk.request_options().await.unwrap()).await;
    desk.request_options().await.unwrap();
    assert_eq!(desk.given(&former).await, refused(Refusal::OtherChallenge), "a later one replaced it");
    let late = key.get(SITE, desk.request_options().await.unwrap()).await;
    desk.house.owner("UPDATE webauthn_challenges SET expires_at = now()").await.unwrap();
    assert_eq!(desk.given(&late).await, refused(Refusal::NoChallenge));
    // Another session of the same user has a challenge of its own.
    let given = key.get(SITE, desk.request_options().await.unwrap()).await;
    let principal = desk.principal().await;
    let elsewhere = desk.anew(&principal).await;
    assert_eq!(elsewhere.given(&given).await, refused(Refusal::NoChallenge));
}

#[tokio::test]
async fn a_challenge_of_one_ceremony_outlives_an_answer_of_the_other() {
    let desk = Desk::new().await;
    let mut key = Key::new(Algorithm::ES256);
    assert_eq!(desk.register(&mut key).await, Verdict::Accepted);
    assert_eq!(desk.give(&mut key).await, Verdict::Accepted);
    let made = Key::new(Algorithm::EdDSA).create(SITE, desk.creation_options().await.unwrap()).await;
    assert_eq!(desk.give(&mut key).await, Verdict::Accepted);
    assert_eq!(desk.registered(&made).await, Verdict::Accepted);
}

#[tokio::test]
async fn a_key_of_another_user_of_the_tenant_is_none_of_ones_own() {
    let desk = Desk::new().await;
    let mut theirs = Key::new(Algorithm::ES256);
    assert_eq!(desk.register(&mut theirs).await, Verdict::Accepted);
    let desk = desk.another().await;
    assert!(matches!(desk.request_options().await, Err(WebauthnError::NotEnrolled)));
    assert_eq!(desk.creation_options().await.unwrap()["excludeCredentials"], json!([]));
    assert_eq!(desk.register(&mut Key::new(Algorithm::ES256)).await, Verdict::Accepted);

    let mut options = desk.request_options().await.unwrap();
    options["allowCredentials"] = json!([]);
    let mut given = theirs.get(SITE, options).await;
    // An authenticator need not say whose it is.
    given["response"]["userHandle"] = Value::Null;
    assert_eq!(desk.given(&given).await, refused(Refusal::UnknownCredential));
    let Principal { tenant_id, user_id, .. } = desk.principal().await;
    let mut tx = desk.house.app().await;
    assert_eq!(second_factor::list(&mut tx, tenant_id, user_id).await.unwrap().len(), 1);
    let id = format!("webauthn:{}", given["rawId"].as_str().unwrap()).parse().unwrap();
    let removed = second_factor::remove(&mut tx, tenant_id, user_id, &id).await;
    assert!(matches!(removed, Err(RemovalError::Unknown(_))), "{removed:?}");
}

#[tokio::test]
async fn an_answer_of_another_page_domain_or_ceremony_is_refused() {
    let mut desk = Desk::new().await;
    let mut key = Key::new(Algorithm::ES256);
    let made = key.clone().create("https://evil.example.com", desk.creation_options().await.unwrap()).await;
    assert_eq!(desk.registered(&made).await, refused(Refusal::OtherOrigin));
    let mut options = desk.creation_options().await.unwrap();
    options["rp"]["id"] = "app.example.com".into();
    let made = key.clone().create(SITE, options).await;
    assert_eq!(desk.registered(&made).await, refused(Refusal::OtherDomain));
    assert_eq!(desk.register(&mut key).await, Verdict::Accepted);
    let given = key.get("https://evil.example.com", desk.request_options().await.unwrap()).await;
    assert_eq!(desk.given(&given).await, refused(Refusal::OtherOrigin));
    let mut given = key.get(SITE, desk.request_options().await.unwrap()).await;
    let client = decoded(&given["response"]["clientDataJSON"]).replace("webauthn.get", "webauthn.create");
    given["response"]["clientDataJSON"] = encoded(client.as_bytes()).into();
    assert_eq!(desk.given(&given).await, refused(Refusal::OtherChallenge));
    desk.party.id = "other.example".to_owned();
    let mut request = desk.request_options().await.unwrap();
    request["rpId"] = "example.com".into();
    let given = key.get(SITE, request).await;
    assert_eq!(desk.given(&given).await, refused(Refusal::OtherDomain));
}

#[tokio::test]
async fn what_the_key_did_not_sign_is_refused() {
    let desk = Desk::new().await;
    let mut key = Key::new(Algorithm::ES256);
    assert_eq!(desk.register(&mut key).await, Verdict::Accepted);
    let (mut stranger, theirs) = (Key::new(Algorithm::ES256), Desk::new().await);
    assert_eq!(theirs.register(&mut stranger).await, Verdict::Accepted);
    for (field, change) in [("signature", 3_usize), ("authenticatorData", 36)] {
        let mut given = key.get(SITE, desk.request_options().await.unwrap()).await;
        let mut bytes = URL_SAFE_NO_PAD.decode(given["response"][field].as_str().unwrap()).unwrap();
        bytes[change] ^= 1;
        given["response"][field] = encoded(&bytes).into();
        assert_eq!(desk.given(&given).await, refused(Refusal::BadSignature), "{field}");
    }
    let mut given = key.get(SITE, desk.request_options().await.unwrap()).await;
    let client = decoded(&given["response"]["clientDataJSON"]).replace('}', r#","more":1}"#);
    given["response"]["clientDataJSON"] = encoded(client.as_bytes()).into();
    assert_eq!(desk.given(&given).await, refused(Refusal::BadSignature));
    let mut options = desk.request_options().await.unwrap();
    options["allowCredentials"] = json!([]);
    let given = stranger.get(SITE, options).await;
    assert_eq!(desk.given(&given).await, refused(Refusal::UnknownCredential));
    let mut given = key.get(SITE, desk.request_options().await.unwrap()).await;
    given["response"]["userHandle"] = encoded(&[7; 16]).into();
    assert_eq!(desk.given(&given).await, refused(Refusal::UnknownCredential));
    for nonsense in ["", "AAAA"] {
        let mut given = key.get(SITE, desk.request_options().await.unwrap()).await;
        given["response"]["authenticatorData"] = nonsense.into();
        assert_eq!(desk.given(&given).await, refused(Refusal::Malformed));
    }
    assert_eq!(desk.give(&mut key).await, Verdict::Accepted, "and nothing is wrong with the key");
}

#[tokio::test]
async fn a_counter_that_went_back_marks_a_copy_and_the_key_is_not_taken_again() {
    let desk = Desk::new().await;
    let mut key = Key::new(Algorithm::ES256);
    assert_eq!(desk.register(&mut key).await, Verdict::Accepted);
    let mut copy = key.clone();
    assert_eq!(desk.give(&mut key).await, Verdict::Accepted);
    assert_eq!(desk.give(&mut copy).await, refused(Refusal::Cloned));
    assert_eq!(desk.give(&mut key).await, refused(Refusal::Cloned), "nobody knows which is the copy");
    let principal = desk.principal().await;
    let listed = second_factor::list(&mut *desk.house.worker().await, principal.tenant_id, principal.user_id)
        .await
        .unwrap();
    assert!(listed[0].cloned_at.is_some());
    let mut uncounted = Key { counts: false, ..Key::new(Algorithm::ES256) };
    assert_eq!(desk.register(&mut uncounted).await, Verdict::Accepted);
    for _ in 0..2 {
        let mut options = desk.request_options().await.unwrap();
        options["allowCredentials"] = json!([]);
        let given = uncounted.get(SITE, options).await;
        assert_eq!(desk.given(&given).await, Verdict::Accepted, "one that does not count says zero for ever");
    }
}

#[tokio::test]
async fn a_touch_alone_will_do_only_where_the_configuration_says_so() {
    let mut desk = Desk::new().await;
    let mut key = Key { knows_finger: false, ..Key::new(Algorithm::ES256) };
    let mut options = desk.creation_options().await.unwrap();
    options["authenticatorSelection"]["userVerification"] = "discouraged".into();
    let made = key.create(SITE, options).await;
    assert_eq!(desk.registered(&made).await, refused(Refusal::NotVerified));
    desk.party.user_verification = UserVerification::Discouraged;
    assert_eq!(desk.register(&mut key).await, Verdict::Accepted);
    assert_eq!(desk.give(&mut key).await, Verdict::Accepted);
}

#[tokio::test]
async fn who_has_a_second_factor_gives_it_before_adding_another() {
    let desk = Desk::new().await;
    let mut key = Key::new(Algorithm::ES256);
    // Begun while there was none.
    let sealer =
        Sealer::new(&SecretString::from("MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="), &[]).unwrap();
    let mut tx = desk.house.worker().await;
    totp::enrol(&mut tx, &sealer, &desk.principal().await, "Plimsoll", "ada").await.unwrap();
    tx.commit().await.unwrap();
    let begun = desk.creation_options().await.unwrap();
    let principal = desk.principal().await;
    let is_enrolled = async || {
        second_factor::is_enrolled(&mut *desk.house.worker().await, principal.tenant_id, principal.user_id)
            .await
            .unwrap()
    };
    assert!(!is_enrolled().await);
    assert_eq!(desk.register(&mut key).await, Verdict::Accepted);
    assert!(is_enrolled().await);
    assert!(matches!(desk.creation_options().await, Err(WebauthnError::SecondFactor)));
    let made = serde_json::from_value(Key::new(Algorithm::ES256).create(SITE, begun).await).unwrap();
    let mut tx = desk.house.worker().await;
    let finished = webauthn::finish_registration(&mut tx, &desk.party, &principal, "thief's", &made).await;
    assert!(matches!(finished, Err(WebauthnError::SecondFactor)), "{finished:?}");
    let enrolled = totp::enrol(&mut tx, &sealer, &principal, "Plimsoll", "ada").await;
    assert!(matches!(enrolled, Err(TotpError::SecondFactor)), "{enrolled:?}");
    let now = time::OffsetDateTime::now_utc();
    let confirmed = totp::confirm(&mut tx, &sealer, &principal, "000000", now).await;
    assert!(matches!(confirmed, Err(TotpError::SecondFactor)), "{confirmed:?}");
    drop(tx);
    assert_eq!(desk.give(&mut key).await, Verdict::Accepted);
    assert_eq!(desk.register(&mut Key::new(Algorithm::EdDSA)).await, Verdict::Accepted);
    let principal = desk.principal().await;
    let mut tx = desk.house.worker().await;
    totp::enrol(&mut tx, &sealer, &principal, "Plimsoll", "ada").await.unwrap();
}

#[tokio::test]
async fn a_user_has_so_many_keys_and_a_machine_has_none() {
    let desk = Desk::new().await;
    let mut first = Key::new(Algorithm::ES256);
    assert_eq!(desk.register(&mut first).await, Verdict::Accepted);
    assert_eq!(desk.give(&mut first).await, Verdict::Accepted);
    for _ in 1..MAX_CREDENTIALS {
        assert_eq!(desk.register(&mut Key::new(Algorithm::ES256)).await, Verdict::Accepted);
    }
    assert_eq!(desk.register(&mut Key::new(Algorithm::ES256)).await, refused(Refusal::NoRoom));
    let machine = Principal { credential: Credential::ApiKey("0".repeat(16)), ..desk.principal().await };
    let mut tx = desk.house.worker().await;
    let begun = webauthn::begin_registration(&mut tx, &desk.party, &machine, "machine").await;
    assert!(matches!(begun, Err(WebauthnError::NoSession)), "{begun:?}");
}

#[tokio::test]
async fn nothing_that_is_stored_answers_a_challenge_and_the_app_reads_none_of_it() {
    let desk = Desk::new().await;
    let challenge = desk.creation_options().await.unwrap()["challenge"].as_str().unwrap().to_owned();
    let stored: Vec<u8> = sqlx::query_scalar("SELECT challenge_hash FROM webauthn_challenges")
        .fetch_one(desk.house.db.worker())
        .await
        .unwrap();
    assert_ne!(stored, URL_SAFE_NO_PAD.decode(challenge).unwrap());
    for (what, table) in [
        ("", "webauthn_challenges"),
        ("public_key", "webauthn_credentials"),
        ("sign_count", "webauthn_credentials"),
    ] {
        let read = sqlx::query(sqlx::AssertSqlSafe(format!("SELECT {what} FROM {table}")));
        let denied = read.execute(&mut *desk.house.app().await).await.unwrap_err();
        assert_eq!(denied.as_database_error().unwrap().code().as_deref(), Some("42501"), "{table}");
    }
}
