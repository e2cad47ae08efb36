//! Every setting there is: its name, its kind, its default, and one sentence about it.
//!
//! These tables are the only list. The reader walks them, so a key that is not here is an error by construction; the example
//! file and the documentation are compared with them by tests.

mod data;
mod gateway;
mod identity;
mod ledger;
mod retry;
mod signers;
mod telemetry;
mod upkeep;

use super::schema::{Absent, Key, Kind, Section};

/// Large enough for any chain that exists, small enough for Postgres's `bigint` and for JSON.
const MAX_BLOCKS: u64 = 1_000_000;
const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;

/// The document.
pub(crate) const ROOT: Section = Section {
    name: "",
    repeated: false,
    keys: &[],
    sections: &[
        data::DATABASE,
        data::TENANT,
        data::CHAIN,
        signers::SIGNERS,
        signers::RELAYER,
        retry::RETRY,
        gateway::API,
        identity::IDENTITY,
        ledger::LEDGER,
        upkeep::IDEMPOTENCY,
        upkeep::LOGGING,
        telemetry::TELEMETRY,
        upkeep::VERIFY,
        upkeep::AUDIT,
        upkeep::LEASES,
    ],
};

const fn key(name: &'static str, kind: Kind, absent: Absent, about: &'static str) -> Key {
    Key { name, kind, absent, about }
}

const fn integer(name: &'static str, min: u64, max: u64, default: u64, about: &'static str) -> Key {
    key(name, Kind::Integer { min, max }, Absent::DefaultInteger(default), about)
}

const fn integer_required(name: &'static str, min: u64, max: u64, about: &'static str) -> Key {
    key(name, Kind::Integer { min, max }, Absent::Required, about)
}
