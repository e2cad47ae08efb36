//! How the ledger's logs are named and signed.

use super::key;
use crate::config::schema::{Absent, Kind, Section};

pub(super) const LEDGER: Section = Section {
    name: "ledger",
    repeated: false,
    keys: &[
        key(
            "log_name",
            Kind::Text,
            Absent::Optional,
            "What the tenants' logs are called in what is signed, before `/<tenant_id>`: a name of yours for ever, as `books.example.com`. A restored database goes on under another.",
        ),
        key(
            "signing_key",
            Kind::Secret,
            Absent::Optional,
            "The Ed25519 key that signs the logs: 32 random bytes in hexadecimal (`openssl rand -hex 32`). Without it postings are booked, and nothing is sealed here.",
        ),
        key("signing_key_file", Kind::SecretPath, Absent::Optional, "A file that holds `signing_key`."),
    ],
    sections: &[],
};
