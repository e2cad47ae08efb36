//! `/api/v1/users/{user_id}/identities`: who users are at OpenID Connect providers. One's own are at `/auth/identities`.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use plimsoll_bus::audit::Entry;
use plimsoll_identity::Permission::{UsersRead, UsersWrite};
use plimsoll_identity::external::{self, ExternalError, ExternalIdentity};
use plimsoll_identity::oidc::Provider;
use plimsoll_identity::{directory, listing};
use plimsoll_types::api;
use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::gateway::Access::Needs;
use crate::gateway::{Caller, Declaration, Done, Keyed, Routes, WriteMethod, finish};
use crate::idempotency::{Answered, Execution, Reply};
use crate::openapi::{RecordProblems, WriteProblems};
use crate::problem::{Problem, ProblemKind};
use crate::query::{NoParameters, Query, shown};
use crate::repo::RepoError;
use crate::routes::paging::Segment;
use crate::state::ApiState;

pub(super) fn routes() -> Routes<ApiState> {
    const PATH: &str = "/api/v1/users/{user_id}/identities";
    const REMOVE: &str = "/api/v1/users/{user_id}/identities/remove";
    let post = |path| Declaration::with_optional_key(WriteMethod::Post, path, Needs(UsersWrite));
    Routes::default()
        .read(Declaration::read(PATH, Needs(UsersRead)), list)
        .write(post(PATH), link)
        .write(post(REMOVE), unlink)
}

/// Who a user is at providers
#[utoipa::path(get, operation_id = "list_identities", path = "/api/v1/users/{user_id}/identities", tag = "identity",
    params(("user_id" = Uuid, Path, description = "The user's id")),
    responses((status = 200, description = "The identities", body = api::ExternalIdentities), RecordProblems))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    user_id: Segment,
    _: Query<NoParameters>,
) -> Result<Json<api::ExternalIdentities>, Problem> {
    let (tenant_id, user_id) = (caller.tenant_id, user_id.id()?);
    let mut tx = state.db().tenant_tx(&[tenant_id]).await.map_err(RepoError::from)?;
    directory::user(&mut tx, tenant_id, user_id).await?;
    Ok(Json(model(external::list(&mut tx, tenant_id, user_id).await?)))
}

/// Link a subject of a provider to a user
///
/// Who is this subject at the provider then signs in as this user. For those who have no other way in yet: who has one links it themselves, at `/auth/oidc/{provider}/link`.
#[utoipa::path(post, operation_id = "link_identity", path = "/api/v1/users/{user_id}/identities", tag = "identity", request_body = api::IdentityChange,
    params(("user_id" = Uuid, Path, description = "The user's id")),
    responses((status = 200, description = "All that the user is at providers", body = api::ExternalIdentities), WriteProblems))]
pub(crate) async fn link(
    execution: Execution,
    (State(state), user_id, asked): (State<ApiState>, Segment, Keyed<api::IdentityChange>),
) -> Result<Answered, Problem> {
    let (user_id, tenant_id) = (user_id.id()?, asked.caller.tenant_id);
    let api::IdentityChange { issuer, subject, .. } = &asked.body;
    let mut effect = asked.begin(execution).await?;
    let done = changed(&mut effect, "identity.external.link", tenant_id, user_id, async |conn| {
        if !is_configured(&state, tenant_id, issuer) {
            let detail = format!("no provider of this tenant has the issuer `{}`", shown(issuer));
            return Err(Problem::new(ProblemKind::Conflict, detail).with_remedy(
                "give the issuer of a provider that is configured here for the tenant, to the letter",
            ));
        }
        Ok(external::link(conn, tenant_id, user_id, issuer, subject).await?)
    })
    .await;
    finish(effect, done).await
}

/// Take a subject of a provider from a user
///
/// Also the last way in. The user's sessions go on: end them at `/api/v1/sessions`.
#[utoipa::path(post, operation_id = "unlink_identity", path = "/api/v1/users/{user_id}/identities/remove", tag = "identity", request_body = api::IdentityChange,
    params(("user_id" = Uuid, Path, description = "The user's id")),
    responses((status = 200, description = "All that the user is at providers", body = api::ExternalIdentities), WriteProblems))]
pub(crate) async fn unlink(
    execution: Execution,
    (user_id, asked): (Segment, Keyed<api::IdentityChange>),
) -> Result<Answered, Problem> {
    let (user_id, tenant_id) = (user_id.id()?, asked.caller.tenant_id);
    let api::IdentityChange { issuer, subject, .. } = &asked.body;
    let mut effect = asked.begin(execution).await?;
    let done = unlinked(&mut effect, tenant_id, user_id, async |conn| {
        external::unlink(conn, tenant_id, user_id, issuer, subject).await
    })
    .await;
    finish(effect, done).await
}

fn is_configured(state: &ApiState, tenant_id: Uuid, issuer: &str) -> bool {
    let mut providers = state.sign_in().providers.values().map(Provider::config);
    providers.any(|config| config.tenant_id == tenant_id && config.issuer == issuer)
}

/// An identity taken away, if the user had it.
pub(crate) async fn unlinked(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    user_id: Uuid,
    unlink: impl AsyncFnOnce(&mut PgConnection) -> Result<bool, ExternalError>,
) -> Result<Done, Problem> {
    changed(conn, "identity.external.unlink", tenant_id, user_id, async |conn| {
        if unlink(conn).await? {
            return Ok(());
        }
        Err(Problem::new(ProblemKind::Conflict, "the user is not known by this subject of this issuer"))
    })
    .await
}

/// A change of what a user is elsewhere, the user's row locked meanwhile, with what there was before and is after.
async fn changed(
    conn: &mut PgConnection,
    action: &str,
    tenant_id: Uuid,
    user_id: Uuid,
    change: impl AsyncFnOnce(&mut PgConnection) -> Result<(), Problem>,
) -> Result<Done, Problem> {
    listing::lock_user(conn, tenant_id, user_id).await?;
    let before = external::list(conn, tenant_id, user_id).await?;
    change(conn).await?;
    let after = external::list(conn, tenant_id, user_id).await?;
    let entry = Entry::new(action, "user", user_id.to_string())
        .with_change(Some(state_of(&before)), Some(state_of(&after)));
    Ok((entry, Reply::json(StatusCode::OK, &model(after))?))
}

/// As the audit has it.
pub(crate) fn state_of(identities: &[ExternalIdentity]) -> Value {
    let each = |known: &ExternalIdentity| json!({ "issuer": known.issuer, "subject": known.subject });
    json!({ "identities": identities.iter().map(each).collect::<Vec<_>>() })
}

pub(crate) fn model(identities: Vec<ExternalIdentity>) -> api::ExternalIdentities {
    let model = |known: ExternalIdentity| api::ExternalIdentity {
        issuer: known.issuer,
        subject: known.subject,
        linked_at: known.linked_at,
    };
    api::ExternalIdentities { items: identities.into_iter().map(model).collect() }
}

impl From<ExternalError> for Problem {
    fn from(error: ExternalError) -> Self {
        let kind = match error {
            ExternalError::Db(error) => return RepoError::from(error).into(),
            ExternalError::Directory(error) => return error.into(),
            ExternalError::Malformed => ProblemKind::InvalidBody,
            ExternalError::SecondFactor => ProblemKind::SecondFactorRequired,
            ExternalError::Taken { .. } | ExternalError::NoSession | ExternalError::OnlyWay => {
                ProblemKind::Conflict
            }
        };
        Self::new(kind, error.to_string())
    }
}
