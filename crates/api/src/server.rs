//! The listener: bounded connections, bounded heads, a bounded drain.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::limits::{HEAD_MAX_BYTES, HEAD_READ_TIMEOUT_MS};
use crate::routes::router;
use crate::state::{ApiOptions, ApiState};

/// How long the listener rests when the system has no descriptor left for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why the API cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process has the port.
    #[error(
        "cannot listen on {addr}: the port is in use; stop the process that has it, or choose another by `api.listen`"
    )]
    InUse {
        /// The address.
        addr: SocketAddr,
    },
    /// The system does not let this process have the port.
    #[error(
        "cannot listen on {addr}: not permitted (ports below 1024 need a privilege); choose another by `api.listen`"
    )]
    NotPermitted {
        /// The address.
        addr: SocketAddr,
    },
    /// The address is not this machine's.
    #[error(
        "cannot listen on {addr}: this machine does not have the address; give one of its own, as 127.0.0.1 or 0.0.0.0, by `api.listen`"
    )]
    NotLocal {
        /// The address.
        addr: SocketAddr,
    },
    /// Anything else.
    #[error("cannot listen on {addr}: {source}; check `api.listen`")]
    Other {
        /// The address.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

/// Takes the address. Port 0 takes any free one: see the listener's own address.
///
/// # Errors
/// [`BindError`] says what is wrong and which setting to change.
pub async fn bind(addr: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(addr).await.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse { addr },
        io::ErrorKind::PermissionDenied => BindError::NotPermitted { addr },
        io::ErrorKind::AddrNotAvailable => BindError::NotLocal { addr },
        _ => BindError::Other { addr, source },
    })
}

/// Serves until `cancel`; then takes no new connection, lets requests in flight end within `drain_ms`, and cuts off the rest.
///
/// Ends: after `cancel` no connection is added, and the wait for those that are left is bounded.
///
/// # Errors
/// When the listener itself is broken.
pub async fn serve(listener: TcpListener, state: ApiState, cancel: CancellationToken) -> io::Result<()> {
    let upkeep = tokio::spawn(crate::metrics::upkeep(state.prometheus().clone(), cancel.clone()));
    let options = state.options().clone();
    let served = serve_router(listener, router(state), &options, cancel).await;
    upkeep.abort();
    served
}

/// [`serve`], for any router.
pub(crate) async fn serve_router(
    listener: TcpListener,
    app: Router,
    options: &ApiOptions,
    cancel: CancellationToken,
) -> io::Result<()> {
    let addr = listener.local_addr()?;
    let drain = Duration::from_millis(options.drain_ms);
    let slots = Arc::new(Semaphore::new(options.max_connections));
    let mut connections = JoinSet::new();
    tracing::info!(%addr, "the API listens");
    loop {
        let (stream, slot) = tokio::select! {
            biased;
            () = cancel.cancelled() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = accept(&listener, &slots) => accepted,
        };
        connections.spawn(connection(stream, slot, app.clone(), cancel.clone()));
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
async fn accept(listener: &TcpListener, slots: &Arc<Semaphore>) -> (TcpStream, OwnedSemaphorePermit) {
    let Ok(slot) = Arc::clone(slots).acquire_owned().await else {
        return pending().await; // the semaphore is never closed
    };
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, slot),
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

async fn connection(stream: TcpStream, slot: OwnedSemaphorePermit, app: Router, cancel: CancellationToken) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection is without TCP_NODELAY");
    }
    // HTTP/1 alone: telling the versions apart would wait for a silent client's first bytes without a limit.
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(HEAD_READ_TIMEOUT_MS))
        .max_buf_size(HEAD_MAX_BYTES);
    let served = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(app));
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
    drop(slot);
}
