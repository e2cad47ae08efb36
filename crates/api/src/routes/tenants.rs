//! `/tenants/{tenant_id}/config`: what a front end has to know before it shows anything.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use plimsoll_bus::audit::Entry;
use plimsoll_identity::Permission::{TenantConfigure, TenantRead};
use plimsoll_identity::settings::{self, SettingsError};
use plimsoll_types::api;
use serde_json::json;
use sqlx::PgConnection;

use super::paging::Segment;
use super::users::names;
use crate::gateway::Access::Needs;
use crate::gateway::{Caller, Declaration, Done, Keyed, Rate, RateLimits, Routes, WriteMethod, finish};
use crate::idempotency::{Answered, Execution, Reply};
use crate::limits::{BODY_MAX_BYTES, HEAD_MAX_BYTES, IDENTITY_PAGE_MAX};
use crate::openapi::{RecordProblems, WriteProblems};
use crate::problem::{Problem, ProblemKind};
use crate::query::{NoParameters, Query};
use crate::repo::RepoError;
use crate::state::{ApiOptions, ApiState};

const PATH: &str = "/tenants/{tenant_id}/config";

pub(super) fn routes() -> Routes<ApiState> {
    Routes::default()
        .read(Declaration::read(PATH, Needs(TenantRead)), show)
        .write(Declaration::with_optional_key(WriteMethod::Put, PATH, Needs(TenantConfigure)), put)
}

/// A tenant's configuration
///
/// Its theme, what the caller may do, what a request may cost, and how often one may ask. Another tenant's is not found.
#[utoipa::path(get, operation_id = "show_tenant_config", path = "/tenants/{tenant_id}/config", tag = "identity",
    params(("tenant_id" = uuid::Uuid, Path, description = "The caller's tenant")),
    responses((status = 200, description = "The configuration", body = api::TenantConfig), RecordProblems))]
pub(crate) async fn show(
    State(state): State<ApiState>,
    caller: Caller,
    tenant_id: Segment,
    _: Query<NoParameters>,
) -> Result<Json<api::TenantConfig>, Problem> {
    caller.require_in(tenant_id.id()?, TenantRead)?;
    let mut tx = state.db().tenant_tx(&[caller.tenant_id]).await.map_err(RepoError::from)?;
    Ok(Json(config(&mut tx, &state, &caller).await?))
}

/// Choose a tenant's configuration
///
/// The whole theme, in the place of the former.
#[utoipa::path(put, operation_id = "put_tenant_config", path = "/tenants/{tenant_id}/config", tag = "identity", request_body = api::NewTenantConfig,
    params(("tenant_id" = uuid::Uuid, Path, description = "The caller's tenant")),
    responses((status = 200, description = "The configuration", body = api::TenantConfig), WriteProblems))]
pub(crate) async fn put(
    execution: Execution,
    (State(state), tenant_id, asked): (State<ApiState>, Segment, Keyed<api::NewTenantConfig>),
) -> Result<Answered, Problem> {
    asked.caller.require_in(tenant_id.id()?, TenantConfigure)?;
    let mut effect = asked.begin(execution).await?;
    let done = put_in(&mut effect, &state, &asked).await;
    finish(effect, done).await
}

async fn put_in(
    conn: &mut PgConnection,
    state: &ApiState,
    asked: &Keyed<api::NewTenantConfig>,
) -> Result<Done, Problem> {
    let Keyed { body, caller } = asked;
    let before = settings::settings(conn, caller.tenant_id).await?;
    settings::put_theme(conn, caller.tenant_id, &body.theme).await?;
    let entry = Entry::new("identity.tenant.configure", "tenant", caller.tenant_id.to_string())
        .with_change(Some(json!({ "theme": before.theme })), Some(json!({ "theme": body.theme })));
    Ok((entry, Reply::json(StatusCode::OK, &config(conn, state, caller).await?)?))
}

async fn config(
    conn: &mut PgConnection,
    state: &ApiState,
    caller: &Caller,
) -> Result<api::TenantConfig, Problem> {
    let chosen = settings::settings(conn, caller.tenant_id).await?;
    Ok(api::TenantConfig {
        tenant_id: caller.tenant_id,
        name: chosen.name,
        theme: chosen.theme,
        permissions: names(caller.permissions),
        limits: limits(state.options()),
    })
}

/// As the process that answers was configured.
fn limits(options: &ApiOptions) -> api::TenantLimits {
    let RateLimits { address, sign_in, user, tenant } = options.rate_limits;
    let many = |count: usize| count as u64;
    api::TenantLimits {
        head_bytes: many(HEAD_MAX_BYTES),
        body_bytes: many(BODY_MAX_BYTES),
        body_timeout_ms: options.body_timeout_ms,
        request_timeout_ms: options.request_timeout_ms,
        write_timeout_ms: options.write_timeout_ms,
        page_rows: IDENTITY_PAGE_MAX,
        concurrent_requests: many(options.max_concurrent_requests),
        concurrent_costly_requests: many(options.max_costly_requests),
        concurrent_streams: many(options.streams.max.min(options.streams.max_per_tenant)),
        rates: api::RateLimits {
            address: rate(address),
            user: rate(user),
            tenant: rate(tenant),
            sign_in: rate(sign_in),
        },
    }
}

/// `None`: there is no limit.
fn rate(rate: Rate) -> Option<api::RateLimit> {
    let window_ms = rate.window().as_nanos().div_ceil(1_000_000);
    let window_ms = u64::try_from(window_ms).unwrap_or(u64::MAX);
    (!rate.interval.is_zero()).then_some(api::RateLimit { requests: rate.burst, window_ms })
}

impl From<SettingsError> for Problem {
    fn from(error: SettingsError) -> Self {
        match error {
            SettingsError::Db(error) => RepoError::from(error).into(),
            SettingsError::NoTenant(_) => Self::new(ProblemKind::NotFound, error.to_string()),
            SettingsError::Theme => Self::new(ProblemKind::InvalidBody, error.to_string()),
        }
    }
}
