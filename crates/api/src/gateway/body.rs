//! A request's body is bounded in size and in time, whoever reads it and however it is sent.
//!
//! A body that says it is too large is refused before it is read. One that does not say is counted, and its time taken, while it is read;
//! the reader then sees an error, whatever it makes of that, and the client is told here what was wrong. Nobody has acted on such a request: what
//! acts needs the whole body first.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{MatchedPath, Request, State};
use axum::http::HeaderValue;
use axum::http::header::{CONNECTION, CONTENT_LENGTH};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body::{Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use crate::limits::BODY_MAX_BYTES;
use crate::problem::{Problem, ProblemKind};
use crate::routes::DECLARATIONS;
use crate::state::ApiState;

/// Gives the request a body within its bounds, and tells a client whose body was not.
pub(crate) async fn bounded(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    let most = most(&request);
    let length =
        request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > most) {
        return too_large(most).into_response();
    }
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let limit_ms = state.options().body_timeout_ms;
    let fault = Fault::default();
    let request = request.map(|body| {
        Body::new(Bounded {
            body,
            left: most,
            deadline: Box::pin(sleep(Duration::from_millis(limit_ms))),
            fault: fault.clone(),
        })
    });
    let response = next.run(request).await;
    match fault.get() {
        Some(_) if response.status().is_success() => response,
        Some(ProblemKind::BodyTooLarge) => too_large(most).into_response(),
        Some(_) => {
            let detail = format!("the body was not there within {limit_ms} ms");
            let mut response = Problem::new(ProblemKind::BodyTooSlow, detail).into_response();
            // What is still to come of it must not be taken for the next request (RFC 9110 §15.5.9).
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            response
        }
        None => response,
    }
}

/// What its route takes.
fn most(request: &Request) -> usize {
    let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let route =
        |path| DECLARATIONS.iter().find(|route| route.path == path && route.method() == *request.method());
    path.and_then(route).map_or(BODY_MAX_BYTES, |route| route.body_max_bytes)
}

fn too_large(most: usize) -> Problem {
    Problem::new(ProblemKind::BodyTooLarge, format!("a body here may have {most} bytes"))
}

/// What was wrong with a body: nothing, or one of two things.
#[derive(Clone, Debug, Default)]
struct Fault(Arc<AtomicU8>);

const TOO_LARGE: u8 = 1;
const TOO_SLOW: u8 = 2;

impl Fault {
    fn get(&self) -> Option<ProblemKind> {
        match self.0.load(Ordering::Acquire) {
            TOO_LARGE => Some(ProblemKind::BodyTooLarge),
            TOO_SLOW => Some(ProblemKind::BodyTooSlow),
            _ => None,
        }
    }

    fn found<T>(&self, what: u8) -> Poll<Option<Result<T, axum::Error>>> {
        self.0.store(what, Ordering::Release);
        Poll::Ready(Some(Err(axum::Error::new(OutOfBounds))))
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the body is larger or slower than it may be")]
struct OutOfBounds;

/// A body that ends with an error at its bounds.
struct Bounded {
    body: Body,
    left: usize,
    deadline: Pin<Box<Sleep>>,
    fault: Fault,
}

impl HttpBody for Bounded {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.fault.get().is_some() {
            return Poll::Ready(None);
        }
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
            return match self.deadline.as_mut().poll(cx) {
                Poll::Ready(()) => self.fault.found(TOO_SLOW),
                Poll::Pending => Poll::Pending,
            };
        };
        let length = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()).map_or(0, Bytes::len);
        match self.left.checked_sub(length) {
            Some(left) => self.left = left,
            None => return self.fault.found(TOO_LARGE),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
