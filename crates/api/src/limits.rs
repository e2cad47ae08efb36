//! What a request, a page and a connection may cost.

/// Rows on a page of positions when the request does not say.
pub const POSITIONS_PAGE_DEFAULT: u32 = 100;
/// The most rows on a page of positions.
pub const POSITIONS_PAGE_MAX: u32 = 500;
/// Rows on a page of events when the request does not say.
pub const EVENTS_PAGE_DEFAULT: u32 = 100;
/// The most rows on a page of events.
pub const EVENTS_PAGE_MAX: u32 = 1_000;
/// The most rows of the raw store that one page of events looks at. The statements in `repo/events.rs` spell it out.
pub const EVENTS_SCANNED_PER_PAGE: u32 = 10_000;

/// Rows on a page of users, roles, keys, sessions, approvals and transactions when the request does not say.
pub const IDENTITY_PAGE_DEFAULT: u32 = 50;
/// The most rows on such a page.
pub const IDENTITY_PAGE_MAX: u32 = 200;

/// Entries on a page of the audit when the request does not say.
pub const AUDIT_PAGE_DEFAULT: u32 = 50;
/// The most entries on a page of the audit.
pub const AUDIT_PAGE_MAX: u32 = 500;

/// The longest `X-Request-Id` that is taken over.
pub const REQUEST_ID_MAX_BYTES: usize = 128;
/// The largest request body, unless a route takes files.
pub const BODY_MAX_BYTES: usize = 64 * 1024;
/// The largest file of postings that is imported over HTTP; the command line takes larger ones.
pub const IMPORT_MAX_BYTES: usize = 4 * 1024 * 1024;
/// The largest head of an HTTP/1 request.
pub const HEAD_MAX_BYTES: usize = 32 * 1024;
/// The most parameters of one request.
pub const PARAMETERS_MAX: usize = 64;

/// How long a client may take over the head of a request, and stay idle between two.
pub const HEAD_READ_TIMEOUT_MS: u64 = 30_000;

/// How long a client may take over the TLS handshake.
pub const TLS_HANDSHAKE_TIMEOUT_MS: u64 = 10_000;
/// How often the files of certificates and keys are looked at.
pub const TLS_RELOAD_INTERVAL_MS: u64 = 10_000;

/// How long the readiness check and a scrape wait for the database.
pub const PROBE_TIMEOUT_MS: u64 = 2_000;
/// Two scrapes closer than this share one look at the database.
pub const COLLECT_INTERVAL_MS: u64 = 500;
/// How long `Retry-After` tells a client to wait when the database or a fold is not there, in seconds.
pub const RETRY_AFTER_SECONDS: u32 = 2;
