//! What is counted of every attempt.

use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_histogram, histogram};

use crate::error::Method;

/// Attempts, by method and class (`ok`, `timeout` or an error class). A batch counts as one.
pub const REQUESTS_TOTAL: &str = "rpc_requests_total";
/// Time of an attempt from sending to the last byte, by method.
pub const REQUEST_SECONDS: &str = "rpc_request_seconds";
/// Bytes of JSON received as results, by method.
pub const RESPONSE_BYTES_TOTAL: &str = "rpc_response_bytes_total";

/// Registers the descriptions of this crate's metrics with the installed recorder.
pub fn describe() {
    describe_counter!(REQUESTS_TOTAL, Unit::Count, "RPC attempts by method and class; a batch counts as one");
    describe_histogram!(
        REQUEST_SECONDS,
        Unit::Seconds,
        "Time of an RPC attempt from sending to the last byte"
    );
    describe_counter!(RESPONSE_BYTES_TOTAL, Unit::Bytes, "Bytes of JSON received as RPC results");
}

pub(crate) fn attempt(method: &Method, class: &'static str, elapsed: Duration, bytes: usize) {
    counter!(REQUESTS_TOTAL, "method" => method.clone(), "class" => class).increment(1);
    histogram!(REQUEST_SECONDS, "method" => method.clone()).record(elapsed.as_secs_f64());
    counter!(RESPONSE_BYTES_TOTAL, "method" => method.clone()).increment(bytes as u64);
}
