//! `POST /auth/refresh`, `POST /auth/logout`, `GET /auth/session`.

use axum::Json;
use axum::extract::State;
use metrics::counter;
use plimsoll_bus::Keys;
use plimsoll_bus::audit::{self, Entry};
use plimsoll_identity::session::{self, RefreshRefusal, Refreshed, RevokeReason};
use plimsoll_identity::{Credential, directory, second_factor};
use plimsoll_types::api;
use secrecy::ExposeSecret;
use serde_json::json;

use super::{record, session_of, story, tokens};
use crate::gateway::{Caller, JsonBody};
use crate::openapi::{DataProblems, SignInProblems};
use crate::problem::{Problem, ProblemKind};
use crate::query::{NoParameters, Query};
use crate::repo::RepoError;
use crate::routes::users::{kind_model, names, status_model};
use crate::state::ApiState;

/// Stay signed in
///
/// The refresh token is used up, and another comes with the new access token. One that comes twice ends the session: if the answer is lost, sign in
/// again.
#[utoipa::path(post, operation_id = "refresh", path = "/auth/refresh", tag = "identity", request_body = api::Refresh,
    responses((status = 200, description = "The session's new tokens, this once", body = api::Tokens), SignInProblems))]
pub(crate) async fn refresh(
    State(state): State<ApiState>,
    JsonBody(asked): JsonBody<api::Refresh>,
) -> Result<Json<api::Tokens>, Problem> {
    let mut tx = state.db().begin_worker().await.map_err(RepoError::from)?;
    let refreshed =
        session::refresh(&mut tx, state.authenticator().tokens(), &asked.refresh_token.0.into()).await?;
    if let Refreshed::Refused(RefreshRefusal::Reused { tenant_id, session_id }) = refreshed {
        let entry = Entry::new("identity.session.revoke", "session", session_id.to_string())
            .with_change(None, Some(json!({ "revoke_reason": RevokeReason::RefreshReused.as_str() })))
            .demanding(Keys::Tenant)
            .in_context(story(tenant_id, None)?);
        audit::record(&mut tx, entry).await?;
    }
    tx.commit().await.map_err(RepoError::from)?;
    match refreshed {
        Refreshed::Issued(pair) => {
            counter!("refreshes_total", "outcome" => "accepted").increment(1);
            let access_token = pair.access_token.expose_secret();
            let user = state.authenticator().authenticate(access_token, None).await?;
            let mut tx = state.db().begin_worker().await.map_err(RepoError::from)?;
            let is_enrolled = second_factor::is_enrolled(&mut tx, user.tenant_id, user.user_id)
                .await
                .map_err(RepoError::from)?;
            Ok(Json(tokens(&pair, is_enrolled && !user.second_factor)))
        }
        Refreshed::Refused(refusal) => {
            if let RefreshRefusal::Reused { session_id, .. } = refusal {
                state.authenticator().forget_session(session_id);
            }
            let problem = Problem::from(refusal);
            counter!("refreshes_total", "outcome" => problem.kind.slug()).increment(1);
            Err(problem)
        }
    }
}

impl From<RefreshRefusal> for Problem {
    fn from(refusal: RefreshRefusal) -> Self {
        let kind = match refusal {
            RefreshRefusal::Unknown => ProblemKind::WrongCredentials,
            RefreshRefusal::Reused { .. } | RefreshRefusal::Expired | RefreshRefusal::Revoked => {
                ProblemKind::SessionOver
            }
            RefreshRefusal::Suspended => ProblemKind::Suspended,
        };
        Self::new(kind, refusal.to_string())
    }
}

/// Sign out
///
/// This session, or all of the caller's.
#[utoipa::path(post, operation_id = "logout", path = "/auth/logout", tag = "identity", request_body = api::SignOut,
    responses((status = 200, description = "What ended", body = api::SignedOut), SignInProblems))]
pub(crate) async fn logout(
    State(state): State<ApiState>,
    caller: Caller,
    JsonBody(asked): JsonBody<api::SignOut>,
) -> Result<Json<api::SignedOut>, Problem> {
    let session_id = session_of(&caller)?;
    let mut tx = state.db().begin_worker().await.map_err(RepoError::from)?;
    let ended = if asked.all_sessions {
        session::revoke_all(&mut tx, caller.tenant_id, caller.user_id, RevokeReason::SignedOut).await?
    } else {
        let was_in_force =
            session::revoke(&mut tx, caller.tenant_id, session_id, RevokeReason::SignedOut).await?;
        was_in_force.then_some(session_id).into_iter().collect()
    };
    record(&mut tx, &caller, "identity.sign_out", ("session", session_id), json!({ "ended": ended })).await?;
    tx.commit().await.map_err(RepoError::from)?;
    for session_id in &ended {
        state.authenticator().forget_session(*session_id);
    }
    Ok(Json(api::SignedOut { ended_sessions: ended.len() as u64 }))
}

/// Who am I
///
/// And what may I do now.
#[utoipa::path(get, operation_id = "who_am_i", path = "/auth/session", tag = "identity",
    responses((status = 200, description = "The caller", body = api::WhoAmI), DataProblems))]
pub(crate) async fn who(
    State(state): State<ApiState>,
    caller: Caller,
    _: Query<NoParameters>,
) -> Result<Json<api::WhoAmI>, Problem> {
    let mut tx = state.db().begin_worker().await.map_err(RepoError::from)?;
    let user = directory::user(&mut tx, caller.tenant_id, caller.user_id).await?;
    let second_factor_enrolled = second_factor::is_enrolled(&mut tx, caller.tenant_id, caller.user_id)
        .await
        .map_err(RepoError::from)?;
    Ok(Json(api::WhoAmI {
        tenant_id: caller.tenant_id,
        user_id: caller.user_id,
        display_name: user.display_name,
        kind: kind_model(caller.kind),
        status: status_model(caller.status),
        actor: caller.actor(),
        session_id: match &caller.credential {
            Credential::Session(session_id) => Some(*session_id),
            Credential::ApiKey(_) => None,
        },
        permissions: names(caller.permissions),
        second_factor_given: caller.second_factor,
        second_factor_enrolled,
    }))
}
