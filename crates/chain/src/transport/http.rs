//! JSON-RPC over HTTP.
//!
//! Ours instead of alloy's for four reasons: alloy's puts the URL, with the key in it, into its tracing spans;
//! it reads a body of any size; it parses on the reactor's thread; and it drops the status and `Retry-After`
//! of a 429 whose body is JSON.

use std::{
    error::Error as _,
    task::{Context, Poll},
    time::Duration,
};

use alloy_json_rpc::{RequestPacket, ResponsePacket};
use alloy_transport::{TransportError, TransportErrorKind, TransportFut};
use reqwest::{
    Client, Response, StatusCode, Url,
    header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER},
};
use tower::Service;

use super::{MAX_RESPONSE_BYTES, PARSE_INLINE_BYTES, TransportFailure};
use crate::error::excerpt;

/// How long making a connection may take. The whole request has its own limit on top.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Capacity reserved ahead on the word of a `Content-Length`, bytes.
const MAX_RESERVED_BYTES: u64 = 4 * 1024 * 1024;

/// An HTTP endpoint with its pool of connections.
#[derive(Clone)]
pub struct HttpTransport {
    client: Client,
    url: Url,
}

impl HttpTransport {
    /// Sets up the client. Connects to nothing yet.
    ///
    /// # Errors
    /// The TLS set-up fails, for example because the system has no root certificates.
    pub fn new(url: Url) -> Result<Self, TransportError> {
        let mut builder = Client::builder().connect_timeout(CONNECT_TIMEOUT).tcp_nodelay(true);
        if alloy_transport::utils::guess_local_url(&url) {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| {
            TransportFailure::Local(format!("the HTTP client cannot be set up: {}", chain(error)))
        })?;
        Ok(Self { client, url })
    }

    async fn send(self, packet: RequestPacket) -> Result<ResponsePacket, TransportError> {
        let body = serde_json::to_vec(&packet).map_err(TransportError::ser_err)?;
        let response = self
            .client
            .post(self.url)
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .body(body)
            .send()
            .await
            .map_err(|error| TransportFailure::Connection(chain(error)))?;
        let status = response.status();
        let retry_after = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.trim().parse().ok())
            .map(Duration::from_secs);
        let body = read_bounded(response).await?;

        if status.is_success() {
            return parse(body).await;
        }
        // A status that speaks for itself wins over the body; for any other, a JSON-RPC error says more.
        let plain = matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::SERVICE_UNAVAILABLE
        );
        match serde_json::from_slice::<ResponsePacket>(&body) {
            Ok(packet) if !plain && packet.is_error() => Ok(packet),
            _ => Err(TransportFailure::Http {
                status: status.as_u16(),
                body: excerpt(&String::from_utf8_lossy(&body)),
                retry_after,
            }
            .into()),
        }
    }
}

impl Service<RequestPacket> for HttpTransport {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, packet: RequestPacket) -> Self::Future {
        Box::pin(self.clone().send(packet))
    }
}

async fn read_bounded(mut response: Response) -> Result<Vec<u8>, TransportError> {
    let too_large = TransportFailure::TooLarge { limit_bytes: MAX_RESPONSE_BYTES };
    let announced = response.content_length().unwrap_or(0);
    if announced > MAX_RESPONSE_BYTES as u64 {
        return Err(too_large.into());
    }
    let mut body = Vec::with_capacity(usize::try_from(announced.min(MAX_RESERVED_BYTES)).unwrap_or(0));
    while let Some(chunk) =
        response.chunk().await.map_err(|error| TransportFailure::Connection(chain(error)))?
    {
        if body.len() + chunk.len() > MAX_RESPONSE_BYTES {
            return Err(too_large.into());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

async fn parse(body: Vec<u8>) -> Result<ResponsePacket, TransportError> {
    fn now(body: &[u8]) -> Result<ResponsePacket, TransportError> {
        serde_json::from_slice(body)
            .map_err(|error| TransportError::deser_err(error, excerpt(&String::from_utf8_lossy(body))))
    }

    if body.len() < PARSE_INLINE_BYTES {
        return now(&body);
    }
    tokio::task::spawn_blocking(move || now(&body)).await.map_err(TransportErrorKind::custom)?
}

/// The error with what caused it, without the URL.
fn chain(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
