//! What every answer tells browsers, and which of their pages may read it.

use std::time::Duration;

use axum::http::header::{
    ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
    IF_MATCH, IF_NONE_MATCH, LAST_MODIFIED, LOCATION, REFERRER_POLICY, RETRY_AFTER,
    STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::rate::{RATE_LIMIT, RATE_LIMIT_POLICY};
use super::version::API_VERSION;

/// An answer is data: it loads nothing, and is shown in nobody's frame. A page that needs more says so itself.
const NOTHING: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
const CORP: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
/// One year, as RFC 6797 §6.1.1 counts.
const HTTPS_ALONE: HeaderValue = HeaderValue::from_static("max-age=31536000");
/// How long a browser may remember what it was allowed.
const PREFLIGHT_TERM: Duration = Duration::from_secs(600);

/// Adds what is true of every answer, where the answer itself did not say otherwise.
pub(crate) fn secure(headers: &mut HeaderMap, is_https: bool) {
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(CORP, HeaderValue::from_static("same-origin"));
    headers.entry(CONTENT_SECURITY_POLICY).or_insert(NOTHING);
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if is_https {
        headers.insert(STRICT_TRANSPORT_SECURITY, HTTPS_ALONE);
    }
}

/// Lets the pages of these origins call the API and read its answers, without cookies: there are none.
pub(crate) fn cors(origins: &[HeaderValue]) -> CorsLayer {
    let of_ours =
        |names: &[&'static str]| names.iter().map(|name| HeaderName::from_static(name)).collect::<Vec<_>>();
    let mut asked = of_ours(&[
        "idempotency-key",
        "x-idempotency-key",
        "x-request-id",
        "traceparent",
        "tracestate",
        "last-event-id",
    ]);
    asked.extend([AUTHORIZATION, CONTENT_TYPE, IF_MATCH, IF_NONE_MATCH, API_VERSION]);
    let mut told =
        of_ours(&["idempotent-replayed", "x-request-id", "traceparent", "traceresponse", "tracestate"]);
    told.extend([ALLOW, CONTENT_LANGUAGE, ETAG, LAST_MODIFIED, LOCATION, RETRY_AFTER]);
    told.extend([API_VERSION, RATE_LIMIT, RATE_LIMIT_POLICY]);
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins.iter().cloned()))
        .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers(asked)
        .expose_headers(told)
        .max_age(PREFLIGHT_TERM)
}
