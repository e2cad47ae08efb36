//! Who signs, for whom and what, and how the relayer drives transactions home.

use super::{MAX_BLOCKS, integer, key};
use crate::config::schema::{Absent, Kind, Section};

/// A number of wei.
const WEI: Kind = Kind::Wei { unlimited: false };
/// A number of wei, or no limit.
const LIMIT: Kind = Kind::Wei { unlimited: true };

pub(super) const SIGNERS: Section = Section {
    name: "signers",
    repeated: true,
    keys: &[
        key("name", Kind::Text, Absent::Required, "The signer's name, for people; no two have the same."),
        key("chain", Kind::Name, Absent::Required, "On which chain it sends: a chain's name, or its id."),
        key(
            "address",
            Kind::Text,
            Absent::Required,
            "From which address, in lower case or with a correct EIP-55 checksum: its key's own.",
        ),
        integer(
            "window",
            1,
            1_024,
            64,
            "How many of its transactions may be under way at once, sent and not yet included.",
        ),
        key(
            "max_fee_per_gas_wei",
            WEI,
            Absent::Optional,
            "The most that it ever offers for a unit of gas, in wei; without it what `[relayer]` or `[chain.relayer]` says.",
        ),
        key(
            "on_foreign_use",
            Kind::Choice(&["requeue", "replace"]),
            Absent::Default("requeue"),
            "What becomes of a request whose nonce somebody else used: it waits for another nonce, proven unexecuted, or it ends as replaced.",
        ),
        key(
            "simulate",
            Kind::Choice(&["asked", "always"]),
            Absent::Default("asked"),
            "Whether a transaction that says nothing of it is run on the newest block before it gets a nonce, and ends if it would revert. One whose gas is estimated is run in any case.",
        ),
    ],
    sections: &[KEY, GRANTS],
};

const KEY: Section = Section {
    name: "key",
    repeated: false,
    keys: &[
        key(
            "keystore",
            Kind::Path,
            Absent::Optional,
            "The key in an encrypted keystore (JSON, version 3). This, with its password, or `web3signer`.",
        ),
        key("password", Kind::Secret, Absent::Optional, "The keystore's password. This or `password_file`."),
        key("password_file", Kind::SecretPath, Absent::Optional, "A file that holds `password`."),
        key(
            "web3signer",
            Kind::Url,
            Absent::Optional,
            "A remote signer that speaks web3signer's HTTP API, as `https://signer.example:9000`, and holds the key. This, or `keystore`.",
        ),
        key(
            "identifier",
            Kind::Text,
            Absent::Optional,
            "What the remote signer calls the key: its public key. Without it the signer's list of keys is searched for `address`.",
        ),
        key(
            "token",
            Kind::Secret,
            Absent::Optional,
            "A bearer token for the remote signer, or for what stands in front of it. This or `token_file`; but within this machine it needs `https://`.",
        ),
        key("token_file", Kind::SecretPath, Absent::Optional, "A file that holds `token`."),
        key(
            "ca_file",
            Kind::Path,
            Absent::Optional,
            "The authorities, in PEM, that the remote signer's certificate comes from; without it those that the system trusts.",
        ),
        key(
            "client_cert_file",
            Kind::Path,
            Absent::Optional,
            "The certificate in PEM that is shown to the remote signer. Together with `client_key_file`.",
        ),
        key("client_key_file", Kind::SecretPath, Absent::Optional, "That certificate's private key, in PEM."),
        integer(
            "request_timeout_ms",
            100,
            600_000,
            10_000,
            "How long the remote signer may take for a signature, in milliseconds.",
        ),
        integer(
            "max_concurrent_requests",
            1,
            1_024,
            32,
            "How many signatures the remote signer may be asked for at once.",
        ),
    ],
    sections: &[],
};

const GRANTS: Section = Section {
    name: "grants",
    repeated: true,
    keys: &[
        key(
            "tenant",
            Kind::Text,
            Absent::Required,
            "Who may use the signer: a tenant's name, a UUID, or `*` for every tenant that has no grant of its own here. Without a grant nobody may.",
        ),
        key(
            "targets",
            Kind::Texts,
            Absent::Required,
            "Whom transactions may go to: addresses, or `*` for any; `create` for the creation of contracts, whatever their code.",
        ),
        key(
            "methods",
            Kind::Texts,
            Absent::Required,
            "What may be called of each of them: signatures as `retryUserPositionUpdate(address,address)`, selectors as `0x12345678`, `none` for a transfer without data, or `*` for anything.",
        ),
        key("max_value_wei", LIMIT, Absent::Default("0"), "The most that one transaction may carry, in wei."),
        key(
            "max_value_wei_per_day",
            LIMIT,
            Absent::Default("0"),
            "The most that the tenant's transactions by this signer may carry within 24 hours, in wei.",
        ),
        key(
            "max_gas_wei_per_day",
            LIMIT,
            Absent::Required,
            "The most that the gas of the tenant's transactions by this signer may cost within 24 hours, in wei; what is still open counts with the most that it may cost.",
        ),
    ],
    sections: &[],
};

/// How a chain prices gas; `auto`: as its id and its blocks say.
const PRICINGS: Kind = Kind::Choice(&["auto", "base_fee", "base_fee_without_tips", "gas_price"]);
/// What becomes of requests while the chain's data are stale.
const ON_STALE_DATA: Kind = Kind::Choice(&["hold_decided", "hold_all", "send"]);

pub(super) const RELAYER: Section = Section {
    name: "relayer",
    repeated: false,
    keys: &[
        integer(
            "policy_interval_ms",
            10,
            600_000,
            1_000,
            "How often a signer's open transactions are looked at for one to send again, to offer more for or to end, in milliseconds.",
        ),
        integer(
            "resend_after_blocks",
            1,
            MAX_BLOCKS,
            3,
            "After how many blocks without its inclusion a transaction's bytes are sent again as they are.",
        ),
        integer(
            "bump_after_blocks",
            1,
            MAX_BLOCKS,
            6,
            "After how many blocks without its inclusion a transaction offers more for gas, where that helps.",
        ),
        integer(
            "resend_after_ms",
            100,
            86_400_000,
            30_000,
            "After how long without its inclusion both are done, where no blocks come, in milliseconds.",
        ),
        key(
            "max_fee_per_gas_wei",
            WEI,
            Absent::Default("500000000000"),
            "The most that any signer offers for a unit of gas, in wei, where it has no limit of its own; also what a tenant's gas counts with while it is open.",
        ),
        key(
            "min_priority_fee_per_gas_wei",
            WEI,
            Absent::Default("0"),
            "The least tip, in wei for a unit of gas, that the chain's nodes take; of a plain gas price, the least price.",
        ),
        key(
            "gas_pricing",
            PRICINGS,
            Absent::Default("auto"),
            "How the chain prices gas. `auto`: Arbitrum's chains by their ids have base fees without tips, a chain whose blocks name no base fee has one gas price, any other has base fees and tips.",
        ),
        key(
            "on_stale_data",
            ON_STALE_DATA,
            Absent::Default("hold_decided"),
            "What becomes of transactions that have no nonce yet while the chain's data are stale (`max_lag_blocks`, `max_head_age_ms`): those that name the block that they were decided on are held, all are, or all are sent.",
        ),
    ],
    sections: &[],
};

/// What of [`RELAYER`] a chain may have otherwise.
pub(super) const OF_CHAIN: Section = Section {
    name: "relayer",
    repeated: false,
    keys: &[
        key(
            "policy_interval_ms",
            Kind::Integer { min: 10, max: 600_000 },
            Absent::Optional,
            "On this chain, in place of `relayer.policy_interval_ms`.",
        ),
        key(
            "resend_after_blocks",
            Kind::Integer { min: 1, max: MAX_BLOCKS },
            Absent::Optional,
            "On this chain, in place of `relayer.resend_after_blocks`.",
        ),
        key(
            "bump_after_blocks",
            Kind::Integer { min: 1, max: MAX_BLOCKS },
            Absent::Optional,
            "On this chain, in place of `relayer.bump_after_blocks`.",
        ),
        key(
            "resend_after_ms",
            Kind::Integer { min: 100, max: 86_400_000 },
            Absent::Optional,
            "On this chain, in place of `relayer.resend_after_ms`.",
        ),
        key(
            "max_fee_per_gas_wei",
            WEI,
            Absent::Optional,
            "On this chain, in place of `relayer.max_fee_per_gas_wei`.",
        ),
        key(
            "min_priority_fee_per_gas_wei",
            WEI,
            Absent::Optional,
            "On this chain, in place of `relayer.min_priority_fee_per_gas_wei`.",
        ),
        key("gas_pricing", PRICINGS, Absent::Optional, "On this chain, in place of `relayer.gas_pricing`."),
        key(
            "on_stale_data",
            ON_STALE_DATA,
            Absent::Optional,
            "On this chain, in place of `relayer.on_stale_data`.",
        ),
    ],
    sections: &[],
};
