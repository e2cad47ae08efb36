//! Who sent a transaction, from its signature.

use alloy_primitives::{Address, B256, U256, address};

use super::{Transaction, Unencodable};
use crate::Finding;

/// Whom Nitro names as the sender of its internal transactions.
const ARBOS: Address = address!("00000000000000000000000000000000000a4b05");

/// Why a transaction's sender is not proven.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SenderFault {
    /// What was signed cannot be told.
    #[error(transparent)]
    Unencodable(#[from] Unencodable),
    /// The signature is empty or of no key, as of a transaction that a development node or a chain's own rules put there.
    #[error("the signature is of no key")]
    NoSignature,
    /// The signature is another's.
    #[error("the transaction names {claimed} as its sender and is signed by {recovered}")]
    Other {
        /// The sender in the answer.
        claimed: Address,
        /// Whose signature it is.
        recovered: Address,
    },
}

impl SenderFault {
    /// Whether the sender is wrong, or merely cannot be told.
    #[must_use]
    pub fn finding(&self) -> Finding {
        match self {
            Self::Unencodable(_) | Self::NoSignature => Finding::Unproven,
            Self::Other { .. } => Finding::Contradiction,
        }
    }
}

impl Transaction {
    /// Shows that `from` sent the transaction: by the signature, or because the encoding names the sender, as with
    /// Arbitrum's own types. It is as good as the fields are: [`ProvenHeader::prove_transactions`] comes first.
    ///
    /// A signature takes some 200 µs, or 40 with the feature `native`: many times what the rest of the proof takes.
    ///
    /// [`ProvenHeader::prove_transactions`]: crate::ProvenHeader::prove_transactions
    ///
    /// # Errors
    /// Where somebody else sent it, or that cannot be told.
    pub fn check_sender(&self) -> Result<(), SenderFault> {
        let sender = match self.tx_type {
            0x64..=0x66 | 0x68 | 0x69 => self.from,
            0x6a => ARBOS,
            _ => self.recover_sender()?,
        };
        if sender == self.from {
            Ok(())
        } else {
            Err(SenderFault::Other { claimed: self.from, recovered: sender })
        }
    }

    /// The sender that the signature gives, whatever was claimed.
    ///
    /// # Errors
    /// Where the type is not a signed one, or the signature is no key's.
    pub fn recover_sender(&self) -> Result<Address, SenderFault> {
        if !self.is_signed() {
            return Err(Unencodable::UnknownType(self.tx_type).into());
        }
        let (is_odd, protected) = self.parity().ok_or(SenderFault::NoSignature)?;
        let signed = self.signing_hash(protected)?;
        let (r, s) = (self.r.unwrap_or_default(), self.s.unwrap_or_default());
        recover(signed, r, s, is_odd).ok_or(SenderFault::NoSignature)
    }

    /// The signature's parity, and the chain that type 0 was signed for, if for one.
    fn parity(&self) -> Option<(bool, Option<U256>)> {
        let field = *self.parity_field()?;
        let is_odd = |parity: U256| (parity <= U256::ONE).then(|| parity == U256::ONE);
        if self.tx_type != 0 {
            return Some((is_odd(field)?, None));
        }
        match field.checked_sub(U256::from(35)) {
            Some(of_chain) => Some((of_chain.bit(0), Some(of_chain >> 1))),
            None => Some((is_odd(field.checked_sub(U256::from(27))?)?, None)),
        }
    }
}

/// Whose signature it is, by the curve's implementation in Rust. Signatures with a high `s`, valid before Homestead, are turned into their low twin.
#[cfg(any(not(feature = "native"), test))]
fn recover_portably(signed: B256, r: U256, s: U256, is_odd: bool) -> Option<Address> {
    use k256::ecdsa::{RecoveryId, Signature, VerifyingKey};

    let signature = Signature::from_scalars(r.to_be_bytes::<32>(), s.to_be_bytes::<32>()).ok()?;
    let (signature, is_odd) = match signature.normalize_s() {
        Some(low) => (low, !is_odd),
        None => (signature, is_odd),
    };
    let id = RecoveryId::new(is_odd, false);
    let key = VerifyingKey::recover_from_prehash(signed.as_slice(), &signature, id).ok()?;
    address_of(key.to_encoded_point(false).as_bytes())
}

#[cfg(not(feature = "native"))]
use recover_portably as recover;

/// Whose signature it is. A high `s`, valid before Homestead, is taken as it is.
#[cfg(feature = "native")]
fn recover(signed: B256, r: U256, s: U256, is_odd: bool) -> Option<Address> {
    use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
    use secp256k1::{Message, Secp256k1, VerifyOnly};

    static CURVE: std::sync::LazyLock<Secp256k1<VerifyOnly>> =
        std::sync::LazyLock::new(Secp256k1::verification_only);

    let id = if is_odd { RecoveryId::One } else { RecoveryId::Zero };
    let scalars = [r.to_be_bytes::<32>(), s.to_be_bytes::<32>()].concat();
    let signature = RecoverableSignature::from_compact(&scalars, id).ok()?;
    let key = CURVE.recover_ecdsa(Message::from_digest(signed.0), &signature).ok()?;
    address_of(&key.serialize_uncompressed())
}

/// Of a public key whose first byte says that both coordinates follow.
fn address_of(point: &[u8]) -> Option<Address> {
    Some(Address::from_raw_public_key(point.get(1..)?))
}

#[cfg(all(test, feature = "native"))]
mod tests {
    use k256::ecdsa::SigningKey;
    use proptest::prelude::*;

    use super::*;

    /// The order of the curve's group.
    const ORDER: U256 =
        alloy_primitives::uint!(0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141_U256);

    proptest! {
        /// Two implementations, of which one is the other's witness: for signatures, for their twins with a high `s`, and for what is none.
        #[test]
        fn both_implementations_name_the_same_signer(key in 1..=u128::MAX, hash: [u8; 32], r: [u8; 32], is_high: bool, is_odd: bool) {
            let hash = B256::from(hash);
            let secret = SigningKey::from_slice(&U256::from(key).to_be_bytes::<32>()).unwrap();
            let (signature, id) = secret.sign_prehash_recoverable(hash.as_slice()).unwrap();
            let (r_signed, s) = signature.split_bytes();
            let (r_signed, s) = (U256::from_be_slice(&r_signed), U256::from_be_slice(&s));
            let (s, parity) = if is_high { (ORDER - s, !id.is_y_odd()) } else { (s, id.is_y_odd()) };
            let signer = Address::from_raw_public_key(&secret.verifying_key().to_encoded_point(false).as_bytes()[1..]);
            prop_assert_eq!(recover(hash, r_signed, s, parity), Some(signer));
            prop_assert_eq!(recover_portably(hash, r_signed, s, parity), Some(signer));

            let r = U256::from_be_bytes(r);
            for (r, s) in [(r, s), (r_signed, r), (U256::ZERO, s), (r_signed, U256::ZERO), (ORDER, s), (r_signed, ORDER), (U256::MAX, U256::MAX)] {
                prop_assert_eq!(recover(hash, r, s, is_odd), recover_portably(hash, r, s, is_odd), "r {} s {}", r, s);
            }
        }
    }
}
