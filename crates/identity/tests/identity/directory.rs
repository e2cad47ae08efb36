//! Users, addresses, roles; and what the database refuses whatever a program says.

use alloy_primitives::Address;
use plimsoll_identity::directory::{self as people, DirectoryError, NewRole, builtin};
use plimsoll_identity::{Permission, PermissionSet, ReadPermission, UserKind, UserStatus};
use uuid::Uuid;

use crate::{House, constraint};

#[tokio::test]
async fn the_program_and_the_database_have_the_same_list_of_permissions() {
    let house = House::new().await;
    let mut stored: Vec<(String, bool, bool)> =
        sqlx::query_as("SELECT permission, is_write, is_sensitive FROM permissions")
            .fetch_all(house.db.app())
            .await
            .unwrap();
    stored.sort();
    let mut known: Vec<_> =
        Permission::ALL.iter().map(|p| (p.name().to_owned(), p.is_write(), p.is_sensitive())).collect();
    known.sort();
    assert_eq!(stored, known);
}

#[tokio::test]
async fn every_tenant_is_born_with_the_roles_and_the_agents_holds_no_write() {
    let house = House::new().await;
    let mut tx = house.app().await;
    let mut of = async |role| people::role_permissions(&mut tx, house.tenant_id, role).await.unwrap();
    let everything: PermissionSet = Permission::ALL.iter().copied().collect();
    assert_eq!(of(builtin::ADMIN).await, everything);
    let agent = of(builtin::AGENT).await;
    assert!(!agent.is_empty() && agent.reads() == agent, "{agent:?}");
    assert!(of(builtin::VIEWER).await.iter().all(|permission| !permission.is_write()));
    assert!(of(builtin::OPERATOR).await.contains(Permission::RetryOperate));
    assert!(!of(builtin::OPERATOR).await.contains(Permission::LedgerPost));
    assert!(of(builtin::ACCOUNTANT).await.contains(Permission::LedgerPost));
    let approver = of(builtin::APPROVER).await;
    assert!(
        approver.contains(Permission::ApprovalsDecide) && !approver.contains(Permission::ApprovalsRequest)
    );
}

#[tokio::test]
async fn an_agent_cannot_be_given_a_write_by_the_program_or_by_the_database() {
    let house = House::new().await;
    let agent = house.user(UserKind::Agent, &[builtin::AGENT]).await;
    let mut tx = house.app().await;
    let refused = people::assign_role(&mut tx, house.tenant_id, agent.user_id, builtin::OPERATOR).await;
    assert!(matches!(refused, Err(DirectoryError::AgentsRole(role)) if role == builtin::OPERATOR));
    drop(tx);
    // The owner, bound by no policy, tries each way around.
    let (tenant, user) = (house.tenant_id, agent.user_id);
    for (sql, broken) in [
        (
            format!("INSERT INTO role_assignments VALUES ('{tenant}', '{user}', 'operator', true, false)"),
            "agents_have_agent_roles",
        ),
        (
            format!("INSERT INTO role_assignments VALUES ('{tenant}', '{user}', 'operator', false, false)"),
            "role_assignments_tenant_id_user_id_user_is_agent_fkey",
        ),
        (
            format!("INSERT INTO role_assignments VALUES ('{tenant}', '{user}', 'operator', true, true)"),
            "role_assignments_tenant_id_role_role_is_agent_fkey",
        ),
        (
            format!("INSERT INTO role_permissions VALUES ('{tenant}', 'agent', true, 'ledger:post', true)"),
            "agents_never_write",
        ),
        (
            format!("INSERT INTO role_permissions VALUES ('{tenant}', 'agent', true, 'ledger:post', false)"),
            "role_permissions_permission_is_write_fkey",
        ),
        (
            format!("INSERT INTO role_permissions VALUES ('{tenant}', 'agent', false, 'ledger:post', true)"),
            "role_permissions_tenant_id_role_is_agent_fkey",
        ),
        (
            "UPDATE permissions SET is_write = false, is_sensitive = false WHERE permission = 'ledger:post'"
                .to_owned(),
            "role_permissions_permission_is_write_fkey",
        ),
        (
            format!("UPDATE users SET kind = 'person' WHERE user_id = '{user}'"),
            "role_assignments_tenant_id_user_id_user_is_agent_fkey",
        ),
    ] {
        let error = house.owner(&sql).await.unwrap_err();
        assert_eq!(constraint(&error), Some(broken), "{sql}: {error}");
    }
}

#[tokio::test]
async fn a_tenant_makes_roles_of_its_own_and_cannot_touch_the_builtin_ones() {
    let house = House::new().await;
    let mut tx = house.app().await;
    let tenant = house.tenant_id;
    people::create_role(&mut tx, tenant, "night-shift", NewRole::Ordinary(&[Permission::RetryOperate]))
        .await
        .unwrap();
    let read = ReadPermission::try_from(Permission::AuditRead).unwrap();
    people::create_role(&mut tx, tenant, "watcher", NewRole::Agent(&[read])).await.unwrap();
    let again = people::create_role(&mut tx, tenant, "watcher", NewRole::Agent(&[read])).await;
    assert!(matches!(again, Err(DirectoryError::RoleExists(_))));
    for name in ["", "Night", "9th", "a b", "admin'; --", &"a".repeat(65)] {
        let refused = people::create_role(&mut tx, tenant, name, NewRole::Ordinary(&[])).await;
        assert!(matches!(refused, Err(DirectoryError::RoleName(_))), "{name}");
    }
    tx.commit().await.unwrap();
    let agent = house.user(UserKind::Agent, &["watcher"]).await;
    let person = house.user(UserKind::Person, &["night-shift", builtin::VIEWER]).await;
    let mut tx = house.app().await;
    let of_agent = people::permissions_of(&mut tx, tenant, agent.user_id).await.unwrap();
    assert_eq!(of_agent.iter().collect::<Vec<_>>(), [Permission::AuditRead]);
    assert_eq!(people::roles_of(&mut tx, tenant, person.user_id).await.unwrap(), ["night-shift", "viewer"]);
    assert!(people::withdraw_role(&mut tx, tenant, person.user_id, "night-shift").await.unwrap());
    assert!(!people::withdraw_role(&mut tx, tenant, person.user_id, "night-shift").await.unwrap());
    let left = people::permissions_of(&mut tx, tenant, person.user_id).await.unwrap();
    assert_eq!(left, people::role_permissions(&mut tx, tenant, builtin::VIEWER).await.unwrap());
    drop(tx);
    for sql in [
        format!("INSERT INTO role_permissions VALUES ('{tenant}', 'viewer', false, 'ledger:post', true)"),
        format!("INSERT INTO roles VALUES ('{tenant}', 'super', false, true)"),
    ] {
        let mut tx = house.app().await;
        let error = sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&mut *tx).await.unwrap_err();
        assert!(error.to_string().contains("row-level security"), "{error}");
    }
    let mut tx = house.app().await;
    let deleted =
        sqlx::query("DELETE FROM role_permissions WHERE role = 'viewer'").execute(&mut *tx).await.unwrap();
    assert_eq!(deleted.rows_affected(), 0);
}

#[tokio::test]
async fn an_address_on_a_chain_is_one_users_until_it_is_removed() {
    let house = House::new().await;
    let (ada, bob) = (house.user(UserKind::Person, &[]).await, house.user(UserKind::Person, &[]).await);
    let tenant = house.tenant_id;
    let address = Address::repeat_byte(0xab);
    let mut tx = house.app().await;
    people::link_address(&mut tx, tenant, ada.user_id, 1, address).await.unwrap();
    people::link_address(&mut tx, tenant, ada.user_id, 1, address).await.unwrap();
    let taken = people::link_address(&mut tx, tenant, bob.user_id, 1, address).await;
    assert!(matches!(taken, Err(DirectoryError::AddressTaken { chain_id: 1, .. })));
    people::link_address(&mut tx, tenant, bob.user_id, 42161, address).await.unwrap();
    people::link_address(&mut tx, tenant, ada.user_id, 1, Address::ZERO).await.unwrap();
    let of_ada = people::addresses(&mut tx, tenant, ada.user_id).await.unwrap();
    assert_eq!(of_ada.iter().map(|linked| linked.address).collect::<Vec<_>>(), [Address::ZERO, address]);
    assert!(people::remove_address(&mut tx, tenant, ada.user_id, 1, address).await.unwrap());
    assert_eq!(people::owner_of(&mut tx, tenant, 1, address).await.unwrap(), None);
    people::link_address(&mut tx, tenant, bob.user_id, 1, address).await.unwrap();
    assert_eq!(people::owner_of(&mut tx, tenant, 1, address).await.unwrap().unwrap().user_id, bob.user_id);
    for chain_id in [0, u64::MAX] {
        let refused = people::link_address(&mut tx, tenant, ada.user_id, chain_id, address).await;
        assert!(matches!(refused, Err(DirectoryError::ChainId(_))));
    }
    tx.commit().await.unwrap();
    let kept: i64 = sqlx::query_scalar("SELECT count(*) FROM user_addresses WHERE user_id = $1")
        .bind(ada.user_id)
        .fetch_one(house.db.worker())
        .await
        .unwrap();
    assert_eq!(kept, 2, "what was removed stays readable");
}

#[tokio::test]
async fn of_two_claims_to_an_address_at_once_one_wins() {
    let house = House::new().await;
    let (ada, bob) = (house.user(UserKind::Person, &[]).await, house.user(UserKind::Person, &[]).await);
    let claim = async |user_id| {
        let mut tx = house.app().await;
        let won =
            people::link_address(&mut tx, house.tenant_id, user_id, 1, Address::repeat_byte(1)).await.is_ok();
        tx.commit().await.unwrap();
        won
    };
    let (a, b) = tokio::join!(claim(ada.user_id), claim(bob.user_id));
    assert!(a ^ b, "{a} {b}");
}

#[tokio::test]
async fn another_tenants_directory_does_not_exist_for_the_app() {
    let house = House::new().await;
    let ada = house.user(UserKind::Person, &[builtin::ADMIN]).await;
    let mut tx = house.app().await;
    people::link_address(&mut tx, house.tenant_id, ada.user_id, 1, Address::repeat_byte(1)).await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = house.db.tenant_tx(&[house.other_tenant_id]).await.unwrap();
    let tenant = house.tenant_id;
    assert!(matches!(people::user(&mut tx, tenant, ada.user_id).await, Err(DirectoryError::NoUser(_))));
    assert_eq!(people::owner_of(&mut tx, tenant, 1, Address::repeat_byte(1)).await.unwrap(), None);
    assert!(people::addresses(&mut tx, tenant, ada.user_id).await.unwrap().is_empty());
    assert!(people::permissions_of(&mut tx, tenant, ada.user_id).await.unwrap().is_empty());
    assert!(!people::withdraw_role(&mut tx, tenant, ada.user_id, builtin::ADMIN).await.unwrap());
    let suspended = people::set_status(&mut tx, tenant, ada.user_id, UserStatus::Suspended).await;
    assert!(matches!(suspended, Err(DirectoryError::NoUser(_))));
    let made = people::create_user(&mut tx, tenant, UserKind::Person, UserStatus::Active, "mallory").await;
    assert!(matches!(made, Err(DirectoryError::Db(_))), "{made:?}");
    drop(tx);
    // Nor does anything reach across by a reference.
    let error = house
        .owner(&format!(
            "INSERT INTO role_assignments VALUES ('{}', '{}', 'admin', false, false)",
            house.other_tenant_id, ada.user_id
        ))
        .await
        .unwrap_err();
    assert_eq!(constraint(&error), Some("role_assignments_tenant_id_user_id_user_is_agent_fkey"));
}

#[tokio::test]
async fn what_proves_an_identity_is_not_the_apps_to_read() {
    let house = House::new().await;
    // Of keys, sessions and second factors it lists what is no secret; of the others it sees nothing.
    for (what, table) in [
        ("secret_hash", "api_keys"),
        ("previous_hash", "api_keys"),
        ("count(*)", "sign_in_nonces"),
        ("count(*)", "refresh_tokens"),
        ("sealed", "totp_secrets"),
        ("last_step", "totp_secrets"),
        ("public_key", "webauthn_credentials"),
        ("count(*)", "bootstrap_links"),
    ] {
        let mut tx = house.app().await;
        let sql = format!("SELECT {what} FROM {table}");
        let error = sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&mut *tx).await.unwrap_err();
        assert!(error.to_string().contains("permission denied"), "{table}: {error}");
    }
}

#[tokio::test]
async fn a_name_that_is_none_and_a_user_that_is_none_are_told() {
    let house = House::new().await;
    let mut tx = house.app().await;
    for name in ["", "a\0b", &"ä".repeat(201)] {
        let made =
            people::create_user(&mut tx, house.tenant_id, UserKind::Person, UserStatus::Active, name).await;
        assert!(matches!(made, Err(DirectoryError::DisplayName)), "{name:?}");
    }
    let nobody = Uuid::now_v7();
    let assigned = people::assign_role(&mut tx, house.tenant_id, nobody, builtin::VIEWER).await;
    assert!(matches!(assigned, Err(DirectoryError::NoUser(user)) if user == nobody));
    let long =
        people::create_user(&mut tx, house.tenant_id, UserKind::Person, UserStatus::Active, &"ä".repeat(200))
            .await;
    let user = long.unwrap();
    let assigned = people::assign_role(&mut tx, house.tenant_id, user.user_id, "emperor").await;
    assert!(matches!(assigned, Err(DirectoryError::NoRole(role)) if role == "emperor"));
}
