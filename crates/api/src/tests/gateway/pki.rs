//! An authority, what it issues, and connections that show it.

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::bearer;
use crate::{Clients, TlsFiles};

pub(super) type Issuer = CertifiedIssuer<'static, KeyPair>;

/// An authority, and a directory for what it issues.
pub(super) struct Pki {
    authority: Issuer,
    pub(super) dir: TempDir,
}

/// A certificate and its key.
pub(super) struct Identity {
    pub(super) certificate: CertificateDer<'static>,
    pem: String,
    key: KeyPair,
}

pub(super) fn authority() -> Issuer {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

pub(super) fn issue(authority: &Issuer, name: &str, purpose: ExtendedKeyUsagePurpose) -> Identity {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.extended_key_usages = vec![purpose];
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
    Identity { pem: certificate.pem(), certificate: certificate.der().clone(), key }
}

impl Pki {
    pub(super) fn new() -> Self {
        let pki = Self { authority: authority(), dir: tempfile::tempdir().unwrap() };
        std::fs::write(pki.path("ca.pem"), pki.authority.pem()).unwrap();
        pki.renew();
        pki
    }

    pub(super) fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    /// Another certificate for the server, put where the former one was.
    pub(super) fn renew(&self) -> Identity {
        let server = issue(&self.authority, "localhost", ExtendedKeyUsagePurpose::ServerAuth);
        std::fs::write(self.path("server.pem"), &server.pem).unwrap();
        std::fs::write(self.path("server.key"), server.key.serialize_pem()).unwrap();
        server
    }

    pub(super) fn client(&self) -> Identity {
        issue(&self.authority, "machine", ExtendedKeyUsagePurpose::ClientAuth)
    }

    pub(super) fn files(&self, clients: fn(std::path::PathBuf) -> Clients) -> TlsFiles {
        TlsFiles {
            certificate: self.path("server.pem"),
            key: self.path("server.key"),
            clients: clients(self.path("ca.pem")),
        }
    }

    /// A connection to the server; which certificate it showed is in it.
    pub(super) async fn connect(
        &self,
        addr: SocketAddr,
        client: Option<&Identity>,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        self.shake(TcpStream::connect(addr).await?, client).await
    }

    pub(super) async fn shake<S: AsyncRead + AsyncWrite + Unpin>(
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
    pub(super) async fn status(
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
