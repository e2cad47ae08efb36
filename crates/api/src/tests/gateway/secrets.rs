//! What is secret stays out of logs and answers, wherever somebody put it.

use std::io::Write;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::http::Request;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::FmtSpan;

use super::{Api, bearer};

/// Log lines, kept.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Lines {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// All that our own crates say, spans included.
fn captured() -> (Lines, tracing::subscriber::DefaultGuard) {
    let lines = Lines::default();
    let filter = EnvFilter::new(
        "plimsoll_api=trace,plimsoll_identity=trace,plimsoll_store=trace,plimsoll_bus=trace,plimsoll_types=trace",
    );
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_span_events(FmtSpan::FULL)
        .with_ansi(false)
        .with_writer(lines.clone())
        .finish();
    (lines, tracing::subscriber::set_default(subscriber))
}

#[tokio::test]
async fn a_credential_is_nowhere_to_be_read_wherever_it_was_put() {
    let api = Api::start().await;
    let tenant_id = api.tenant_named("acme").await;
    let key = api.key(tenant_id, None).await;
    let secret = key.rsplit_once('_').unwrap().1.to_owned();
    let jwt = "eyJhbGciOiJFZERTQSIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJzb21lYm9keSJ9.c2lnbmF0dXJlLW9mLXRoaXM";
    let refresh = "plr_Zm9vYmFyYmF6cXV4MTIzNDU2Nzg5MGFiY2RlZg";
    let (lines, guard) = captured();
    let mut answers = Vec::new();
    for token in [key.as_str(), jwt, refresh] {
        let credential = bearer(token);
        for headers in [
            vec![("authorization", credential.as_str())],
            vec![("authorization", token)],
            vec![("authorization", credential.as_str()), ("authorization", credential.as_str())],
            vec![("cookie", token)],
            vec![("x-request-id", token)],
            vec![("api-version", token)],
            vec![("traceparent", token), ("tracestate", token)],
            vec![("x-forwarded-for", token)],
        ] {
            for path in ["/api/v1/chains", "/api/v1/positions?user=1", "/nowhere"] {
                answers.push(api.get_with(path, &headers).await);
            }
        }
        for path in [
            format!("/{token}"),
            format!("/api/v1/{token}"),
            format!("/api/v1/chains/{token}"),
            format!("/api/v1/chains?{token}=1"),
            format!("/api/v1/chains?token={token}"),
            format!("/api/v1/positions?user={token}&limit={token}"),
            format!("/api/v1/positions?user=0x5fbdb2315678afecb367f032d93f642f64180aa3&cursor={token}"),
            format!("/api/v1/events?chain_id={token}&event_name={token}"),
        ] {
            answers.push(api.get(&path).await);
            let post =
                Request::post(&path).header("cookie", token).body(Body::from(token.to_owned())).unwrap();
            answers.push(api.send(post).await);
        }
    }
    drop(guard);
    let text = lines.text();
    assert!(text.contains("trace_id=") && text.contains("request answered"), "the log was captured: {text}");
    assert!(answers.iter().any(|answer| answer.body.contains("[redacted]")), "and tokens were repeated");
    for hidden in [secret.as_str(), &key, jwt, "eyJ", refresh, "Zm9v"] {
        let line = text.lines().find(|line| line.contains(hidden));
        assert_eq!(line, None, "a log line has {hidden}");
        for answer in &answers {
            assert!(!answer.body.contains(hidden), "an answer has {hidden}: {}", answer.body);
            for (name, value) in &answer.headers {
                assert!(!String::from_utf8_lossy(value.as_bytes()).contains(hidden), "`{name}` has {hidden}");
            }
        }
    }
}
