//! Signing in with a wallet: once, here, now, at the tenant that was asked for.

use axum::http::Method;
use plimsoll_identity::directory::User;
use plimsoll_identity::password::{self, PasswordFile};
use plimsoll_identity::sign_in::Registration;
use plimsoll_identity::{UserKind, UserStatus, directory};
use plimsoll_store::testing;
use serde_json::json;
use time::Duration;

use super::super::people::{CHAINS, Message, Person, Wallet, sign_in};
use super::super::{Answer, Api};
use super::second_factor::{code, enroll, give};
use super::sessions::refresh;
use crate::SignInOptions;

const TENANT: &str = "acme";

/// A user of the tenant whose address on the first chain is the wallet's.
async fn known(api: &Api, wallet: &Wallet) -> User {
    let tenant_id = api.tenant_named(TENANT).await;
    let user = api.user(tenant_id, UserKind::Person, &["viewer"]).await;
    let mut tx = api.db.tenant_tx(&[tenant_id]).await.unwrap();
    directory::link_address(&mut tx, tenant_id, user.user_id, CHAINS[0], wallet.address()).await.unwrap();
    tx.commit().await.unwrap();
    user
}

async fn login(api: &Api, tenant: &str, wallet: &Wallet, text: &str) -> Answer {
    let body =
        json!({ "method": "wallet", "tenant": tenant, "message": text, "signature": wallet.sign(text) });
    api.ask(None, Method::POST, "/auth/login", Some(&body)).await
}

#[tokio::test]
async fn a_wallet_signs_in_and_the_token_says_who() {
    let (api, wallet) = (Api::start().await, Wallet::new(1));
    known(&api, &wallet).await;
    let text = Message::of(wallet.address(), &api.nonce(TENANT).await).text();
    let tokens = login(&api, TENANT, &wallet, &text).await.expect(200);
    assert_eq!((&tokens["token_type"], &tokens["second_factor_wanted"]), (&json!("Bearer"), &json!(false)));
    let token = tokens["access_token"].as_str().unwrap();
    let who = api.ask(Some(token), Method::GET, "/auth/session", None).await.expect(200);
    assert_eq!((&who["kind"], &who["status"]), (&json!("person"), &json!("active")));
    assert_eq!(who["session_id"], tokens["session_id"]);
    assert!(who["permissions"].as_array().unwrap().contains(&json!("positions:read")), "{who}");
    let recorded = api.recorded("identity.sign_in").await;
    assert_eq!(recorded.len(), 1, "{recorded:?}");
    for told in [who["user_id"].as_str().unwrap(), &format!("{:#x}", wallet.address())] {
        assert!(recorded[0].contains(told), "{told} is not in {recorded:?}");
    }
    assert!(!recorded[0].contains(token) && !recorded[0].contains(tokens["refresh_token"].as_str().unwrap()));
}

#[tokio::test]
async fn whoever_has_a_second_factor_is_told_that_it_is_wanted_until_it_is_given() {
    let (api, wallet) = (Api::start().await, Wallet::new(1));
    let first = api.session(&known(&api, &wallet).await, false).await;
    let seed = enroll(&api, &first).await.expect(200)["seed"].clone();
    give(&api, &first, "confirm", &code(&seed, 0)).await.expect(200);
    let text = Message::of(wallet.address(), &api.nonce(TENANT).await).text();
    let tokens = login(&api, TENANT, &wallet, &text).await.expect(200);
    assert_eq!(tokens["second_factor_wanted"], true);
    let tokens = refresh(&api, &tokens["refresh_token"]).await.expect(200);
    assert_eq!(tokens["second_factor_wanted"], true);
    let person = Person { token: tokens["access_token"].as_str().unwrap().to_owned(), ..first };
    give(&api, &person, "verify", &code(&seed, 1)).await.expect(200);
    let tokens = refresh(&api, &tokens["refresh_token"]).await.expect(200);
    assert_eq!(tokens["second_factor_wanted"], false);
}

#[tokio::test]
async fn a_message_that_was_used_or_is_not_for_here_and_now_is_refused_each_for_its_own_reason() {
    let (api, wallet) = (Api::start().await, Wallet::new(1));
    known(&api, &wallet).await;
    type Change = fn(&mut Message);
    let cases: &[(Change, u16, &str, &str)] = &[
        (|m| m.domain = "evil.example.com".into(), 401, "wrong-domain", "evil.example.com"),
        (|m| m.uri = "https://evil.example.com".into(), 401, "wrong-uri", "https://evil.example.com"),
        (|m| m.chain_id = 5, 401, "wrong-chain", "chain 5"),
        (|m| m.issued_at -= Duration::minutes(11), 401, "message-expired", "10 minutes"),
        (|m| m.issued_at += Duration::minutes(5), 401, "message-not-yet-valid", "future"),
        (|m| m.address = Wallet::new(2).address(), 401, "wrong-signature", "not signed by"),
        (|m| m.nonce = "0123456789abcdef".into(), 401, "nonce-unknown", "not given out"),
        (|m| m.chain_id = CHAINS[1], 403, "no-such-user", "no user of this tenant"),
    ];
    for (change, status, slug, told) in cases {
        let mut message = Message::of(wallet.address(), &api.nonce(TENANT).await);
        change(&mut message);
        let detail = login(&api, TENANT, &wallet, &message.text()).await.refused(*status, slug);
        assert!(detail.contains(told), "{slug}: {detail}");
    }
    let nonsense = login(&api, TENANT, &wallet, "let me in").await.refused(400, "malformed-sign-in");
    assert!(nonsense.contains("EIP-4361"), "{nonsense}");

    let text = Message::of(wallet.address(), &api.nonce(TENANT).await).text();
    login(&api, TENANT, &wallet, &text).await.expect(200);
    login(&api, TENANT, &wallet, &text).await.refused(401, "nonce-used");
    let recorded = api.recorded("identity.sign_in.refuse").await;
    assert_eq!(recorded.len(), cases.len() + 2, "{recorded:#?}");
}

#[tokio::test]
async fn a_nonce_of_another_tenant_is_no_way_in_and_is_not_used_up_by_trying() {
    let (api, wallet) = (Api::start().await, Wallet::new(1));
    known(&api, &wallet).await;
    api.tenant_named("globex").await;
    let text = Message::of(wallet.address(), &api.nonce(TENANT).await).text();
    login(&api, "globex", &wallet, &text).await.refused(401, "other-tenants-nonce");
    login(&api, TENANT, &wallet, &text).await.expect(200);
}

#[tokio::test]
async fn a_nonce_that_has_expired_is_refused() {
    let (api, wallet) = (Api::start().await, Wallet::new(1));
    known(&api, &wallet).await;
    let text = Message::of(wallet.address(), &api.nonce(TENANT).await).text();
    let mut owner = sqlx::ConnectOptions::connect(&api.db.urls().owner).await.unwrap();
    sqlx::query("UPDATE sign_in_nonces SET expires_at = now()").execute(&mut owner).await.unwrap();
    login(&api, TENANT, &wallet, &text).await.refused(401, "message-expired");
}

#[tokio::test]
async fn a_tenant_that_is_not_there_and_a_way_that_is_not_set_up_are_told() {
    let api = Api::start().await;
    let asked = json!({ "tenant": "nobody" });
    api.ask(None, Method::POST, "/auth/nonce", Some(&asked)).await.refused(404, "not-found");
    let password = json!({ "method": "password", "login": "ada", "password": "correct horse battery" });
    api.ask(None, Method::POST, "/auth/login", Some(&password)).await.refused(409, "not-configured");
    let unknown = json!({ "method": "palm" });
    api.ask(None, Method::POST, "/auth/login", Some(&unknown)).await.refused(400, "invalid-body");
}

#[tokio::test]
async fn the_first_administrators_link_is_good_once() {
    use secrecy::ExposeSecret;

    let api = Api::start().await;
    let tenant_id = api.tenant_named(TENANT).await;
    let mut tx = api.db.begin_worker().await.unwrap();
    let link = plimsoll_identity::bootstrap::bootstrap(&mut tx, tenant_id).await.unwrap();
    tx.commit().await.unwrap();
    let body = json!({ "method": "bootstrap", "token": link.expose_secret(), "display_name": "Ada" });
    let tokens = api.ask(None, Method::POST, "/auth/login", Some(&body)).await.expect(200);
    let token = tokens["access_token"].as_str().unwrap();
    let who = api.ask(Some(token), Method::GET, "/auth/session", None).await.expect(200);
    assert_eq!((&who["display_name"], &who["tenant_id"]), (&json!("Ada"), &json!(tenant_id)));
    assert!(who["permissions"].as_array().unwrap().contains(&json!("users:write")));
    api.ask(None, Method::POST, "/auth/login", Some(&body)).await.refused(401, "wrong-credentials");
}

#[tokio::test]
async fn the_public_keys_verify_what_was_signed() {
    let api = Api::start().await;
    let answer = api.get("/.well-known/jwks.json").await;
    assert_eq!(answer.headers["cache-control"], "public, max-age=60");
    let keys = answer.expect(200);
    let here = api.state.authenticator().tokens().keys().current();
    assert_eq!(keys["keys"][0]["kid"], here.signing_id());
    assert!(!answer.body.contains("\"d\""), "no private half");
}

#[tokio::test]
async fn an_operator_signs_in_with_the_password_of_the_file_and_with_no_other() {
    let db = testing::db().await;
    let house = Api::signing_in(db.clone(), sign_in());
    let tenant_id = house.tenant_named(TENANT).await;
    let user_id = house.user(tenant_id, UserKind::Person, &["operator"]).await.user_id;
    let hash = password::hash(&"correct horse battery".into()).unwrap();
    let passwords = Some(PasswordFile::parse(&format!("ada:{tenant_id}:{user_id}:{hash}")).unwrap());
    let api = Api::signing_in(db, SignInOptions { passwords, ..sign_in() });
    let login = async |name: &str, password: &str| {
        let body = json!({ "method": "password", "login": name, "password": password });
        api.ask(None, Method::POST, "/auth/login", Some(&body)).await
    };
    let tokens = login("ada", "correct horse battery").await.expect(200);
    let who = api.ask(tokens["access_token"].as_str(), Method::GET, "/auth/session", None).await.expect(200);
    assert_eq!(who["user_id"], json!(user_id));
    for (name, password) in [("ada", "wrong horse battery"), ("bob", "correct horse battery")] {
        login(name, password).await.refused(401, "wrong-credentials");
    }
    let suspended = UserStatus::Suspended;
    let mut tx = api.db.tenant_tx(&[tenant_id]).await.unwrap();
    directory::set_status(&mut tx, tenant_id, user_id, suspended).await.unwrap();
    tx.commit().await.unwrap();
    login("ada", "correct horse battery").await.refused(403, "suspended");
    assert!(!api.held("audit_staging").await.contains("horse"));
}

#[tokio::test]
async fn where_registration_is_open_a_new_wallet_becomes_a_user_who_waits_for_review() {
    let registration = Registration::Open(UserStatus::PendingReview);
    let api = Api::signing_in(testing::db().await, SignInOptions { registration, ..sign_in() });
    api.tenant_named(TENANT).await;
    let wallet = Wallet::new(1);
    let text = Message::of(wallet.address(), &api.nonce(TENANT).await).text();
    let tokens = login(&api, TENANT, &wallet, &text).await.expect(200);
    let token = tokens["access_token"].as_str();
    let who = api.ask(token, Method::GET, "/auth/session", None).await.expect(200);
    assert_eq!((&who["status"], &who["permissions"]), (&json!("pending_review"), &json!([])));
    let detail = api.ask(token, Method::GET, "/api/v1/approvals", None).await.refused(403, "forbidden");
    assert!(detail.contains("under review"), "{detail}");
}
