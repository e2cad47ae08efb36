//! TLS and client certificates, over real sockets.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::routing::get;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::super::served::LOCAL;
use super::{Api, bearer};
use crate::gateway::{Access, Declaration, Routes, Side};
use crate::limits::TLS_RELOAD_INTERVAL_MS;
use crate::routes::router_on;
use crate::server::{serve_router, side_of};
use crate::{ApiOptions, Clients, Listeners, Tls, TlsError, TlsFiles, bind, bind_internal, serve};

type Issuer = CertifiedIssuer<'static, KeyPair>;

/// An authority, and a directory for what it issues.
struct Pki {
    authority: Issuer,
    dir: TempDir,
}

/// A certificate and its key.
struct Identity {
    certificate: CertificateDer<'static>,
    pem: String,
    key: KeyPair,
}

fn authority() -> Issuer {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn issue(authority: &Issuer, name: &str, purpose: ExtendedKeyUsagePurpose) -> Identity {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.extended_key_usages = vec![purpose];
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
    Identity { pem: certificate.pem(), certificate: certificate.der().clone(), key }
}

impl Pki {
    fn new() -> Self {
        let pki = Self { authority: authority(), dir: tempfile::tempdir().unwrap() };
        std::fs::write(pki.path("ca.pem"), pki.authority.pem()).unwrap();
        pki.renew();
        pki
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    /// Another certificate for the server, put where the former one was.
    fn renew(&self) -> Identity {
        let server = issue(&self.authority, "localhost", ExtendedKeyUsagePurpose::ServerAuth);
        std::fs::write(self.path("server.pem"), &server.pem).unwrap();
        std::fs::write(self.path("server.key"), server.key.serialize_pem()).unwrap();
        server
    }

    fn client(&self) -> Identity {
        issue(&self.authority, "machine", ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn files(&self, clients: fn(std::path::PathBuf) -> Clients) -> TlsFiles {
        TlsFiles {
            certificate: self.path("server.pem"),
            key: self.path("server.key"),
            clients: clients(self.path("ca.pem")),
        }
    }

    /// A connection to the server; which certificate it showed is in it.
    async fn connect(
        &self,
        addr: SocketAddr,
        client: Option<&Identity>,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        self.shake(TcpStream::connect(addr).await?, client).await
    }

    async fn shake<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        client: Option<&Identity>,
    ) -> std::io::Result<TlsStream<S>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der().clone()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match client {
            None => config.with_no_client_auth(),
            Some(client) => {
                let key = PrivatePkcs8KeyDer::from(client.key.serialize_der());
                config.with_client_auth_cert(vec![client.certificate.clone()], key.into()).unwrap()
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await
    }

    /// The status of an answer, or none where the server closed the connection.
    async fn status(
        &self,
        addr: SocketAddr,
        client: Option<&Identity>,
        path: &str,
        key: Option<&str>,
    ) -> Option<u16> {
        let mut stream = self.connect(addr, client).await.ok()?;
        let authorization = key.map(|key| format!("authorization: {}\r\n", bearer(key))).unwrap_or_default();
        let head =
            format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{authorization}\r\n");
        stream.write_all(head.as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok()?;
        String::from_utf8_lossy(&answer).split(' ').nth(1)?.parse().ok()
    }
}

/// A server of the API.
struct Served {
    public: SocketAddr,
    internal: Option<SocketAddr>,
    cancel: CancellationToken,
    task: JoinHandle<std::io::Result<()>>,
}

impl Served {
    async fn start(api: &Api, tls: Option<Tls>, internal: Option<Option<Tls>>) -> Self {
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

    async fn stop(self) {
        self.cancel.cancel();
        self.task.await.unwrap().unwrap();
    }
}

/// The status of an answer in plain HTTP, and its body.
async fn plain(addr: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

#[tokio::test]
async fn a_key_that_is_bound_to_a_certificate_is_good_with_it_alone() {
    let (api, pki) = (Api::followed().await, Pki::new());
    let tenant_id = api.tenant_named("acme").await;
    let (ours, other) = (pki.client(), pki.client());
    let bound = api.key(tenant_id, Some(Sha256::digest(&ours.certificate).into())).await;
    let free = api.key(tenant_id, None).await;
    let tls = Tls::load(pki.files(Clients::Asked)).unwrap();
    let served = Served::start(&api, Some(tls), None).await;
    let ask = async |client: Option<&Identity>, key: Option<&str>| {
        pki.status(served.public, client, "/api/v1/chains", key).await
    };
    assert_eq!(ask(Some(&ours), Some(&bound)).await, Some(200));
    assert_eq!(ask(Some(&other), Some(&bound)).await, Some(401), "another certificate of the same authority");
    assert_eq!(ask(None, Some(&bound)).await, Some(401));
    assert_eq!(ask(None, Some(&free)).await, Some(200), "whoever has none is served without");
    assert_eq!(ask(None, None).await, Some(200));
    let stranger = issue(&authority(), "machine", ExtendedKeyUsagePurpose::ClientAuth);
    assert_eq!(
        ask(Some(&stranger), None).await,
        None,
        "a certificate of a stranger's authority is no certificate"
    );
    let server = pki.renew();
    assert_eq!(ask(Some(&server), None).await, None, "nor is one that was issued for something else");
    served.stop().await;
}

#[tokio::test]
async fn where_certificates_are_required_nobody_comes_without() {
    let (api, pki) = (Api::followed().await, Pki::new());
    let served = Served::start(&api, Some(Tls::load(pki.files(Clients::Required)).unwrap()), None).await;
    assert_eq!(pki.status(served.public, None, "/healthz", None).await, None);
    assert_eq!(pki.status(served.public, Some(&pki.client()), "/healthz", None).await, Some(200));
    let stream = pki.connect(served.public, Some(&pki.client())).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    served.stop().await;
}

#[tokio::test]
async fn new_files_are_taken_over_and_bad_ones_are_not() {
    let (api, pki) = (Api::followed().await, Pki::new());
    let first = pki.renew();
    let tls = Tls::load(pki.files(|_| Clients::NotAsked)).unwrap();
    let served = Served::start(&api, Some(tls.clone()), None).await;
    let shown = async || {
        let stream = pki.connect(served.public, None).await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].clone()
    };
    assert_eq!(shown().await, first.certificate);
    assert!(!tls.reload().unwrap(), "nothing has changed");

    std::fs::write(pki.path("server.pem"), "-----BEGIN CERTIFICATE-----\nnonsense").unwrap();
    let error = tls.reload().unwrap_err().to_string();
    assert!(error.contains("server.pem") && error.contains("`api.tls_cert_file`"), "{error}");
    assert!(!tls.reload().unwrap(), "the same fault is told once");
    assert_eq!(shown().await, first.certificate);

    let second = pki.renew();
    assert!(tls.reload().unwrap());
    assert_eq!(shown().await, second.certificate);

    // Half of a renewal: the new certificate is there, its key is not yet.
    let old_key = std::fs::read(pki.path("server.key")).unwrap();
    let third = pki.renew();
    let new_key = std::fs::read(pki.path("server.key")).unwrap();
    std::fs::write(pki.path("server.key"), old_key).unwrap();
    assert!(matches!(tls.reload(), Err(TlsError::Pair { .. })));
    assert_eq!(shown().await, second.certificate);
    std::fs::write(pki.path("server.key"), new_key).unwrap();
    assert!(tls.reload().unwrap());
    assert_eq!(shown().await, third.certificate);
    served.stop().await;
}

#[tokio::test(start_paused = true)]
async fn files_that_change_are_noticed_by_themselves() {
    let pki = Pki::new();
    let first = pki.renew();
    let tls = Tls::load(pki.files(|_| Clients::NotAsked)).unwrap();
    let watch = tokio::spawn(tls.clone().watch());
    let shown = async || {
        let (client, server) = tokio::io::duplex(16 * 1_024);
        let (client, server) = tokio::join!(pki.shake(client, None), tls.accept(server));
        server.unwrap();
        client.unwrap().get_ref().1.peer_certificates().unwrap()[0].clone()
    };
    assert_eq!(shown().await, first.certificate);
    let second = pki.renew();
    let mut looks = 0;
    while shown().await != second.certificate {
        looks += 1;
        assert!(looks < 10_000, "it is never noticed");
        tokio::time::advance(Duration::from_millis(TLS_RELOAD_INTERVAL_MS)).await;
    }
    watch.abort();
}

#[test]
fn files_that_cannot_be_used_say_which_setting_names_them() {
    let pki = Pki::new();
    let load = |change: fn(&mut TlsFiles, &Path)| {
        let mut files = pki.files(Clients::Asked);
        change(&mut files, pki.dir.path());
        Tls::load(files).unwrap_err().to_string()
    };
    let error = load(|files, dir| files.certificate = dir.join("missing.pem"));
    assert!(error.starts_with("cannot read ") && error.contains("`api.tls_cert_file`"), "{error}");
    let error = load(|files, dir| files.key = dir.join("ca.pem"));
    assert!(error.contains("has no private key in it") && error.contains("`api.tls_key_file`"), "{error}");
    let error = load(|files, dir| files.clients = Clients::Required(dir.join("server.key")));
    assert!(error.contains("has no certificate in it") && error.contains("`api.client_ca_file`"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_shake_hands_is_given_up() {
    let pki = Pki::new();
    let tls = Tls::load(pki.files(|_| Clients::NotAsked)).unwrap();
    let (_silent, server) = tokio::io::duplex(1_024);
    let error = tls.accept(server).await.err().unwrap();
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
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

#[tokio::test]
async fn a_head_that_is_too_large_gets_a_431_and_a_closed_connection() {
    let listener = bind(LOCAL).await.unwrap();
    let (addr, cancel) = (listener.local_addr().unwrap(), CancellationToken::new());
    let stop = cancel.clone();
    let app = Router::new().route("/", get(async || "here"));
    let task =
        tokio::spawn(async move { serve_router(listener, None, app, &ApiOptions::default(), stop).await });
    let token = "A".repeat(40 * 1_024);
    let many: String = (0..200).map(|n| format!("x-header-{n}: 1\r\n")).collect();
    for head in
        [format!("authorization: Bearer {token}\r\n"), many, "authorization: Bearer \u{e9}\r\n".to_owned()]
    {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        let request = format!("GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{head}\r\n");
        // The server may close before it was all sent.
        let sent = stream.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        let read =
            tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut answer)).await.unwrap();
        let status = String::from_utf8_lossy(&answer).split(' ').nth(1).map(str::to_owned);
        match (status.as_deref(), head.len() > 100) {
            (Some("431"), true) | (Some("200"), false) => {}
            (None, true) => assert!(sent.is_err() || read.is_err(), "closed"),
            (status, _) => panic!("{status:?} for {} bytes", head.len()),
        }
    }
    cancel.cancel();
    task.await.unwrap().unwrap();
}
