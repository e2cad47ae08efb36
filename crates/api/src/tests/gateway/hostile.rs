//! Whatever is sent, nothing breaks: no 5xx but the 503 of a server that is busy or waits, and no panic, which would be a 500.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Method, Request, Uri};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::Api;
use crate::routes::DECLARATIONS;
use crate::{ApiOptions, Rate, RateLimits};

const CASES: u32 = 400;
const NAMES: &[&str] = &[
    "authorization",
    "idempotency-key",
    "x-idempotency-key",
    "x-request-id",
    "traceparent",
    "tracestate",
    "api-version",
    "content-type",
    "content-length",
    "forwarded",
    "x-forwarded-for",
    "origin",
    "access-control-request-method",
    "host",
    "expect",
    "transfer-encoding",
    "accept",
    "range",
    "if-none-match",
    "cookie",
    "last-event-id",
    "x-made-up",
];

#[derive(Clone, Debug)]
struct Hostile {
    method: String,
    path: String,
    headers: Vec<(&'static str, Vec<u8>)>,
    body: Vec<u8>,
}

fn paths() -> impl Strategy<Value = String> {
    let declared: Vec<String> = DECLARATIONS.iter().map(|declaration| declaration.path.to_owned()).collect();
    let segment = prop_oneof![
        "[0-9]{1,25}",
        "[a-z0-9-]{1,12}",
        "(%[0-9A-F]{2}){1,6}",
        "[!-~&&[^?#]]{0,20}",
        Just("..".to_owned())
    ];
    let query = prop_oneof![
        Just(String::new()),
        "(\\?[a-z_]{1,12}=[!-~&&[^#]]{0,30}(&[a-z_]{1,12}=[!-~&&[^#]]{0,30}){0,4})",
        "\\?(user|chain_id|limit|cursor|tx_hash|after|from_block|asset)=(%00|%FF|-1|0x|[0-9]{1,40}|[a-zA-Z0-9_-]{0,80})",
    ];
    let known =
        (prop::sample::select(declared), prop::collection::vec(segment.clone(), 4)).prop_map(
            |(path, values)| {
                let mut values = values.into_iter().cycle();
                path.split('/')
                    .map(|part| {
                        if part.starts_with('{') {
                            values.next().unwrap_or_default()
                        } else {
                            part.to_owned()
                        }
                    })
                    .collect::<Vec<_>>()
                    .join("/")
            },
        );
    let unknown = prop::collection::vec(segment, 0..5).prop_map(|parts| format!("/{}", parts.join("/")));
    let versioned = "/(api/v[0-9]{0,30}|auth|admin|tenants|api)(/[a-z0-9]{0,8}){0,3}";
    (prop_oneof![4 => known, 1 => unknown, 1 => versioned], query).prop_map(|(path, query)| path + &query)
}

fn values() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(
            any::<u8>().prop_filter("no header", |b| (*b >= 0x20 && *b != 0x7f) || *b == 9),
            0..60
        ),
        "Bearer (plk_)?[a-zA-Z0-9_.-]{0,80}".prop_map(String::into_bytes),
        "Bearer eyJ[a-zA-Z0-9_-]{0,40}\\.[a-zA-Z0-9_-]{0,40}\\.[a-zA-Z0-9_-]{0,40}"
            .prop_map(String::into_bytes),
        "[0-9]{1,30}".prop_map(String::into_bytes),
        "(for=)?\"?\\[?[0-9a-f:.]{0,30}\\]?(:[0-9]{0,6})?\"?(, ?[0-9.]{0,15}){0,3}"
            .prop_map(String::into_bytes),
        "0[0-9]-[0-9a-f]{30,33}-[0-9a-f]{16}-0[0-9]".prop_map(String::into_bytes),
        "application/([a-z.+]{0,8})?json(; ?charset=[a-z0-9-]{0,8})?".prop_map(String::into_bytes),
        (0_usize..20_000).prop_map(|length| vec![b'A'; length]),
    ]
}

fn bodies() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(Vec::new()),
        prop::collection::vec(any::<u8>(), 0..200),
        "\\{(\"(request_id|tenant_id|user_id|email|message|signature|name)\":(null|[0-9e.+-]{1,30}|\"[ -~&&[^\"\\\\]]{0,40}\"|\\[\\]),?){0,4}\\}?"
            .prop_map(String::into_bytes),
        (1_usize..2_000).prop_map(|depth| b"[".repeat(depth)),
        (60_000_usize..70_000).prop_map(|length| vec![b' '; length]),
    ]
}

fn hostile() -> impl Strategy<Value = Hostile> {
    let method = prop_oneof![
        4 => prop::sample::select(vec!["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT"]).prop_map(str::to_owned),
        1 => "[A-Z]{1,20}",
    ];
    let headers = prop::collection::vec((prop::sample::select(NAMES.to_vec()), values()), 0..8);
    (method, paths(), headers, bodies()).prop_map(|(method, path, headers, body)| Hostile {
        method,
        path,
        headers,
        body,
    })
}

impl Hostile {
    /// `None` for what no HTTP parser lets through.
    fn request(&self) -> Option<Request<Body>> {
        let uri: Uri = self.path.parse().ok()?;
        let mut request = Request::builder()
            .method(Method::from_bytes(self.method.as_bytes()).ok()?)
            .uri(uri)
            .body(Body::from(self.body.clone()))
            .ok()?;
        for (name, value) in &self.headers {
            request.headers_mut().append(HeaderName::from_static(name), HeaderValue::from_bytes(value).ok()?);
        }
        Some(request)
    }
}

#[test]
fn nothing_that_is_sent_breaks_anything() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let often = Rate { interval: Duration::from_nanos(1), burst: 1_000_000 };
    let options = ApiOptions {
        rate_limits: RateLimits { address: often, sign_in: often, user: often, tenant: often },
        trusted_proxies: vec!["::/0".parse().unwrap(), "10.0.0.0/8".parse().unwrap()],
        cors_origins: vec!["https://console.example".parse().unwrap()],
        ..ApiOptions::default()
    };
    let api = runtime.block_on(async {
        let api = Api::start_with(options, Router::new()).await;
        api.seed(super::super::CHAIN).chain(100, 95, 90).await;
        api
    });
    let mut runner = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&hostile(), |hostile| {
        let Some(request) = hostile.request() else { return Ok(()) };
        let answer = runtime.block_on(api.send(request));
        let status = answer.status.as_u16();
        prop_assert!(status < 500 || status == 503, "{status}: {}", answer.body);
        prop_assert!(answer.headers.contains_key("x-request-id"));
        if status >= 400 && hostile.method != "HEAD" {
            prop_assert_eq!(&answer.headers["content-type"], "application/problem+json");
            prop_assert_eq!(answer.json()["status"].as_u64(), Some(u64::from(status)));
        }
        Ok(())
    });
    outcome.unwrap();
}
