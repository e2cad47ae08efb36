//! A provider's keys (RFC 7517), and when they are asked for anew. Pure: the caller says what time it is.
//!
//! Keys are remembered for [`KEYS_TERM`], so that one that the provider withdrew ends. A token that names a key which is not among them has
//! them asked for at once, as a rotation shows itself so; but [`FETCHES_MAX`] times in [`FETCHES_TERM`] at most, whatever tokens name.

use std::time::{Duration, Instant};

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Header};
use serde::Deserialize;
use serde_json::Value;

/// How long keys are remembered.
pub(super) const KEYS_TERM: Duration = Duration::from_secs(3600);
/// So often in [`FETCHES_TERM`] they are asked for.
pub(super) const FETCHES_MAX: u32 = 5;
/// See [`FETCHES_MAX`].
pub(super) const FETCHES_TERM: Duration = Duration::from_secs(60);
const MAX_KEYS: usize = 64;

/// The keys of one answer that we could use.
#[derive(Debug, Default)]
pub(super) struct ProviderKeys(Vec<Jwk>);

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

impl ProviderKeys {
    /// Those that are no signing keys of ours to use, or of a kind that we do not know, are left out: they are for others.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let set: Set = serde_json::from_slice(body).ok()?;
        let keys =
            set.keys.into_iter().take(MAX_KEYS).filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
        Some(Self(keys.filter(is_for_signatures).collect()))
    }

    /// The key that a token names. One that names none has the only key of its algorithm, if there is one only (Core §10.1).
    pub(super) fn find(&self, header: &Header) -> Option<DecodingKey> {
        let mut fitting = self
            .0
            .iter()
            .filter(|key| fits(key, header.alg) && (header.kid.is_none() || key.common.key_id == header.kid));
        let key = fitting.next()?;
        if fitting.next().is_some() {
            return None;
        }
        DecodingKey::from_jwk(key).ok()
    }
}

fn is_for_signatures(key: &Jwk) -> bool {
    matches!(key.common.public_key_use, None | Some(PublicKeyUse::Signature))
}

/// Whether the key is of the algorithm's kind, and of no other by its own account: a key must not be taken for what it is not (RFC 8725 §3.1).
fn fits(key: &Jwk, algorithm: Algorithm) -> bool {
    let is_of_kind = match (&key.algorithm, algorithm) {
        (AlgorithmParameters::RSA(_), Algorithm::RS256) => true,
        (AlgorithmParameters::EllipticCurve(key), Algorithm::ES256) => key.curve == EllipticCurve::P256,
        (AlgorithmParameters::OctetKeyPair(key), Algorithm::EdDSA) => key.curve == EllipticCurve::Ed25519,
        _ => false,
    };
    is_of_kind && key.common.key_algorithm.is_none_or(|own| own.to_string() == format!("{algorithm:?}"))
}

/// How often keys were asked for lately.
#[derive(Debug)]
pub(super) struct Fetches {
    since: Instant,
    count: u32,
}

impl Fetches {
    pub(super) fn new(now: Instant) -> Self {
        Self { since: now, count: 0 }
    }

    /// Whether they may be asked for once more, which is counted.
    pub(super) fn admit(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.since) >= FETCHES_TERM {
            *self = Self::new(now);
        }
        let admitted = self.count < FETCHES_MAX;
        self.count += u32::from(admitted);
        admitted
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const N: &str = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";

    fn header(algorithm: Algorithm, key_id: Option<&str>) -> Header {
        let mut header = Header::new(algorithm);
        header.kid = key_id.map(str::to_owned);
        header
    }

    fn keys(keys: &Value) -> ProviderKeys {
        ProviderKeys::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
    }

    #[test]
    fn a_key_is_taken_for_what_it_is_and_for_nothing_else() {
        let rsa = json!({ "kty": "RSA", "kid": "a", "n": N, "e": "AQAB" });
        let with = |field: &str, value: &str| {
            let mut key = rsa.clone();
            key[field] = value.into();
            keys(&json!([key]))
        };
        assert!(keys(&json!([rsa])).find(&header(Algorithm::RS256, Some("a"))).is_some());
        assert!(with("alg", "RS256").find(&header(Algorithm::RS256, Some("a"))).is_some());
        assert!(with("use", "sig").find(&header(Algorithm::RS256, Some("a"))).is_some());
        assert!(with("use", "enc").find(&header(Algorithm::RS256, Some("a"))).is_none());
        assert!(with("alg", "PS256").find(&header(Algorithm::RS256, Some("a"))).is_none());
        assert!(with("alg", "RSA-OAEP").find(&header(Algorithm::RS256, Some("a"))).is_none());
        assert!(keys(&json!([rsa])).find(&header(Algorithm::RS256, Some("b"))).is_none());
        for algorithm in
            [Algorithm::HS256, Algorithm::ES256, Algorithm::EdDSA, Algorithm::PS256, Algorithm::RS512]
        {
            assert!(keys(&json!([rsa])).find(&header(algorithm, Some("a"))).is_none(), "{algorithm:?}");
        }
        // Coordinates are not looked at before a signature is: the curve is what it says.
        let point = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
        for (kind, curve, algorithm, is_taken) in [
            ("EC", "P-256", Algorithm::ES256, true),
            ("EC", "P-384", Algorithm::ES256, false),
            ("EC", "P-521", Algorithm::ES256, false),
            ("OKP", "Ed25519", Algorithm::EdDSA, true),
            ("OKP", "P-256", Algorithm::EdDSA, false),
            ("OKP", "Ed25519", Algorithm::ES256, false),
        ] {
            let key = json!({ "kty": kind, "crv": curve, "kid": "a", "x": point, "y": point });
            let found = keys(&json!([key])).find(&header(algorithm, Some("a")));
            assert_eq!(found.is_some(), is_taken, "{kind} {curve} for {algorithm:?}");
        }
        let secret = json!({ "kty": "oct", "kid": "a", "k": "c2VjcmV0" });
        assert!(keys(&json!([secret])).find(&header(Algorithm::HS256, Some("a"))).is_none());
    }

    #[test]
    fn a_token_that_names_no_key_has_the_only_one_that_fits() {
        let (a, b) = (
            json!({ "kty": "RSA", "kid": "a", "n": N, "e": "AQAB" }),
            json!({ "kty": "RSA", "n": N, "e": "AQAB" }),
        );
        let nameless = header(Algorithm::RS256, None);
        assert!(keys(&json!([a])).find(&nameless).is_some());
        assert!(keys(&json!([a, b])).find(&nameless).is_none());
        assert!(keys(&json!([a, b])).find(&header(Algorithm::RS256, Some("a"))).is_some());
    }

    #[test]
    fn keys_of_other_kinds_do_not_spoil_the_set_and_what_is_no_set_is_none() {
        let set = json!([{ "kty": "LMS", "kid": "x" }, { "kty": "EC", "crv": "P-999" }, 7, { "kty": "RSA", "kid": "a", "n": N, "e": "AQAB" }]);
        assert!(keys(&set).find(&header(Algorithm::RS256, Some("a"))).is_some());
        for body in ["", "[]", "{}", r#"{"keys":{}}"#] {
            assert!(ProviderKeys::parse(body.as_bytes()).is_none(), "{body}");
        }
    }

    #[test]
    fn of_a_set_without_end_the_first_keys_count() {
        let last = json!({ "kty": "RSA", "kid": "a", "n": N, "e": "AQAB" });
        let after = |others: usize| {
            let mut set = vec![json!({ "kty": "RSA", "kid": "other", "n": N, "e": "AQAB" }); others];
            set.push(last.clone());
            keys(&json!(set)).find(&header(Algorithm::RS256, Some("a"))).is_some()
        };
        assert!(after(MAX_KEYS - 1) && !after(MAX_KEYS));
    }

    #[test]
    fn keys_are_asked_for_so_often_a_minute_and_no_more() {
        let start = Instant::now();
        let mut fetches = Fetches::new(start);
        for _ in 0..FETCHES_MAX {
            assert!(fetches.admit(start));
        }
        assert!(!fetches.admit(start));
        assert!(!fetches.admit(start + FETCHES_TERM - Duration::from_nanos(1)));
        assert!(fetches.admit(start + FETCHES_TERM));
    }
}
