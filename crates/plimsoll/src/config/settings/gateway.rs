//! What stands in front of the API: its addresses, its certificates, and how much of everything it takes.

use super::{integer, key};
use crate::config::schema::{Absent, Key, Kind, Section};

const MAX_REQUESTS: u64 = 1_000_000;

const fn requests(name: &'static str, default: u64, about: &'static str) -> Key {
    integer(name, 0, MAX_REQUESTS, default, about)
}

const fn burst(name: &'static str, default: u64, about: &'static str) -> Key {
    integer(name, 1, MAX_REQUESTS, default, about)
}

pub(super) const API: Section = Section {
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
            "node_url",
            Kind::Url,
            Absent::Optional,
            "Where this process alone is reached, past what stands before all of them, as `https://node-a.plimsoll.example`: `GET /api/v1/signers` tells clients to hand in there what is worked there. Without it: they are told the process's name.",
        ),
        key(
            "tls_cert_file",
            Kind::Path,
            Absent::Optional,
            "The API's certificate in PEM, its intermediates after it. With it and `tls_key_file` the API speaks TLS alone; files that change are taken over without a restart.",
        ),
        key("tls_key_file", Kind::SecretPath, Absent::Optional, "The certificate's private key in PEM."),
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
            "write_timeout_ms",
            1_000,
            3_600_000,
            30_000,
            "How long a client may take nothing of what it is sent, an answer or a stream, in milliseconds; then its connection is cut off.",
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
            "How many requests the API works on at once to routes that cost as much as many others.",
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
        integer(
            "max_streams_per_tenant",
            1,
            100_000,
            64,
            "How many streams of events and exports one tenant may have at once.",
        ),
        requests(
            "address_requests_per_second",
            100,
            "How many requests of one client address (of IPv6: a /64) come back each second; 0: no limit.",
        ),
        burst("address_burst", 200, "How many requests one client address may send at once."),
        requests(
            "user_requests_per_second",
            50,
            "How many requests of one user come back each second, whatever credentials they use; 0: no limit.",
        ),
        burst("user_burst", 100, "How many requests one user may send at once."),
        requests(
            "tenant_requests_per_second",
            500,
            "How many requests of all users of a tenant together come back each second; 0: no limit.",
        ),
        burst("tenant_burst", 1_000, "How many requests all users of a tenant together may send at once."),
        requests(
            "sign_in_requests_per_minute",
            20,
            "How many attempts to sign in come back to one client address each minute; 0: no limit but the others.",
        ),
        burst("sign_in_burst", 10, "How many attempts to sign in one client address may make at once."),
    ],
    sections: &[],
};
