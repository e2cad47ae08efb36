//! `plimsoll admin roles`.

use plimsoll_identity::directory::{self, NewRole as New};
use plimsoll_identity::role::{self, Role, RoleError};
use plimsoll_identity::tenant::Tenant;
use plimsoll_identity::{Permission, ReadPermission};

use super::Admin;
use super::change::{As, Done};
use super::sheet::{Sheet, list, show};
use super::users;
use crate::cli::{Allowance, NewRole, Roles};
use crate::failure::Failure;

impl From<&Role> for Sheet {
    fn from(role: &Role) -> Self {
        let permissions: Vec<&str> = role.permissions.iter().map(Permission::name).collect();
        Self::new()
            .with("role", &*role.name)
            .with("builtin", role.is_builtin)
            .with("agent", role.is_agent)
            .with("holders", role.holders)
            .with("permissions", permissions)
            .at("created_at", role.created_at)
    }
}

impl Admin<'_> {
    pub(super) async fn roles(&self, asked: &Roles) -> Result<(), Failure> {
        match asked {
            Roles::List { whose, json } => {
                let tenant = self.tenant(whose).await?;
                let mut tx = self.db.tenant_tx(&[tenant.tenant_id]).await?;
                let sheets: Vec<Sheet> =
                    role::all(&mut tx, tenant.tenant_id).await?.iter().map(Sheet::from).collect();
                list(
                    &sheets,
                    &["role", "builtin", "agent", "holders", "permissions"],
                    "there is no role",
                    *json,
                )
            }
            Roles::Show { whose, role: name, json } => {
                let tenant = self.tenant(whose).await?;
                let mut tx = self.db.tenant_tx(&[tenant.tenant_id]).await?;
                let found = role::role(&mut tx, tenant.tenant_id, name)
                    .await
                    .map_err(|error| explained(error, &tenant))?;
                show(&Sheet::from(&found), *json)
            }
            Roles::Permissions { json } => {
                let sheets: Vec<Sheet> = Permission::ALL
                    .iter()
                    .map(|permission| {
                        Sheet::new()
                            .with("permission", permission.name())
                            .with("writes", permission.is_write())
                            .with("second_factor", permission.is_sensitive())
                    })
                    .collect();
                list(&sheets, &["permission", "writes", "second_factor"], "there is none", *json)
            }
            Roles::Create(new) => self.create_role(new).await,
            Roles::Grant(asked) => self.allow(asked, true).await,
            Roles::Revoke(asked) => self.allow(asked, false).await,
        }
    }

    async fn create_role(&self, new: &NewRole) -> Result<(), Failure> {
        let tenant = self.tenant(&new.whose).await?;
        let reads: Result<Vec<ReadPermission>, Permission> =
            new.permissions.iter().copied().map(ReadPermission::try_from).collect();
        let role = match (new.agent, &reads) {
            (false, _) => New::Ordinary(&new.permissions),
            (true, Ok(reads)) => New::Agent(reads),
            (true, Err(permission)) => {
                return Err(Failure::usage(format!(
                    "{permission} changes something, and an agent can hold nothing that writes"
                ))
                .remedy("leave it out, or make a role that is not for agents"));
            }
        };
        self.change(&new.change.order(), As::Tenant(tenant.tenant_id), async |conn| {
            directory::create_role(conn, tenant.tenant_id, &new.role, role.clone())
                .await
                .map_err(|error| users::explained(error, &tenant))?;
            let made = role::role(conn, tenant.tenant_id, &new.role).await?;
            Ok(done(
                "identity.role.create",
                &made.name,
                format!("make the role {} of {}", made.name, tenant.name),
                None,
                &made,
            ))
        })
        .await
    }

    /// One thing more, or one less.
    async fn allow(&self, asked: &Allowance, is_grant: bool) -> Result<(), Failure> {
        let Allowance { whose, role: name, permission, change } = asked;
        let tenant = self.tenant(whose).await?;
        let tenant_id = tenant.tenant_id;
        self.change(&change.order(), As::Tenant(tenant_id), async |conn| {
            let before =
                role::role(conn, tenant_id, name).await.map_err(|error| explained(error, &tenant))?;
            let (action, what, changed) = if is_grant {
                let changed = role::grant(conn, tenant_id, name, *permission).await;
                ("identity.role.grant", "", changed)
            } else {
                let changed = role::revoke(conn, tenant_id, name, *permission).await;
                ("identity.role.revoke", " no more", changed)
            };
            changed.map_err(|error| explained(error, &tenant))?;
            let after = role::role(conn, tenant_id, name).await?;
            let order = format!("let the role {name} of {} allow {permission}{what}", tenant.name);
            Ok(done(action, name, order, Some(&before), &after))
        })
        .await
    }
}

fn done(action: &'static str, name: &str, order: String, before: Option<&Role>, after: &Role) -> Done {
    Done {
        action,
        target_type: "role",
        target_id: name.to_owned(),
        order,
        confirmation: name.to_owned(),
        before: before.map(Sheet::from),
        after: Some(Sheet::from(after)),
        secret: None,
        note: None,
    }
}

pub(super) fn explained(error: RoleError, tenant: &Tenant) -> Failure {
    let id = tenant.tenant_id;
    match &error {
        RoleError::NoRole(name) => Failure::new(format!("the tenant {} has no role {name:?}", tenant.name))
            .remedy(format!("`plimsoll admin roles list --tenant {id}` shows them")),
        RoleError::Builtin(_) => Failure::new(&error)
            .remedy(format!("`plimsoll admin roles create --tenant {id} NAME --permissions …` makes one")),
        RoleError::AgentsRole { .. } => Failure::new(&error).remedy("use a role that is not for agents"),
        RoleError::Db(_) => error.into(),
    }
}
