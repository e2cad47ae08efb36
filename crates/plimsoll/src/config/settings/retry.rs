//! What is tried again for views that failed, by whom, and how often.

use super::{integer, key};
use crate::config::schema::{Absent, Kind, Section};

pub(super) const RETRY: Section = Section {
    name: "retry",
    repeated: false,
    keys: &[
        key(
            "signers",
            Kind::Texts,
            Absent::Optional,
            "Who retries: names of `[[signers]]`, one for each chain, whose accounts the views let retry. On a chain without one failures are recorded, and nothing is tried.",
        ),
        key(
            "automatic",
            Kind::Texts,
            Absent::Optional,
            "The reasons whose failures are retried unasked: names of the contracts' errors, or `error`, `panic`, `empty`, `unknown_error`, `malformed`. What fails for another waits until somebody asks.",
        ),
        integer(
            "automatic_per_hour",
            0,
            100_000,
            60,
            "How many attempts an hour are made unasked, on each chain.",
        ),
        integer(
            "max_attempts",
            1,
            1_000,
            5,
            "After how many failed attempts a retry is given up as a dead letter, which somebody has to look at.",
        ),
        integer(
            "cool_down_ms",
            0,
            86_400_000,
            30_000,
            "How long a failure waits before its first retry, in milliseconds: the next push may heal it.",
        ),
        integer(
            "backoff_ms",
            1,
            86_400_000,
            60_000,
            "How long a retry waits after its first failed attempt, in milliseconds; twice as long after each further one.",
        ),
        integer("max_backoff_ms", 1, 604_800_000, 3_600_000, "How long it waits at most, in milliseconds."),
        integer(
            "interval_ms",
            10,
            600_000,
            1_000,
            "How often it is looked for what is due, and after what is under way, in milliseconds.",
        ),
    ],
    sections: &[],
};
