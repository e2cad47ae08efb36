//! `/api/v1/kill-switches`: what an operator holds back.
//!
//! Over HTTP an operator acts for their tenant, so what is thrown and released here is the tenant's own; the platform's are told, and are the command line's (`plimsoll relayer halt`).

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use plimsoll_bus::audit::Entry;
use plimsoll_identity::Permission::{RelayerOperate, RelayerRead};
use plimsoll_relayer::request::SignerId;
use plimsoll_relayer::switches::{self, REASON_MAX_CHARS, Scope, Switch, SwitchError};
use plimsoll_types::api::FieldProblem;
use plimsoll_types::{address_text, api, parse_address};
use serde_json::{Value, json};
use sqlx::PgConnection;

use super::transactions::{invalid, taken};
use crate::gateway::Access::Needs;
use crate::gateway::{Caller, Declaration, Done, Keyed, Routes, WriteMethod, finish};
use crate::idempotency::{Answered, Execution, Reply};
use crate::openapi::{DataProblems, WriteProblems};
use crate::problem::{Problem, ProblemKind};
use crate::query::{NoParameters, Query};
use crate::repo::RepoError;
use crate::state::ApiState;

const ALL: &str = "/api/v1/kill-switches";
const RELEASE: &str = "/api/v1/kill-switches/release";

pub(super) fn routes() -> Routes<ApiState> {
    let post = |path| Declaration::with_optional_key(WriteMethod::Post, path, Needs(RelayerOperate));
    Routes::default()
        .read(Declaration::read(ALL, Needs(RelayerRead)), list)
        .write(post(ALL), throw)
        .write(post(RELEASE), release)
}

/// What is held back
///
/// The tenant's own switches, and those of the platform.
#[utoipa::path(get, operation_id = "list_kill_switches", path = "/api/v1/kill-switches", tag = "relayer",
    responses((status = 200, description = "The switches", body = api::KillSwitches), DataProblems))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    _: Query<NoParameters>,
) -> Result<Json<api::KillSwitches>, Problem> {
    let mut tx = state.db().tenant_tx(&[caller.tenant_id]).await.map_err(RepoError::from)?;
    let thrown = switches::thrown(&mut tx).await.map_err(RepoError::from)?;
    Ok(Json(api::KillSwitches { items: thrown.iter().map(model).collect() }))
}

/// Hold back what the tenant asks for
///
/// Nothing of the tenant that waits gets a nonce any more: from any signer, or from the one that is named. What has one goes on, and so does what is given one at this very moment: call it off to end
/// it. What is handed in meanwhile waits.
#[utoipa::path(post, operation_id = "throw_kill_switch", path = "/api/v1/kill-switches", tag = "relayer", request_body = api::KillSwitchOrder,
    responses((status = 201, description = "The switch", body = api::KillSwitch), WriteProblems))]
pub(crate) async fn throw(
    execution: Execution,
    asked: Keyed<api::KillSwitchOrder>,
) -> Result<Answered, Problem> {
    let scope = scope_of(&asked)?;
    let actor = execution.caller().actor.clone();
    let mut effect = asked.begin(execution).await?;
    let done = throw_in(&mut effect, scope, &actor, asked.body.reason()).await;
    finish(effect, done).await
}

async fn throw_in(conn: &mut PgConnection, scope: Scope, actor: &str, reason: &str) -> Result<Done, Problem> {
    let thrown = switches::throw(conn, scope, actor, reason).await?;
    let entry = Entry::new("relayer.kill_switch.throw", "kill_switch", target_of(scope))
        .with_change(None, Some(state_of(&thrown)))
        .with_reason(reason);
    Ok((entry, Reply::json(StatusCode::CREATED, &model(&thrown))?))
}

/// Release what was held back
///
/// The tenant's own switch for every signer, or for the one that is named. What another switch holds back still waits.
#[utoipa::path(post, operation_id = "release_kill_switch", path = "/api/v1/kill-switches/release", tag = "relayer", request_body = api::KillSwitchOrder,
    responses((status = 200, description = "The switch that was released", body = api::KillSwitch), WriteProblems))]
pub(crate) async fn release(
    execution: Execution,
    (State(state), asked): (State<ApiState>, Keyed<api::KillSwitchOrder>),
) -> Result<Answered, Problem> {
    let scope = scope_of(&asked)?;
    let mut effect = asked.begin(execution).await?;
    let done = release_in(&mut effect, scope, asked.body.reason()).await;
    let answered = finish(effect, done).await?;
    if let Some(intake) = state.relayer() {
        intake.ring();
    }
    Ok(answered)
}

async fn release_in(conn: &mut PgConnection, scope: Scope, reason: &str) -> Result<Done, Problem> {
    let released = switches::release(conn, scope).await.map_err(RepoError::from)?;
    let released = released.ok_or_else(|| {
        Problem::new(ProblemKind::NotFound, "the tenant has no such switch thrown").with_remedy(
            "`/api/v1/kill-switches` lists those that are; the platform's are the platform's to release",
        )
    })?;
    let entry = Entry::new("relayer.kill_switch.release", "kill_switch", target_of(scope))
        .with_change(Some(state_of(&released)), None)
        .with_reason(reason);
    Ok((entry, Reply::json(StatusCode::OK, &model(&released))?))
}

/// What is meant: always of the caller's own tenant.
fn scope_of(asked: &Keyed<api::KillSwitchOrder>) -> Result<Scope, Problem> {
    let Keyed { body, caller } = asked;
    let mut wrong = Vec::new();
    let chars = body.reason().chars().count();
    if !(1..=REASON_MAX_CHARS).contains(&chars) {
        let reason = format!("has {chars} characters, 1 to {REASON_MAX_CHARS} may be");
        wrong.push(FieldProblem { name: "reason".into(), reason });
    }
    let signer = match body {
        api::KillSwitchOrder::Signer(of) => {
            let address = taken(&mut wrong, "signer", Some(&of.signer), parse_address);
            address.map(|address| SignerId { chain_id: of.chain_id, address })
        }
        api::KillSwitchOrder::Tenant(_) => None,
    };
    if wrong.is_empty() {
        Ok(Scope { tenant_id: Some(caller.tenant_id), signer })
    } else {
        Err(invalid(wrong))
    }
}

/// As the audit names it.
fn target_of(scope: Scope) -> String {
    scope.signer.map_or_else(|| "all".to_owned(), |signer| signer.to_string())
}

fn state_of(switch: &Switch) -> Value {
    json!({
        "tenant_id": switch.scope.tenant_id,
        "signer": switch.scope.signer.map(|signer| signer.to_string()),
        "reason": switch.reason,
        "thrown_by": switch.thrown_by,
    })
}

fn model(switch: &Switch) -> api::KillSwitch {
    let is_for_tenant = switch.scope.tenant_id.is_some();
    api::KillSwitch {
        is_for_tenant,
        chain_id: switch.scope.signer.map(|signer| signer.chain_id),
        signer: switch.scope.signer.map(|signer| address_text(&signer.address)),
        reason: switch.reason.clone(),
        thrown_by: is_for_tenant.then(|| switch.thrown_by.clone()),
        thrown_at: switch.thrown_at,
    }
}

impl From<SwitchError> for Problem {
    fn from(error: SwitchError) -> Self {
        let told = error.to_string();
        match error {
            SwitchError::Thrown(_) => Self::new(ProblemKind::Conflict, told)
                .with_remedy("release it before it is thrown anew, for another reason"),
            SwitchError::UnknownSigner(_) => Self::new(ProblemKind::NotFound, told)
                .with_remedy("`/api/v1/signers` lists the signers that the tenant may use"),
            SwitchError::Database(error) => RepoError::from(error).into(),
        }
    }
}
