//! Where data comes from and where it is kept: the database, tenants, chains and their contracts.

use super::{MAX_BLOCKS, MAX_SAFE_INTEGER, integer, integer_required, key};
use crate::config::schema::{Absent, Kind, Section};

const MAX_CONNECTIONS: u64 = 500;

pub(super) const DATABASE: Section = Section {
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
        key("app_password_file", Kind::SecretPath, Absent::Optional, "A file that holds `app_password`."),
        key(
            "worker_password",
            Kind::Secret,
            Absent::Optional,
            "The password of the role `plimsoll_worker` on a Postgres of your own.",
        ),
        key(
            "worker_password_file",
            Kind::SecretPath,
            Absent::Optional,
            "A file that holds `worker_password`.",
        ),
        integer("app_connections", 1, MAX_CONNECTIONS, 10, "The most connections of the API's pool."),
        integer("worker_connections", 4, MAX_CONNECTIONS, 16, "The most connections of the roles' pool."),
    ],
    sections: &[],
};

pub(super) const TENANT: Section = Section {
    name: "tenant",
    repeated: true,
    keys: &[
        key(
            "id",
            Kind::Text,
            Absent::Required,
            "The tenant's UUID. It is written with every row of the tenant: never change it.",
        ),
        key("name", Kind::Text, Absent::Required, "The tenant's name, by which contracts refer to it."),
    ],
    sections: &[],
};

pub(super) const CHAIN: Section = Section {
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
            "The node's JSON-RPC: `http://`, `https://`, `ws://` or `wss://`. This or `rpc_file`; further nodes as [[chain.endpoint]].",
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
        key(
            "finality",
            Kind::Choice(&["depth", "finalized", "safe", "age"]),
            Absent::Optional,
            "When a block is final, so that a reorganisation that takes it back stops the chain: `finality_depth` blocks deep, when the chain calls it `finalized` or `safe`, or when it has the `finality_age_s`. Without it by the one of the two that is given, or as the chain is known: `finalized` on Ethereum and on Arbitrum One, Nova and Sepolia, `depth` elsewhere.",
        ),
        integer(
            "finality_depth",
            1,
            MAX_BLOCKS,
            64,
            "How many blocks deep a block is final, in blocks, where `finality` is `depth`.",
        ),
        integer(
            "finality_age_s",
            1,
            31_536_000,
            1_800,
            "How much older than the head a block is final, in seconds by the chain's own clock, where `finality` is `age`.",
        ),
        key(
            "head_completeness",
            Kind::Choice(&["receipts", "bloom", "trusted"]),
            Absent::Default("receipts"),
            "What proves that no log of a new block is missing or altered: its `receipts`, all of them, against the header's root; the header's `bloom`, which cannot show that one of several is missing; or the node's word, for a chain whose headers are made otherwise than Ethereum's.",
        ),
        key(
            "backfill_completeness",
            Kind::Choice(&["receipts", "bloom", "trusted"]),
            Absent::Default("bloom"),
            "The same of past blocks, where `receipts` costs a request for each block that may have a log of interest.",
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
        key(
            "books",
            Kind::Text,
            Absent::Optional,
            "The tenant, by name or UUID, whose books are kept from this chain: what its contracts say is booked, and the gas of the watched senders and of the chain's signers. Without it nothing is booked.",
        ),
    ],
    sections: &[ENDPOINT, CONTRACT, super::signers::OF_CHAIN],
};

const ENDPOINT: Section = Section {
    name: "endpoint",
    repeated: true,
    keys: &[
        key(
            "name",
            Kind::Text,
            Absent::Optional,
            "What the node is called in messages and metrics; its host and port where it has no name.",
        ),
        key(
            "rpc",
            Kind::Url,
            Absent::Optional,
            "A further node of the chain: what one fails to answer or shows alone, the others make good. This or `rpc_file`.",
        ),
        key(
            "rpc_file",
            Kind::SecretPath,
            Absent::Optional,
            "A file that holds the URL, for one with a key in it.",
        ),
        key(
            "requests_per_second",
            Kind::Integer { min: 1, max: 1_000_000 },
            Absent::Optional,
            "How many requests the node may be sent in a second; without it the node's own refusals teach a limit.",
        ),
    ],
    sections: &[],
};

const CONTRACT: Section = Section {
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
};
