//! A remote signer that speaks web3signer's HTTP API (Consensys; its OpenAPI document "Web3Signer ETH1 API").
//!
//! `POST /api/v1/eth1/sign/{identifier}` with `{"data": "0x…"}` signs the Keccak-256 of the data, and answers `r`, `s` and `v` in hexadecimal as plain text; `GET
//! /api/v1/eth1/publicKeys` lists the keys, of which `identifier` is one. One warm client asks, so many at once and no more, and follows no redirect.

use std::fmt;
use std::time::Duration;

use alloy_primitives::{Address, Signature, hex};
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _, stream};
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use reqwest::{Certificate, Client, Identity, RequestBuilder, StatusCode, Url, redirect};
use secrecy::{ExposeSecret as _, SecretSlice, SecretString};
use tokio::sync::{OnceCell, Semaphore};

use super::{Key, KeyError, curve, verified};

/// Making a connection may take this long, of what the whole request may.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// An idle connection is kept this long, so that the next request finds it warm.
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);
/// Of a signature's answer: 132 are usual.
const MAX_SIGNATURE_BYTES: usize = 1_024;
/// Of the list of keys: some seven thousand.
const MAX_LIST_BYTES: usize = 1024 * 1024;

/// How a remote signer is asked.
pub struct Web3SignerConfig {
    /// Where it listens; a path before the API's is kept.
    pub url: String,
    /// For whom it is to sign.
    pub address: Address,
    /// What it calls the key: its public key. Without it the list of keys is asked for the one of `address`.
    pub identifier: Option<String>,
    /// Sent as `Authorization: Bearer …`, for the proxy in front of it.
    pub token: Option<SecretString>,
    /// PEM certificates of the authorities that its certificate may come from; the system's without them.
    pub authorities: Option<Vec<u8>>,
    /// This client's certificate chain and private key, in PEM.
    pub identity: Option<SecretSlice<u8>>,
    /// How long a request may take.
    pub request_timeout: Duration,
    /// How many requests may be under way at once; at least one.
    pub max_concurrent: usize,
}

impl fmt::Debug for Web3SignerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Web3SignerConfig").field("address", &self.address).finish_non_exhaustive()
    }
}

/// What of a configuration cannot be used, and why. Repeats none of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misconfigured {
    /// The URL.
    #[error("{0}")]
    Url(&'static str),
    /// The token.
    #[error("{0}")]
    Token(&'static str),
    /// The authorities' certificates.
    #[error("the authorities' file holds no certificate in PEM")]
    Authorities,
    /// Our certificate and its key.
    #[error("the client's certificate and key are no certificate chain and private key in PEM")]
    Identity,
    /// All of it: the client could not be made.
    #[error("the HTTP client cannot be set up: {0}")]
    Client(String),
}

/// A key that a remote signer holds.
pub struct Web3Signer {
    client: Client,
    base: Url,
    address: Address,
    token: Option<HeaderValue>,
    identifier: OnceCell<String>,
    slots: Semaphore,
    max_concurrent: usize,
}

impl Web3Signer {
    /// Sets up the client. Connects to nothing yet.
    ///
    /// # Errors
    /// What is wrong with the configuration: the URL is none of HTTP or has a user or a query in it, a token would travel without TLS
    /// to another machine, or a certificate or key is none.
    pub fn new(config: Web3SignerConfig) -> Result<Self, Misconfigured> {
        let base = Url::parse(&config.url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let base = base.ok_or(Misconfigured::Url("it is no `http://` or `https://` URL"))?;
        if !base.username().is_empty()
            || base.password().is_some()
            || base.query().is_some()
            || base.fragment().is_some()
        {
            return Err(Misconfigured::Url(
                "it has a user, a query or a fragment in it: a secret belongs in the token",
            ));
        }
        let is_local = matches!(base.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
        if config.token.is_some() && base.scheme() == "http" && !is_local {
            return Err(Misconfigured::Token("to another machine it travels by `https://` alone"));
        }
        let mut builder = Client::builder()
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(config.request_timeout)
            .tcp_nodelay(true)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(config.max_concurrent.max(1));
        if is_local {
            builder = builder.no_proxy();
        }
        if let Some(pem) = &config.authorities {
            let authorities = Certificate::from_pem_bundle(pem).unwrap_or_default();
            if authorities.is_empty() {
                return Err(Misconfigured::Authorities);
            }
            builder = builder.tls_certs_only(authorities);
        }
        if let Some(pem) = &config.identity {
            let identity = Identity::from_pem(pem.expose_secret());
            builder = builder.identity(identity.map_err(|_| Misconfigured::Identity)?);
        }
        let token = config.token.map(|token| {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret()))
                .map_err(|_| Misconfigured::Token("it has characters in it that no header takes"))?;
            value.set_sensitive(true);
            Ok(value)
        });
        Ok(Self {
            client: builder.build().map_err(|error| Misconfigured::Client(chain(error)))?,
            base,
            address: config.address,
            token: token.transpose()?,
            identifier: OnceCell::new_with(config.identifier),
            slots: Semaphore::new(config.max_concurrent.max(1)),
            max_concurrent: config.max_concurrent.max(1),
        })
    }

    async fn ask(&self, payload: &[u8]) -> Result<Signature, KeyError> {
        let _slot = self.slots.acquire().await.expect("nobody closes it");
        let identifier = self.identifier.get_or_try_init(|| self.find()).await?;
        let url = self.url(&["api", "v1", "eth1", "sign", identifier]);
        let request = self.client.post(url).header(ACCEPT, "text/plain");
        let body = serde_json::json!({ "data": hex::encode_prefixed(payload) }).to_string();
        let request = request.header(reqwest::header::CONTENT_TYPE, "application/json").body(body);
        let answer = self.send(request, MAX_SIGNATURE_BYTES).await?;
        let signature = signature_of(&answer).map_err(|why| self.garbled(why))?;
        verified(self.address, payload, signature)
    }

    /// What it calls the key of our address.
    async fn find(&self) -> Result<String, KeyError> {
        let request = self.client.get(self.url(&["api", "v1", "eth1", "publicKeys"]));
        let answer = self.send(request.header(ACCEPT, "application/json"), MAX_LIST_BYTES).await?;
        let keys: Vec<String> = serde_json::from_slice(&answer)
            .map_err(|_| self.garbled("its list of keys is no list of texts"))?;
        let is_ours = |key: &String| {
            hex::decode(key).ok().and_then(|bytes| curve::address_of_published(&bytes)) == Some(self.address)
        };
        let count = keys.len();
        keys.into_iter().find(is_ours).ok_or_else(|| {
            self.refused(
                format!("none of its {count} keys is that of {}", self.address),
                "load that key into the remote signer, or correct the signer's address",
            )
        })
    }

    /// The body of a good answer.
    async fn send(&self, mut request: RequestBuilder, max_bytes: usize) -> Result<Vec<u8>, KeyError> {
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token.clone());
        }
        let mut response = request.send().await.map_err(|error| self.unavailable(chain(error)))?;
        let status = response.status();
        match status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => {
                return Err(self.refused(
                    "it knows no such key (404)".into(),
                    "load the key into the remote signer, or correct the signer's identifier",
                ));
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(self.refused(
                    format!("it does not let us in ({})", status.as_u16()),
                    "correct the token or the client certificate, or what the signer lets in",
                ));
            }
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
                return Err(self.unavailable(format!("it answered {}", status.as_u16())));
            }
            other if other.is_server_error() => {
                return Err(self.unavailable(format!("it answered {}", other.as_u16())));
            }
            other => {
                return Err(self.refused(
                    format!("it answered {}", other.as_u16()),
                    "look into the remote signer's log, and whether the URL is that of web3signer's eth1 mode",
                ));
            }
        }
        let mut body = Vec::new();
        while let Some(part) = response.chunk().await.map_err(|error| self.unavailable(chain(error)))? {
            if body.len() + part.len() > max_bytes {
                return Err(self.garbled("it is longer than any"));
            }
            body.extend_from_slice(&part);
        }
        Ok(body)
    }

    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url
    }

    /// Scheme, host and port.
    fn at(&self) -> String {
        format!("the remote signer at {}", self.base.origin().ascii_serialization())
    }

    fn unavailable(&self, why: String) -> KeyError {
        KeyError::Unavailable { at: self.at(), why }
    }

    fn refused(&self, why: String, remedy: &'static str) -> KeyError {
        KeyError::Refused { at: self.at(), why, remedy }
    }

    fn garbled(&self, why: &str) -> KeyError {
        KeyError::Garbled { at: self.at(), why: why.to_owned() }
    }
}

impl Key for Web3Signer {
    fn address(&self) -> Address {
        self.address
    }

    fn sign<'a>(&'a self, payload: &'a [u8]) -> BoxFuture<'a, Result<Signature, KeyError>> {
        self.ask(payload).boxed()
    }

    /// As many at once as may be under way.
    fn sign_all<'a>(&'a self, payloads: &'a [Vec<u8>]) -> BoxFuture<'a, Vec<Result<Signature, KeyError>>> {
        let asked: Vec<_> = payloads.iter().map(|payload| self.ask(payload)).collect();
        stream::iter(asked).buffered(self.max_concurrent).collect().boxed()
    }
}

impl fmt::Debug for Web3Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = self.base.origin().ascii_serialization();
        f.debug_struct("Web3Signer")
            .field("at", &origin)
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// `r`, `s`, and a `v` of 27 or 28, or of 0 or 1; with the low `s`, since some hardware modules give either.
fn signature_of(answer: &[u8]) -> Result<Signature, &'static str> {
    let text = str::from_utf8(answer).map_err(|_| "it is no text")?.trim();
    let bytes = hex::decode(text).map_err(|_| "it is not hexadecimal")?;
    let bytes: [u8; 65] = bytes.try_into().map_err(|_| "it has not 65 bytes")?;
    let parity = match bytes[64] {
        0 | 27 => false,
        1 | 28 => true,
        _ => return Err("its `v` is neither of 0, 1, 27 and 28"),
    };
    Ok(Signature::from_bytes_and_parity(&bytes[..64], parity).normalized_s())
}

/// The error with its causes, without the URL.
fn chain(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
