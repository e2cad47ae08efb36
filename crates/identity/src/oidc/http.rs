//! What is asked of a provider, within limits: time, size, no redirects, TLS but on this machine.

use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Client, RequestBuilder, StatusCode, Url, redirect};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// From the first byte sent to the last received.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Of an answer, unpacked. Key sets with certificates come to tens of kilobytes.
const MAX_BODY_BYTES: usize = 256 * 1024;

/// An answer.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Vec<u8>,
}

/// No answer, and why. Says nothing of what was sent.
pub(super) struct NoAnswer(pub(super) String);

impl From<reqwest::Error> for NoAnswer {
    fn from(error: reqwest::Error) -> Self {
        let error = error.without_url();
        let mut text = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        Self(text)
    }
}

/// A client for a provider at `issuer`.
pub(super) fn client(issuer: &Url) -> Result<Client, String> {
    let mut builder = Client::builder()
        .redirect(redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(TIMEOUT);
    builder = if is_local(issuer) { builder.no_proxy() } else { builder.https_only(true) };
    builder.build().map_err(|error| format!("the HTTP client cannot be set up: {error}"))
}

/// A URL that secrets may be sent to: TLS, or this machine.
pub(super) fn safe_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let is_safe = match url.scheme() {
        "https" => url.has_host(),
        "http" => is_local(&url),
        _ => false,
    };
    (is_safe && url.fragment().is_none() && url.username().is_empty() && url.password().is_none())
        .then_some(url)
}

/// Whether a provider can be at this issuer: https, or http on this machine, and neither user nor query nor fragment.
#[must_use]
pub fn is_issuer(text: &str) -> bool {
    safe_url(text).is_some_and(|url| url.query().is_none())
}

fn is_local(url: &Url) -> bool {
    matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"))
}

pub(super) async fn get(client: &Client, url: Url) -> Result<Answer, NoAnswer> {
    send(client.get(url)).await
}

/// Posts a form.
pub(super) async fn post(request: RequestBuilder, form: String) -> Result<Answer, NoAnswer> {
    send(request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form)).await
}

async fn send(request: RequestBuilder) -> Result<Answer, NoAnswer> {
    let mut response = request.header(ACCEPT, "application/json").send().await?;
    let status = response.status();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > MAX_BODY_BYTES {
            return Err(NoAnswer(format!("its answer is longer than {MAX_BODY_BYTES} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_provider_elsewhere_is_asked_by_tls_alone_wherever_its_document_points() {
        // Something listens there, and is not asked.
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}/jwks", listener.local_addr().unwrap())).unwrap();
        let issuer = Url::parse("https://login.example.com").unwrap();
        let refused = get(&client(&issuer).unwrap(), url.clone()).await.map(|answer| answer.status);
        assert!(refused.unwrap_err().0.contains("scheme"), "refused before anything is sent");
        let here = client(&url).unwrap();
        let asked = tokio::spawn(async move { get(&here, url).await.map(|answer| answer.status).ok() });
        listener.accept().await.expect("one on this machine is asked");
        asked.abort();
    }

    #[test]
    fn secrets_travel_by_tls_or_within_this_machine() {
        for url in
            ["https://login.example.com/x", "http://127.0.0.1:8080/", "http://localhost/", "http://[::1]/"]
        {
            assert!(safe_url(url).is_some(), "{url}");
        }
        for url in [
            "http://login.example.com/",
            "http://127.0.0.1.example.com/",
            "http://localhost.example.com/",
            "ftp://localhost/",
            "https://a:b@login.example.com/",
            "https://login.example.com/#x",
            "login.example.com",
            "",
        ] {
            assert!(safe_url(url).is_none(), "{url}");
            assert!(!is_issuer(url), "{url}");
        }
        assert!(is_issuer("https://login.example.com/realms/acme"));
        assert!(!is_issuer("https://login.example.com/?tenant=acme"));
    }
}
