//! `/api/v1/users`: the tenant's people, machines and agents, their addresses and their roles; and below them by what they are known.

pub(crate) mod identities;
pub(crate) mod second_factors;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use plimsoll_bus::audit::Entry;
use plimsoll_identity::Permission::{RolesWrite, UsersRead, UsersWrite};
use plimsoll_identity::directory::{self, DirectoryError};
use plimsoll_identity::session::{self, RevokeReason};
use plimsoll_identity::{PermissionSet, Principal, UserKind, UserStatus, listing, role};
use plimsoll_types::{Address, address_text, api, parse_address};
use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

use super::paging::{Filter, Listing, Paging, Segment, UserKey};
use crate::cursor::Fingerprint;
use crate::gateway::Access::Needs;
use crate::gateway::{Caller, Declaration, Done, Keyed, Routes, WriteMethod, finish};
use crate::idempotency::{Answered, Execution, Reply};
use crate::openapi::{ListProblems, RecordProblems, WriteProblems};
use crate::problem::{Problem, ProblemKind};
use crate::query::{Fields, NoParameters, Query, shown};
use crate::repo::RepoError;
use crate::state::ApiState;

pub(super) fn routes() -> Routes<ApiState> {
    let post = |path, permission| Declaration::with_optional_key(WriteMethod::Post, path, Needs(permission));
    Routes::default()
        .read(Declaration::read("/api/v1/users", Needs(UsersRead)), list)
        .write(post("/api/v1/users", UsersWrite), create)
        .read(Declaration::read("/api/v1/users/{user_id}", Needs(UsersRead)), show)
        .write(post("/api/v1/users/{user_id}/suspend", UsersWrite), suspend)
        .write(post("/api/v1/users/{user_id}/activate", UsersWrite), activate)
        .write(post("/api/v1/users/{user_id}/addresses", UsersWrite), link)
        .write(post("/api/v1/users/{user_id}/addresses/remove", UsersWrite), unlink)
        .write(post("/api/v1/users/{user_id}/roles", RolesWrite), assign)
        .write(post("/api/v1/users/{user_id}/roles/remove", RolesWrite), withdraw)
        .merge(second_factors::routes())
        .merge(identities::routes())
}

/// Which users.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct UserFilter {
    /// Those with this status alone.
    #[param(value_type = Option<api::UserStatus>)]
    status: Option<UserStatus>,
}

impl Filter for UserFilter {
    const KNOWN: &'static [&'static str] = &["status", "limit", "cursor"];

    fn read(fields: &mut Fields) -> Self {
        Self { status: fields.take("status", status_named) }
    }

    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&[self.status.map(|status| status.as_str().to_owned())])
    }
}

fn status_named(text: &str) -> Result<UserStatus, String> {
    [UserStatus::Active, UserStatus::Suspended, UserStatus::PendingReview]
        .into_iter()
        .find(|status| status.as_str() == text)
        .ok_or_else(|| format!("`{}` is not active, suspended or pending_review", shown(text)))
}

/// The tenant's users
///
/// By id, which is by age.
#[utoipa::path(get, operation_id = "list_users", path = "/api/v1/users", tag = "identity", params(UserFilter, Paging),
    responses((status = 200, description = "A page of users", body = api::Users), ListProblems))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    Query(listing): Query<Listing<UserFilter>>,
) -> Result<Json<api::Users>, Problem> {
    let after = listing.after::<UserKey>()?.map(|key| key.0);
    let mut tx = state.db().tenant_tx(&[caller.tenant_id]).await.map_err(RepoError::from)?;
    let users =
        listing::users(&mut tx, caller.tenant_id, listing.filter.status, after, listing.rows()).await?;
    let (users, next_cursor) = listing.page(users, |user| UserKey(user.user_id));
    Ok(Json(api::Users { items: users.iter().map(model).collect(), next_cursor }))
}

/// A user
///
/// With addresses, roles, and all that these allow together.
#[utoipa::path(get, operation_id = "show_user", path = "/api/v1/users/{user_id}", tag = "identity",
    params(("user_id" = Uuid, Path, description = "The user's id")),
    responses((status = 200, description = "The user", body = api::UserDetail), RecordProblems))]
pub(crate) async fn show(
    State(state): State<ApiState>,
    caller: Caller,
    user_id: Segment,
    _: Query<NoParameters>,
) -> Result<Json<api::UserDetail>, Problem> {
    let mut tx = state.db().tenant_tx(&[caller.tenant_id]).await.map_err(RepoError::from)?;
    Ok(Json(detail(&mut tx, caller.tenant_id, user_id.id()?).await?))
}

/// Make a user
///
/// With roles, if any are given: nobody can give a role that allows what they may not do themselves.
#[utoipa::path(post, operation_id = "create_user", path = "/api/v1/users", tag = "identity", request_body = api::NewUser,
    responses((status = 201, description = "The user", body = api::UserDetail), WriteProblems))]
pub(crate) async fn create(execution: Execution, new: Keyed<api::NewUser>) -> Result<Answered, Problem> {
    let mut effect = new.begin(execution).await?;
    let done = create_in(&mut effect, &new).await;
    finish(effect, done).await
}

async fn create_in(conn: &mut PgConnection, new: &Keyed<api::NewUser>) -> Result<Done, Problem> {
    let Keyed { body, caller } = new;
    if !body.roles.is_empty() {
        caller.require(RolesWrite)?;
    }
    let kind = match body.kind {
        api::UserKind::Person => UserKind::Person,
        api::UserKind::Machine => UserKind::Machine,
        api::UserKind::Agent => UserKind::Agent,
    };
    let status = if body.pending_review { UserStatus::PendingReview } else { UserStatus::Active };
    let user = directory::create_user(conn, caller.tenant_id, kind, status, &body.display_name).await?;
    for name in &body.roles {
        give(conn, caller, user.user_id, name).await?;
    }
    let made = detail(conn, caller.tenant_id, user.user_id).await?;
    let entry = Entry::new("identity.user.create", "user", user.user_id.to_string())
        .with_change(None, Some(state_of(&made)?));
    Ok((entry, Reply::json(StatusCode::CREATED, &made)?))
}

/// Suspend a user
///
/// Ends all sessions; keys are not taken any more. It holds within five seconds everywhere.
#[utoipa::path(post, operation_id = "suspend_user", path = "/api/v1/users/{user_id}/suspend", tag = "identity", request_body = api::Plain,
    params(("user_id" = Uuid, Path, description = "The user's id")),
    responses((status = 200, description = "The user", body = api::UserDetail), WriteProblems))]
pub(crate) async fn suspend(execution: Execution, asked: Asked<api::Plain>) -> Result<Answered, Problem> {
    let by = asked.2.caller.user_id;
    change(execution, asked, "identity.user.suspend", async |conn, Target { tenant_id, user_id }| {
        if user_id == by {
            return Err(Problem::new(ProblemKind::Conflict, "nobody suspends themselves")
                .with_remedy("another administrator can"));
        }
        directory::set_status(conn, tenant_id, user_id, UserStatus::Suspended).await?;
        session::revoke_all(conn, tenant_id, user_id, RevokeReason::Suspended).await?;
        Ok(())
    })
    .await
}

/// Activate a user
///
/// One that is suspended, or under review.
#[utoipa::path(post, operation_id = "activate_user", path = "/api/v1/users/{user_id}/activate", tag = "identity", request_body = api::Plain,
    params(("user_id" = Uuid, Path, description = "The user's id")),
    responses((status = 200, description = "The user", body = api::UserDetail), WriteProblems))]
pub(crate) async fn activate(execution: Execution, asked: Asked<api::Plain>) -> Result<Answered, Problem> {
    change(execution, asked, "identity.user.activate", async |conn, Target { tenant_id, user_id }| {
        Ok(directory::set_status(conn, tenant_id, user_id, UserStatus::Active).await?)
    })
    .await
}

/// Give a user an address
///
/// On this chain the address then belongs to nobody else of the tenant, and signs the user in.
#[utoipa::path(post, operation_id = "link_address", path = "/api/v1/users/{user_id}/addresses", tag = "identity", request_body = api::AddressChange,
    params(("user_id" = Uuid, Path, description = "The user's id")),
    responses((status = 200, description = "The user", body = api::UserDetail), WriteProblems))]
pub(crate) async fn link(
    execution: Execution,
    asked: Asked<api::AddressChange>,
) -> Result<Answered, Problem> {
    let (chain_id, address) = (asked.2.body.chain_id, address(&asked.2.body.address)?);
    change(execution, asked, "identity.address.link", async |conn, Target { tenant_id, user_id }| {
        Ok(directory::link_address(conn, tenant_id, user_id, chain_id, address).await?)
    })
    .await
}

/// Take an address from a user
#[utoipa::path(post, operation_id = "unlink_address", path = "/api/v1/users/{user_id}/addresses/remove", tag = "identity", request_body = api::AddressChange,
    params(("user_id" = Uuid, Path, description = "The user's id")),
    responses((status = 200, description = "The user", body = api::UserDetail), WriteProblems))]
pub(crate) async fn unlink(
    execution: Execution,
    asked: Asked<api::AddressChange>,
) -> Result<Answered, Problem> {
    let (chain_id, address) = (asked.2.body.chain_id, address(&asked.2.body.address)?);
    change(execution, asked, "identity.address.unlink", async |conn, Target { tenant_id, user_id }| {
        if directory::remove_address(conn, tenant_id, user_id, chain_id, address).await? {
            return Ok(());
        }
        let detail = format!("the user has no address {} on chain {chain_id}", address_text(&address));
        Err(Problem::new(ProblemKind::Conflict, detail))
    })
    .await
}

/// Give a user a role
///
/// Nobody can give a role that allows what they may not do themselves, and no agent can have one that writes.
#[utoipa::path(post, operation_id = "assign_role", path = "/api/v1/users/{user_id}/roles", tag = "identity", request_body = api::RoleChange,
    params(("user_id" = Uuid, Path, description = "The user's id")),
    responses((status = 200, description = "The user", body = api::UserDetail), WriteProblems))]
pub(crate) async fn assign(execution: Execution, asked: Asked<api::RoleChange>) -> Result<Answered, Problem> {
    let (caller, role) = (asked.2.caller.clone(), asked.2.body.role.clone());
    change(execution, asked, "identity.role.assign", async |conn, target| {
        give(conn, &caller, target.user_id, &role).await
    })
    .await
}

/// Take a role from a user
#[utoipa::path(post, operation_id = "withdraw_role", path = "/api/v1/users/{user_id}/roles/remove", tag = "identity", request_body = api::RoleChange,
    params(("user_id" = Uuid, Path, description = "The user's id")),
    responses((status = 200, description = "The user", body = api::UserDetail), WriteProblems))]
pub(crate) async fn withdraw(
    execution: Execution,
    asked: Asked<api::RoleChange>,
) -> Result<Answered, Problem> {
    let role = asked.2.body.role.clone();
    change(execution, asked, "identity.role.unassign", async |conn, Target { tenant_id, user_id }| {
        if directory::withdraw_role(conn, tenant_id, user_id, &role).await? {
            return Ok(());
        }
        Err(Problem::new(
            ProblemKind::Conflict,
            format!("the user does not have the role `{}`", shown(&role)),
        ))
    })
    .await
}

/// What a change of one user is told: the user's id, and the body.
type Asked<T> = (State<ApiState>, Segment, Keyed<T>);

/// Whom a change is about.
#[derive(Clone, Copy)]
struct Target {
    tenant_id: Uuid,
    user_id: Uuid,
}

/// A change of one user, whose row is locked meanwhile: of two the second's `before` is the first's `after`. This process sees at once what came of it.
async fn change<T: api::Keyed>(
    execution: Execution,
    (State(state), user_id, asked): Asked<T>,
    action: &str,
    change: impl AsyncFnOnce(&mut PgConnection, Target) -> Result<(), Problem>,
) -> Result<Answered, Problem> {
    let target = Target { tenant_id: asked.caller.tenant_id, user_id: user_id.id()? };
    let mut effect = asked.begin(execution).await?;
    let done = changed(&mut effect, action, target, change).await;
    let answered = finish(effect, done).await?;
    state.authenticator().forget_user(target.tenant_id, target.user_id);
    Ok(answered)
}

async fn changed(
    conn: &mut PgConnection,
    action: &str,
    target: Target,
    change: impl AsyncFnOnce(&mut PgConnection, Target) -> Result<(), Problem>,
) -> Result<Done, Problem> {
    let Target { tenant_id, user_id } = target;
    listing::lock_user(conn, tenant_id, user_id).await?;
    let before = detail(conn, tenant_id, user_id).await?;
    change(conn, target).await?;
    let after = detail(conn, tenant_id, user_id).await?;
    let entry = Entry::new(action, "user", user_id.to_string())
        .with_change(Some(state_of(&before)?), Some(state_of(&after)?));
    Ok((entry, Reply::json(StatusCode::OK, &after)?))
}

async fn give(conn: &mut PgConnection, caller: &Caller, user_id: Uuid, name: &str) -> Result<(), Problem> {
    let given = role::role(conn, caller.tenant_id, name).await?;
    within_own(caller, given.permissions)?;
    Ok(directory::assign_role(conn, caller.tenant_id, user_id, name).await?)
}

/// Nobody gives what they do not have: else whoever may give roles or issue keys would have everything.
pub(super) fn within_own(caller: &Principal, given: PermissionSet) -> Result<(), Problem> {
    match given.iter().find(|permission| !caller.permissions.contains(*permission)) {
        None => Ok(()),
        Some(beyond) => {
            Err(Problem::new(ProblemKind::Forbidden, format!("the caller does not have {beyond} to give"))
                .with_remedy("ask an administrator of the tenant, who has everything, to give it"))
        }
    }
}

async fn detail(conn: &mut PgConnection, tenant_id: Uuid, user_id: Uuid) -> Result<api::UserDetail, Problem> {
    let user = directory::user(conn, tenant_id, user_id).await?;
    let addresses = directory::addresses(conn, tenant_id, user_id).await?;
    let permissions = directory::permissions_of(conn, tenant_id, user_id).await?;
    Ok(api::UserDetail {
        user: model(&user),
        addresses: addresses
            .iter()
            .map(|linked| api::LinkedAddress {
                chain_id: linked.chain_id,
                address: address_text(&linked.address),
                linked_at: linked.linked_at,
            })
            .collect(),
        roles: directory::roles_of(conn, tenant_id, user_id).await?,
        permissions: names(permissions),
    })
}

/// As the audit has it: without what follows from the rest.
fn state_of(user: &api::UserDetail) -> Result<Value, Problem> {
    Ok(json!({
        "kind": user.user.kind,
        "status": user.user.status,
        "display_name": user.user.display_name,
        "addresses": serde_json::to_value(&user.addresses)?,
        "roles": user.roles,
    }))
}

fn address(text: &str) -> Result<Address, Problem> {
    parse_address(text).map_err(|error| {
        Problem::new(ProblemKind::InvalidBody, format!("`address`: {}", shown(&error.to_string())))
    })
}

pub(super) fn names(permissions: PermissionSet) -> Vec<String> {
    permissions.iter().map(|permission| permission.name().to_owned()).collect()
}

fn model(user: &directory::User) -> api::User {
    api::User {
        user_id: user.user_id,
        kind: kind_model(user.kind),
        status: status_model(user.status),
        display_name: user.display_name.clone(),
        created_at: user.created_at,
    }
}

pub(super) fn kind_model(kind: UserKind) -> api::UserKind {
    match kind {
        UserKind::Person => api::UserKind::Person,
        UserKind::Machine => api::UserKind::Machine,
        UserKind::Agent => api::UserKind::Agent,
    }
}

pub(super) fn status_model(status: UserStatus) -> api::UserStatus {
    match status {
        UserStatus::Active => api::UserStatus::Active,
        UserStatus::Suspended => api::UserStatus::Suspended,
        UserStatus::PendingReview => api::UserStatus::PendingReview,
    }
}

impl From<DirectoryError> for Problem {
    fn from(error: DirectoryError) -> Self {
        let kind = match error {
            DirectoryError::Db(error) => return RepoError::from(error).into(),
            DirectoryError::NoUser(_) => ProblemKind::NotFound,
            DirectoryError::RoleName(_) | DirectoryError::DisplayName | DirectoryError::ChainId(_) => {
                ProblemKind::InvalidBody
            }
            DirectoryError::NoRole(_)
            | DirectoryError::RoleExists(_)
            | DirectoryError::AgentsRole(_)
            | DirectoryError::AddressTaken { .. } => ProblemKind::Conflict,
        };
        Self::new(kind, error.to_string())
    }
}
