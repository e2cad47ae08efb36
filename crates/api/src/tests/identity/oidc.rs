//! Signing in at a provider, a real one, from the first redirect to the tokens.

use std::collections::HashMap;

use axum::body::Body;
use axum::http::Request;
use plimsoll_identity::oidc::{Provider, ProviderConfig, SecondFactorPolicy};
use plimsoll_identity::{UserKind, external};
use plimsoll_store::testing;
use serde_json::json;
use uuid::Uuid;

use super::super::people::sign_in;
use super::super::{Answer, Api};
use super::provider::{TestProvider, sign_in_there};
use super::second_factor::{code, enroll, give};
use crate::SignInOptions;

const COOKIE: &str = "__Host-plimsoll-sign-in=";

/// An API whose tenant `acme` signs in at a provider, with a user whom its subject `ada` is.
pub(super) struct Site {
    pub(super) api: Api,
    pub(super) there: TestProvider,
    pub(super) tenant_id: Uuid,
    pub(super) user_id: Uuid,
}

pub(super) async fn site() -> Site {
    site_where(|_| ()).await
}

/// With another configuration of the provider.
async fn site_where(change: impl FnOnce(&mut ProviderConfig)) -> Site {
    let (db, there, tenant_id) = (testing::db().await, TestProvider::start().await, Uuid::now_v7());
    let mut config = there.config(tenant_id);
    change(&mut config);
    let provider = Provider::new(config).unwrap();
    let options = SignInOptions { providers: [("acme".to_owned(), provider)].into(), ..sign_in() };
    let api = Api::signing_in(db, options);
    let mut tx = api.db.begin_worker().await.unwrap();
    plimsoll_identity::tenant::create(&mut tx, tenant_id, "acme").await.unwrap();
    tx.commit().await.unwrap();
    let user_id = api.user(tenant_id, UserKind::Person, &["accountant"]).await.user_id;
    let mut tx = api.db.tenant_tx(&[tenant_id]).await.unwrap();
    external::link(&mut tx, tenant_id, user_id, there.issuer(), "ada").await.unwrap();
    tx.commit().await.unwrap();
    Site { api, there, tenant_id, user_id }
}

impl Site {
    /// Where the browser is sent, and the cookie that it is given.
    pub(super) async fn start(&self) -> (String, String) {
        let answer = self.api.get("/auth/oidc/acme/start").await;
        assert_eq!(answer.status.as_u16(), 303, "{}", answer.body);
        (answer.headers["location"].to_str().unwrap().to_owned(), cookie(&answer))
    }

    /// Who signs in there as `login` comes back with these tokens.
    pub(super) async fn sign_in(&self, login: &str) -> Answer {
        let (url, cookie) = self.start().await;
        self.come_back(&sign_in_there(&url, login).await, &cookie).await
    }

    pub(super) async fn come_back(&self, query: &HashMap<String, String>, cookie: &str) -> Answer {
        let query: String = query
            .iter()
            .map(|(name, value)| {
                let value: String = value.bytes().map(|byte| format!("%{byte:02X}")).collect();
                format!("{name}={value}&")
            })
            .collect();
        let request = Request::get(format!("/auth/oidc/callback?{query}")).header("cookie", cookie);
        self.api.send(request.body(Body::empty()).unwrap()).await
    }
}

/// The one that an answer gives the browser to keep.
pub(super) fn cookie(answer: &Answer) -> String {
    assert!(answer.headers["set-cookie"].is_sensitive(), "no log shows it");
    let cookie = answer.headers["set-cookie"].to_str().unwrap().to_owned();
    for word in ["; Secure", "; HttpOnly", "; SameSite=Lax", "; Path=/"] {
        assert!(cookie.starts_with(COOKIE) && cookie.contains(word), "{word} in {cookie}");
    }
    cookie.split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_person_comes_back_from_the_provider_signed_in_once_and_in_the_same_browser() {
    let site = site().await;
    let (url, cookie) = site.start().await;
    let query = sign_in_there(&url, "ada").await;
    let stranger = site.come_back(&query, &site.start().await.1).await;
    stranger.refused(401, "provider-sign-in-refused");
    let tokens = site.come_back(&query, &format!("other=1; {cookie}")).await;
    assert!(tokens.headers["set-cookie"].to_str().unwrap().contains("Max-Age=0"));
    let tokens = tokens.expect(200);
    let token = tokens["access_token"].as_str().unwrap();
    let who = site.api.ask(Some(token), axum::http::Method::GET, "/auth/session", None).await.expect(200);
    assert_eq!((&who["user_id"], &who["tenant_id"]), (&json!(site.user_id), &json!(site.tenant_id)));
    let detail = site.come_back(&query, &cookie).await.refused(401, "provider-sign-in-refused");
    assert!(detail.contains("already"), "{detail}");
    let recorded = site.api.recorded("identity.sign_in").await;
    assert!(recorded.len() == 1 && recorded[0].contains(site.there.issuer()), "{recorded:?}");
    assert_eq!(site.api.recorded("identity.sign_in.refuse").await.len(), 2);
}

#[tokio::test]
async fn whom_nobody_linked_is_turned_away_and_a_provider_that_is_away_says_try_again() {
    let mut site = site().await;
    let (url, cookie) = site.start().await;
    let query = sign_in_there(&url, "mallory").await;
    site.come_back(&query, &cookie).await.refused(403, "no-such-user");
    let (url, cookie) = site.start().await;
    let query = sign_in_there(&url, "ada").await;
    site.there.kill().await;
    let answer = site.come_back(&query, &cookie).await;
    answer.refused(503, "provider-unavailable");
    assert!(answer.headers.contains_key("retry-after"));
}

#[tokio::test]
async fn a_way_back_without_a_beginning_leads_nowhere() {
    let api = Api::start().await;
    api.get("/auth/oidc/acme/start").await.refused(404, "not-found");
    api.get("/auth/oidc/callback").await.refused(400, "missing-parameter");
    api.get("/auth/oidc/callback?state=a&state=b").await.refused(400, "invalid-parameter");
    api.get("/auth/oidc/callback?state=a&code=b").await.refused(401, "provider-sign-in-refused");
}

#[tokio::test]
async fn a_second_factor_that_was_given_at_a_provider_that_is_trusted_is_not_wanted_again() {
    let trusted = SecondFactorPolicy::Trusted { amr: vec!["mfa".to_owned()], acr: vec![] };
    let mut site = site_where(|config| config.second_factor = trusted).await;
    let user = site.api.user_named(site.tenant_id, site.user_id).await;
    let person = site.api.session(&user, false).await;
    let seed = enroll(&site.api, &person).await.expect(200)["seed"].clone();
    give(&site.api, &person, "confirm", &code(&seed, 0)).await.expect(200);
    assert_eq!(site.sign_in("ada").await.expect(200)["second_factor_wanted"], true);
    site.there.faults(json!({ "claims": { "amr": ["mfa"] } })).await;
    assert_eq!(site.sign_in("ada").await.expect(200)["second_factor_wanted"], false);
}
