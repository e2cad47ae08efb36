//! A block's receipts as a node tells them (JSON), or one as the trie holds it: nothing panics, what is read is written the same,
//! and what the root covers cannot be told otherwise.

#![no_main]

use alloy_primitives::keccak256;
use libfuzzer_sys::fuzz_target;
use plimsoll_proof::{Receipt, ReportedReceipt, receipts_root};

/// Classic Arbitrum's type is not written, hence not read back.
const UNWRITTEN: u8 = 0x78;

fn written(receipt: &Receipt) -> Vec<u8> {
    let mut out = Vec::new();
    receipt.encode(&mut out);
    out
}

fuzz_target!(|data: &[u8]| {
    if let Ok(mut receipts) = serde_json::from_slice::<Vec<ReportedReceipt>>(data) {
        let root = receipts_root(&receipts);
        assert_eq!(root == keccak256([0x80]), receipts.is_empty());
        for reported in &receipts {
            let decoded = Receipt::decode(&written(&reported.receipt)).expect("an encoding is read back");
            let tx_type = reported.receipt.tx_type;
            let expected = if tx_type == UNWRITTEN { 0 } else { tx_type };
            assert_eq!(decoded, Receipt { tx_type: expected, ..reported.receipt.clone() });
        }
        if let Some(first) = receipts.first_mut() {
            first.receipt.cumulative_gas_used ^= 1;
            assert_ne!(receipts_root(&receipts), root);
        }
    } else if let Ok(receipt) = Receipt::decode(data) {
        assert_eq!(written(&receipt), data);
    }
});
