//! Keys: whatever signs for an address.
//!
//! **The promise.** What a [`Key`] returns recovers to its address, with the low `s` that chains take (EIP-2): every
//! implementation passes what it got through [`verified`] before anybody sees it, the one that holds the key itself too, since a
//! flipped bit in a signature is found here or on no chain. And nothing of a key, a password or a token is in an error, a log line or
//! a `Debug` form.
//!
//! **Asking is free of effects.** A signature that is not committed is never sent, so whoever got no answer asks again, and two
//! signatures of one payload (a hardware module draws a new one each time) are no harm: the attempt that is committed has one of them.
//! That is why [`KeyError::Unavailable`] may be asked again without end; what the others say will not change by asking.
//!
//! **What signs is the encoding, not its hash:** the remote signer hashes by itself, and one that could be had to sign any 32 bytes
//! would be a worse thing to hold.
//!
//! **Which keys there are.** [`LocalKey`] holds the secret in memory, opened from an encrypted [`keystore`]. [`Web3Signer`] asks a
//! remote signer, which holds keys in files, in a hardware module, or in a vault. HashiCorp Vault's transit engine signs with P-256, P-384, P-521,
//! Ed25519 and RSA, and with no key of secp256k1 (the proposals to add it, hashicorp/vault#11469 and #12685, were closed; OpenBao has none either):
//! it cannot sign a transaction. A key that is kept in Vault is loaded by web3signer from Vault's key-value engine, or
//! signed with by a plugin of Vault that speaks web3signer's API through a proxy.

mod curve;
mod error;
pub mod keystore;
mod local;
mod web3signer;

use std::fmt::Debug;

use alloy_primitives::{Address, Signature, keccak256};
use futures::future::BoxFuture;

pub use self::curve::Secret;
pub(crate) use self::curve::signer_of;
pub use self::error::KeyError;
pub use self::keystore::KeystoreError;
pub use self::local::LocalKey;
pub use self::web3signer::{Misconfigured, Web3Signer, Web3SignerConfig};

/// Signs for one address.
pub trait Key: Send + Sync + Debug {
    /// For whom it signs.
    fn address(&self) -> Address;

    /// Signs the Keccak-256 of an unsigned transaction's encoding (EIP-155, EIP-2718).
    fn sign<'a>(&'a self, payload: &'a [u8]) -> BoxFuture<'a, Result<Signature, KeyError>>;

    /// Signs each of many: as many answers, in their order. One after another, unless the key can do better.
    fn sign_all<'a>(&'a self, payloads: &'a [Vec<u8>]) -> BoxFuture<'a, Vec<Result<Signature, KeyError>>> {
        Box::pin(async move {
            let mut signatures = Vec::with_capacity(payloads.len());
            for payload in payloads {
                signatures.push(self.sign(payload).await);
            }
            signatures
        })
    }
}

/// The signature, if it is one of this address's of this payload.
///
/// # Errors
/// [`KeyError::OtherKey`] where somebody else signed, or something else was signed; [`KeyError::Garbled`] where it is no signature, or has the
/// high `s` that no chain takes.
pub fn verified(address: Address, payload: &[u8], signature: Signature) -> Result<Signature, KeyError> {
    curve::verified(address, &keccak256(payload), signature)
}
