//! How the process keeps itself: what it logs, what it verifies, how long it keeps things and holds leases and idempotency keys.

use super::{integer, key};
use crate::config::schema::{Absent, Kind, Section};

pub(super) const LOGGING: Section = Section {
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
};

pub(super) const VERIFY: Section = Section {
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
};

pub(super) const IDEMPOTENCY: Section = Section {
    name: "idempotency",
    repeated: false,
    keys: &[
        integer(
            "ttl_hours",
            1,
            8_760,
            24,
            "For how long the answer to a write is given again to who sends the write again under the same key, in hours from the first request on.",
        ),
        integer(
            "wait_ms",
            0,
            600_000,
            10_000,
            "How long a duplicate waits for the answer to a request that is being worked on, in milliseconds, before it is told to come back. Below `api.request_timeout_ms`.",
        ),
        integer(
            "claim_term_ms",
            1_000,
            600_000,
            30_000,
            "After how long another may take over a request whose process is frozen or cut off, in milliseconds; from a process that is gone it is taken at once. Above `api.request_timeout_ms`.",
        ),
    ],
    sections: &[],
};

pub(super) const AUDIT: Section = Section {
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
};

pub(super) const LEASES: Section = Section {
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
};
