//! What every request passes: its id, its span, its measures, and the writing of problems.
//!
//! From the outside in: [`around`] (id, span, metrics, problems, headers), the catching of panics, [`bounded_body`], and for the
//! routes over data [`bounded`] (concurrency and time). Probes stay outside that last one: a busy server is alive, and says so.

use std::any::Any;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::Instrument;
use uuid::Uuid;

use crate::limits::{BODY_MAX_BYTES, REQUEST_ID_MAX_BYTES};
use crate::problem::{Problem, ProblemKind};
use crate::routes;
use crate::state::ApiState;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// Request extension: the request's id, as its answers and problems give it.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(pub(crate) String);

/// The outermost layer.
pub(crate) async fn around(mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let request_id = request_id(request.headers());
    let method = method_label(request.method());
    let is_head = request.method() == Method::HEAD;
    let route = route_label(request.extensions().get::<MatchedPath>().map(MatchedPath::as_str));
    let path = request.uri().path().to_owned();
    let span = tracing::info_span!("request", request_id, method, route);
    request.extensions_mut().insert(RequestId(request_id.clone()));

    let mut response = next.run(request).instrument(span.clone()).await;
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
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));

    let status = response.status();
    let elapsed = started.elapsed();
    metrics::counter!("http_requests_total", "route" => route, "method" => method, "status" => status_label(status)).increment(1);
    metrics::histogram!("http_request_seconds", "route" => route, "method" => method)
        .record(elapsed.as_secs_f64());
    span.in_scope(|| log(status, elapsed, &path));
    response
}

fn log(status: StatusCode, elapsed: Duration, path: &str) {
    let (status_code, elapsed_ms) = (status.as_u16(), elapsed.as_secs_f64() * 1_000.0);
    if status == StatusCode::INTERNAL_SERVER_ERROR {
        tracing::error!(status = status_code, elapsed_ms, path, "request failed");
    } else if status.is_server_error() {
        tracing::warn!(status = status_code, elapsed_ms, path, "request not answered");
    } else {
        tracing::debug!(status = status_code, elapsed_ms, path, "request answered");
    }
}

/// A request may cost so much time, and so many may be worked on at once.
pub(crate) async fn bounded(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    let options = state.options();
    let Ok(_permit) = state.requests().try_acquire() else {
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

/// A body that says it is large is refused before it is read.
pub(crate) async fn bounded_body(request: Request, next: Next) -> Response {
    let length =
        request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > BODY_MAX_BYTES) {
        let detail = format!("a body may have {BODY_MAX_BYTES} bytes");
        return Problem::new(ProblemKind::BodyTooLarge, detail).into_response();
    }
    next.run(request).await
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
        409 => "409",
        410 => "410",
        413 => "413",
        422 => "422",
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
        for insane in ["", "a b", "a\tb", "<script>", "{\"a\":1}"] {
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
