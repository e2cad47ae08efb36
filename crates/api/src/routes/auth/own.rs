//! `/auth/second-factor`, `/auth/identities`: by what the caller is known, listed and taken away. Others' are below `/api/v1/users/{user_id}`.
//!
//! It is asked for in a session: a key can do no more than its scopes, and none is for these.

use axum::Json;
use axum::extract::State;
use plimsoll_identity::{external, second_factor};
use plimsoll_types::api;

use super::session_of;
use crate::gateway::{Caller, Keyed, finish};
use crate::idempotency::{Answered, Execution};
use crate::openapi::{OwnProblems, OwnWriteProblems};
use crate::problem::Problem;
use crate::query::{NoParameters, Query};
use crate::repo::RepoError;
use crate::routes::users::{identities, second_factors};
use crate::state::ApiState;

/// My second factors
///
/// Those in force.
#[utoipa::path(get, operation_id = "list_my_second_factors", path = "/auth/second-factor", tag = "identity",
    responses((status = 200, description = "The second factors", body = api::SecondFactors), OwnProblems))]
pub(crate) async fn factors(
    State(state): State<ApiState>,
    caller: Caller,
    _: Query<NoParameters>,
) -> Result<Json<api::SecondFactors>, Problem> {
    session_of(&caller)?;
    let mut tx = state.db().tenant_tx(&[caller.tenant_id]).await.map_err(RepoError::from)?;
    Ok(Json(second_factors::model(&second_factors::all(&mut tx, caller.tenant_id, caller.user_id).await?)))
}

/// Take a second factor of mine away
///
/// With a second factor that was given within the last hour; it may be this one. The last one stays where the caller's roles allow what asks for one: register another
/// first, or ask an administrator. It ends the caller's other sessions.
#[utoipa::path(post, operation_id = "remove_my_second_factor", path = "/auth/second-factor/remove", tag = "identity", request_body = api::SecondFactorRemoval,
    responses((status = 200, description = "What the caller has left", body = api::SecondFactors), OwnWriteProblems))]
pub(crate) async fn remove_factor(
    execution: Execution,
    (State(state), asked): (State<ApiState>, Keyed<api::SecondFactorRemoval>),
) -> Result<Answered, Problem> {
    let caller = &asked.caller;
    let id = second_factors::factor_id(&asked.body.factor_id)?;
    let mut effect = asked.begin(execution).await?;
    let done = second_factors::removed(&mut effect, caller.tenant_id, caller.user_id, async |conn| {
        second_factor::remove_own(conn, caller, &id).await
    })
    .await;
    let answered = finish(effect, done).await?;
    state.authenticator().forget_user(caller.tenant_id, caller.user_id);
    Ok(answered)
}

/// Who I am at providers
#[utoipa::path(get, operation_id = "list_my_identities", path = "/auth/identities", tag = "identity",
    responses((status = 200, description = "The identities", body = api::ExternalIdentities), OwnProblems))]
pub(crate) async fn identities(
    State(state): State<ApiState>,
    caller: Caller,
    _: Query<NoParameters>,
) -> Result<Json<api::ExternalIdentities>, Problem> {
    session_of(&caller)?;
    let mut tx = state.db().tenant_tx(&[caller.tenant_id]).await.map_err(RepoError::from)?;
    Ok(Json(identities::model(external::list(&mut tx, caller.tenant_id, caller.user_id).await?)))
}

/// Take a subject of a provider away
///
/// Who has a second factor gives it before. The only way to sign in stays.
#[utoipa::path(post, operation_id = "unlink_my_identity", path = "/auth/identities/remove", tag = "identity", request_body = api::IdentityChange,
    responses((status = 200, description = "All that the caller is at providers", body = api::ExternalIdentities), OwnWriteProblems))]
pub(crate) async fn unlink(
    execution: Execution,
    asked: Keyed<api::IdentityChange>,
) -> Result<Answered, Problem> {
    let caller = &asked.caller;
    let api::IdentityChange { issuer, subject, .. } = &asked.body;
    let mut effect = asked.begin(execution).await?;
    let done = identities::unlinked(&mut effect, caller.tenant_id, caller.user_id, async |conn| {
        external::unlink_own(conn, caller, issuer, subject).await
    })
    .await;
    finish(effect, done).await
}
