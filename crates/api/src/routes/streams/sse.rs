//! Server-sent events, as the HTML standard defines them, and `GET /api/v1/events/stream`.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use futures::stream::unfold;
use plimsoll_bus::context;
use tokio::sync::mpsc;

use super::subscription::{End, Events, Heard, Said, Subscription};
use super::{StreamQuery, Wanted};
use crate::gateway::{Caller, Presented};
use crate::openapi::{ServerSentEvent, StreamProblems};
use crate::problem::{Problem, ProblemKind};
use crate::query::{Query, bigint, shown};
use crate::state::ApiState;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Proxies that buffer answers (nginx) are asked not to.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");
/// Frames on their way to a client.
const FRAMES: usize = 16;
/// How soon a browser connects again by itself.
const HELLO: &str = "retry: 1000\n\n";

/// Where a client that comes again wants to begin.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Header)]
pub(crate) struct Resumed {
    /// The last `id` that was received: begin after it
    #[param(rename = "Last-Event-ID", value_type = Option<String>, example = "4711")]
    pub(super) last_event_id: Option<i64>,
}

impl<S: Send + Sync> FromRequestParts<S> for Resumed {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Some(value) = parts.headers.get(LAST_EVENT_ID) else { return Ok(Self { last_event_id: None }) };
        let text = value.to_str().unwrap_or_default();
        let number = bigint(text).map_err(|_| {
            let detail = format!("`Last-Event-ID` is `{}`, not an `id` that this stream gave", shown(text));
            Problem::new(ProblemKind::InvalidCursor, detail)
        })?;
        Ok(Self { last_event_id: Some(number) })
    }
}

/// Live events (SSE)
///
/// Your tenant's events as they get their numbers, as CloudEvents 1.0 in `data`, with the number as `id`. An `EventSource` that loses its connection comes again with `Last-Event-ID` and
/// misses nothing; any other client sends that header, or `after`. In quiet times there is a comment every ten seconds, and an `id` without data where events were passed over that a
/// filter does not want. The stream ends with an event `end` ([StreamEnd](#/components/schemas/StreamEnd) as `data`) when the server ends, or when the credential is no longer good: an
/// access token's stream ends with the token. Connect again with a new one. A client that reads slowly is late, and misses nothing.
#[utoipa::path(
    get,
    path = "/api/v1/events/stream",
    tag = "bus",
    params(StreamQuery, Resumed),
    responses(
        (status = 200, description = "Events, until either side ends it; `data` is a [CloudEvent](#/components/schemas/CloudEvent)", content_type = "text/event-stream", body = ServerSentEvent),
        StreamProblems
    )
)]
pub(crate) async fn stream(
    State(state): State<ApiState>,
    caller: Caller,
    presented: Presented,
    resumed: Resumed,
    Query(query): Query<StreamQuery>,
) -> Result<Response, Problem> {
    stream_of(&state, &caller, presented, &resumed, query).await
}

/// The tenant's events that are asked for, as they come.
pub(super) async fn stream_of<Q: Wanted>(
    state: &ApiState,
    caller: &Caller,
    presented: Presented,
    resumed: &Resumed,
    mut query: Q,
) -> Result<Response, Problem> {
    let after = query.after();
    *after = resumed.last_event_id.or(*after);
    let slot = state.streams().enter(Some(caller.tenant_id))?;
    let listener = presented.admit(state, Q::PERMISSION).await?;
    let events = Events::open(state, &listener, query).await?;
    Ok(respond(Subscription::open(state, listener, slot, events)))
}

/// The answer that says what is heard, for as long as it lasts.
pub(super) fn respond<H: Heard>(subscription: Subscription<H>) -> Response {
    let (sender, receiver) = mpsc::channel(FRAMES);
    context::spawn(write(subscription, sender));
    let frames = unfold(receiver, async |mut receiver: mpsc::Receiver<Bytes>| {
        receiver.recv().await.map(|frame| (Ok::<_, Infallible>(frame), receiver))
    });
    let mut response = Response::new(Body::from_stream(frames));
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(header::CONTENT_TYPE, EVENT_STREAM);
    response.headers_mut().insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}

/// In a task of its own: a client that does not read must not keep its credential from being looked at.
async fn write<H: Heard>(mut subscription: Subscription<H>, sender: mpsc::Sender<Bytes>) {
    metrics::gauge!("event_streams", "protocol" => "sse").increment(1.0);
    let mut frame = Bytes::from_static(HELLO.as_bytes());
    let mut is_last = false;
    loop {
        // An error says that the connection is gone: the client left, or took nothing for too long.
        if sender.send(frame).await.is_err() || is_last {
            break;
        }
        let said = tokio::select! {
            said = subscription.next() => said,
            () = sender.closed() => break,
        };
        (frame, is_last) = match said {
            Ok(Said::Event { number, json }) => {
                (Bytes::from(format!("id: {number}\ndata: {json}\n\n")), false)
            }
            Ok(Said::Alive) => (Bytes::from(format!(": alive\nid: {}\n\n", subscription.after())), false),
            Err(end) => (end_frame(&end, subscription.after()), true),
        };
    }
    metrics::gauge!("event_streams", "protocol" => "sse").decrement(1.0);
}

fn end_frame(end: &End, after: i64) -> Bytes {
    let json = serde_json::to_string(&end.tell(after)).unwrap_or_default();
    Bytes::from(format!("event: end\ndata: {json}\n\n"))
}
