use jsonwebtoken::EncodingKey;
use serde_json::{Value, json};
use time::macros::datetime;

use super::*;
use crate::keys::{KeyTexts, Keys, generate_pem};

const NOW: OffsetDateTime = datetime!(2026-05-01 12:00 UTC);
const NONCE: &str = "n-0S6_WzA2Mj";

struct Signer {
    keys: Keys,
}

impl Signer {
    fn new() -> Self {
        Self { keys: Keys::load(&KeyTexts { signing: generate_pem(), verifying: vec![] }).unwrap() }
    }

    fn sign(&self, header: &Header, claims: &Value) -> String {
        jsonwebtoken::encode(header, claims, self.keys.current().signing()).unwrap()
    }

    /// What is said of an otherwise good token with these changes.
    fn judge(&self, changes: &Value) -> Result<Claims, IdTokenError> {
        let token = self.sign(&Header::new(Algorithm::EdDSA), &claims(changes));
        self.verify(&token)
    }

    fn verify(&self, token: &str) -> Result<Claims, IdTokenError> {
        let header = header(token)?;
        let ring = self.keys.current();
        let expected = Expected {
            issuer: "https://login.example.com",
            client_id: "plimsoll",
            nonce_hash: &secret::sha256(NONCE.as_bytes()),
            now: NOW,
        };
        verify(token, header.alg, ring.verifying(ring.signing_id()).unwrap(), &expected)
    }
}

/// `null` takes a claim away.
fn claims(changes: &Value) -> Value {
    let mut claims = json!({
        "iss": "https://login.example.com", "sub": "ada", "aud": "plimsoll", "nonce": NONCE,
        "iat": NOW.unix_timestamp(), "exp": NOW.unix_timestamp() + 300, "auth_time": NOW.unix_timestamp() - 10,
    });
    let object = claims.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            object.remove(name)
        } else {
            object.insert(name.clone(), value.clone())
        };
    }
    claims
}

#[test]
fn a_good_token_is_taken_at_the_edges_of_its_time_and_not_beyond() {
    let signer = Signer::new();
    let now = NOW.unix_timestamp();
    for good in [
        json!({}),
        json!({ "aud": ["plimsoll"], "azp": "plimsoll" }),
        json!({ "exp": now - 59 }),
        json!({ "iat": now + 60, "nbf": now + 60 }),
        json!({ "iat": now - 660 }),
    ] {
        assert_eq!(signer.judge(&good).map(|claims| claims.sub), Ok("ada".to_owned()), "{good}");
    }
}

#[test]
fn each_claim_that_is_not_of_this_sign_in_is_refused_by_name() {
    use IdTokenError::{Expired, FromFuture, Malformed, OtherAudience, OtherIssuer, OtherNonce, TooOld};
    let signer = Signer::new();
    let now = NOW.unix_timestamp();
    for (changes, refusal) in [
        (json!({ "iss": "https://login.example.com/" }), OtherIssuer),
        (json!({ "aud": "another" }), OtherAudience),
        (json!({ "aud": [] }), OtherAudience),
        (json!({ "aud": ["plimsoll", "another"] }), OtherAudience),
        (json!({ "azp": "another" }), OtherAudience),
        (json!({ "nonce": "another" }), OtherNonce),
        (json!({ "nonce": null }), OtherNonce),
        (json!({ "exp": now - 60 }), Expired),
        (json!({ "exp": i64::MIN }), Expired),
        (json!({ "iat": now - 661 }), TooOld),
        (json!({ "iat": i64::MIN }), TooOld),
        (json!({ "iat": now + 61 }), FromFuture),
        (json!({ "nbf": now + 61 }), FromFuture),
        (json!({ "iat": null }), Malformed),
        (json!({ "exp": null }), Malformed),
        (json!({ "sub": null }), Malformed),
        (json!({ "iss": null }), Malformed),
        (json!({ "aud": null }), Malformed),
        (json!({ "exp": "soon" }), Malformed),
    ] {
        assert_eq!(signer.judge(&changes).map(|claims| claims.sub), Err(refusal), "{changes}");
    }
}

#[test]
fn a_token_that_is_not_signed_by_the_key_is_refused() {
    let signer = Signer::new();
    let header = Header::new(Algorithm::EdDSA);
    let foreign = Signer::new().sign(&header, &claims(&json!({})));
    assert_eq!(signer.verify(&foreign).unwrap_err(), IdTokenError::BadSignature);
    let good = signer.sign(&header, &claims(&json!({})));
    for at in 0..good.len() {
        let mut bytes = good.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).unwrap();
        // The last character of the signature has bits that mean nothing; base64 without them is refused as such.
        assert!(signer.verify(&changed).is_err(), "byte {at}");
    }
    for text in ["", ".", "..", "a.b.c"] {
        assert!(signer.verify(text).is_err());
    }
    let long = signer.judge(&json!({ "name": "x".repeat(MAX_TOKEN_BYTES) }));
    assert_eq!(long.unwrap_err(), IdTokenError::Malformed, "signed as it may be, it is not read");
}

#[test]
fn an_unsigned_token_and_one_with_a_shared_secret_are_refused_for_their_algorithm() {
    let signer = Signer::new();
    let secret = EncodingKey::from_secret(b"plimsoll's client secret");
    for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
        let token = jsonwebtoken::encode(&Header::new(algorithm), &claims(&json!({})), &secret).unwrap();
        assert_eq!(signer.verify(&token).unwrap_err(), IdTokenError::Algorithm, "{algorithm:?}");
    }
    let good = signer.sign(&Header::new(Algorithm::EdDSA), &claims(&json!({})));
    let body = good.split('.').nth(1).unwrap();
    for header in [r#"{"alg":"none"}"#, r#"{"alg":"None"}"#, r#"{"alg":""}"#, "{}"] {
        use base64::Engine;
        let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(header);
        assert_eq!(signer.verify(&format!("{header}.{body}.")).unwrap_err(), IdTokenError::Algorithm);
    }
    let mut critical = Header::new(Algorithm::EdDSA);
    critical.crit = Some(vec!["b64".to_owned()]);
    let token = signer.sign(&critical, &claims(&json!({})));
    assert_eq!(signer.verify(&token).unwrap_err(), IdTokenError::Malformed);
}

#[test]
fn a_second_factor_of_the_provider_counts_as_configured_and_from_when_it_was_given() {
    let signer = Signer::new();
    let trusted = SecondFactorPolicy::Trusted { amr: vec!["mfa".to_owned()], acr: vec!["gold".to_owned()] };
    let at = |changes: &Value, policy: &SecondFactorPolicy| {
        signer.judge(changes).unwrap().second_factor_at(policy, NOW)
    };
    let given = Some(NOW - time::Duration::seconds(10));
    assert_eq!(at(&json!({ "amr": ["pwd", "mfa"] }), &trusted), given);
    assert_eq!(at(&json!({ "acr": "gold" }), &trusted), given);
    assert_eq!(at(&json!({ "amr": ["pwd", "mfa"], "acr": "gold" }), &SecondFactorPolicy::Ours), None);
    for changes in [
        json!({}),
        json!({ "amr": ["pwd", "otp"], "acr": "silver" }),
        json!({ "amr": ["mfa"], "auth_time": null }),
        json!({ "amr": ["mfa"], "auth_time": NOW.unix_timestamp() - 3600 }),
    ] {
        assert_eq!(at(&changes, &trusted), None, "{changes}");
    }
    let later = json!({ "amr": ["mfa"], "auth_time": NOW.unix_timestamp() + 1000 });
    assert_eq!(at(&later, &trusted), Some(NOW), "no provider's clock lengthens it");
}
