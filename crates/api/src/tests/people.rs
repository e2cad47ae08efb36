//! Tenants, their people, and how these sign in.

use std::collections::HashMap;

use alloy_primitives::Address;
use axum::body::Body;
use axum::http::{Method, Request};
use k256::ecdsa::SigningKey;
use plimsoll_identity::directory::{self, User};
use plimsoll_identity::password::PasswordFile;
use plimsoll_identity::seal::Sealer;
use plimsoll_identity::session::{self, Method as How};
use plimsoll_identity::sign_in::Registration;
use plimsoll_identity::siwe::{Expectations, KeysOnly, personal_digest};
use plimsoll_identity::webauthn::{RelyingParty, UserVerification};
use plimsoll_identity::{UserKind, UserStatus};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::{Answer, Api};
use crate::{SignInOptions, Wallets};

pub(super) const DOMAIN: &str = "app.example.com";
pub(super) const ORIGIN: &str = "https://app.example.com";
/// The chains on which one signs in.
pub(super) const CHAINS: [u64; 2] = [1, 31_337];

/// How people sign in in these tests: with keys of their own, and second factors.
pub(super) fn sign_in() -> SignInOptions {
    SignInOptions {
        expectations: Expectations {
            domain: DOMAIN.into(),
            scheme: "https".into(),
            chain_ids: CHAINS.to_vec(),
        },
        uri: ORIGIN.into(),
        registration: Registration::Closed,
        wallets: Wallets::new(KeysOnly),
        passwords: None::<PasswordFile>,
        party: RelyingParty {
            id: DOMAIN.into(),
            name: "Plimsoll".into(),
            origins: vec![ORIGIN.into()],
            user_verification: UserVerification::Preferred,
        },
        providers: HashMap::new(),
        sealer: Some(Sealer::new(&"c2VhbGluZyBrZXkgb2YgdGhlIHRlc3RzOiAzMmJ5dGU=".into(), &[]).unwrap()),
    }
}

/// Somebody who has signed in.
#[derive(Clone, Debug)]
pub(super) struct Person {
    pub(super) tenant_id: Uuid,
    pub(super) user_id: Uuid,
    pub(super) session_id: Uuid,
    pub(super) token: String,
}

impl Person {
    /// A body with the three keys, and these fields.
    pub(super) fn body(&self, fields: Value) -> Value {
        let mut body = json!({
            "request_id": Uuid::new_v4(), "tenant_id": self.tenant_id, "user_id": self.user_id,
        });
        let Value::Object(fields) = fields else { panic!("{fields} is no object") };
        body.as_object_mut().unwrap().extend(fields);
        body
    }
}

/// A wallet with a key.
pub(super) struct Wallet(SigningKey);

impl Wallet {
    pub(super) fn new(byte: u8) -> Self {
        Self(SigningKey::from_slice(&[byte; 32]).unwrap())
    }

    pub(super) fn address(&self) -> Address {
        Address::from_raw_public_key(&self.0.verifying_key().to_encoded_point(false).as_bytes()[1..])
    }

    /// As a wallet signs a text (EIP-191).
    pub(super) fn sign(&self, text: &str) -> String {
        let (signature, parity) = self.0.sign_prehash_recoverable(personal_digest(text).as_slice()).unwrap();
        let mut bytes = signature.to_vec();
        bytes.push(27 + parity.to_byte());
        alloy_primitives::hex::encode_prefixed(bytes)
    }
}

/// A sign-in message, each part of which can be put wrong.
pub(super) struct Message {
    pub(super) domain: String,
    pub(super) uri: String,
    pub(super) chain_id: u64,
    pub(super) address: Address,
    pub(super) nonce: String,
    pub(super) issued_at: OffsetDateTime,
}

impl Message {
    /// One that is right.
    pub(super) fn of(address: Address, nonce: &str) -> Self {
        Self {
            domain: DOMAIN.into(),
            uri: ORIGIN.into(),
            chain_id: CHAINS[0],
            address,
            nonce: nonce.into(),
            issued_at: OffsetDateTime::now_utc(),
        }
    }

    pub(super) fn text(&self) -> String {
        let Self { domain, uri, chain_id, nonce, .. } = self;
        let (address, issued) = (self.address.to_checksum(None), self.issued_at.format(&Rfc3339).unwrap());
        format!(
            "{domain} wants you to sign in with your Ethereum account:\n{address}\n\nI am here.\n\nURI: {uri}\n\
             Version: 1\nChain ID: {chain_id}\nNonce: {nonce}\nIssued At: {issued}"
        )
    }
}

impl Api {
    /// A tenant of this name.
    pub(super) async fn tenant_named(&self, name: &str) -> Uuid {
        let tenant_id = Uuid::now_v7();
        let mut tx = self.db.begin_worker().await.unwrap();
        plimsoll_identity::tenant::create(&mut tx, tenant_id, name).await.unwrap();
        tx.commit().await.unwrap();
        tenant_id
    }

    /// A user with these roles.
    pub(super) async fn user(&self, tenant_id: Uuid, kind: UserKind, roles: &[&str]) -> User {
        let mut tx = self.db.tenant_tx(&[tenant_id]).await.unwrap();
        let user =
            directory::create_user(&mut tx, tenant_id, kind, UserStatus::Active, "somebody").await.unwrap();
        for role in roles {
            directory::assign_role(&mut tx, tenant_id, user.user_id, role).await.unwrap();
        }
        tx.commit().await.unwrap();
        user
    }

    /// The user of that id.
    pub(super) async fn user_named(&self, tenant_id: Uuid, user_id: Uuid) -> User {
        directory::user(&mut self.db.begin_worker().await.unwrap(), tenant_id, user_id).await.unwrap()
    }

    /// The user who somebody is.
    pub(super) async fn user_of(&self, who: &Person) -> User {
        self.user_named(who.tenant_id, who.user_id).await
    }

    /// A session of the user, with or without a second factor.
    pub(super) async fn session(&self, user: &User, second_factor: bool) -> Person {
        let mut tx = self.db.begin_worker().await.unwrap();
        let tokens = self.state.authenticator().tokens();
        let pair = session::open(&mut tx, tokens, user, How::Wallet).await.unwrap();
        if second_factor {
            assert!(session::note_second_factor(&mut tx, user.tenant_id, pair.session_id).await.unwrap());
        }
        tx.commit().await.unwrap();
        Person {
            tenant_id: user.tenant_id,
            user_id: user.user_id,
            session_id: pair.session_id,
            token: pair.access_token.expose_secret().to_owned(),
        }
    }

    /// Somebody with these roles who has signed in with two factors.
    pub(super) async fn person(&self, tenant_id: Uuid, kind: UserKind, roles: &[&str]) -> Person {
        let user = self.user(tenant_id, kind, roles).await;
        self.session(&user, true).await
    }

    /// What somebody asks; nobody in particular, where none is given.
    pub(super) async fn ask(
        &self,
        who: Option<&str>,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(token) = who {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let body = match body {
            Some(body) => {
                request = request.header("content-type", "application/json");
                Body::from(body.to_string())
            }
            None => Body::empty(),
        };
        self.send(request.body(body).unwrap()).await
    }

    /// What somebody reads.
    pub(super) async fn read(&self, who: &Person, path: &str) -> Answer {
        self.ask(Some(&who.token), Method::GET, path, None).await
    }

    /// What somebody writes, with the three keys.
    pub(super) async fn post(&self, who: &Person, path: &str, fields: Value) -> Answer {
        self.ask(Some(&who.token), Method::POST, path, Some(&who.body(fields))).await
    }

    /// A nonce for a tenant.
    pub(super) async fn nonce(&self, tenant: &str) -> String {
        let asked = json!({ "tenant": tenant });
        let answer = self.ask(None, Method::POST, "/auth/nonce", Some(&asked)).await;
        answer.expect(200)["nonce"].as_str().unwrap().to_owned()
    }
}

impl Answer {
    /// The body of an answer with this status.
    #[track_caller]
    pub(super) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        self.json()
    }

    /// The detail of an answer that must be this problem.
    #[track_caller]
    pub(super) fn refused(&self, status: u16, slug: &str) -> String {
        let body = self.expect(status);
        assert_eq!(body["type"], format!("urn:plimsoll:problem:{slug}"), "{body}");
        assert_eq!(self.headers["content-type"], "application/problem+json", "{body}");
        body["detail"].as_str().unwrap().to_owned()
    }
}
