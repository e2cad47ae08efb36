//! Secrets that must be read again (a second factor's) are sealed before they are stored: AES-256-GCM under a key that the database
//! does not have, bound to the row that they belong to, so that a row copied to another user opens nothing.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::secret;

const KEY_BYTES: usize = 32;
const KEY_ID_BYTES: usize = 8;

/// Why nothing was sealed or opened. Holds nothing of what it was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The key is not one.
    #[error("a sealing key is 32 random bytes in base64 (`openssl rand -base64 32`)")]
    NotAKey,
    /// It was sealed under a key that is not here.
    #[error(
        "this was sealed under a key that this server does not have: give the former sealing key beside the new one"
    )]
    UnknownKey,
    /// It was changed, or belongs to another row.
    #[error("the sealed secret was changed, or was sealed for another user")]
    Broken,
}

struct SealingKey {
    id: [u8; KEY_ID_BYTES],
    key: RandomizedNonceKey,
}

impl SealingKey {
    fn parse(text: &SecretString) -> Result<Self, SealError> {
        let bytes =
            Zeroizing::new(STANDARD.decode(text.expose_secret().trim()).map_err(|_| SealError::NotAKey)?);
        if bytes.len() != KEY_BYTES {
            return Err(SealError::NotAKey);
        }
        let mut named = Zeroizing::new(b"plimsoll sealing key id".to_vec());
        named.extend_from_slice(&bytes);
        let mut id = [0; KEY_ID_BYTES];
        id.copy_from_slice(&secret::sha256(&named)[..KEY_ID_BYTES]);
        let key = RandomizedNonceKey::new(&AES_256_GCM, &bytes).map_err(|_| SealError::NotAKey)?;
        Ok(Self { id, key })
    }
}

/// Seals with one key, and opens what that one or a former one sealed.
pub struct Sealer {
    current: SealingKey,
    former: Vec<SealingKey>,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealer").field("former", &self.former.len()).finish_non_exhaustive()
    }
}

impl Sealer {
    /// With keys in base64.
    ///
    /// # Errors
    /// [`SealError::NotAKey`].
    pub fn new(current: &SecretString, former: &[SecretString]) -> Result<Self, SealError> {
        Ok(Self {
            current: SealingKey::parse(current)?,
            former: former.iter().map(SealingKey::parse).collect::<Result<_, _>>()?,
        })
    }

    /// Key id, nonce, ciphertext and tag.
    pub(crate) fn seal(&self, tenant_id: Uuid, user_id: Uuid, secret: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut body = secret.to_vec();
        let aad = Aad::from(row(tenant_id, user_id));
        let nonce =
            self.current.key.seal_in_place_append_tag(aad, &mut body).map_err(|_| SealError::Broken)?;
        Ok([&self.current.id[..], nonce.as_ref(), &body].concat())
    }

    pub(crate) fn open(
        &self,
        tenant_id: Uuid,
        user_id: Uuid,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (id, rest) = sealed.split_at_checked(KEY_ID_BYTES).ok_or(SealError::Broken)?;
        let (nonce, body) = rest.split_at_checked(NONCE_LEN).ok_or(SealError::Broken)?;
        let key = std::iter::once(&self.current)
            .chain(&self.former)
            .find(|key| key.id == id)
            .ok_or(SealError::UnknownKey)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::Broken)?;
        let mut body = Zeroizing::new(body.to_vec());
        let aad = Aad::from(row(tenant_id, user_id));
        let len = key.key.open_in_place(nonce, aad, &mut body).map_err(|_| SealError::Broken)?.len();
        body.truncate(len);
        Ok(body)
    }
}

fn row(tenant_id: Uuid, user_id: Uuid) -> [u8; 32] {
    let mut row = [0; 32];
    row[..16].copy_from_slice(tenant_id.as_bytes());
    row[16..].copy_from_slice(user_id.as_bytes());
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENANT: Uuid = Uuid::from_u128(1);
    const USER: Uuid = Uuid::from_u128(2);

    fn key(byte: u8) -> SecretString {
        SecretString::from(STANDARD.encode([byte; 32]))
    }

    #[test]
    fn what_was_sealed_opens_for_its_own_row_only() {
        let sealer = Sealer::new(&key(1), &[]).unwrap();
        let sealed = sealer.seal(TENANT, USER, b"seed").unwrap();
        assert_eq!(*sealer.open(TENANT, USER, &sealed).unwrap(), b"seed");
        assert_eq!(sealer.open(TENANT, TENANT, &sealed), Err(SealError::Broken));
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(sealer.open(TENANT, USER, &changed).is_err(), "byte {at}");
            assert!(sealer.open(TENANT, USER, &sealed[..at]).is_err(), "cut at {at}");
        }
        assert_ne!(sealed, sealer.seal(TENANT, USER, b"seed").unwrap());
    }

    #[test]
    fn a_former_key_opens_and_an_unknown_one_is_named_as_such() {
        let sealed = Sealer::new(&key(1), &[]).unwrap().seal(TENANT, USER, b"seed").unwrap();
        let rotated = Sealer::new(&key(2), &[key(1)]).unwrap();
        assert_eq!(*rotated.open(TENANT, USER, &sealed).unwrap(), b"seed");
        assert_eq!(
            Sealer::new(&key(2), &[]).unwrap().open(TENANT, USER, &sealed),
            Err(SealError::UnknownKey)
        );
        assert_eq!(Sealer::new(&SecretString::from("c2hvcnQ="), &[]).unwrap_err(), SealError::NotAKey);
    }
}
