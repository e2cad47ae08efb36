//! A security key as a second factor: the authenticator and the browser are another's software.

use axum::http::Method;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use passkey::authenticator::{Authenticator, UiHint, UserCheck, UserValidationMethod};
use passkey::client::{Client, DefaultClientData};
use passkey::crypto::rust_crypto::RustCryptoBackend;
use passkey::types::Passkey;
use passkey::types::ctap2::{Aaguid, Ctap2Error};
use passkey::types::webauthn::{CredentialCreationOptions, CredentialRequestOptions};
use plimsoll_identity::UserKind;
use reqwest::Url;
use serde_json::{Value, json};

use super::super::people::{ORIGIN, Person};
use super::super::{Answer, Api};
use super::second_factor::ended_meanwhile;

/// A person's finger.
struct Finger;

#[async_trait::async_trait]
impl UserValidationMethod for Finger {
    type PasskeyItem = Passkey;

    async fn check_user<'a>(
        &self,
        _: UiHint<'a, Passkey>,
        _: bool,
        _: bool,
    ) -> Result<UserCheck, Ctap2Error> {
        Ok(UserCheck { presence: true, verification: true })
    }

    fn is_presence_enabled(&self) -> bool {
        true
    }

    fn is_verification_enabled(&self) -> Option<bool> {
        Some(true)
    }
}

fn encoded(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// An authenticator that holds one credential, and the browser in front of it.
#[derive(Default)]
pub(super) struct Key(Option<Passkey>);

impl Key {
    fn authenticator(&self) -> Authenticator<Option<Passkey>, Finger, RustCryptoBackend> {
        Authenticator::new(Aaguid::new_empty(), self.0.clone(), Finger, RustCryptoBackend)
    }

    async fn create(&mut self, options: Value) -> Value {
        let mut browser = Client::new(self.authenticator());
        let options = CredentialCreationOptions { public_key: serde_json::from_value(options).unwrap() };
        let made = browser.register(&Url::parse(ORIGIN).unwrap(), options, DefaultClientData).await.unwrap();
        self.0.clone_from(browser.authenticator().store());
        json!({
            "id": made.id, "rawId": encoded(&made.raw_id), "type": "public-key", "clientExtensionResults": {},
            "response": {
                "clientDataJSON": encoded(&made.response.client_data_json),
                "attestationObject": encoded(&made.response.attestation_object),
            },
        })
    }

    async fn get(&mut self, options: Value) -> Value {
        let mut browser = Client::new(self.authenticator());
        let options = CredentialRequestOptions { public_key: serde_json::from_value(options).unwrap() };
        let given =
            browser.authenticate(&Url::parse(ORIGIN).unwrap(), options, DefaultClientData).await.unwrap();
        self.0.clone_from(browser.authenticator().store());
        json!({
            "id": given.id, "rawId": encoded(&given.raw_id), "type": "public-key", "clientExtensionResults": {},
            "response": {
                "clientDataJSON": encoded(&given.response.client_data_json),
                "authenticatorData": encoded(&given.response.authenticator_data),
                "signature": encoded(&given.response.signature),
                "userHandle": given.response.user_handle.map(|handle| encoded(&handle)),
            },
        })
    }
}

impl Key {
    /// Registers it in the name of whoever may.
    pub(super) async fn register(&mut self, api: &Api, who: &Person, label: &str) {
        let options = step(api, who, "registration/begin", json!({})).await.expect(200);
        let made = json!({ "label": label, "credential": self.create(options).await });
        step(api, who, "registration/finish", made).await.expect(200);
    }

    /// Gives it.
    pub(super) async fn give(&mut self, api: &Api, who: &Person) {
        let options = step(api, who, "assertion/begin", json!({})).await.expect(200);
        let given = json!({ "credential": self.get(options).await });
        step(api, who, "assertion/finish", given).await.expect(200);
    }
}

async fn step(api: &Api, who: &Person, step: &str, body: Value) -> Answer {
    let path = format!("/auth/second-factor/webauthn/{step}");
    api.ask(Some(&who.token), Method::POST, &path, Some(&body)).await
}

#[tokio::test]
async fn a_security_key_opens_what_is_sensitive_and_its_answer_is_good_once() {
    let api = Api::start().await;
    let tenant_id = api.tenant_named("acme").await;
    let user = api.user(tenant_id, UserKind::Person, &["admin"]).await;
    let person = api.session(&user, false).await;
    step(&api, &person, "assertion/begin", json!({})).await.refused(409, "conflict");

    let mut key = Key::default();
    let options = step(&api, &person, "registration/begin", json!({})).await.expect(200);
    let made = json!({ "label": "the blue one", "credential": key.create(options).await });
    step(&api, &person, "registration/finish", made.clone()).await.expect(200);
    step(&api, &person, "registration/finish", made).await.refused(403, "second-factor-required");
    step(&api, &person, "registration/begin", json!({})).await.refused(403, "second-factor-required");

    let new = json!({ "kind": "person", "display_name": "Grace" });
    api.post(&person, "/api/v1/users", new.clone()).await.refused(403, "second-factor-required");
    let options = step(&api, &person, "assertion/begin", json!({})).await.expect(200);
    let given = json!({ "credential": key.get(options).await });
    step(&api, &person, "assertion/finish", given.clone()).await.expect(200);
    api.post(&person, "/api/v1/users", new).await.expect(201);
    step(&api, &person, "assertion/finish", given).await.refused(403, "second-factor-refused");
    let nonsense = json!({ "credential": { "rawId": 7 } });
    step(&api, &person, "assertion/finish", nonsense).await.refused(400, "invalid-body");
    assert_eq!(api.recorded("identity.second_factor.confirm").await.len(), 1);
    assert_eq!(api.recorded("identity.second_factor.verify").await.len(), 2);
}

#[tokio::test]
async fn a_registration_that_is_refused_is_on_record_and_uses_its_challenge_up() {
    let api = Api::start().await;
    let tenant_id = api.tenant_named("acme").await;
    let person = api.person(tenant_id, UserKind::Person, &["viewer"]).await;
    let begin = async || step(&api, &person, "registration/begin", json!({})).await.expect(200);
    let former = Key::default().create(begin().await).await;
    let latter = Key::default().create(begin().await).await;
    for made in [former, latter] {
        let made = json!({ "label": "the blue one", "credential": made });
        step(&api, &person, "registration/finish", made).await.refused(403, "second-factor-refused");
    }
    assert_eq!(api.recorded("identity.second_factor.confirm").await.len(), 2);
}

#[tokio::test]
async fn a_key_that_is_given_in_a_session_that_ends_meanwhile_counts_for_nothing() {
    let api = Api::start().await;
    let tenant_id = api.tenant_named("acme").await;
    let user = api.user(tenant_id, UserKind::Person, &["admin"]).await;
    let (person, mut key) = (api.session(&user, false).await, Key::default());
    key.register(&api, &person, "the blue one").await;
    let options = step(&api, &person, "assertion/begin", json!({})).await.expect(200);
    let given = json!({ "credential": key.get(options).await });
    let answer = ended_meanwhile(&api, &person, step(&api, &person, "assertion/finish", given)).await;
    answer.refused(401, "session-over");
}
