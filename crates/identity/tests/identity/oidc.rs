//! Sign-in at an OpenID Connect provider, a real one.

use std::collections::HashMap;

use plimsoll_identity::directory::builtin;
use plimsoll_identity::external::{self, ExternalError};
use plimsoll_identity::oidc::id_token::IdTokenError;
use plimsoll_identity::oidc::{
    self, Identity, OidcError, Provider, ProviderConfig, Provisioning, SecondFactorPolicy,
};
use plimsoll_identity::{Permission, UserKind, UserStatus};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::House;
use crate::provider::{callback, sign_in_there};
use crate::site::Site;

fn changed(url: &str, name: &str, value: &str) -> String {
    let mut url = reqwest::Url::parse(url).unwrap();
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    assert!(pairs.iter().any(|(key, _)| key == name));
    let pairs =
        pairs.into_iter().map(|(key, old)| if key == name { (key, value.to_owned()) } else { (key, old) });
    url.query_pairs_mut().clear().extend_pairs(pairs.collect::<Vec<_>>());
    url.into()
}

#[tokio::test]
async fn a_linked_person_signs_in_with_each_algorithm_that_is_taken() {
    for client_id in ["plimsoll", "plimsoll-ec", "plimsoll-ed"] {
        let site = Site::new(|config| config.client_id = client_id.to_owned()).await;
        let user = site.linked("ada").await;
        let identity = site.identity().await.unwrap();
        assert_eq!((identity.subject(), identity.second_factor_at()), ("ada", None));
        let (entered, pair) = site.enter(&identity).await.unwrap();
        assert_eq!(entered, user);
        assert!(site.may(&pair, Permission::LedgerRead).await, "{client_id}");
        assert!(!site.may(&pair, Permission::LedgerPost).await, "a second factor of ours is asked for");
        let methods: Vec<String> = sqlx::query_scalar("SELECT method FROM sessions")
            .fetch_all(site.house.db.worker())
            .await
            .unwrap();
        assert_eq!(methods, ["oidc"]);
    }
}

#[tokio::test]
async fn who_is_not_linked_is_turned_away_and_who_is_suspended_too() {
    let site = Site::new(|_| ()).await;
    let identity = site.identity().await.unwrap();
    let error = site.enter(&identity).await.unwrap_err();
    assert!(matches!(&error, OidcError::NotLinked { subject, .. } if subject == "ada"), "{error}");
    let user = site.linked("ada").await;
    site.house.set_status(user.user_id, UserStatus::Suspended).await;
    assert!(matches!(site.enter(&identity).await, Err(OidcError::Suspended)));
}

#[tokio::test]
async fn a_provider_whose_people_are_the_tenants_makes_users_with_its_role_once() {
    let site = Site::new(|config| {
        config.provisioning =
            Provisioning::Create { role: Some(builtin::VIEWER.to_owned()), status: UserStatus::Active };
    })
    .await;
    let (user, pair) = site.enter(&site.identity().await.unwrap()).await.unwrap();
    assert_eq!((user.kind, user.display_name.as_str()), (UserKind::Person, "ada of the provider"));
    assert!(site.may(&pair, Permission::LedgerRead).await);
    assert!(!site.may(&pair, Permission::RetryRequest).await);
    let (again, _) = site.enter(&site.identity().await.unwrap()).await.unwrap();
    assert_eq!(again, user);
    let mut tx = site.house.app().await;
    let linked = external::list(&mut tx, user.tenant_id, user.user_id).await.unwrap();
    assert_eq!((linked.len(), linked[0].subject.as_str()), (1, "ada"));
}

#[tokio::test]
async fn a_sign_in_is_finished_once_and_by_the_browser_that_began_it() {
    let site = Site::new(|_| ()).await;
    let (begun, other) = (site.begin().await, site.begin().await);
    let query = sign_in_there(&begun.url, "ada").await;
    for stranger in [&other.browser_secret, &SecretString::from("plo_"), &SecretString::from("")] {
        let refused = site.come_back(&query, stranger).await;
        assert!(matches!(refused, Err(OidcError::OtherBrowser)), "{refused:?}");
    }
    site.come_back(&query, &begun.browser_secret).await.unwrap();
    let replayed = site.come_back(&query, &begun.browser_secret).await;
    assert!(matches!(replayed, Err(OidcError::StateUsed)), "{replayed:?}");
    // The same code under a state that is good: the provider refuses it.
    let mut grafted = query.clone();
    let own = sign_in_there(&other.url, "ada").await;
    grafted.insert("state".to_owned(), own["state"].clone());
    let refused = site.come_back(&grafted, &other.browser_secret).await;
    assert!(matches!(refused, Err(OidcError::CodeRefused)), "{refused:?}");
}

#[tokio::test]
async fn a_stolen_code_is_worth_nothing_without_the_browsers_secret() {
    let site = Site::new(|_| ()).await;
    let (victim, thief) = (site.begin().await, site.begin().await);
    let mut stolen = sign_in_there(&victim.url, "ada").await;
    stolen.insert("state".to_owned(), sign_in_there(&thief.url, "eve").await["state"].clone());
    let refused = site.come_back(&stolen, &thief.browser_secret).await;
    assert!(matches!(refused, Err(OidcError::CodeRefused)), "{refused:?}");
}

#[tokio::test]
async fn of_two_returns_at_once_one_goes_on() {
    let site = Site::new(|_| ()).await;
    let begun = site.begin().await;
    let query = sign_in_there(&begun.url, "ada").await;
    let (a, b) = tokio::join!(
        site.come_back(&query, &begun.browser_secret),
        site.come_back(&query, &begun.browser_secret)
    );
    let (won, lost) = if a.is_ok() { (a, b) } else { (b, a) };
    won.unwrap();
    assert!(matches!(lost, Err(OidcError::StateUsed)), "{lost:?}");
}

#[tokio::test]
async fn a_state_that_is_not_ours_too_old_or_another_tenants_is_refused() {
    let site = Site::new(|_| ()).await;
    let begun = site.begin().await;
    let query = sign_in_there(&begun.url, "ada").await;
    let mut foreign = query.clone();
    foreign.insert("state".to_owned(), format!("pls_{}", "0".repeat(64)));
    assert!(matches!(site.come_back(&foreign, &begun.browser_secret).await, Err(OidcError::StateUnknown)));
    for change in [
        |config: &mut ProviderConfig, house: &House| config.tenant_id = house.other_tenant_id,
        |config: &mut ProviderConfig, _: &House| config.issuer = "https://login.example.com".to_owned(),
    ] {
        let mut config = site.there.config(site.house.tenant_id);
        change(&mut config, &site.house);
        let elsewhere = Provider::new(config).unwrap();
        let begun = site.begin().await;
        let query = sign_in_there(&begun.url, "ada").await;
        let mut tx = site.house.worker().await;
        let refused = oidc::resume(&mut tx, &elsewhere, callback(&query), &begun.browser_secret).await;
        assert!(matches!(refused, Err(OidcError::StateUnknown)), "{refused:?}");
        let pending =
            oidc::resume(&mut tx, &site.provider, callback(&query), &begun.browser_secret).await.unwrap();
        tx.commit().await.unwrap();
        let refused = elsewhere.exchange(pending, OffsetDateTime::now_utc()).await;
        assert!(matches!(refused, Err(OidcError::StateUnknown)), "{refused:?}");
    }
    site.house.owner("UPDATE oidc_requests SET expires_at = now()").await.unwrap();
    assert!(matches!(site.come_back(&query, &begun.browser_secret).await, Err(OidcError::StateExpired)));
}

#[tokio::test]
async fn an_answer_that_says_no_or_comes_from_another_is_no_sign_in() {
    let site = Site::new(|_| ()).await;
    let begun = site.begin().await;
    let mut query = sign_in_there(&begun.url, "ada").await;
    assert_eq!(query["iss"], site.there.issuer());
    query.insert("iss".to_owned(), "https://login.example.com".to_owned());
    assert!(matches!(site.come_back(&query, &begun.browser_secret).await, Err(OidcError::OtherIssuer)));
    let begun = site.begin().await;
    let mut query = sign_in_there(&begun.url, "ada").await;
    query.remove("iss");
    assert!(matches!(site.come_back(&query, &begun.browser_secret).await, Err(OidcError::OtherIssuer)));
    let begun = site.begin().await;
    let mut query = sign_in_there(&changed(&begun.url, "scope", "openid profile nonsense"), "ada").await;
    query.remove("code");
    query.insert("error".to_owned(), "access_denied<script>".to_owned());
    let refused = site.come_back(&query, &begun.browser_secret).await.unwrap_err();
    assert!(matches!(&refused, OidcError::Declined(code) if code == "access_deniedscript"), "{refused}");
    let again = site.come_back(&query, &begun.browser_secret).await;
    assert!(matches!(again, Err(OidcError::StateUsed)), "{again:?}");
}

#[tokio::test]
async fn a_token_with_another_nonce_is_refused() {
    let site = Site::new(|_| ()).await;
    let begun = site.begin().await;
    let query = sign_in_there(&changed(&begun.url, "nonce", "of-another-sign-in"), "ada").await;
    let refused = site.come_back(&query, &begun.browser_secret).await;
    assert!(matches!(refused, Err(OidcError::IdToken(IdTokenError::OtherNonce))), "{refused:?}");
}

#[tokio::test]
async fn what_the_provider_did_not_sign_for_us_now_is_refused() {
    let mut site = Site::new(|_| ()).await;
    let now = OffsetDateTime::now_utc().unix_timestamp();
    for (faults, expected) in [
        (json!({ "signature": "tampered" }), IdTokenError::BadSignature),
        (json!({ "unsigned": true }), IdTokenError::Algorithm),
        (json!({ "claims": { "aud": "plimsoll-ec" } }), IdTokenError::OtherAudience),
        (
            json!({ "claims": { "aud": ["plimsoll", "plimsoll-ec"], "azp": "plimsoll" } }),
            IdTokenError::OtherAudience,
        ),
        (json!({ "claims": { "azp": "plimsoll-ec" } }), IdTokenError::OtherAudience),
        (json!({ "claims": { "exp": now - 3600 } }), IdTokenError::Expired),
        (json!({ "claims": { "iat": now + 3600, "exp": now + 7200 } }), IdTokenError::FromFuture),
        (json!({ "claims": { "iss": "https://login.example.com" } }), IdTokenError::OtherIssuer),
    ] {
        site.there.faults(faults.clone()).await;
        let refused = site.identity().await;
        assert!(
            matches!(&refused, Err(OidcError::IdToken(error)) if *error == expected),
            "{faults}: {refused:?}"
        );
    }
    site.there.faults(json!({ "claims": { "exp": now + 3600 } })).await;
    site.identity().await.expect("the same way of changing a token, and nothing wrong with it");
}

#[tokio::test]
async fn keys_that_the_provider_rotated_are_asked_for_and_not_without_end() {
    let mut site = Site::new(|_| ()).await;
    site.identity().await.unwrap();
    site.identity().await.unwrap();
    assert_eq!(site.there.asked("/jwks").await, 1, "remembered");
    site.there.rotate().await;
    site.identity().await.unwrap();
    assert_eq!(site.there.asked("/jwks").await, 2);
    for _ in 0..3 {
        site.there.rotate().await;
        site.identity().await.unwrap();
    }
    site.there.rotate().await;
    let refused = site.identity().await.unwrap_err();
    assert!(refused.is_unavailable() && refused.to_string().ends_with("Try again"), "{refused}");
    assert_eq!(site.there.asked("/jwks").await, 5);
}

#[tokio::test]
async fn a_key_that_the_provider_does_not_have_is_unknown() {
    let mut site = Site::new(|_| ()).await;
    site.there.faults(json!({ "answers": { "/jwks": { "status": 200, "body": "{\"keys\":[]}" } } })).await;
    let refused = site.identity().await;
    assert!(matches!(refused, Err(OidcError::IdToken(IdTokenError::UnknownKey))), "{refused:?}");
}

#[tokio::test]
async fn a_provider_that_does_not_answer_is_try_again_wherever_it_fails() {
    let mut site = Site::new(|_| ()).await;
    let unavailable = |result: Result<Identity, OidcError>| {
        let error = result.unwrap_err();
        assert!(error.is_unavailable() && error.to_string().ends_with("Try again"), "{error}");
    };
    for (path, answer) in [
        ("/token", json!({ "status": 503 })),
        ("/token", json!({ "status": 429 })),
        ("/token", json!({ "status": 500, "body": "{\"error\":\"server_error\"}" })),
        ("/jwks", json!({ "status": 502 })),
        ("/jwks", json!({ "status": 200, "long": 1_000_000 })),
    ] {
        site.there.faults(json!({ "answers": { path: answer } })).await;
        unavailable(site.identity().await);
    }
    site.there.faults(json!({})).await;
    let begun = site.begin().await;
    let query = sign_in_there(&begun.url, "ada").await;
    site.there.kill().await;
    unavailable(site.come_back(&query, &begun.browser_secret).await);
    let anew = Provider::new(site.provider.config().clone()).unwrap();
    assert!(anew.authorize().await.unwrap_err().is_unavailable());
}

#[tokio::test]
async fn a_provider_that_does_not_know_us_or_sends_us_elsewhere_is_a_fault_of_the_configuration() {
    let mut site = Site::new(|config| config.client_secret = SecretString::from("another")).await;
    let refused = site.identity().await.unwrap_err();
    assert!(
        matches!(&refused, OidcError::Configuration { reason, .. } if reason.contains("invalid_client")),
        "{refused}"
    );
    let elsewhere = json!({ "status": 302, "headers": { "location": "https://login.example.com/" } });
    site.there.faults(json!({ "answers": { "/token": elsewhere } })).await;
    let refused = site.identity().await.unwrap_err();
    assert!(
        matches!(&refused, OidcError::Configuration { reason, .. } if reason.contains("302")),
        "{refused}"
    );
    let issuer = site.there.issuer().replace("127.0.0.1", "localhost");
    let misnamed = Provider::new(ProviderConfig { issuer, ..site.provider.config().clone() }).unwrap();
    let refused = misnamed.authorize().await.unwrap_err();
    assert!(
        matches!(&refused, OidcError::Configuration { reason, .. } if reason.contains("calls itself")),
        "{refused}"
    );
    for (issuer, redirect_uri) in [
        ("http://login.example.com", "https://app.example.com/callback"),
        ("https://login.example.com?x=1", "https://app.example.com/callback"),
        ("https://login.example.com", "http://app.example.com/callback"),
    ] {
        let config = ProviderConfig {
            issuer: issuer.to_owned(),
            redirect_uri: redirect_uri.to_owned(),
            ..site.provider.config().clone()
        };
        assert!(
            matches!(Provider::new(config), Err(OidcError::Configuration { .. })),
            "{issuer} {redirect_uri}"
        );
    }
}

#[tokio::test]
async fn a_second_factor_of_the_provider_counts_where_it_is_trusted_and_for_its_term() {
    let mut site = Site::new(|config| {
        config.second_factor = SecondFactorPolicy::Trusted { amr: vec!["mfa".to_owned()], acr: vec![] };
    })
    .await;
    site.linked("ada").await;
    let (_, pair) = site.enter(&site.identity().await.unwrap()).await.unwrap();
    assert!(!site.may(&pair, Permission::LedgerPost).await, "the provider says nothing of two factors");
    site.there.faults(json!({ "claims": { "amr": ["pwd", "mfa"] } })).await;
    let identity = site.identity().await.unwrap();
    assert_eq!(identity.amr(), ["pwd", "mfa"]);
    let (_, pair) = site.enter(&identity).await.unwrap();
    assert!(site.may(&pair, Permission::LedgerPost).await);
    let stored: OffsetDateTime =
        sqlx::query_scalar("SELECT second_factor_at FROM sessions WHERE session_id = $1")
            .bind(pair.session_id)
            .fetch_one(site.house.db.worker())
            .await
            .unwrap();
    assert_eq!(Some(stored), identity.second_factor_at(), "since it was given, not since the sign-in");
}

#[tokio::test]
async fn nothing_that_is_stored_of_a_sign_in_finishes_it() {
    let site = Site::new(|_| ()).await;
    let begun = site.begin().await;
    let url = reqwest::Url::parse(&begun.url).unwrap();
    let sent: HashMap<String, String> = url.query_pairs().into_owned().collect();
    let row: Value = sqlx::query_scalar("SELECT to_jsonb(r) FROM oidc_requests r")
        .fetch_one(site.house.db.worker())
        .await
        .unwrap();
    let browser = begun.browser_secret.expose_secret().strip_prefix("plo_").unwrap();
    for secret in [sent["state"].as_str(), &sent["nonce"], browser] {
        assert!(!row.to_string().contains(secret));
    }
    assert!(!format!("{begun:?}").contains(browser));
    let denied =
        sqlx::query("SELECT FROM oidc_requests").execute(&mut *site.house.app().await).await.unwrap_err();
    assert_eq!(
        denied.as_database_error().unwrap().code().as_deref(),
        Some("42501"),
        "the app role has no right to it"
    );
}

#[tokio::test]
async fn an_identity_belongs_to_one_user_of_a_tenant_at_a_time() {
    let house = House::new().await;
    let (ada, bob) = (house.user(UserKind::Person, &[]).await, house.user(UserKind::Person, &[]).await);
    let mut tx = house.app().await;
    let issuer = "https://login.example.com";
    external::link(&mut tx, house.tenant_id, ada.user_id, issuer, "a").await.unwrap();
    external::link(&mut tx, house.tenant_id, ada.user_id, issuer, "a").await.unwrap();
    let taken = external::link(&mut tx, house.tenant_id, bob.user_id, issuer, "a").await;
    assert!(matches!(taken, Err(ExternalError::Taken { .. })), "{taken:?}");
    for subject in ["", "é", "a\0", &"x".repeat(256)] {
        let malformed = external::link(&mut tx, house.tenant_id, bob.user_id, issuer, subject).await;
        assert!(matches!(malformed, Err(ExternalError::Malformed)), "{subject:?}");
    }
    assert!(!external::unlink(&mut tx, house.tenant_id, bob.user_id, issuer, "a").await.unwrap());
    assert!(external::unlink(&mut tx, house.tenant_id, ada.user_id, issuer, "a").await.unwrap());
    external::link(&mut tx, house.tenant_id, bob.user_id, issuer, "a").await.unwrap();
    assert_eq!(external::owner_of(&mut tx, house.tenant_id, issuer, "a").await.unwrap(), Some(bob));
    assert_eq!(external::owner_of(&mut tx, house.other_tenant_id, issuer, "a").await.unwrap(), None);
}
