//! Where a chain is reached, and how patiently.

use std::{fmt, time::Duration};

/// An RPC endpoint and the limits of its use.
#[derive(Clone)]
pub struct EndpointConfig {
    /// What it is called in messages and metrics; the URL's host and port where it has no name.
    pub name: Option<String>,
    /// `http(s)://…` or `ws(s)://…`. May hold credentials; they are never printed.
    pub url: String,
    /// How long one attempt may take, from sending to the last byte.
    pub request_timeout: Duration,
    /// Requests (a batch counts once) in flight at most.
    pub max_concurrent: usize,
    /// Requests (a batch counts once) per second at most. Without it there is no limit until the endpoint refuses: one's own
    /// node needs none, and a provider says 429, from which one is learned.
    pub requests_per_second: Option<f64>,
    /// Further attempts after the first, for errors that pass by themselves.
    pub max_retries: u32,
    /// What the random part of the pauses between attempts begins with; none: chance. For runs that are to be repeated exactly.
    pub seed: Option<u64>,
}

impl EndpointConfig {
    /// An endpoint with the defaults: 10 s a request, 16 in flight, 5 retries.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            name: None,
            url: url.into(),
            request_timeout: Duration::from_secs(10),
            max_concurrent: 16,
            requests_per_second: None,
            max_retries: 5,
            seed: None,
        }
    }

    /// Its name, or host and port: all of the URL that may be shown. Path, query and user often are the key.
    #[must_use]
    pub fn display_name(&self) -> String {
        if let Some(name) = &self.name {
            return name.clone();
        }
        let Ok(url) = reqwest::Url::parse(&self.url) else { return "an unreadable URL".to_owned() };
        match (url.host_str(), url.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (Some(host), None) => host.to_owned(),
            (None, _) => "a URL without a host".to_owned(),
        }
    }
}

impl fmt::Debug for EndpointConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointConfig")
            .field("url", &self.display_name())
            .field("request_timeout", &self.request_timeout)
            .field("max_concurrent", &self.max_concurrent)
            .field("requests_per_second", &self.requests_per_second)
            .field("max_retries", &self.max_retries)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_host_and_port_of_an_endpoint_are_shown() {
        for (url, shown) in [
            ("https://user:pw@mainnet.example.org/v3/0123456789abcdef?key=s3cret#x", "mainnet.example.org"),
            ("wss://mainnet.example.org:8443/ws/0123456789abcdef", "mainnet.example.org:8443"),
            ("http://127.0.0.1:8545", "127.0.0.1:8545"),
            ("http://[::1]:8545/", "[::1]:8545"),
            ("not a url s3cret", "an unreadable URL"),
        ] {
            let config = EndpointConfig::new(url);
            assert_eq!(config.display_name(), shown);
            let debug = format!("{config:?}");
            for secret in ["pw", "0123456789abcdef", "s3cret"] {
                assert!(!debug.contains(secret), "{debug}");
            }
        }
    }
}
