//! Who a user is at a provider: linked by going there, or beforehand by an administrator; and taken away.

use axum::http::Method;
use plimsoll_identity::UserKind;
use serde_json::{Value, json};

use super::super::Answer;
use super::super::people::{Person, Wallet};
use super::oidc::{Site, cookie, site};
use super::provider::sign_in_there;
use super::second_factor::{code, enroll, give};

const OWN: &str = "/auth/identities";
const UNLINK: &str = "/auth/identities/remove";

impl Site {
    /// Sets out from a page of the person's: where to send the browser, and its cookie.
    async fn set_out(&self, who: &Person) -> (String, String) {
        let answer = self.ask_to_link(who, "acme").await;
        (answer.expect(200)["url"].as_str().unwrap().to_owned(), cookie(&answer))
    }

    async fn ask_to_link(&self, who: &Person, provider: &str) -> Answer {
        let path = format!("/auth/oidc/{provider}/link");
        self.api.ask(Some(&who.token), Method::POST, &path, Some(&json!({}))).await
    }

    /// The person goes there as `login`, and comes back.
    async fn link(&self, who: &Person, login: &str) -> Answer {
        let (url, cookie) = self.set_out(who).await;
        self.come_back(&sign_in_there(&url, login).await, &cookie).await
    }

    fn subject(&self, name: &str) -> Value {
        json!({ "issuer": self.there.issuer(), "subject": name })
    }
}

fn subjects(listed: &Value) -> Vec<&str> {
    listed["items"].as_array().unwrap().iter().map(|known| known["subject"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_person_links_who_they_are_there_by_going_there_and_signs_in_so() {
    let site = site().await;
    let grace = site.api.person(site.tenant_id, UserKind::Person, &["viewer"]).await;
    site.sign_in("grace").await.refused(403, "no-such-user");
    assert_eq!(subjects(&site.api.read(&grace, OWN).await.expect(200)), [] as [&str; 0]);

    let (url, cookie) = site.set_out(&grace).await;
    let query = sign_in_there(&url, "grace").await;
    let stranger = site.come_back(&query, &site.start().await.1).await;
    stranger.refused(401, "provider-sign-in-refused");
    let linked = site.come_back(&query, &cookie).await;
    assert!(linked.headers["set-cookie"].to_str().unwrap().contains("Max-Age=0"));
    assert!(!linked.body.contains("token"), "nobody signed in: {}", linked.body);
    assert_eq!(subjects(&linked.expect(200)), ["grace"]);
    site.come_back(&query, &cookie).await.refused(401, "provider-sign-in-refused");
    assert_eq!(subjects(&site.api.read(&grace, OWN).await.expect(200)), ["grace"]);

    let tokens = site.sign_in("grace").await.expect(200);
    let token = tokens["access_token"].as_str();
    let who = site.api.ask(token, Method::GET, "/auth/session", None).await.expect(200);
    assert_eq!(who["user_id"], json!(grace.user_id));
    let recorded = site.api.recorded("identity.external.link").await;
    assert_eq!(recorded.len(), 1);
    for part in [site.there.issuer(), "grace", &format!("user:{}", grace.user_id)] {
        assert!(recorded[0].contains(part), "{part} in {recorded:?}");
    }
}

#[tokio::test]
async fn what_belongs_to_another_is_not_linked_nor_anything_after_the_session_ended() {
    let site = site().await;
    let grace = site.api.person(site.tenant_id, UserKind::Person, &["viewer"]).await;
    let detail = site.link(&grace, "ada").await.refused(409, "conflict");
    assert!(detail.contains("another user"), "{detail}");
    let (url, cookie) = site.set_out(&grace).await;
    let query = sign_in_there(&url, "grace").await;
    site.api.ask(Some(&grace.token), Method::POST, "/auth/logout", Some(&json!({}))).await.expect(200);
    site.come_back(&query, &cookie).await.refused(401, "session-over");
    let again = site.api.session(&site.api.user_of(&grace).await, true).await;
    assert_eq!(subjects(&site.api.read(&again, OWN).await.expect(200)), [] as [&str; 0]);
    assert_eq!(site.api.recorded("identity.external.link").await, [] as [&str; 0]);
}

#[tokio::test]
async fn a_way_in_is_added_and_taken_away_by_who_gave_the_second_factor_that_they_have() {
    let site = site().await;
    let ada = site.api.user_named(site.tenant_id, site.user_id).await;
    let first = site.api.session(&ada, false).await;
    let seed = enroll(&site.api, &first).await.expect(200)["seed"].clone();
    give(&site.api, &first, "confirm", &code(&seed, 0)).await.expect(200);
    let stolen = site.api.session(&ada, false).await;
    site.ask_to_link(&stolen, "acme").await.refused(403, "second-factor-required");
    site.api.post(&stolen, UNLINK, site.subject("ada")).await.refused(403, "second-factor-required");
    site.link(&first, "ada of home").await.expect(200);
    let left = site.api.post(&first, UNLINK, site.subject("ada")).await.expect(200);
    assert_eq!(subjects(&left), ["ada of home"]);
    site.sign_in("ada").await.refused(403, "no-such-user");
}

#[tokio::test]
async fn the_only_way_in_stays_until_there_is_another() {
    let site = site().await;
    let ada = site.api.user_named(site.tenant_id, site.user_id).await;
    let ada = site.api.session(&ada, false).await;
    let admin = site.api.person(site.tenant_id, UserKind::Person, &["admin"]).await;
    let detail = site.api.post(&ada, UNLINK, site.subject("ada")).await.refused(409, "conflict");
    assert!(detail.contains("no other way"), "{detail}");
    site.api.post(&ada, UNLINK, site.subject("somebody")).await.refused(409, "conflict");
    let address = format!("{:#x}", Wallet::new(7).address());
    let path = format!("/api/v1/users/{}/addresses", site.user_id);
    site.api.post(&admin, &path, json!({ "chain_id": 1, "address": address })).await.expect(200);
    let left = site.api.post(&ada, UNLINK, site.subject("ada")).await.expect(200);
    assert_eq!(subjects(&left), [] as [&str; 0]);
    assert_eq!(site.api.recorded("identity.external.unlink").await.len(), 1);
}

#[tokio::test]
async fn an_administrator_links_a_subject_beforehand_and_takes_any_away() {
    let site = site().await;
    let admin = site.api.person(site.tenant_id, UserKind::Person, &["admin"]).await;
    let grace = site.api.user(site.tenant_id, UserKind::Person, &["viewer"]).await;
    let path = format!("/api/v1/users/{}/identities", grace.user_id);
    let elsewhere = json!({ "issuer": "https://login.example.com", "subject": "grace" });
    let detail = site.api.post(&admin, &path, elsewhere).await.refused(409, "conflict");
    assert!(detail.contains("no provider"), "{detail}");
    site.api.post(&admin, &path, site.subject("ada")).await.refused(409, "conflict");
    site.api.post(&admin, &path, site.subject("é")).await.refused(400, "invalid-body");
    let linked = site.api.post(&admin, &path, site.subject("grace")).await.expect(200);
    assert_eq!(subjects(&linked), ["grace"]);
    site.sign_in("grace").await.expect(200);
    assert_eq!(subjects(&site.api.read(&admin, &path).await.expect(200)), ["grace"]);
    let left = site.api.post(&admin, &format!("{path}/remove"), site.subject("grace")).await.expect(200);
    assert_eq!(subjects(&left), [] as [&str; 0], "the only way in too");
    site.api.post(&admin, &format!("{path}/remove"), site.subject("grace")).await.refused(409, "conflict");
    site.sign_in("grace").await.refused(403, "no-such-user");
    for (action, count) in [("identity.external.link", 1), ("identity.external.unlink", 1)] {
        assert_eq!(site.api.recorded(action).await.len(), count, "{action}");
    }
}

#[tokio::test]
async fn nobody_sets_out_to_another_tenants_provider_or_with_a_key() {
    let mut site = site().await;
    // It is not even asked where to go.
    site.there.kill().await;
    let globex = site.api.tenant_named("globex").await;
    let bob = site.api.person(globex, UserKind::Person, &["admin"]).await;
    site.ask_to_link(&bob, "acme").await.refused(404, "not-found");
    site.ask_to_link(&bob, "nowhere").await.refused(404, "not-found");
    let path = format!("/api/v1/users/{}/identities", bob.user_id);
    site.api.post(&bob, &path, site.subject("bob")).await.refused(409, "conflict");
    let new = json!({ "holder": bob.user_id, "label": "ci", "scopes": ["ledger:read"], "lifetime_days": 1 });
    let key = site.api.post(&bob, "/api/v1/api-keys", new).await.expect(201);
    let machine = Person { token: key["key"].as_str().unwrap().to_owned(), ..bob };
    site.ask_to_link(&machine, "acme").await.refused(409, "conflict");
}
