//! Every setting there is: its name, its kind, its default, and one sentence about it.
//!
//! This table is the only list. The reader walks it, so a key that is not here is an error by construction; the example
//! file and the documentation are compared with it by tests.

use super::schema::{Absent, Key, Kind, Section};

/// Large enough for any chain that exists, small enough for Postgres's `bigint` and for JSON.
const MAX_BLOCKS: u64 = 1_000_000;
const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;
const MAX_CONNECTIONS: u64 = 500;
const MAX_REQUESTS: u64 = 1_000_000;

const fn key(name: &'static str, kind: Kind, absent: Absent, about: &'static str) -> Key {
    Key { name, kind, absent, about }
}

const fn integer(name: &'static str, min: u64, max: u64, default: u64, about: &'static str) -> Key {
    key(name, Kind::Integer { min, max }, Absent::DefaultInteger(default), about)
}

const fn requests(name: &'static str, default: u64, about: &'static str) -> Key {
    integer(name, 0, MAX_REQUESTS, default, about)
}

const fn burst(name: &'static str, default: u64, about: &'static str) -> Key {
    integer(name, 1, MAX_REQUESTS, default, about)
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
                    "Where users reach the API, as `https://plimsoll.example`: sign-in messages, links and tokens name it. Without it: `http://` (with TLS `https://`) and `listen`.",
                ),
                key(
                    "tls_cert_file",
                    Kind::Path,
                    Absent::Optional,
                    "The API's certificate in PEM, its intermediates after it. With it and `tls_key_file` the API speaks TLS alone; files that change are taken over without a restart.",
                ),
                key(
                    "tls_key_file",
                    Kind::SecretPath,
                    Absent::Optional,
                    "The certificate's private key in PEM.",
                ),
                key(
                    "client_ca_file",
                    Kind::Path,
                    Absent::Optional,
                    "The authorities, in PEM, whose client certificates are accepted: API keys can be bound to such a certificate.",
                ),
                key(
                    "client_certificates",
                    Kind::Choice(&["request", "require"]),
                    Absent::Default("request"),
                    "Whether a client without a certificate is served, where `client_ca_file` is given.",
                ),
                key(
                    "internal_listen",
                    Kind::Text,
                    Absent::Optional,
                    "Another address and port, for this system's own services and operators: internal routes, `/metrics` and the details of `/readyz` are then served there alone. One that other machines reach needs TLS and `client_ca_file`, and lets in nobody without a certificate.",
                ),
                key(
                    "trusted_proxies",
                    Kind::Texts,
                    Absent::Optional,
                    "The addresses or networks (`10.0.0.0/8`) of your own proxies: from them alone `Forwarded` and `X-Forwarded-For` are believed.",
                ),
                key(
                    "cors_origins",
                    Kind::Texts,
                    Absent::Optional,
                    "The origins (`https://console.example`) whose pages may call the API from a browser.",
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
                    "body_timeout_ms",
                    100,
                    600_000,
                    10_000,
                    "How long the body of a request may take to arrive, in milliseconds.",
                ),
                integer(
                    "max_concurrent_requests",
                    1,
                    100_000,
                    256,
                    "How many requests the API works on at once; one more is told to come back.",
                ),
                integer(
                    "max_costly_requests",
                    1,
                    100_000,
                    8,
                    "How many of them may be of those that cost as much as many others.",
                ),
                integer(
                    "max_connections",
                    1,
                    100_000,
                    1_024,
                    "How many connections the API keeps open at once; one more waits in the listener's queue.",
                ),
                integer(
                    "max_streams",
                    1,
                    100_000,
                    512,
                    "How many streams of events and exports the API serves at once. Each holds a connection: keep it below `max_connections`.",
                ),
                integer("max_streams_per_tenant", 1, 100_000, 64, "How many of these may be one tenant's."),
                requests(
                    "address_requests_per_second",
                    100,
                    "How many requests of one client address (of IPv6: a /64) come back each second; 0: no limit.",
                ),
                burst("address_burst", 200, "How many it may send at once."),
                requests(
                    "user_requests_per_second",
                    50,
                    "The same for each user, whatever credentials they use; 0: no limit.",
                ),
                burst("user_burst", 100, "How many at once."),
                requests(
                    "tenant_requests_per_second",
                    500,
                    "The same for all users of a tenant together; 0: no limit.",
                ),
                burst("tenant_burst", 1_000, "How many at once."),
                requests(
                    "sign_in_requests_per_minute",
                    20,
                    "How many attempts to sign in come back to one client address each minute; 0: no limit but the others.",
                ),
                burst("sign_in_burst", 10, "How many at once."),
            ],
            sections: &[],
        },
        Section {
            name: "identity",
            repeated: false,
            keys: &[
                key(
                    "keys_dir",
                    Kind::Path,
                    Absent::Default("./plimsoll-keys"),
                    "Where the keys are that sign access tokens: `signing.pem` signs, every other `*.pem` verifies. One is made where there is none; processes that serve the API together need the same.",
                ),
                key(
                    "registration",
                    Kind::Choice(&["closed", "pending_review", "open"]),
                    Absent::Default("closed"),
                    "What becomes of a wallet that nobody has when it signs in: it is turned away, becomes a user who may do nothing until somebody activates it, or an active user without a role.",
                ),
                key(
                    "seal_key_file",
                    Kind::SecretPath,
                    Absent::Optional,
                    "A file with the key under which seeds of second factors are sealed: 32 random bytes in base64 (`openssl rand -base64 32`). Without it nobody sets up a code app.",
                ),
                key(
                    "former_seal_key_file",
                    Kind::SecretPath,
                    Absent::Optional,
                    "A file with the key before that one, until every user has enrolled anew.",
                ),
                key(
                    "password_file",
                    Kind::Path,
                    Absent::Optional,
                    "A file of operators and their passwords, a line each: `login:tenant:user:$argon2id$…`. For development: production has OpenID Connect.",
                ),
                key(
                    "webauthn_domain",
                    Kind::Text,
                    Absent::Optional,
                    "The domain that security keys are made for: that of `api.public_url`, which it is if left out, or one above it. Changed, everyone enrols anew.",
                ),
                key(
                    "webauthn_user_verification",
                    Kind::Choice(&["required", "preferred", "discouraged"]),
                    Absent::Default("preferred"),
                    "Whether a security key must know its user, by PIN or finger.",
                ),
            ],
            sections: &[Section {
                name: "provider",
                repeated: true,
                keys: &[
                    key(
                        "name",
                        Kind::Text,
                        Absent::Required,
                        "How the provider is named in `/auth/oidc/{provider}/start`, as `acme`.",
                    ),
                    key(
                        "tenant",
                        Kind::Text,
                        Absent::Required,
                        "Whose operators sign in there: a tenant's name, or a UUID.",
                    ),
                    key(
                        "issuer",
                        Kind::Url,
                        Absent::Required,
                        "The issuer, to the letter as the provider names itself.",
                    ),
                    key("client_id", Kind::Text, Absent::Required, "What the provider calls this server."),
                    key(
                        "client_secret",
                        Kind::Secret,
                        Absent::Optional,
                        "By what the provider knows this server. This or `client_secret_file`.",
                    ),
                    key("client_secret_file", Kind::SecretPath, Absent::Optional, "A file that holds it."),
                    key(
                        "scopes",
                        Kind::Texts,
                        Absent::Optional,
                        "Scopes beside `openid`: `profile` gives new users a name.",
                    ),
                    key(
                        "second_factor_amr",
                        Kind::Texts,
                        Absent::Optional,
                        "Authentication methods (RFC 8176) that the provider gives for two factors only, as `mfa`: these count as a second factor here.",
                    ),
                    key(
                        "second_factor_acr",
                        Kind::Texts,
                        Absent::Optional,
                        "Authentication context classes that do.",
                    ),
                    key(
                        "provisioning",
                        Kind::Choice(&["linked", "create"]),
                        Absent::Default("linked"),
                        "What becomes of a subject that no user has: it is turned away, or becomes a person. Create only where everyone whom the provider lets in is the tenant's.",
                    ),
                    key("role", Kind::Text, Absent::Optional, "The role of a person that is so created."),
                ],
                sections: &[],
            }],
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
            name: "audit",
            repeated: false,
            keys: &[integer(
                "retention_days",
                30,
                36_500,
                731,
                "How long the audit log is kept, in days: two years, unless the law wants more. What is older goes in lots of a million entries, once all of a lot is.",
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
