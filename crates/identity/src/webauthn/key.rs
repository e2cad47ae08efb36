//! Public keys of authenticators: out of COSE (RFC 9052), and what they verify.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ED25519, ParsedPublicKey, VerificationAlgorithm};
use ciborium::Value;

// Labels and values of RFC 9053 §7.
const KTY: i128 = 1;
const ALG: i128 = 3;
const CRV: i128 = -1;
const X: i128 = -2;
const Y: i128 = -3;
const KTY_OKP: i128 = 1;
const KTY_EC2: i128 = 2;
const CRV_P256: i128 = 1;
const CRV_ED25519: i128 = 6;
const COORDINATE_BYTES: usize = 32;
/// How an uncompressed point begins (SEC 1 §2.3.3).
const UNCOMPRESSED: u8 = 4;

/// What an authenticator signs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Es256,
    EdDsa,
}

impl Algorithm {
    /// What we offer, in the order of our liking.
    pub(super) const OFFERED: [Self; 2] = [Self::EdDsa, Self::Es256];

    pub(crate) const fn cose(self) -> i32 {
        match self {
            Self::Es256 => -7,
            Self::EdDsa => -8,
        }
    }

    pub(crate) fn from_cose(number: i64) -> Option<Self> {
        Self::OFFERED.into_iter().find(|algorithm| i64::from(algorithm.cose()) == number)
    }

    fn verification(self) -> &'static dyn VerificationAlgorithm {
        match self {
            Self::Es256 => &ECDSA_P256_SHA256_ASN1,
            Self::EdDsa => &ED25519,
        }
    }
}

/// A public key: 65 bytes of an uncompressed point on P-256, or 32 of Ed25519.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PublicKey {
    algorithm: Algorithm,
    bytes: Vec<u8>,
}

impl PublicKey {
    pub(crate) fn stored(algorithm: Algorithm, bytes: Vec<u8>) -> Self {
        Self { algorithm, bytes }
    }

    /// The key of a COSE map, if it is of an algorithm that we offer, and a point of its curve.
    pub(super) fn from_cose(map: &Value) -> Option<Self> {
        let map = map.as_map()?;
        let field = |label: i128| {
            map.iter()
                .find(|(key, _)| key.as_integer().is_some_and(|key| i128::from(key) == label))
                .map(|(_, value)| value)
        };
        let number = |label: i128| field(label).and_then(Value::as_integer).map(i128::from);
        let coordinate = |label: i128| {
            field(label).and_then(Value::as_bytes).filter(|bytes| bytes.len() == COORDINATE_BYTES)
        };
        let algorithm = Algorithm::from_cose(number(ALG)?.try_into().ok()?)?;
        let bytes = match (algorithm, number(KTY)?, number(CRV)?) {
            (Algorithm::Es256, KTY_EC2, CRV_P256) => {
                [&[UNCOMPRESSED][..], coordinate(X)?, coordinate(Y)?].concat()
            }
            (Algorithm::EdDsa, KTY_OKP, CRV_ED25519) => coordinate(X)?.clone(),
            _ => return None,
        };
        ParsedPublicKey::new(algorithm.verification(), &bytes).ok()?;
        Some(Self { algorithm, bytes })
    }

    pub(crate) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        ParsedPublicKey::new(self.algorithm.verification(), &self.bytes)
            .is_ok_and(|key| key.verify_sig(message, signature).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::hex;

    use super::*;

    /// The generator of P-256 (SEC 2 §2.4.2).
    const GENERATOR: [u8; 64] = hex!(
        "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c2964fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
    );
    /// The first key of RFC 8032 §7.1.
    const ED25519_KEY: [u8; 32] = hex!("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");

    fn is_taken(algorithm: i64, kind: i128, curve: i128, x: &[u8], y: &[u8]) -> bool {
        let bytes = |bytes: &[u8]| Value::Bytes(bytes.to_vec());
        let number = |number: i128| Value::Integer(number.try_into().unwrap());
        let fields = [
            (KTY, number(kind)),
            (ALG, number(algorithm.into())),
            (CRV, number(curve)),
            (X, bytes(x)),
            (Y, bytes(y)),
        ];
        let fields = fields.into_iter().map(|(label, value)| (number(label), value)).collect();
        PublicKey::from_cose(&Value::Map(fields)).is_some()
    }

    #[test]
    fn a_key_is_a_point_of_the_curve_of_its_algorithm_and_nothing_else() {
        let (x, y) = GENERATOR.split_at(COORDINATE_BYTES);
        assert!(is_taken(-7, KTY_EC2, CRV_P256, x, y));
        assert!(!is_taken(-7, KTY_OKP, CRV_P256, x, y));
        assert!(!is_taken(-7, KTY_EC2, CRV_ED25519, x, y));
        assert!(!is_taken(-257, KTY_EC2, CRV_P256, x, y), "an algorithm that was not offered");
        assert!(!is_taken(-7, KTY_EC2, CRV_P256, y, x), "a point beside the curve");
        let (long, short) = GENERATOR.split_at(COORDINATE_BYTES + 1);
        assert!(!is_taken(-7, KTY_EC2, CRV_P256, long, short), "coordinates of other lengths");
        assert!(is_taken(-8, KTY_OKP, CRV_ED25519, &ED25519_KEY, &[]));
        assert!(!is_taken(-8, KTY_EC2, CRV_ED25519, &ED25519_KEY, &[]));
        assert!(!is_taken(-8, KTY_OKP, CRV_P256, &ED25519_KEY, &[]));
        assert!(!is_taken(-8, KTY_OKP, CRV_ED25519, &ED25519_KEY[1..], &[]));
    }
}
