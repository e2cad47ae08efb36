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

/// The longest `X-Request-Id` that is taken over.
pub const REQUEST_ID_MAX_BYTES: usize = 128;
/// The largest request body. No route reads one today.
pub const BODY_MAX_BYTES: usize = 64 * 1024;
/// The largest head of an HTTP/1 request.
pub const HEAD_MAX_BYTES: usize = 32 * 1024;
/// The most parameters of one request.
pub const PARAMETERS_MAX: usize = 64;

/// How long a client may take over the head of a request, and stay idle between two.
pub const HEAD_READ_TIMEOUT_MS: u64 = 30_000;

/// How long the readiness check and a scrape wait for the database.
pub const PROBE_TIMEOUT_MS: u64 = 2_000;
/// Two scrapes closer than this share one look at the database.
pub const COLLECT_INTERVAL_MS: u64 = 500;
/// How long `Retry-After` tells a client to wait when the database or a fold is not there, in seconds.
pub const RETRY_AFTER_SECONDS: u32 = 2;
