//! What a schema cannot say: duplicates, checksums, secrets in files, one thing against another.

mod api;
mod chain;
mod database;
mod idempotency;
mod identity;
mod ledger;
mod relayer;
mod retry;
mod signers;
mod telemetry;

use std::collections::HashMap;
use std::fmt::Display;
use std::path::Path;
use std::time::Duration;

use tracing_subscriber::EnvFilter;
use uuid::Uuid;

pub(super) use self::database::DATABASE_URL;
pub(super) use self::signers::UNLIMITED;
use super::load::Environment;
use super::problem::Problems;
use super::read::Group;
use super::source::{Origin, shorten};
use super::{Config, LogFormat, Logging, Tenant};

struct Check<'a> {
    base: &'a Path,
    problems: &'a mut Problems,
    notes: Vec<String>,
    /// A tenant's name or id could not be read, so that a name that no tenant has may be its.
    is_tenant_unsure: bool,
}

/// Checks everything; `None` where a problem was noted.
pub(crate) fn check(
    root: &Group,
    base: &Path,
    file_missing: bool,
    environment: &Environment,
    problems: &mut Problems,
) -> (Option<Config>, Vec<String>) {
    let mut check = Check { base, problems, notes: Vec::new(), is_tenant_unsure: false };
    let database = check.database(root.group("database"), environment);
    let tenants = check.tenants(root.groups("tenant"));
    check.is_tenant_unsure = tenants.len() < root.groups("tenant").len();
    let chains = check.chains(root.groups("chain"), &tenants, root.group("relayer"));
    if root.groups("chain").is_empty() && !root.given("chain") {
        let what = if file_missing {
            "there is no such file, and no chain is configured"
        } else {
            "no chain is configured"
        };
        check.problems.add(
            Origin::Default,
            what,
            "add a `[[chain]]`; `plimsoll config example > plimsoll.toml` writes a commented file to start from",
        );
    }
    let signers = check.signers(root.groups("signers"), root.groups("chain"), &tenants, &chains);
    let are_signers_unsure = signers.len() < root.groups("signers").len();
    let retry = root.group("retry").and_then(|group| check.retry(group, &signers, are_signers_unsure));
    let api = root.group("api").and_then(|group| check.api(group));
    let public_url = api.as_ref().map(|api| &*api.public_url);
    let identity = root.group("identity").and_then(|group| check.identity(group, &tenants, public_url));
    let ledger = root.group("ledger").and_then(|group| check.ledger(group));
    let idempotency = root
        .group("idempotency")
        .zip(root.group("api"))
        .and_then(|(group, api)| check.idempotency(group, api));
    let logging = root.group("logging").and_then(|group| check.logging(group));
    let telemetry = root.group("telemetry").and_then(|group| check.telemetry(group));
    let verify_rows_per_second = root.group("verify").and_then(|g| narrow(g.integer("rows_per_second")));
    let audit_retention_days = root.group("audit").and_then(|g| narrow(g.integer("retention_days")));
    let lease_term = root.group("leases").and_then(|g| duration(g, "term_ms"));
    let notes = check.notes;
    let config = (|| {
        Some(Config {
            database: database?,
            tenants,
            chains,
            signers,
            retry: retry?,
            api: api?,
            identity: identity?,
            ledger: ledger?,
            idempotency: idempotency?,
            logging: logging?,
            telemetry: telemetry?,
            verify_rows_per_second: verify_rows_per_second?,
            audit_retention_days: audit_retention_days?,
            lease_term: lease_term?,
        })
    })();
    (config, notes)
}

fn narrow<T: TryFrom<u64>>(number: Option<u64>) -> Option<T> {
    number.and_then(|number| T::try_from(number).ok())
}

/// Nobody has as much as `u128` holds.
fn saturated(digits: &str) -> u128 {
    digits.parse().unwrap_or(u128::MAX)
}

fn duration(group: &Group, key: &str) -> Option<Duration> {
    group.integer(key).map(Duration::from_millis)
}

impl Check<'_> {
    fn tenants(&mut self, groups: &[Group]) -> Vec<Tenant> {
        self.unique(groups, "id");
        self.unique(groups, "name");
        groups
            .iter()
            .filter_map(|group| {
                let (id, name) = (group.text("id")?, group.text("name")?);
                match Uuid::parse_str(id) {
                    Ok(id) => Some(Tenant { id, name: name.to_owned() }),
                    Err(_) => {
                        self.problems.add(
                            group.origin_of("id"),
                            format!("`{}.id` is \"{}\", which is no UUID", group.path, shorten(id)),
                            "give one as `0198c5a1-7d2e-7c3a-9a55-3f1f0c6d2b10` (`uuidgen` makes them)",
                        );
                        None
                    }
                }
            })
            .collect()
    }

    fn logging(&mut self, group: &Group) -> Option<Logging> {
        let level = group.text("level")?.to_owned();
        if let Err(error) = EnvFilter::builder().parse(&level) {
            self.problems.add(
                group.origin_of("level"),
                format!("`logging.level` is \"{}\": {error}", shorten(&level)),
                "write error, warn, info, debug or trace, or directives as `info,plimsoll_ingest=debug`",
            );
            return None;
        }
        let format = match group.text("format")? {
            "json" => LogFormat::Json,
            _ => LogFormat::Text,
        };
        Some(Logging { format, level })
    }

    /// Notes every value of this key that stood in an earlier table already.
    fn unique(&mut self, groups: &[Group], key: &str) {
        let mut seen: HashMap<String, Origin> = HashMap::new();
        for group in groups {
            let value =
                group.text(key).map(str::to_owned).or_else(|| group.integer(key).map(|n| n.to_string()));
            let Some(value) = value else { continue };
            let origin = group.origin_of(key);
            if let Some(first) = seen.get(&value) {
                let place: &dyn Display = &self.problems.place(first);
                let what =
                    format!("`{}.{key}` is `{}`, which {place} is already", group.path, shorten(&value));
                self.problems.add(
                    origin,
                    what,
                    format!("give each its own `{key}`, or remove one of the two"),
                );
            } else {
                seen.insert(value, origin);
            }
        }
    }
}
