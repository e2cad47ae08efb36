//! The memory of the authenticator: what it may hold back, and for how long at most.

use std::time::Duration;

use plimsoll_identity::directory::builtin;
use plimsoll_identity::session::{self, RevokeReason};
use plimsoll_identity::token::TokenError;
use plimsoll_identity::{AuthError, Authenticator, Denied, Permission, UserKind};
use secrecy::ExposeSecret;

use crate::sessions::open;
use crate::{House, tokens};

/// Longer than any test runs: only forgetting ends it.
const LONG: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_revocation_is_seen_at_once_where_it_is_forgotten_and_by_whoever_asks_anew() {
    let house = House::new().await;
    let tokens = tokens();
    let here = Authenticator::with_memory(house.db.clone(), tokens.clone(), LONG);
    let elsewhere = Authenticator::with_memory(house.db.clone(), tokens.clone(), LONG);
    let user = house.user(UserKind::Person, &[builtin::VIEWER]).await;
    let pair = open(&house, &tokens, &user).await;
    let token = pair.access_token.expose_secret();
    for auth in [&here, &elsewhere] {
        auth.authenticate(token, None).await.unwrap();
    }
    let mut tx = house.worker().await;
    assert!(
        session::revoke(&mut tx, house.tenant_id, pair.session_id, RevokeReason::SignedOut).await.unwrap()
    );
    tx.commit().await.unwrap();
    here.forget_session(pair.session_id);
    assert!(matches!(here.authenticate(token, None).await, Err(AuthError::SessionOver)));
    elsewhere.authenticate(token, None).await.unwrap();
    let anew = house.authenticator(&tokens);
    assert!(matches!(anew.authenticate(token, None).await, Err(AuthError::SessionOver)));
}

#[tokio::test]
async fn a_token_is_good_for_the_user_whom_it_names_and_for_no_other() {
    let house = House::new().await;
    let tokens = tokens();
    let user = house.user(UserKind::Person, &[builtin::VIEWER]).await;
    let other = house.user(UserKind::Person, &[builtin::ADMIN]).await;
    let pair = open(&house, &tokens, &user).await;
    let token = pair.access_token.expose_secret();
    let auth = house.authenticator(&tokens);
    auth.authenticate(token, None).await.unwrap();
    house.owner(&format!("UPDATE sessions SET user_id = '{}'", other.user_id)).await.unwrap();
    assert!(matches!(auth.authenticate(token, None).await, Err(AuthError::SessionOver)));
}

#[tokio::test]
async fn a_sensitive_action_waits_for_a_second_factor_which_counts_for_its_term() {
    let house = House::new().await;
    let tokens = tokens();
    let auth = Authenticator::with_memory(house.db.clone(), tokens.clone(), LONG);
    let user = house.user(UserKind::Person, &[builtin::ACCOUNTANT]).await;
    let pair = open(&house, &tokens, &user).await;
    let may = async || {
        auth.authenticate(pair.access_token.expose_secret(), None)
            .await
            .unwrap()
            .require(Permission::LedgerPost)
    };
    assert_eq!(may().await, Err(Denied::SecondFactor(Permission::LedgerPost)));
    let mut tx = house.worker().await;
    assert!(session::note_second_factor(&mut tx, house.tenant_id, pair.session_id).await.unwrap());
    tx.commit().await.unwrap();
    auth.forget_session(pair.session_id);
    assert_eq!(may().await, Ok(()));
    house.owner("UPDATE sessions SET second_factor_at = now() - interval '1 hour'").await.unwrap();
    auth.forget_session(pair.session_id);
    assert_eq!(may().await, Err(Denied::SecondFactor(Permission::LedgerPost)));
}

#[tokio::test]
async fn what_is_no_credential_is_refused_without_a_word_of_it() {
    let house = House::new().await;
    let auth = house.authenticator(&tokens());
    for text in ["", ".", "..", "Bearer x", "plk_x", "a.b.c", "\0", &"x".repeat(100_000)] {
        let error = auth.authenticate(text, None).await.unwrap_err();
        assert!(
            matches!(error, AuthError::Token(TokenError::Malformed) | AuthError::UnknownApiKey),
            "{error}"
        );
    }
    // A session that this database does not have, as after a restore.
    let other = House::new().await;
    let tokens = tokens();
    let pair = open(&other, &tokens, &other.user(UserKind::Person, &[]).await).await;
    let refused = house.authenticator(&tokens).authenticate(pair.access_token.expose_secret(), None).await;
    assert!(matches!(refused, Err(AuthError::SessionOver)));
}
