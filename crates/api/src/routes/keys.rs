//! `/api/v1/api-keys`: keys of machines. A secret is shown once, in the answer that made it.

use std::time::Duration;

use alloy_primitives::B256;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use plimsoll_bus::audit::Entry;
use plimsoll_identity::Permission::{KeysRead, KeysWrite};
use plimsoll_identity::api_key::{self, ApiKeyError, ApiKeyInfo, IssuedApiKey, NewApiKey};
use plimsoll_identity::{Permission, listing};
use plimsoll_types::api;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

use super::paging::{All, ApiKeyKey, Listing, Paging, Segment};
use super::roles::permission;
use super::users::{names, within_own};
use crate::gateway::Access::Needs;
use crate::gateway::{Caller, Declaration, Done, Keyed, Routes, WriteMethod, finish};
use crate::idempotency::{Answered, Execution, Reply};
use crate::openapi::{ListProblems, WriteProblems};
use crate::problem::{Problem, ProblemKind};
use crate::query::{Query, shown};
use crate::repo::RepoError;
use crate::state::ApiState;

const DAY: Duration = Duration::from_secs(24 * 3600);

pub(super) fn routes() -> Routes<ApiState> {
    let post = |path| Declaration::with_optional_key(WriteMethod::Post, path, Needs(KeysWrite));
    Routes::default()
        .read(Declaration::read("/api/v1/api-keys", Needs(KeysRead)), list)
        .write(post("/api/v1/api-keys").with_secret_answers(), issue)
        .write(post("/api/v1/api-keys/{key_id}/rotate").with_secret_answers(), rotate)
        .write(post("/api/v1/api-keys/{key_id}/revoke"), revoke)
}

/// The tenant's API keys
///
/// By id, without their secrets, which nobody has but who was given them.
#[utoipa::path(get, operation_id = "list_api_keys", path = "/api/v1/api-keys", tag = "identity", params(Paging),
    responses((status = 200, description = "A page of keys", body = api::ApiKeys), ListProblems))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    Query(listing): Query<Listing<All>>,
) -> Result<Json<api::ApiKeys>, Problem> {
    let after = listing.after::<ApiKeyKey>()?.map(|key| key.0);
    let mut tx = state.db().tenant_tx(&[caller.tenant_id]).await.map_err(RepoError::from)?;
    let keys = listing::keys(&mut tx, caller.tenant_id, after.as_deref(), listing.rows()).await?;
    let (keys, next_cursor) = listing.page(keys, |key| ApiKeyKey(key.key_id.clone()));
    Ok(Json(api::ApiKeys { items: keys.iter().map(model).collect(), next_cursor }))
}

/// Issue an API key
///
/// The answer has the key, and is not kept: sent again, the request is answered with 410. A key can do no more than its holder, and nobody can
/// issue one that may do what they may not.
#[utoipa::path(post, operation_id = "issue_api_key", path = "/api/v1/api-keys", tag = "identity", request_body = api::NewApiKey,
    responses((status = 201, description = "The key, this once", body = api::IssuedApiKey), WriteProblems))]
pub(crate) async fn issue(execution: Execution, new: Keyed<api::NewApiKey>) -> Result<Answered, Problem> {
    let mut effect = new.begin(execution).await?;
    let done = issue_in(&mut effect, &new).await;
    finish(effect, done).await
}

async fn issue_in(conn: &mut PgConnection, new: &Keyed<api::NewApiKey>) -> Result<Done, Problem> {
    let Keyed { body, caller } = new;
    let scopes = body.scopes.iter().map(|name| permission(name)).collect::<Result<Vec<Permission>, _>>()?;
    let scopes = scopes.into_iter().collect();
    within_own(caller, scopes)?;
    let issued = api_key::issue(
        conn,
        &NewApiKey {
            tenant_id: caller.tenant_id,
            user_id: body.holder,
            label: &body.label,
            scopes,
            lifetime: DAY * u32::from(body.lifetime_days),
            certificate_hash: body.certificate_sha256.as_deref().map(certificate).transpose()?,
        },
    )
    .await?;
    let made = locked(conn, caller.tenant_id, &issued.key_id).await?;
    let entry =
        Entry::new("identity.key.issue", "api_key", &issued.key_id).with_change(None, Some(state_of(&made)));
    Ok((entry, Reply::json(StatusCode::CREATED, &shown_once(&issued))?))
}

/// Give an API key a new secret
///
/// The old one is good beside it for as long as you say. The answer has the new key, and is not kept.
#[utoipa::path(post, operation_id = "rotate_api_key", path = "/api/v1/api-keys/{key_id}/rotate", tag = "identity", request_body = api::Rotation,
    params(("key_id" = String, Path, description = "The key's id", example = "9f86d081884c7d65")),
    responses((status = 200, description = "The key with its new secret, this once", body = api::IssuedApiKey), WriteProblems))]
pub(crate) async fn rotate(
    execution: Execution,
    (State(state), key_id, asked): (State<ApiState>, Segment, Keyed<api::Rotation>),
) -> Result<Answered, Problem> {
    let mut effect = asked.begin(execution).await?;
    let done = rotate_in(&mut effect, &asked, &key_id.0).await;
    let answered = finish(effect, done).await?;
    state.authenticator().forget_key(&key_id.0);
    Ok(answered)
}

async fn rotate_in(
    conn: &mut PgConnection,
    asked: &Keyed<api::Rotation>,
    key_id: &str,
) -> Result<Done, Problem> {
    let tenant_id = asked.caller.tenant_id;
    let before = locked(conn, tenant_id, key_id).await?;
    // Whoever has the new secret has all that the key may do.
    within_own(&asked.caller, before.scopes)?;
    let grace = Duration::from_secs(asked.body.grace_seconds.into());
    let issued = api_key::rotate(conn, tenant_id, key_id, grace).await?;
    let after = json!({ "grace_seconds": asked.body.grace_seconds });
    let entry = Entry::new("identity.key.rotate", "api_key", key_id)
        .with_change(Some(state_of(&before)), Some(after));
    Ok((entry, Reply::json(StatusCode::OK, &shown_once(&issued))?))
}

/// Revoke an API key
///
/// It holds at once here, and within five seconds in every other process.
#[utoipa::path(post, operation_id = "revoke_api_key", path = "/api/v1/api-keys/{key_id}/revoke", tag = "identity", request_body = api::Plain,
    params(("key_id" = String, Path, description = "The key's id", example = "9f86d081884c7d65")),
    responses((status = 200, description = "The key", body = api::ApiKey), WriteProblems))]
pub(crate) async fn revoke(
    execution: Execution,
    (State(state), key_id, asked): (State<ApiState>, Segment, Keyed<api::Plain>),
) -> Result<Answered, Problem> {
    let mut effect = asked.begin(execution).await?;
    let done = revoke_in(&mut effect, &asked.caller, &key_id.0).await;
    let answered = finish(effect, done).await?;
    state.authenticator().forget_key(&key_id.0);
    Ok(answered)
}

async fn revoke_in(conn: &mut PgConnection, caller: &Caller, key_id: &str) -> Result<Done, Problem> {
    let before = locked(conn, caller.tenant_id, key_id).await?;
    api_key::revoke(conn, caller.tenant_id, key_id).await?;
    let after = locked(conn, caller.tenant_id, key_id).await?;
    let entry = Entry::new("identity.key.revoke", "api_key", key_id)
        .with_change(Some(state_of(&before)), Some(state_of(&after)));
    Ok((entry, Reply::json(StatusCode::OK, &model(&after))?))
}

async fn locked(conn: &mut PgConnection, tenant_id: Uuid, key_id: &str) -> Result<ApiKeyInfo, Problem> {
    let key = listing::lock_key(conn, tenant_id, key_id).await?;
    key.ok_or_else(|| {
        Problem::new(ProblemKind::NotFound, format!("the tenant has no key `{}`", shown(key_id)))
            .with_remedy("`/api/v1/api-keys` lists them")
    })
}

fn certificate(text: &str) -> Result<[u8; 32], Problem> {
    text.parse::<B256>().map(|hash| hash.0).map_err(|_| {
        let detail = "`certificate_sha256` is not a SHA-256: `0x` and 64 hexadecimal digits";
        Problem::new(ProblemKind::InvalidBody, detail)
    })
}

fn shown_once(issued: &IssuedApiKey) -> api::IssuedApiKey {
    api::IssuedApiKey {
        key_id: issued.key_id.clone(),
        key: api::Secret(issued.token.expose_secret().to_owned()),
        expires_at: issued.expires_at,
    }
}

fn state_of(key: &ApiKeyInfo) -> Value {
    json!({
        "user_id": key.user_id,
        "label": key.label,
        "scopes": names(key.scopes),
        "is_certificate_bound": key.is_certificate_bound,
        "is_revoked": key.revoked_at.is_some(),
    })
}

fn model(key: &ApiKeyInfo) -> api::ApiKey {
    api::ApiKey {
        key_id: key.key_id.clone(),
        user_id: key.user_id,
        label: key.label.clone(),
        scopes: names(key.scopes),
        is_certificate_bound: key.is_certificate_bound,
        created_at: key.created_at,
        expires_at: key.expires_at,
        last_used_at: key.last_used_at,
        revoked_at: key.revoked_at,
    }
}

impl From<ApiKeyError> for Problem {
    fn from(error: ApiKeyError) -> Self {
        let kind = match error {
            ApiKeyError::Db(error) => return RepoError::from(error).into(),
            ApiKeyError::NoUser(_) | ApiKeyError::NoKey(_) | ApiKeyError::ScopeBeyondUser(_) => {
                ProblemKind::Conflict
            }
            ApiKeyError::NoScope | ApiKeyError::Lifetime | ApiKeyError::Grace | ApiKeyError::Label => {
                ProblemKind::InvalidBody
            }
        };
        Self::new(kind, error.to_string())
    }
}
