//! Taking second factors away: who may, which one stays, and what else ends.

use plimsoll_identity::directory::builtin;
use plimsoll_identity::second_factor::{self, FactorId, RemovalError};
use plimsoll_identity::token::Tokens;
use plimsoll_identity::{Credential, Principal, UserKind};
use plimsoll_store::Tx;
use secrecy::ExposeSecret;
use uuid::Uuid;

use crate::sessions::open;
use crate::{House, tokens};

/// Somebody with security keys, named by a byte each.
struct Holder {
    house: House,
    tokens: Tokens,
    user: plimsoll_identity::directory::User,
    principal: Principal,
}

fn key(name: u8) -> FactorId {
    FactorId::Webauthn(vec![name; 16])
}

impl Holder {
    async fn new(role: &str, keys: &[u8]) -> Self {
        let house = House::new().await;
        let user = house.user(UserKind::Person, &[role]).await;
        let tokens = tokens();
        for name in keys {
            let values = format!(
                "'{}', '{}', decode('{}', 'hex')",
                house.tenant_id,
                user.user_id,
                format!("{name:02x}").repeat(16)
            );
            house
                .owner(&format!(
                    "INSERT INTO webauthn_credentials (tenant_id, user_id, credential_id, algorithm, public_key, sign_count, label)
                     VALUES ({values}, -8, decode(repeat('00', 32), 'hex'), 0, 'key {name}')"
                ))
                .await
                .unwrap();
        }
        let principal = signed_in(&house, &tokens, &user, true).await;
        Self { house, tokens, user, principal }
    }

    async fn left(&self) -> Vec<FactorId> {
        let mut tx = self.house.app().await;
        let left = second_factor::list(&mut tx, self.user.tenant_id, self.user.user_id).await.unwrap();
        left.into_iter().map(|factor| factor.id).collect()
    }

    /// As the app, as routes do.
    async fn remove_own(&self, by: &Principal, id: &FactorId) -> Result<Vec<Uuid>, RemovalError> {
        let mut tx: Tx = self.house.app().await;
        let ended = second_factor::remove_own(&mut tx, by, id).await?;
        tx.commit().await.unwrap();
        Ok(ended)
    }
}

async fn signed_in(
    house: &House,
    tokens: &Tokens,
    user: &plimsoll_identity::directory::User,
    second_factor: bool,
) -> Principal {
    let token = open(house, tokens, user).await.access_token;
    let found = house.authenticator(tokens).authenticate(token.expose_secret(), None).await.unwrap();
    Principal { second_factor, ..(*found).clone() }
}

fn session(principal: &Principal) -> Uuid {
    let Credential::Session(session_id) = principal.credential else { panic!("{principal:?}") };
    session_id
}

#[tokio::test]
async fn who_gave_a_second_factor_takes_one_away_and_the_other_sessions_end() {
    let ada = Holder::new(builtin::VIEWER, &[1, 2]).await;
    let elsewhere = signed_in(&ada.house, &ada.tokens, &ada.user, false).await;
    let not_given = ada.remove_own(&elsewhere, &key(1)).await;
    assert!(matches!(not_given, Err(RemovalError::NotGiven)), "{not_given:?}");
    let by_key = Principal { credential: Credential::ApiKey("0".repeat(16)), ..ada.principal.clone() };
    assert!(matches!(ada.remove_own(&by_key, &key(1)).await, Err(RemovalError::NoSession)));
    assert!(
        matches!(ada.remove_own(&ada.principal, &key(3)).await, Err(RemovalError::Unknown(id)) if id == key(3))
    );
    assert!(matches!(ada.remove_own(&ada.principal, &FactorId::Totp).await, Err(RemovalError::Unknown(_))));
    assert_eq!(ada.left().await, [key(1), key(2)], "nothing was changed so far");
    assert_eq!(ada.remove_own(&ada.principal, &key(1)).await.unwrap(), [session(&elsewhere)]);
    assert_eq!(ada.left().await, [key(2)]);
    assert_eq!(
        ada.remove_own(&ada.principal, &key(2)).await.unwrap(),
        [] as [Uuid; 0],
        "a viewer needs none"
    );
    assert_eq!(ada.left().await, []);
}

#[tokio::test]
async fn the_last_one_that_is_taken_stays_with_who_may_do_what_asks_for_one() {
    let ada = Holder::new(builtin::ACCOUNTANT, &[1, 2]).await;
    ada.house.owner("UPDATE webauthn_credentials SET cloned_at = now() WHERE label = 'key 2'").await.unwrap();
    let last = ada.remove_own(&ada.principal, &key(1)).await;
    assert!(matches!(last, Err(RemovalError::Last)), "the other one is not taken: {last:?}");
    ada.remove_own(&ada.principal, &key(2)).await.unwrap();
    assert!(matches!(ada.remove_own(&ada.principal, &key(1)).await, Err(RemovalError::Last)));
    assert_eq!(ada.left().await, [key(1)]);
    let elsewhere = signed_in(&ada.house, &ada.tokens, &ada.user, true).await;
    let mut tx = ada.house.app().await;
    let (tenant_id, user_id) = (ada.user.tenant_id, ada.user.user_id);
    let mut ended = second_factor::remove(&mut tx, tenant_id, user_id, &key(1)).await.unwrap();
    tx.commit().await.unwrap();
    let mut all = [session(&ada.principal), session(&elsewhere)];
    ended.sort_unstable();
    all.sort_unstable();
    assert_eq!((ended, ada.left().await), (all.to_vec(), vec![]), "an administrator takes the last one too");
}

#[tokio::test]
async fn of_two_removals_at_once_the_second_sees_what_the_first_left() {
    let ada = Holder::new(builtin::ACCOUNTANT, &[1, 2]).await;
    let elsewhere = signed_in(&ada.house, &ada.tokens, &ada.user, true).await;
    let mut first = ada.house.app().await;
    second_factor::remove_own(&mut first, &ada.principal, &key(1)).await.unwrap();
    let id = key(2);
    let mut second = std::pin::pin!(ada.remove_own(&elsewhere, &id));
    tokio::select! {
        outcome = &mut second => panic!("it did not wait: {outcome:?}"),
        () = ada.house.somebody_waits() => {}
    }
    first.commit().await.unwrap();
    assert!(matches!(second.await, Err(RemovalError::Last)));
    assert_eq!(ada.left().await, [key(2)]);
}

#[tokio::test]
async fn a_second_factor_of_another_tenant_is_not_there() {
    let ada = Holder::new(builtin::ADMIN, &[1]).await;
    let mut tx = ada.house.db.tenant_tx(&[ada.house.other_tenant_id]).await.unwrap();
    let listed = second_factor::list(&mut tx, ada.user.tenant_id, ada.user.user_id).await.unwrap();
    assert_eq!(listed, []);
    let removed = second_factor::remove(&mut tx, ada.user.tenant_id, ada.user.user_id, &key(1)).await;
    assert!(matches!(removed, Err(RemovalError::Directory(_))), "{removed:?}");
    let deleted = sqlx::query("DELETE FROM webauthn_credentials").execute(&mut *tx).await.unwrap();
    assert_eq!(deleted.rows_affected(), 0, "whatever a statement says");
}
