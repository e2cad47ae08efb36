//! What every request passes: its id, its span, its measures, and the writing of problems.
//!
//! From the outside in: [`around`] (id, trace, span, version, metrics, problems, headers), the catching of panics, the body's bounds, and for the
//! routes over data [`bounded`] (concurrency and time). Probes stay outside that last one: a busy server is alive, and says so.

use std::any::Any;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::field::{Empty, display};
use tracing::{Instrument, Span};
use uuid::Uuid;

use crate::gateway::{API_VERSION, CURRENT_VERSION, Trace, choose_version, is_credential, redacted, secure};
use crate::limits::REQUEST_ID_MAX_BYTES;
use crate::problem::{Problem, ProblemKind};
use crate::routes;
use crate::state::ApiState;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// Request extension: the request's id, as its answers and problems give it.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(pub(crate) String);

/// The outermost layer.
pub(crate) async fn around(State(state): State<ApiState>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let request_id = request_id(request.headers());
    let method = method_label(request.method());
    let is_head = request.method() == Method::HEAD;
    let route = route_label(request.extensions().get::<MatchedPath>().map(MatchedPath::as_str));
    let path = request.uri().path().to_owned();
    let sampling = state.options().sampled_traces_one_in;
    let trace = Trace::of(request.headers(), sampling);
    let is_exported = sampling.is_some() && trace.is_sampled();
    let span = span(&trace, sampling.is_some(), &request_id, method, route);
    request.extensions_mut().insert(RequestId(request_id.clone()));
    request.extensions_mut().insert(trace.clone());

    let mut response = match choose_version(&mut request) {
        Ok(()) => next.run(request).instrument(span.clone()).await,
        Err(problem) => problem.into_response(),
    };
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        write_problem(&mut response, problem, &path, &request_id);
    }
    if is_head {
        *response.body_mut() = Body::empty();
    }
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::try_from(request_id) {
        headers.insert(X_REQUEST_ID, value);
    }
    headers.insert(API_VERSION, CURRENT_VERSION);
    trace.tell(headers);
    secure(headers, state.options().is_https);

    let status = response.status();
    let elapsed = started.elapsed();
    metrics::counter!("http_requests_total", "route" => route, "method" => method, "status" => status_label(status)).increment(1);
    metrics::histogram!("http_request_seconds", "route" => route, "method" => method)
        .record(elapsed.as_secs_f64());
    span.in_scope(|| log(status, elapsed, &path));
    if is_exported {
        // Last, so that no log line says it twice.
        span.record("status", status.as_u16());
    }
    response
}

/// The request's span. What only those need who export it is in it only where spans are exported.
fn span(trace: &Trace, are_exported: bool, request_id: &str, method: &str, route: &str) -> Span {
    let parent_span_id = trace.parent_id().filter(|_| are_exported).map(display);
    tracing::info_span!(
        "request",
        request_id,
        trace_id = display(trace.id()),
        span_id = display(trace.span_id()),
        parent_span_id,
        sampled = are_exported.then(|| trace.is_sampled()),
        method,
        route,
        status = Empty,
    )
}

fn log(status: StatusCode, elapsed: Duration, path: &str) {
    let path = &*redacted(path);
    let (status_code, elapsed_ms) = (status.as_u16(), elapsed.as_secs_f64() * 1_000.0);
    if status == StatusCode::INTERNAL_SERVER_ERROR {
        tracing::error!(status = status_code, elapsed_ms, path, "request failed");
    } else if status.is_server_error() {
        tracing::warn!(status = status_code, elapsed_ms, path, "request not answered");
    } else {
        tracing::debug!(status = status_code, elapsed_ms, path, "request answered");
    }
}

/// A request may cost so much time, and so many may be worked on at once. A stream is a request until its head is answered: how long its body lasts is its own affair.
pub(crate) async fn bounded(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    let options = state.options();
    let Ok(_permit) = state.requests().try_acquire() else {
        metrics::counter!("requests_refused_total", "limit" => "concurrency").increment(1);
        let detail = format!("{} requests are being worked on already", options.max_concurrent_requests);
        return Problem::new(ProblemKind::Overloaded, detail).into_response();
    };
    let limit = Duration::from_millis(options.request_timeout_ms);
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let detail = format!("no answer within {} ms", options.request_timeout_ms);
            Problem::new(ProblemKind::TimedOut, detail).into_response()
        }
    }
}

/// A panic is a bug: the log has its message, the client its request id.
#[allow(clippy::needless_pass_by_value)] // the signature is the layer's
pub(crate) fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let message = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without a message");
    tracing::error!(panic = message, "a handler panicked");
    Problem::new(ProblemKind::Internal, "the request met a bug").into_response()
}

fn write_problem(response: &mut Response, problem: Problem, path: &str, request_id: &str) {
    let body = problem.into_body(path, request_id);
    match serde_json::to_vec(&body) {
        Ok(json) => {
            response.headers_mut().insert(CONTENT_TYPE, PROBLEM_JSON);
            *response.body_mut() = Body::from(json);
        }
        Err(error) => tracing::error!(%error, "a problem could not be written"),
    }
}

/// The client's id where it is a sane one, else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let is_sane = |id: &&str| {
        (1..=REQUEST_ID_MAX_BYTES).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte))
            && !is_credential(id)
    };
    match headers.get(X_REQUEST_ID).and_then(|value| value.to_str().ok()).filter(is_sane) {
        Some(id) => id.to_owned(),
        None => Uuid::new_v4().to_string(),
    }
}

/// Labels come from closed sets: a client must not be able to make a new time series.
fn route_label(matched: Option<&str>) -> &'static str {
    matched
        .and_then(|path| routes::DECLARATIONS.iter().find(|known| known.path == path))
        .map(|known| known.path)
        .unwrap_or("unmatched")
}

fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "OTHER",
    }
}

fn status_label(status: StatusCode) -> &'static str {
    match status.as_u16() {
        101 => "101",
        200 => "200",
        201 => "201",
        202 => "202",
        204 => "204",
        304 => "304",
        400 => "400",
        401 => "401",
        403 => "403",
        404 => "404",
        405 => "405",
        408 => "408",
        409 => "409",
        410 => "410",
        413 => "413",
        415 => "415",
        422 => "422",
        426 => "426",
        429 => "429",
        500 => "500",
        503 => "503",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sane_request_id_is_kept_and_any_other_replaced() {
        let with = |id: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(X_REQUEST_ID, HeaderValue::from_static(id));
            request_id(&headers)
        };
        assert_eq!(with("job-7:attempt_2"), "job-7:attempt_2");
        for insane in ["", "a b", "a\tb", "<script>", "{\"a\":1}", "plk_0011_2233"] {
            assert_eq!(with(insane).parse::<Uuid>().unwrap().get_version_num(), 4, "{insane}");
        }
    }

    #[test]
    fn a_path_that_a_client_made_up_is_no_label() {
        assert_eq!(route_label(Some("/api/v1/chains/{chain_id}")), "/api/v1/chains/{chain_id}");
        assert_eq!(route_label(Some("/made/up")), "unmatched");
        assert_eq!(route_label(None), "unmatched");
    }
}
