//! Keystores of others open, ours open elsewhere, and what is wrong with one is said.

use alloy_primitives::address;
use serde_json::{Value, json};

use super::*;

/// The vectors of the definition, and two keys that lost their zeros in front (go-ethereum, `accounts/keystore/testdata/v3_test_vector.json`).
const SCRYPT: &str = r#"{"crypto":{"cipher":"aes-128-ctr","cipherparams":{"iv":"83dbcc02d8ccb40e466191a123791e0e"},"ciphertext":"d172bf743a674da9cdad04534d56926ef8358534d458fffccd4e6ad2fbde479c","kdf":"scrypt","kdfparams":{"dklen":32,"n":262144,"r":1,"p":8,"salt":"ab0c7876052600dd703518d6fc3fe8984592145b591fc8fb5c6d43190334ba19"},"mac":"2103ac29920d71da29f15d75b4a16dbe95cfd7ff8faea1056c33131d846e3097"},"id":"3198bc9c-6672-5ab3-d995-4942343ae5b6","version":3}"#;
const PBKDF2: &str = r#"{"crypto":{"cipher":"aes-128-ctr","cipherparams":{"iv":"6087dab2f9fdbbfaddc31a909735c1e6"},"ciphertext":"5318b4d5bcd28de64ee5559e671353e16f075ecae9f99c7a79a38af5f869aa46","kdf":"pbkdf2","kdfparams":{"c":262144,"dklen":32,"prf":"hmac-sha256","salt":"ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd"},"mac":"517ead924a9d0dc3124507e3393d175ce3ff7c1e96529c6c555ce9e51205e9b2"},"id":"3198bc9c-6672-5ab3-d995-4942343ae5b6","version":3}"#;
const OF_31_BYTES: &str = r#"{"crypto":{"cipher":"aes-128-ctr","cipherparams":{"iv":"e0c41130a323adc1446fc82f724bca2f"},"ciphertext":"9517cd5bdbe69076f9bf5057248c6c050141e970efa36ce53692d5d59a3984","kdf":"scrypt","kdfparams":{"dklen":32,"n":2,"r":8,"p":1,"salt":"711f816911c92d649fb4c84b047915679933555030b3552c1212609b38208c63"},"mac":"d5e116151c6aa71470e67a7d42c9620c75c4d23229847dcc127794f0732b0db5"},"id":"fecfc4ce-e956-48fd-953b-30f8b52ed66c","version":3}"#;
const OF_30_BYTES: &str = r#"{"crypto":{"cipher":"aes-128-ctr","cipherparams":{"iv":"3ca92af36ad7c2cd92454c59cea5ef00"},"ciphertext":"108b7d34f3442fc26ab1ab90ca91476ba6bfa8c00975a49ef9051dc675aa","kdf":"scrypt","kdfparams":{"dklen":32,"n":2,"r":8,"p":1,"salt":"d0769e608fb86cda848065642a9c6fa046845c928175662b8e356c77f914cd3b"},"mac":"75d0e6759f7b3cefa319c3be41680ab6beea7d8328653474bd06706d4cc67420"},"id":"a37e1559-5955-450d-8075-7b8931b392b2","version":3}"#;
const KEY: &str = "7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d";
const ADDRESS: Address = address!("0x008aeeda4d805471df9b2a5b0f38a0c3bcba786b");

fn password(text: &str) -> SecretString {
    text.to_owned().into()
}

fn decrypt(text: &str, password: &SecretString, expected: Option<Address>) -> Result<Secret, Problem> {
    Sealed::read(text, expected)?.open(password)
}

/// The small one of the vectors, as JSON, with something changed.
fn changed(change: impl FnOnce(&mut Value)) -> String {
    let mut json: Value = serde_json::from_str(OF_31_BYTES).unwrap();
    change(&mut json);
    json.to_string()
}

fn refused(text: &str, given: &str) -> Problem {
    decrypt(text, &password(given), Some(ADDRESS)).expect_err("it opened")
}

#[test]
fn the_vectors_of_the_definition_open() {
    for (text, given, key) in [
        (SCRYPT, "testpassword", KEY),
        (PBKDF2, "testpassword", KEY),
        (OF_31_BYTES, "foo", "00fa7b3db73dc7dfdf8c5fbdb796d741e4488628c41fc4febd9160a866ba0f35"),
        (OF_30_BYTES, "foo", "000081c29e8142bb6a81bef5a92bda7a8328a5c85bb2f9542e76f9b0f94fc018"),
    ] {
        let secret =
            decrypt(text, &password(given), None).unwrap_or_else(|problem| panic!("{problem}: {text}"));
        assert_eq!(hex::encode(secret.bytes()), key);
    }
    // As geth capitalised it once.
    let old = OF_31_BYTES.replace("\"crypto\"", "\"Crypto\"");
    assert!(decrypt(&old, &password("foo"), None).is_ok());
}

#[test]
fn a_new_keystore_opens_with_its_password_alone_and_is_another_each_time() {
    let secret = Secret::new(&hex::decode(KEY).unwrap().try_into().unwrap()).unwrap();
    let cheap = Scrypt { dklen: 32, n: 16, r: 8, p: 1 };
    let written = [(); 2].map(|()| encrypt_at(&secret, &password("sesame"), cheap));
    for text in &written {
        assert!(!text.contains(KEY) && !text.contains("sesame"), "{text}");
        let opened = decrypt(text, &password("sesame"), Some(ADDRESS)).unwrap();
        assert_eq!(opened.bytes(), secret.bytes());
        assert!(matches!(refused(text, "sesam"), Problem::Password));
    }
    let parts = written.map(|text| {
        let json: Value = serde_json::from_str(&text).unwrap();
        ["/id", "/crypto/ciphertext", "/crypto/cipherparams/iv", "/crypto/kdfparams/salt"]
            .map(|path| json.pointer(path).unwrap().clone())
    });
    assert!(std::iter::zip(&parts[0], &parts[1]).all(|(one, other)| one != other), "{parts:?}");
}

#[test]
fn a_wrong_password_and_an_altered_file_are_told_before_anything_is_decrypted() {
    assert!(matches!(refused(OF_31_BYTES, "bar"), Problem::Password));
    let altered = changed(|json| json["crypto"]["ciphertext"] = "00".repeat(31).into());
    assert!(matches!(refused(&altered, "foo"), Problem::Password));
    let cut = changed(|json| json["crypto"]["mac"] = "d5e1".into());
    assert!(matches!(refused(&cut, "foo"), Problem::Password));
}

#[test]
fn what_is_unknown_is_named() {
    type Change = fn(&mut Value);
    let cases: [(Change, &str); 4] = [
        (|json| json["crypto"]["cipher"] = "aes-128-cbc".into(), "the cipher \"aes-128-cbc\""),
        (|json| json["crypto"]["kdf"] = "argon2id".into(), "the key derivation \"argon2id\""),
        (
            |json| {
                json["crypto"]["kdf"] = "pbkdf2".into();
                json["crypto"]["kdfparams"] = json!({"c": 1, "dklen": 32, "prf": "hmac-sha1", "salt": ""});
            },
            "the pseudorandom function \"hmac-sha1\"",
        ),
        (|json| json["version"] = 4.into(), "version 4"),
    ];
    for (change, expected) in cases {
        let said = refused(&changed(change), "foo").to_string();
        assert!(said.contains(expected), "{said}");
    }
}

/// None of these reserves anything: the largest would be 128 exabytes.
#[test]
fn a_derivation_that_would_cost_too_much_is_not_begun() {
    let scrypt = |n: u64, r: u32, p: u32| {
        changed(|json| {
            json["crypto"]["kdfparams"] = json!({"dklen": 32, "n": n, "r": r, "p": p, "salt": "00"});
        })
    };
    for (n, r, p) in [
        (1 << 20, 8, 1),
        (1 << 40, 1, 1),
        (1 << 63, u32::MAX, u32::MAX),
        (2, u32::MAX, 1),
        (2, 8, 17),
        (2, 8, u32::MAX),
    ] {
        let problem = refused(&scrypt(n, r, p), "foo");
        assert!(matches!(problem, Problem::Costly(_)), "{n} {r} {p}: {problem}");
    }
    for (n, r, p) in [(0, 8, 1), (1, 8, 1), (3, 8, 1), (2, 0, 1), (2, 8, 0)] {
        let problem = refused(&scrypt(n, r, p), "foo");
        assert!(matches!(problem, Problem::Malformed(_)), "{n} {r} {p}: {problem}");
    }
    let pbkdf2 = |c: u32, dklen: u64| {
        changed(|json| {
            json["crypto"]["kdf"] = "pbkdf2".into();
            json["crypto"]["kdfparams"] = json!({"c": c, "dklen": dklen, "prf": "hmac-sha256", "salt": "00"});
        })
    };
    assert!(matches!(refused(&pbkdf2(u32::MAX, 32), "foo"), Problem::Costly(_)));
    assert!(matches!(refused(&pbkdf2(0, 32), "foo"), Problem::Malformed(_)));
    assert!(matches!(refused(&pbkdf2(1, u64::MAX), "foo"), Problem::Malformed(_)));
    assert!(matches!(refused(&pbkdf2(1, 32), "foo"), Problem::Password), "what costs little is tried");
}

#[test]
fn what_is_no_keystore_is_said_without_repeating_it() {
    for text in
        [KEY, &format!("\"{KEY}\""), &format!("0x{KEY}"), &format!("{{\"version\": \"{KEY}\"}}"), "", "{}"]
    {
        let said = refused(text, "foo").to_string();
        assert!(said.starts_with("is no keystore: line ") && !said.contains(&KEY[..8]), "{said}");
    }
    for (path, value) in [
        ("/crypto/cipherparams/iv", json!("00")),
        ("/crypto/ciphertext", json!("")),
        ("/crypto/ciphertext", json!("00".repeat(33))),
        ("/crypto/ciphertext", json!("zz")),
        ("/crypto/mac", json!("zz")),
        ("/crypto/kdfparams/salt", json!("zz")),
        ("/crypto/kdfparams/n", json!("2")),
    ] {
        let text = changed(|json| *json.pointer_mut(path).unwrap() = value);
        let problem = refused(&text, "foo");
        assert!(matches!(problem, Problem::Malformed(_)), "{path}: {problem}");
    }
}

#[test]
fn a_file_that_says_whose_it_is_and_is_not_ours_is_refused_before_the_password_is_tried() {
    let of = |address: &str| changed(|json| json["address"] = address.into());
    let said = refused(&of("1111111111111111111111111111111111111111"), "wrong").to_string();
    assert!(
        said.contains("0x1111111111111111111111111111111111111111") && said.contains(&ADDRESS.to_string()),
        "{said}"
    );
    assert!(matches!(refused(&of(&ADDRESS.to_string()), "wrong"), Problem::Password));
    assert!(matches!(refused(&of("0x11"), "wrong"), Problem::Malformed(_)));
}
