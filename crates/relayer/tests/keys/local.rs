//! A key in memory.

use alloy_primitives::{Address, U256, address, uint};
use plimsoll_relayer::keys::{Key as _, KeyError, LocalKey, Secret, keystore, verified};
use secrecy::SecretString;

use crate::suite::{EIP_155, SECRET, conforms, eip_1559, tells_no_secret};

/// Of EIP-155's example.
const ADDRESS: Address = address!("0x9d8A62f656a8d1615C1294fd71e9CFb3E4855A4F");

fn key() -> LocalKey {
    LocalKey::new(Secret::new(&SECRET).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_in_memory_conforms() {
    conforms(&key(), ADDRESS).await;
}

#[tokio::test]
async fn a_key_in_memory_conforms_on_a_runtime_of_one_thread() {
    conforms(&key(), ADDRESS).await;
}

#[tokio::test]
async fn eip_155s_example_is_signed_as_it_stands_there() {
    let signature = key().sign(&EIP_155).await.unwrap();
    let r: U256 = uint!(0x28ef61340bd939bc2195fe537567866003e1a15d3c71ff63e1590620aa636276_U256);
    let s: U256 = uint!(0x67cbe9d8997f761aecb703304b3800ccf555c9f3dc64214b297fb1966a3b6d83_U256);
    assert_eq!((signature.r(), signature.s(), signature.v()), (r, s, false));
}

#[test]
fn zero_and_what_is_not_below_the_order_are_no_keys() {
    assert!(Secret::new(&[0; 32]).is_none());
    assert!(Secret::new(&[0xff; 32]).is_none());
}

#[test]
fn a_new_key_is_another_each_time() {
    assert_ne!(Secret::random().address(), Secret::random().address());
}

#[tokio::test]
async fn a_signature_of_another_key_or_payload_or_with_the_high_s_is_not_verified() {
    let payload = eip_1559(0);
    let signature = key().sign(&payload).await.unwrap();
    let stranger = Address::repeat_byte(1);
    let found = verified(stranger, &payload, signature).unwrap_err();
    assert_eq!(found, KeyError::OtherKey { expected: stranger, found: ADDRESS });
    assert!(matches!(verified(ADDRESS, &eip_1559(1), signature), Err(KeyError::OtherKey { .. })));
    assert!(matches!(
        verified(ADDRESS, &payload, signature.with_parity(!signature.v())),
        Err(KeyError::OtherKey { .. })
    ));
    let order = uint!(0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141_U256);
    let high = alloy_primitives::Signature::new(signature.r(), order - signature.s(), !signature.v());
    let zero = alloy_primitives::Signature::new(U256::ZERO, U256::ZERO, false);
    for (what, bad) in [("high", high), ("zero", zero)] {
        let error = verified(ADDRESS, &payload, bad).unwrap_err();
        assert!(matches!(error, KeyError::Garbled { .. }), "{what}: {error}");
        assert!(!error.may_pass());
    }
}

#[tokio::test]
async fn a_keystore_is_written_and_opened_and_conforms() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key.json");
    let password = SecretString::from("hunter2");
    std::fs::write(&path, keystore::encrypt(&Secret::new(&SECRET).unwrap(), &password)).unwrap();
    let key = LocalKey::open(&path, &password, ADDRESS).unwrap();
    conforms(&key, ADDRESS).await;

    let wrong = LocalKey::open(&path, &"hunter3".into(), ADDRESS).unwrap_err();
    let elsewhere = LocalKey::open(&path, &password, Address::ZERO).unwrap_err();
    let missing = LocalKey::open(&dir.path().join("none.json"), &password, ADDRESS).unwrap_err();
    // Without the word of whose it is, only opening it tells.
    let text = std::fs::read_to_string(&path).unwrap().replacen("\"address\"", "\"owner\"", 1);
    std::fs::write(&path, text).unwrap();
    let opened = LocalKey::open(&path, &password, Address::ZERO).unwrap_err();
    for (error, expected) in [
        (wrong, "does not open with this password"),
        (
            elsewhere,
            "holds 0x9d8A62f656a8d1615C1294fd71e9CFb3E4855A4F, and the signer is 0x0000000000000000000000000000000000000000",
        ),
        (
            opened,
            "holds 0x9d8A62f656a8d1615C1294fd71e9CFb3E4855A4F, and the signer is 0x0000000000000000000000000000000000000000",
        ),
        (missing, "cannot be read"),
    ] {
        let said = error.to_string();
        assert!(said.contains(expected) && said.contains(&dir.path().display().to_string()), "{said}");
        assert!(error.remedy().len() > 10);
        tells_no_secret(&format!("{said} {error:?}"));
    }
}
