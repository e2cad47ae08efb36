//! A header as a node tells it (JSON), or as consensus encodes it: nothing panics, and what is read is written the same.

#![no_main]

use alloy_primitives::keccak256;
use libfuzzer_sys::fuzz_target;
use plimsoll_proof::{Header, ProvenHeader};

fuzz_target!(|data: &[u8]| {
    if let Ok(header) = serde_json::from_slice::<Header>(data) {
        if let Ok(bytes) = header.encode() {
            let decoded = ProvenHeader::decode(&bytes).expect("an encoding is read back").into_inner();
            let (hash, unknown_fields) = (decoded.hash, header.unknown_fields.clone());
            assert_eq!(hash, keccak256(&bytes));
            assert_eq!(decoded, Header { hash, unknown_fields: Vec::new(), ..header.clone() });
            assert_eq!(header.hash == hash, header.prove().is_ok(), "{unknown_fields:?}");
        }
    } else if let Ok(proven) = ProvenHeader::decode(data) {
        assert_eq!(proven.encode().as_deref(), Ok(data));
    }
});
