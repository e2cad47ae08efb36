//! Every setting there is: its name, its kind, its default, and one sentence about it.
//!
//! This table is the only list. The reader walks it, so a key that is not here is an error by construction; the example
//! file and the documentation are compared with it by tests.

use super::schema::{Absent, Key, Kind, Section};

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
                key(
                    "url",
                    Kind::Url,
                    Absent::Optional,
                    "The Postgres (15 or later) to use, as its owner or a superuser: `postgres://user:password@host/database`. Without it, and without `url_file` and `DATABASE_URL`, Plimsoll runs its own private Postgres.",
                ),
                key("url_file", Kind::SecretPath, Absent::Optional, "A file that holds the URL."),
                key(
                    "data_dir",
                    Kind::Path,
                    Absent::Default("./plimsoll-data"),
                    "Where the private Postgres keeps its data. Not together with `url` or `url_file`.",
                ),
                key(
                    "app_password",
                    Kind::Secret,
                    Absent::Optional,
                    "The password of the role `plimsoll_app` on a Postgres of your own.",
                ),
                key("app_password_file", Kind::SecretPath, Absent::Optional, "A file that holds it."),
                key(
                    "worker_password",
                    Kind::Secret,
                    Absent::Optional,
                    "The password of the role `plimsoll_worker` on a Postgres of your own.",
                ),
                key("worker_password_file", Kind::SecretPath, Absent::Optional, "A file that holds it."),
                integer("app_connections", 1, MAX_CONNECTIONS, 10, "The most connections of the API's pool."),
                integer(
                    "worker_connections",
                    4,
                    MAX_CONNECTIONS,
                    16,
                    "The most connections of the roles' pool.",
                ),
            ],
            sections: &[],
        },
        Section {
            name: "tenant",
            repeated: true,
            keys: &[
                key(
                    "id",
                    Kind::Text,
                    Absent::Required,
                    "The tenant's UUID. It is written with every row of the tenant: never change it.",
                ),
                key(
                    "name",
                    Kind::Text,
                    Absent::Required,
                    "The tenant's name, by which contracts refer to it.",
                ),
            ],
            sections: &[],
        },
        Section {
            name: "chain",
            repeated: true,
            keys: &[
                integer_required(
                    "chain_id",
                    1,
                    MAX_SAFE_INTEGER,
                    "The chain's id, as `eth_chainId` answers it. A node of another chain is refused.",
                ),
                key("name", Kind::Text, Absent::Required, "The chain's name, for people."),
                key(
                    "rpc",
                    Kind::Url,
                    Absent::Optional,
                    "The node's JSON-RPC: `http://`, `https://`, `ws://` or `wss://`. This or `rpc_file`.",
                ),
                key(
                    "rpc_file",
                    Kind::SecretPath,
                    Absent::Optional,
                    "A file that holds the URL, for one with a key in it.",
                ),
                integer(
                    "confirmations",
                    0,
                    MAX_BLOCKS,
                    12,
                    "How many blocks deep a block counts as confirmed, in blocks.",
                ),
                integer(
                    "finality_depth",
                    1,
                    MAX_BLOCKS,
                    64,
                    "How many blocks deep a block is final where the node names no final block, in blocks. A reorganisation that reaches deeper stops the chain.",
                ),
                integer(
                    "poll_interval_ms",
                    10,
                    600_000,
                    1_000,
                    "How often the node is asked for its head, in milliseconds.",
                ),
                integer(
                    "request_timeout_ms",
                    100,
                    600_000,
                    10_000,
                    "How long a request to the node may take, in milliseconds.",
                ),
                integer(
                    "max_concurrent_requests",
                    1,
                    256,
                    16,
                    "How many requests to the node may be under way at once.",
                ),
                integer(
                    "backfill_initial_blocks",
                    1,
                    MAX_BLOCKS,
                    100,
                    "How many blocks the first request for past logs spans.",
                ),
                integer(
                    "backfill_max_blocks",
                    1,
                    MAX_BLOCKS,
                    10_000,
                    "The most blocks that one request for past logs may span. Providers cap it; Plimsoll narrows the span by itself when a request is refused.",
                ),
                integer("backfill_in_flight", 1, 64, 4, "How many spans of past blocks are fetched at once."),
                integer(
                    "max_lag_blocks",
                    0,
                    MAX_BLOCKS,
                    2,
                    "How many blocks an answer may be behind the node's head before it counts as stale (and `/readyz` as not ready).",
                ),
                integer(
                    "max_lag_ms",
                    100,
                    86_400_000,
                    10_000,
                    "How long a journal record may wait to be folded before its fold counts as stale, in milliseconds.",
                ),
                integer(
                    "max_head_age_ms",
                    100,
                    86_400_000,
                    60_000,
                    "How long the node may go without telling a head before the chain counts as stale, in milliseconds.",
                ),
                key(
                    "watched_senders",
                    Kind::Texts,
                    Absent::Optional,
                    "Addresses whose every transaction is recorded, also one that emits no log.",
                ),
            ],
            sections: &[Section {
                name: "contract",
                repeated: true,
                keys: &[
                    key(
                        "name",
                        Kind::Text,
                        Absent::Required,
                        "The contract's name, unique on its chain, as `PositionView`.",
                    ),
                    key(
                        "address",
                        Kind::Text,
                        Absent::Required,
                        "Its address, in lower case or with a correct EIP-55 checksum.",
                    ),
                    key(
                        "abi",
                        Kind::Path,
                        Absent::Required,
                        "Its ABI: a JSON file that is the ABI's array, or a compiler's artifact with the array under `abi`.",
                    ),
                    key(
                        "start_block",
                        Kind::Integer { min: 0, max: MAX_SAFE_INTEGER },
                        Absent::Required,
                        "The block in which it was deployed: nothing before it is read.",
                    ),
                    key("tenant", Kind::Text, Absent::Required, "Whose it is: a tenant's name, or a UUID."),
                ],
                sections: &[],
            }],
        },
        Section {
            name: "api",
            repeated: false,
            keys: &[
                key(
                    "listen",
                    Kind::Text,
                    Absent::Default("127.0.0.1:8080"),
                    "The address and port of the API, as `127.0.0.1:8080` or `[::]:8080`.",
                ),
                key(
                    "public_url",
                    Kind::Url,
                    Absent::Optional,
                    "Where users reach the API, as `https://plimsoll.example`: sign-in messages, links and tokens name it. Without it: `http://` and `listen`.",
                ),
                key(
                    "anonymous_reads",
                    Kind::Choice(&["allow", "refuse"]),
                    Absent::Default("allow"),
                    "Whether what the chains made public (positions, events, how far a chain is followed) is answered without a credential.",
                ),
                integer(
                    "request_timeout_ms",
                    1_000,
                    600_000,
                    15_000,
                    "How long a request to the API may take, in milliseconds.",
                ),
                integer(
                    "max_concurrent_requests",
                    1,
                    100_000,
                    256,
                    "How many requests the API works on at once; one more is told to come back.",
                ),
                integer(
                    "max_connections",
                    1,
                    100_000,
                    1_024,
                    "How many connections the API keeps open at once; one more waits in the listener's queue.",
                ),
            ],
            sections: &[],
        },
        Section {
            name: "identity",
            repeated: false,
            keys: &[key(
                "keys_dir",
                Kind::Path,
                Absent::Default("./plimsoll-keys"),
                "Where the keys are that sign access tokens: `signing.pem` signs, every other `*.pem` verifies. One is made where there is none; processes that serve the API together need the same.",
            )],
            sections: &[],
        },
        Section {
            name: "logging",
            repeated: false,
            keys: &[
                key(
                    "format",
                    Kind::Choice(&["text", "json"]),
                    Absent::Default("text"),
                    "How log lines are written to standard error.",
                ),
                key(
                    "level",
                    Kind::Text,
                    Absent::Default("info"),
                    "What is logged: a level, or directives as `info,plimsoll_ingest=debug`. The variable `RUST_LOG` comes before it.",
                ),
            ],
            sections: &[],
        },
        Section {
            name: "verify",
            repeated: false,
            keys: &[integer(
                "rows_per_second",
                1,
                10_000,
                20,
                "How many mirror rows the role `verify` compares with the chain each second.",
            )],
            sections: &[],
        },
        Section {
            name: "leases",
            repeated: false,
            keys: &[integer(
                "term_ms",
                1_000,
                600_000,
                15_000,
                "How long a lease holds without renewal, in milliseconds: the longest that a role stands still after its process dies.",
            )],
            sections: &[],
        },
    ],
};

const fn integer_required(name: &'static str, min: u64, max: u64, about: &'static str) -> Key {
    key(name, Kind::Integer { min, max }, Absent::Required, about)
}
