//! ECDSA over secp256k1, by Bitcoin Core's library: constant in time, and with the low `s` (EIP-2) and the nonces of RFC 6979. It signs three times as
//! fast as the implementation in Rust, and recovers five times as fast: every signature is verified, so that is most of what a transaction costs here.

use std::fmt;
use std::sync::LazyLock;

use alloy_primitives::{Address, B256, Signature};
use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
use secp256k1::{All, Message, PublicKey, Secp256k1, SecretKey};

use zeroize::Zeroizing;

use super::KeyError;

/// The tables, blinded once by random bytes against whoever measures power or time.
static CURVE: LazyLock<Secp256k1<All>> = LazyLock::new(|| {
    let mut curve = Secp256k1::new();
    curve.seeded_randomize(&rand::random());
    curve
});

/// A private key, erased when it is dropped, and never printed.
pub struct Secret(Box<SecretKey>);

impl Secret {
    /// `None`: it is zero, or not below the order of the group.
    #[must_use]
    pub fn new(bytes: &[u8; 32]) -> Option<Self> {
        SecretKey::from_byte_array(*bytes).ok().map(|key| Self(Box::new(key)))
    }

    /// A new one, from the system's random bytes.
    #[must_use]
    pub fn random() -> Self {
        // All but one in 2^127 are keys.
        loop {
            let bytes = Zeroizing::new(rand::random::<[u8; 32]>());
            if let Some(secret) = Self::new(&bytes) {
                return secret;
            }
        }
    }

    /// Whom it signs for.
    #[must_use]
    pub fn address(&self) -> Address {
        address_of(&PublicKey::from_secret_key(&CURVE, &self.0))
    }

    /// The same signature of the same hash, always.
    #[must_use]
    pub fn sign(&self, hash: &B256) -> Signature {
        let signed = CURVE.sign_ecdsa_recoverable(Message::from_digest(hash.0), &self.0);
        let (recovery, bytes) = signed.serialize_compact();
        // The library gives `s` low, and with it a parity; an `r` above the order, which ids 2 and 3 stand for, was never found.
        Signature::from_bytes_and_parity(&bytes, recovery == RecoveryId::One)
    }

    pub(super) fn bytes(&self) -> [u8; 32] {
        self.0.secret_bytes()
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.non_secure_erase();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// See [`super::verified`]; of a hash.
pub(super) fn verified(expected: Address, hash: &B256, signature: Signature) -> Result<Signature, KeyError> {
    let garbled = |why: &str| KeyError::Garbled { at: format!("the key of {expected}"), why: why.to_owned() };
    if signature.normalize_s().is_some() {
        return Err(garbled("its `s` is in the upper half, where no chain takes it (EIP-2)"));
    }
    let found = signer_of(hash, &signature).ok_or_else(|| garbled("it is on no point of the curve"))?;
    if found == expected { Ok(signature) } else { Err(KeyError::OtherKey { expected, found }) }
}

/// Whoever signed this hash so; `None` where nobody can have.
pub(crate) fn signer_of(hash: &B256, signature: &Signature) -> Option<Address> {
    let recovery = if signature.v() { RecoveryId::One } else { RecoveryId::Zero };
    let signature = RecoverableSignature::from_compact(&signature.as_bytes()[..64], recovery).ok()?;
    let key = CURVE.recover_ecdsa(Message::from_digest(hash.0), &signature).ok()?;
    Some(address_of(&key))
}

/// Of a public key as it is published: 64 bytes, or 65 with the mark of the uncompressed form before them, or 33.
pub(super) fn address_of_published(bytes: &[u8]) -> Option<Address> {
    let key = match <[u8; 64]>::try_from(bytes) {
        Ok(bare) => PublicKey::from_slice(&[&[4][..], &bare].concat()),
        Err(_) => PublicKey::from_slice(bytes),
    };
    key.ok().map(|key| address_of(&key))
}

fn address_of(key: &PublicKey) -> Address {
    Address::from_raw_public_key(&key.serialize_uncompressed()[1..])
}
