//! `plimsoll admin keys`.

use std::time::Duration;

use plimsoll_identity::api_key::{self, ApiKeyError, ApiKeyInfo, NewApiKey};
use plimsoll_identity::tenant::Tenant;
use plimsoll_identity::{Permission, listing};
use secrecy::ExposeSecret as _;
use sqlx::PgConnection;
use time::OffsetDateTime;

use super::Admin;
use super::change::{As, Done};
use super::sheet::{Sheet, list};
use super::users::no_user;
use crate::cli::{Final, IssueKey, Keys};
use crate::failure::Failure;

const COLUMNS: &[&str] =
    &["key_id", "state", "label", "user_id", "scopes", "certificate_bound", "expires_at", "last_used_at"];

impl From<&ApiKeyInfo> for Sheet {
    fn from(key: &ApiKeyInfo) -> Self {
        let scopes: Vec<&str> = key.scopes.iter().map(Permission::name).collect();
        Self::new()
            .with("key_id", &*key.key_id)
            .with("state", state(key))
            .with("label", &*key.label)
            .with("user_id", key.user_id.to_string())
            .with("scopes", scopes)
            .with("certificate_bound", key.is_certificate_bound)
            .at("created_at", key.created_at)
            .at("expires_at", key.expires_at)
            .at("last_used_at", key.last_used_at)
            .at("revoked_at", key.revoked_at)
    }
}

fn state(key: &ApiKeyInfo) -> &'static str {
    match key.revoked_at {
        Some(_) => "revoked",
        None if key.expires_at <= OffsetDateTime::now_utc() => "expired",
        None => "in force",
    }
}

impl Admin<'_> {
    pub(super) async fn keys(&self, asked: &Keys) -> Result<(), Failure> {
        match asked {
            Keys::List { whose, user, all, json } => {
                let tenant = self.tenant(whose).await?;
                let keys = api_key::list(&mut *self.db.begin_worker().await?, tenant.tenant_id).await?;
                let is_asked = |key: &&ApiKeyInfo| {
                    user.is_none_or(|user| key.user_id == user) && (*all || state(key) == "in force")
                };
                let sheets: Vec<Sheet> = keys.iter().filter(is_asked).map(Sheet::from).collect();
                list(&sheets, COLUMNS, "there is no such key", *json)
            }
            Keys::Issue(asked) => self.issue(asked).await,
            Keys::Rotate { whose, key, grace, change } => {
                self.rotate(&self.tenant(whose).await?, key, *grace, change).await
            }
            Keys::Revoke { whose, key, change } => self.revoke(&self.tenant(whose).await?, key, change).await,
        }
    }

    async fn issue(&self, asked: &IssueKey) -> Result<(), Failure> {
        let tenant = self.tenant(&asked.whose).await?;
        let new = NewApiKey {
            tenant_id: tenant.tenant_id,
            user_id: asked.user,
            label: &asked.label,
            scopes: asked.scopes.iter().copied().collect(),
            lifetime: asked.lifetime,
            certificate_hash: asked.certificate_sha256,
        };
        self.change(&asked.change.order(), As::Worker(Some(tenant.tenant_id)), async |conn| {
            let issued = api_key::issue(conn, &new).await.map_err(|error| explained(error, &tenant))?;
            let key = locked(conn, &tenant, &issued.key_id).await?;
            Ok(Done {
                secret: Some(("key", issued.token.expose_secret().to_owned())),
                ..done(
                    "identity.key.issue",
                    &key,
                    format!("issue a key for the user {} of {}", asked.user, tenant.name),
                    None,
                    Sheet::from(&key),
                )
            })
        })
        .await
    }

    async fn rotate(
        &self,
        tenant: &Tenant,
        key_id: &str,
        grace: Duration,
        change: &Final,
    ) -> Result<(), Failure> {
        self.change(&change.order(), As::Worker(Some(tenant.tenant_id)), async |conn| {
            let key = locked(conn, tenant, key_id).await?;
            let rotated = api_key::rotate(conn, tenant.tenant_id, key_id, grace)
                .await
                .map_err(|error| explained(error, tenant))?;
            let before = Sheet::from(&key).with("secret", "the former one");
            let after = before
                .clone()
                .set("secret", format!("a new one; the former one for {} s more", grace.as_secs()));
            Ok(Done {
                secret: Some(("key", rotated.token.expose_secret().to_owned())),
                ..done(
                    "identity.key.rotate",
                    &key,
                    format!("give the key {} of {} a new secret", titled(&key), tenant.name),
                    Some(before),
                    after,
                )
            })
        })
        .await
    }

    async fn revoke(&self, tenant: &Tenant, key_id: &str, change: &Final) -> Result<(), Failure> {
        self.change(&change.order(), As::Worker(Some(tenant.tenant_id)), async |conn| {
            let key = locked(conn, tenant, key_id).await?;
            let before = Sheet::from(&key);
            api_key::revoke(conn, tenant.tenant_id, key_id).await?;
            let after = Sheet::from(&locked(conn, tenant, key_id).await?);
            Ok(done(
                "identity.key.revoke",
                &key,
                format!("revoke the key {} of {}", titled(&key), tenant.name),
                Some(before),
                after,
            ))
        })
        .await
    }
}

async fn locked(conn: &mut PgConnection, tenant: &Tenant, key_id: &str) -> Result<ApiKeyInfo, Failure> {
    listing::lock_key(conn, tenant.tenant_id, key_id).await?.ok_or_else(|| {
        let failure = Failure::new(format!("the tenant {} has no key {key_id:?}", tenant.name));
        match key_id.starts_with(api_key::PREFIX) {
            // Its secret stands in the shell's history now, and perhaps in the process list.
            true => Failure::usage("that looks like a whole key, and a key's id is only what stands between `plk_` and the next `_`")
                .remedy("its secret may have been seen: rotate it with `--grace 0`"),
            false => failure.remedy(format!("`plimsoll admin keys list --tenant {} --all` shows them", tenant.tenant_id)),
        }
    })
}

fn titled(key: &ApiKeyInfo) -> String {
    format!("{} ({})", key.key_id, key.label)
}

fn done(action: &'static str, key: &ApiKeyInfo, order: String, before: Option<Sheet>, after: Sheet) -> Done {
    Done {
        action,
        target_type: "api_key",
        target_id: key.key_id.clone(),
        order,
        confirmation: key.key_id.clone(),
        before,
        after: Some(after),
        secret: None,
        note: None,
    }
}

fn explained(error: ApiKeyError, tenant: &Tenant) -> Failure {
    let id = tenant.tenant_id;
    match &error {
        ApiKeyError::NoUser(user_id) => no_user(tenant, *user_id),
        ApiKeyError::NoKey(_) => Failure::new(&error)
            .remedy(format!("it is over; `plimsoll admin keys list --tenant {id} --all` says how, `plimsoll admin keys issue` makes another")),
        ApiKeyError::ScopeBeyondUser(_) => Failure::new(&error)
            .remedy(format!("leave that scope out, or `plimsoll admin users assign --tenant {id}` a role that allows it")),
        ApiKeyError::NoScope | ApiKeyError::Lifetime | ApiKeyError::Grace | ApiKeyError::Label => Failure::usage(&error),
        ApiKeyError::Db(_) => error.into(),
    }
}
