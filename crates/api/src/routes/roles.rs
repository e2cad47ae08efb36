//! `/api/v1/roles`: what a tenant's roles allow.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use plimsoll_bus::audit::Entry;
use plimsoll_identity::Permission::{RolesRead, RolesWrite};
use plimsoll_identity::directory::{self, NewRole};
use plimsoll_identity::role::{self, Role, RoleError};
use plimsoll_identity::{Permission, ReadPermission};
use plimsoll_types::api;
use serde_json::{Value, json};
use sqlx::PgConnection;

use super::paging::{All, Listing, Paging, RoleKey, Segment};
use super::users::{names, within_own};
use crate::gateway::Access::Needs;
use crate::gateway::{Caller, Declaration, Done, Keyed, Routes, WriteMethod, finish};
use crate::idempotency::{Answered, Execution, Reply};
use crate::openapi::{ListProblems, WriteProblems};
use crate::problem::{Problem, ProblemKind};
use crate::query::{Query, shown};
use crate::repo::RepoError;
use crate::state::ApiState;

pub(super) fn routes() -> Routes<ApiState> {
    let post = |path| Declaration::with_optional_key(WriteMethod::Post, path, Needs(RolesWrite));
    Routes::default()
        .read(Declaration::read("/api/v1/roles", Needs(RolesRead)), list)
        .write(post("/api/v1/roles"), create)
        .write(post("/api/v1/roles/{role}/permissions"), grant)
        .write(post("/api/v1/roles/{role}/permissions/remove"), revoke)
}

/// The tenant's roles
///
/// By name, each with what it allows.
#[utoipa::path(get, operation_id = "list_roles", path = "/api/v1/roles", tag = "identity", params(Paging),
    responses((status = 200, description = "A page of roles", body = api::TenantRoles), ListProblems))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    Query(listing): Query<Listing<All>>,
) -> Result<Json<api::TenantRoles>, Problem> {
    let after = listing.after::<RoleKey>()?;
    let mut tx = state.db().tenant_tx(&[caller.tenant_id]).await.map_err(RepoError::from)?;
    // A tenant has few roles, and counting their holders reads all of them anyway.
    let mut roles = role::all(&mut tx, caller.tenant_id).await?;
    if let Some(RoleKey(after)) = after {
        roles.retain(|role| role.name > after);
    }
    let (roles, next_cursor) = listing.page(roles, |role| RoleKey(role.name.clone()));
    Ok(Json(api::TenantRoles { items: roles.iter().map(model).collect(), next_cursor }))
}

/// Make a role
///
/// Nobody can give it what they may not do themselves. One for agents holds no write.
#[utoipa::path(post, operation_id = "create_role", path = "/api/v1/roles", tag = "identity", request_body = api::NewRole,
    responses((status = 201, description = "The role", body = api::TenantRole), WriteProblems))]
pub(crate) async fn create(execution: Execution, new: Keyed<api::NewRole>) -> Result<Answered, Problem> {
    let mut effect = new.begin(execution).await?;
    let done = create_in(&mut effect, &new).await;
    finish(effect, done).await
}

async fn create_in(conn: &mut PgConnection, new: &Keyed<api::NewRole>) -> Result<Done, Problem> {
    let Keyed { body, caller } = new;
    let permissions = body.permissions.iter().map(|name| permission(name)).collect::<Result<Vec<_>, _>>()?;
    within_own(caller, permissions.iter().copied().collect())?;
    let reads: Result<Vec<ReadPermission>, Permission> =
        permissions.iter().copied().map(ReadPermission::try_from).collect();
    let wanted = match (body.is_agent, &reads) {
        (false, _) => NewRole::Ordinary(&permissions),
        (true, Ok(reads)) => NewRole::Agent(reads),
        (true, Err(permission)) => {
            let role = body.name.clone();
            return Err(RoleError::AgentsRole { role, permission: *permission }.into());
        }
    };
    directory::create_role(conn, caller.tenant_id, &body.name, wanted).await?;
    let made = role::role(conn, caller.tenant_id, &body.name).await?;
    let entry =
        Entry::new("identity.role.create", "role", &made.name).with_change(None, Some(state_of(&made)));
    Ok((entry, Reply::json(StatusCode::CREATED, &model(&made))?))
}

/// Let a role allow one thing more
///
/// Not a built-in role: these are the same in every tenant.
#[utoipa::path(post, operation_id = "grant_permission", path = "/api/v1/roles/{role}/permissions", tag = "identity", request_body = api::PermissionChange,
    params(("role" = String, Path, description = "The role's name")),
    responses((status = 200, description = "The role", body = api::TenantRole), WriteProblems))]
pub(crate) async fn grant(
    execution: Execution,
    asked: (State<ApiState>, Segment, Keyed<api::PermissionChange>),
) -> Result<Answered, Problem> {
    change(execution, asked, true).await
}

/// Let a role allow one thing less
#[utoipa::path(post, operation_id = "revoke_permission", path = "/api/v1/roles/{role}/permissions/remove", tag = "identity", request_body = api::PermissionChange,
    params(("role" = String, Path, description = "The role's name")),
    responses((status = 200, description = "The role", body = api::TenantRole), WriteProblems))]
pub(crate) async fn revoke(
    execution: Execution,
    asked: (State<ApiState>, Segment, Keyed<api::PermissionChange>),
) -> Result<Answered, Problem> {
    change(execution, asked, false).await
}

/// This process sees at once what came of it.
async fn change(
    execution: Execution,
    (State(state), name, asked): (State<ApiState>, Segment, Keyed<api::PermissionChange>),
    is_grant: bool,
) -> Result<Answered, Problem> {
    let permission = permission(&asked.body.permission)?;
    if is_grant {
        within_own(&asked.caller, [permission].into_iter().collect())?;
    }
    let mut effect = asked.begin(execution).await?;
    let done = changed(&mut effect, &asked.caller, &name.0, permission, is_grant).await;
    let answered = finish(effect, done).await?;
    state.authenticator().forget_tenant(asked.caller.tenant_id);
    Ok(answered)
}

async fn changed(
    conn: &mut PgConnection,
    caller: &Caller,
    name: &str,
    permission: Permission,
    is_grant: bool,
) -> Result<Done, Problem> {
    let tenant_id = caller.tenant_id;
    let before = role::role(conn, tenant_id, name).await?;
    let action = if is_grant {
        role::grant(conn, tenant_id, name, permission).await?;
        "identity.role.grant"
    } else {
        role::revoke(conn, tenant_id, name, permission).await?;
        "identity.role.revoke"
    };
    let after = role::role(conn, tenant_id, name).await?;
    let entry = Entry::new(action, "role", name).with_change(Some(state_of(&before)), Some(state_of(&after)));
    Ok((entry, Reply::json(StatusCode::OK, &model(&after))?))
}

/// The permission of a name that came from outside.
pub(super) fn permission(name: &str) -> Result<Permission, Problem> {
    Permission::from_name(name).ok_or_else(|| {
        Problem::new(ProblemKind::InvalidBody, format!("there is no permission `{}`", shown(name)))
            .with_remedy("`/api/v1/roles` lists the roles with their permissions; `admin` has all of them")
    })
}

fn state_of(role: &Role) -> Value {
    json!({ "is_agent": role.is_agent, "permissions": names(role.permissions) })
}

fn model(role: &Role) -> api::TenantRole {
    api::TenantRole {
        name: role.name.clone(),
        is_agent: role.is_agent,
        is_builtin: role.is_builtin,
        permissions: names(role.permissions),
        holders: role.holders.unsigned_abs(),
        created_at: role.created_at,
    }
}

impl From<RoleError> for Problem {
    fn from(error: RoleError) -> Self {
        let kind = match error {
            RoleError::Db(error) => return RepoError::from(error).into(),
            RoleError::NoRole(_) => ProblemKind::NotFound,
            RoleError::Builtin(_) | RoleError::AgentsRole { .. } => ProblemKind::Conflict,
        };
        Self::new(kind, error.to_string())
    }
}
