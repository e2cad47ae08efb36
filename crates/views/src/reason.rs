//! Revert data, as a code and a short text.
//!
//! A code has to be one of few (it is a metric's label and what a retry decides by); the text is for people, as [`Reverts`] reads it.

use plimsoll_chain::abi::Contracts;
use plimsoll_chain::{Revert, RevertKind, Reverts};

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

/// Custom errors that mean something to the fold, by the name after a module's prefix (`PositionView__StaleVersion`).
const CODES: &[(&str, &str)] =
    &[("StaleVersion", STALE_VERSION), ("OutOfOrderSeq", OUT_OF_ORDER_SEQ), ("InvalidDelta", INVALID_DELTA)];

/// What revert data says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reason {
    pub(crate) code: &'static str,
    pub(crate) text: String,
}

/// The errors that can be read.
#[derive(Clone, Debug)]
pub(crate) struct Reasons(Reverts);

impl Reasons {
    pub(crate) fn new(contracts: &Contracts) -> Self {
        Self(Reverts::new(contracts))
    }

    pub(crate) fn read(&self, raw: &[u8]) -> Reason {
        let Revert { kind, text } = self.0.read(raw);
        let code = match &kind {
            RevertKind::Custom(name) => {
                let base = name.rsplit("__").next().unwrap_or(name);
                CODES.iter().find(|(known, _)| *known == base).map(|(_, code)| *code)
            }
            _ => None,
        };
        Reason { code: code.unwrap_or(CACHE_UPDATE_FAILED), text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use alloy_dyn_abi::{DynSolValue, JsonAbiExt};
    use alloy_json_abi::{Error, JsonAbi};
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
}
