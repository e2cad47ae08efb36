//! `/api/v1/users/{user_id}/second-factors`: those of others, as an administrator looks at them. One's own are at `/auth/second-factor`.
//!
//! Who lost the last one cannot add another, as that asks for it: an administrator takes the lost one away. It asks for no second person's approval: who may do this may
//! also give the user an address of their own, or make a user, and is kept from neither.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use plimsoll_bus::audit::Entry;
use plimsoll_identity::Permission::{UsersRead, UsersWrite};
use plimsoll_identity::directory;
use plimsoll_identity::second_factor::{self, FactorId, FactorInfo, RemovalError};
use plimsoll_types::api;
use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::gateway::Access::Needs;
use crate::gateway::{Caller, Declaration, Done, Keyed, Routes, WriteMethod, finish};
use crate::idempotency::{Answered, Execution, Reply};
use crate::openapi::{RecordProblems, WriteProblems};
use crate::problem::{Problem, ProblemKind};
use crate::query::{NoParameters, Query};
use crate::repo::RepoError;
use crate::routes::paging::Segment;
use crate::state::ApiState;

pub(super) fn routes() -> Routes<ApiState> {
    const PATH: &str = "/api/v1/users/{user_id}/second-factors";
    const REMOVE: &str = "/api/v1/users/{user_id}/second-factors/remove";
    Routes::default()
        .read(Declaration::read(PATH, Needs(UsersRead)), list)
        .write(Declaration::with_optional_key(WriteMethod::Post, REMOVE, Needs(UsersWrite)), remove)
}

/// A user's second factors
///
/// Those in force.
#[utoipa::path(get, operation_id = "list_second_factors", path = "/api/v1/users/{user_id}/second-factors", tag = "identity",
    params(("user_id" = Uuid, Path, description = "The user's id")),
    responses((status = 200, description = "The second factors", body = api::SecondFactors), RecordProblems))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    user_id: Segment,
    _: Query<NoParameters>,
) -> Result<Json<api::SecondFactors>, Problem> {
    let (tenant_id, user_id) = (caller.tenant_id, user_id.id()?);
    let mut tx = state.db().tenant_tx(&[tenant_id]).await.map_err(RepoError::from)?;
    directory::user(&mut tx, tenant_id, user_id).await?;
    Ok(Json(model(&all(&mut tx, tenant_id, user_id).await?)))
}

/// Take a second factor from a user
///
/// For who lost it: also the last one. It ends all of the user's sessions. One's own is taken away at `/auth/second-factor/remove`.
#[utoipa::path(post, operation_id = "remove_second_factor", path = "/api/v1/users/{user_id}/second-factors/remove", tag = "identity", request_body = api::SecondFactorRemoval,
    params(("user_id" = Uuid, Path, description = "The user's id")),
    responses((status = 200, description = "What the user has left", body = api::SecondFactors), WriteProblems))]
pub(crate) async fn remove(
    execution: Execution,
    (State(state), user_id, asked): (State<ApiState>, Segment, Keyed<api::SecondFactorRemoval>),
) -> Result<Answered, Problem> {
    let (user_id, id) = (user_id.id()?, factor_id(&asked.body.factor_id)?);
    let mut effect = asked.begin(execution).await?;
    let done = remove_in(&mut effect, &asked.caller, user_id, &id).await;
    let answered = finish(effect, done).await?;
    state.authenticator().forget_user(asked.caller.tenant_id, user_id);
    Ok(answered)
}

async fn remove_in(
    conn: &mut PgConnection,
    caller: &Caller,
    user_id: Uuid,
    id: &FactorId,
) -> Result<Done, Problem> {
    if user_id == caller.user_id {
        return Err(Problem::new(ProblemKind::Conflict, "this is one's own second factor")
            .with_remedy("take it away at `/auth/second-factor/remove`"));
    }
    removed(conn, caller.tenant_id, user_id, async |conn| {
        second_factor::remove(conn, caller.tenant_id, user_id, id).await
    })
    .await
}

/// A removal, on record with what there was before and what is left.
pub(crate) async fn removed(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    user_id: Uuid,
    remove: impl AsyncFnOnce(&mut PgConnection) -> Result<Vec<Uuid>, RemovalError>,
) -> Result<Done, Problem> {
    let before = all(conn, tenant_id, user_id).await?;
    let ended = remove(conn).await?;
    let after = all(conn, tenant_id, user_id).await?;
    let state_after = json!({ "second_factors": state_of(&after), "ended_sessions": ended });
    let entry = Entry::new("identity.second_factor.remove", "user", user_id.to_string())
        .with_change(Some(json!({ "second_factors": state_of(&before) })), Some(state_after));
    Ok((entry, Reply::json(StatusCode::OK, &model(&after))?))
}

/// All that a user has.
pub(crate) async fn all(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    user_id: Uuid,
) -> Result<Vec<FactorInfo>, Problem> {
    Ok(second_factor::list(conn, tenant_id, user_id).await.map_err(RepoError::from)?)
}

pub(crate) fn factor_id(text: &str) -> Result<FactorId, Problem> {
    text.parse::<FactorId>().map_err(|error| {
        Problem::new(ProblemKind::InvalidBody, format!("`factor_id`: {error}"))
            .with_remedy("give a `factor_id` as the list has it")
    })
}

fn state_of(factors: &[FactorInfo]) -> Value {
    factors
        .iter()
        .map(|factor| json!({ "factor_id": factor.id.to_string(), "label": factor.label }))
        .collect()
}

pub(crate) fn model(factors: &[FactorInfo]) -> api::SecondFactors {
    let model = |factor: &FactorInfo| api::SecondFactor {
        factor_id: factor.id.to_string(),
        kind: match factor.id {
            FactorId::Totp => api::SecondFactorKind::Totp,
            FactorId::Webauthn(_) => api::SecondFactorKind::Webauthn,
        },
        label: factor.label.clone(),
        created_at: factor.created_at,
        last_used_at: factor.last_used_at,
        cloned_at: factor.cloned_at,
    };
    api::SecondFactors { items: factors.iter().map(model).collect() }
}

impl From<RemovalError> for Problem {
    fn from(error: RemovalError) -> Self {
        let kind = match error {
            RemovalError::Db(error) => return RepoError::from(error).into(),
            RemovalError::Directory(error) => return error.into(),
            RemovalError::NotGiven => ProblemKind::SecondFactorRequired,
            RemovalError::NoSession | RemovalError::Unknown(_) => ProblemKind::Conflict,
            RemovalError::Last => {
                return Self::new(ProblemKind::Conflict, error.to_string()).with_remedy(
                    "register another below `/auth/second-factor`, and take this one away then; or ask an administrator",
                );
            }
        };
        Self::new(kind, error.to_string())
    }
}
