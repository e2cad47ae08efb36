//! Whatever is sent, and by whomever, nothing breaks: no 5xx but the 503 of a server that is busy or waits, and no panic, which would be a 500.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, Method, Request, Uri};
use axum::routing::get;
use plimsoll_identity::UserKind;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::super::Answer;
use super::super::people::Person;
use super::super::served::LOCAL;
use super::{Api, bearer};
use crate::routes::DECLARATIONS;
use crate::server::serve_router;
use crate::{ApiOptions, Rate, RateLimits, bind};

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

/// What stands for the administrator's own ids until they are known.
const TENANT: &str = "@tenant@";
const USER: &str = "@user@";

#[derive(Clone, Debug)]
struct Hostile {
    /// With an administrator's token: what is sent gets as far as it can.
    is_signed_in: bool,
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
        Just("..".to_owned()),
        Just(TENANT.to_owned()),
        Just(USER.to_owned()),
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
        keyed(),
        (1_usize..2_000).prop_map(|depth| b"[".repeat(depth)),
        (60_000_usize..70_000).prop_map(|length| vec![b' '; length]),
    ]
}

/// A body with the three keys, and whatever else.
fn keyed() -> impl Strategy<Value = Vec<u8>> {
    let names = vec![
        "name",
        "display_name",
        "label",
        "kind",
        "role",
        "roles",
        "scopes",
        "permissions",
        "status",
        "address",
        "chain_id",
        "lifetime_days",
        "reason",
        "action",
        "target",
        "created_by",
        "note",
        "theme",
        "limits",
    ];
    let value = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        "-?[0-9]{1,30}",
        "[0-9]{1,3}\\.[0-9]{1,3}e[0-9]{1,3}",
        "\"(person|machine|agent|active|suspended|viewer|admin|identity\\.user\\.create)\"",
        "\"(\\\\u0000|\\\\ud800|[ -~&&[^\"\\\\]]){0,40}\"",
        "\\[(\"[a-z.]{0,12}\",){0,3}\"[a-z.]{0,12}\"\\]",
        "\\{\"[a-z]{0,5}\":[0-9]{1,4}\\}",
    ];
    prop::collection::vec((prop::sample::select(names), value), 0..5).prop_map(|fields| {
        let rest: String = fields.iter().map(|(name, value)| format!(",\"{name}\":{value}")).collect();
        let request_id = uuid::Uuid::new_v4();
        format!("{{\"request_id\":\"{request_id}\",\"tenant_id\":\"{TENANT}\",\"user_id\":\"{USER}\"{rest}}}")
            .into_bytes()
    })
}

fn hostile() -> impl Strategy<Value = Hostile> {
    let method = prop_oneof![
        4 => prop::sample::select(vec!["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT"]).prop_map(str::to_owned),
        1 => "[A-Z]{1,20}",
    ];
    let headers = prop::collection::vec((prop::sample::select(NAMES.to_vec()), values()), 0..8);
    (any::<bool>(), method, paths(), headers, bodies()).prop_map(
        |(is_signed_in, method, path, headers, body)| Hostile { is_signed_in, method, path, headers, body },
    )
}

impl Hostile {
    /// `None` for what no HTTP parser lets through.
    fn request(&self, admin: &Person) -> Option<Request<Body>> {
        let named = |text: &str| {
            text.replace(TENANT, &admin.tenant_id.to_string()).replace(USER, &admin.user_id.to_string())
        };
        let body = match std::str::from_utf8(&self.body) {
            Ok(text) => named(text).into_bytes(),
            Err(_) => self.body.clone(),
        };
        let uri: Uri = named(&self.path).parse().ok()?;
        let mut request = Request::builder()
            .method(Method::from_bytes(self.method.as_bytes()).ok()?)
            .uri(uri)
            .body(Body::from(body))
            .ok()?;
        for (name, value) in &self.headers {
            request.headers_mut().append(HeaderName::from_static(name), HeaderValue::from_bytes(value).ok()?);
        }
        if self.is_signed_in {
            let token = HeaderValue::try_from(bearer(&admin.token)).ok()?;
            request.headers_mut().insert(AUTHORIZATION, token);
            request.headers_mut().entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
        }
        Some(request)
    }
}

/// The answer; `None` for one without an end, a stream.
async fn answered(api: &Api, request: Request<Body>) -> Option<Answer> {
    let response = api.router.clone().oneshot(request).await.unwrap();
    let is_stream = response.headers().get(CONTENT_TYPE).is_some_and(|value| value == "text/event-stream");
    if is_stream {
        return None;
    }
    let (status, headers) = (response.status(), response.headers().clone());
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    Some(Answer { status, headers, body: String::from_utf8_lossy(&body).into_owned() })
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
    let (api, admin) = runtime.block_on(async {
        let api = Api::start_with(options, Router::new()).await;
        api.seed(super::super::CHAIN).chain(100, 95, 90).await;
        let tenant_id = api.tenant_named("acme").await;
        let admin = api.person(tenant_id, UserKind::Person, &["admin"]).await;
        (api, admin)
    });
    let mut runner = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
    let seen = RefCell::new(BTreeSet::new());
    let outcome = runner.run(&hostile(), |hostile| {
        let Some(request) = hostile.request(&admin) else { return Ok(()) };
        let Some(answer) = runtime.block_on(answered(&api, request)) else { return Ok(()) };
        let status = answer.status.as_u16();
        seen.borrow_mut().insert(status);
        prop_assert!(status < 500 || status == 503, "{status}: {}", answer.body);
        prop_assert!(answer.headers.contains_key("x-request-id"));
        if status >= 400 && hostile.method != "HEAD" {
            prop_assert_eq!(&answer.headers["content-type"], "application/problem+json");
            prop_assert_eq!(answer.json()["status"].as_u64(), Some(u64::from(status)));
        }
        Ok(())
    });
    outcome.unwrap();
    let seen = seen.into_inner();
    assert!(
        [200, 400, 401, 404, 405].iter().all(|status| seen.contains(status)),
        "it went everywhere: {seen:?}"
    );
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
