//! A key in this process's memory.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use alloy_primitives::{Address, B256, Signature, keccak256};
use futures::FutureExt as _;
use futures::future::{BoxFuture, join_all, ready};
use secrecy::SecretString;

use super::curve::{self, Secret};
use super::keystore::{self, KeystoreError};
use super::{Key, KeyError};

/// So many are signed where they were asked for: less than a thousandth of a second, and a hop to other threads is not free.
const SIGNED_INLINE: usize = 8;

/// How many share the work of many signatures.
static CORES: LazyLock<usize> = LazyLock::new(|| std::thread::available_parallelism().map_or(1, usize::from));

/// A key in this process's memory.
#[derive(Clone)]
pub struct LocalKey {
    address: Address,
    secret: Arc<Secret>,
}

impl LocalKey {
    /// A key whose secret is at hand.
    #[must_use]
    pub fn new(secret: Secret) -> Self {
        Self { address: secret.address(), secret: Arc::new(secret) }
    }

    /// Opens an encrypted keystore. Takes a second and hundreds of megabytes, as its maker meant it to: not for a thread that has other work.
    ///
    /// # Errors
    /// The file cannot be read or is no keystore, the password is not its own, or the key is not that of `address`.
    pub fn open(path: &Path, password: &SecretString, address: Address) -> Result<Self, KeystoreError> {
        let key = Self::new(keystore::open(path, password, Some(address))?);
        if key.address == address {
            Ok(key)
        } else {
            Err(keystore::other_address(path, address, key.address))
        }
    }

    fn sign_hash(&self, hash: &B256) -> Result<Signature, KeyError> {
        curve::verified(self.address, hash, self.secret.sign(hash))
    }
}

impl Key for LocalKey {
    fn address(&self) -> Address {
        self.address
    }

    fn sign<'a>(&'a self, payload: &'a [u8]) -> BoxFuture<'a, Result<Signature, KeyError>> {
        ready(self.sign_hash(&keccak256(payload))).boxed()
    }

    /// On as many threads as there are cores, beside the runtime's own.
    fn sign_all<'a>(&'a self, payloads: &'a [Vec<u8>]) -> BoxFuture<'a, Vec<Result<Signature, KeyError>>> {
        let hashes: Vec<B256> = payloads.iter().map(keccak256).collect();
        if hashes.len() <= SIGNED_INLINE {
            return ready(hashes.iter().map(|hash| self.sign_hash(hash)).collect()).boxed();
        }
        let share = hashes.len().div_ceil(*CORES);
        async move {
            let shares = hashes.chunks(share).map(|hashes| {
                let (key, hashes) = (self.clone(), hashes.to_vec());
                let count = hashes.len();
                let signed = tokio::task::spawn_blocking(move || {
                    hashes.iter().map(|hash| key.sign_hash(hash)).collect::<Vec<_>>()
                });
                // Only a runtime that is ending does not run it.
                signed.map(move |signed| signed.unwrap_or_else(|_| vec![Err(self.ending()); count]))
            });
            join_all(shares).await.concat()
        }
        .boxed()
    }
}

impl LocalKey {
    fn ending(&self) -> KeyError {
        KeyError::Unavailable {
            at: format!("the key of {}", self.address),
            why: "the process is ending".into(),
        }
    }
}

impl fmt::Debug for LocalKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalKey").field("address", &self.address).finish_non_exhaustive()
    }
}
