//! The keys that sign our tokens, and their rotation without a moment in which a good token is refused.
//!
//! Ed25519, from files or the environment, never from the database: who can write the database must not be able to make tokens. A key's
//! id follows from its public half, so two processes cannot mean different keys by one id.
//!
//! Rotation over any number of processes: (1) give every process the new key as one that verifies; (2) make it the one that signs, and the
//! old one verify; (3) once the tokens that the old one signed have expired (`token::ACCESS_TERM`), take it away. Each step is a
//! change of files and a [`Keys::reload`]; in none is there a token that some process does not know.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

use alloy_primitives::hex;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{DecodingKey, EncodingKey};
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use crate::secret;

/// The file of a key directory that signs; every other `*.pem` there verifies.
pub const SIGNING_FILE: &str = "signing.pem";
const MAX_KEYS: usize = 16;
const MAX_FILE_BYTES: u64 = 16 * 1024;
/// How the DER of an Ed25519 public key begins (RFC 8410); 32 bytes follow.
const PUBLIC_KEY_PREFIX: [u8; 12] = hex!("302a300506032b6570032100");

/// Where keys come from.
pub trait KeySource: Send + Sync {
    /// Reads all keys anew.
    ///
    /// # Errors
    /// [`KeyError`] names the key that cannot be used.
    fn load(&self) -> Result<KeyRing, KeyError>;
}

/// Why a key is not used. No variant holds anything of a key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file, or the directory, cannot be read.
    #[error("the key file {path} cannot be read: {source}")]
    Read {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// A private key lies open.
    #[error("the key file {0} can be read by everyone on this machine: chmod 600 it")]
    WorldReadable(String),
    /// It is no Ed25519 key in PEM.
    #[error(
        "{0} is not an Ed25519 key in PEM (PKCS#8 `PRIVATE KEY`, or `PUBLIC KEY`): `openssl genpkey -algorithm ed25519` makes one"
    )]
    NotAKey(String),
    /// The key that is to sign has no private half.
    #[error("{0} is a public key: the signing key needs its private half")]
    NotPrivate(String),
    /// More than the limit.
    #[error("there are more than {MAX_KEYS} keys: take away those that sign nothing that is still in force")]
    TooMany,
}

/// The key that signs, and all that verify.
pub struct KeyRing {
    signing_id: String,
    signing: EncodingKey,
    verifying: HashMap<String, (DecodingKey, [u8; 32])>,
}

impl KeyRing {
    fn new(name: &str, signing: &str) -> Result<Self, KeyError> {
        let Key { public, private } = Key::parse(name, signing)?;
        let private = private.ok_or_else(|| KeyError::NotPrivate(name.to_owned()))?;
        let signing_id = key_id(&public);
        let mut ring =
            Self { signing_id, signing: EncodingKey::from_ed_der(&private), verifying: HashMap::new() };
        ring.verify_with(public)?;
        Ok(ring)
    }

    fn add(&mut self, name: &str, pem: &str) -> Result<(), KeyError> {
        self.verify_with(Key::parse(name, pem)?.public)
    }

    fn verify_with(&mut self, public: [u8; 32]) -> Result<(), KeyError> {
        if self.verifying.len() == MAX_KEYS {
            return Err(KeyError::TooMany);
        }
        self.verifying.insert(key_id(&public), (DecodingKey::from_ed_der(&public), public));
        Ok(())
    }

    /// The id of the key that signs.
    #[must_use]
    pub fn signing_id(&self) -> &str {
        &self.signing_id
    }

    pub(crate) fn signing(&self) -> &EncodingKey {
        &self.signing
    }

    pub(crate) fn verifying(&self, key_id: &str) -> Option<&DecodingKey> {
        self.verifying.get(key_id).map(|(key, _)| key)
    }

    /// The public halves as a JWK set (RFC 7517, RFC 8037), for others that verify our tokens.
    #[must_use]
    pub fn jwk_set(&self) -> serde_json::Value {
        let mut keys: Vec<_> = self.verifying.iter().collect();
        keys.sort_unstable_by_key(|(id, _)| id.as_str());
        let keys: Vec<_> = keys
            .into_iter()
            .map(|(id, (_, public))| {
                serde_json::json!({
                    "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": id, "x": URL_SAFE_NO_PAD.encode(public),
                })
            })
            .collect();
        serde_json::json!({ "keys": keys })
    }
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyRing")
            .field("signing_id", &self.signing_id)
            .field("verifying", &self.verifying.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// The keys in use. A reload is seen by the next token; one that fails changes nothing.
#[derive(Clone, Debug)]
pub struct Keys(Arc<RwLock<Arc<KeyRing>>>);

impl Keys {
    /// Loads them.
    ///
    /// # Errors
    /// The source's.
    pub fn load(source: &dyn KeySource) -> Result<Self, KeyError> {
        Ok(Self(Arc::new(RwLock::new(Arc::new(source.load()?)))))
    }

    /// Loads them anew.
    ///
    /// # Errors
    /// The source's; the keys in use stay.
    pub fn reload(&self, source: &dyn KeySource) -> Result<(), KeyError> {
        let ring = Arc::new(source.load()?);
        *self.0.write().unwrap_or_else(std::sync::PoisonError::into_inner) = ring;
        Ok(())
    }

    /// The keys of this moment.
    #[must_use]
    pub fn current(&self) -> Arc<KeyRing> {
        Arc::clone(&self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

/// A directory: [`SIGNING_FILE`] signs, the other `*.pem` verify. As a mounted secret is.
#[derive(Clone, Debug)]
pub struct KeyDirectory(pub PathBuf);

impl KeySource for KeyDirectory {
    fn load(&self) -> Result<KeyRing, KeyError> {
        let signing = self.0.join(SIGNING_FILE);
        let mut ring = KeyRing::new(&signing.display().to_string(), &read(&signing)?)?;
        let unread = |source| KeyError::Read { path: self.0.display().to_string(), source };
        for entry in std::fs::read_dir(&self.0).map_err(unread)? {
            let path = entry.map_err(unread)?.path();
            if path != signing && path.extension().is_some_and(|extension| extension == "pem") {
                ring.add(&path.display().to_string(), &read(&path)?)?;
            }
        }
        Ok(ring)
    }
}

/// Keys that are given as PEM texts, as from the environment.
#[derive(Debug)]
pub struct KeyTexts {
    /// Signs.
    pub signing: SecretString,
    /// Verify.
    pub verifying: Vec<SecretString>,
}

impl KeySource for KeyTexts {
    fn load(&self) -> Result<KeyRing, KeyError> {
        let mut ring = KeyRing::new("the signing key", self.signing.expose_secret())?;
        for (at, pem) in self.verifying.iter().enumerate() {
            ring.add(&format!("the verifying key {}", at + 1), pem.expose_secret())?;
        }
        Ok(ring)
    }
}

/// A new private key as PEM, for development and for `plimsoll` to write on demand.
#[must_use]
pub fn generate_pem() -> SecretString {
    let seed = secret::random::<32>();
    // PKCS#8 version 1 of an Ed25519 seed (RFC 8410 §7).
    let mut der = Zeroizing::new(hex!("302e020100300506032b657004220420").to_vec());
    der.extend_from_slice(seed.as_slice());
    let body = Zeroizing::new(STANDARD.encode(der.as_slice()));
    SecretString::from(format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", body.as_str()))
}

struct Key {
    public: [u8; 32],
    private: Option<Zeroizing<Vec<u8>>>,
}

impl Key {
    fn parse(name: &str, pem: &str) -> Result<Self, KeyError> {
        let no_key = || KeyError::NotAKey(name.to_owned());
        if let Some(der) = unwrap(pem, "PRIVATE KEY") {
            let pair = Ed25519KeyPair::from_pkcs8(&der).map_err(|_| no_key())?;
            let public = pair.public_key().as_ref().try_into().map_err(|_| no_key())?;
            return Ok(Self { public, private: Some(der) });
        }
        let der = unwrap(pem, "PUBLIC KEY").ok_or_else(no_key)?;
        let public =
            der.strip_prefix(&PUBLIC_KEY_PREFIX).and_then(|key| key.try_into().ok()).ok_or_else(no_key)?;
        Ok(Self { public, private: None })
    }
}

/// The bytes of the one PEM block that the text is.
fn unwrap(pem: &str, label: &str) -> Option<Zeroizing<Vec<u8>>> {
    let body = pem
        .trim()
        .strip_prefix(&format!("-----BEGIN {label}-----"))?
        .strip_suffix(&format!("-----END {label}-----"))?;
    let digits: Zeroizing<String> = Zeroizing::new(body.split_whitespace().collect());
    STANDARD.decode(digits.as_bytes()).ok().map(Zeroizing::new)
}

fn key_id(public: &[u8; 32]) -> String {
    hex::encode(&secret::sha256(public)[..8])
}

fn read(path: &Path) -> Result<Zeroizing<String>, KeyError> {
    use std::os::unix::fs::PermissionsExt;
    const READ_BY_OTHERS: u32 = 0o004;

    let name = path.display().to_string();
    let unread = |source| KeyError::Read { path: path.display().to_string(), source };
    let metadata = std::fs::metadata(path).map_err(unread)?;
    if metadata.len() > MAX_FILE_BYTES {
        return Err(KeyError::NotAKey(name));
    }
    let text = Zeroizing::new(std::fs::read_to_string(path).map_err(unread)?);
    if metadata.permissions().mode() & READ_BY_OTHERS != 0 && text.contains("PRIVATE") {
        return Err(KeyError::WorldReadable(name));
    }
    Ok(text)
}
