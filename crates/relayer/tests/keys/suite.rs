//! What every key promises, judged by an implementation of the curve that none of them uses.

use alloy_primitives::{Address, B256, Bytes, Signature, TxKind, U256, hex, keccak256};
use alloy_rlp::{Encodable as _, RlpEncodable};
use futures::future::join_all;
use k256::ecdsa::{RecoveryId, SigningKey, VerifyingKey};
use plimsoll_relayer::keys::{Key, KeyError, verified};

/// The private key of EIP-155's example.
pub(crate) const SECRET: [u8; 32] = [0x46; 32];
/// The unsigned transaction of EIP-155's example.
pub(crate) const EIP_155: [u8; 45] =
    hex!("ec098504a817c800825208943535353535353535353535353535353535353535880de0b6b3a764000080018080");

#[derive(RlpEncodable)]
struct Eip1559 {
    chain_id: u64,
    nonce: u64,
    max_priority_fee_per_gas: u64,
    max_fee_per_gas: u64,
    gas_limit: u64,
    to: TxKind,
    value: U256,
    data: Bytes,
    access_list: Vec<u8>,
}

/// An unsigned transaction of EIP-1559.
pub(crate) fn eip_1559(nonce: u64) -> Vec<u8> {
    let mut payload = vec![2];
    let transaction = Eip1559 {
        chain_id: 31_337,
        nonce,
        max_priority_fee_per_gas: 1_000_000_000,
        max_fee_per_gas: 2_000_000_000,
        gas_limit: 100_000,
        to: TxKind::Call(Address::repeat_byte(0x35)),
        value: U256::ZERO,
        data: Bytes::from_static(&[0xde, 0xad, 0xbe, 0xef]),
        access_list: Vec::new(),
    };
    transaction.encode(&mut payload);
    // An empty list of bytes is an empty text; an empty access list is an empty list.
    *payload.last_mut().expect("it is not empty") = 0xc0;
    payload
}

pub(crate) fn address_of(key: &SigningKey) -> Address {
    address(key.verifying_key())
}

fn address(key: &VerifyingKey) -> Address {
    Address::from_slice(&keccak256(&key.to_encoded_point(false).as_bytes()[1..])[12..])
}

/// Whose signature of this payload it is, by another implementation.
pub(crate) fn signer_of(payload: &[u8], signature: &Signature) -> Address {
    let bytes = signature.as_bytes();
    let given = k256::ecdsa::Signature::from_slice(&bytes[..64]).expect("two numbers below the order");
    assert!(given.normalize_s().is_none(), "the high s, which no chain takes: {signature}");
    let recovery = RecoveryId::new(signature.v(), false);
    let hash: B256 = keccak256(payload);
    address(&VerifyingKey::recover_from_prehash(hash.as_slice(), &given, recovery).expect("a point"))
}

/// Holds a key against all that is promised of one.
pub(crate) async fn conforms(key: &dyn Key, expected: Address) {
    assert_eq!(key.address(), expected);
    for payload in [EIP_155.to_vec(), eip_1559(7), vec![], vec![0xff; 100_000]] {
        // Whether it is the same signature twice is its own affair.
        for _ in 0..2 {
            let signature = key.sign(&payload).await.unwrap();
            assert_eq!(signer_of(&payload, &signature), expected);
            assert_eq!(verified(expected, &payload, signature), Ok(signature));
        }
    }
    let payloads: Vec<Vec<u8>> = (0..100).map(eip_1559).collect();
    let alone = join_all(payloads.iter().map(|payload| key.sign(payload)));
    let together = key.sign_all(&payloads);
    let few = key.sign_all(&payloads[..3]);
    let (alone, together, few) = tokio::join!(alone, together, few);
    for (signatures, count) in [(alone, 100), (together, 100), (few, 3)] {
        assert_eq!(signatures.len(), count);
        for (payload, signature) in payloads.iter().zip(signatures) {
            assert_eq!(signer_of(payload, &signature.unwrap()), expected, "each in its place");
        }
    }
    assert_eq!(key.sign_all(&[]).await, []);
    tells_no_secret(&format!("{key:?} {key:#?}"));
}

/// Nothing of [`SECRET`], as hexadecimal or as a list of numbers.
pub(crate) fn tells_no_secret(text: &str) {
    for told in ["464646", "70, 70", "70,\n", "hunter2"] {
        assert!(!text.to_lowercase().contains(told), "{told}: {text}");
    }
}

/// The error of a signature that did not come about.
pub(crate) async fn refused(key: &dyn Key) -> KeyError {
    let one = key.sign(&EIP_155).await.unwrap_err();
    let many = key.sign_all(&[EIP_155.to_vec(), eip_1559(0)]).await;
    assert_eq!(many.len(), 2);
    for error in many {
        assert_eq!(error.unwrap_err().may_pass(), one.may_pass());
    }
    tells_no_secret(&format!("{one} {one:?}"));
    one
}
