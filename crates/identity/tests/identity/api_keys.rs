//! Keys of machines.

use std::time::Duration;

use plimsoll_identity::api_key::{self, ApiKeyError, IssuedApiKey, MAX_LIFETIME, NewApiKey};
use plimsoll_identity::directory::{self as people, builtin};
use plimsoll_identity::{AuthError, Credential, Permission, PermissionSet, UserKind, UserStatus};
use secrecy::ExposeSecret;
use uuid::Uuid;

use crate::{House, tokens};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn key(house: &House, user_id: Uuid, scopes: &[Permission]) -> NewApiKey<'static> {
    NewApiKey {
        tenant_id: house.tenant_id,
        user_id,
        label: "ci",
        scopes: scopes.iter().copied().collect(),
        lifetime: DAY,
        certificate_hash: None,
    }
}

async fn issue(house: &House, new: &NewApiKey<'_>) -> Result<IssuedApiKey, ApiKeyError> {
    let mut tx = house.worker().await;
    let issued = api_key::issue(&mut tx, new).await?;
    tx.commit().await.unwrap();
    Ok(issued)
}

async fn rotate(house: &House, key_id: &str, grace: Duration) -> IssuedApiKey {
    let mut tx = house.worker().await;
    let rotated = api_key::rotate(&mut tx, house.tenant_id, key_id, grace).await.unwrap();
    tx.commit().await.unwrap();
    rotated
}

#[tokio::test]
async fn a_key_may_what_its_scopes_and_its_user_may() {
    let house = House::new().await;
    let auth = house.authenticator(&tokens());
    let user = house.user(UserKind::Machine, &[builtin::OPERATOR]).await;
    let scopes = [Permission::RetryRead, Permission::RetryOperate];
    let issued = issue(&house, &key(&house, user.user_id, &scopes)).await.unwrap();
    let token = issued.token.expose_secret();
    assert!(token.starts_with(&format!("plk_{}_", issued.key_id)));
    let principal = auth.authenticate(token, None).await.unwrap();
    assert_eq!(
        (principal.tenant_id, principal.user_id, principal.kind),
        (house.tenant_id, user.user_id, UserKind::Machine)
    );
    assert_eq!(principal.permissions.iter().collect::<Vec<_>>(), scopes);
    assert_eq!(principal.credential, Credential::ApiKey(issued.key_id.clone()));
    assert_eq!(principal.actor(), format!("key:{}", issued.key_id));
    principal.require(Permission::RetryOperate).unwrap();
    principal.require(Permission::RelayerSubmit).unwrap_err();
    // A role that is withdrawn narrows the key at once.
    let mut tx = house.app().await;
    people::withdraw_role(&mut tx, house.tenant_id, user.user_id, builtin::OPERATOR).await.unwrap();
    people::assign_role(&mut tx, house.tenant_id, user.user_id, builtin::VIEWER).await.unwrap();
    tx.commit().await.unwrap();
    let narrowed = auth.authenticate(token, None).await.unwrap();
    assert_eq!(narrowed.permissions.iter().collect::<Vec<_>>(), [Permission::RetryRead]);
}

#[tokio::test]
async fn a_key_beyond_its_user_or_its_limits_is_not_issued() {
    let house = House::new().await;
    let viewer = house.user(UserKind::Machine, &[builtin::VIEWER]).await;
    let good = key(&house, viewer.user_id, &[Permission::LedgerRead]);
    let beyond = key(&house, viewer.user_id, &[Permission::LedgerRead, Permission::LedgerPost]);
    assert!(matches!(
        issue(&house, &beyond).await,
        Err(ApiKeyError::ScopeBeyondUser(Permission::LedgerPost))
    ));
    let none = NewApiKey { scopes: PermissionSet::EMPTY, ..good.clone() };
    assert!(matches!(issue(&house, &none).await, Err(ApiKeyError::NoScope)));
    for lifetime in [Duration::ZERO, MAX_LIFETIME + Duration::from_nanos(1)] {
        assert!(matches!(
            issue(&house, &NewApiKey { lifetime, ..good.clone() }).await,
            Err(ApiKeyError::Lifetime)
        ));
    }
    for label in ["", "a\0"] {
        assert!(matches!(issue(&house, &NewApiKey { label, ..good.clone() }).await, Err(ApiKeyError::Label)));
    }
    let elsewhere = NewApiKey { tenant_id: house.other_tenant_id, ..good.clone() };
    assert!(matches!(issue(&house, &elsewhere).await, Err(ApiKeyError::NoUser(_))));
    // A lifetime with a fraction of a microsecond is one too.
    issue(&house, &NewApiKey { lifetime: Duration::new(60, 123), ..good }).await.unwrap();
}

#[tokio::test]
async fn after_a_rotation_both_secrets_are_good_until_the_grace_is_over() {
    let house = House::new().await;
    let tokens = tokens();
    let auth = house.authenticator(&tokens);
    let remembering = plimsoll_identity::Authenticator::new(house.db.clone(), tokens);
    let user = house.user(UserKind::Machine, &[builtin::VIEWER]).await;
    let old = issue(&house, &key(&house, user.user_id, &[Permission::LedgerRead])).await.unwrap();
    remembering.authenticate(old.token.expose_secret(), None).await.unwrap();
    let new = rotate(&house, &old.key_id, DAY).await;
    assert_eq!((&new.key_id, new.expires_at), (&old.key_id, old.expires_at));
    for auth in [&auth, &remembering] {
        auth.authenticate(old.token.expose_secret(), None).await.unwrap();
        auth.authenticate(new.token.expose_secret(), None).await.unwrap();
    }
    house.owner("UPDATE api_keys SET previous_valid_until = now()").await.unwrap();
    let refused = auth.authenticate(old.token.expose_secret(), None).await;
    assert!(matches!(refused, Err(AuthError::UnknownApiKey)));
    auth.authenticate(new.token.expose_secret(), None).await.unwrap();
    // A leaked secret is rotated without grace.
    let newest = rotate(&house, &old.key_id, Duration::ZERO).await;
    assert!(auth.authenticate(new.token.expose_secret(), None).await.is_err());
    auth.authenticate(newest.token.expose_secret(), None).await.unwrap();
}

#[tokio::test]
async fn an_expired_a_revoked_and_a_suspended_users_key_are_refused_and_cannot_be_rotated() {
    let house = House::new().await;
    let auth = house.authenticator(&tokens());
    let user = house.user(UserKind::Machine, &[builtin::VIEWER]).await;
    let new = key(&house, user.user_id, &[Permission::LedgerRead]);
    let issued = issue(&house, &new).await.unwrap();
    let token = issued.token.expose_secret();
    house.owner("UPDATE api_keys SET expires_at = now()").await.unwrap();
    assert!(matches!(auth.authenticate(token, None).await, Err(AuthError::ApiKeyOver)));
    house.owner("UPDATE api_keys SET expires_at = now() + interval '1 day'").await.unwrap();
    house.set_status(user.user_id, UserStatus::Suspended).await;
    assert!(matches!(auth.authenticate(token, None).await, Err(AuthError::Suspended)));
    assert!(matches!(issue(&house, &new).await, Err(ApiKeyError::NoUser(_))));
    house.set_status(user.user_id, UserStatus::Active).await;
    auth.authenticate(token, None).await.unwrap();
    let mut tx = house.worker().await;
    assert!(!api_key::revoke(&mut tx, house.other_tenant_id, &issued.key_id).await.unwrap());
    assert!(api_key::revoke(&mut tx, house.tenant_id, &issued.key_id).await.unwrap());
    assert!(!api_key::revoke(&mut tx, house.tenant_id, &issued.key_id).await.unwrap());
    let rotated = api_key::rotate(&mut tx, house.tenant_id, &issued.key_id, DAY).await;
    assert!(matches!(rotated, Err(ApiKeyError::NoKey(_))));
    tx.commit().await.unwrap();
    assert!(matches!(auth.authenticate(token, None).await, Err(AuthError::ApiKeyOver)));
}

#[tokio::test]
async fn a_wrong_secret_and_an_unknown_key_are_told_alike() {
    let house = House::new().await;
    let auth = house.authenticator(&tokens());
    let user = house.user(UserKind::Machine, &[builtin::VIEWER]).await;
    let issued = issue(&house, &key(&house, user.user_id, &[Permission::LedgerRead])).await.unwrap();
    let digits = "0".repeat(64);
    for token in
        [format!("plk_{}_{digits}", issued.key_id), format!("plk_0000000000000000_{digits}"), "plk_".into()]
    {
        assert!(matches!(auth.authenticate(&token, None).await, Err(AuthError::UnknownApiKey)), "{token}");
    }
}

#[tokio::test]
async fn a_bound_key_needs_its_certificate_which_is_a_second_factor() {
    let house = House::new().await;
    let remembering = plimsoll_identity::Authenticator::new(house.db.clone(), tokens());
    let user = house.user(UserKind::Machine, &[builtin::ACCOUNTANT]).await;
    let free = key(&house, user.user_id, &[Permission::LedgerPost]);
    let bound = issue(&house, &NewApiKey { certificate_hash: Some([7; 32]), ..free.clone() }).await.unwrap();
    let free = issue(&house, &free).await.unwrap();
    // The second round is answered from memory.
    for _ in 0..2 {
        let token = bound.token.expose_secret();
        for wrong in [None, Some(&[8; 32])] {
            assert!(matches!(remembering.authenticate(token, wrong).await, Err(AuthError::Certificate)));
        }
        let principal = remembering.authenticate(token, Some(&[7; 32])).await.unwrap();
        principal.require(Permission::LedgerPost).unwrap();
        // A certificate that the key is not bound to proves nothing about it.
        let principal = remembering.authenticate(free.token.expose_secret(), Some(&[7; 32])).await.unwrap();
        principal.require(Permission::LedgerPost).unwrap_err();
    }
}

#[tokio::test]
async fn the_list_shows_the_use_of_a_key_and_no_secret() {
    let house = House::new().await;
    let auth = house.authenticator(&tokens());
    let user = house.user(UserKind::Machine, &[builtin::VIEWER]).await;
    let issued = issue(&house, &key(&house, user.user_id, &[Permission::LedgerRead])).await.unwrap();
    let list = async || api_key::list(&mut *house.worker().await, house.tenant_id).await.unwrap();
    assert_eq!(list().await[0].last_used_at, None);
    auth.authenticate(issued.token.expose_secret(), None).await.unwrap();
    let listed = list().await;
    let used = listed[0].last_used_at.unwrap();
    auth.authenticate(issued.token.expose_secret(), None).await.unwrap();
    assert_eq!(list().await[0].last_used_at, Some(used), "noted once a minute at most");
    let secret = issued.token.expose_secret().rsplit('_').next().unwrap();
    assert!(!format!("{listed:?} {issued:?} {auth:?}").contains(&secret[..16]));
    assert!(api_key::list(&mut *house.worker().await, house.other_tenant_id).await.unwrap().is_empty());
    let stored: String =
        sqlx::query_scalar("SELECT k::text FROM api_keys k").fetch_one(house.db.worker()).await.unwrap();
    assert!(!stored.contains(secret));
}
