//! Somebody signed in, at a desk on which security keys lie.

use plimsoll_identity::directory::builtin;
use plimsoll_identity::session;
use plimsoll_identity::token::Tokens;
use plimsoll_identity::webauthn::{self, RelyingParty, UserVerification, Verdict, WebauthnError};
use plimsoll_identity::{Credential, Permission, Principal, UserKind};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use crate::security_key::Key;
use crate::sessions::open;
use crate::{House, tokens};

pub(crate) const SITE: &str = "https://app.example.com";

fn party() -> RelyingParty {
    RelyingParty {
        id: "example.com".to_owned(),
        name: "Plimsoll".to_owned(),
        origins: vec![SITE.to_owned()],
        user_verification: UserVerification::Required,
    }
}

/// Somebody signed in, at a desk.
pub(crate) struct Desk {
    pub(crate) house: House,
    tokens: Tokens,
    access_token: SecretString,
    pub(crate) party: RelyingParty,
}

impl Desk {
    pub(crate) async fn new() -> Self {
        let (house, tokens) = (House::new().await, tokens());
        let user = house.user(UserKind::Person, &[builtin::ACCOUNTANT]).await;
        let access_token = open(&house, &tokens, &user).await.access_token;
        Self { house, tokens, access_token, party: party() }
    }

    /// The same user in another session.
    pub(crate) async fn anew(self, principal: &Principal) -> Self {
        let Principal { tenant_id, user_id, .. } = *principal;
        let user = plimsoll_identity::directory::user(&mut *self.house.app().await, tenant_id, user_id)
            .await
            .unwrap();
        let access_token = open(&self.house, &self.tokens, &user).await.access_token;
        Self { access_token, ..self }
    }

    /// Another user of the tenant takes the seat.
    pub(crate) async fn another(self) -> Self {
        let user = self.house.user(UserKind::Person, &[builtin::ACCOUNTANT]).await;
        let access_token = open(&self.house, &self.tokens, &user).await.access_token;
        Self { access_token, ..self }
    }

    /// Who sits there, as the next request would find them.
    pub(crate) async fn principal(&self) -> Principal {
        let auth = self.house.authenticator(&self.tokens);
        (*auth.authenticate(self.access_token.expose_secret(), None).await.unwrap()).clone()
    }

    pub(crate) async fn creation_options(&self) -> Result<Value, WebauthnError> {
        let mut tx = self.house.worker().await;
        let options =
            webauthn::begin_registration(&mut tx, &self.party, &self.principal().await, "ada").await?;
        tx.commit().await.unwrap();
        Ok(options)
    }

    pub(crate) async fn request_options(&self) -> Result<Value, WebauthnError> {
        let mut tx = self.house.worker().await;
        let options = webauthn::begin_assertion(&mut tx, &self.party, &self.principal().await).await?;
        tx.commit().await.unwrap();
        Ok(options)
    }

    pub(crate) async fn registered(&self, made: &Value) -> Verdict {
        let made = serde_json::from_value(made.clone()).unwrap();
        let mut tx = self.house.worker().await;
        let verdict =
            webauthn::finish_registration(&mut tx, &self.party, &self.principal().await, "blue key", &made)
                .await;
        tx.commit().await.unwrap();
        verdict.unwrap()
    }

    /// As a route does: the session is noted where the key is taken.
    pub(crate) async fn given(&self, given: &Value) -> Verdict {
        let given = serde_json::from_value(given.clone()).unwrap();
        let principal = self.principal().await;
        let mut tx = self.house.worker().await;
        let verdict = webauthn::finish_assertion(&mut tx, &self.party, &principal, &given).await.unwrap();
        if verdict == Verdict::Accepted {
            let Credential::Session(session_id) = principal.credential else { unreachable!() };
            assert!(session::note_second_factor(&mut tx, principal.tenant_id, session_id).await.unwrap());
        }
        tx.commit().await.unwrap();
        verdict
    }

    pub(crate) async fn register(&self, key: &mut Key) -> Verdict {
        let made = key.create(SITE, self.creation_options().await.unwrap()).await;
        self.registered(&made).await
    }

    pub(crate) async fn give(&self, key: &mut Key) -> Verdict {
        let given = key.get(SITE, self.request_options().await.unwrap()).await;
        self.given(&given).await
    }

    pub(crate) async fn may_post(&self) -> bool {
        self.principal().await.require(Permission::LedgerPost).is_ok()
    }
}
