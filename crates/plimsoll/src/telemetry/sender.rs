//! Takes spans from the queue and brings them to the collector: <https://opentelemetry.io/docs/specs/otlp/#otlphttp>.
//!
//! A batch that was not taken is tried again for some seconds, with growing pauses, while newer spans wait in the queue; then it is
//! lost, and counted. Ends: after [`Sending::flush`] nothing is put into the queue any more, each batch is tried once, and the whole
//! has a deadline.

use std::time::Duration;

use metrics::counter;
use prost::Message as _;
use prost::bytes::Bytes;
use reqwest::header::HeaderMap;
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use super::wire::{Export, Exported, KeyValue, Resource, ResourceSpans, Scope, ScopeSpans, Span, Value};
use crate::config::redacted_url;
use crate::failure::{Failure, chain_of};

/// Spans of one request, at most.
const BATCH_MAX_SPANS: usize = 512;
/// How long spans gather.
const LINGER: Duration = Duration::from_secs(1);
/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How often a batch is tried.
const ATTEMPTS_MAX: u32 = 5;
/// The pause after the first attempt; each next one doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Of an answer no more is read.
const ANSWER_MAX_BYTES: usize = 64 * 1024;

/// A client that sends these headers, and follows no redirection: they are for the collector that was named.
pub(super) fn client(headers: HeaderMap) -> Result<Client, Failure> {
    Client::builder()
        .user_agent(concat!("plimsoll/", env!("CARGO_PKG_VERSION")))
        .default_headers(headers)
        .timeout(TIMEOUT)
        .redirect(Policy::none())
        .build()
        .map_err(|error| Failure::new(format!("no HTTP client for spans can be made: {}", chain_of(&error))))
}

/// What sends spans, not started yet.
#[derive(Debug)]
pub(crate) struct Sender {
    client: Client,
    url: String,
    resource: Vec<KeyValue>,
    queue: mpsc::Receiver<Span>,
    closing: CancellationToken,
    /// Whether the collector's last answer was a good one.
    is_well: bool,
}

/// What sends spans.
#[derive(Debug)]
pub(crate) struct Sending {
    task: JoinHandle<()>,
    closing: CancellationToken,
}

/// Why a batch was not taken.
enum Refusal {
    /// It may be taken yet.
    MayPass(String),
    /// It never will be.
    Final(String),
}

impl Sender {
    pub(super) fn new(client: Client, url: &str, service_name: &str, queue: mpsc::Receiver<Span>) -> Self {
        let attribute = |key, value: &str| KeyValue::new(key, Value::Text(value.to_owned()));
        let resource = vec![
            attribute("service.name", service_name),
            attribute("service.version", env!("CARGO_PKG_VERSION")),
        ];
        let closing = CancellationToken::new();
        Self { client, url: url.to_owned(), resource, queue, closing, is_well: true }
    }

    /// Begins to send, in the name of this process (`service.instance.id`).
    pub(crate) fn start(mut self, instance: &str) -> Sending {
        self.resource.push(KeyValue::new("service.instance.id", Value::Text(instance.to_owned())));
        let closing = self.closing.clone();
        Sending { task: tokio::spawn(self.run()), closing }
    }

    async fn run(mut self) {
        while let Some(batch) = self.gather().await {
            self.deliver(batch).await;
        }
    }

    /// What came within [`LINGER`] of a first span; `None` when none will come any more.
    async fn gather(&mut self) -> Option<Vec<Span>> {
        let mut batch = Vec::new();
        let linger = sleep(Duration::MAX);
        tokio::pin!(linger);
        while batch.len() < BATCH_MAX_SPANS {
            let room = BATCH_MAX_SPANS - batch.len();
            tokio::select! {
                taken = self.queue.recv_many(&mut batch, room) => match taken {
                    0 => break,
                    _ if batch.len() == taken => linger.as_mut().reset(Instant::now() + LINGER),
                    _ => {}
                },
                () = &mut linger => break,
                () = self.closing.cancelled(), if !self.queue.is_closed() => self.queue.close(),
            }
        }
        Some(batch).filter(|batch| !batch.is_empty())
    }

    async fn deliver(&mut self, batch: Vec<Span>) {
        let count = u64::try_from(batch.len()).unwrap_or(u64::MAX);
        let body = self.encode(batch);
        let mut pause = FIRST_PAUSE;
        for attempt in 1..=ATTEMPTS_MAX {
            let (reason, error) = match self.send(body.clone()).await {
                Ok(exported) => return self.taken(count, &exported),
                Err(Refusal::Final(error)) => ("refused", error),
                Err(Refusal::MayPass(error)) => ("unreachable", error),
            };
            self.not_taken(&error);
            let is_last = reason == "refused" || attempt == ATTEMPTS_MAX || self.closing.is_cancelled();
            if is_last {
                counter!("telemetry_spans_lost_total", "reason" => reason).increment(count);
                return;
            }
            // Whoever ends the process waits for no pause: the next attempt is then the last.
            self.closing.run_until_cancelled(sleep(pause)).await;
            pause *= 2;
        }
    }

    fn encode(&self, spans: Vec<Span>) -> Bytes {
        let scope = Scope { name: "plimsoll".into(), version: env!("CARGO_PKG_VERSION").into() };
        let export = Export {
            resource_spans: vec![ResourceSpans {
                resource: Some(Resource { attributes: self.resource.clone() }),
                scope_spans: vec![ScopeSpans { scope: Some(scope), spans }],
            }],
        };
        export.encode_to_vec().into()
    }

    async fn send(&self, body: Bytes) -> Result<Exported, Refusal> {
        // Its URL is left out of the error: it may have a key in it.
        let failed = |error: reqwest::Error| Refusal::MayPass(chain_of(&error.without_url()));
        let mut answer = self.client.post(&self.url).body(body).send().await.map_err(failed)?;
        let status = answer.status();
        if !status.is_success() {
            let refused = format!("it answers {status}");
            return Err(match status {
                StatusCode::TOO_MANY_REQUESTS
                | StatusCode::BAD_GATEWAY
                | StatusCode::SERVICE_UNAVAILABLE
                | StatusCode::GATEWAY_TIMEOUT => Refusal::MayPass(refused),
                _ => Refusal::Final(refused),
            });
        }
        let mut text = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            text.extend_from_slice(&chunk);
            if text.len() > ANSWER_MAX_BYTES {
                return Ok(Exported::default());
            }
        }
        // A collector that answers in another form has taken them nevertheless.
        Ok(Exported::decode(&*text).unwrap_or_default())
    }

    fn taken(&mut self, count: u64, exported: &Exported) {
        let partial = exported.partial_success.clone().unwrap_or_default();
        let rejected = u64::try_from(partial.rejected_spans).unwrap_or(0).min(count);
        counter!("telemetry_spans_exported_total").increment(count - rejected);
        if rejected > 0 {
            counter!("telemetry_spans_lost_total", "reason" => "refused").increment(rejected);
            self.not_taken(&format!("it refuses {rejected} of {count}: {}", partial.error_message));
        } else if !self.is_well {
            self.is_well = true;
            tracing::info!(collector = redacted_url(&self.url), "the collector takes spans again");
        }
    }

    /// One warning, until it is well again.
    fn not_taken(&mut self, error: &str) {
        if std::mem::take(&mut self.is_well) {
            tracing::warn!(
                collector = redacted_url(&self.url),
                error,
                "the collector does not take spans: they are tried again and then lost (`telemetry_spans_lost_total`); nothing else is affected"
            );
        }
    }
}

impl Sending {
    /// Brings what waits to the collector, if it takes it until then.
    pub(crate) async fn flush(self, deadline: Instant) {
        self.closing.cancel();
        let Self { mut task, .. } = self;
        match timeout_at(deadline, &mut task).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the task that sends spans failed"),
            Err(_) => {
                task.abort();
                tracing::info!("the last spans were not taken in time: they are lost");
            }
        }
    }
}
