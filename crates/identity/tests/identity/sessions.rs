//! Sessions, their refresh tokens, and who comes with one twice.

use plimsoll_identity::directory::builtin;
use plimsoll_identity::session::{self, Method, RefreshRefusal, Refreshed, RevokeReason, TokenPair};
use plimsoll_identity::token::Tokens;
use plimsoll_identity::{AuthError, Permission, UserKind, UserStatus, directory as people};
use secrecy::{ExposeSecret, SecretString};

use crate::{House, tokens};

pub(crate) async fn open(house: &House, tokens: &Tokens, user: &people::User) -> TokenPair {
    let mut tx = house.worker().await;
    let pair = session::open(&mut tx, tokens, user, Method::Wallet).await.unwrap();
    tx.commit().await.unwrap();
    pair
}

async fn refresh(house: &House, tokens: &Tokens, token: &SecretString) -> Result<TokenPair, RefreshRefusal> {
    let mut tx = house.worker().await;
    let refreshed = session::refresh(&mut tx, tokens, token).await.unwrap();
    tx.commit().await.unwrap();
    match refreshed {
        Refreshed::Issued(pair) => Ok(pair),
        Refreshed::Refused(refusal) => Err(refusal),
    }
}

#[tokio::test]
async fn a_session_lives_on_by_its_refresh_tokens() {
    let house = House::new().await;
    let tokens = tokens();
    let auth = house.authenticator(&tokens);
    let user = house.user(UserKind::Person, &[builtin::VIEWER]).await;
    let first = open(&house, &tokens, &user).await;
    let second = refresh(&house, &tokens, &first.refresh_token).await.unwrap();
    let third = refresh(&house, &tokens, &second.refresh_token).await.unwrap();
    assert_eq!((first.session_id, second.session_id), (second.session_id, third.session_id));
    for pair in [&first, &second, &third] {
        let principal = auth.authenticate(pair.access_token.expose_secret(), None).await.unwrap();
        assert_eq!(principal.user_id, user.user_id);
    }
}

#[tokio::test]
async fn a_refresh_token_that_comes_twice_ends_its_family_and_no_other() {
    let house = House::new().await;
    let tokens = tokens();
    let auth = house.authenticator(&tokens);
    let user = house.user(UserKind::Person, &[]).await;
    let (first, other) = (open(&house, &tokens, &user).await, open(&house, &tokens, &user).await);
    let second = refresh(&house, &tokens, &first.refresh_token).await.unwrap();
    let reused = refresh(&house, &tokens, &first.refresh_token).await.unwrap_err();
    assert!(
        matches!(reused, RefreshRefusal::Reused { tenant_id, .. } if tenant_id == house.tenant_id),
        "{reused:?}"
    );
    assert_eq!(refresh(&house, &tokens, &second.refresh_token).await.unwrap_err(), RefreshRefusal::Revoked);
    let refused = auth.authenticate(second.access_token.expose_secret(), None).await;
    assert!(matches!(refused, Err(AuthError::SessionOver)));
    auth.authenticate(other.access_token.expose_secret(), None).await.unwrap();
    refresh(&house, &tokens, &other.refresh_token).await.unwrap();
}

#[tokio::test]
async fn of_two_uses_of_a_refresh_token_at_once_one_wins_and_the_session_ends() {
    let house = House::new().await;
    let tokens = tokens();
    let user = house.user(UserKind::Person, &[]).await;
    let pair = open(&house, &tokens, &user).await;
    let (a, b) = tokio::join!(
        refresh(&house, &tokens, &pair.refresh_token),
        refresh(&house, &tokens, &pair.refresh_token)
    );
    let (won, lost) = if a.is_ok() { (a, b) } else { (b, a) };
    assert!(matches!(lost.unwrap_err(), RefreshRefusal::Reused { .. }));
    assert_eq!(
        refresh(&house, &tokens, &won.unwrap().refresh_token).await.unwrap_err(),
        RefreshRefusal::Revoked
    );
}

#[tokio::test]
async fn what_has_expired_and_what_is_no_token_is_refused() {
    let house = House::new().await;
    let tokens = tokens();
    let auth = house.authenticator(&tokens);
    let user = house.user(UserKind::Person, &[]).await;
    let (token_over, session_over) = (open(&house, &tokens, &user).await, open(&house, &tokens, &user).await);
    house
        .owner(&format!(
            "UPDATE refresh_tokens SET expires_at = now() WHERE session_id = '{}'",
            token_over.session_id
        ))
        .await
        .unwrap();
    house
        .owner(&format!(
            "UPDATE sessions SET expires_at = now() WHERE session_id = '{}'",
            session_over.session_id
        ))
        .await
        .unwrap();
    for pair in [&token_over, &session_over] {
        assert_eq!(refresh(&house, &tokens, &pair.refresh_token).await.unwrap_err(), RefreshRefusal::Expired);
    }
    auth.authenticate(token_over.access_token.expose_secret(), None).await.unwrap();
    let refused = auth.authenticate(session_over.access_token.expose_secret(), None).await;
    assert!(matches!(refused, Err(AuthError::SessionOver)));
    for text in
        ["", "plr_", "plr_abc", &format!("plr_{}", "0".repeat(64)), &format!("plk_{}", "0".repeat(64))]
    {
        let refused = refresh(&house, &tokens, &SecretString::from(text)).await;
        assert_eq!(refused.unwrap_err(), RefreshRefusal::Unknown, "{text}");
    }
}

#[tokio::test]
async fn what_is_over_does_not_end_again_and_takes_no_second_factor() {
    let (house, tokens) = (House::new().await, tokens());
    let user = house.user(UserKind::Person, &[]).await;
    let (revoked, expired) = (open(&house, &tokens, &user).await, open(&house, &tokens, &user).await);
    let end = format!("UPDATE sessions SET expires_at = now() WHERE session_id = '{}'", expired.session_id);
    house.owner(&end).await.unwrap();
    let mut tx = house.worker().await;
    for (reason, was_in_force) in [(RevokeReason::SignedOut, true), (RevokeReason::Administrator, false)] {
        let ended = session::revoke(&mut tx, house.tenant_id, revoked.session_id, reason).await.unwrap();
        assert_eq!(ended, was_in_force, "{reason:?}");
    }
    let reason: Option<String> =
        sqlx::query_scalar("SELECT revoke_reason FROM sessions WHERE session_id = $1")
            .bind(revoked.session_id)
            .fetch_one(&mut *tx)
            .await
            .unwrap();
    assert_eq!(reason.as_deref(), Some(RevokeReason::SignedOut.as_str()), "as it ended");
    tx.commit().await.unwrap();
    for over in [revoked, expired] {
        let mut tx = house.worker().await;
        assert!(!session::note_second_factor(&mut tx, house.tenant_id, over.session_id).await.unwrap());
    }
}

#[tokio::test]
async fn a_suspended_user_is_turned_away_and_one_under_review_may_do_nothing() {
    let house = House::new().await;
    let tokens = tokens();
    let auth = house.authenticator(&tokens);
    let user = house.user(UserKind::Person, &[builtin::ADMIN]).await;
    let pair = open(&house, &tokens, &user).await;
    house.set_status(user.user_id, UserStatus::PendingReview).await;
    let principal = auth.authenticate(pair.access_token.expose_secret(), None).await.unwrap();
    principal.require(Permission::LedgerRead).unwrap_err();
    house.set_status(user.user_id, UserStatus::Suspended).await;
    let refused = auth.authenticate(pair.access_token.expose_secret(), None).await;
    assert!(matches!(refused, Err(AuthError::Suspended)));
    assert_eq!(refresh(&house, &tokens, &pair.refresh_token).await.unwrap_err(), RefreshRefusal::Suspended);
}

#[tokio::test]
async fn all_sessions_of_a_user_are_revoked_at_once() {
    let house = House::new().await;
    let tokens = tokens();
    let auth = house.authenticator(&tokens);
    let (ada, bob) = (house.user(UserKind::Person, &[]).await, house.user(UserKind::Person, &[]).await);
    let of_ada = [open(&house, &tokens, &ada).await, open(&house, &tokens, &ada).await];
    let of_bob = open(&house, &tokens, &bob).await;
    let mut tx = house.worker().await;
    let mut revoked = session::revoke_all(&mut tx, house.tenant_id, ada.user_id, RevokeReason::Administrator)
        .await
        .unwrap();
    revoked.sort();
    assert_eq!(revoked, of_ada.each_ref().map(|pair| pair.session_id));
    assert!(
        !session::revoke(&mut tx, house.other_tenant_id, of_bob.session_id, RevokeReason::SignedOut)
            .await
            .unwrap()
    );
    tx.commit().await.unwrap();
    for pair in &of_ada {
        let refused = auth.authenticate(pair.access_token.expose_secret(), None).await;
        assert!(matches!(refused, Err(AuthError::SessionOver)));
    }
    auth.authenticate(of_bob.access_token.expose_secret(), None).await.unwrap();
}

/// A sign-in at a provider, or a challenge, that ran out so long ago and was never finished.
fn unfinished(table: &str, session_id: uuid::Uuid, ago: &str) -> String {
    let hash = "sha256('any')";
    let (columns, values) = match table {
        "oidc_requests" => {
            ("state_hash, issuer, browser_hash, nonce_hash", format!("{hash}, 'https://x', {hash}, {hash}"))
        }
        _ => ("session_id, ceremony, challenge_hash", format!("session_id, 'assertion', {hash}")),
    };
    format!(
        "INSERT INTO {table} (tenant_id, expires_at, {columns})
         SELECT tenant_id, now() - interval '{ago}', {values} FROM sessions WHERE session_id = '{session_id}'"
    )
}

#[tokio::test]
async fn the_sweeper_takes_what_is_long_over_and_nothing_else() {
    let house = House::new().await;
    let tokens = tokens();
    let user = house.user(UserKind::Person, &[]).await;
    let (old, live) = (open(&house, &tokens, &user).await, open(&house, &tokens, &user).await);
    let second = refresh(&house, &tokens, &live.refresh_token).await.unwrap();
    let mut tx = house.worker().await;
    plimsoll_identity::sign_in::issue_nonce(&mut tx, house.tenant_id).await.unwrap();
    plimsoll_identity::sign_in::issue_nonce(&mut tx, house.tenant_id).await.unwrap();
    tx.commit().await.unwrap();
    for table in ["oidc_requests", "webauthn_challenges"] {
        house.owner(&unfinished(table, live.session_id, "30 days")).await.unwrap();
    }
    house.owner(&unfinished("webauthn_challenges", old.session_id, "1 minute")).await.unwrap();
    house.owner("INSERT INTO oidc_requests (state_hash, tenant_id, issuer, browser_hash, nonce_hash, expires_at)
                 SELECT sha256('live'), tenant_id, issuer, browser_hash, nonce_hash, now() FROM oidc_requests").await.unwrap();
    house
        .owner(&format!(
            "UPDATE sessions SET expires_at = now() - interval '31 days' WHERE session_id = '{}'",
            old.session_id
        ))
        .await
        .unwrap();
    house
        .owner("UPDATE sign_in_nonces SET expires_at = now() - interval '31 days' WHERE nonce = (SELECT min(nonce) FROM sign_in_nonces)")
        .await
        .unwrap();
    let mut tx = house.worker().await;
    assert_eq!(
        session::sweep(&mut tx).await.unwrap(),
        5,
        "a nonce, a sign-in, a challenge, a refresh token, a session"
    );
    assert_eq!(session::sweep(&mut tx).await.unwrap(), 0);
    tx.commit().await.unwrap();
    refresh(&house, &tokens, &second.refresh_token).await.unwrap();
    assert_eq!(refresh(&house, &tokens, &old.refresh_token).await.unwrap_err(), RefreshRefusal::Unknown);
}
