//! Ways to carry a packet of JSON-RPC requests to a node and back, all of them `tower` services over alloy's
//! packets, so that they stack: HTTP and WebSocket at the bottom, and for tests faults, recording and
//! replaying on top.

mod failure;
mod fault;
mod http;
mod record;
mod replay;
mod tape;
mod ws;

use alloy_json_rpc::{RequestPacket, ResponsePacket};
use alloy_transport::{BoxTransport, TransportError, TransportFut};

pub use failure::TransportFailure;
pub use fault::{Fault, FaultHandle, Faulty, Rewrite};
pub use http::HttpTransport;
pub use record::{Recorder, RecorderHandle};
pub use replay::{Replayer, TapeError};
pub use ws::WsTransport;

pub(crate) use ws::{Feed, WsLink};

use crate::endpoint::EndpointConfig;

/// The largest answer (or batch of answers) that is read, bytes. A larger one is refused as a range too large
/// before it fills the memory.
pub const MAX_RESPONSE_BYTES: usize = 128 * 1024 * 1024;

/// From this size on, JSON is parsed on the blocking pool: a parse of 256 KiB holds a thread for less than a
/// millisecond, a parse of megabytes would hold up the timers and sockets that share it.
pub(crate) const PARSE_INLINE_BYTES: usize = 256 * 1024;

/// A transport that carries what it is given to this function: a node that is made up, or something in front of one.
#[must_use]
pub fn answering<F>(answer: impl Fn(RequestPacket) -> F + Clone + Send + Sync + 'static) -> BoxTransport
where
    F: Future<Output = Result<ResponsePacket, TransportError>> + Send + 'static,
{
    let carry = move |packet| -> TransportFut<'static> { Box::pin(answer(packet)) };
    BoxTransport::new(tower::service_fn(carry))
}

/// The bare transport of an endpoint, by the scheme of its URL. One client, one connection pool and one TLS
/// configuration for its whole life: clone it, do not open it again.
///
/// # Errors
/// An unreadable URL, a scheme that is none of `http`, `https`, `ws` and `wss`, or a TLS set-up that fails.
/// Nothing is connected yet, so a node that is down is not an error here.
pub fn open(config: &EndpointConfig) -> Result<BoxTransport, TransportError> {
    let url = reqwest::Url::parse(&config.url)
        .map_err(|error| TransportFailure::Local(format!("the endpoint's URL is unreadable: {error}")))?;
    match url.scheme() {
        "http" | "https" => Ok(BoxTransport::new(HttpTransport::new(url)?)),
        "ws" | "wss" => Ok(BoxTransport::new(WsTransport::new(url.as_str()))),
        other => Err(TransportFailure::Local(format!(
            "the endpoint's URL has the scheme {other}; use http, https, ws or wss"
        ))
        .into()),
    }
}
