//! Spans for a collector: what a real one would get, and what Plimsoll does without it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind, status::StatusCode};
use plimsoll_testkit::demo::child::free_port;
use prost::Message as _;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::house::{House, Settings, admin};
use crate::world::{World, seed};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const UNSAMPLED: &str = "aaf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";
/// What the collector wants to see, and nobody else.
const COLLECTOR_KEY: &str = "collector-key-0a1b2c3d";

/// A collector: an HTTP server that reads what it is sent with the messages that OpenTelemetry publishes.
#[derive(Clone)]
struct Collector {
    address: SocketAddr,
    answer: Arc<AtomicU16>,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Default)]
struct Taken {
    heads: Vec<String>,
    bodies: Vec<Vec<u8>>,
}

impl Collector {
    /// Answers with this status, until told otherwise.
    fn answering(status: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let collector = Self {
            address: listener.local_addr().unwrap(),
            answer: Arc::new(AtomicU16::new(status)),
            taken: Arc::default(),
        };
        let serving = collector.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let serving = serving.clone();
                std::thread::spawn(move || serving.serve(stream.unwrap()));
            }
        });
        collector
    }

    fn serve(&self, stream: TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream);
        loop {
            let (mut head, mut length) = (String::new(), 0);
            while !head.ends_with("\r\n\r\n") {
                let begin = head.len();
                if reader.read_line(&mut head).ok()? == 0 {
                    return None;
                }
                if let Some(value) = head[begin..].to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().ok()?;
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).ok()?;
            let status = self.answer.load(Ordering::Relaxed);
            if status == 200 {
                let mut taken = self.taken.lock().unwrap();
                taken.heads.push(head);
                taken.bodies.push(body);
            }
            let answer = format!("HTTP/1.1 {status} Because\r\ncontent-length: 0\r\n\r\n");
            reader.get_mut().write_all(answer.as_bytes()).ok()?;
        }
    }

    fn requests(&self) -> Vec<ExportTraceServiceRequest> {
        let taken = self.taken.lock().unwrap();
        taken.bodies.iter().map(|body| ExportTraceServiceRequest::decode(&**body).unwrap()).collect()
    }

    fn spans(&self) -> Vec<Span> {
        let scopes = self.requests().into_iter().flat_map(|export| export.resource_spans);
        scopes.flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans).collect()
    }
}

/// An attribute's value as text.
fn attribute(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    Some(match found.value.as_ref()?.value.as_ref()? {
        any_value::Value::StringValue(text) => text.clone(),
        any_value::Value::IntValue(number) => number.to_string(),
        any_value::Value::BoolValue(truth) => truth.to_string(),
        other => panic!("{key}: {other:?}"),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn house(world: &World, endpoint: &str) -> House {
    let house = House::new(world, Settings::default()).await;
    std::fs::write(house.path("collector-headers"), format!("Authorization: Bearer {COLLECTOR_KEY}\n"))
        .unwrap();
    let telemetry = format!(
        "[telemetry]\nendpoint = \"{endpoint}\"\nheaders_file = \"collector-headers\"\nservice_name = \"books\"\n"
    );
    house.edit(|text| format!("{telemetry}\n{text}"));
    house
}

/// Somebody of the tenant who may ask for approvals: their tenant, user and key.
async fn somebody(house: &House) -> (String, String, String) {
    let user =
        admin(house, &["users", "create", "--name", "a", "--kind", "machine", "--role", "operator"]).await;
    let user_id = user["target_id"].as_str().unwrap().to_owned();
    let scopes = "approvals:request,retry:request";
    let issued =
        admin(house, &["keys", "issue", "--user", &user_id, "--label", "a", "--scopes", scopes]).await;
    let tenants = admin(house, &["tenants", "list"]).await;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&tenants[0]["tenant_id"]), user_id, text(&issued["key"]))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_a_span_of_its_callers_trace_and_so_is_what_it_does() {
    let collector = Collector::answering(200);
    let world = World::new(seed(905), 10).await;
    let mut house = house(&world, &format!("http://{}", collector.address)).await;
    house.start();
    house.catches_up(&world).await;
    let (tenant_id, user_id, key) = somebody(&house).await;
    let request_id = Uuid::new_v4().to_string();
    let body = json!({
        "action": "retry:request", "body": {"number": 1}, "term_seconds": 3_600,
        "request_id": request_id, "tenant_id": tenant_id, "user_id": user_id,
    });
    let http = reqwest::Client::new();
    let post = |trace: &str, flags: &str| {
        let request = http
            .post(house.url("/api/v1/approvals"))
            .header("traceparent", format!("00-{trace}-{PARENT}-{flags}"))
            .header("authorization", format!("Bearer {key}"))
            .header("x-request-id", &request_id)
            .header("content-type", "application/json")
            .body(body.to_string());
        async { request.send().await.unwrap() }
    };
    let answer = post(TRACE, "01").await;
    assert_eq!(answer.status(), 201);
    let told = answer.headers()["traceresponse"].to_str().unwrap().to_owned();
    assert_eq!(post(UNSAMPLED, "00").await.status(), 201, "the same once more");
    let nowhere = http.get(house.url(&format!("/made/up/{key}"))).send().await.unwrap();
    assert_eq!(nowhere.status(), 404);
    // It ends at once: what has gathered goes out on the way.
    house.stop().await;

    let spans = collector.spans();
    let of_trace: Vec<&Span> = spans.iter().filter(|span| hex(&span.trace_id) == TRACE).collect();
    let [request] =
        of_trace.iter().filter(|span| span.name == "POST /api/v1/approvals").collect::<Vec<_>>()[..]
    else {
        panic!("no span, or several, of the request: {of_trace:#?}");
    };
    assert_eq!(hex(&request.parent_span_id), PARENT);
    assert_eq!(told, format!("00-{TRACE}-{}-01", hex(&request.span_id)), "the client knows its id");
    assert_eq!(request.kind(), SpanKind::Server);
    assert!(request.start_time_unix_nano > 0 && request.end_time_unix_nano > request.start_time_unix_nano);
    assert_eq!(request.status.clone().unwrap_or_default().code(), StatusCode::Unset);
    for (name, value) in [
        ("request_id", &*request_id),
        ("correlation_id", &*request_id),
        ("tenant_id", &*tenant_id),
        ("user_id", &*user_id),
        ("http.request.method", "POST"),
        ("http.route", "/api/v1/approvals"),
        ("http.response.status_code", "201"),
    ] {
        assert_eq!(attribute(&request.attributes, name).as_deref(), Some(value), "{name}");
    }
    let within = of_trace.iter().find(|span| span.name == "idempotent").expect("what is done under the key");
    assert_eq!(within.parent_span_id, request.span_id);
    assert_eq!(of_trace.len(), 2, "{of_trace:#?}");
    assert!(spans.iter().all(|span| hex(&span.trace_id) != UNSAMPLED), "its caller keeps it not");

    let named = |name: &str| spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("{name}"));
    let chain_id = world.chain_id().to_string();
    for (span, has) in [("fold_step", ["fold", "records"]), ("ingest_commit", ["block_number", "events"])] {
        let span = named(span);
        assert_eq!(attribute(&span.attributes, "chain_id").as_ref(), Some(&chain_id), "{span:#?}");
        assert!(has.iter().all(|key| attribute(&span.attributes, key).is_some()), "{span:#?}");
        assert!(span.parent_span_id.is_empty(), "a trace of its own");
    }

    let taken = collector.taken.lock().unwrap();
    assert!(taken.heads.iter().all(|head| head.starts_with("POST /v1/traces HTTP/1.1\r\n")));
    assert!(taken.heads.iter().all(|head| head.contains(COLLECTOR_KEY)), "{:?}", taken.heads);
    let said: String = taken.bodies.iter().map(|body| String::from_utf8_lossy(body)).collect();
    assert!(!said.contains(&key) && !said.contains(COLLECTOR_KEY), "a secret is told");
    assert!(!house.log().contains(COLLECTOR_KEY), "a secret is logged");
    drop(taken);
    for export in collector.requests() {
        let resource = export.resource_spans[0].resource.clone().unwrap().attributes;
        assert_eq!(attribute(&resource, "service.name").as_deref(), Some("books"));
        assert!(attribute(&resource, "service.instance.id").is_some());
    }
}

const WARNING: &str = "the collector does not take spans";

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_dead_or_silent_costs_one_warning() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let (dead, silent) =
        (free_port().unwrap(), silent.local_addr().map(|address| (address, silent)).unwrap());
    for (address, is_dead) in [(dead, true), (silent.0, false)] {
        let world = World::new(seed(906), 10).await;
        let mut house = house(&world, &format!("http://{address}")).await;
        house.start();
        house.catches_up(&world).await;
        for _ in 0..20 {
            assert_eq!(house.get("/api/v1/chains").await.unwrap().0, 200);
        }
        if is_dead {
            house.until("the warning", async |house| house.log().contains(WARNING).then_some(())).await;
        }
        house.agrees(&world).await;
        // Within its five seconds, with exit code 0.
        house.stop().await;
        assert!(house.log().matches(WARNING).count() <= 1, "{}", house.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_refuses_is_named_once_and_what_is_lost_is_counted_until_it_takes_spans_again() {
    let collector = Collector::answering(401);
    let world = World::new(seed(907), 10).await;
    let mut house = house(&world, &format!("http://{}", collector.address)).await;
    house.start();
    let counts = async |house: &House, series: &str| {
        house.get("/api/v1/chains").await?;
        let metrics = reqwest::get(house.url("/metrics")).await.ok()?.text().await.ok()?;
        metrics.lines().find(|line| line.starts_with(series)).map(|_| ())
    };
    let lost = "telemetry_spans_lost_total{reason=\"refused\"}";
    house.until("lost spans to be counted", async |house| counts(house, lost).await).await;
    assert_eq!(house.log().matches(WARNING).count(), 1, "{}", house.log());
    collector.answer.store(200, Ordering::Relaxed);
    let taken = "telemetry_spans_exported_total";
    house.until("spans to be taken", async |house| counts(house, taken).await).await;
    assert_eq!(house.log().matches("the collector takes spans again").count(), 1);
    assert_eq!(house.log().matches(WARNING).count(), 1, "{}", house.log());
    house.stop().await;
    assert!(!collector.spans().is_empty());
}
