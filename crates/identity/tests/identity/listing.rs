//! What an administrator lists, and roles that are changed.

use std::time::Duration;

use plimsoll_identity::api_key::{self, NewApiKey};
use plimsoll_identity::directory::{self as people, NewRole, builtin};
use plimsoll_identity::role::{self, RoleError};
use plimsoll_identity::session::{self, RevokeReason};
use plimsoll_identity::tenant::{self, Holdings, TenantError};
use plimsoll_identity::{Permission, UserKind, UserStatus, listing};
use uuid::Uuid;

use crate::sessions::open;
use crate::{House, tokens};

#[tokio::test]
async fn a_list_in_parts_has_everyone_once_and_nobody_of_another_tenant() {
    let house = House::new().await;
    let mut made = vec![];
    for _ in 0..5 {
        made.push(house.user(UserKind::Person, &[builtin::VIEWER]).await.user_id);
    }
    house.set_status(made[2], UserStatus::Suspended).await;
    let mut tx = house.app().await;
    let (mut listed, mut holders, mut after) = (vec![], vec![], None);
    for _ in 0..3 {
        let part = listing::users(&mut tx, house.tenant_id, None, after, 2).await.unwrap();
        let having = role::holders(&mut tx, house.tenant_id, builtin::VIEWER, after, 2).await.unwrap();
        holders.extend(having.into_iter().map(|user| user.user_id));
        listed.extend(part.into_iter().map(|user| user.user_id));
        after = listed.last().copied();
    }
    assert_eq!((&listed, &holders), (&made, &made));
    let suspended =
        listing::users(&mut tx, house.tenant_id, Some(UserStatus::Suspended), None, 10).await.unwrap();
    assert_eq!(suspended.iter().map(|user| user.user_id).collect::<Vec<_>>(), [made[2]]);
    assert!(listing::users(&mut tx, house.other_tenant_id, None, None, 10).await.unwrap().is_empty());
    let mut worker = house.worker().await;
    assert!(listing::users(&mut worker, house.other_tenant_id, None, None, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn sessions_and_keys_are_found_with_how_they_ended() {
    let house = House::new().await;
    let tokens = tokens();
    let user = house.user(UserKind::Person, &[builtin::VIEWER]).await;
    let (kept, over) = (open(&house, &tokens, &user).await, open(&house, &tokens, &user).await);
    let mut tx = house.worker().await;
    assert!(
        session::revoke(&mut tx, house.tenant_id, over.session_id, RevokeReason::SignedOut).await.unwrap()
    );
    let ids = |list: Vec<listing::SessionInfo>| list.iter().map(|one| one.session_id).collect::<Vec<_>>();
    let mut list = async |user_id, with_those_over| {
        listing::sessions(&mut tx, house.tenant_id, user_id, with_those_over, None, 10).await.unwrap()
    };
    assert_eq!(ids(list(None, false).await), [kept.session_id]);
    assert_eq!(ids(list(Some(user.user_id), true).await), [kept.session_id, over.session_id]);
    assert!(list(Some(Uuid::now_v7()), true).await.is_empty());
    let found = listing::lock_session(&mut tx, house.tenant_id, over.session_id).await.unwrap().unwrap();
    assert_eq!((&*found.method, found.revoke_reason.as_deref()), ("wallet", Some("signed_out")));
    assert!(listing::lock_session(&mut tx, house.other_tenant_id, over.session_id).await.unwrap().is_none());
    let new = NewApiKey {
        tenant_id: house.tenant_id,
        user_id: user.user_id,
        label: "ci",
        scopes: [Permission::LedgerRead].into_iter().collect(),
        lifetime: Duration::from_secs(60),
        certificate_hash: None,
    };
    let issued = api_key::issue(&mut tx, &new).await.unwrap();
    let listed = api_key::list(&mut tx, house.tenant_id).await.unwrap();
    assert_eq!(
        listing::lock_key(&mut tx, house.tenant_id, &issued.key_id).await.unwrap().as_ref(),
        listed.first()
    );
    assert!(listing::lock_key(&mut tx, house.other_tenant_id, &issued.key_id).await.unwrap().is_none());
    let holdings = tenant::holdings(&mut tx, house.tenant_id).await.unwrap();
    assert_eq!(holdings, Holdings { active_users: 1, keys: 1, sessions: 1, ..Holdings::default() });
}

#[tokio::test]
async fn a_role_of_the_tenants_own_is_widened_and_narrowed_and_no_other() {
    let house = House::new().await;
    let mut tx = house.app().await;
    let tenant = house.tenant_id;
    people::create_role(&mut tx, tenant, "clerk", NewRole::Ordinary(&[Permission::LedgerRead]))
        .await
        .unwrap();
    people::create_role(&mut tx, tenant, "reader", NewRole::Agent(&[])).await.unwrap();
    let change = Permission::RetryRequest;
    assert!(role::grant(&mut tx, tenant, "clerk", change).await.unwrap());
    assert!(!role::grant(&mut tx, tenant, "clerk", change).await.unwrap());
    let clerk = role::role(&mut tx, tenant, "clerk").await.unwrap();
    assert_eq!(clerk.permissions, [Permission::LedgerRead, change].into_iter().collect());
    assert!(role::revoke(&mut tx, tenant, "clerk", change).await.unwrap());
    assert!(!role::revoke(&mut tx, tenant, "clerk", change).await.unwrap());
    assert!(role::grant(&mut tx, tenant, "reader", Permission::LedgerRead).await.unwrap());
    assert!(matches!(
        role::grant(&mut tx, tenant, "reader", change).await,
        Err(RoleError::AgentsRole { .. })
    ));
    for name in [builtin::VIEWER, builtin::AGENT] {
        let granted = role::grant(&mut tx, tenant, name, Permission::UsersRead).await;
        assert!(matches!(granted, Err(RoleError::Builtin(_))));
        let revoked = role::revoke(&mut tx, tenant, name, Permission::LedgerRead).await;
        assert!(matches!(revoked, Err(RoleError::Builtin(_))));
    }
    assert!(matches!(role::grant(&mut tx, tenant, "clerc", change).await, Err(RoleError::NoRole(_))));
    let all = role::all(&mut tx, tenant).await.unwrap();
    assert_eq!((all.len(), all.iter().filter(|role| role.is_builtin).count()), (8, 6));
}

#[tokio::test]
async fn tenants_have_names_that_are_theirs_alone_and_ids_that_stay() {
    let house = House::new().await;
    let mut tx = house.worker().await;
    let names = async |tx: &mut plimsoll_store::Tx| {
        tenant::all(tx).await.unwrap().into_iter().map(|tenant| tenant.name).collect::<Vec<_>>()
    };
    assert_eq!(names(&mut tx).await, ["acme", "globex"]);
    let initech = tenant::create(&mut tx, Uuid::now_v7(), "initech").await.unwrap();
    assert_eq!(role::all(&mut tx, initech.tenant_id).await.unwrap().len(), 6);
    let again = tenant::create(&mut tx, Uuid::now_v7(), "initech").await;
    assert!(matches!(again, Err(TenantError::NameTaken(_))));
    for taken in [initech.tenant_id, Uuid::nil()] {
        assert!(matches!(tenant::create(&mut tx, taken, "hooli").await, Err(TenantError::IdTaken(_))));
    }
    let renamed = tenant::rename(&mut tx, initech.tenant_id, "initrode").await.unwrap();
    assert_eq!(tenant::lock(&mut tx, initech.tenant_id).await.unwrap(), renamed);
    assert!(matches!(tenant::rename(&mut tx, Uuid::now_v7(), "x").await, Err(TenantError::NoTenant(_))));
    assert_eq!(names(&mut tx).await, ["acme", "globex", "initrode"]);
    let clash = tenant::rename(&mut tx, initech.tenant_id, "acme").await;
    assert!(matches!(clash, Err(TenantError::NameTaken(_))));
}
