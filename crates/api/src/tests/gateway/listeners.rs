//! What each of two listeners serves, and to whom, over real sockets.

use std::net::SocketAddr;

use axum::body::Body;
use axum::http::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::super::served::LOCAL;
use super::Api;
use super::pki::Pki;
use crate::gateway::{Access, Declaration, Routes, Side};
use crate::routes::router_on;
use crate::server::side_of;
use crate::{Clients, Listeners, Tls, bind, bind_internal, serve};

/// A server of the API.
pub(super) struct Served {
    pub(super) public: SocketAddr,
    internal: Option<SocketAddr>,
    cancel: CancellationToken,
    task: JoinHandle<std::io::Result<()>>,
}

impl Served {
    pub(super) async fn start(api: &Api, tls: Option<Tls>, internal: Option<Option<Tls>>) -> Self {
        let public = bind(LOCAL).await.unwrap();
        let addr = public.local_addr().unwrap();
        let internal = match internal {
            None => None,
            Some(tls) => Some((bind_internal(LOCAL).await.unwrap(), tls)),
        };
        let internal_addr = internal.as_ref().map(|(listener, _)| listener.local_addr().unwrap());
        let cancel = CancellationToken::new();
        let listeners = Listeners { public, tls, internal };
        let task = tokio::spawn(serve(listeners, api.state.clone(), cancel.clone()));
        Self { public: addr, internal: internal_addr, cancel, task }
    }

    pub(super) async fn stop(self) {
        self.cancel.cancel();
        self.task.await.unwrap().unwrap();
    }
}

/// The status of an answer in plain HTTP, and its body.
pub(super) async fn plain(addr: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

#[tokio::test]
async fn the_internal_listener_alone_serves_what_is_internal() {
    let (api, pki) = (Api::followed().await, Pki::new());
    let internal_tls = Tls::load(pki.files(Clients::Required)).unwrap();
    for tls in [None, Some(internal_tls)] {
        let is_plain = tls.is_none();
        let served = Served::start(&api, None, Some(tls)).await;
        let internal = served.internal.unwrap();
        let client = pki.client();
        let ask = async |path: &str| match is_plain {
            true => Some(plain(internal, path).await.0),
            false => pki.status(internal, Some(&client), path, None).await,
        };
        for (path, public, inside) in [
            ("/healthz", 200, 200),
            ("/readyz", 200, 200),
            ("/metrics", 404, 200),
            ("/api/v1/chains", 200, 404),
            ("/docs", 200, 404),
        ] {
            assert_eq!(plain(served.public, path).await.0, public, "{path}, in public");
            assert_eq!(ask(path).await, Some(inside), "{path}, inside");
        }
        if !is_plain {
            assert_eq!(pki.status(internal, None, "/metrics", None).await, None, "not without a certificate");
        }
        served.stop().await;
        assert!(TcpStream::connect(internal).await.is_err(), "both are closed");
    }
}

#[tokio::test]
async fn a_route_that_is_declared_internal_is_never_served_to_strangers() {
    let api = Api::start().await;
    let asked = async |side: Side, path: &str| {
        let routes = Routes::default()
            .read(Declaration::read("/ledger", Access::Anybody).internal(), async || "the ledger")
            .read(Declaration::read("/operators", Access::Anybody).for_operators(), async || "for operators")
            .read(Declaration::read("/alive", Access::Anybody).everywhere(), async || "alive")
            .read(Declaration::read("/public", Access::Anybody), async || "public")
            .served_on(side);
        let router = router_on(side, api.state.clone(), routes);
        let request = Request::get(path).body(Body::empty()).unwrap();
        router.oneshot(request).await.unwrap().status().as_u16()
    };
    for (side, ledger, operators, public) in [
        (Side::Local, 200, 200, 200),
        (Side::Open, 404, 200, 200),
        (Side::Public, 404, 404, 200),
        (Side::Internal, 200, 200, 404),
    ] {
        assert_eq!(asked(side, "/ledger").await, ledger, "{side:?}");
        assert_eq!(asked(side, "/operators").await, operators, "{side:?}");
        assert_eq!(asked(side, "/public").await, public, "{side:?}");
        assert_eq!(asked(side, "/alive").await, 200, "{side:?}");
    }
}

#[tokio::test]
async fn a_listener_that_strangers_reach_is_not_local() {
    let listener = |text: &str| bind(text.parse().unwrap());
    let (here, anywhere) = (listener("127.0.0.1:0").await.unwrap(), listener("0.0.0.0:0").await.unwrap());
    assert_eq!(side_of(&here, false).unwrap(), Side::Local);
    assert_eq!(side_of(&anywhere, false).unwrap(), Side::Open);
    assert_eq!(side_of(&here, true).unwrap(), Side::Public);
    assert_eq!(side_of(&anywhere, true).unwrap(), Side::Public);
}

#[tokio::test]
async fn the_public_learns_no_more_than_ready_or_not_where_there_is_an_internal_listener() {
    let api = Api::start().await;
    let alone = Served::start(&api, None, None).await;
    let (status, body) = plain(alone.public, "/readyz").await;
    assert!(status == 503 && body.contains("no chain is followed yet"), "{body}");
    assert_eq!(plain(alone.public, "/metrics").await.0, 200, "one listener has it all");
    alone.stop().await;
    let two = Served::start(&api, None, Some(None)).await;
    let (status, body) = plain(two.public, "/readyz").await;
    assert_eq!(
        (status, body.contains("\"ready\":false"), body.contains("followed")),
        (503, true, false),
        "{body}"
    );
    let (status, body) = plain(two.internal.unwrap(), "/readyz").await;
    assert!(status == 503 && body.contains("no chain is followed yet"), "{body}");
    two.stop().await;
}

#[tokio::test]
async fn an_internal_listener_that_others_reach_is_not_served_without_certificates() {
    let api = Api::start().await;
    let internal = bind_internal("0.0.0.0:0".parse().unwrap()).await.unwrap();
    let listeners =
        Listeners { public: bind(LOCAL).await.unwrap(), tls: None, internal: Some((internal, None)) };
    let error = serve(listeners, api.state.clone(), CancellationToken::new()).await.unwrap_err();
    assert!(error.to_string().contains("`api.client_ca_file`"), "{error}");
}
