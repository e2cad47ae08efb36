//! The first administrator.

use plimsoll_identity::bootstrap::{self, BootstrapError};
use plimsoll_identity::directory::{self as people, DirectoryError, builtin};
use plimsoll_identity::{UserKind, UserStatus};
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use crate::House;

async fn link(house: &House) -> Result<SecretString, BootstrapError> {
    let mut tx = house.worker().await;
    let token = bootstrap::bootstrap(&mut tx, house.tenant_id).await?;
    tx.commit().await.unwrap();
    Ok(token)
}

async fn redeem(house: &House, token: &SecretString) -> Result<people::User, BootstrapError> {
    let mut tx = house.worker().await;
    let user = bootstrap::redeem(&mut tx, token, "Ada").await?;
    tx.commit().await.unwrap();
    Ok(user)
}

#[tokio::test]
async fn a_link_makes_the_first_administrator_and_then_there_is_no_other() {
    let house = House::new().await;
    let (first, second) = (link(&house).await.unwrap(), link(&house).await.unwrap());
    let user = redeem(&house, &first).await.unwrap();
    assert_eq!((user.kind, user.status, &*user.display_name), (UserKind::Person, UserStatus::Active, "Ada"));
    let roles = people::roles_of(&mut *house.app().await, house.tenant_id, user.user_id).await.unwrap();
    assert_eq!(roles, [builtin::ADMIN]);
    assert!(matches!(redeem(&house, &first).await, Err(BootstrapError::Used)));
    assert!(matches!(redeem(&house, &second).await, Err(BootstrapError::HasAdministrator)));
    assert!(matches!(link(&house).await, Err(BootstrapError::HasAdministrator)));
    // With the only administrator suspended, the way in is the first one again.
    house.set_status(user.user_id, UserStatus::Suspended).await;
    redeem(&house, &link(&house).await.unwrap()).await.unwrap();
}

#[tokio::test]
async fn of_two_links_at_once_one_makes_an_administrator() {
    let house = House::new().await;
    let (first, second) = (link(&house).await.unwrap(), link(&house).await.unwrap());
    let (a, b) = tokio::join!(redeem(&house, &first), redeem(&house, &second));
    let lost = if a.is_ok() { b } else { a };
    assert!(matches!(lost, Err(BootstrapError::HasAdministrator)), "{lost:?}");
}

#[tokio::test]
async fn an_expired_and_an_invented_link_are_refused_and_none_shows_itself() {
    let house = House::new().await;
    let token = link(&house).await.unwrap();
    assert!(!format!("{token:?}").contains(&token.expose_secret()[4..20]));
    let mut tx = house.worker().await;
    let unnamed = bootstrap::redeem(&mut tx, &token, "").await;
    assert!(matches!(unnamed, Err(BootstrapError::Directory(DirectoryError::DisplayName))));
    drop(tx);
    house.owner("UPDATE bootstrap_links SET expires_at = now()").await.unwrap();
    assert!(matches!(redeem(&house, &token).await, Err(BootstrapError::Expired)));
    for text in ["", "plb_", &format!("plb_{}", "0".repeat(64))] {
        assert!(matches!(redeem(&house, &SecretString::from(text)).await, Err(BootstrapError::Unknown)));
    }
    let missing = bootstrap::bootstrap(&mut *house.worker().await, Uuid::now_v7()).await;
    assert!(matches!(missing, Err(BootstrapError::NoTenant(_))));
}
