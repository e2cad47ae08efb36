//! Spans for an OpenTelemetry collector: OTLP over HTTP, in protobuf. Off unless `telemetry.endpoint` names one.
//!
//! **Nothing waits for it.** A span that ends is put into a bounded queue ([`spans`]) and the work goes on; where the queue is full the span is
//! lost, and counted. One task ([`sender`]) takes from it what has gathered. A collector that is away costs an attempt every few seconds, one
//! warning, and `telemetry_spans_lost_total`; when it is back, that is logged too.
//!
//! **The trace is the caller's.** The gateway gives its span of a request the ids that it tells the client (W3C Trace Context): they
//! are fields of that span, in log lines as here, and what is exported is that very span, under the caller's. A caller's sampled flag decides for the
//! caller's trace; of traces that begin here one in `telemetry.sample_one_in` is kept, whole.
//!
//! **Nothing else is told.** Spans have the attributes that [`spans`] lists and no other, so a field that somebody adds to a span somewhere is not
//! sent out of the house by that. No variable of an OpenTelemetry library is read: the configuration alone says where spans go.

mod sender;
mod spans;
#[cfg(test)]
mod tests;
mod wire;

use reqwest::header::{CONTENT_TYPE, HeaderValue};
use tokio::sync::mpsc;

pub(crate) use self::sender::{Sender, Sending};
pub(crate) use self::spans::Spans;
use crate::config::Telemetry;
use crate::failure::Failure;

/// Spans that wait to be sent, at most: some 8 MB.
const QUEUE_MAX_SPANS: usize = 8_192;

/// What records spans and what sends them; nothing where no collector is configured.
pub(crate) fn open(telemetry: &Telemetry) -> Result<Option<(Spans, Sender)>, Failure> {
    let Some(collector) = &telemetry.collector else { return Ok(None) };
    let mut headers = collector.headers.clone();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
    let client = sender::client(headers)?;
    let (queue, waiting) = mpsc::channel(QUEUE_MAX_SPANS);
    let sender = Sender::new(client, collector.url.expose(), &telemetry.service_name, waiting);
    Ok(Some((Spans::new(queue, telemetry.sample_one_in), sender)))
}
