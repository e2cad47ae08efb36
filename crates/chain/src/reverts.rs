//! Revert data, as what it says: the name of an error, and a short text.
//!
//! `Error(string)` and `Panic(uint256)` are Solidity's own ("Control structures", panic and error); the rest are custom errors, known by the ABIs of
//! the configured contracts. What is read here was made by whoever wrote the contract that was called, so its text is cut and cleaned before it is shown or kept.

use std::borrow::Cow;
use std::collections::HashMap;

use alloy_dyn_abi::{DynSolValue, JsonAbiExt};
use alloy_json_abi::Error;
use alloy_primitives::hex;

use crate::abi::{Contracts, write_json_value};

/// Characters of a decoded reason that are kept.
pub const REVERT_TEXT_MAX_CHARS: usize = 240;
/// Characters of an error's name that are kept.
const NAME_MAX_CHARS: usize = 64;

/// Errors that are known without an ABI: Solidity's own, and the bare forms of what the followed contracts raise.
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

/// Which kind of error revert data is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RevertKind {
    /// A custom error of a configured ABI: its name, with its module's prefix where it has one (`PositionView__StaleVersion`).
    Custom(String),
    /// `Error(string)`, as `require` and `revert` with a message give it.
    Message,
    /// `Panic(uint256)`: a check that the compiler put there.
    Panic,
    /// There is none: a bare revert, or gas ran out.
    Empty,
    /// An error that no ABI here knows.
    Unknown,
    /// No error, or one whose arguments do not decode.
    Malformed,
}

/// What revert data says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revert {
    /// Its kind.
    pub kind: RevertKind,
    /// The error and its arguments for people, of [`REVERT_TEXT_MAX_CHARS`] characters at most and an ellipsis, without control characters.
    pub text: String,
}

impl Revert {
    /// A code for machines: a custom error's name, or the kind: `error`, `panic`, `empty`, `unknown_error`, `malformed`.
    #[must_use]
    pub fn code(&self) -> Cow<'_, str> {
        match &self.kind {
            RevertKind::Custom(name) => name.into(),
            RevertKind::Message => "error".into(),
            RevertKind::Panic => "panic".into(),
            RevertKind::Empty => "empty".into(),
            RevertKind::Unknown => "unknown_error".into(),
            RevertKind::Malformed => "malformed".into(),
        }
    }
}

/// The errors that can be read.
#[derive(Clone, Debug)]
pub struct Reverts {
    errors: HashMap<[u8; 4], Error>,
}

impl Default for Reverts {
    fn default() -> Self {
        Self::new(&Contracts::default())
    }
}

impl Reverts {
    /// Those of these contracts' ABIs, and those that are known without.
    ///
    /// # Panics
    /// Never: what is built in is tested to parse.
    #[must_use]
    pub fn new(contracts: &Contracts) -> Self {
        let parse = |text: &&str| Error::parse(text).expect("the built-in errors are tested: each parses");
        let of_abis = contracts.iter().flat_map(|contract| contract.abi.errors().cloned());
        let errors =
            BUILT_IN.iter().map(parse).chain(of_abis).map(|error| (error.selector().0, error)).collect();
        Self { errors }
    }

    /// What these bytes say.
    #[must_use]
    pub fn read(&self, raw: &[u8]) -> Revert {
        let revert = |kind, text: &str| Revert { kind, text: short_text(text) };
        let Some((selector, arguments)) = raw.split_first_chunk::<4>() else {
            return if raw.is_empty() {
                revert(RevertKind::Empty, "no reason given (out of gas, or a bare revert)")
            } else {
                revert(RevertKind::Malformed, &format!("no error: {}", hex::encode_prefixed(raw)))
            };
        };
        let Some(error) = self.errors.get(selector) else {
            let text = format!("an error that no ABI knows: {}", hex::encode_prefixed(selector));
            return revert(RevertKind::Unknown, &text);
        };
        let Ok(values) = error.abi_decode_input(arguments) else {
            let text = format!("{} with arguments that do not decode", error.name);
            return revert(RevertKind::Malformed, &text);
        };
        let kind = match (error.name.as_str(), values.as_slice()) {
            ("Error", [DynSolValue::String(_)]) => RevertKind::Message,
            ("Panic", [DynSolValue::Uint(..)]) => RevertKind::Panic,
            (name, _) => RevertKind::Custom(name.chars().take(NAME_MAX_CHARS).collect()),
        };
        revert(kind, &text(error, &values))
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

/// A text that others wrote, as it is shown on screens and kept in `jsonb`: [`REVERT_TEXT_MAX_CHARS`] at most and an ellipsis, without control characters.
#[must_use]
pub fn short_text(text: &str) -> String {
    let clean = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let mut short: String = text.chars().take(REVERT_TEXT_MAX_CHARS).map(clean).collect();
    if text.chars().nth(REVERT_TEXT_MAX_CHARS).is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use alloy_json_abi::JsonAbi;
    use alloy_primitives::{Address, U256};
    use uuid::Uuid;

    use super::*;
    use crate::abi::Contract;

    fn reverts() -> Reverts {
        let abi = JsonAbi::parse([
            "error PositionView__StaleVersion(uint64 currentVersion, uint64 nextVersion)",
            "error PositionView__ModuleCacheExpired()",
        ]);
        let contract = Contract::new("PositionView", Address::ZERO, Uuid::nil(), 0, Arc::new(abi.unwrap()));
        Reverts::new(&Contracts::new([contract]))
    }

    fn encoded(error: &str, values: &[DynSolValue]) -> Vec<u8> {
        Error::parse(error).unwrap().abi_encode_input(values).unwrap()
    }

    fn uint(value: u64, bits: usize) -> DynSolValue {
        DynSolValue::Uint(U256::from(value), bits)
    }

    #[test]
    fn each_way_to_fail_has_its_code_and_says_what_happened() {
        let stale = "error PositionView__StaleVersion(uint64 a, uint64 b)";
        let cases: Vec<(Vec<u8>, &str, &str)> = vec![
            (
                encoded(stale, &[uint(3, 64), uint(9, 64)]),
                "PositionView__StaleVersion",
                "PositionView__StaleVersion(currentVersion: 3, nextVersion: 9)",
            ),
            (
                encoded("error PositionView__ModuleCacheExpired()", &[]),
                "PositionView__ModuleCacheExpired",
                "PositionView__ModuleCacheExpired()",
            ),
            (encoded("error StaleVersion()", &[]), "StaleVersion", "StaleVersion()"),
            (encoded("error Error(string s)", &[DynSolValue::String("paused".into())]), "error", "paused"),
            (
                encoded("error Panic(uint256 c)", &[uint(0x11, 256)]),
                "panic",
                "panic 0x11: arithmetic overflow or underflow",
            ),
            (encoded("error Panic(uint256 c)", &[uint(0x99, 256)]), "panic", "panic 0x99: unknown code"),
            (vec![], "empty", "no reason given (out of gas, or a bare revert)"),
            (vec![1, 2], "malformed", "no error: 0x0102"),
            (vec![0xde, 0xad, 0xbe, 0xef, 1], "unknown_error", "an error that no ABI knows: 0xdeadbeef"),
            (vec![0x08, 0xc3, 0x79, 0xa0, 1], "malformed", "Error with arguments that do not decode"),
        ];
        let reverts = reverts();
        for (raw, code, text) in cases {
            let revert = reverts.read(&raw);
            assert_eq!((revert.code().as_ref(), revert.text.as_str()), (code, text));
        }
    }

    #[test]
    fn a_text_is_kept_short_and_without_control_characters() {
        let message = format!("\0\u{1b}[31m{}", "长".repeat(1000));
        let revert = reverts().read(&encoded("error Error(string s)", &[DynSolValue::String(message)]));
        assert_eq!(revert.text.chars().count(), REVERT_TEXT_MAX_CHARS + 1);
        assert!(revert.text.starts_with("\u{fffd}\u{fffd}[31m长") && revert.text.ends_with("长…"));
    }
}
