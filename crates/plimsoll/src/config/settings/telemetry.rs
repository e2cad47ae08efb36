//! What is told to an OpenTelemetry collector.

use super::{integer, key};
use crate::config::schema::{Absent, Kind, Section};

pub(super) const TELEMETRY: Section = Section {
    name: "telemetry",
    repeated: false,
    keys: &[
        key(
            "endpoint",
            Kind::Url,
            Absent::Optional,
            "An OpenTelemetry collector that takes OTLP over HTTP, as `http://127.0.0.1:4318`; `/v1/traces` is added to its path. Without it no span leaves the process.",
        ),
        key(
            "headers",
            Kind::Secret,
            Absent::Optional,
            "Headers of each request to it, a line each, as `Authorization: Bearer …`.",
        ),
        key("headers_file", Kind::SecretPath, Absent::Optional, "A file that holds `headers`."),
        integer(
            "sample_one_in",
            1,
            1_000_000,
            1,
            "Of how many traces one is told: 1 tells all. It counts for traces that begin here; of one that a client brings the client's sampled flag decides.",
        ),
        key(
            "service_name",
            Kind::Text,
            Absent::Default("plimsoll"),
            "How this service is named there (`service.name`).",
        ),
    ],
    sections: &[],
};
