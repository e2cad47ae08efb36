//! Faults on demand, in front of any transport.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use alloy_json_rpc::{ErrorPayload, RequestPacket, Response, ResponsePacket, ResponsePayload};
use alloy_transport::{BoxTransport, TransportError, TransportFut};
use serde_json::{Value, value::RawValue};
use tokio::sync::watch;
use tower::{Service, ServiceExt};

use super::TransportFailure;
use crate::error::{ErrorClass, excerpt};

/// Rewrites an answer's `result`.
pub type Rewrite = Arc<dyn Fn(Value) -> Value + Send + Sync>;

/// What happens to a request instead of, or to, its answer.
#[derive(Clone)]
pub enum Fault {
    /// It fails as if for this reason; the node is not asked.
    Fail(ErrorClass),
    /// The node answers with this JSON-RPC error; it is not asked.
    Answer {
        /// Code of the error.
        code: i64,
        /// Its message.
        message: String,
    },
    /// The node executes it, but this member of the batch, counted from 0, is answered with this error.
    AnswerMember {
        /// Which one.
        place: usize,
        /// Code of the error.
        code: i64,
        /// Its message.
        message: String,
    },
    /// The members of a batch are answered in the opposite order.
    Reverse,
    /// The node executes it, and the connection breaks before the answer arrives.
    Disconnect,
    /// Nothing happens until [`FaultHandle::release`]; then it is served as usual.
    Stall,
    /// The answer breaks off after this many bytes.
    Truncate(usize),
    /// The answer's `result` is replaced, as by a node that lies.
    Rewrite(Rewrite),
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fail(class) => write!(f, "Fail({class})"),
            Self::Answer { code, message } => write!(f, "Answer({code}, {message:?})"),
            Self::AnswerMember { place, code, message } => {
                write!(f, "AnswerMember({place}, {code}, {message:?})")
            }
            Self::Reverse => f.write_str("Reverse"),
            Self::Disconnect => f.write_str("Disconnect"),
            Self::Stall => f.write_str("Stall"),
            Self::Truncate(bytes) => write!(f, "Truncate({bytes})"),
            Self::Rewrite(_) => f.write_str("Rewrite"),
        }
    }
}

/// A transport with faults put in front of it through its [`FaultHandle`]. A batch suffers the first fault
/// that is due for one of its requests, as a whole; a `Rewrite` changes each of its answers.
#[derive(Clone)]
pub struct Faulty {
    inner: BoxTransport,
    script: Arc<Script>,
}

/// Controls a [`Faulty`] transport.
#[derive(Clone)]
pub struct FaultHandle {
    script: Arc<Script>,
}

struct Script {
    due: Mutex<Vec<Due>>,
    seen: watch::Sender<HashMap<String, u64>>,
    /// Counts the releases; a stalled request waits for the next.
    released: watch::Sender<u64>,
}

struct Due {
    /// `None`: any method.
    method: Option<String>,
    fault: Fault,
    remaining: u64,
}

impl Faulty {
    /// Wraps a transport, without faults at first.
    #[must_use]
    pub fn new(inner: BoxTransport) -> (Self, FaultHandle) {
        let script = Arc::new(Script {
            due: Mutex::default(),
            seen: watch::Sender::new(HashMap::new()),
            released: watch::Sender::new(0),
        });
        (Self { inner, script: script.clone() }, FaultHandle { script })
    }

    /// As [`crate::Rpc::over`] takes it.
    #[must_use]
    pub fn boxed(self) -> BoxTransport {
        BoxTransport::new(self)
    }
}

impl FaultHandle {
    /// The next `count` packets that hold this method suffer the fault.
    pub fn next(&self, method: &str, count: u64, fault: Fault) {
        self.put(Some(method.to_owned()), count, fault);
    }

    /// The next `count` packets suffer the fault, whatever they ask.
    pub fn next_of_any(&self, count: u64, fault: Fault) {
        self.put(None, count, fault);
    }

    /// Forgets faults that are not used up. Stalled requests stay stalled until released.
    pub fn clear(&self) {
        self.script.due().clear();
    }

    /// Lets every stalled request go on.
    pub fn release(&self) {
        self.script.released.send_modify(|count| *count += 1);
    }

    /// How often a method was asked for so far, members of batches included.
    #[must_use]
    pub fn requests(&self, method: &str) -> u64 {
        self.script.seen.borrow().get(method).copied().unwrap_or(0)
    }

    /// Waits until a method has been asked for `count` times in all.
    pub async fn wait_for_requests(&self, method: &str, count: u64) {
        let mut seen = self.script.seen.subscribe();
        seen.wait_for(|seen| seen.get(method).copied().unwrap_or(0) >= count)
            .await
            .expect("the handle keeps the sender alive");
    }

    fn put(&self, method: Option<String>, remaining: u64, fault: Fault) {
        self.script.due().push(Due { method, fault, remaining });
    }
}

impl Script {
    fn due(&self) -> MutexGuard<'_, Vec<Due>> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the first fault that is due for the packet.
    fn take(&self, packet: &RequestPacket) -> Option<Fault> {
        let mut due = self.due();
        due.retain(|due| due.remaining > 0);
        let due = due.iter_mut().find(|due| {
            due.method.as_deref().is_none_or(|method| packet.method_names().any(|name| name == method))
        })?;
        due.remaining -= 1;
        Some(due.fault.clone())
    }

    fn count(&self, packet: &RequestPacket) {
        self.seen.send_modify(|seen| {
            for method in packet.method_names() {
                *seen.entry(method.to_owned()).or_default() += 1;
            }
        });
    }
}

impl Service<RequestPacket> for Faulty {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, packet: RequestPacket) -> Self::Future {
        let Self { inner, script } = self.clone();
        // Subscribed before the request is counted, so that a release right after `wait_for_requests` is seen.
        let mut released = script.released.subscribe();
        let fault = script.take(&packet);
        script.count(&packet);
        Box::pin(async move {
            match fault {
                None => inner.oneshot(packet).await,
                Some(Fault::Fail(class)) => fail(&packet, class),
                Some(Fault::Answer { code, message }) => Ok(refuse(&packet, code, &message)),
                Some(Fault::AnswerMember { place, code, message }) => {
                    let mut answers = inner.oneshot(packet).await?;
                    if let Some(answer) = members(&mut answers).get_mut(place) {
                        answer.payload = failure(code, &message);
                    }
                    Ok(answers)
                }
                Some(Fault::Reverse) => {
                    let mut answers = inner.oneshot(packet).await?;
                    members(&mut answers).reverse();
                    Ok(answers)
                }
                Some(Fault::Disconnect) => {
                    inner.oneshot(packet).await?;
                    Err(TransportFailure::Connection(
                        "the connection was closed before the answer".to_owned(),
                    )
                    .into())
                }
                Some(Fault::Stall) => {
                    if released.changed().await.is_err() {
                        std::future::pending::<()>().await;
                    }
                    inner.oneshot(packet).await
                }
                Some(Fault::Truncate(bytes)) => truncate(&inner.oneshot(packet).await?, bytes),
                Some(Fault::Rewrite(rewrite)) => rewrite_all(inner.oneshot(packet).await?, &rewrite),
            }
        })
    }
}

fn failure(code: i64, message: &str) -> ResponsePayload {
    ResponsePayload::Failure(ErrorPayload { code, message: message.to_owned().into(), data: None })
}

fn members(packet: &mut ResponsePacket) -> &mut [Response] {
    match packet {
        ResponsePacket::Single(response) => std::slice::from_mut(response),
        ResponsePacket::Batch(responses) => responses,
    }
}

fn refuse(packet: &RequestPacket, code: i64, message: &str) -> ResponsePacket {
    let answer = |id: &alloy_json_rpc::Id| Response { id: id.clone(), payload: failure(code, message) };
    match packet {
        RequestPacket::Single(request) => ResponsePacket::Single(answer(request.id())),
        RequestPacket::Batch(requests) => {
            ResponsePacket::Batch(requests.iter().map(|request| answer(request.id())).collect())
        }
    }
}

/// The answer of a node or network that a client must take for this class.
fn fail(packet: &RequestPacket, class: ErrorClass) -> Result<ResponsePacket, TransportError> {
    match class {
        ErrorClass::Transient => {
            Err(TransportFailure::Connection("connection reset by peer".to_owned()).into())
        }
        ErrorClass::RateLimited { retry_after } => {
            Err(TransportFailure::Http { status: 429, body: String::new(), retry_after }.into())
        }
        ErrorClass::RangeTooLarge => {
            Err(TransportFailure::TooLarge { limit_bytes: super::MAX_RESPONSE_BYTES }.into())
        }
        ErrorClass::BlockUnknown => Ok(refuse(packet, -32_000, "header not found")),
        ErrorClass::StateUnavailable => Ok(refuse(packet, -32_000, "missing trie node")),
        ErrorClass::Protocol => broken("<html>not JSON</html>"),
        ErrorClass::Rejected => Ok(refuse(packet, -32_601, "the method does not exist")),
    }
}

fn broken(text: &str) -> Result<ResponsePacket, TransportError> {
    match serde_json::from_str::<ResponsePacket>(text) {
        Ok(whole) => Ok(whole),
        Err(error) => Err(TransportError::deser_err(error, excerpt(text))),
    }
}

fn truncate(packet: &ResponsePacket, bytes: usize) -> Result<ResponsePacket, TransportError> {
    let mut text = match packet {
        ResponsePacket::Single(response) => serde_json::to_string(response),
        ResponsePacket::Batch(responses) => serde_json::to_string(responses),
    }
    .map_err(TransportError::ser_err)?;
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    broken(&text)
}

fn rewrite_all(mut packet: ResponsePacket, rewrite: &Rewrite) -> Result<ResponsePacket, TransportError> {
    for response in members(&mut packet) {
        if let ResponsePayload::Success(result) = &mut response.payload {
            let value: Value = serde_json::from_str(result.get())
                .map_err(|error| TransportError::deser_err(error, excerpt(result.get())))?;
            let rewritten = serde_json::to_string(&rewrite(value)).map_err(TransportError::ser_err)?;
            *result = RawValue::from_string(rewritten).map_err(TransportError::ser_err)?;
        }
    }
    Ok(packet)
}
