//! `plimsoll admin init`: the link that makes a tenant's first administrator.

use plimsoll_identity::bootstrap::{self, BootstrapError};
use plimsoll_identity::tenant::{self, Tenant};
use secrecy::ExposeSecret as _;
use time::OffsetDateTime;
use uuid::Uuid;

use super::change::{As, Done};
use super::sheet::Sheet;
use super::{Admin, named, tenants};
use crate::cli::Init;
use crate::commands::when;
use crate::failure::Failure;

/// The console's page that redeems a token. The token stands behind `#`, which browsers send to nobody: it is in no access log and no referrer.
const PAGE: &str = "/init#token=";

impl Admin<'_> {
    pub(super) async fn init(&self, asked: &Init) -> Result<(), Failure> {
        let base = match &asked.url {
            Some(url) => url.clone(),
            None => self.base_url()?,
        };
        let (tenant_id, name) = self.first_tenant(asked.whose.tenant.as_deref()).await?;
        self.change(&asked.change.order(), As::Worker(Some(tenant_id)), async |conn| {
            let is_new = !tenant::all(conn).await?.iter().any(|tenant| tenant.tenant_id == tenant_id);
            let tenant = match is_new {
                true => tenant::create(conn, tenant_id, &name).await.map_err(tenants::explained)?,
                false => tenant::lock(conn, tenant_id).await.map_err(tenants::explained)?,
            };
            let token = bootstrap::bootstrap(conn, tenant_id).await.map_err(|error| explained(error, &tenant))?;
            let until = when(OffsetDateTime::now_utc() + bootstrap::TERM).to_string();
            let minutes = bootstrap::TERM.as_secs() / 60;
            let configured = self.config.tenants.iter().any(|tenant| tenant.id == tenant_id);
            let hint = match is_new && !configured {
                true => format!(
                    "the tenant was made; to attribute contracts to it, name it in the configuration: [[tenant]] id = \"{tenant_id}\", name = {name:?}\n"
                ),
                false => String::new(),
            };
            Ok(Done {
                action: "identity.bootstrap.issue",
                target_type: "tenant",
                target_id: tenant_id.to_string(),
                order: format!("issue the link for the first administrator of {}", tenant.name),
                confirmation: tenant.name.clone(),
                before: None,
                after: Some(Sheet::from(&tenant).with("tenant_made", is_new).with("link_valid_until", &*until)),
                secret: Some(("link", format!("{base}{PAGE}{}", token.expose_secret()))),
                note: Some(format!(
                    "{hint}it is good once, for {minutes} minutes, until {until}: whoever opens it first is the administrator of {}",
                    tenant.name
                )),
            })
        })
        .await
    }

    /// The tenant that was named: in the database, in the configuration, or the first of all.
    async fn first_tenant(&self, asked: Option<&str>) -> Result<(Uuid, String), Failure> {
        let mut known = tenant::all(&mut *self.db.begin_worker().await?).await?;
        for tenant in &self.config.tenants {
            if known.iter().all(|other| other.tenant_id != tenant.id) {
                let (tenant_id, name) = (tenant.id, tenant.name.clone());
                known.push(Tenant { tenant_id, name, created_at: OffsetDateTime::now_utc() });
            }
        }
        let tenant = match asked {
            Some(name) if known.is_empty() && name.parse::<Uuid>().is_err() => {
                return Ok((Uuid::now_v7(), name.to_owned()));
            }
            Some(asked) => named(known, asked)?,
            None if known.len() == 1 => known.swap_remove(0),
            None => {
                return Err(Failure::usage("which tenant is to have its first administrator?").remedy(
                    "say `--tenant NAME`; `plimsoll admin tenants list` shows those that there are",
                ));
            }
        };
        Ok((tenant.tenant_id, tenant.name))
    }

    /// `api.public_url`, or what can be told from `api.listen`.
    fn base_url(&self) -> Result<String, Failure> {
        let api = &self.config.api;
        let (scheme, authority) = api.public_url.split_once("://").unwrap_or(("http", &api.public_url));
        if authority != api.listen.to_string() {
            return Ok(api.public_url.clone());
        }
        if api.listen.port() == 0 {
            return Err(Failure::usage(
                "`api.listen` leaves the port to the system, so nobody can tell where the link leads",
            )
            .remedy("set `api.public_url`, or say it here: `--url https://plimsoll.example.org`"));
        }
        if api.listen.ip().is_unspecified() {
            return Ok(format!("{scheme}://localhost:{}", api.listen.port()));
        }
        Ok(api.public_url.clone())
    }
}

fn explained(error: BootstrapError, tenant: &Tenant) -> Failure {
    match &error {
        BootstrapError::HasAdministrator => Failure::new(format!("the tenant {} has an administrator already, who can make others", tenant.name))
            .remedy(format!(
                "`plimsoll admin users list --tenant {} --role admin` shows who; `plimsoll admin users create … --role admin` makes another",
                tenant.tenant_id
            )),
        _ => error.into(),
    }
}
