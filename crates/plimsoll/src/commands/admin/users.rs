//! `plimsoll admin users`.

use plimsoll_identity::directory::{self, DirectoryError, User};
use plimsoll_identity::session::{self, RevokeReason};
use plimsoll_identity::tenant::Tenant;
use plimsoll_identity::{Permission, UserKind, UserStatus, listing, role};
use sqlx::PgConnection;
use uuid::Uuid;

use super::Admin;
use super::change::{As, Done};
use super::sheet::{Sheet, list, show};
use crate::cli::{Change, Final, Holder, Kind, Link, NewUser, OfUser, Status, Users};
use crate::failure::Failure;

const COLUMNS: &[&str] = &["user_id", "kind", "status", "name", "created_at"];

impl From<&User> for Sheet {
    fn from(user: &User) -> Self {
        Self::new()
            .with("user_id", user.user_id.to_string())
            .with("kind", user.kind.as_str())
            .with("status", user.status.as_str())
            .with("name", &*user.display_name)
            .at("created_at", user.created_at)
    }
}

impl From<Kind> for UserKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Person => Self::Person,
            Kind::Machine => Self::Machine,
            Kind::Agent => Self::Agent,
        }
    }
}

impl From<Status> for UserStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Active => Self::Active,
            Status::Suspended => Self::Suspended,
            Status::PendingReview => Self::PendingReview,
        }
    }
}

impl Admin<'_> {
    pub(super) async fn users(&self, asked: &Users) -> Result<(), Failure> {
        match asked {
            Users::List { whose, status, role: having, part, json } => {
                let tenant = self.tenant(whose).await?;
                let mut tx = self.db.tenant_tx(&[tenant.tenant_id]).await?;
                let found = match having {
                    Some(name) => {
                        role::role(&mut tx, tenant.tenant_id, name)
                            .await
                            .map_err(|error| super::roles::explained(error, &tenant))?;
                        role::holders(&mut tx, tenant.tenant_id, name, part.after, part.limit).await?
                    }
                    None => {
                        let status = status.map(UserStatus::from);
                        listing::users(&mut tx, tenant.tenant_id, status, part.after, part.limit).await?
                    }
                };
                let sheets: Vec<Sheet> = found.iter().map(Sheet::from).collect();
                list(&sheets, COLUMNS, "there is no such user", *json)
            }
            Users::Show(OfUser { whose, user, json }) => {
                let tenant = self.tenant(whose).await?;
                let mut tx = self.db.tenant_tx(&[tenant.tenant_id]).await?;
                let found = directory::user(&mut tx, tenant.tenant_id, *user)
                    .await
                    .map_err(|error| explained(error, &tenant))?;
                let may = directory::permissions_of(&mut tx, tenant.tenant_id, *user).await?;
                let may: Vec<&str> = may.iter().map(Permission::name).collect();
                show(&whole(&mut tx, &found).await?.with("permissions", may), *json)
            }
            Users::Create(new) => self.create_user(new).await,
            Users::Suspend { whose, user, change } => {
                self.suspend(&self.tenant(whose).await?, *user, change).await
            }
            Users::Activate { whose, user, change } => {
                self.activate(&self.tenant(whose).await?, *user, change).await
            }
            Users::Link(asked) => self.link(asked).await,
            Users::Unlink(asked) => self.unlink(asked).await,
            Users::Assign(asked) => self.assign(asked).await,
            Users::Unassign(asked) => self.unassign(asked).await,
            Users::Factors(asked) => self.factors(asked).await,
            Users::Identities(asked) => self.identities(asked).await,
        }
    }

    async fn create_user(&self, new: &NewUser) -> Result<(), Failure> {
        let tenant = self.tenant(&new.whose).await?;
        let status = if new.pending_review { UserStatus::PendingReview } else { UserStatus::Active };
        self.change(&new.change.order(), As::Tenant(tenant.tenant_id), async |conn| {
            let user = directory::create_user(conn, tenant.tenant_id, new.kind.into(), status, &new.name)
                .await
                .map_err(|error| explained(error, &tenant))?;
            for role in &new.roles {
                directory::assign_role(conn, tenant.tenant_id, user.user_id, role)
                    .await
                    .map_err(|error| explained(error, &tenant))?;
            }
            let after = whole(conn, &user).await?;
            Ok(done(
                "identity.user.create",
                &user,
                format!("make the user {} of {}", new.name, tenant.name),
                None,
                after,
            ))
        })
        .await
    }

    /// As the worker: the app does not reach the sessions.
    async fn suspend(&self, tenant: &Tenant, user_id: Uuid, change: &Final) -> Result<(), Failure> {
        let tenant_id = tenant.tenant_id;
        self.change(&change.order(), As::Worker(Some(tenant_id)), async |conn| {
            let user = locked(conn, tenant, user_id).await?;
            let before = Sheet::from(&user);
            directory::set_status(conn, tenant_id, user_id, UserStatus::Suspended)
                .await
                .map_err(|error| explained(error, tenant))?;
            let ended = session::revoke_all(conn, tenant_id, user_id, RevokeReason::Suspended).await?.len();
            let after = before.clone().set("status", UserStatus::Suspended.as_str());
            let (before, after) = match ended {
                0 => (before, after),
                _ => (before.with("sessions_in_force", ended), after.with("sessions_in_force", 0)),
            };
            let order = format!("suspend the user {} ({user_id}) of {}", user.display_name, tenant.name);
            Ok(done("identity.user.suspend", &user, order, Some(before), after))
        })
        .await
    }

    async fn activate(&self, tenant: &Tenant, user_id: Uuid, change: &Change) -> Result<(), Failure> {
        self.change(&change.order(), As::Tenant(tenant.tenant_id), async |conn| {
            let user = locked(conn, tenant, user_id).await?;
            directory::set_status(conn, tenant.tenant_id, user_id, UserStatus::Active)
                .await
                .map_err(|error| explained(error, tenant))?;
            let before = Sheet::from(&user);
            let after = before.clone().set("status", UserStatus::Active.as_str());
            let order = format!("activate the user {} ({user_id}) of {}", user.display_name, tenant.name);
            Ok(done("identity.user.activate", &user, order, Some(before), after))
        })
        .await
    }

    async fn link(&self, asked: &Link) -> Result<(), Failure> {
        let tenant = self.tenant(&asked.whose).await?;
        self.change(&asked.change.order(), As::Tenant(tenant.tenant_id), async |conn| {
            let user = locked(conn, &tenant, asked.user).await?;
            let before = whole(conn, &user).await?;
            directory::link_address(conn, tenant.tenant_id, asked.user, asked.chain, asked.address)
                .await
                .map_err(|error| explained(error, &tenant))?;
            let after = whole(conn, &user).await?;
            let order = format!(
                "give the user {} of {} the address {:#x}",
                user.display_name, tenant.name, asked.address
            );
            Ok(done("identity.address.link", &user, order, Some(before), after))
        })
        .await
    }

    async fn unlink(&self, asked: &Link) -> Result<(), Failure> {
        let tenant = self.tenant(&asked.whose).await?;
        self.change(&asked.change.order(), As::Tenant(tenant.tenant_id), async |conn| {
            let user = locked(conn, &tenant, asked.user).await?;
            let before = whole(conn, &user).await?;
            let had =
                directory::remove_address(conn, tenant.tenant_id, asked.user, asked.chain, asked.address)
                    .await
                    .map_err(|error| explained(error, &tenant))?;
            if !had {
                return Err(Failure::new(format!(
                    "the user has no address {:#x} on chain {}",
                    asked.address, asked.chain
                ))
                .remedy(format!(
                    "`plimsoll admin users show --tenant {} {}` shows those that there are",
                    tenant.tenant_id, asked.user
                )));
            }
            let after = whole(conn, &user).await?;
            let order = format!(
                "take the address {:#x} from the user {} of {}",
                asked.address, user.display_name, tenant.name
            );
            Ok(done("identity.address.unlink", &user, order, Some(before), after))
        })
        .await
    }

    async fn assign(&self, asked: &Holder) -> Result<(), Failure> {
        let tenant = self.tenant(&asked.whose).await?;
        self.change(&asked.change.order(), As::Tenant(tenant.tenant_id), async |conn| {
            let user = locked(conn, &tenant, asked.user).await?;
            let before = whole(conn, &user).await?;
            directory::assign_role(conn, tenant.tenant_id, asked.user, &asked.role)
                .await
                .map_err(|error| explained(error, &tenant))?;
            let after = whole(conn, &user).await?;
            let order =
                format!("give the user {} of {} the role {}", user.display_name, tenant.name, asked.role);
            Ok(done("identity.role.assign", &user, order, Some(before), after))
        })
        .await
    }

    async fn unassign(&self, asked: &Holder) -> Result<(), Failure> {
        let tenant = self.tenant(&asked.whose).await?;
        self.change(&asked.change.order(), As::Tenant(tenant.tenant_id), async |conn| {
            let user = locked(conn, &tenant, asked.user).await?;
            let before = whole(conn, &user).await?;
            if !directory::withdraw_role(conn, tenant.tenant_id, asked.user, &asked.role).await? {
                return Err(Failure::new(format!("the user does not have the role {:?}", asked.role))
                    .remedy(format!(
                        "`plimsoll admin users show --tenant {} {}` shows those that there are",
                        tenant.tenant_id, asked.user
                    )));
            }
            let after = whole(conn, &user).await?;
            let order = format!(
                "take the role {} from the user {} of {}",
                asked.role, user.display_name, tenant.name
            );
            Ok(done("identity.role.unassign", &user, order, Some(before), after))
        })
        .await
    }
}

/// The user with roles and addresses.
async fn whole(conn: &mut PgConnection, user: &User) -> Result<Sheet, Failure> {
    let roles = directory::roles_of(conn, user.tenant_id, user.user_id).await?;
    let addresses = directory::addresses(conn, user.tenant_id, user.user_id).await?;
    let addresses: Vec<String> =
        addresses.iter().map(|linked| format!("{}:{:#x}", linked.chain_id, linked.address)).collect();
    Ok(Sheet::from(user).with("roles", roles).with("addresses", addresses))
}

pub(super) async fn locked(conn: &mut PgConnection, tenant: &Tenant, user_id: Uuid) -> Result<User, Failure> {
    listing::lock_user(conn, tenant.tenant_id, user_id).await.map_err(|error| explained(error, tenant))
}

pub(super) fn done(
    action: &'static str,
    user: &User,
    order: String,
    before: Option<Sheet>,
    after: Sheet,
) -> Done {
    Done {
        action,
        target_type: "user",
        target_id: user.user_id.to_string(),
        order,
        confirmation: user.display_name.clone(),
        before,
        after: Some(after),
        secret: None,
        note: None,
    }
}

pub(super) fn explained(error: DirectoryError, tenant: &Tenant) -> Failure {
    let name = &tenant.name;
    let id = tenant.tenant_id;
    match &error {
        DirectoryError::NoUser(user_id) => no_user(tenant, *user_id),
        DirectoryError::NoRole(role) => Failure::new(format!("the tenant {name} has no role {role:?}"))
            .remedy(format!("`plimsoll admin roles list --tenant {id}` shows them")),
        DirectoryError::AddressTaken { .. } => Failure::new(&error)
            .remedy("find out whose it is; `plimsoll admin users unlink` takes it from them first"),
        DirectoryError::AgentsRole(_) => Failure::new(&error)
            .remedy(format!("`plimsoll admin roles list --tenant {id}` shows which roles are for agents")),
        DirectoryError::RoleExists(_) => {
            Failure::new(&error).remedy("choose another name, or `plimsoll admin roles grant` what it lacks")
        }
        DirectoryError::Db(_) => error.into(),
        _ => Failure::usage(&error),
    }
}

pub(super) fn no_user(tenant: &Tenant, user_id: Uuid) -> Failure {
    Failure::new(format!("the tenant {} has no user {user_id}", tenant.name)).remedy(format!(
        "`plimsoll admin users list --tenant {}` shows them; is it another tenant's?",
        tenant.tenant_id
    ))
}
