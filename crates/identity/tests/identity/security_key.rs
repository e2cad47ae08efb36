//! A security key and the browser in front of it: another's software, with its own cryptography.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use passkey::authenticator::{Authenticator, UiHint, UserCheck, UserValidationMethod};
use passkey::client::{Client, DefaultClientData};
use passkey::crypto::iana::Algorithm;
use passkey::crypto::rust_crypto::RustCryptoBackend;
use passkey::types::Passkey;
use passkey::types::ctap2::{Aaguid, Ctap2Error};
use passkey::types::webauthn::{CredentialCreationOptions, CredentialRequestOptions};
use reqwest::Url;
use serde_json::{Value, json};

/// A person's finger.
struct Finger {
    is_known: bool,
}

#[async_trait::async_trait]
impl UserValidationMethod for Finger {
    type PasskeyItem = Passkey;

    async fn check_user<'a>(
        &self,
        _: UiHint<'a, Passkey>,
        _: bool,
        _: bool,
    ) -> Result<UserCheck, Ctap2Error> {
        Ok(UserCheck { presence: true, verification: self.is_known })
    }

    fn is_presence_enabled(&self) -> bool {
        true
    }

    fn is_verification_enabled(&self) -> Option<bool> {
        Some(self.is_known)
    }
}

/// An authenticator that holds one credential, and the browser in front of it.
#[derive(Clone)]
pub(crate) struct Key {
    pub(crate) algorithm: Algorithm,
    pub(crate) counts: bool,
    pub(crate) knows_finger: bool,
    pub(crate) held: Option<Passkey>,
}

impl Key {
    pub(crate) fn new(algorithm: Algorithm) -> Self {
        Self { algorithm, counts: true, knows_finger: true, held: None }
    }

    fn authenticator(&self) -> Authenticator<Option<Passkey>, Finger, RustCryptoBackend> {
        let finger = Finger { is_known: self.knows_finger };
        let mut authenticator =
            Authenticator::new(Aaguid::new_empty(), self.held.clone(), finger, RustCryptoBackend);
        authenticator.set_algorithms(&[self.algorithm]).unwrap();
        authenticator.set_make_credentials_with_signature_counter(self.counts);
        authenticator
    }

    /// What `navigator.credentials.create` of a page gives, as its `toJSON`.
    pub(crate) async fn create(&mut self, page: &str, options: Value) -> Value {
        let mut browser = Client::new(self.authenticator());
        let options = CredentialCreationOptions { public_key: serde_json::from_value(options).unwrap() };
        let made = browser.register(&Url::parse(page).unwrap(), options, DefaultClientData).await.unwrap();
        self.held.clone_from(browser.authenticator().store());
        json!({
            "id": made.id, "rawId": encoded(&made.raw_id), "type": "public-key", "clientExtensionResults": {},
            "response": {
                "clientDataJSON": encoded(&made.response.client_data_json),
                "attestationObject": encoded(&made.response.attestation_object),
            },
        })
    }

    /// What `navigator.credentials.get` of a page gives, as its `toJSON`.
    pub(crate) async fn get(&mut self, page: &str, options: Value) -> Value {
        let mut browser = Client::new(self.authenticator());
        let options = CredentialRequestOptions { public_key: serde_json::from_value(options).unwrap() };
        let given =
            browser.authenticate(&Url::parse(page).unwrap(), options, DefaultClientData).await.unwrap();
        self.held.clone_from(browser.authenticator().store());
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

pub(crate) fn encoded(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
