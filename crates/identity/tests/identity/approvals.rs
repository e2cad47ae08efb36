//! Two persons, one action, once.

use std::time::Duration;

use plimsoll_identity::approval::{self, ApprovalError, Approved, Decision, Guard, MAX_TERM};
use plimsoll_identity::directory::builtin;
use plimsoll_identity::{Denied, Permission, Principal, UserKind};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{House, constraint};

const TERM: Duration = Duration::from_secs(3600);
const ACTION: Permission = Permission::LedgerPost;

fn body() -> Value {
    json!({ "entries": [{ "account": "a", "debit": "5" }, { "account": "b", "credit": "5" }] })
}

async fn request(house: &House, who: &Principal, body: &Value) -> Result<Uuid, ApprovalError> {
    let mut tx = house.app().await;
    let approval_id = Guard::new(ACTION, body).request(&mut tx, who, TERM).await?;
    tx.commit().await.unwrap();
    Ok(approval_id)
}

async fn decide(
    house: &House,
    who: &Principal,
    approval_id: Uuid,
    decision: Decision,
) -> Result<(), ApprovalError> {
    let mut tx = house.app().await;
    approval::decide(&mut tx, who, approval_id, decision, "looked at it").await?;
    tx.commit().await.unwrap();
    Ok(())
}

async fn act(
    house: &House,
    who: &Principal,
    body: &Value,
    approval_id: Uuid,
) -> Result<Approved, ApprovalError> {
    let mut tx = house.app().await;
    let approved = Guard::new(ACTION, body).check(&mut tx, who, Some(approval_id)).await?;
    tx.commit().await.unwrap();
    Ok(approved)
}

struct Team {
    house: House,
    accountant: Principal,
    approver: Principal,
}

impl Team {
    async fn new() -> Self {
        let house = House::new().await;
        let accountant = house.principal(UserKind::Person, &[builtin::ACCOUNTANT]).await;
        let approver = house.principal(UserKind::Person, &[builtin::APPROVER]).await;
        Self { house, accountant, approver }
    }
}

#[tokio::test]
async fn what_another_person_approved_is_done_once() {
    let Team { house, accountant, approver } = Team::new().await;
    let approval_id = request(&house, &accountant, &body()).await.unwrap();
    let open = approval::requests(&mut *house.app().await, &approver, true, None, 10).await.unwrap();
    assert_eq!((open.len(), &open[0].body, open[0].requested_by), (1, &body(), accountant.user_id));
    assert!(matches!(act(&house, &accountant, &body(), approval_id).await, Err(ApprovalError::Undecided)));
    decide(&house, &approver, approval_id, Decision::Approved).await.unwrap();
    assert!(approval::requests(&mut *house.app().await, &approver, true, None, 10).await.unwrap().is_empty());
    let twice = decide(&house, &approver, approval_id, Decision::Rejected).await;
    assert!(matches!(twice, Err(ApprovalError::Decided)));
    // An action that fails leaves its approval for another try.
    let mut tx = house.app().await;
    Guard::new(ACTION, &body()).check(&mut tx, &accountant, Some(approval_id)).await.unwrap();
    tx.rollback().await.unwrap();
    let approved = act(&house, &accountant, &body(), approval_id).await.unwrap();
    assert_eq!(approved, Approved { approval_id, approved_by: approver.user_id });
    assert!(matches!(act(&house, &accountant, &body(), approval_id).await, Err(ApprovalError::Used)));
}

#[tokio::test]
async fn two_actions_at_once_share_no_approval() {
    let Team { house, accountant, approver } = Team::new().await;
    let approval_id = request(&house, &accountant, &body()).await.unwrap();
    decide(&house, &approver, approval_id, Decision::Approved).await.unwrap();
    let body = body();
    let (a, b) = tokio::join!(
        act(&house, &accountant, &body, approval_id),
        act(&house, &accountant, &body, approval_id)
    );
    assert!(a.is_ok() ^ b.is_ok(), "{a:?} {b:?}");
}

#[tokio::test]
async fn an_approval_is_for_exactly_this_by_exactly_this_user() {
    let Team { house, accountant, approver } = Team::new().await;
    let colleague = house.principal(UserKind::Person, &[builtin::ACCOUNTANT]).await;
    let approval_id = request(&house, &accountant, &body()).await.unwrap();
    decide(&house, &approver, approval_id, Decision::Approved).await.unwrap();
    let mut changed = body();
    changed["entries"][0]["debit"] = json!("50");
    assert!(matches!(act(&house, &accountant, &changed, approval_id).await, Err(ApprovalError::OtherAction)));
    assert!(matches!(
        act(&house, &colleague, &body(), approval_id).await,
        Err(ApprovalError::OtherRequester)
    ));
    let unknown = act(&house, &accountant, &body(), Uuid::now_v7()).await;
    assert!(matches!(unknown, Err(ApprovalError::Unknown(_))));
    let mut tx = house.app().await;
    let without = Guard::new(ACTION, &body()).check(&mut tx, &accountant, None).await;
    assert!(matches!(without, Err(ApprovalError::Needed(ACTION))));
    // An approval gives no permission.
    let denied = Guard::new(ACTION, &body()).check(&mut tx, &approver, Some(approval_id)).await;
    assert!(matches!(denied, Err(ApprovalError::Denied(Denied::Missing(ACTION)))));
}

#[tokio::test]
async fn a_rejected_and_an_expired_request_do_nothing() {
    let Team { house, accountant, approver } = Team::new().await;
    let rejected = request(&house, &accountant, &body()).await.unwrap();
    decide(&house, &approver, rejected, Decision::Rejected).await.unwrap();
    assert!(matches!(act(&house, &accountant, &body(), rejected).await, Err(ApprovalError::Rejected)));
    let undecided = request(&house, &accountant, &body()).await.unwrap();
    let approved = request(&house, &accountant, &body()).await.unwrap();
    decide(&house, &approver, approved, Decision::Approved).await.unwrap();
    house.owner("UPDATE approvals SET expires_at = now()").await.unwrap();
    let late = decide(&house, &approver, undecided, Decision::Approved).await;
    assert!(matches!(late, Err(ApprovalError::Expired)));
    for approval_id in [undecided, approved] {
        assert!(matches!(act(&house, &accountant, &body(), approval_id).await, Err(ApprovalError::Expired)));
    }
}

#[tokio::test]
async fn nobody_approves_their_own_request_and_only_a_person_approves() {
    let house = House::new().await;
    let admin = house.principal(UserKind::Person, &[builtin::ADMIN]).await;
    let machine = house.principal(UserKind::Machine, &[builtin::ADMIN]).await;
    let approval_id = request(&house, &admin, &body()).await.unwrap();
    let own = decide(&house, &admin, approval_id, Decision::Approved).await;
    assert!(matches!(own, Err(ApprovalError::OwnRequest)));
    let by_machine = decide(&house, &machine, approval_id, Decision::Approved).await;
    assert!(matches!(by_machine, Err(ApprovalError::NotAPerson)));
    for (who, kind, broken) in [
        (admin.user_id, "person", "nobody_approves_their_own"),
        (machine.user_id, "machine", "a_person_approves"),
        (machine.user_id, "person", "approvals_tenant_id_decided_by_decider_kind_fkey"),
    ] {
        let error = house
            .owner(&format!(
                "UPDATE approvals SET decision = 'approved', decided_by = '{who}', decider_kind = '{kind}', decided_at = now()"
            ))
            .await
            .unwrap_err();
        assert_eq!(constraint(&error), Some(broken), "{error}");
    }
    let error = house.owner("UPDATE approvals SET used_at = now()").await.unwrap_err();
    assert_eq!(constraint(&error), Some("used_only_approved"));
}

#[tokio::test]
async fn who_may_not_ask_or_decide_is_told_and_an_agent_least_of_all() {
    let Team { house, accountant, approver } = Team::new().await;
    let agent = house.principal(UserKind::Agent, &[builtin::AGENT]).await;
    let asked = request(&house, &agent, &body()).await;
    assert!(matches!(asked, Err(ApprovalError::Denied(Denied::Agent(Permission::ApprovalsRequest)))));
    let approval_id = request(&house, &accountant, &body()).await.unwrap();
    let decided = decide(&house, &agent, approval_id, Decision::Approved).await;
    assert!(matches!(decided, Err(ApprovalError::Denied(Denied::Agent(Permission::ApprovalsDecide)))));
    let one_factor = Principal { second_factor: false, ..approver.clone() };
    let decided = decide(&house, &one_factor, approval_id, Decision::Approved).await;
    assert!(matches!(decided, Err(ApprovalError::Denied(Denied::SecondFactor(_)))));
    let asked = request(&house, &approver, &body()).await;
    assert!(matches!(asked, Err(ApprovalError::Denied(Denied::Missing(Permission::ApprovalsRequest)))));
    let mut tx = house.app().await;
    for term in [Duration::ZERO, MAX_TERM + Duration::from_secs(1)] {
        let asked = Guard::new(ACTION, &body()).request(&mut tx, &accountant, term).await;
        assert!(matches!(asked, Err(ApprovalError::Term)));
    }
    for body in [json!({ "note": "a\0b" }), json!("x".repeat(70_000))] {
        let asked = Guard::new(ACTION, &body).request(&mut tx, &accountant, TERM).await;
        assert!(matches!(asked, Err(ApprovalError::TooLong)));
    }
}

#[tokio::test]
async fn another_tenants_approval_does_not_exist() {
    let Team { house, accountant, approver } = Team::new().await;
    let approval_id = request(&house, &accountant, &body()).await.unwrap();
    let mut tx = house.db.tenant_tx(&[house.other_tenant_id]).await.unwrap();
    let decided = approval::decide(&mut tx, &approver, approval_id, Decision::Approved, "").await;
    assert!(matches!(decided, Err(ApprovalError::Unknown(_))));
    let stranger = Principal { tenant_id: house.other_tenant_id, ..approver };
    let decided = decide(&house, &stranger, approval_id, Decision::Approved).await;
    assert!(matches!(decided, Err(ApprovalError::Unknown(_))));
}
