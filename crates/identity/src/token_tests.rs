//! Tokens and the rotation of their keys.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;
use secrecy::ExposeSecret;
use time::macros::datetime;

use super::*;
use crate::keys::{KeyDirectory, KeyError, KeySource, KeyTexts, generate_pem};

const NOW: OffsetDateTime = datetime!(2026-05-01 12:00 UTC);
const TENANT: Uuid = Uuid::from_u128(1);
const USER: Uuid = Uuid::from_u128(2);
const SESSION: Uuid = Uuid::from_u128(3);

fn texts(signing: &SecretString, verifying: &[&SecretString]) -> KeyTexts {
    KeyTexts { signing: signing.clone(), verifying: verifying.iter().map(|&pem| pem.clone()).collect() }
}

fn tokens() -> Tokens {
    Tokens::new(Keys::load(&texts(&generate_pem(), &[])).unwrap(), "https://plimsoll.example", "plimsoll")
}

fn token(tokens: &Tokens) -> String {
    tokens.sign(TENANT, USER, SESSION, NOW).unwrap().0.expose_secret().to_owned()
}

#[test]
fn a_token_is_good_for_its_term() {
    let tokens = tokens();
    let token = token(&tokens);
    let claims = tokens.verify(&token, NOW + ACCESS_TERM).unwrap();
    assert_eq!((claims.tid, claims.sub, claims.sid), (TENANT, USER, SESSION));
    let skew = Duration::from_secs(5);
    assert_eq!(tokens.verify(&token, NOW + ACCESS_TERM + skew).unwrap_err(), TokenError::Expired);
    assert!(tokens.verify(&token, NOW - skew).is_ok());
    assert_eq!(
        tokens.verify(&token, NOW - skew - Duration::from_secs(1)).unwrap_err(),
        TokenError::IssuedInFuture
    );
}

#[test]
fn keys_rotate_without_a_moment_in_which_a_good_token_is_refused() {
    let (old, new) = (generate_pem(), generate_pem());
    let here = Keys::load(&texts(&old, &[])).unwrap();
    let there = Keys::load(&texts(&old, &[])).unwrap();
    let both = [&here, &there].map(|keys| Tokens::new(keys.clone(), "i", "a"));
    let all_good = |made: &[String]| {
        made.iter().all(|token| both.iter().all(|tokens| tokens.verify(token, NOW).is_ok()))
    };
    let mut made = Vec::new();
    // The processes reload one after the other; whoever signs in between is understood by the other.
    for step in [texts(&old, &[&new]), texts(&new, &[&old])] {
        for keys in [&here, &there] {
            keys.reload(&step).unwrap();
            made.extend(both.iter().map(token));
            assert!(all_good(&made));
        }
    }
    here.reload(&texts(&new, &[])).unwrap();
    assert_eq!(both[0].verify(&made[0], NOW).unwrap_err(), TokenError::UnknownKey);
    assert!(both[0].verify(made.last().unwrap(), NOW).is_ok());
    assert_eq!(here.current().jwk_set()["keys"].as_array().unwrap().len(), 1);
}

#[test]
fn a_token_of_another_server_is_refused_even_with_the_same_key() {
    let pem = generate_pem();
    let keys = || Keys::load(&texts(&pem, &[])).unwrap();
    let ours = Tokens::new(keys(), "us", "here");
    for other in [Tokens::new(keys(), "them", "here"), Tokens::new(keys(), "us", "there")] {
        assert_eq!(ours.verify(&token(&other), NOW).unwrap_err(), TokenError::NotForUs);
    }
}

#[test]
fn a_forged_header_or_body_is_refused() {
    let tokens = tokens();
    let good = token(&tokens);
    let parts: Vec<&str> = good.split('.').collect();
    let key_id = tokens.keys().current().signing_id().to_owned();
    let encode = |json: String| URL_SAFE_NO_PAD.encode(json);
    let header =
        |alg: &str, typ: &str, kid: &str| encode(format!(r#"{{"alg":"{alg}","typ":"{typ}","kid":"{kid}"}}"#));
    let body = String::from_utf8(URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
    let other_user = encode(body.replace(&USER.to_string(), &Uuid::from_u128(9).to_string()));
    for (forged, error) in [
        (format!("{}.{}.", header("none", "at+jwt", &key_id), parts[1]), TokenError::Malformed),
        (format!("{}.{}.{}", header("HS256", "at+jwt", &key_id), parts[1], parts[2]), TokenError::Malformed),
        (format!("{}.{}.{}", header("EdDSA", "JWT", &key_id), parts[1], parts[2]), TokenError::Malformed),
        (
            format!("{}.{}.{}", header("EdDSA", "at+jwt", "0000000000000000"), parts[1], parts[2]),
            TokenError::UnknownKey,
        ),
        (format!("{}.{}.{}", parts[0], other_user, parts[2]), TokenError::BadSignature),
        (token(&self::tokens()), TokenError::UnknownKey),
        (String::new(), TokenError::Malformed),
        ("..".to_owned(), TokenError::Malformed),
        (format!("{good}{}", "A".repeat(MAX_TOKEN_BYTES)), TokenError::Malformed),
    ] {
        assert_eq!(tokens.verify(&forged, NOW).unwrap_err(), error, "{forged}");
    }
}

#[test]
fn a_directory_of_keys_signs_with_one_and_verifies_with_all() {
    use std::os::unix::fs::PermissionsExt;

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(crate::keys::SIGNING_FILE);
    let write = |path: &std::path::Path, text: &str, mode: u32| {
        std::fs::write(path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let source = KeyDirectory(dir.path().to_owned());
    assert!(matches!(source.load(), Err(KeyError::Read { .. })));
    write(&path, generate_pem().expose_secret(), 0o644);
    assert!(matches!(source.load(), Err(KeyError::WorldReadable(_))));
    write(&path, generate_pem().expose_secret(), 0o600);
    write(&dir.path().join("next.pem"), generate_pem().expose_secret(), 0o600);
    // The example of RFC 8410 §10.1.
    let public = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";
    write(&dir.path().join("previous.pem"), public, 0o644);
    write(&dir.path().join("notes.txt"), "not a key", 0o644);
    let ring = source.load().unwrap();
    assert_eq!(ring.jwk_set()["keys"].as_array().unwrap().len(), 3);
    write(&path, public, 0o644);
    assert!(matches!(source.load(), Err(KeyError::NotPrivate(_))));
    write(&path, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", 0o600);
    assert!(matches!(source.load(), Err(KeyError::NotAKey(_))));
}

#[test]
fn no_key_shows_itself() {
    let pem = generate_pem();
    let keys = Keys::load(&texts(&pem, &[&pem])).unwrap();
    let body = pem.expose_secret().lines().nth(1).unwrap().to_owned();
    let shown = format!("{:?} {:?} {pem:?}", Tokens::new(keys, "i", "a"), texts(&pem, &[&pem]));
    assert!(!shown.contains(&body[24..]), "{shown}");
}

proptest! {
    #[test]
    fn no_text_is_a_token_or_makes_the_reader_panic(text in "\\PC{0,300}|[A-Za-z0-9_.-]{0,300}") {
        prop_assert!(tokens().verify(&text, NOW).is_err());
    }
}
