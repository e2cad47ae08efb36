//! Two persons, from the request to the action, over HTTP.

use axum::http::{Method, StatusCode};
use plimsoll_bus::audit::Entry;
use plimsoll_identity::approval::Guard;
use plimsoll_identity::{Permission, UserKind};
use plimsoll_types::api;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::Api;
use super::super::people::Person;
use crate::gateway::Access::Needs;
use crate::gateway::{Declaration, Keyed, Routes, WriteMethod, finish};
use crate::idempotency::{Answered, Execution, Reply};
use crate::problem::Problem;
use crate::{ApiOptions, ApiState};

const APPROVALS: &str = "/api/v1/approvals";
const REPAIRS: &str = "/api/v1/repairs";

/// An action that two persons must want.
#[derive(Debug, Deserialize)]
struct Repair {
    request_id: Uuid,
    tenant_id: Uuid,
    user_id: Uuid,
    approval_id: Option<Uuid>,
    body: Value,
}

impl api::Keyed for Repair {
    fn request_id(&self) -> Uuid {
        self.request_id
    }

    fn tenant_id(&self) -> Uuid {
        self.tenant_id
    }

    fn user_id(&self) -> Uuid {
        self.user_id
    }

    fn created_by(&self) -> Option<&str> {
        None
    }
}

async fn repair(execution: Execution, asked: Keyed<Repair>) -> Result<Answered, Problem> {
    let mut effect = asked.begin(execution).await?;
    let guard = Guard::new(Permission::AdminRepair, &asked.body.body);
    let approved = guard.check(&mut effect, &asked.caller, asked.body.approval_id).await;
    let done = approved
        .map(|approved| {
            let entry = Entry::new("test.repair", "approval", approved.approval_id.to_string());
            (entry, Reply::empty(StatusCode::NO_CONTENT))
        })
        .map_err(Problem::from);
    finish(effect, done).await
}

async fn started() -> Api {
    let declaration =
        Declaration::with_optional_key(WriteMethod::Post, REPAIRS, Needs(Permission::AdminRepair));
    let more = Routes::<ApiState>::default().write(declaration, repair).into_router();
    Api::start_with(ApiOptions::default(), more).await
}

async fn do_repair(api: &Api, who: &Person, approval: &Value, rows: &[u32]) -> super::super::Answer {
    api.post(who, REPAIRS, json!({ "approval_id": approval, "body": { "rows": rows } })).await
}

async fn request(api: &Api, who: &Person, rows: &[u32]) -> Value {
    let asked = json!({ "action": "admin:repair", "body": { "rows": rows }, "term_seconds": 3600 });
    api.post(who, APPROVALS, asked).await.expect(201)["approval_id"].clone()
}

#[tokio::test]
async fn what_another_person_approved_is_done_exactly_and_once() {
    let api = started().await;
    let tenant_id = api.tenant_named("acme").await;
    let ada = api.person(tenant_id, UserKind::Person, &["admin"]).await;
    let bob = api.person(tenant_id, UserKind::Person, &["approver"]).await;
    let machine = api.person(tenant_id, UserKind::Machine, &["approver"]).await;

    do_repair(&api, &ada, &Value::Null, &[17]).await.refused(409, "conflict");
    let approval = request(&api, &ada, &[17]).await;
    let path = format!("{APPROVALS}/{}", approval.as_str().unwrap());
    let detail = do_repair(&api, &ada, &approval, &[17]).await.refused(409, "conflict");
    assert!(detail.contains("nobody has decided"), "{detail}");
    let own = api.post(&ada, &format!("{path}/approve"), json!({})).await.refused(409, "conflict");
    assert!(own.contains("their own request"), "{own}");
    api.post(&machine, &format!("{path}/approve"), json!({})).await.refused(403, "forbidden");

    let open = api.read(&bob, &format!("{APPROVALS}?open=true")).await.expect(200);
    assert_eq!(open["items"][0]["body"], json!({ "rows": [17] }));
    let reason = json!({ "reason": "the rows of the incident" });
    let approved = api.post(&bob, &format!("{path}/approve"), reason).await.expect(200);
    assert_eq!((&approved["decision"], &approved["decided_by"]), (&json!("approved"), &json!(bob.user_id)));
    api.post(&bob, &format!("{path}/reject"), json!({})).await.refused(409, "conflict");

    let other = do_repair(&api, &ada, &approval, &[17, 18]).await.refused(409, "conflict");
    assert!(other.contains("another action"), "{other}");
    assert_eq!(do_repair(&api, &ada, &approval, &[17]).await.status, StatusCode::NO_CONTENT);
    let again = do_repair(&api, &ada, &approval, &[17]).await.refused(409, "conflict");
    assert!(again.contains("used already"), "{again}");
    assert!(api.read(&bob, &path).await.expect(200)["used_at"].is_string());
    assert_eq!(api.recorded("test.repair").await.len(), 1);
    let decided = api.recorded("identity.approval.approve").await;
    assert!(decided.len() == 1 && decided[0].contains("the rows of the incident"), "{decided:?}");
}

#[tokio::test]
async fn what_was_rejected_is_not_done() {
    let api = started().await;
    let tenant_id = api.tenant_named("acme").await;
    let ada = api.person(tenant_id, UserKind::Person, &["admin"]).await;
    let bob = api.person(tenant_id, UserKind::Person, &["approver"]).await;
    let approval = request(&api, &ada, &[1]).await;
    let path = format!("{APPROVALS}/{}/reject", approval.as_str().unwrap());
    api.post(&bob, &path, json!({ "reason": "no" })).await.expect(200);
    let detail = do_repair(&api, &ada, &approval, &[1]).await.refused(409, "conflict");
    assert!(detail.contains("rejected"), "{detail}");
    let beyond = json!({ "action": "ledger:post", "body": {}, "term_seconds": 3600 });
    api.post(&bob, APPROVALS, beyond).await.refused(403, "forbidden");
    let late = json!({ "action": "admin:repair", "body": {}, "term_seconds": 0 });
    api.post(&ada, APPROVALS, late).await.refused(400, "invalid-body");
    let page = api.ask(Some(&bob.token), Method::GET, APPROVALS, None).await.expect(200);
    assert_eq!(page["items"].as_array().unwrap().len(), 1);
}
