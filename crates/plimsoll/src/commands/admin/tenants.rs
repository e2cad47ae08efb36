//! `plimsoll admin tenants`.

use plimsoll_identity::tenant::{self, Tenant, TenantError};
use uuid::Uuid;

use super::Admin;
use super::change::{As, Done};
use super::sheet::{Sheet, list, show};
use crate::cli::Tenants;
use crate::failure::Failure;

impl From<&Tenant> for Sheet {
    fn from(tenant: &Tenant) -> Self {
        Self::new()
            .with("tenant_id", tenant.tenant_id.to_string())
            .with("name", &*tenant.name)
            .at("created_at", tenant.created_at)
    }
}

impl Admin<'_> {
    pub(super) async fn tenants(&self, asked: &Tenants) -> Result<(), Failure> {
        match asked {
            Tenants::List { json } => {
                let all = tenant::all(&mut *self.db.begin_worker().await?).await?;
                let sheets: Vec<Sheet> = all.iter().map(|tenant| self.tenant_sheet(tenant)).collect();
                list(
                    &sheets,
                    &["name", "tenant_id", "created_at", "configured"],
                    "there is no tenant yet",
                    *json,
                )
            }
            Tenants::Show { whose, json } => {
                let tenant = self.tenant(whose).await?;
                let has = tenant::holdings(&mut *self.db.begin_worker().await?, tenant.tenant_id).await?;
                let sheet = self
                    .tenant_sheet(&tenant)
                    .with("active_users", has.active_users)
                    .with("suspended_users", has.suspended_users)
                    .with("pending_users", has.pending_users)
                    .with("administrators", has.administrators)
                    .with("keys_in_force", has.keys)
                    .with("sessions_in_force", has.sessions)
                    .with("contracts", has.contracts);
                show(&sheet, *json)
            }
            Tenants::Create { name, id, change } => {
                let tenant_id = id.unwrap_or_else(Uuid::now_v7);
                self.change(&change.order(), As::Worker(Some(tenant_id)), async |conn| {
                    let tenant = tenant::create(conn, tenant_id, name).await.map_err(explained)?;
                    Ok(Done {
                        action: "tenant.create",
                        target_type: "tenant",
                        target_id: tenant_id.to_string(),
                        order: format!("make the tenant {name}"),
                        confirmation: name.clone(),
                        before: None,
                        after: Some(Sheet::from(&tenant)),
                        secret: None,
                        note: Some(format!("`plimsoll admin init --tenant {tenant_id}` prints the link for its first administrator")),
                    })
                })
                .await
            }
            Tenants::Rename { whose, name, change } => {
                let tenant = self.tenant(whose).await?;
                if self.is_configured(tenant.tenant_id) {
                    return Err(Failure::usage(format!(
                        "the tenant {} has its name from the configuration, and would have it again at the next start",
                        tenant.name
                    ))
                    .remedy("change `name` in its `[[tenant]]`, and restart"));
                }
                self.change(&change.order(), As::Worker(Some(tenant.tenant_id)), async |conn| {
                    let before = tenant::lock(conn, tenant.tenant_id).await.map_err(explained)?;
                    let after = tenant::rename(conn, tenant.tenant_id, name).await.map_err(explained)?;
                    Ok(Done {
                        action: "tenant.rename",
                        target_type: "tenant",
                        target_id: tenant.tenant_id.to_string(),
                        order: format!("rename the tenant {} to {name}", before.name),
                        confirmation: before.name.clone(),
                        before: Some(Sheet::from(&before)),
                        after: Some(Sheet::from(&after)),
                        secret: None,
                        note: None,
                    })
                })
                .await
            }
        }
    }

    fn tenant_sheet(&self, tenant: &Tenant) -> Sheet {
        Sheet::from(tenant).with("configured", self.is_configured(tenant.tenant_id))
    }

    fn is_configured(&self, tenant_id: Uuid) -> bool {
        self.config.tenants.iter().any(|tenant| tenant.id == tenant_id)
    }
}

pub(super) fn explained(error: TenantError) -> Failure {
    let remedy = match &error {
        TenantError::NoTenant(_) => "`plimsoll admin tenants list` shows all",
        TenantError::IdTaken(_) => "leave `--id` away for a new one",
        TenantError::NameTaken(_) => "choose another name; `plimsoll admin tenants list` shows all",
        TenantError::Name => "choose another name",
        TenantError::Db(_) => return error.into(),
    };
    Failure::new(&error).remedy(remedy)
}
