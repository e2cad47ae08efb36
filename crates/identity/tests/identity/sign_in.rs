//! Sign-in with a wallet, from the nonce to the session.

use alloy_primitives::Address;
use k256::ecdsa::SigningKey;
use plimsoll_identity::directory::{self as people, DirectoryError, builtin};
use plimsoll_identity::sign_in::{self, Registration, SignInError};
use plimsoll_identity::siwe::{self, Expectations, KeysOnly, Proven};
use plimsoll_identity::{UserKind, UserStatus};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use crate::House;

struct Wallet(SigningKey);

impl Wallet {
    fn new(byte: u8) -> Self {
        Self(SigningKey::from_slice(&[byte; 32]).unwrap())
    }

    fn address(&self) -> Address {
        Address::from_raw_public_key(&self.0.verifying_key().to_encoded_point(false).as_bytes()[1..])
    }

    /// Signs a message with this nonce, as a wallet would, and has it checked.
    async fn prove(&self, nonce: &str) -> Proven {
        let now = OffsetDateTime::now_utc();
        let text = format!(
            "app.example.com wants you to sign in with your Ethereum account:\n{}\n\nI am here.\n\nURI: https://app.example.com\n\
             Version: 1\nChain ID: 1\nNonce: {nonce}\nIssued At: {}",
            self.address().to_checksum(None),
            now.format(&Rfc3339).unwrap()
        );
        let (signature, parity) =
            self.0.sign_prehash_recoverable(siwe::personal_digest(&text).as_slice()).unwrap();
        let mut bytes = signature.to_vec();
        bytes.push(27 + parity.to_byte());
        let expected =
            Expectations { domain: "app.example.com".into(), scheme: "https".into(), chain_ids: vec![1] };
        siwe::check(&text, &bytes, &expected, now, &KeysOnly).await.unwrap()
    }
}

async fn nonce(house: &House, tenant_id: Uuid) -> String {
    let mut tx = house.worker().await;
    let nonce = sign_in::issue_nonce(&mut tx, tenant_id).await.unwrap();
    tx.commit().await.unwrap();
    nonce
}

async fn sign_in(
    house: &House,
    proven: &Proven,
    registration: Registration,
) -> Result<people::User, SignInError> {
    let mut tx = house.worker().await;
    let user = sign_in::sign_in(&mut tx, proven, registration).await?;
    tx.commit().await.unwrap();
    Ok(user)
}

#[tokio::test]
async fn a_known_address_signs_its_user_in_once_a_nonce() {
    let house = House::new().await;
    let wallet = Wallet::new(1);
    let user = house.user(UserKind::Person, &[builtin::VIEWER]).await;
    let mut tx = house.app().await;
    people::link_address(&mut tx, house.tenant_id, user.user_id, 1, wallet.address()).await.unwrap();
    tx.commit().await.unwrap();
    let proven = wallet.prove(&nonce(&house, house.tenant_id).await).await;
    assert_eq!(sign_in(&house, &proven, Registration::Closed).await.unwrap(), user);
    let replayed = sign_in(&house, &proven, Registration::Closed).await;
    assert!(matches!(replayed, Err(SignInError::NonceUsed)), "{replayed:?}");
}

#[tokio::test]
async fn of_two_uses_of_a_nonce_at_once_one_signs_in() {
    let house = House::new().await;
    let proven = Wallet::new(1).prove(&nonce(&house, house.tenant_id).await).await;
    let open = Registration::Open(UserStatus::Active);
    let (a, b) = tokio::join!(sign_in(&house, &proven, open), sign_in(&house, &proven, open));
    let lost = if a.is_ok() { b } else { a };
    assert!(matches!(lost, Err(SignInError::NonceUsed)), "{lost:?}");
}

#[tokio::test]
async fn a_nonce_that_is_not_ours_or_too_old_is_refused() {
    let house = House::new().await;
    let open = Registration::Open(UserStatus::Active);
    let foreign = Wallet::new(1).prove("0123456789abcdef").await;
    assert!(matches!(sign_in(&house, &foreign, open).await, Err(SignInError::NonceUnknown)));
    let proven = Wallet::new(1).prove(&nonce(&house, house.tenant_id).await).await;
    house.owner("UPDATE sign_in_nonces SET expires_at = now()").await.unwrap();
    assert!(matches!(sign_in(&house, &proven, open).await, Err(SignInError::NonceExpired)));
    let error = sign_in::issue_nonce(&mut *house.worker().await, Uuid::now_v7()).await.unwrap_err();
    assert!(error.as_database_error().unwrap().is_foreign_key_violation());
}

#[tokio::test]
async fn a_new_address_becomes_a_user_without_roles_only_where_registration_is_open() {
    let house = House::new().await;
    let wallet = Wallet::new(1);
    let proven = wallet.prove(&nonce(&house, house.tenant_id).await).await;
    assert!(matches!(sign_in(&house, &proven, Registration::Closed).await, Err(SignInError::NoUser)));
    // The refusal was rolled back, so the nonce is still good.
    let review = Registration::Open(UserStatus::PendingReview);
    let user = sign_in(&house, &proven, review).await.unwrap();
    assert_eq!((user.status, user.kind), (UserStatus::PendingReview, UserKind::Person));
    let again = wallet.prove(&nonce(&house, house.tenant_id).await).await;
    assert_eq!(sign_in(&house, &again, review).await.unwrap(), user);
    let mut tx = house.app().await;
    assert!(people::permissions_of(&mut tx, house.tenant_id, user.user_id).await.unwrap().is_empty());
    assert_eq!(
        people::addresses(&mut tx, house.tenant_id, user.user_id).await.unwrap()[0].address,
        wallet.address()
    );
    drop(tx);
    // At the other tenant the same wallet is somebody else.
    let elsewhere = wallet.prove(&nonce(&house, house.other_tenant_id).await).await;
    let other = sign_in(&house, &elsewhere, review).await.unwrap();
    assert_eq!(other.tenant_id, house.other_tenant_id);
    assert_ne!(other.user_id, user.user_id);
    house.set_status(user.user_id, UserStatus::Suspended).await;
    let last = wallet.prove(&nonce(&house, house.tenant_id).await).await;
    assert!(matches!(sign_in(&house, &last, review).await, Err(SignInError::Suspended)));
}

#[tokio::test]
async fn a_user_links_another_address_by_signing_with_it() {
    let house = House::new().await;
    let (ada, bob) =
        (house.principal(UserKind::Person, &[]).await, house.principal(UserKind::Person, &[]).await);
    let wallet = Wallet::new(2);
    let link = async |proven: &Proven, principal| {
        let mut tx = house.worker().await;
        sign_in::link(&mut tx, proven, principal).await?;
        tx.commit().await.unwrap();
        Ok::<_, SignInError>(())
    };
    let elsewhere = wallet.prove(&nonce(&house, house.other_tenant_id).await).await;
    assert!(matches!(link(&elsewhere, &ada).await, Err(SignInError::OtherTenant)));
    let proven = wallet.prove(&nonce(&house, house.tenant_id).await).await;
    link(&proven, &ada).await.unwrap();
    assert!(matches!(link(&proven, &ada).await, Err(SignInError::NonceUsed)));
    let second = wallet.prove(&nonce(&house, house.tenant_id).await).await;
    let taken = link(&second, &bob).await;
    assert!(matches!(taken, Err(SignInError::Directory(DirectoryError::AddressTaken { .. }))), "{taken:?}");
    let user = sign_in(&house, &second, Registration::Closed).await.unwrap();
    assert_eq!(user.user_id, ada.user_id);
}
