//! `/api/v1/approvals`: what two persons must want. The action itself names the approval and uses it up in its own transaction
//! ([`plimsoll_identity::approval::Guard::check`]); here it is asked for and decided.

use std::time::Duration;

use alloy_primitives::B256;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use plimsoll_bus::audit::Entry;
use plimsoll_identity::Permission::{ApprovalsDecide, ApprovalsRead, ApprovalsRequest};
use plimsoll_identity::approval::{self, Approval, ApprovalError, Decision, Guard};
use plimsoll_types::api;
use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

use super::paging::{ApprovalKey, Filter, Listing, Paging, Segment};
use super::roles::permission;
use crate::cursor::Fingerprint;
use crate::gateway::Access::Needs;
use crate::gateway::{Caller, Declaration, Done, Keyed, Routes, WriteMethod, finish};
use crate::idempotency::{Answered, Execution, Reply};
use crate::openapi::{ListProblems, RecordProblems, WriteProblems};
use crate::problem::{Problem, ProblemKind};
use crate::query::{Fields, NoParameters, Query, yes_or_no};
use crate::repo::RepoError;
use crate::state::ApiState;

pub(super) fn routes() -> Routes<ApiState> {
    let post = |path, permission| Declaration::with_optional_key(WriteMethod::Post, path, Needs(permission));
    Routes::default()
        .read(Declaration::read("/api/v1/approvals", Needs(ApprovalsRead)), list)
        .write(post("/api/v1/approvals", ApprovalsRequest), request)
        .read(Declaration::read("/api/v1/approvals/{approval_id}", Needs(ApprovalsRead)), show)
        .write(post("/api/v1/approvals/{approval_id}/approve", ApprovalsDecide), approve)
        .write(post("/api/v1/approvals/{approval_id}/reject", ApprovalsDecide), reject)
}

/// Which requests.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ApprovalFilter {
    /// Those alone that wait for a decision.
    #[param(value_type = Option<bool>, default = false)]
    open: bool,
}

impl Filter for ApprovalFilter {
    const KNOWN: &'static [&'static str] = &["open", "limit", "cursor"];

    fn read(fields: &mut Fields) -> Self {
        Self { open: fields.take("open", yes_or_no).unwrap_or(false) }
    }

    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&[Some(self.open.to_string())])
    }
}

/// Requests for approval
///
/// By id, which is by age.
#[utoipa::path(get, operation_id = "list_approvals", path = "/api/v1/approvals", tag = "identity", params(ApprovalFilter, Paging),
    responses((status = 200, description = "A page of requests", body = api::Approvals), ListProblems))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    Query(listing): Query<Listing<ApprovalFilter>>,
) -> Result<Json<api::Approvals>, Problem> {
    let after = listing.after::<ApprovalKey>()?.map(|key| key.0);
    let mut tx = state.db().tenant_tx(&[caller.tenant_id]).await.map_err(RepoError::from)?;
    let found = approval::requests(&mut tx, &caller, listing.filter.open, after, listing.rows()).await?;
    let (found, next_cursor) = listing.page(found, |found| ApprovalKey(found.approval_id));
    Ok(Json(api::Approvals { items: found.into_iter().map(model).collect(), next_cursor }))
}

/// A request for approval
#[utoipa::path(get, operation_id = "show_approval", path = "/api/v1/approvals/{approval_id}", tag = "identity",
    params(("approval_id" = Uuid, Path, description = "The request's id")),
    responses((status = 200, description = "The request", body = api::Approval), RecordProblems))]
pub(crate) async fn show(
    State(state): State<ApiState>,
    caller: Caller,
    approval_id: Segment,
    _: Query<NoParameters>,
) -> Result<Json<api::Approval>, Problem> {
    let mut tx = state.db().tenant_tx(&[caller.tenant_id]).await.map_err(RepoError::from)?;
    Ok(Json(model(approval::find(&mut tx, caller.tenant_id, approval_id.id()?).await?)))
}

/// Ask for another person's approval
///
/// Of exactly this action: who asks must be allowed to do it, but for the approval.
#[utoipa::path(post, operation_id = "request_approval", path = "/api/v1/approvals", tag = "identity", request_body = api::NewApproval,
    responses((status = 201, description = "The request", body = api::Approval), WriteProblems))]
pub(crate) async fn request(execution: Execution, new: Keyed<api::NewApproval>) -> Result<Answered, Problem> {
    let mut effect = new.begin(execution).await?;
    let done = request_in(&mut effect, &new).await;
    finish(effect, done).await
}

async fn request_in(conn: &mut PgConnection, new: &Keyed<api::NewApproval>) -> Result<Done, Problem> {
    let Keyed { body, caller } = new;
    let guard = Guard::new(permission(&body.action)?, &body.body);
    let approval_id = guard.request(conn, caller, Duration::from_secs(body.term_seconds.into())).await?;
    let made = find(conn, caller, approval_id).await?;
    let entry = Entry::new("identity.approval.request", "approval", approval_id.to_string())
        .with_change(None, Some(state_of(&made)));
    Ok((entry, Reply::json(StatusCode::CREATED, &model(made))?))
}

/// Approve what another asked for
///
/// A person, with a second factor, and not who asked.
#[utoipa::path(post, operation_id = "approve", path = "/api/v1/approvals/{approval_id}/approve", tag = "identity", request_body = api::NewDecision,
    params(("approval_id" = Uuid, Path, description = "The request's id")),
    responses((status = 200, description = "The request", body = api::Approval), WriteProblems))]
pub(crate) async fn approve(
    execution: Execution,
    (approval_id, asked): (Segment, Keyed<api::NewDecision>),
) -> Result<Answered, Problem> {
    decide(execution, approval_id.id()?, asked, Decision::Approved).await
}

/// Reject what another asked for
#[utoipa::path(post, operation_id = "reject", path = "/api/v1/approvals/{approval_id}/reject", tag = "identity", request_body = api::NewDecision,
    params(("approval_id" = Uuid, Path, description = "The request's id")),
    responses((status = 200, description = "The request", body = api::Approval), WriteProblems))]
pub(crate) async fn reject(
    execution: Execution,
    (approval_id, asked): (Segment, Keyed<api::NewDecision>),
) -> Result<Answered, Problem> {
    decide(execution, approval_id.id()?, asked, Decision::Rejected).await
}

async fn decide(
    execution: Execution,
    approval_id: Uuid,
    asked: Keyed<api::NewDecision>,
    decision: Decision,
) -> Result<Answered, Problem> {
    let mut effect = asked.begin(execution).await?;
    let done = decide_in(&mut effect, approval_id, &asked, decision).await;
    finish(effect, done).await
}

async fn decide_in(
    conn: &mut PgConnection,
    approval_id: Uuid,
    asked: &Keyed<api::NewDecision>,
    decision: Decision,
) -> Result<Done, Problem> {
    let Keyed { body, caller } = asked;
    let before = find(conn, caller, approval_id).await?;
    approval::decide(conn, caller, approval_id, decision, &body.reason).await?;
    let after = find(conn, caller, approval_id).await?;
    let action = match decision {
        Decision::Approved => "identity.approval.approve",
        Decision::Rejected => "identity.approval.reject",
    };
    let entry = Entry::new(action, "approval", approval_id.to_string())
        .with_change(Some(state_of(&before)), Some(state_of(&after)))
        .with_reason(&body.reason);
    Ok((entry, Reply::json(StatusCode::OK, &model(after))?))
}

async fn find(conn: &mut PgConnection, caller: &Caller, approval_id: Uuid) -> Result<Approval, Problem> {
    Ok(approval::find(conn, caller.tenant_id, approval_id).await?)
}

fn state_of(approval: &Approval) -> Value {
    json!({
        "action": approval.action,
        "digest": B256::from(approval.action_digest),
        "body": approval.body,
        "requested_by": approval.requested_by,
        "decision": approval.decision.map(Decision::as_str),
        "decided_by": approval.decided_by,
    })
}

fn model(approval: Approval) -> api::Approval {
    api::Approval {
        approval_id: approval.approval_id,
        action: approval.action,
        body: approval.body,
        digest: B256::from(approval.action_digest).to_string(),
        requested_by: approval.requested_by,
        requested_at: approval.requested_at,
        expires_at: approval.expires_at,
        decision: approval.decision.map(|decision| match decision {
            Decision::Approved => api::Decision::Approved,
            Decision::Rejected => api::Decision::Rejected,
        }),
        decided_by: approval.decided_by,
        reason: approval.reason,
        used_at: approval.used_at,
    }
}

impl From<ApprovalError> for Problem {
    fn from(error: ApprovalError) -> Self {
        let kind = match error {
            ApprovalError::Db(error) => return RepoError::from(error).into(),
            ApprovalError::Denied(denied) => return denied.into(),
            ApprovalError::Unknown(_) => ProblemKind::NotFound,
            ApprovalError::Term | ApprovalError::TooLong => ProblemKind::InvalidBody,
            ApprovalError::NotAPerson => ProblemKind::Forbidden,
            _ => ProblemKind::Conflict,
        };
        Self::new(kind, error.to_string())
    }
}
