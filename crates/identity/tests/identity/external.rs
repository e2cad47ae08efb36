//! Who users are elsewhere: what may be linked, and which way in stays.

use alloy_primitives::Address;
use plimsoll_identity::external::{self, ExternalError, MAX_ISSUER_CHARS, MAX_SUBJECT_CHARS};
use plimsoll_identity::{Credential, Principal, UserKind, directory};
use uuid::Uuid;

use crate::House;

const ISSUER: &str = "https://login.example.com";

/// Somebody who is these subjects there, and has no address.
async fn known(house: &House, subjects: &[&str]) -> Principal {
    let ada = house.principal(UserKind::Person, &[]).await;
    let mut tx = house.app().await;
    for subject in subjects {
        external::link(&mut tx, ada.tenant_id, ada.user_id, ISSUER, subject).await.unwrap();
    }
    tx.commit().await.unwrap();
    ada
}

async fn unlink_own(house: &House, who: &Principal, subject: &str) -> Result<bool, ExternalError> {
    let mut tx = house.app().await;
    let had = external::unlink_own(&mut tx, who, ISSUER, subject).await?;
    tx.commit().await.unwrap();
    Ok(had)
}

#[tokio::test]
async fn a_subject_of_an_issuer_is_linked_to_a_user_and_nothing_else_is() {
    let house = House::new().await;
    let user_id = known(&house, &[]).await.user_id;
    let mut tx = house.app().await;
    let (issuer, subject) = ("é".repeat(MAX_ISSUER_CHARS), "x".repeat(MAX_SUBJECT_CHARS));
    for (issuer, subject) in [
        (&*format!("{issuer}é"), "a"),
        ("", "a"),
        ("https://login.example.com\0", "a"),
        (ISSUER, &format!("{subject}x")),
        (ISSUER, ""),
        (ISSUER, "a\tb"),
    ] {
        let malformed = external::link(&mut tx, house.tenant_id, user_id, issuer, subject).await;
        assert!(matches!(malformed, Err(ExternalError::Malformed)), "{issuer:?} {subject:?}: {malformed:?}");
    }
    let nobody = external::link(&mut tx, house.tenant_id, Uuid::now_v7(), ISSUER, "a").await;
    assert!(matches!(nobody, Err(ExternalError::Directory(_))), "{nobody:?}");
    external::link(&mut tx, house.tenant_id, user_id, &issuer, &subject).await.unwrap();
}

#[tokio::test]
async fn one_takes_away_what_is_ones_own_but_for_the_only_way_in() {
    let house = House::new().await;
    let ada = known(&house, &["a", "b"]).await;
    let by_key = Principal { credential: Credential::ApiKey("0".repeat(16)), ..ada.clone() };
    let refused = unlink_own(&house, &by_key, "a").await;
    assert!(matches!(refused, Err(ExternalError::NoSession)), "{refused:?}");
    let key = format!(
        "INSERT INTO webauthn_credentials (tenant_id, user_id, credential_id, algorithm, public_key, sign_count, label)
         VALUES ('{}', '{}', '\\x07', -8, decode(repeat('00', 32), 'hex'), 0, 'key')",
        ada.tenant_id, ada.user_id
    );
    house.owner(&key).await.unwrap();
    let stolen = Principal { second_factor: false, ..ada.clone() };
    let refused = unlink_own(&house, &stolen, "a").await;
    assert!(matches!(refused, Err(ExternalError::SecondFactor)), "{refused:?}");

    assert!(!unlink_own(&house, &ada, "c").await.unwrap());
    assert!(unlink_own(&house, &ada, "a").await.unwrap());
    let refused = unlink_own(&house, &ada, "b").await;
    assert!(matches!(refused, Err(ExternalError::OnlyWay)), "{refused:?}");
    assert!(!unlink_own(&house, &ada, "a").await.unwrap(), "what one is not is no way in");
    let mut tx = house.app().await;
    directory::link_address(&mut tx, ada.tenant_id, ada.user_id, 1, Address::repeat_byte(7)).await.unwrap();
    tx.commit().await.unwrap();
    assert!(unlink_own(&house, &ada, "b").await.unwrap());
}

#[tokio::test]
async fn of_two_ways_in_that_are_taken_away_at_once_one_stays() {
    let house = House::new().await;
    let ada = known(&house, &["a", "b"]).await;
    let mut first = house.app().await;
    assert!(external::unlink_own(&mut first, &ada, ISSUER, "a").await.unwrap());
    let mut second = std::pin::pin!(unlink_own(&house, &ada, "b"));
    tokio::select! {
        outcome = &mut second => panic!("it did not wait: {outcome:?}"),
        () = house.somebody_waits() => {}
    }
    first.commit().await.unwrap();
    let refused = second.await;
    assert!(matches!(refused, Err(ExternalError::OnlyWay)), "{refused:?}");
}
