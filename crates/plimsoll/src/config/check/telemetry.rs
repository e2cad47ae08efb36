//! Which collector, and what is sent along to it.

use std::num::NonZeroU32;

use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::{Check, narrow};
use crate::config::read::Group;
use crate::config::{Collector, Origin, Secret, Telemetry};

/// Where a collector takes spans (OTLP/HTTP, "default URL paths").
const PATH: &str = "/v1/traces";

impl Check<'_> {
    pub(super) fn telemetry(&mut self, group: &Group) -> Option<Telemetry> {
        let headers = match self.secret(group, "headers", "headers_file") {
            Some((text, origin)) => {
                let key = if origin == group.origin_of("headers") { "headers" } else { "headers_file" };
                self.headers(text.expose(), key, &origin)?
            }
            None => HeaderMap::new(),
        };
        let url = match group.text("endpoint") {
            Some(endpoint) => Some(self.collector(endpoint, group)?),
            None => None,
        };
        Some(Telemetry {
            collector: url.map(|url| Collector { url: Secret::new(url), headers }),
            sample_one_in: narrow(group.integer("sample_one_in")).and_then(NonZeroU32::new)?,
            service_name: group.text("service_name")?.to_owned(),
        })
    }

    fn collector(&mut self, endpoint: &str, group: &Group) -> Option<Url> {
        let url = Url::parse(endpoint).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let Some(mut url) = url else {
            // None of it is repeated: what is no URL may be a key.
            self.problems.add(
                group.origin_of("endpoint"),
                "`telemetry.endpoint` is no `http://` or `https://` URL",
                "write it as `http://127.0.0.1:4318`: the address at which the collector takes OTLP over HTTP",
            );
            return None;
        };
        let path = url.path().trim_end_matches('/');
        if !path.ends_with(PATH) {
            let path = format!("{path}{PATH}");
            url.set_path(&path);
        }
        Some(url)
    }

    fn headers(&mut self, text: &str, key: &str, origin: &Origin) -> Option<HeaderMap> {
        let mut headers = HeaderMap::new();
        for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
            let header = line.split_once(':').and_then(|(name, value)| {
                let mut value = HeaderValue::from_str(value.trim()).ok()?;
                value.set_sensitive(true);
                Some((HeaderName::from_bytes(name.trim().as_bytes()).ok()?, value))
            });
            let Some((name, value)) = header else {
                self.problems.add(
                    origin.clone(),
                    format!("`telemetry.{key}`: line {number} is no header"),
                    "write one a line, as `Authorization: Bearer …`",
                );
                return None;
            };
            headers.append(name, value);
        }
        Some(headers)
    }
}
