//! Revert data, as a code and a short text.
//!
//! A code has to be one of few (it is a metric's label and what a retry decides by); the text is for people. `Error(string)` and
//! `Panic(uint256)` are Solidity's own ("Control structures", panic and error); the rest are custom errors, known by the
//! ABIs of the followed contracts.

use std::collections::HashMap;

use alloy_dyn_abi::{DynSolValue, JsonAbiExt};
use alloy_json_abi::Error;
use alloy_primitives::hex;
use plimsoll_chain::abi::{Contracts, write_json_value};

/// A version that is not the next one (spec 1 §2.1), or that goes back.
pub(crate) const STALE_VERSION: &str = "stale_version";
/// A sequence that does not increase (spec 1 §2.3).
pub(crate) const OUT_OF_ORDER_SEQ: &str = "out_of_order_seq";
/// An event that the mirror has later ones of: history that came late (see [`plimsoll_journal::Writer::append_late`]).
pub(crate) const LATE_HISTORY: &str = "late_history";
/// A delta that would leave a negative amount.
pub(crate) const INVALID_DELTA: &str = "invalid_delta";
/// Any other failure to write a view.
pub(crate) const CACHE_UPDATE_FAILED: &str = "cache_update_failed";

/// Characters of a decoded reason that are kept. All of it is in the raw store.
const MAX_TEXT_CHARS: usize = 240;

/// Custom errors that mean something to the fold, by the name after a module's prefix (`PositionView__StaleVersion`).
const CODES: &[(&str, &str)] =
    &[("StaleVersion", STALE_VERSION), ("OutOfOrderSeq", OUT_OF_ORDER_SEQ), ("InvalidDelta", INVALID_DELTA)];

/// Errors that are known without an ABI: the bare forms of the above, and Solidity's own.
const BUILT_IN: &[&str] = &[
    "error Error(string message)",
    "error Panic(uint256 code)",
    "error StaleVersion()",
    "error StaleVersion(uint64 currentVersion, uint64 nextVersion)",
    "error OutOfOrderSeq()",
    "error OutOfOrderSeq(uint64 lastSeq, uint64 seq)",
    "error InvalidDelta()",
];

/// Solidity's panic codes.
const PANICS: &[(u64, &str)] = &[
    (0x00, "generic panic"),
    (0x01, "assertion failed"),
    (0x11, "arithmetic overflow or underflow"),
    (0x12, "division by zero"),
    (0x21, "value out of an enum's range"),
    (0x22, "malformed storage byte array"),
    (0x31, "pop of an empty array"),
    (0x32, "array index out of bounds"),
    (0x41, "out of memory"),
    (0x51, "call of an uninitialised function"),
];

/// What revert data says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reason {
    pub(crate) code: &'static str,
    pub(crate) text: String,
}

/// The errors that can be read.
#[derive(Clone, Debug)]
pub(crate) struct Reasons {
    errors: HashMap<[u8; 4], Error>,
}

impl Reasons {
    pub(crate) fn new(contracts: &Contracts) -> Self {
        let parse = |text: &&str| Error::parse(text).expect("the built-in errors are tested: each parses");
        let of_abis = contracts.iter().flat_map(|contract| contract.abi.errors().cloned());
        let errors =
            BUILT_IN.iter().map(parse).chain(of_abis).map(|error| (error.selector().0, error)).collect();
        Self { errors }
    }

    pub(crate) fn read(&self, raw: &[u8]) -> Reason {
        let unnamed = |text: &str| Reason { code: CACHE_UPDATE_FAILED, text: text.to_owned() };
        let Some((selector, arguments)) = raw.split_first_chunk::<4>() else {
            return if raw.is_empty() {
                unnamed("no reason given (out of gas, or a bare revert)")
            } else {
                unnamed(&format!("no error: {}", hex::encode_prefixed(raw)))
            };
        };
        let Some(error) = self.errors.get(selector) else {
            return unnamed(&format!("an error that no ABI knows: {}", hex::encode_prefixed(selector)));
        };
        let Ok(values) = error.abi_decode_input(arguments) else {
            return unnamed(&format!("{} with arguments that do not decode", error.name));
        };
        let base = error.name.rsplit("__").next().unwrap_or(&error.name);
        let code = CODES.iter().find(|(name, _)| *name == base).map_or(CACHE_UPDATE_FAILED, |(_, code)| code);
        Reason { code, text: short(&text(error, &values)) }
    }
}

fn text(error: &Error, values: &[DynSolValue]) -> String {
    match (error.name.as_str(), values) {
        ("Error", [DynSolValue::String(message)]) => message.clone(),
        ("Panic", [DynSolValue::Uint(code, _)]) => {
            let known = PANICS.iter().find(|(known, _)| u64::try_from(*code) == Ok(*known));
            format!("panic {code:#04x}: {}", known.map_or("unknown code", |(_, text)| text))
        }
        (name, values) => {
            let arguments = error.inputs.iter().zip(values).map(|(input, value)| {
                let mut json = Vec::new();
                write_json_value(value, &mut json);
                let value = String::from_utf8_lossy(&json).replace('"', "");
                if input.name.is_empty() { value } else { format!("{}: {value}", input.name) }
            });
            format!("{name}({})", arguments.collect::<Vec<_>>().join(", "))
        }
    }
}

/// At most [`MAX_TEXT_CHARS`], without control characters: it is shown on screens and kept in `jsonb`.
fn short(text: &str) -> String {
    let clean = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let mut short: String = text.chars().take(MAX_TEXT_CHARS).map(clean).collect();
    if text.chars().nth(MAX_TEXT_CHARS).is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use alloy_json_abi::JsonAbi;
    use alloy_primitives::{Address, U256};
    use plimsoll_chain::abi::Contract;
    use uuid::Uuid;

    fn reasons() -> Reasons {
        let abi = JsonAbi::parse([
            "error PositionView__StaleVersion(uint64 currentVersion, uint64 nextVersion)",
            "error PositionView__OutOfOrderSeq(uint64 lastSeq, uint64 seq)",
            "error PositionView__ModuleCacheExpired()",
        ])
        .unwrap();
        Reasons::new(&Contracts::new([Contract::new(
            "PositionView",
            Address::ZERO,
            Uuid::nil(),
            0,
            Arc::new(abi),
        )]))
    }

    fn encoded(error: &str, values: &[DynSolValue]) -> Vec<u8> {
        Error::parse(error).unwrap().abi_encode_input(values).unwrap()
    }

    fn uint(value: u64, bits: usize) -> DynSolValue {
        DynSolValue::Uint(U256::from(value), bits)
    }

    #[test]
    fn each_way_to_fail_has_its_code_and_says_what_happened() {
        let cases: Vec<(Vec<u8>, &str, &str)> = vec![
            (
                encoded("error PositionView__StaleVersion(uint64 a, uint64 b)", &[uint(3, 64), uint(9, 64)]),
                STALE_VERSION,
                "PositionView__StaleVersion(currentVersion: 3, nextVersion: 9)",
            ),
            (
                encoded("error PositionView__OutOfOrderSeq(uint64 a, uint64 b)", &[uint(5, 64), uint(4, 64)]),
                OUT_OF_ORDER_SEQ,
                "seq: 4",
            ),
            (encoded("error StaleVersion()", &[]), STALE_VERSION, "StaleVersion()"),
            (encoded("error OutOfOrderSeq()", &[]), OUT_OF_ORDER_SEQ, "OutOfOrderSeq()"),
            (encoded("error InvalidDelta()", &[]), INVALID_DELTA, "InvalidDelta()"),
            (
                encoded("error PositionView__ModuleCacheExpired()", &[]),
                CACHE_UPDATE_FAILED,
                "PositionView__ModuleCacheExpired()",
            ),
            (
                encoded("error Error(string s)", &[DynSolValue::String("paused".into())]),
                CACHE_UPDATE_FAILED,
                "paused",
            ),
            (
                encoded("error Panic(uint256 c)", &[uint(0x11, 256)]),
                CACHE_UPDATE_FAILED,
                "panic 0x11: arithmetic overflow",
            ),
            (
                encoded("error Panic(uint256 c)", &[uint(0x99, 256)]),
                CACHE_UPDATE_FAILED,
                "panic 0x99: unknown code",
            ),
            (vec![], CACHE_UPDATE_FAILED, "no reason given"),
            (vec![1, 2], CACHE_UPDATE_FAILED, "no error: 0x0102"),
            (vec![0xde, 0xad, 0xbe, 0xef, 1], CACHE_UPDATE_FAILED, "no ABI knows: 0xdeadbeef"),
            (vec![0x08, 0xc3, 0x79, 0xa0, 1], CACHE_UPDATE_FAILED, "Error with arguments that do not decode"),
        ];
        let reasons = reasons();
        for (raw, code, text) in cases {
            let reason = reasons.read(&raw);
            assert_eq!(reason.code, code, "{reason:?}");
            assert!(reason.text.contains(text), "{reason:?} does not say {text:?}");
        }
    }

    #[test]
    fn a_reason_is_kept_short_and_without_control_characters() {
        let message = format!("\0\u{1b}[31m{}", "长".repeat(1000));
        let reason = reasons().read(&encoded("error Error(string s)", &[DynSolValue::String(message)]));
        assert_eq!(reason.text.chars().count(), MAX_TEXT_CHARS + 1);
        assert!(reason.text.starts_with("\u{fffd}\u{fffd}[31m长") && reason.text.ends_with("长…"));
    }
}
