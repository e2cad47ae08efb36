//! From the spans of the program to those of OTLP.

use std::fmt::{self, Write as _};
use std::num::NonZeroU32;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{FilterFn, LevelFilter, filter_fn};
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::{LookupSpan, Scope};

use super::wire::{self, KeyValue, SpanKind, Status, StatusCode, Value};

/// Fields that are told, and as what: those of HTTP as the semantic conventions name them
/// (<https://opentelemetry.io/docs/specs/semconv/http/http-spans/>), all others as in log lines.
const ATTRIBUTES: &[(&str, &str)] = &[
    ("request_id", "request_id"),
    ("correlation_id", "correlation_id"),
    ("tenant_id", "tenant_id"),
    ("user_id", "user_id"),
    ("method", "http.request.method"),
    ("route", "http.route"),
    ("status", "http.response.status_code"),
    ("chain_id", "chain_id"),
    ("block_number", "block_number"),
    ("blocks", "blocks"),
    ("events", "events"),
    ("retracted_blocks", "retracted_blocks"),
    ("fold", "fold"),
    ("records", "records"),
    ("retracts", "retracts"),
];
/// The span of a request, which has its ids from the gateway.
const REQUEST: &str = "request";
/// The span that says for whom something is done: it says so of the span around it, and is none of its own.
const CONTEXT: &str = "context";
/// Warnings and errors of one span that are told; more are counted.
const EVENTS_MAX: usize = 32;
/// As much of a text as is told.
const TEXT_MAX_CHARS: usize = 1_024;

const SAMPLED: u32 = 0x001;
/// It is known whether the parent is remote (`SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK`).
const HAS_IS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;

/// A layer that puts spans, as they end, into the queue of the sender.
#[derive(Debug)]
pub(crate) struct Spans {
    queue: mpsc::Sender<wire::Span>,
    sample_one_in: NonZeroU32,
}

/// What is known of a span that lasts. Spans below one that is not sampled are not either.
enum Open {
    Sampled(Box<wire::Span>),
    Unsampled,
}

impl Spans {
    pub(super) fn new(queue: mpsc::Sender<wire::Span>, sample_one_in: NonZeroU32) -> Self {
        Self { queue, sample_one_in }
    }

    /// Our own spans, and of what is logged within them warnings and errors, whatever the log's level is.
    pub(crate) fn filter() -> FilterFn<fn(&Metadata<'_>) -> bool> {
        let is_told: fn(&Metadata<'_>) -> bool = |metadata| {
            let level = if metadata.is_span() { Level::INFO } else { Level::WARN };
            *metadata.level() <= level && metadata.target().starts_with("plimsoll")
        };
        filter_fn(is_told).with_max_level_hint(LevelFilter::INFO)
    }

    /// A trace's first span, which has its identity from the gateway or gets one here.
    fn root(&self, fields: &Fields) -> Option<wire::Span> {
        let trace_id = fields.trace_id.unwrap_or_else(|| rand::random::<u128>().max(1));
        let is_sampled =
            fields.sampled.unwrap_or_else(|| trace_id.is_multiple_of(u128::from(self.sample_one_in.get())));
        let parent = fields.parent_span_id.map(|id| id.to_be_bytes().to_vec());
        is_sampled.then(|| wire::Span {
            trace_id: trace_id.to_be_bytes().to_vec(),
            span_id: fields.span_id.unwrap_or_else(new_span_id).to_be_bytes().to_vec(),
            flags: SAMPLED | HAS_IS_REMOTE | if parent.is_some() { IS_REMOTE } else { 0 },
            parent_span_id: parent.unwrap_or_default(),
            ..wire::Span::default()
        })
    }
}

impl<S> Layer<S> for Spans
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let mut told = Some(fields);
        let parent = with_open(context.span_scope(id), |parent| match parent {
            Open::Unsampled => None,
            Open::Sampled(parent) if span.name() == CONTEXT => {
                told.take().unwrap_or_default().tell(parent);
                None
            }
            Open::Sampled(parent) => Some(wire::Span {
                trace_id: parent.trace_id.clone(),
                span_id: new_span_id().to_be_bytes().to_vec(),
                parent_span_id: parent.span_id.clone(),
                flags: SAMPLED | HAS_IS_REMOTE,
                ..wire::Span::default()
            }),
        });
        // A span of a context is none also where there is nothing around it.
        if span.name() == CONTEXT {
            return;
        }
        let fields = told.unwrap_or_default();
        let begun = parent.unwrap_or_else(|| self.root(&fields)).map(|mut begun| {
            begun.kind = if span.name() == REQUEST { SpanKind::Server } else { SpanKind::Internal }.into();
            begun.name = fields.name(span.name());
            begun.start_time_unix_nano = now_ns();
            fields.tell(&mut begun);
            Open::Sampled(Box::new(begun))
        });
        span.extensions_mut().insert(begun.unwrap_or(Open::Unsampled));
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        with_open(context.span_scope(id), |open| {
            if let Open::Sampled(open) = open {
                let mut fields = Fields::default();
                values.record(&mut fields);
                fields.tell(open);
            }
        });
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        with_open(context.event_scope(event), |open| {
            let Open::Sampled(open) = open else { return };
            if *event.metadata().level() == Level::ERROR {
                open.status = Some(Status { code: StatusCode::Error.into() });
            }
            if open.events.len() == EVENTS_MAX {
                open.dropped_events_count += 1;
                return;
            }
            let mut fields = Fields::default();
            event.record(&mut fields);
            open.events.push(wire::Event {
                time_unix_nano: now_ns(),
                name: fields.message.unwrap_or_else(|| event.metadata().name().to_owned()),
                attributes: fields.attributes,
            });
        });
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let open = context.span(&id).and_then(|span| span.extensions_mut().remove::<Open>());
        let Some(Open::Sampled(mut span)) = open else { return };
        span.end_time_unix_nano = now_ns();
        if self.queue.try_send(*span).is_err() {
            metrics::counter!("telemetry_spans_lost_total", "reason" => "full").increment(1);
        }
    }
}

/// Does this with the innermost span of these that there is.
fn with_open<'a, S, T>(scope: Option<Scope<'a, S>>, mut with: impl FnMut(&mut Open) -> T) -> Option<T>
where
    S: Subscriber + LookupSpan<'a>,
{
    scope?.find_map(|span| span.extensions_mut().get_mut::<Open>().map(&mut with))
}

/// All zeros is no span.
fn new_span_id() -> u64 {
    rand::random::<u64>().max(1)
}

/// Since 1970, as OTLP wants it: good until 2554.
fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// What was said of a span or an event, as far as it is told.
#[derive(Default)]
struct Fields {
    trace_id: Option<u128>,
    span_id: Option<u64>,
    parent_span_id: Option<u64>,
    sampled: Option<bool>,
    message: Option<String>,
    is_failure: bool,
    attributes: Vec<KeyValue>,
}

impl Fields {
    /// `GET /api/v1/chains` of a request; any other span's own name.
    fn name(&self, name: &str) -> String {
        let text = |key| {
            let attribute = self.attributes.iter().find(|attribute| attribute.key == key)?;
            match attribute.value.as_ref()?.value.as_ref()? {
                Value::Text(text) => Some(text),
                _ => None,
            }
        };
        match (text("http.request.method"), text("http.route")) {
            (Some(method), Some(route)) => format!("{method} {route}"),
            _ => name.to_owned(),
        }
    }

    /// Adds them to a span. What it says already stands.
    fn tell(self, span: &mut wire::Span) {
        for attribute in self.attributes {
            if !span.attributes.iter().any(|known| known.key == attribute.key) {
                span.attributes.push(attribute);
            }
        }
        if self.is_failure {
            span.status = Some(Status { code: StatusCode::Error.into() });
        }
    }

    fn put(&mut self, field: &Field, value: impl FnOnce() -> Value) {
        if let Some((_, key)) = ATTRIBUTES.iter().find(|(name, _)| *name == field.name()) {
            self.attributes.push(KeyValue::new(key, value()));
        }
    }

    fn text(&mut self, field: &Field, text: &dyn fmt::Display) {
        // What can be written is ours: a text that does not end is cut, and no other failure is known to a `String`.
        let written = || {
            let mut bounded = Bounded { text: String::new(), room: TEXT_MAX_CHARS };
            let _ = write!(bounded, "{text}");
            bounded.text
        };
        match field.name() {
            "trace_id" => self.trace_id = u128::from_str_radix(&written(), 16).ok(),
            "span_id" => self.span_id = u64::from_str_radix(&written(), 16).ok(),
            "parent_span_id" => self.parent_span_id = u64::from_str_radix(&written(), 16).ok(),
            "message" => self.message = Some(written()),
            _ => self.put(field, || Value::Text(written())),
        }
    }
}

impl Visit for Fields {
    fn record_bool(&mut self, field: &Field, value: bool) {
        match field.name() {
            "sampled" => self.sampled = Some(value),
            _ => self.put(field, || Value::Truth(value)),
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, || Value::Number(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "status" && value >= 500 {
            self.is_failure = true;
        }
        self.put(field, || Value::Number(i64::try_from(value).unwrap_or(i64::MAX)));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, &value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, &format_args!("{value:?}"));
    }
}

/// A text that takes so many characters and then refuses.
struct Bounded {
    text: String,
    room: usize,
}

impl fmt::Write for Bounded {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        for c in more.chars() {
            self.room = self.room.checked_sub(1).ok_or(fmt::Error)?;
            self.text.push(c);
        }
        Ok(())
    }
}
