//! The server's certificate, and those of its clients.
//!
//! What the files hold is checked whole before it is used: at the start, where a fault ends the process with its reason, and whenever they
//! change, where the former certificate stays in use until the new files are right. Connections that are open keep what they began with.
//!
//! A client's certificate is verified in the handshake, against the operator's own authorities and no others. That its holder has the
//! private key is part of that, so the hash of the leaf ([`ClientCertificate`](super::ClientCertificate)) is proof and not a claim.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use metrics::counter;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use zeroize::Zeroizing;

use super::ClientCertificate;
use crate::limits::{TLS_HANDSHAKE_TIMEOUT_MS, TLS_RELOAD_INTERVAL_MS};

/// The one protocol that is spoken within (RFC 7301).
const ALPN: &[u8] = b"http/1.1";

/// Where certificates and keys are, in PEM.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The server's certificate, followed by its intermediates.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// What is asked of clients.
    pub clients: Clients,
}

/// What is asked of clients.
#[derive(Clone, Debug)]
pub enum Clients {
    /// Nothing.
    NotAsked,
    /// A certificate of one of the authorities in this file, or none.
    Asked(PathBuf),
    /// A certificate of one of the authorities in this file.
    Required(PathBuf),
}

/// Why files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}; give a file that this user can read, by `{setting}`", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The setting that names it.
        setting: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{} {what}; give a file in PEM that does, by `{setting}`", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// The setting that names it.
        setting: &'static str,
        /// What is wrong with it.
        what: String,
    },
    /// Certificate and key do not go together, or are of a kind that cannot be used.
    #[error("the certificate in {} and the key in {} cannot be used together: {source}", certificate.display(), key.display())]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why not.
        source: rustls::Error,
    },
    /// The clients' authorities cannot be used.
    #[error("the authorities in {} cannot be used: {source}", path.display())]
    Authorities {
        /// Their file.
        path: PathBuf,
        /// Why not.
        source: VerifierBuilderError,
    },
}

impl TlsError {
    /// The setting whose file is to be looked at.
    #[must_use]
    pub fn setting(&self) -> &'static str {
        match self {
            Self::Unreadable { setting, .. } | Self::Unusable { setting, .. } => setting,
            Self::Pair { .. } => "api.tls_cert_file",
            Self::Authorities { .. } => "api.client_ca_file",
        }
    }
}

/// Certificates in use. Cheap to clone.
#[derive(Clone)]
pub struct Tls {
    inner: Arc<Inner>,
}

struct Inner {
    files: TlsFiles,
    config: RwLock<Arc<ServerConfig>>,
    /// Of the files' content when it was last looked at, right or wrong.
    seen: Mutex<[u8; 32]>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("files", &self.inner.files).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsError`] says which file is wrong, and which setting names it.
    pub fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let contents = Contents::read(&files)?;
        let config = RwLock::new(Arc::new(contents.config(&files)?));
        let seen = Mutex::new(contents.digest());
        Ok(Self { inner: Arc::new(Inner { files, config, seen }) })
    }

    /// Takes over what changed in the files; whether anything had.
    ///
    /// # Errors
    /// As [`Tls::load`], once for each wrong content: what was in use stays in use.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let Inner { files, config, seen } = &*self.inner;
        let contents = Contents::read(files)?;
        let digest = contents.digest();
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == digest {
            return Ok(false);
        }
        *seen = digest;
        let new = Arc::new(contents.config(files)?);
        *config.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(true)
    }

    /// [`Tls::reload`] every now and then, until it is dropped.
    pub(crate) async fn watch(self) {
        let mut tick = tokio::time::interval(Duration::from_millis(TLS_RELOAD_INTERVAL_MS));
        loop {
            tick.tick().await;
            let tls = self.clone();
            match tokio::task::spawn_blocking(move || tls.reload()).await {
                Ok(Ok(false)) => {}
                Ok(Ok(true)) => tracing::info!(files = ?self.inner.files, "new certificates are in use"),
                Ok(Err(error)) => {
                    counter!("tls_reload_failures_total").increment(1);
                    tracing::error!(%error, "certificates or keys changed and cannot be used; the former ones stay in use");
                }
                Err(error) => tracing::error!(%error, "certificates could not be looked at"),
            }
        }
    }

    /// Shakes hands, within a bounded time.
    pub(crate) async fn accept<S>(&self, stream: S) -> io::Result<(TlsStream<S>, Option<ClientCertificate>)>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let config = Arc::clone(&self.inner.config.read().unwrap_or_else(PoisonError::into_inner));
        let limit = Duration::from_millis(TLS_HANDSHAKE_TIMEOUT_MS);
        let stream = tokio::time::timeout(limit, TlsAcceptor::from(config).accept(stream)).await??;
        let leaf = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let certificate = leaf.map(|leaf| ClientCertificate(Sha256::digest(leaf).into()));
        Ok((stream, certificate))
    }
}

/// What the files hold.
struct Contents {
    certificate: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
    authorities: Vec<u8>,
}

impl Contents {
    fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        let read = |path: &Path, setting| {
            std::fs::read(path).map_err(|source| TlsError::Unreadable {
                path: path.to_owned(),
                setting,
                source,
            })
        };
        Ok(Self {
            certificate: read(&files.certificate, "api.tls_cert_file")?,
            key: Zeroizing::new(read(&files.key, "api.tls_key_file")?),
            authorities: match &files.clients {
                Clients::NotAsked => Vec::new(),
                Clients::Asked(path) | Clients::Required(path) => read(path, "api.client_ca_file")?,
            },
        })
    }

    fn digest(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        for part in [&self.certificate, &*self.key, &self.authorities] {
            digest.update(Sha256::digest(part));
        }
        digest.finalize().into()
    }

    fn config(&self, files: &TlsFiles) -> Result<ServerConfig, TlsError> {
        let provider = Arc::new(default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|source| pair(files, source))?;
        let builder = match &files.clients {
            Clients::NotAsked => builder.with_no_client_auth(),
            Clients::Asked(path) | Clients::Required(path) => {
                let unusable = |source| TlsError::Authorities { path: path.clone(), source };
                let roots = Arc::new(self.roots(path)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
                let verifier = match &files.clients {
                    Clients::Asked(_) => verifier.allow_unauthenticated(),
                    Clients::NotAsked | Clients::Required(_) => verifier,
                };
                builder.with_client_cert_verifier(verifier.build().map_err(unusable)?)
            }
        };
        let chain = certificates(&self.certificate, &files.certificate, "api.tls_cert_file")?;
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|_| TlsError::Unusable {
            path: files.key.clone(),
            setting: "api.tls_key_file",
            what: "has no private key in it".to_owned(),
        })?;
        let mut config = builder.with_single_cert(chain, key).map_err(|source| pair(files, source))?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(config)
    }

    fn roots(&self, path: &Path) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        for authority in certificates(&self.authorities, path, "api.client_ca_file")? {
            roots.add(authority).map_err(|error| TlsError::Unusable {
                path: path.to_owned(),
                setting: "api.client_ca_file",
                what: format!("has a certificate that is no authority's: {error}"),
            })?;
        }
        Ok(roots)
    }
}

fn certificates(
    pem: &[u8],
    path: &Path,
    setting: &'static str,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unusable = |what: String| TlsError::Unusable { path: path.to_owned(), setting, what };
    let found = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| unusable(format!("is no PEM: {error}")))?;
    if found.is_empty() { Err(unusable("has no certificate in it".to_owned())) } else { Ok(found) }
}

fn pair(files: &TlsFiles, source: rustls::Error) -> TlsError {
    TlsError::Pair { certificate: files.certificate.clone(), key: files.key.clone(), source }
}
