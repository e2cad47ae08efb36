//! What a node says of an account, and the way to it: nothing panics, and a way leads to one truth.

#![no_main]

use alloy_primitives::{Address, Bytes, keccak256};
use libfuzzer_sys::fuzz_target;
use plimsoll_proof::{Account, ReportedAccount};
use serde_json::{Value, json};

fn verify(told: &Value) -> Option<Account> {
    let address: Address = serde_json::from_value(told.get("address")?.clone()).ok()?;
    let nodes: Vec<Bytes> = serde_json::from_value(told.get("accountProof")?.clone()).ok()?;
    // Whoever made the nodes made the root: the first step is always right.
    let root = keccak256(nodes.first()?);
    // From the text, as a node's answer comes.
    let reported: ReportedAccount = serde_json::from_str(&told.to_string()).ok()?;
    reported.verify(address, root).ok()
}

fuzz_target!(|data: &[u8]| {
    let Ok(mut told) = serde_json::from_slice::<Value>(data) else { return };
    let Some(account) = verify(&told) else { return };
    told["nonce"] = json!(format!("{:#x}", account.nonce ^ 1));
    assert!(verify(&told).is_none(), "two nonces of one account");
});
