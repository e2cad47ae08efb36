//! What a schema cannot say: duplicates, checksums, secrets in files, one thing against another.

mod chain;
mod database;

use std::collections::HashMap;
use std::fmt::Display;
use std::net::SocketAddr;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use tracing_subscriber::EnvFilter;
use uuid::Uuid;

pub(super) use self::database::DATABASE_URL;
use super::load::Environment;
use super::problem::Problems;
use super::read::Group;
use super::source::{Origin, shorten};
use super::{Api, Config, Identity, LogFormat, Logging, Tenant};

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
    let api = root.group("api").and_then(|group| check.api(group));
    let identity = root.group("identity").and_then(|group| check.identity(group));
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
            identity: identity?,
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
        let listen = listen?;
        Some(Api {
            listen,
            listen_origin: group.origin_of("listen"),
            public_url: self.public_url(group, listen)?,
            open_reads: group.text("anonymous_reads")? == "allow",
            request_timeout: duration(group, "request_timeout_ms")?,
            max_concurrent_requests: narrow(group.integer("max_concurrent_requests"))?,
            max_connections: narrow(group.integer("max_connections"))?,
        })
    }

    /// An origin: a scheme, a host and perhaps a port. What sign-in messages name has no path.
    fn public_url(&mut self, group: &Group, listen: SocketAddr) -> Option<String> {
        let Some(given) = group.text("public_url") else { return Some(format!("http://{listen}")) };
        let url = given.strip_suffix('/').unwrap_or(given);
        let authority = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        if authority.is_some_and(|host| !host.is_empty() && !host.contains(['/', '?', '#', '@', ' '])) {
            return Some(url.to_owned());
        }
        self.problems.add(
            group.origin_of("public_url"),
            "`api.public_url` is not of the form `https://host` or `https://host:port`",
            "give the scheme, the host and, if it is not the usual one, the port under which users reach the API, and no path",
        );
        None
    }

    fn identity(&mut self, group: &Group) -> Option<Identity> {
        Some(Identity {
            keys_dir: self.path(group.text("keys_dir")?),
            keys_origin: group.origin_of("keys_dir"),
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
