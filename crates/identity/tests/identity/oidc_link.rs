//! Going to a provider to link who one is there, and for nothing else.

use plimsoll_identity::external::ExternalError;
use plimsoll_identity::oidc::{self, Authorization, Identity, OidcError};
use plimsoll_identity::{Credential, Principal, UserKind, UserStatus};
use secrecy::ExposeSecret;

use crate::provider::sign_in_there;
use crate::sessions::open;
use crate::site::Site;

/// Somebody who has signed in otherwise.
async fn principal(site: &Site) -> Principal {
    let user = site.house.user(UserKind::Person, &[]).await;
    let token = open(&site.house, &site.tokens, &user).await.access_token;
    let authenticator = site.house.authenticator(&site.tokens);
    (*authenticator.authenticate(token.expose_secret(), None).await.unwrap()).clone()
}

async fn set_out(site: &Site, who: &Principal) -> Result<Authorization, OidcError> {
    let authorization = site.provider.authorize().await.unwrap();
    let mut tx = site.house.worker().await;
    oidc::begin_link(&mut tx, &authorization, who).await?;
    tx.commit().await.unwrap();
    Ok(authorization)
}

async fn identity(site: &Site, begun: &Authorization) -> Identity {
    let query = sign_in_there(&begun.url, "ada").await;
    site.come_back(&query, &begun.browser_secret).await.unwrap()
}

async fn link(site: &Site, identity: &Identity) -> Result<oidc::Linked, OidcError> {
    let mut tx = site.house.worker().await;
    let linked = oidc::link(&mut tx, identity).await?;
    tx.commit().await.unwrap();
    Ok(linked)
}

#[tokio::test]
async fn what_was_begun_to_link_signs_nobody_in_and_the_other_way_round() {
    let site = Site::new(|_| ()).await;
    let who = principal(&site).await;
    let to_link = identity(&site, &set_out(&site, &who).await.unwrap()).await;
    let to_sign_in = site.identity().await.unwrap();
    assert_eq!((to_link.is_to_link(), to_sign_in.is_to_link()), (true, false));
    assert!(matches!(link(&site, &to_sign_in).await, Err(OidcError::OtherPurpose)));
    assert!(matches!(site.enter(&to_link).await, Err(OidcError::OtherPurpose)));
    let linked = link(&site, &to_link).await.unwrap();
    assert_eq!((linked.user.user_id, linked.before), (who.user_id, vec![]));
    let (entered, _) = site.enter(&to_sign_in).await.unwrap();
    assert_eq!(entered.user_id, who.user_id);
    assert_eq!(link(&site, &to_link).await.unwrap().before.len(), 1, "once more changes nothing");
}

#[tokio::test]
async fn nothing_is_linked_to_who_is_suspended_or_signed_out_meanwhile() {
    let site = Site::new(|_| ()).await;
    let who = principal(&site).await;
    let to_link = identity(&site, &set_out(&site, &who).await.unwrap()).await;
    site.house.set_status(who.user_id, UserStatus::Suspended).await;
    assert!(matches!(link(&site, &to_link).await, Err(OidcError::Suspended)));
    site.house.set_status(who.user_id, UserStatus::Active).await;
    for ending in ["expires_at = now()", "revoked_at = now(), revoke_reason = 'signed_out'"] {
        let sql = format!("UPDATE sessions SET {ending}");
        site.house.owner(&sql).await.unwrap();
        assert!(matches!(link(&site, &to_link).await, Err(OidcError::SessionOver)), "{ending}");
        site.house.owner("UPDATE sessions SET expires_at = now() + interval '1 hour'").await.unwrap();
    }
}

#[tokio::test]
async fn a_key_another_tenants_user_and_who_has_not_given_a_second_factor_do_not_set_out() {
    let site = Site::new(|_| ()).await;
    let who = principal(&site).await;
    let machine = Principal { credential: Credential::ApiKey("0".repeat(16)), ..who.clone() };
    let refused = set_out(&site, &machine).await;
    assert!(matches!(refused, Err(OidcError::External(ExternalError::NoSession))), "{refused:?}");
    let stranger = Principal { tenant_id: site.house.other_tenant_id, ..who.clone() };
    assert!(matches!(set_out(&site, &stranger).await, Err(OidcError::OtherTenant)));
    let values = format!("'{}', '{}'", who.tenant_id, who.user_id);
    site.house
        .owner(&format!(
            "INSERT INTO totp_secrets (tenant_id, user_id, sealed, confirmed_at) VALUES ({values}, '', now())"
        ))
        .await
        .unwrap();
    let refused = set_out(&site, &who).await;
    assert!(matches!(refused, Err(OidcError::External(ExternalError::SecondFactor))), "{refused:?}");
    set_out(&site, &Principal { second_factor: true, ..who }).await.unwrap();
}
