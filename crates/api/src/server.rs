//! The listeners: bounded connections, bounded handshakes, heads and writes, a bounded drain.
//!
//! There is one, or a public and an internal one: then what is for this system's own services and operators is served on the internal one
//! alone, each has connections of its own, and both drain together.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::gateway::{ClientCertificate, Peer, Side, Tls};
use crate::limits::{HEAD_MAX_BYTES, HEAD_READ_TIMEOUT_MS};
use crate::routes::router_on;
use crate::stall::Unstalled;
use crate::state::{ApiOptions, ApiState};

/// How long the listener rests when the system has no descriptor left for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long the feed of events rests when it cannot be read.
const FEED_PAUSE: Duration = Duration::from_secs(1);

/// Why the API cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process has the port.
    #[error(
        "cannot listen on {addr}: the port is in use; stop the process that has it, or choose another by `{setting}`"
    )]
    InUse {
        /// The address.
        addr: SocketAddr,
        /// The setting that names it.
        setting: &'static str,
    },
    /// The system does not let this process have the port.
    #[error(
        "cannot listen on {addr}: not permitted (ports below 1024 need a privilege); choose another by `{setting}`"
    )]
    NotPermitted {
        /// The address.
        addr: SocketAddr,
        /// The setting that names it.
        setting: &'static str,
    },
    /// The address is not this machine's.
    #[error(
        "cannot listen on {addr}: this machine does not have the address; give one of its own, as 127.0.0.1 or 0.0.0.0, by `{setting}`"
    )]
    NotLocal {
        /// The address.
        addr: SocketAddr,
        /// The setting that names it.
        setting: &'static str,
    },
    /// Anything else.
    #[error("cannot listen on {addr}: {source}; check `{setting}`")]
    Other {
        /// The address.
        addr: SocketAddr,
        /// The setting that names it.
        setting: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl BindError {
    /// The setting that names the address.
    #[must_use]
    pub fn setting(&self) -> &'static str {
        match self {
            Self::InUse { setting, .. }
            | Self::NotPermitted { setting, .. }
            | Self::NotLocal { setting, .. }
            | Self::Other { setting, .. } => setting,
        }
    }
}

/// Takes the public address. Port 0 takes any free one: see the listener's own address.
///
/// # Errors
/// [`BindError`] says what is wrong and which setting to change.
pub async fn bind(addr: SocketAddr) -> Result<TcpListener, BindError> {
    listen(addr, "api.listen").await
}

/// [`bind`], for the internal address.
///
/// # Errors
/// As [`bind`]'s.
pub async fn bind_internal(addr: SocketAddr) -> Result<TcpListener, BindError> {
    listen(addr, "api.internal_listen").await
}

async fn listen(addr: SocketAddr, setting: &'static str) -> Result<TcpListener, BindError> {
    TcpListener::bind(addr).await.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse { addr, setting },
        io::ErrorKind::PermissionDenied => BindError::NotPermitted { addr, setting },
        io::ErrorKind::AddrNotAvailable => BindError::NotLocal { addr, setting },
        _ => BindError::Other { addr, setting, source },
    })
}

/// Where the API is served.
#[derive(Debug)]
pub struct Listeners {
    /// For everybody.
    pub public: TcpListener,
    /// The certificates of the public one; without them it speaks plain HTTP.
    pub tls: Option<Tls>,
    /// For this system's own services and operators, with its certificates. Without them only an address of this machine alone is served.
    pub internal: Option<(TcpListener, Option<Tls>)>,
}

impl From<TcpListener> for Listeners {
    /// One listener, in plain HTTP.
    fn from(public: TcpListener) -> Self {
        Self { public, tls: None, internal: None }
    }
}

/// Serves until `cancel`; then takes no new connection, lets requests in flight end within `drain_ms`, and cuts off the rest.
///
/// Ends: after `cancel` no connection is added, and the wait for those that are left is bounded.
///
/// # Errors
/// When a listener is broken, or an internal one without client certificates could be reached from elsewhere.
pub async fn serve(
    listeners: impl Into<Listeners>,
    state: ApiState,
    cancel: CancellationToken,
) -> io::Result<()> {
    let Listeners { public, tls, internal } = listeners.into();
    let options = state.options().clone();
    let mut upkeep = JoinSet::new();
    upkeep.spawn(crate::metrics::upkeep(state.prometheus().clone(), cancel.clone()));
    // Its end ends the streams, and with them the connections that have one.
    let (feed, ending) = (state.feed().clone(), cancel.clone());
    upkeep.spawn(async move { feed.keep_running(FEED_PAUSE, &ending).await });
    for tls in [&tls, &internal.as_ref().and_then(|(_, tls)| tls.clone())].into_iter().flatten() {
        upkeep.spawn(tls.clone().watch());
    }
    let side = side_of(&public, internal.is_some())?;
    let app = |side| router_on(side, state.clone(), Router::new());
    let served = serve_router(public, tls, app(side), &options, cancel.clone());
    let served = match internal {
        None => served.await,
        Some((listener, tls)) => {
            if tls.is_none() && !listener.local_addr()?.ip().is_loopback() {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, EXPOSED));
            }
            let internal = serve_router(listener, tls, app(Side::Internal), &options, cancel);
            tokio::try_join!(served, internal).map(|_| ())
        }
    };
    // A WebSocket is no connection of a listener any more. It was told when the others were; its end is waited for by itself.
    let drain = Duration::from_millis(options.drain_ms);
    if tokio::time::timeout(drain, state.streams().ended()).await.is_err() {
        tracing::warn!("streams did not end in time: cut off");
    }
    served
}

/// What the public listener is, beside an internal one or alone.
pub(crate) fn side_of(public: &TcpListener, is_one_of_two: bool) -> io::Result<Side> {
    Ok(match public.local_addr()?.ip().is_loopback() {
        _ if is_one_of_two => Side::Public,
        true => Side::Local,
        false => Side::Open,
    })
}

const EXPOSED: &str = "`api.internal_listen` can be reached from elsewhere and has no TLS with client certificates: set \
                       `api.tls_cert_file`, `api.tls_key_file` and `api.client_ca_file`, or listen on 127.0.0.1";

/// One listener.
pub(crate) async fn serve_router(
    listener: TcpListener,
    tls: Option<Tls>,
    app: Router,
    options: &ApiOptions,
    cancel: CancellationToken,
) -> io::Result<()> {
    let addr = listener.local_addr()?;
    let drain = Duration::from_millis(options.drain_ms);
    let slots = Arc::new(Semaphore::new(options.max_connections));
    let mut connections = JoinSet::new();
    tracing::info!(%addr, tls = tls.is_some(), "the API listens");
    loop {
        let (stream, peer, slot) = tokio::select! {
            biased;
            () = cancel.cancelled() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = accept(&listener, &slots) => accepted,
        };
        let stream = Unstalled::new(stream, Duration::from_millis(options.write_timeout_ms));
        connections.spawn(connection(stream, peer, slot, tls.clone(), app.clone(), cancel.clone()));
    }
    drop(listener);
    let drained =
        tokio::time::timeout(drain, async { while connections.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        tracing::warn!(connections = connections.len(), "requests in flight did not end in time: cut off");
        connections.shutdown().await;
    }
    tracing::info!(%addr, "the API is closed");
    Ok(())
}

/// The next connection, once there is a slot for it. Waits out what goes wrong with a single one.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
    let Ok(slot) = Arc::clone(slots).acquire_owned().await else {
        return pending().await; // the semaphore is never closed
    };
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "a connection is without TCP_NODELAY");
                }
                return (stream, peer, slot);
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::error!(%error, "cannot accept connections; trying again");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset
    )
}

async fn connection(
    stream: Unstalled<TcpStream>,
    peer: SocketAddr,
    slot: OwnedSemaphorePermit,
    tls: Option<Tls>,
    app: Router,
    cancel: CancellationToken,
) {
    let peer = Peer(peer.ip());
    match tls {
        None => exchange(stream, peer, None, app, cancel).await,
        Some(tls) => match cancel.run_until_cancelled(tls.accept(stream)).await {
            Some(Ok((stream, certificate))) => exchange(stream, peer, certificate, app, cancel).await,
            Some(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
            None => {}
        },
    }
    drop(slot);
}

/// The requests of one connection, one after the other.
async fn exchange<S>(
    stream: S,
    peer: Peer,
    certificate: Option<ClientCertificate>,
    app: Router,
    cancel: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let app = app.map_request(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        let extensions = request.extensions_mut();
        extensions.insert(peer);
        if let Some(certificate) = certificate {
            extensions.insert(certificate);
        }
        request
    });
    // HTTP/1 alone: telling the versions apart would wait for a silent client's first bytes without a limit.
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(HEAD_READ_TIMEOUT_MS))
        .max_buf_size(HEAD_MAX_BYTES);
    let served = builder.serve_connection_with_upgrades(TokioIo::new(stream), TowerToHyperService::new(app));
    tokio::pin!(served);
    let result = tokio::select! {
        result = served.as_mut() => result,
        () = cancel.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection broke");
    }
}
