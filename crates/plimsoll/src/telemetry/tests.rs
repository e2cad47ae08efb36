use std::num::NonZeroU32;

use tokio::sync::mpsc;
use tracing::{error, info, info_span, warn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, fmt, registry};

use super::Spans;
use super::wire::{Event, KeyValue, Span, StatusCode, Value};

/// The spans that come of this, with a queue of so many.
fn told_with(one_in: u32, queue: usize, speak: impl FnOnce()) -> Vec<Span> {
    let (sender, mut receiver) = mpsc::channel(queue);
    let spans = Spans::new(sender, NonZeroU32::new(one_in).unwrap());
    // The log is for errors alone: what is told does not depend on it.
    let log = fmt::layer().with_writer(std::io::sink).with_filter(EnvFilter::new("error"));
    let subscriber = registry().with(log).with(spans.with_filter(Spans::filter()));
    tracing::subscriber::with_default(subscriber, speak);
    std::iter::from_fn(|| receiver.try_recv().ok()).collect()
}

fn told(speak: impl FnOnce()) -> Vec<Span> {
    told_with(1, 100, speak)
}

fn says<'a>(attributes: &'a [KeyValue]) -> Vec<(&'a str, &'a Value)> {
    let value = |attribute: &'a KeyValue| attribute.value.as_ref()?.value.as_ref();
    attributes.iter().filter_map(|attribute| Some((attribute.key.as_str(), value(attribute)?))).collect()
}

#[test]
fn a_span_within_another_is_its_child_and_says_only_what_may_be_told() {
    let spans = told(|| {
        let outer = info_span!("fold_step", fold = "views", chain_id = 7_u64, password = "hunter2");
        outer.in_scope(|| {
            info_span!("idempotent", records = 3, retracts = true, key = "hunter2").in_scope(|| {});
        });
    });
    let [inner, outer] = &spans[..] else { panic!("{spans:#?}") };
    assert_eq!((&*outer.name, &*inner.name), ("fold_step", "idempotent"));
    assert_eq!((&inner.trace_id, &inner.parent_span_id), (&outer.trace_id, &outer.span_id));
    assert_eq!((outer.trace_id.len(), outer.span_id.len(), outer.parent_span_id.len()), (16, 8, 0));
    assert_eq!(
        says(&outer.attributes),
        [("fold", &Value::Text("views".into())), ("chain_id", &Value::Number(7))]
    );
    assert_eq!(says(&inner.attributes), [("records", &Value::Number(3)), ("retracts", &Value::Truth(true))]);
    assert!(!format!("{spans:?}").contains("hunter2"));
}

#[test]
fn a_request_has_the_identity_that_the_gateway_gave_it() {
    let request = |sampled: bool| {
        told(|| {
            let span = info_span!(
                "request",
                trace_id = "4bf92f3577b34da6a3ce929d0e0e4736",
                span_id = "00f067aa0ba902b7",
                parent_span_id = "00000000000000ff",
                sampled,
                method = "GET",
                route = "/healthz",
                status = tracing::field::Empty,
            );
            span.in_scope(|| {
                info_span!("context", tenant_id = "acme", request_id = "r")
                    .in_scope(|| info_span!("idempotent").in_scope(|| {}));
            });
            span.record("status", 503_u16);
        })
    };
    assert_eq!(request(false), [], "nor is what is within it");
    let spans = request(true);
    let [within, span] = &spans[..] else { panic!("{spans:#?}") };
    assert_eq!((&*span.name, span.flags), ("GET /healthz", 0x301));
    assert_eq!(span.trace_id[..2], [0x4b, 0xf9]);
    assert_eq!(span.span_id, 0x00f0_67aa_0ba9_02b7_u64.to_be_bytes());
    assert_eq!(span.parent_span_id, 0xff_u64.to_be_bytes());
    assert_eq!(span.status.clone().unwrap().code(), StatusCode::Error);
    let names: Vec<&str> = span.attributes.iter().map(|attribute| attribute.key.as_str()).collect();
    let expected =
        ["http.request.method", "http.route", "tenant_id", "request_id", "http.response.status_code"];
    assert_eq!(names, expected, "a context says of the request for whom it is");
    assert_eq!((&within.parent_span_id, within.flags), (&span.span_id, 0x101));
}

#[test]
fn warnings_and_errors_are_events_of_their_span_up_to_a_bound() {
    let spans = told(|| {
        let _span = info_span!("fold_step").entered();
        info!("not told");
        warn!(chain_id = 7, secret = "hunter2", "looked {} times", 2);
        (0..40).for_each(|_| error!("again"));
    });
    let [Span { events, dropped_events_count, status, .. }] = &spans[..] else { panic!("{spans:#?}") };
    let Event { name, attributes, .. } = &events[0];
    assert_eq!((&**name, says(attributes)), ("looked 2 times", vec![("chain_id", &Value::Number(7))]));
    assert_eq!((events.len(), *dropped_events_count), (32, 9));
    assert_eq!(status.clone().unwrap().code(), StatusCode::Error);
}

#[test]
fn of_traces_that_begin_here_some_are_told_whole() {
    let spans = told_with(4, 10_000, || {
        for _ in 0..2_000 {
            info_span!("fold_step").in_scope(|| info_span!("idempotent").in_scope(|| {}));
        }
    });
    assert!((700..1_300).contains(&spans.len()), "some 1,000 of 4,000 spans: {}", spans.len());
    let (inner, outer): (Vec<_>, Vec<_>) = spans.iter().partition(|span| span.name == "idempotent");
    let ids = |spans: Vec<&Span>| spans.into_iter().map(|span| span.trace_id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(inner), ids(outer));
}

#[test]
fn a_queue_that_is_full_keeps_nobody() {
    let spans = told_with(1, 2, || (0..1_000).for_each(|_| info_span!("fold_step").in_scope(|| {})));
    assert_eq!(spans.len(), 2);
}

#[test]
fn spans_of_libraries_and_long_texts_are_not_told() {
    let spans = told(|| {
        info_span!(target: "hyper", "fold_step").in_scope(|| {});
        tracing::debug_span!("fold_step").in_scope(|| {});
        info_span!("fold_step", fold = "x".repeat(5_000)).in_scope(|| {});
    });
    let [span] = &spans[..] else { panic!("{spans:#?}") };
    assert_eq!(says(&span.attributes), [("fold", &Value::Text("x".repeat(1_024)))]);
}
