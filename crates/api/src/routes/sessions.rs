//! `/api/v1/sessions`: who is signed in, as an administrator looks at it. One's own sessions are ended at `/auth/logout`.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use plimsoll_bus::audit::Entry;
use plimsoll_identity::Permission::{UsersRead, UsersWrite};
use plimsoll_identity::listing::{self, SessionInfo};
use plimsoll_identity::session::{self, RevokeReason, SessionError};
use plimsoll_types::api;
use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

use super::paging::{Filter, Listing, Paging, Segment, SessionKey};
use crate::cursor::Fingerprint;
use crate::gateway::Access::Needs;
use crate::gateway::{Caller, Declaration, Done, Keyed, Routes, WriteMethod, finish};
use crate::idempotency::{Answered, Execution, Reply};
use crate::openapi::{ListProblems, WriteProblems};
use crate::problem::{Problem, ProblemKind};
use crate::query::{Fields, Query, yes_or_no};
use crate::repo::RepoError;
use crate::state::ApiState;

pub(super) fn routes() -> Routes<ApiState> {
    let revoking = Declaration::with_optional_key(
        WriteMethod::Post,
        "/api/v1/sessions/{session_id}/revoke",
        Needs(UsersWrite),
    );
    Routes::default()
        .read(Declaration::read("/api/v1/sessions", Needs(UsersRead)), list)
        .write(revoking, revoke)
}

/// Which sessions.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct SessionFilter {
    /// Those of this user alone.
    user_id: Option<Uuid>,
    /// Those that are over, too.
    #[param(value_type = Option<bool>, default = false)]
    with_those_over: bool,
}

impl Filter for SessionFilter {
    const KNOWN: &'static [&'static str] = &["user_id", "with_those_over", "limit", "cursor"];

    fn read(fields: &mut Fields) -> Self {
        Self {
            user_id: fields.take("user_id", str::parse::<Uuid>),
            with_those_over: fields.take("with_those_over", yes_or_no).unwrap_or(false),
        }
    }

    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&[self.user_id.map(|id| id.to_string()), Some(self.with_those_over.to_string())])
    }
}

/// The tenant's sessions
///
/// By id, which is by age; those in force, unless those that are over are asked for too.
#[utoipa::path(get, operation_id = "list_sessions", path = "/api/v1/sessions", tag = "identity", params(SessionFilter, Paging),
    responses((status = 200, description = "A page of sessions", body = api::Sessions), ListProblems))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    Query(listing): Query<Listing<SessionFilter>>,
) -> Result<Json<api::Sessions>, Problem> {
    let after = listing.after::<SessionKey>()?.map(|key| key.0);
    let SessionFilter { user_id, with_those_over } = listing.filter;
    let mut tx = state.db().tenant_tx(&[caller.tenant_id]).await.map_err(RepoError::from)?;
    let sessions =
        listing::sessions(&mut tx, caller.tenant_id, user_id, with_those_over, after, listing.rows()).await?;
    let (sessions, next_cursor) = listing.page(sessions, |session| SessionKey(session.session_id));
    let items = sessions.into_iter().map(model).collect::<Result<_, _>>()?;
    Ok(Json(api::Sessions { items, next_cursor }))
}

/// End a session
///
/// Its access token is not taken any more: here at once, and within five seconds in every other process.
#[utoipa::path(post, operation_id = "revoke_session", path = "/api/v1/sessions/{session_id}/revoke", tag = "identity", request_body = api::Plain,
    params(("session_id" = Uuid, Path, description = "The session's id")),
    responses((status = 200, description = "The session", body = api::Session), WriteProblems))]
pub(crate) async fn revoke(
    execution: Execution,
    (State(state), session_id, asked): (State<ApiState>, Segment, Keyed<api::Plain>),
) -> Result<Answered, Problem> {
    let session_id = session_id.id()?;
    let mut effect = asked.begin(execution).await?;
    let done = revoke_in(&mut effect, &asked.caller, session_id).await;
    let answered = finish(effect, done).await?;
    state.authenticator().forget_session(session_id);
    Ok(answered)
}

async fn revoke_in(conn: &mut PgConnection, caller: &Caller, session_id: Uuid) -> Result<Done, Problem> {
    let before = locked(conn, caller.tenant_id, session_id).await?;
    session::revoke(conn, caller.tenant_id, session_id, RevokeReason::Administrator).await?;
    let after = locked(conn, caller.tenant_id, session_id).await?;
    let entry = Entry::new("identity.session.revoke", "session", session_id.to_string())
        .with_change(Some(state_of(&before)), Some(state_of(&after)));
    Ok((entry, Reply::json(StatusCode::OK, &model(after)?)?))
}

async fn locked(conn: &mut PgConnection, tenant_id: Uuid, session_id: Uuid) -> Result<SessionInfo, Problem> {
    let session = listing::lock_session(conn, tenant_id, session_id).await?;
    session.ok_or_else(|| {
        Problem::new(ProblemKind::NotFound, format!("the tenant has no session {session_id}"))
            .with_remedy("`/api/v1/sessions` lists them")
    })
}

fn state_of(session: &SessionInfo) -> Value {
    json!({ "user_id": session.user_id, "method": session.method, "revoke_reason": session.revoke_reason })
}

fn model(session: SessionInfo) -> Result<api::Session, Problem> {
    Ok(api::Session {
        session_id: session.session_id,
        user_id: session.user_id,
        method: serde_json::from_value(Value::String(session.method))?,
        created_at: session.created_at,
        expires_at: session.expires_at,
        second_factor_at: session.second_factor_at,
        revoked_at: session.revoked_at,
        revoke_reason: session.revoke_reason,
    })
}

impl From<SessionError> for Problem {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Db(error) => RepoError::from(error).into(),
            SessionError::Signing(error) => {
                tracing::error!(%error, "an access token could not be signed");
                Self::new(ProblemKind::Internal, "the access token could not be signed")
            }
        }
    }
}
