//! What a schema cannot say: duplicates, checksums, secrets in files, one thing against another.

use std::collections::HashMap;
use std::fmt::Display;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use alloy_primitives::Address;
use plimsoll_store::DatabaseUrls;
use plimsoll_types::parse_address;
use tracing_subscriber::EnvFilter;
use uuid::Uuid;

use super::load::Environment;
use super::problem::Problems;
use super::read::Group;
use super::schema::{did_you_mean, variable};
use super::source::{Origin, shorten};
use super::{Api, Chain, Config, Contract, Database, DatabaseSource, LogFormat, Logging, Secret, Tenant, abi};

/// A file that holds one secret is not longer.
const MAX_SECRET_BYTES: u64 = 64 * 1024;
/// Read where the configuration names no database of its own.
const DATABASE_URL: &str = "DATABASE_URL";

struct Check<'a> {
    base: &'a Path,
    problems: &'a mut Problems,
    notes: Vec<String>,
}

/// Checks everything; `None` where a problem was noted.
pub(crate) fn check(
    root: &Group,
    base: &Path,
    file_missing: bool,
    environment: &Environment,
    problems: &mut Problems,
) -> (Option<Config>, Vec<String>) {
    let mut check = Check { base, problems, notes: Vec::new() };
    let database = check.database(root.group("database"), environment);
    let tenants = check.tenants(root.groups("tenant"));
    let chains = check.chains(root.groups("chain"), &tenants);
    if root.groups("chain").is_empty() && !root.given("chain") {
        let what = if file_missing { "there is no such file, and no chain is configured" } else { "no chain is configured" };
        check.problems.add(
            Origin::Default,
            what,
            "add a `[[chain]]`; `plimsoll config example > plimsoll.toml` writes a commented file to start from",
        );
    }
    let api = root.group("api").and_then(|group| check.api(group));
    let logging = root.group("logging").and_then(|group| check.logging(group));
    let verify_rows_per_second = root.group("verify").and_then(|g| narrow(g.integer("rows_per_second")));
    let lease_term = root.group("leases").and_then(|g| duration(g, "term_ms"));
    let notes = check.notes;
    let config = (|| {
        Some(Config {
            database: database?,
            tenants,
            chains,
            api: api?,
            logging: logging?,
            verify_rows_per_second: verify_rows_per_second?,
            lease_term: lease_term?,
        })
    })();
    (config, notes)
}

fn narrow<T: TryFrom<u64>>(number: Option<u64>) -> Option<T> {
    number.and_then(|number| T::try_from(number).ok())
}

fn duration(group: &Group, key: &str) -> Option<Duration> {
    group.integer(key).map(Duration::from_millis)
}

impl Check<'_> {
    fn database(&mut self, group: Option<&Group>, environment: &Environment) -> Option<Database> {
        let group = group?;
        let (source, origin) = self.database_source(group, environment)?;
        let app_password = self.secret(group, "app_password", "app_password_file");
        let worker_password = self.secret(group, "worker_password", "worker_password_file");
        Some(Database {
            source,
            app_password: app_password.map(|(secret, _)| secret),
            worker_password: worker_password.map(|(secret, _)| secret),
            app_connections: narrow(group.integer("app_connections"))?,
            worker_connections: narrow(group.integer("worker_connections"))?,
            origin,
        })
    }

    /// Whoever names the database most expressly decides: a `PLIMSOLL_…` variable, then the file, then `DATABASE_URL`,
    /// which many tools set for their own ends and which therefore never displaces a database that was named for Plimsoll.
    fn database_source(&mut self, group: &Group, environment: &Environment) -> Option<(DatabaseSource, Origin)> {
        let from_variable = |key: &&str| matches!(group.origin_of(key), Origin::Variable(name) if name == variable(&format!("database.{key}")));
        let mut given: Vec<&str> = ["url", "url_file", "data_dir"].into_iter().filter(|key| group.given(key)).collect();
        if given.iter().any(from_variable) {
            given.retain(from_variable);
        }
        if let [first, second, ..] = given[..] {
            self.problems.add(
                group.origin_of(second),
                format!("`database.{second}` and `database.{first}` both name the database"),
                "keep one: `url` or `url_file` for a Postgres of your own, `data_dir` for Plimsoll's private one",
            );
            return None;
        }
        let (url, origin) = match given.first() {
            Some(&"data_dir") => return self.private(group),
            Some(&"url") => (group.text("url")?.to_owned(), group.origin_of("url")),
            Some(key) => (self.secret_file(group, key)?.0, group.origin_of(key)),
            None => match environment.get(DATABASE_URL).filter(|url| !url.trim().is_empty()) {
                Some(url) => (url.trim().to_owned(), Origin::Variable(DATABASE_URL.into())),
                None => return self.private(group),
            },
        };
        // What has no scheme may begin with a password: none of it is repeated.
        let what = match url.split_once("://") {
            Some(_) => DatabaseUrls::from_url(&url, None, None).err().map(|error| error.to_string()),
            None => Some("the database URL is no URL".into()),
        };
        if let Some(what) = what {
            self.problems.add(origin, what, "write it as `postgres://user:password@host:5432/database`");
            return None;
        }
        Some((DatabaseSource::Url(Secret::new(url)), origin))
    }

    fn private(&self, group: &Group) -> Option<(DatabaseSource, Origin)> {
        let directory = self.path(group.text("data_dir")?);
        Some((DatabaseSource::Private(directory), group.origin_of("data_dir")))
    }

    fn path(&self, path: &str) -> PathBuf {
        self.base.join(path)
    }

    /// A secret that is given as itself or in a file; both is a problem.
    fn secret(&mut self, group: &Group, key: &str, file_key: &str) -> Option<(Secret, Origin)> {
        match (group.text(key), group.text(file_key)) {
            (Some(_), Some(_)) => {
                // The environment overrides the file also where they name the secret differently.
                let variable = |key| matches!(group.origin_of(key), Origin::Variable(_));
                match (variable(key), variable(file_key)) {
                    (true, false) => self.plain(group, key),
                    (false, true) => self.secret_file(group, file_key).map(|(text, origin)| (Secret::new(text), origin)),
                    _ => {
                        self.problems.add(
                            group.origin_of(file_key),
                            format!("`{0}.{key}` and `{0}.{file_key}` are both given", group.path),
                            "keep one of the two",
                        );
                        None
                    }
                }
            }
            (Some(_), None) => self.plain(group, key),
            (None, Some(_)) => self.secret_file(group, file_key).map(|(text, origin)| (Secret::new(text), origin)),
            (None, None) => None,
        }
    }

    fn plain(&self, group: &Group, key: &str) -> Option<(Secret, Origin)> {
        group.text(key).map(|text| (Secret::new(text), group.origin_of(key)))
    }

    fn secret_file(&mut self, group: &Group, key: &str) -> Option<(String, Origin)> {
        let origin = group.origin_of(key);
        let path = self.path(group.text(key)?);
        let mut refuse = |what: String, remedy: &str| {
            self.problems.add(origin.clone(), format!("`{}.{key}`: {what}", group.path), remedy);
            None
        };
        match std::fs::metadata(&path) {
            Ok(metadata) if metadata.len() > MAX_SECRET_BYTES => {
                return refuse(format!("the file {path:?} is {} bytes long", metadata.len()), "name a file that holds the secret and nothing else");
            }
            _ => {}
        }
        match std::fs::read_to_string(&path) {
            Ok(text) if text.trim().is_empty() => refuse(format!("the file {path:?} is empty"), "write the secret into it"),
            Ok(text) => Some((text.trim().to_owned(), origin)),
            Err(error) => refuse(
                format!("the file {path:?} cannot be read: {error}"),
                "name a file that exists and that this user may read; a relative path starts at the configuration file's directory",
            ),
        }
    }

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

    fn chains(&mut self, groups: &[Group], tenants: &[Tenant]) -> Vec<Chain> {
        self.unique(groups, "chain_id");
        self.unique(groups, "name");
        groups.iter().filter_map(|group| self.chain(group, tenants)).collect()
    }

    fn chain(&mut self, group: &Group, tenants: &[Tenant]) -> Option<Chain> {
        let rpc = self.rpc(group);
        if let (Some(confirmations), Some(finality_depth)) = (group.integer("confirmations"), group.integer("finality_depth"))
            && confirmations > finality_depth
        {
            let key = if group.given("confirmations") { "confirmations" } else { "finality_depth" };
            self.problems.add(
                group.origin_of(key),
                format!("`{0}.confirmations` is {confirmations} and `{0}.finality_depth` is {finality_depth}: a block would be final before it is confirmed", group.path),
                format!("lower `confirmations` to at most {finality_depth}, or raise `finality_depth` to at least {confirmations}"),
            );
        }
        if let (Some(initial), Some(max)) = (group.integer("backfill_initial_blocks"), group.integer("backfill_max_blocks"))
            && initial > max
        {
            let key = if group.given("backfill_max_blocks") { "backfill_max_blocks" } else { "backfill_initial_blocks" };
            self.problems.add(
                group.origin_of(key),
                format!("`{0}.backfill_initial_blocks` is {initial}, more than `{0}.backfill_max_blocks`, {max}", group.path),
                format!("lower `backfill_initial_blocks` to at most {max}"),
            );
        }
        let mut watched_senders = Vec::new();
        for (text, origin) in group.texts("watched_senders") {
            watched_senders.extend(self.address(text, origin, &format!("{}.watched_senders", group.path)));
        }
        let contracts = self.contracts(group, tenants);
        let (rpc, rpc_origin) = rpc?;
        Some(Chain {
            chain_id: group.integer("chain_id")?,
            name: group.text("name")?.to_owned(),
            rpc,
            rpc_origin,
            confirmations: group.integer("confirmations")?,
            finality_depth: group.integer("finality_depth")?,
            poll_interval: duration(group, "poll_interval_ms")?,
            request_timeout: duration(group, "request_timeout_ms")?,
            max_concurrent_requests: narrow(group.integer("max_concurrent_requests"))?,
            backfill_initial_blocks: group.integer("backfill_initial_blocks")?,
            backfill_max_blocks: group.integer("backfill_max_blocks")?,
            backfill_in_flight: narrow(group.integer("backfill_in_flight"))?,
            max_lag_blocks: group.integer("max_lag_blocks")?,
            max_lag: duration(group, "max_lag_ms")?,
            max_head_age: duration(group, "max_head_age_ms")?,
            watched_senders,
            contracts,
            origin: group.origin_of("chain_id"),
        })
    }

    fn rpc(&mut self, group: &Group) -> Option<(Secret, Origin)> {
        if !group.given("rpc") && !group.given("rpc_file") {
            self.problems.add(
                group.origin.clone(),
                format!("`{}` lacks `rpc`", group.path),
                "add `rpc = \"http://127.0.0.1:8545\"`, or `rpc_file = \"…\"` with a file that holds the URL",
            );
            return None;
        }
        let (rpc, origin) = self.secret(group, "rpc", "rpc_file")?;
        let rest = ["http://", "https://", "ws://", "wss://"].iter().find_map(|scheme| rpc.expose().strip_prefix(scheme));
        let host = rest.map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
        if host.is_none_or(|host| host.is_empty() || host.contains(char::is_whitespace)) {
            self.problems.add(
                origin,
                format!("`{}.rpc` is no URL of a JSON-RPC node", group.path),
                "write it as `http://127.0.0.1:8545`, with `https://`, `ws://` or `wss://` where the node asks for it",
            );
            return None;
        }
        Some((rpc, origin))
    }

    fn contracts(&mut self, chain: &Group, tenants: &[Tenant]) -> Vec<Contract> {
        let groups = chain.groups("contract");
        self.unique(groups, "name");
        if groups.is_empty() && !chain.given("contract") {
            self.notes.push(format!(
                "{}: `{}` has no [[chain.contract]]: its blocks are followed and no log is read",
                self.problems.place(&chain.origin),
                chain.path
            ));
        }
        let mut seen: HashMap<Address, Origin> = HashMap::new();
        let mut contracts = Vec::new();
        for group in groups {
            let origin = group.origin_of("address");
            let address = group
                .text("address")
                .and_then(|text| self.address(text, &origin, &format!("{}.address", group.path)));
            if let Some(address) = address
                && let Some(first) = seen.insert(address, origin.clone())
            {
                let place = self.problems.place(&first);
                self.problems.add(
                    origin.clone(),
                    format!("`{}.address`: this address has a contract already ({place})", group.path),
                    "keep one entry for each address; for a proxy give the ABI of its implementation",
                );
            }
            let abi = group.text("abi").and_then(|path| {
                abi::read(&self.path(path), path, &group.origin_of("abi"), &group.path, self.problems)
            });
            let tenant = group.text("tenant").and_then(|text| self.tenant(text, group, tenants));
            contracts.extend((|| {
                let (abi, abi_digest) = abi?;
                Some(Contract {
                    name: group.text("name")?.to_owned(),
                    address: address?,
                    abi,
                    abi_digest,
                    start_block: group.integer("start_block")?,
                    tenant_id: tenant?,
                    origin,
                })
            })());
        }
        contracts
    }

    /// An address in lower or upper case, or with its EIP-55 checksum.
    fn address(&mut self, text: &str, origin: &Origin, path: &str) -> Option<Address> {
        let address = match parse_address(text) {
            Ok(address) => address,
            Err(_) => {
                let digits = text.strip_prefix("0x").unwrap_or(text);
                let what = if !text.starts_with("0x") {
                    "does not begin with `0x`".to_owned()
                } else if let Some(c) = digits.chars().find(|c| !c.is_ascii_hexdigit()) {
                    format!("has the character `{c}` in it, which is no hexadecimal digit")
                } else {
                    format!("has {} hexadecimal digits instead of 40", digits.len())
                };
                self.problems.add(
                    origin.clone(),
                    format!("`{path}`: the address \"{}\" {what}", shorten(text)),
                    "copy it again, whole: `0x` and 40 hexadecimal digits",
                );
                return None;
            }
        };
        let digits = &text[2..];
        let mixed = digits.contains(|c: char| c.is_ascii_lowercase()) && digits.contains(|c: char| c.is_ascii_uppercase());
        if mixed && address.to_checksum(None) != text {
            self.problems.add(
                origin.clone(),
                format!("`{path}`: the address {text} does not have the checksum that its letter case claims (EIP-55): a digit may be wrong"),
                format!("copy it again from its source; if every digit is right, its checksummed form is {}", address.to_checksum(None)),
            );
            return None;
        }
        Some(address)
    }

    fn tenant(&mut self, text: &str, group: &Group, tenants: &[Tenant]) -> Option<Uuid> {
        if let Some(tenant) = tenants.iter().find(|tenant| tenant.name == text) {
            return Some(tenant.id);
        }
        if let Ok(id) = Uuid::parse_str(text) {
            return Some(id);
        }
        let remedy = match did_you_mean(text, tenants.iter().map(|t| t.name.clone())) {
            Some(meant) => format!("did you mean \"{meant}\"?"),
            None => format!("declare it: `[[tenant]]` with `name = \"{}\"` and an `id`; or give a UUID", shorten(text)),
        };
        self.problems.add(
            group.origin_of("tenant"),
            format!("`{}.tenant` is \"{}\", and no [[tenant]] has that name", group.path, shorten(text)),
            remedy,
        );
        None
    }

    fn api(&mut self, group: &Group) -> Option<Api> {
        let listen = group.text("listen")?;
        let listen = match SocketAddr::from_str(listen) {
            Ok(listen) => Some(listen),
            Err(_) => {
                let what = match listen.rsplit_once(':') {
                    Some((_, port)) if port.parse::<u16>().is_err() => {
                        format!("`{}` is no port from 0 to 65535", shorten(port))
                    }
                    Some((host, _)) => format!("`{}` is no IP address", shorten(host)),
                    None => "the port is missing".into(),
                };
                self.problems.add(
                    group.origin_of("listen"),
                    format!("`api.listen` is \"{}\": {what}", shorten(listen)),
                    "write an IP address and a port, as `127.0.0.1:8080`, or `0.0.0.0:8080` for every interface",
                );
                None
            }
        };
        Some(Api {
            listen: listen?,
            listen_origin: group.origin_of("listen"),
            request_timeout: duration(group, "request_timeout_ms")?,
            max_concurrent_requests: narrow(group.integer("max_concurrent_requests"))?,
            max_connections: narrow(group.integer("max_connections"))?,
        })
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
            let value = group.text(key).map(str::to_owned).or_else(|| group.integer(key).map(|n| n.to_string()));
            let Some(value) = value else { continue };
            let origin = group.origin_of(key);
            if let Some(first) = seen.get(&value) {
                let place: &dyn Display = &self.problems.place(first);
                let what = format!("`{}.{key}` is `{}`, which {place} is already", group.path, shorten(&value));
                self.problems.add(origin, what, format!("give each its own `{key}`, or remove one of the two"));
            } else {
                seen.insert(value, origin);
            }
        }
    }
}
