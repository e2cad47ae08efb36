//! Who signed: EIP-191 `personal_sign`, recovered from the signature.

use alloy_primitives::{Address, B256, keccak256};
use k256::ecdsa::{RecoveryId, Signature, VerifyingKey};

/// r, s, and the recovery byte.
const SIGNATURE_BYTES: usize = 65;

/// Why nobody is recovered from a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Not r, s, v with v one of 0, 1, 27, 28, and r, s within the curve's order; or no public key fits it.
    #[error("the signature is not the 65 bytes of an EIP-191 signature (r, s, and v of 27 or 28)")]
    Malformed,
    /// `s` is in the upper half: whoever saw the signature could have turned it into this one (EIP-2).
    #[error(
        "the signature is malleable (its s is in the upper half of the curve's order); wallets do not make such signatures"
    )]
    Malleable,
}

/// What `personal_sign` signs of `message` (EIP-191, version 0x45).
#[must_use]
pub fn personal_digest(message: &str) -> B256 {
    let prefixed = format!("\x19Ethereum Signed Message:\n{}{message}", message.len());
    keccak256(prefixed)
}

/// The address whose key signed `digest`.
///
/// # Errors
/// [`SignatureError`].
pub fn recover(digest: B256, signature: &[u8]) -> Result<Address, SignatureError> {
    if signature.len() != SIGNATURE_BYTES {
        return Err(SignatureError::Malformed);
    }
    let parity = match signature[SIGNATURE_BYTES - 1] {
        v @ (0 | 1) => v,
        v @ (27 | 28) => v - 27,
        _ => return Err(SignatureError::Malformed),
    };
    let scalars =
        Signature::from_slice(&signature[..SIGNATURE_BYTES - 1]).map_err(|_| SignatureError::Malformed)?;
    if scalars.normalize_s().is_some() {
        return Err(SignatureError::Malleable);
    }
    let key = RecoveryId::from_byte(parity)
        .and_then(|id| VerifyingKey::recover_from_prehash(digest.as_slice(), &scalars, id).ok())
        .ok_or(SignatureError::Malformed)?;
    Ok(Address::from_raw_public_key(&key.to_encoded_point(false).as_bytes()[1..]))
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{address, hex};
    use proptest::prelude::*;

    use super::*;

    /// The example that web3.js gives for `eth.accounts.sign("Some data", …)`.
    const SIGNED: [u8; 65] = hex!(
        "b91467e570a6466aa9e9876cbcd013baba02900b8979d43fe208a4a4f339f5fd6007e74cd82e037b800186422fc2da167c747ef045e5d18a5f5d4300f8e1a0291c"
    );
    const SIGNER: Address = address!("2c7536E3605D9C16a7a3D7b1898e529396a65c23");

    #[test]
    fn a_published_signature_gives_its_signer_with_either_form_of_v() {
        let digest = personal_digest("Some data");
        assert_eq!(digest.0, hex!("1da44b586eb0729ff70a73c326926f6ed5a25f5b056e7f47fbc6e58d86871655"));
        assert_eq!(recover(digest, &SIGNED), Ok(SIGNER));
        let mut bare = SIGNED;
        bare[64] -= 27;
        assert_eq!(recover(digest, &bare), Ok(SIGNER));
        assert_ne!(recover(personal_digest("Some datA"), &SIGNED), Ok(SIGNER));
    }

    #[test]
    fn the_mirror_image_of_a_signature_is_refused() {
        // n - s, and the other parity: valid for the curve, made without the key.
        let order = alloy_primitives::U256::from_be_bytes(hex!(
            "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141"
        ));
        let s = alloy_primitives::U256::from_be_slice(&SIGNED[32..64]);
        let mut mirrored = SIGNED;
        mirrored[32..64].copy_from_slice(&(order - s).to_be_bytes::<32>());
        mirrored[64] = 27 + 28 - SIGNED[64];
        assert_eq!(recover(personal_digest("Some data"), &mirrored), Err(SignatureError::Malleable));
    }

    #[test]
    fn what_is_no_signature_is_malformed() {
        let digest = personal_digest("Some data");
        for v in (2..=26).chain(29..=255) {
            let mut odd = SIGNED;
            odd[64] = v;
            assert_eq!(recover(digest, &odd), Err(SignatureError::Malformed), "v = {v}");
        }
        assert_eq!(recover(digest, &SIGNED[..64]), Err(SignatureError::Malformed));
        assert_eq!(recover(digest, &[0; 65]), Err(SignatureError::Malformed));
        assert_eq!(recover(digest, &[0xff; 65]), Err(SignatureError::Malformed));
        assert_eq!(recover(digest, &[]), Err(SignatureError::Malformed));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_give_the_signer(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            prop_assert_ne!(recover(personal_digest("Some data"), &bytes), Ok(SIGNER));
        }
    }
}
