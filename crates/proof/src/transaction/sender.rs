//! Who sent a transaction, from its signature.

use alloy_primitives::{Address, B256, U256, address};
use k256::ecdsa::{RecoveryId, Signature, VerifyingKey};

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
    /// A signature takes some 200 µs, many times what the rest of the proof takes.
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

/// Whose signature it is. Signatures with a high `s`, valid before Homestead, are turned into their low twin.
fn recover(signed: B256, r: U256, s: U256, is_odd: bool) -> Option<Address> {
    let signature = Signature::from_scalars(r.to_be_bytes::<32>(), s.to_be_bytes::<32>()).ok()?;
    let (signature, is_odd) = match signature.normalize_s() {
        Some(low) => (low, !is_odd),
        None => (signature, is_odd),
    };
    let id = RecoveryId::new(is_odd, false);
    let key = VerifyingKey::recover_from_prehash(signed.as_slice(), &signature, id).ok()?;
    // One byte says that both coordinates follow.
    let point = key.to_encoded_point(false);
    Some(Address::from_raw_public_key(point.as_bytes().get(1..)?))
}
