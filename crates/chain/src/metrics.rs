//! What is counted of every attempt.

use std::{sync::Arc, time::Duration};

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use crate::{
    error::{Method, RpcError},
    health::Reason,
    probe::{ProbeError, Probed},
};

/// Attempts, by endpoint, method and class (`ok`, `timeout` or an error class). A batch counts as one.
pub const REQUESTS_TOTAL: &str = "rpc_requests_total";
/// Time of an attempt from sending to the last byte, by endpoint and method.
pub const REQUEST_SECONDS: &str = "rpc_request_seconds";
/// Bytes of JSON received as results, by endpoint and method.
pub const RESPONSE_BYTES_TOTAL: &str = "rpc_response_bytes_total";
/// The highest block that the endpoint showed.
pub const ENDPOINT_HEAD: &str = "rpc_endpoint_head_block";
/// 1 while the endpoint is on the bench for this reason (`unreachable`, `contradiction`, `wrong_chain`).
pub const ENDPOINT_BENCHED: &str = "rpc_endpoint_benched";
/// Numbers of the chain's state that were asked for, by chain and outcome: `value`, why one is unknown, or the error class of all.
pub const PROBES_TOTAL: &str = "balance_probes_total";
/// Time in which the numbers asked for together came, by chain and outcome: `ok` or an error class.
pub const PROBE_SECONDS: &str = "balance_probe_seconds";

/// Registers the descriptions of this crate's metrics with the installed recorder.
pub fn describe() {
    describe_counter!(
        REQUESTS_TOTAL,
        Unit::Count,
        "RPC attempts by endpoint, method and class; a batch counts as one"
    );
    describe_histogram!(
        REQUEST_SECONDS,
        Unit::Seconds,
        "Time of an RPC attempt from sending to the last byte"
    );
    describe_counter!(RESPONSE_BYTES_TOTAL, Unit::Bytes, "Bytes of JSON received as RPC results");
    describe_gauge!(ENDPOINT_HEAD, Unit::Count, "Highest block that the endpoint showed");
    describe_gauge!(ENDPOINT_BENCHED, Unit::Count, "1 while the endpoint is on the bench for this reason");
    describe_counter!(
        PROBES_TOTAL,
        Unit::Count,
        "Balances and other numbers asked for at a block, by outcome"
    );
    describe_histogram!(PROBE_SECONDS, Unit::Seconds, "Time in which the numbers asked for together came");
}

pub(crate) fn attempt(
    endpoint: &Arc<str>,
    method: &Method,
    class: &'static str,
    elapsed: Duration,
    bytes: usize,
) {
    let endpoint = || Arc::clone(endpoint);
    counter!(REQUESTS_TOTAL, "endpoint" => endpoint(), "method" => method.clone(), "class" => class)
        .increment(1);
    histogram!(REQUEST_SECONDS, "endpoint" => endpoint(), "method" => method.clone())
        .record(elapsed.as_secs_f64());
    counter!(RESPONSE_BYTES_TOTAL, "endpoint" => endpoint(), "method" => method.clone())
        .increment(bytes as u64);
}

#[expect(clippy::cast_precision_loss, reason = "block numbers are far below 2^52")]
pub(crate) fn head(endpoint: &Arc<str>, number: u64) {
    gauge!(ENDPOINT_HEAD, "endpoint" => Arc::clone(endpoint)).set(number as f64);
}

pub(crate) fn benched(endpoint: &Arc<str>, reason: Option<Reason>) {
    for each in [Reason::Unreachable, Reason::Contradiction, Reason::WrongChain] {
        let value = f64::from(u8::from(reason == Some(each)));
        gauge!(ENDPOINT_BENCHED, "endpoint" => Arc::clone(endpoint), "reason" => each.as_str()).set(value);
    }
}

pub(crate) fn probed(chain_id: u64, asked: usize, probed: &Result<Probed, RpcError>, elapsed: Duration) {
    let count = |outcome: &'static str, count: u64| {
        counter!(PROBES_TOTAL, "chain_id" => chain_id.to_string(), "outcome" => outcome).increment(count);
    };
    let outcome = match probed {
        Ok(Probed { answers, .. }) => {
            answers
                .iter()
                .for_each(|answer| count(answer.as_ref().map_or_else(ProbeError::as_str, |_| "value"), 1));
            "ok"
        }
        Err(error) => {
            let class = error.class().as_str();
            count(class, asked as u64);
            class
        }
    };
    histogram!(PROBE_SECONDS, "chain_id" => chain_id.to_string(), "outcome" => outcome)
        .record(elapsed.as_secs_f64());
}
