//! What every request to a route that changes something passes.

use std::pin::Pin;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequest, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use metrics::{counter, histogram};
use plimsoll_store::idempotency::{self, Asked, Claim, Entered, Fingerprint, Key, Keys, Replay, Scope};
use plimsoll_types::Context;
use tracing::Instrument;

use super::execution::Execution;
use super::header;
use super::reply::{self, Answered};
use crate::context::RequestId;
use crate::gateway::{Declaration, KeyPolicy};
use crate::problem::{Problem, ProblemKind};

const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// The version of routes under `/api/v1`, unless the request has an [`ApiVersion`].
const DEFAULT_API_VERSION: &str = "v1";
/// How long a refusal waits for its key to be given up.
const GIVE_UP_TIMEOUT: Duration = Duration::from_secs(2);

/// Request extension: which version of the API was asked, where a header can choose it.
#[derive(Clone, Copy, Debug)]
pub struct ApiVersion(pub &'static str);

/// From the request to its answer. The error is a refusal: nothing was executed under the key.
pub(crate) async fn execute<S, E, F, Fut, R>(
    keys: &Keys,
    declaration: &Declaration,
    handler: &F,
    state: &S,
    request: Request,
) -> Result<Response, Response>
where
    E: FromRequest<S>,
    F: Fn(Execution, E) -> Fut,
    Fut: Future<Output = Result<Answered, R>>,
    R: IntoResponse,
    S: Send + Sync,
{
    let (parts, body) = request.into_parts();
    let caller = caller(declaration, &parts).map_err(Problem::into_response)?;
    let scope = Scope {
        tenant_id: caller.tenant_id,
        principal: caller.actor.clone(),
        method: declaration.method().to_string(),
        route: declaration.path.to_owned(),
    };
    let chosen = header::key(&parts.headers).map_err(Problem::into_response)?;
    if chosen.is_none() && matches!(declaration.write, Some((_, KeyPolicy::Required))) {
        let detail = "this path moves value, and the request has no `Idempotency-Key`";
        return Err(Problem::new(ProblemKind::MissingIdempotencyKey, detail).into_response());
    }
    let most = declaration.body_max_bytes;
    let body = to_bytes(body, most).await.map_err(|error| {
        let detail = format!("the body cannot be read: {error}; it may have {most} bytes");
        Problem::new(ProblemKind::BodyTooLarge, detail).with_remedy("send a smaller body").into_response()
    })?;
    let fingerprint = fingerprint(&parts, &body);
    let key = chosen.unwrap_or_else(|| Key::automatic(&fingerprint));
    let request_id = parts.extensions.get::<RequestId>().map_or_else(String::new, |id| id.0.clone());
    let instance = parts.uri.path().to_owned();
    let extracted = E::from_request(Request::from_parts(parts, Body::from(body)), state)
        .await
        .map_err(IntoResponse::into_response)?;

    let span = tracing::info_span!(
        "idempotent",
        idempotency_key = key.as_str(),
        principal = scope.principal,
        tenant_id = scope.tenant_id.map(tracing::field::display),
    );
    let work = async {
        let request = idempotency::Request { scope, key, fingerprint };
        let deferred = declaration.claims_with_effects && !request.key.is_automatic();
        let mut claim = match deferred {
            true => keys.defer(request.clone()),
            false => match enter(keys, declaration, request.clone()).await? {
                Turn::Ours(claim) => claim,
                Turn::Answered(answer) => return Ok(answer),
            },
        };
        if declaration.is_secret {
            claim.withhold_response();
        }
        let mut ended = Box::pin(claim.ended()) as Pin<Box<dyn Future<Output = ()> + Send>>;
        let refusal = match handler(Execution::new(claim, caller, instance, request_id), extracted).await {
            Ok(answered) => return Ok(answered.into_response()),
            Err(refusal) => refusal,
        };
        if deferred {
            // What was answered under the key is told, whatever would be said now.
            match enter(keys, declaration, request).await? {
                Turn::Answered(answer) => return Ok(answer),
                Turn::Ours(claim) => ended = Box::pin(claim.ended()),
            }
        }
        // Whoever reads the refusal may use the key for something else at once.
        if tokio::time::timeout(GIVE_UP_TIMEOUT, ended).await.is_err() {
            tracing::warn!("a request was refused, and its key is not free yet");
        }
        Err(refusal.into_response())
    };
    work.instrument(span).await
}

/// What becomes of a request that comes with a key.
enum Turn {
    /// It is to be worked on.
    Ours(Claim),
    /// It was before.
    Answered(Response),
}

/// Claims the key, or tells what came of it. The error is a refusal.
async fn enter(
    keys: &Keys,
    declaration: &Declaration,
    request: idempotency::Request,
) -> Result<Turn, Response> {
    let arrived = Instant::now();
    let entered = keys.enter(request).await;
    histogram!("idempotency_entry_seconds", "route" => declaration.path)
        .record(arrived.elapsed().as_secs_f64());
    match entered.map_err(|error| Problem::from(error).into_response())? {
        Entered::Claimed(claim) => Ok(Turn::Ours(claim)),
        Entered::Replay(replay) => {
            counter!("idempotency_hits_total", "route" => declaration.path).increment(1);
            Ok(Turn::Answered(replayed(&replay)))
        }
        Entered::Mismatch => {
            counter!("idempotency_conflicts_total", "route" => declaration.path).increment(1);
            let detail = "the key was used for a request with another path, query or body";
            Err(Problem::new(ProblemKind::IdempotencyKeyReused, detail).into_response())
        }
        Entered::InFlight => {
            counter!("idempotency_in_flight_rejections_total", "route" => declaration.path).increment(1);
            let detail = "a request with this key is still being worked on";
            Err(Problem::new(ProblemKind::RequestInFlight, detail).into_response())
        }
    }
}

fn caller(declaration: &Declaration, parts: &Parts) -> Result<Context, Problem> {
    parts.extensions.get::<Context>().cloned().ok_or_else(|| {
        tracing::error!(
            route = declaration.path,
            "a write without a caller: no authentication is in front of it"
        );
        Problem::new(ProblemKind::Internal, "nobody is known to ask for this")
    })
}

fn fingerprint(parts: &Parts, body: &Bytes) -> Fingerprint {
    let query: Vec<(String, String)> =
        form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let version = parts.extensions.get::<ApiVersion>().map_or(DEFAULT_API_VERSION, |version| version.0);
    Fingerprint::of(&Asked {
        method: parts.method.as_str(),
        path: parts.uri.path(),
        query: &query,
        is_json: is_json(&parts.headers),
        body,
        api_version: version,
    })
}

/// `application/json`, or any type that is written in JSON (RFC 6838 §4.2.8).
fn is_json(headers: &HeaderMap) -> bool {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

fn replayed(replay: &Replay) -> Response {
    let mut response = match replay {
        Replay::Response(response) => reply::response(response),
        Replay::Withheld { status } => {
            let detail = format!(
                "the request was executed and answered with {status}; the answer carried a secret and was not kept"
            );
            Problem::new(ProblemKind::ResponseWithheld, detail).into_response()
        }
    };
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    response
}
