//! Every setting there is: its name, its kind, its default, and one sentence about it.
//!
//! This table is the only list. The reader walks it, so a key that is not here is an error by construction; the example
//! file and the documentation are compared with it by tests.

/// A group of settings: a TOML table, or (`repeated`) an array of tables.
#[derive(Debug)]
pub(crate) struct Section {
    /// The table's name; empty for the document itself.
    pub(crate) name: &'static str,
    /// Whether it is written `[[name]]`, any number of times.
    pub(crate) repeated: bool,
    /// The settings directly in it.
    pub(crate) keys: &'static [Key],
    /// The tables inside it.
    pub(crate) sections: &'static [Section],
}

/// One setting.
#[derive(Debug)]
pub(crate) struct Key {
    /// Its name in the table.
    pub(crate) name: &'static str,
    /// What its value may be.
    pub(crate) kind: Kind,
    /// What happens when it is absent.
    pub(crate) absent: Absent,
    /// What it is for.
    pub(crate) about: &'static str,
}

/// What a value may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Any text but the empty one.
    Text,
    /// A text that is never printed.
    Secret,
    /// A URL, of which only scheme and host are printed: paths, queries and user parts hold keys and passwords.
    Url,
    /// A path; a relative one starts at the configuration file's directory.
    Path,
    /// A path of a file that holds the secret; the file's content is never printed.
    SecretPath,
    /// A whole number in a range, ends included.
    Integer { min: u64, max: u64 },
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A list of texts.
    Texts,
}

/// What happens when a setting is absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Absent {
    /// It must be given.
    Required,
    /// There is nothing in its place.
    Optional,
    /// This text is.
    Default(&'static str),
    /// This number is.
    DefaultInteger(u64),
}

impl Kind {
    /// What to write, for the documentation and for remedies.
    pub(crate) fn wanted(self) -> String {
        match self {
            Self::Text | Self::Secret => "a text".into(),
            Self::Url => "a URL".into(),
            Self::Path | Self::SecretPath => "a path".into(),
            Self::Integer { min, max: u64::MAX } => format!("a whole number, {min} or more"),
            Self::Integer { min, max } => format!("a whole number from {min} to {max}"),
            Self::Choice(words) => {
                words.iter().map(|w| format!("`\"{w}\"`")).collect::<Vec<_>>().join(" or ")
            }
            Self::Texts => "a list of texts".into(),
        }
    }

    /// An example of the value in TOML.
    pub(crate) fn example(self) -> String {
        match self {
            Self::Text | Self::Secret | Self::Url => "\"…\"".into(),
            Self::Path | Self::SecretPath => "\"./path/to/file\"".into(),
            Self::Integer { min, max } => 10.clamp(min, max).to_string(),
            Self::Choice(words) => format!("\"{}\"", words[0]),
            Self::Texts => "[\"…\"]".into(),
        }
    }
}

/// The environment variables that belong to settings start so, and go on with the table's and the key's name.
pub(crate) const VARIABLE_PREFIX: &str = "PLIMSOLL_";
/// Between the names in a variable.
pub(crate) const VARIABLE_SEPARATOR: &str = "__";

/// Large enough for any chain that exists, small enough for Postgres's `bigint` and for JSON.
const MAX_BLOCKS: u64 = 1_000_000;
const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;
const MAX_CONNECTIONS: u64 = 500;

const fn key(name: &'static str, kind: Kind, absent: Absent, about: &'static str) -> Key {
    Key { name, kind, absent, about }
}

const fn integer(name: &'static str, min: u64, max: u64, default: u64, about: &'static str) -> Key {
    key(name, Kind::Integer { min, max }, Absent::DefaultInteger(default), about)
}

/// The document.
pub(crate) const ROOT: Section = Section {
    name: "",
    repeated: false,
    keys: &[],
    sections: &[
        Section {
            name: "database",
            repeated: false,
            keys: &[
                key("url", Kind::Url, Absent::Optional, "The Postgres (15 or later) to use, as its owner or a superuser: `postgres://user:password@host/database`. Without it, and without `url_file` and `DATABASE_URL`, Plimsoll runs its own private Postgres."),
                key("url_file", Kind::SecretPath, Absent::Optional, "A file that holds the URL."),
                key("data_dir", Kind::Path, Absent::Default("./plimsoll-data"), "Where the private Postgres keeps its data. Not together with `url` or `url_file`."),
                key("app_password", Kind::Secret, Absent::Optional, "The password of the role `plimsoll_app` on a Postgres of your own."),
                key("app_password_file", Kind::SecretPath, Absent::Optional, "A file that holds it."),
                key("worker_password", Kind::Secret, Absent::Optional, "The password of the role `plimsoll_worker` on a Postgres of your own."),
                key("worker_password_file", Kind::SecretPath, Absent::Optional, "A file that holds it."),
                integer("app_connections", 1, MAX_CONNECTIONS, 10, "The most connections of the API's pool."),
                integer("worker_connections", 4, MAX_CONNECTIONS, 16, "The most connections of the roles' pool."),
            ],
            sections: &[],
        },
        Section {
            name: "tenant",
            repeated: true,
            keys: &[
                key("id", Kind::Text, Absent::Required, "The tenant's UUID. It is written with every row of the tenant: never change it."),
                key("name", Kind::Text, Absent::Required, "The tenant's name, by which contracts refer to it."),
            ],
            sections: &[],
        },
        Section {
            name: "chain",
            repeated: true,
            keys: &[
                integer_required("chain_id", 1, MAX_SAFE_INTEGER, "The chain's id, as `eth_chainId` answers it. A node of another chain is refused."),
                key("name", Kind::Text, Absent::Required, "The chain's name, for people."),
                key("rpc", Kind::Url, Absent::Optional, "The node's JSON-RPC: `http://`, `https://`, `ws://` or `wss://`. This or `rpc_file`."),
                key("rpc_file", Kind::SecretPath, Absent::Optional, "A file that holds the URL, for one with a key in it."),
                integer("confirmations", 0, MAX_BLOCKS, 12, "How many blocks deep a block counts as confirmed, in blocks."),
                integer("finality_depth", 1, MAX_BLOCKS, 64, "How many blocks deep a block is final where the node names no final block, in blocks. A reorganisation that reaches deeper stops the chain."),
                integer("poll_interval_ms", 10, 600_000, 1_000, "How often the node is asked for its head, in milliseconds."),
                integer("request_timeout_ms", 100, 600_000, 10_000, "How long a request to the node may take, in milliseconds."),
                integer("max_concurrent_requests", 1, 256, 16, "How many requests to the node may be under way at once."),
                integer("backfill_initial_blocks", 1, MAX_BLOCKS, 100, "How many blocks the first request for past logs spans."),
                integer("backfill_max_blocks", 1, MAX_BLOCKS, 10_000, "The most blocks that one request for past logs may span. Providers cap it; Plimsoll narrows the span by itself when a request is refused."),
                integer("backfill_in_flight", 1, 64, 4, "How many spans of past blocks are fetched at once."),
                integer("max_lag_blocks", 0, MAX_BLOCKS, 2, "How many blocks an answer may be behind the node's head before it counts as stale (and `/readyz` as not ready)."),
                integer("max_lag_ms", 100, 86_400_000, 10_000, "How long a journal record may wait to be folded before its fold counts as stale, in milliseconds."),
                integer("max_head_age_ms", 100, 86_400_000, 60_000, "How long the node may go without telling a head before the chain counts as stale, in milliseconds."),
                key("watched_senders", Kind::Texts, Absent::Optional, "Addresses whose every transaction is recorded, also one that emits no log."),
            ],
            sections: &[Section {
                name: "contract",
                repeated: true,
                keys: &[
                    key("name", Kind::Text, Absent::Required, "The contract's name, unique on its chain, as `PositionView`."),
                    key("address", Kind::Text, Absent::Required, "Its address, in lower case or with a correct EIP-55 checksum."),
                    key("abi", Kind::Path, Absent::Required, "Its ABI: a JSON file that is the ABI's array, or a compiler's artifact with the array under `abi`."),
                    key("start_block", Kind::Integer { min: 0, max: MAX_SAFE_INTEGER }, Absent::Required, "The block in which it was deployed: nothing before it is read."),
                    key("tenant", Kind::Text, Absent::Required, "Whose it is: a tenant's name, or a UUID."),
                ],
                sections: &[],
            }],
        },
        Section {
            name: "api",
            repeated: false,
            keys: &[
                key("listen", Kind::Text, Absent::Default("127.0.0.1:8080"), "The address and port of the API, as `127.0.0.1:8080` or `[::]:8080`."),
                integer("request_timeout_ms", 1_000, 600_000, 15_000, "How long a request to the API may take, in milliseconds."),
                integer("max_concurrent_requests", 1, 100_000, 256, "How many requests the API works on at once; one more is told to come back."),
                integer("max_connections", 1, 100_000, 1_024, "How many connections the API keeps open at once; one more waits in the listener's queue."),
            ],
            sections: &[],
        },
        Section {
            name: "logging",
            repeated: false,
            keys: &[
                key("format", Kind::Choice(&["text", "json"]), Absent::Default("text"), "How log lines are written to standard error."),
                key("level", Kind::Text, Absent::Default("info"), "What is logged: a level, or directives as `info,plimsoll_ingest=debug`. The variable `RUST_LOG` comes before it."),
            ],
            sections: &[],
        },
        Section {
            name: "verify",
            repeated: false,
            keys: &[integer("rows_per_second", 1, 10_000, 20, "How many mirror rows the role `verify` compares with the chain each second.")],
            sections: &[],
        },
        Section {
            name: "leases",
            repeated: false,
            keys: &[integer("term_ms", 1_000, 600_000, 15_000, "How long a lease holds without renewal, in milliseconds: the longest that a role stands still after its process dies.")],
            sections: &[],
        },
    ],
};

const fn integer_required(name: &'static str, min: u64, max: u64, about: &'static str) -> Key {
    key(name, Kind::Integer { min, max }, Absent::Required, about)
}

impl Section {
    /// The setting so named.
    pub(crate) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|k| k.name == name)
    }

    /// The table so named.
    pub(crate) fn section(&self, name: &str) -> Option<&'static Self> {
        self.sections.iter().find(|s| s.name == name)
    }

    /// Every name that may stand in it.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.keys.iter().map(|k| k.name).chain(self.sections.iter().map(|s| s.name))
    }
}

/// Every setting, with the path of its tables, as `chain[].contract[].name`.
#[cfg(test)]
pub(crate) fn all() -> Vec<(String, &'static Key)> {
    fn walk(section: &'static Section, path: &str, found: &mut Vec<(String, &'static Key)>) {
        found.extend(section.keys.iter().map(|k| (format!("{path}{}", k.name), k)));
        for inner in section.sections {
            let mark = if inner.repeated { "[]" } else { "" };
            walk(inner, &format!("{path}{}{mark}.", inner.name), found);
        }
    }
    let mut found = Vec::new();
    walk(&ROOT, "", &mut found);
    found
}

/// The environment variable of a setting's path: `chain[0].rpc` is `PLIMSOLL_CHAIN__0__RPC`.
pub(crate) fn variable(path: &str) -> String {
    let names = path.replace("[]", "[N]").replace('[', ".").replace(']', "");
    format!("{VARIABLE_PREFIX}{}", names.replace('.', VARIABLE_SEPARATOR).to_uppercase())
}

/// The name of these that was most likely meant.
pub(crate) fn did_you_mean(given: &str, names: impl Iterator<Item = impl Into<String>>) -> Option<String> {
    let given = given.to_lowercase();
    names
        .map(|name| name.into())
        .map(|name: String| (strsim::damerau_levenshtein(&given, &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= 1 + name.len() / 4)
        .min()
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_named_after_the_path() {
        assert_eq!(variable("database.url"), "PLIMSOLL_DATABASE__URL");
        assert_eq!(variable("chain[0].contract[12].start_block"), "PLIMSOLL_CHAIN__0__CONTRACT__12__START_BLOCK");
        assert_eq!(variable("chain[].rpc"), "PLIMSOLL_CHAIN__N__RPC");
    }

    #[test]
    fn a_slip_of_the_hand_is_recognised_and_another_word_is_not() {
        let names = || ROOT.sections.iter().map(|s| s.name);
        assert_eq!(did_you_mean("databse", names()), Some("database".into()));
        assert_eq!(did_you_mean("Logging", names()), Some("logging".into()));
        assert_eq!(did_you_mean("relayer", names()), None);
    }
}
