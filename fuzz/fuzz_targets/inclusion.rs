//! A proof of inclusion that a stranger gives: nothing panics, and a proof is of one value.

#![no_main]

use alloy_primitives::keccak256;
use libfuzzer_sys::fuzz_target;
use plimsoll_proof::Inclusion;

fuzz_target!(|data: &[u8]| {
    let Ok(mut proof) = serde_json::from_slice::<Inclusion>(data) else { return };
    // Whoever made the nodes made the root: the first step is always right.
    let root = proof.nodes.first().map(keccak256).unwrap_or_default();
    if proof.verify(root).is_ok() {
        proof.value = [proof.value.as_ref(), &[0]].concat().into();
        assert!(proof.verify(root).is_err(), "two values at one place");
    }
});
