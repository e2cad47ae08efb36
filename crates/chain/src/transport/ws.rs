//! JSON-RPC over a WebSocket, on alloy's pub/sub service.
//!
//! alloy notices a broken socket and reconnects, but three things are left to us. Its keep-alive fires only
//! between messages, so a peer that swallows requests without a word is noticed by nobody: here a request
//! that times out *retires* the session, new requests open a new one, and the old one ends with its last
//! waiter. It gives up for ever after its retries: here the next request connects again. And it re-sends
//! whatever is in flight after a reconnect, so an answer too large for the socket would break every new
//! socket: retiring ends that too.

use std::{
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use alloy_json_rpc::{RequestPacket, ResponsePacket, ResponsePayload, SerializedRequest};
use alloy_primitives::B256;
use alloy_pubsub::{PubSubConnect, PubSubFrontend, RawSubscription};
use alloy_transport::{TransportError, TransportErrorKind, TransportFut};
use alloy_transport_ws::{WebSocketConfig, WsConnect};
use tokio::sync::watch;
use tower::Service;

use super::{MAX_RESPONSE_BYTES, TransportFailure};

/// Silence after which the socket is pinged, and the time that the pong may take.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// A WebSocket endpoint. Clones share the session.
#[derive(Clone)]
pub struct WsTransport {
    link: Arc<WsLink>,
}

impl WsTransport {
    /// Names the endpoint; the first request connects.
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self { link: Arc::new(WsLink::new(url)) }
    }

    pub(crate) fn link(&self) -> Arc<WsLink> {
        self.link.clone()
    }
}

impl Service<RequestPacket> for WsTransport {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, packet: RequestPacket) -> Self::Future {
        let link = self.link.clone();
        Box::pin(async move {
            let session = link.session().await?;
            let answer = session.frontend.send_packet(packet).await;
            if answer.as_ref().is_err_and(is_gone) {
                link.retire(session.generation);
            }
            answer
        })
    }
}

/// The current session with a WebSocket endpoint, and the making of a new one.
pub(crate) struct WsLink {
    connect: WsConnect,
    current: Mutex<Option<Session>>,
    /// Held while connecting, so that many waiting requests make one connection.
    connecting: tokio::sync::Mutex<()>,
    /// Number of the latest session; changes wake the subscribers.
    generation: watch::Sender<u64>,
}

#[derive(Clone)]
pub(crate) struct Session {
    frontend: PubSubFrontend,
    generation: u64,
}

impl WsLink {
    fn new(url: &str) -> Self {
        let limits = WebSocketConfig::default()
            .max_message_size(Some(MAX_RESPONSE_BYTES))
            .max_frame_size(Some(MAX_RESPONSE_BYTES));
        Self {
            // One immediate attempt to reconnect; after that the session is gone and the next request opens
            // another, at the pace of the caller's backoff.
            connect: WsConnect::new(url)
                .with_config(limits)
                .with_keepalive_interval(KEEPALIVE)
                .with_max_retries(1),
            current: Mutex::new(None),
            connecting: tokio::sync::Mutex::new(()),
            generation: watch::Sender::new(0),
        }
    }

    /// Number of the latest session; 0 before the first.
    pub(crate) fn generation(&self) -> u64 {
        *self.generation.borrow()
    }

    /// Wakes when a session is opened or retired.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    /// Lets new requests open a new session, if this is still the current one. What waits on it may finish.
    pub(crate) fn retire(&self, generation: u64) {
        let mut current = self.lock();
        if current.as_ref().is_some_and(|session| session.generation == generation) {
            *current = None;
            drop(current);
            tracing::warn!(generation, "the WebSocket session is given up; the next request opens a new one");
            self.generation.send_modify(|generation| *generation += 1);
        }
    }

    pub(crate) async fn session(&self) -> Result<Session, TransportError> {
        if let Some(session) = self.lock().clone() {
            return Ok(session);
        }
        let _one_at_a_time = self.connecting.lock().await;
        if let Some(session) = self.lock().clone() {
            return Ok(session);
        }
        let frontend = self.connect.clone().into_service().await.map_err(|error| {
            TransportFailure::Connection(format!("the WebSocket cannot be opened: {error}"))
        })?;
        let generation = self.generation() + 1;
        let session = Session { frontend, generation };
        *self.lock() = Some(session.clone());
        self.generation.send_replace(generation);
        Ok(session)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Session>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A subscription on one session; ends with it.
pub(crate) struct Feed {
    session: Session,
    subscription: RawSubscription,
}

impl Feed {
    /// Subscribes. `Ok(Err(message))` means that the node serves no such subscription.
    pub(crate) async fn open(
        link: &WsLink,
        request: SerializedRequest,
    ) -> Result<Result<Self, String>, TransportError> {
        let session = link.session().await?;
        let answer = session.frontend.send(request).await.inspect_err(|error| {
            if is_gone(error) {
                link.retire(session.generation);
            }
        })?;
        let local_id: B256 = match answer.payload {
            ResponsePayload::Success(id) => {
                serde_json::from_str(id.get()).map_err(|error| TransportError::deser_err(error, id.get()))?
            }
            ResponsePayload::Failure(error) => return Ok(Err(error.to_string())),
        };
        let subscription = session.frontend.get_subscription(local_id).await?;
        Ok(Ok(Self { session, subscription }))
    }

    /// The number of the session that it lives on.
    pub(crate) fn generation(&self) -> u64 {
        self.session.generation
    }

    /// The latest notification, skipping older ones that wait; `None` when the feed has ended.
    pub(crate) async fn latest(&mut self) -> Option<Box<serde_json::value::RawValue>> {
        use tokio::sync::broadcast::error::RecvError;

        let mut newest = loop {
            match self.subscription.recv().await {
                Ok(item) => break item,
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        };
        while let Ok(item) = self.subscription.try_recv() {
            newest = item;
        }
        Some(newest)
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        // A session that has ended has nothing to unsubscribe from.
        let _ = self.session.frontend.unsubscribe(*self.subscription.local_id());
    }
}

fn is_gone(error: &TransportError) -> bool {
    matches!(error, TransportError::Transport(TransportErrorKind::BackendGone))
}
