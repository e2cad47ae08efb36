//! The listener, over real sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Api;
use super::streams::client::sleeper;
use crate::server::serve_router;
use crate::{ApiOptions, BindError, bind, serve};

pub(super) const LOCAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

async fn ask(stream: &mut TcpStream, path: &str) {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n").as_bytes()).await.unwrap();
}

async fn first_line(stream: &mut TcpStream) -> String {
    let mut bytes = vec![0; 4_096];
    let read = stream.read(&mut bytes).await.unwrap();
    String::from_utf8_lossy(&bytes[..read]).lines().next().unwrap_or_default().to_owned()
}

/// A server whose one route waits until it is let go.
struct Waiting {
    addr: SocketAddr,
    entered: Arc<Notify>,
    leave: Arc<Notify>,
    cancel: CancellationToken,
    task: JoinHandle<std::io::Result<()>>,
}

async fn waiting(drain_ms: u64) -> Waiting {
    let (entered, leave) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (inside, gate) = (entered.clone(), leave.clone());
    let slow = async move || {
        inside.notify_one();
        gate.notified().await;
        "done"
    };
    let (listener, cancel) = (TcpListener::bind(LOCAL).await.unwrap(), CancellationToken::new());
    let addr = listener.local_addr().unwrap();
    let options = ApiOptions { drain_ms, ..ApiOptions::default() };
    let stop = cancel.clone();
    let task = tokio::spawn(async move {
        serve_router(listener, None, Router::new().route("/", get(slow)), &options, stop).await
    });
    Waiting { addr, entered, leave, cancel, task }
}

#[tokio::test]
async fn it_serves_and_stops_when_told() {
    let api = Api::followed().await;
    let (listener, cancel) = (bind(LOCAL).await.unwrap(), CancellationToken::new());
    let addr = listener.local_addr().unwrap();
    let task = tokio::spawn(serve(listener, api.state.clone(), cancel.clone()));
    let mut stream = TcpStream::connect(addr).await.unwrap();
    for path in ["/healthz", "/api/v1/chains"] {
        ask(&mut stream, path).await;
        assert_eq!(first_line(&mut stream).await, "HTTP/1.1 200 OK", "{path}, on one connection");
    }
    cancel.cancel();
    task.await.unwrap().unwrap();
    assert!(TcpStream::connect(addr).await.is_err(), "no new connection is taken");
}

#[tokio::test]
async fn a_request_in_flight_is_let_end_when_the_server_stops() {
    let server = waiting(60_000).await;
    let mut stream = TcpStream::connect(server.addr).await.unwrap();
    ask(&mut stream, "/").await;
    server.entered.notified().await;
    server.cancel.cancel();
    server.leave.notify_one();
    assert_eq!(first_line(&mut stream).await, "HTTP/1.1 200 OK");
    server.task.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_request_that_does_not_end_is_cut_off_at_the_drains_bound() {
    let server = waiting(20).await;
    let mut stream = TcpStream::connect(server.addr).await.unwrap();
    ask(&mut stream, "/").await;
    server.entered.notified().await;
    server.cancel.cancel();
    server.task.await.unwrap().unwrap();
    assert_eq!(first_line(&mut stream).await, "", "the connection is closed");
}

#[tokio::test]
async fn a_port_in_use_and_an_address_of_others_say_which_setting_to_change() {
    let taken = TcpListener::bind(LOCAL).await.unwrap();
    let error = bind(taken.local_addr().unwrap()).await.unwrap_err();
    assert!(matches!(error, BindError::InUse { .. }));
    assert!(
        error.to_string().contains("port is in use") && error.to_string().contains("`api.listen`"),
        "{error}"
    );
    let error = bind("192.0.2.1:0".parse().unwrap()).await.unwrap_err();
    assert!(matches!(error, BindError::NotLocal { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_nothing_of_an_answer_gives_its_connection_back() {
    const ANSWER_BYTES: usize = 64 * 1_024 * 1_024;
    let options = ApiOptions { max_connections: 1, write_timeout_ms: 200, ..ApiOptions::default() };
    let (listener, cancel) = (TcpListener::bind(LOCAL).await.unwrap(), CancellationToken::new());
    let (addr, stop) = (listener.local_addr().unwrap(), cancel.clone());
    let large = Router::new().route("/", get(async || vec![7_u8; ANSWER_BYTES]));
    let task = tokio::spawn(async move { serve_router(listener, None, large, &options, stop).await });
    let request = "GET / HTTP/1.1\r\nhost: test\r\n\r\n";
    let asleep = sleeper(addr, request, "HTTP/1.1 200 OK").await;
    let mut next = TcpStream::connect(addr).await.unwrap();
    ask(&mut next, "/").await;
    let served = tokio::time::timeout(Duration::from_secs(120), first_line(&mut next)).await;
    assert_eq!(served.expect("the one connection that there is comes free"), "HTTP/1.1 200 OK");
    drop((asleep, next));
    cancel.cancel();
    task.await.unwrap().unwrap();
}
