//! What an error answer means. Providers agree on neither codes nor words, so both are hints: the tables
//! below were collected from what geth, reth, erigon, nethermind, Anvil and hosted providers say. A text that
//! nobody knows is `Rejected`, which is never retried and never taken for an answer.

use std::time::Duration;

use crate::error::ErrorClass;

/// `eth_getLogs`: the only method whose "limit exceeded" means "ask for less".
const LOGS: &str = "eth_getLogs";

/// `eth_sendRawTransaction`: Besu's codes for it (`RpcErrorType`, -32001 to -32009) are others' for "no such block" and "too many
/// requests", so only the words count.
const SEND: &str = "eth_sendRawTransaction";

const REVERTED: &[&str] = &["execution reverted", "vm execution error", "revert"];

const RATE_LIMITED: &[&str] = &[
    "rate limit",
    "rate-limit",
    "rate exceeded",
    "too many requests",
    "request limit",
    "requests limit",
    "compute units per second",
    "throughput",
    "concurrent requests",
    "daily request count",
    "credits",
];

const STATE_UNAVAILABLE: &[&str] = &[
    "missing trie node",
    "pruned",
    "pruning",
    "historical state",
    "state not available",
    "state is not available",
    "state unavailable",
    "state already discarded",
    "archive",
    "no state available",
    "maximum proof window",
];

const BLOCK_UNKNOWN: &[&str] = &[
    "header not found",
    "header for hash not found",
    "unknown block",
    "unknown header",
    "block not found",
    "block with hash",
    "block does not exist",
    "cannot find block",
    "could not find block",
    "not currently canonical",
    "blockoutofrange",
    "block is out of range",
    "beyond current head",
    "beyond head",
    "after last accepted block",
    "in the future",
    "one of the blocks specified in filter",
    "resource not found",
];

const RANGE_TOO_LARGE: &[&str] = &[
    "query returned more than",
    "more than 10000 results",
    "too many results",
    "too many logs",
    "max results",
    "block range",
    "blocks range",
    "range is too",
    "range too",
    "range exceeds",
    "exceeds the range",
    "exceed maximum",
    "range limit",
    "ranges over",
    "is limited to",
    "up to a",
    "response size",
    "response too large",
    "response is too",
    "result set too large",
    "exceeds limit",
    "limit exceeded",
    "query exceeds",
    "query timeout",
    "query timed out",
    "please limit",
    "smaller range",
    "narrow",
];

const RESPONSE_TOO_LARGE: &[&str] = &["response size", "response too large", "response is too"];

const TRANSIENT: &[&str] = &[
    "timeout",
    "timed out",
    "temporarily",
    "try again",
    "service unavailable",
    "bad gateway",
    "overloaded",
    "server busy",
    "node is busy",
    "no available upstream",
    "upstream",
    "connection",
];

/// The class of a JSON-RPC error answer.
pub(crate) fn of_answer(method: &str, code: i64, message: &str, data: Option<&str>) -> ErrorClass {
    let text = message.to_ascii_lowercase();
    let says = |hints: &[&str]| hints.iter().any(|hint| text.contains(hint));

    // First, because a contract's revert reason may say anything at all.
    if is_revert(code, message) {
        return ErrorClass::Rejected;
    }
    let code = if method == SEND && (-32_009..=-32_001).contains(&code) { 0 } else { code };
    if code == 429 || code == -32_007 || says(RATE_LIMITED) {
        return ErrorClass::RateLimited { retry_after: data.and_then(backoff_hint) };
    }
    if says(STATE_UNAVAILABLE) {
        return ErrorClass::StateUnavailable;
    }
    if says(BLOCK_UNKNOWN) || code == -32_001 {
        return ErrorClass::BlockUnknown;
    }
    if if method == LOGS { says(RANGE_TOO_LARGE) || code == -32_005 } else { says(RESPONSE_TOO_LARGE) } {
        return ErrorClass::RangeTooLarge;
    }
    if code == -32_005 {
        return ErrorClass::RateLimited { retry_after: data.and_then(backoff_hint) };
    }
    if says(TRANSIENT) {
        return ErrorClass::Transient;
    }
    ErrorClass::Rejected
}

/// Whether an error answer says that the EVM ran the call and the call reverted.
pub(crate) fn is_revert(code: i64, message: &str) -> bool {
    let text = message.to_ascii_lowercase();
    code == 3 || REVERTED.iter().any(|hint| text.starts_with(hint))
}

/// The class of an HTTP status that is not 2xx, with the body's words for what is neither clearly the
/// server's trouble nor clearly the request's.
pub(crate) fn of_http(method: &str, status: u16, body: &str, retry_after: Option<Duration>) -> ErrorClass {
    match status {
        413 => ErrorClass::RangeTooLarge,
        429 => ErrorClass::RateLimited { retry_after },
        503 if retry_after.is_some() => ErrorClass::RateLimited { retry_after },
        408 | 425 | 500 | 502..=504 | 507..=599 => ErrorClass::Transient,
        401..=405 => ErrorClass::Rejected,
        _ => of_answer(method, 0, body, None),
    }
}

/// `{"rate": {"backoff_seconds": 30}}`, at any depth.
fn backoff_hint(data: &str) -> Option<Duration> {
    fn find(value: &serde_json::Value) -> Option<f64> {
        let object = value.as_object()?;
        object
            .get("backoff_seconds")
            .and_then(serde_json::Value::as_f64)
            .or_else(|| object.values().find_map(find))
    }
    find(&serde_json::from_str(data).ok()?).and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITED: ErrorClass = ErrorClass::RateLimited { retry_after: None };

    #[test]
    fn the_words_of_known_nodes_and_providers_have_a_class() {
        use ErrorClass::{BlockUnknown, RangeTooLarge, Rejected, StateUnavailable, Transient};
        let cases = [
            ("eth_getLogs", -32_005, "query returned more than 10000 results", RangeTooLarge),
            ("eth_getLogs", -32_602, "query exceeds max block range 100000", RangeTooLarge),
            (
                "eth_getLogs",
                -32_602,
                "Log response size exceeded. You can make eth_getLogs requests with up to a 2K block range",
                RangeTooLarge,
            ),
            ("eth_getLogs", -32_000, "exceed maximum block range: 5000", RangeTooLarge),
            ("eth_getLogs", -32_614, "eth_getLogs is limited to a 10,000 range", RangeTooLarge),
            (
                "eth_getLogs",
                -32_600,
                "You can make eth_getLogs requests with up to a 10 block range.",
                RangeTooLarge,
            ),
            ("eth_getLogs", -32_005, "limit exceeded", RangeTooLarge),
            ("eth_getLogs", -32_000, "query timeout exceeded", RangeTooLarge),
            ("eth_getBlockByNumber", -32_005, "limit exceeded", LIMITED),
            ("eth_getBlockReceipts", -32_008, "Response is too big", RangeTooLarge),
            ("eth_getLogs", -32_005, "daily request count exceeded, request rate limited", LIMITED),
            ("eth_call", 429, "Your app has exceeded its compute units per second capacity", LIMITED),
            ("eth_call", -32_007, "20/second request limit reached", LIMITED),
            ("eth_call", -32_000, "header not found", BlockUnknown),
            ("eth_getLogs", -32_000, "unknown block", BlockUnknown),
            ("eth_call", -32_001, "Resource not found", BlockUnknown),
            (
                "eth_getLogs",
                -32_602,
                "BlockOutOfRangeError: block height is 1 but requested was 5",
                BlockUnknown,
            ),
            ("eth_getLogs", -32_602, "block range extends beyond current head block", BlockUnknown),
            ("eth_call", -32_000, "hash 0xab is not currently canonical", BlockUnknown),
            (
                "eth_call",
                -32_000,
                "missing trie node 3f1a (path ) state 0x3f1a is not available",
                StateUnavailable,
            ),
            ("eth_call", -32_000, "required historical state unavailable (reexec=128)", StateUnavailable),
            ("eth_getLogs", -32_000, "old data not available due to pruning", StateUnavailable),
            ("eth_call", 3, "execution reverted: header not found", Rejected),
            ("eth_call", -32_000, "execution reverted: rate limit", Rejected),
            ("eth_call", -32_000, "execution aborted (timeout = 5s)", Transient),
            ("eth_blockNumber", -32_603, "service temporarily unavailable", Transient),
            (
                "eth_blockNumber",
                -32_601,
                "the method eth_blockNumber does not exist/is not available",
                Rejected,
            ),
            ("eth_call", -32_602, "invalid argument 0: hex string has odd length", Rejected),
            (SEND, -32_001, "Nonce too low", Rejected),
            (SEND, -32_005, "Transaction gas limit exceeds block gas limit", Rejected),
            (SEND, -32_007, "Sender account not authorized to send transactions", Rejected),
            (SEND, -32_005, "daily request count exceeded, request rate limited", LIMITED),
            (SEND, 429, "slow down", LIMITED),
            (SEND, -32_000, "already known", Rejected),
        ];
        for (method, code, message, expected) in cases {
            assert_eq!(of_answer(method, code, message, None), expected, "{method} {code} {message}");
        }
    }

    #[test]
    fn http_statuses_have_a_class() {
        use ErrorClass::{RangeTooLarge, Rejected, Transient};
        let wait = Some(Duration::from_secs(7));
        let cases = [
            (413, "", None, RangeTooLarge),
            (429, "", None, LIMITED),
            (429, "", wait, ErrorClass::RateLimited { retry_after: wait }),
            (503, "", wait, ErrorClass::RateLimited { retry_after: wait }),
            (500, "", None, Transient),
            (502, "", None, Transient),
            (503, "", None, Transient),
            (504, "", None, Transient),
            (524, "", None, Transient),
            (501, "", None, Rejected),
            (400, "", None, Rejected),
            (400, "block range is too wide", None, RangeTooLarge),
            (401, "try again with a key", None, Rejected),
            (404, "no connection to that page", None, Rejected),
        ];
        for (status, body, retry_after, expected) in cases {
            assert_eq!(of_http("eth_getLogs", status, body, retry_after), expected, "{status} {body}");
        }
    }

    #[test]
    fn a_backoff_in_the_error_data_is_heard() {
        let data = r#"{"see": "docs", "rate": {"allowed_rps": 1, "backoff_seconds": 24}}"#;
        assert_eq!(
            of_answer("eth_call", -32_005, "request rate limited", Some(data)),
            ErrorClass::RateLimited { retry_after: Some(Duration::from_secs(24)) }
        );
    }
}
