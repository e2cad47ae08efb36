//! `plimsoll admin`: the directory, the keys, the sessions, the audit log, for whoever runs the server.
//!
//! A leaf that changes something does so through `Admin::change` (`change.rs`) and in no other way: that is where the transaction is begun, the audit
//! entry is written into it, and either both are committed or neither. A test runs every leaf that there is, and compares the whole database
//! before and after: one that reads leaves it as it was, one that writes leaves one audit entry more, and with `--dry-run` nothing.
//!
//! What is a tenant's own is changed as the app's role, confined to the tenant, so that the database refuses what the program should not have
//! tried; proofs of identity as the worker, since the app cannot reach them.

mod audit;
pub(super) mod change;
mod export;
mod factors;
mod idempotency;
mod identities;
mod init;
mod keys;
pub(super) mod operator;
mod roles;
mod sessions;
pub(super) mod sheet;
mod tenants;
mod users;

use plimsoll_identity::tenant::{self, Tenant};
use plimsoll_store::Db;
use uuid::Uuid;

use crate::cli::{Admin as Asked, Whose};
use crate::config::{Config, did_you_mean};
use crate::database::Purpose;
use crate::failure::Failure;

/// What the commands work with.
pub(crate) struct Admin<'a> {
    pub(crate) db: &'a Db,
    pub(crate) config: &'a Config,
}

/// What the command wants of the database.
pub(crate) fn purpose(asked: &Asked) -> Purpose {
    match asked {
        Asked::Init(_) => Purpose::Begin,
        _ => Purpose::Visit,
    }
}

impl Admin<'_> {
    pub(crate) async fn run(&self, asked: &Asked) -> Result<(), Failure> {
        match asked {
            Asked::Init(asked) => self.init(asked).await,
            Asked::Tenants(asked) => self.tenants(asked).await,
            Asked::Users(asked) => self.users(asked).await,
            Asked::Keys(asked) => self.keys(asked).await,
            Asked::Roles(asked) => self.roles(asked).await,
            Asked::Sessions(asked) => self.sessions(asked).await,
            Asked::Audit(asked) => self.audit(asked).await,
            Asked::Idempotency(asked) => self.idempotency(asked).await,
        }
    }

    /// The tenant that is meant: the one of that name or id, or the only one.
    pub(in crate::commands) async fn tenant(&self, whose: &Whose) -> Result<Tenant, Failure> {
        let mut all = tenant::all(&mut *self.db.begin_worker().await?).await?;
        match &whose.tenant {
            Some(asked) => named(all, asked),
            None if all.len() == 1 => Ok(all.swap_remove(0)),
            None if all.is_empty() => Err(Failure::new("the database has no tenant yet")
                .remedy("`plimsoll admin tenants create NAME` makes one, or name it in the configuration (`[[tenant]]`)")),
            None => Err(Failure::usage("there are several tenants, and none was named")
                .remedy(format!("say `--tenant` with one of {}", names(&all)))),
        }
    }

    /// The tenant that was named, if one was.
    pub(in crate::commands) async fn tenant_if_named(
        &self,
        asked: Option<&String>,
    ) -> Result<Option<Tenant>, Failure> {
        match asked {
            Some(asked) => self.tenant(&Whose { tenant: Some(asked.clone()) }).await.map(Some),
            None => Ok(None),
        }
    }
}

fn named(all: Vec<Tenant>, asked: &str) -> Result<Tenant, Failure> {
    let id: Option<Uuid> = asked.parse().ok();
    let found = all.iter().position(|tenant| tenant.name == asked || Some(tenant.tenant_id) == id);
    match found {
        Some(at) => Ok(all.into_iter().nth(at).expect("the position is within")),
        None => Err(no_tenant(&all, asked)),
    }
}

fn no_tenant(all: &[Tenant], asked: &str) -> Failure {
    let failure = Failure::usage(format!("there is no tenant {asked:?}"));
    match did_you_mean(asked, all.iter().map(|tenant| tenant.name.as_str())) {
        Some(meant) => failure.remedy(format!("did you mean {meant:?}?")),
        None if all.is_empty() => {
            failure.remedy("there is none at all: `plimsoll admin tenants create NAME` makes one")
        }
        None => failure.remedy(format!(
            "the tenants are {}; `plimsoll admin tenants create NAME` makes another",
            names(all)
        )),
    }
}

/// For a message: the first few.
fn names(all: &[Tenant]) -> String {
    const SHOWN: usize = 10;
    let mut names: Vec<&str> = all.iter().take(SHOWN).map(|tenant| tenant.name.as_str()).collect();
    if all.len() > SHOWN {
        names.push("… (`plimsoll admin tenants list` shows all)");
    }
    names.join(", ")
}
