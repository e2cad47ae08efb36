//! What a change does to those whom it is about.

use plimsoll_identity::keys::{KeyTexts, Keys, generate_pem};
use plimsoll_identity::token::Tokens;
use plimsoll_identity::{Authenticator, UserStatus, directory};
use serde_json::Value;

use crate::house::{House, ISSUER};

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_was_issued_opens_until_it_is_revoked() {
    let house = House::new().await;
    let ada = house.ada.to_string();
    let tokens = Tokens::new(
        Keys::load(&KeyTexts { signing: generate_pem(), verifying: vec![] }).unwrap(),
        "https://plimsoll.example",
        "plimsoll",
    );
    // One that remembers nothing, as another process would.
    let who = async |key: &str| {
        Authenticator::with_memory(house.db.clone(), tokens.clone(), std::time::Duration::ZERO)
            .authenticate(key, None)
            .await
    };
    let json = |words: &[&str]| -> Value {
        let ended = house.place.run(&[&["admin", "keys"], words, &["--tenant", "acme", "--json"]].concat());
        assert_eq!(ended.code, 0, "{ended:#?}");
        serde_json::from_str(&ended.out).unwrap()
    };
    let issued = json(&["issue", "--user", &ada, "--label", "ci", "--scopes", "ledger:read"]);
    let (id, key) = (issued["target_id"].as_str().unwrap(), issued["key"].as_str().unwrap());
    assert_eq!(who(key).await.unwrap().user_id, house.ada);
    let rotated = json(&["rotate", id, "--grace", "0", "--reason", "leaked", "--yes"]);
    assert!(who(key).await.is_err(), "its grace was nothing");
    let key = rotated["key"].as_str().unwrap();
    assert!(who(key).await.is_ok());
    let revoked = json(&["revoke", id, "--reason", "gone", "--yes"]);
    assert_eq!(
        (&revoked["before"]["state"], &revoked["after"]["state"]),
        (&"in force".into(), &"revoked".into())
    );
    assert!(who(key).await.is_err());
    let listed = json(&["list"]);
    assert!(listed.as_array().unwrap().iter().all(|listed| listed["key_id"] != id), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspension_ends_the_sessions_and_an_activation_does_not_bring_them_back() {
    let house = House::new().await;
    let ada = house.ada.to_string();
    let suspended = house
        .place
        .run(&["admin", "users", "suspend", "--tenant", "acme", &ada, "--reason", "left", "--yes"]);
    assert!(
        suspended.out.contains("status: active → suspended\n  sessions_in_force: 1 → 0"),
        "{suspended:#?}"
    );
    assert_eq!(house.place.run(&["admin", "users", "activate", "--tenant", "acme", &ada]).code, 0);
    let user =
        directory::user(&mut house.db.begin_worker().await.unwrap(), house.acme, house.ada).await.unwrap();
    assert_eq!(user.status, UserStatus::Active);
    let sessions = house.place.run(&["admin", "sessions", "list", "--tenant", "acme", "--json"]);
    assert_eq!(sessions.out, "[]\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_factor_that_is_taken_away_takes_the_sessions_along_and_a_subject_nothing() {
    let house = House::new().await;
    let ada = house.ada.to_string();
    let of_ada = |leaf: &[&str], more: &[&str]| {
        let words = [&["admin", "users"], leaf, &["--tenant", "acme", &ada], more].concat();
        let ended = house.place.run(&words);
        assert_eq!(ended.code, 0, "{ended:#?}");
        ended.out
    };
    let unlinked = of_ada(&["identities", "unlink"], &["--issuer", ISSUER, "--subject", "ada"]);
    assert!(unlinked.contains(&format!("identities: {ISSUER} ada → -")), "{unlinked}");
    let linked = of_ada(&["identities", "link"], &["--issuer", ISSUER, "--subject", "countess"]);
    assert!(linked.contains("no provider of acme has this issuer in the configuration"), "{linked}");
    let listed: Value = serde_json::from_str(&of_ada(&["identities", "list"], &["--json"])).unwrap();
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["subject"]), (1, &"countess".into()));

    let listed: Value = serde_json::from_str(&of_ada(&["factors", "list"], &["--json"])).unwrap();
    let factor = listed[0]["factor"].as_str().unwrap();
    assert_eq!(listed[0]["label"], "the blue one");
    let removed = of_ada(&["factors", "remove"], &[factor, "--reason", "lost", "--yes"]);
    let change = format!("second_factors: {factor} → -\n  sessions_in_force: 1 → 0");
    assert!(removed.contains(&change), "{removed}");
    assert_eq!(of_ada(&["factors", "list"], &[]), "the user has no second factor\n");
}
