//! Made-up transactions of every signed type, signed by keys that are known.

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use k256::ecdsa::{SigningKey, signature::hazmat::PrehashSigner};
use plimsoll_proof::{
    AccessListItem, Authorization, Finding, Inclusion, ReceiptsFault, ReportedReceipt, SenderFault,
    Transaction, TransactionsFault, Unencodable,
};
use proptest::prelude::*;

use crate::made;

fn key(seed: u8) -> (SigningKey, Address) {
    let key = SigningKey::from_slice(keccak256([seed]).as_slice()).unwrap();
    let point = key.verifying_key().to_encoded_point(false);
    let address = Address::from_raw_public_key(&point.as_bytes()[1..]);
    (key, address)
}

/// A transaction of the type with everything that the type may have. `protected`: of type 0, for this chain (EIP-155).
fn unsigned(tx_type: u8, seed: u8) -> Transaction {
    let word = keccak256([seed, tx_type]);
    Transaction {
        tx_type,
        nonce: seed.into(),
        gas: 21_000 + u64::from(seed),
        value: U256::from_be_bytes(word.0) >> usize::from(seed),
        input: Bytes::copy_from_slice(&word[..usize::from(seed % 32)]),
        to: (!seed.is_multiple_of(3)).then(|| Address::repeat_byte(seed)),
        chain_id: Some(U256::from(31_337)),
        gas_price: Some(U256::from(seed)),
        max_fee_per_gas: Some(U256::from(seed) << 40),
        max_priority_fee_per_gas: Some(U256::from(seed)),
        max_fee_per_blob_gas: Some(U256::from(1)),
        blob_versioned_hashes: vec![word; 2],
        access_list: vec![AccessListItem { address: Address::repeat_byte(1), storage_keys: vec![word] }],
        authorization_list: vec![Authorization {
            chain_id: U256::ZERO,
            address: Address::repeat_byte(2),
            nonce: 1,
            y_parity: U256::ONE,
            r: U256::from(3),
            s: U256::from(4),
        }],
        ..Transaction::default()
    }
}

/// Signs it: the signing hash is that of a transaction without signature, cut out of the encoding by hand.
fn signed(tx_type: u8, seed: u8, protected: bool) -> Transaction {
    let (key, address) = key(seed);
    let mut transaction = unsigned(tx_type, seed);
    transaction.from = address;
    // With an empty signature the encoding ends in three empty strings. What is signed has none of them, or for EIP-155 the chain
    // and two.
    transaction.v = Some(if tx_type == 0 && protected { U256::from(31_337) } else { U256::ZERO });
    transaction.y_parity = (tx_type != 0).then_some(U256::ZERO);
    transaction.r = Some(U256::ZERO);
    transaction.s = Some(U256::ZERO);
    let bytes = transaction.encode().unwrap();
    let hash = if tx_type == 0 && protected { keccak256(&bytes) } else { without_signature(&bytes, tx_type) };
    let (signature, id): (k256::ecdsa::Signature, k256::ecdsa::RecoveryId) =
        key.sign_prehash(hash.as_slice()).unwrap();
    let parity = U256::from(u8::from(id.is_y_odd()));
    transaction.r = Some(U256::from_be_slice(&signature.r().to_bytes()));
    transaction.s = Some(U256::from_be_slice(&signature.s().to_bytes()));
    transaction.y_parity = (tx_type != 0).then_some(parity);
    transaction.v = Some(match (tx_type, protected) {
        (0, true) => U256::from(31_337 * 2 + 35) + parity,
        (0, false) => U256::from(27) + parity,
        _ => parity,
    });
    transaction.hash = transaction.compute_hash().unwrap();
    transaction
}

/// The hash of an encoding with its last three members, empty strings, taken away.
fn without_signature(bytes: &[u8], tx_type: u8) -> B256 {
    let list = if tx_type == 0 { bytes } else { &bytes[1..] };
    let mut rest = list;
    let head = alloy_rlp::Header::decode(&mut rest).unwrap();
    let payload = &rest[..head.payload_length - 3];
    let mut out = if tx_type == 0 { Vec::new() } else { vec![tx_type] };
    alloy_rlp::Header { list: true, payload_length: payload.len() }.encode(&mut out);
    out.extend(payload);
    keccak256(out)
}

/// One field of a transaction, altered.
type Alteration = fn(&mut Transaction);

/// Each with the types that have it.
const ALTERATIONS: &[(&str, &[u8], Alteration)] = &[
    ("nonce", &[0, 1, 2, 3, 4], |tx| tx.nonce += 1),
    ("gas", &[0, 1, 2, 3, 4], |tx| tx.gas += 1),
    ("value", &[0, 1, 2, 3, 4], |tx| tx.value ^= U256::ONE),
    ("input", &[0, 1, 2, 3, 4], |tx| tx.input = [tx.input.as_ref(), &[1]].concat().into()),
    ("to", &[0, 1, 2, 3, 4], |tx| tx.to = tx.to.map_or(Some(Address::ZERO), |_| None)),
    ("gasPrice", &[0, 1], |tx| tx.gas_price = Some(U256::MAX)),
    ("chainId", &[1, 2, 3, 4], |tx| tx.chain_id = Some(U256::MAX)),
    ("accessList", &[1, 2, 3, 4], |tx| tx.access_list[0].storage_keys.clear()),
    ("maxFeePerGas", &[2, 3, 4], |tx| tx.max_fee_per_gas = Some(U256::MAX)),
    ("maxPriorityFeePerGas", &[2, 3, 4], |tx| tx.max_priority_fee_per_gas = Some(U256::MAX)),
    ("maxFeePerBlobGas", &[3], |tx| tx.max_fee_per_blob_gas = Some(U256::MAX)),
    ("blobVersionedHashes", &[3], |tx| tx.blob_versioned_hashes.truncate(1)),
    ("authorizationList", &[4], |tx| tx.authorization_list[0].nonce += 1),
    ("type", &[1, 2, 3, 4], |tx| tx.tx_type = 0),
    ("r", &[0, 1, 2, 3, 4], |tx| tx.r = tx.r.map(|r| r ^ U256::ONE)),
    ("s", &[0, 1, 2, 3, 4], |tx| tx.s = tx.s.map(|s| s ^ U256::ONE)),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn who_signed_is_who_sent_and_any_altered_field_has_another_hash(tx_type in 0_u8..=4, seed in 1_u8..250, protected in any::<bool>(), way in 0..ALTERATIONS.len()) {
        let transaction = signed(tx_type, seed, protected);
        prop_assert_eq!(transaction.check_sender(), Ok(()));
        let header = made::block_of_transactions(std::slice::from_ref(&transaction));
        prop_assert!(header.prove_transactions(vec![transaction.clone()]).is_ok());

        let (name, types, alter) = ALTERATIONS[way];
        let mut altered = transaction.clone();
        alter(&mut altered);
        prop_assume!(types.contains(&tx_type));
        let fault = header.prove_transactions(vec![altered.clone()]).unwrap_err();
        prop_assert!(matches!(fault, TransactionsFault::Hash { index: 0, .. }), "{name}: {fault}");
        prop_assert!(altered.check_sender().is_err(), "{name}");
        // And with a hash to match, the root is another.
        altered.hash = altered.compute_hash().unwrap();
        let fault = header.prove_transactions(vec![altered]).unwrap_err();
        prop_assert!(matches!(fault, TransactionsFault::Root { .. }), "{name}: {fault}");
        prop_assert_eq!(fault.finding(), Finding::Contradiction);
    }
}

#[test]
fn the_high_twin_of_a_signature_has_the_same_sender() {
    let order =
        U256::from_str_radix("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141", 16).unwrap();
    let mut transaction = signed(2, 7, false);
    transaction.s = transaction.s.map(|s| order - s);
    transaction.y_parity = transaction.y_parity.map(|parity| U256::ONE - parity);
    assert_eq!(transaction.check_sender(), Ok(()));
}

#[test]
fn transactions_left_out_moved_or_of_another_block_are_found() {
    let transactions: Vec<Transaction> = (1..=20).map(|seed| signed(seed % 5, seed, true)).collect();
    let header = made::block_of_transactions(&transactions);
    header.prove_transactions(transactions.clone()).unwrap().check_senders().unwrap();

    let mut fewer = transactions.clone();
    fewer.pop();
    let mut moved = transactions.clone();
    moved.swap(3, 4);
    for altered in [fewer, moved] {
        let fault = header.prove_transactions(altered).unwrap_err();
        assert!(matches!(fault, TransactionsFault::Root { .. }), "{fault}");
    }
    let mut claims = transactions.clone();
    claims[5].transaction_index = Some(6);
    let fault = header.prove_transactions(claims).unwrap_err();
    assert_eq!(fault, TransactionsFault::Displaced { index: 5, claimed: 6 });
    let mut claims = transactions;
    claims[5].block_hash = Some(B256::repeat_byte(9));
    let fault = header.prove_transactions(claims).unwrap_err();
    assert_eq!(fault, TransactionsFault::OtherBlock { index: 5, claimed: B256::repeat_byte(9) });
}

#[test]
fn a_proof_is_of_one_transaction_at_one_place() {
    let transactions: Vec<Transaction> = (1..=20).map(|seed| signed(seed % 5, seed, true)).collect();
    let header = made::block_of_transactions(&transactions);
    let proven = header.prove_transactions(transactions).unwrap();
    let proof = proven.inclusion(7).unwrap();
    assert_eq!(header.prove_transaction(&proof), Ok(proven.transactions()[7].hash));
    let other = Inclusion { value: proven.inclusion(8).unwrap().value, ..proof.clone() };
    let moved = Inclusion { index: 8, ..proof };
    for false_proof in [other, moved] {
        assert!(header.prove_transaction(&false_proof).is_err());
    }
    assert_eq!(proven.inclusion(20), None);
}

#[test]
fn receipts_that_name_other_transactions_than_the_block_has_are_refused() {
    let transactions: Vec<Transaction> = (1..=5).map(|seed| signed(2, seed, true)).collect();
    let mut receipts = made::receipts(5);
    for (receipt, transaction) in receipts.iter_mut().zip(&transactions) {
        receipt.tx_hash = transaction.hash;
    }
    let header = made::block_of_transactions(&transactions);
    let proven = header.prove_transactions(transactions.clone()).unwrap();
    let prove = |receipts: Vec<ReportedReceipt>| {
        let (header, receipts) = made::block(receipts);
        header.prove_receipts(receipts).unwrap()
    };
    prove(receipts.clone()).check_transactions(&proven).unwrap();

    receipts[3].tx_hash = B256::ZERO;
    let fault = prove(receipts.clone()).check_transactions(&proven).unwrap_err();
    let (claimed, shown) = (B256::ZERO, transactions[3].hash);
    assert_eq!(fault, ReceiptsFault::TxHash { index: 3, claimed, proven: shown });
    assert_eq!(fault.finding(), Finding::Contradiction);
    receipts.pop();
    receipts[3].tx_hash = shown;
    let fault = prove(receipts).check_transactions(&proven).unwrap_err();
    assert_eq!(fault, ReceiptsFault::Count { receipts: 4, transactions: 5 });
}

#[test]
fn the_internal_transactions_of_arbitrum_are_of_arbos() {
    let arbos = "0x00000000000000000000000000000000000a4b05".parse().unwrap();
    let internal = Transaction { tx_type: 0x6a, from: arbos, ..unsigned(0x6a, 1) };
    assert_eq!(internal.check_sender(), Ok(()));
    let other = Transaction { from: Address::ZERO, ..internal };
    assert_eq!(other.check_sender(), Err(SenderFault::Other { claimed: Address::ZERO, recovered: arbos }));
}

#[test]
fn a_type_that_nobody_knows_or_a_field_that_is_not_there_is_unproven_by_name() {
    let known = signed(2, 1, false);
    let header = made::block_of_transactions(std::slice::from_ref(&known));
    let mut bare = known.clone();
    bare.max_fee_per_gas = None;
    let missing = Unencodable::Missing { tx_type: 2, field: "maxFeePerGas" };
    let of_type = |tx_type| Transaction { tx_type, ..known.clone() };
    for (odd, source, words) in [
        (of_type(0x7e), Unencodable::UnknownType(0x7e), "type 0x7e"),
        (of_type(0x67), Unencodable::UnknownType(0x67), "type 0x67"),
        (of_type(0x78), Unencodable::HashApart(0x78), "classic Arbitrum"),
        (of_type(0x69), Unencodable::Missing { tx_type: 0x69, field: "requestId" }, "submit retryable"),
        (bare, missing, "maxFeePerGas"),
    ] {
        let fault = header.prove_transactions(vec![known.clone(), odd.clone(), odd.clone()]).unwrap_err();
        assert_eq!(fault.finding(), Finding::Unproven);
        assert!(fault.to_string().contains(words), "{fault}");
        assert_eq!(fault, TransactionsFault::Unencodable { transactions: 3, count: 2, first: 1, source });

        let mut liar = known.clone();
        liar.hash = B256::ZERO;
        let fault = header.prove_transactions(vec![odd, liar]).unwrap_err();
        assert_eq!(fault.finding(), Finding::Contradiction, "what can be shown wrong is: {fault}");
    }
}

#[test]
fn what_only_a_development_node_makes_is_unproven() {
    let known = signed(2, 1, false);
    let header = made::block_of_transactions(std::slice::from_ref(&known));
    let mut impersonated = known.clone();
    (impersonated.r, impersonated.s) = (Some(U256::ZERO), Some(U256::ZERO));
    let fault = header.prove_transactions(vec![impersonated.clone()]).unwrap_err();
    let unsigned = Unencodable::Unsigned;
    assert_eq!(
        fault,
        TransactionsFault::Unencodable { transactions: 1, count: 1, first: 0, source: unsigned }
    );
    impersonated.hash = impersonated.compute_hash().unwrap();
    let fault = header.prove_transactions(vec![impersonated]).unwrap_err();
    assert!(matches!(fault, TransactionsFault::Root { .. }), "its hash is right: {fault}");

    let mut with_blobs = signed(3, 1, false);
    with_blobs.has_blobs = true;
    let fault = header.prove_transactions(vec![with_blobs]).unwrap_err();
    assert_eq!(fault.finding(), Finding::Unproven, "{fault}");
}

#[test]
fn a_signature_of_nobody_leaves_the_sender_open() {
    for (r, s) in [(U256::ZERO, U256::ZERO), (U256::MAX, U256::ONE)] {
        let nobody = Transaction { r: Some(r), s: Some(s), ..signed(2, 1, false) };
        assert_eq!(nobody.check_sender(), Err(SenderFault::NoSignature));
    }
    let mut odd = signed(0, 1, false);
    odd.v = Some(U256::from(29));
    assert_eq!(odd.check_sender().unwrap_err().finding(), Finding::Unproven);
}
