//! A block's transactions as a node tells them: nothing panics, and a transaction that can be encoded has one hash.

#![no_main]

use libfuzzer_sys::fuzz_target;
use plimsoll_proof::{Transaction, transactions_root};

fuzz_target!(|data: &[u8]| {
    let Ok(transactions) = serde_json::from_slice::<Vec<Transaction>>(data) else { return };
    let encodable = transactions.iter().all(|transaction| transaction.encode().is_ok());
    assert_eq!(transactions_root(&transactions).is_ok(), encodable);
    for mut transaction in transactions {
        let sender = transaction.recover_sender();
        if let Ok(sender) = sender {
            assert_eq!(transaction.check_sender().is_ok(), sender == transaction.from);
        }
        if let Ok(hash) = transaction.compute_hash() {
            // The last bit of what every type has, or the input where a type has that alone.
            transaction.value ^= alloy_primitives::U256::ONE;
            transaction.input = [transaction.input.as_ref(), &[0]].concat().into();
            if !matches!(transaction.tx_type, 0x69) {
                assert_ne!(transaction.compute_hash(), Ok(hash));
            }
        }
    }
});
