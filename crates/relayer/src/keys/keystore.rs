//! Encrypted key files: version 3 of the Web3 Secret Storage Definition, as geth, web3.py and Foundry write them.
//!
//! The password becomes a key of 32 bytes, made costly by scrypt or PBKDF2; its first half is the key of AES-128 in counter mode, its second half that of
//! the MAC, the Keccak-256 of that half and the ciphertext. The MAC is checked before anything is decrypted: what it does not fit was
//! written under another password, or altered. What the file asks the derivation to cost is its own word, so it is held against limits
//! before a byte is reserved.

use std::io::Read as _;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use alloy_primitives::{Address, hex, keccak256};
use aws_lc_rs::cipher::{AES_128, DecryptingKey, DecryptionContext, UnboundCipherKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::pbkdf2;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::curve::Secret;

/// No keystore is longer.
const MAX_FILE_BYTES: u64 = 64 * 1024;
/// What one derivation may reserve. What geth and Foundry write takes 256 MiB at most.
const MAX_SCRYPT_BYTES: u128 = 512 * 1024 * 1024;
/// How often scrypt may go through that.
const MAX_SCRYPT_PASSES: u32 = 16;
/// About ten seconds.
const MAX_PBKDF2_ROUNDS: u32 = 10_000_000;
/// Of the derived key: sixteen for the cipher, sixteen for the MAC.
const DERIVED_BYTES: usize = 32;
const HALF: usize = 16;
/// A private key is not longer; a shorter one lost its zeros in front.
const SECRET_BYTES: usize = 32;

/// What a new keystore costs to open: 256 MiB and some second, as geth's.
const NEW_SCRYPT: Scrypt = Scrypt { dklen: 32, n: 1 << 18, r: 8, p: 1 };

/// Why a keystore did not open, and where it lies.
#[derive(Debug, thiserror::Error)]
#[error("the keystore {} {problem}", path.display())]
pub struct KeystoreError {
    path: PathBuf,
    problem: Problem,
}

/// Why a keystore did not open. Repeats nothing that stands in it but names and numbers.
#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("cannot be read: {0}")]
    Unreadable(std::io::Error),
    #[error("is no keystore: {0}")]
    Malformed(String),
    #[error("is of version {0}, and only version 3 can be opened")]
    Version(u64),
    #[error("asks for the {what} \"{name}\", which is unknown")]
    Unknown { what: &'static str, name: String },
    #[error("asks for more than opening a key may cost: {0}")]
    Costly(String),
    #[error("does not open with this password, or was altered: its MAC is another")]
    Password,
    #[error("holds {found}, and the signer is {expected}")]
    OtherAddress { expected: Address, found: Address },
}

impl KeystoreError {
    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self.problem {
            Problem::Unreadable(_) => "name a file that exists and that this user may read",
            Problem::Malformed(_) => "name a key file as geth, Foundry or `plimsoll signers new` write it",
            Problem::Version(_) | Problem::Unknown { .. } => {
                "write it anew with geth, Foundry or `plimsoll signers new`: version 3, aes-128-ctr, scrypt or pbkdf2 with hmac-sha256"
            }
            Problem::Costly(_) => {
                "write it anew with usual parameters, as scrypt with n = 262144, r = 8, p = 1; who wrote this one may have meant harm"
            }
            Problem::Password => "correct the password; only white space around it is passed over",
            Problem::OtherAddress { .. } => {
                "name the keystore of that address, or correct the signer's `address`"
            }
        }
    }
}

/// What stands in a file.
#[derive(Deserialize, Serialize)]
struct File {
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(alias = "Crypto")]
    crypto: Crypto,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    version: u64,
}

#[derive(Deserialize, Serialize)]
struct Crypto {
    cipher: String,
    cipherparams: CipherParams,
    ciphertext: String,
    kdf: String,
    kdfparams: serde_json::Value,
    mac: String,
}

#[derive(Deserialize, Serialize)]
struct CipherParams {
    iv: String,
}

#[derive(Clone, Copy, Deserialize, Serialize)]
struct Scrypt {
    dklen: u64,
    n: u64,
    r: u32,
    p: u32,
}

#[derive(Deserialize)]
struct Pbkdf2 {
    dklen: u64,
    c: u32,
    prf: String,
}

#[derive(Deserialize)]
struct Salt {
    salt: String,
}

/// Opens a keystore. Takes what its maker asked for, within limits: a second and 256 MiB are usual.
///
/// # Errors
/// What [`check`] finds, or the password is not its own.
pub fn open(
    path: &Path,
    password: &SecretString,
    expected: Option<Address>,
) -> Result<Secret, KeystoreError> {
    let opened = read(path).and_then(|text| Sealed::read(&text, expected)?.open(password));
    opened.map_err(|problem| KeystoreError { path: path.to_owned(), problem })
}

/// Whether this is a keystore that the right password opens. Costs nothing.
///
/// # Errors
/// It cannot be read, is no keystore, wants what is unknown or too costly, or says that it is another address's than `expected`.
pub fn check(path: &Path, expected: Option<Address>) -> Result<(), KeystoreError> {
    let checked = read(path).and_then(|text| Sealed::read(&text, expected).map(drop));
    checked.map_err(|problem| KeystoreError { path: path.to_owned(), problem })
}

pub(super) fn other_address(path: &Path, expected: Address, found: Address) -> KeystoreError {
    KeystoreError { path: path.to_owned(), problem: Problem::OtherAddress { expected, found } }
}

/// A new keystore's text: the key under this password.
///
/// # Panics
/// There are no 256 MiB.
#[must_use]
pub fn encrypt(secret: &Secret, password: &SecretString) -> String {
    encrypt_at(secret, password, NEW_SCRYPT)
}

fn encrypt_at(secret: &Secret, password: &SecretString, cost: Scrypt) -> String {
    let (salt, iv): ([u8; 32], [u8; 16]) = (rand::random(), rand::random());
    let derivation = cost.within_limits().expect("our own parameters are within our limits");
    let derived = derivation.derive(password, &salt);
    let mut ciphertext = secret.bytes();
    crypt(&derived, iv, &mut ciphertext);
    let mut kdfparams = serde_json::json!(cost);
    kdfparams["salt"] = hex::encode(salt).into();
    let file = File {
        address: Some(hex::encode(secret.address())),
        crypto: Crypto {
            cipher: "aes-128-ctr".into(),
            cipherparams: CipherParams { iv: hex::encode(iv) },
            ciphertext: hex::encode(ciphertext),
            kdf: "scrypt".into(),
            kdfparams,
            mac: hex::encode(mac(&derived, &ciphertext)),
        },
        id: Some(Uuid::new_v4().to_string()),
        version: 3,
    };
    serde_json::to_string_pretty(&file).expect("texts and numbers can be written")
}

fn read(path: &Path) -> Result<String, Problem> {
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(Problem::Unreadable)?;
    let read = file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text).map_err(Problem::Unreadable)?;
    if read as u64 > MAX_FILE_BYTES {
        return Err(Problem::Malformed(format!("it is longer than {MAX_FILE_BYTES} bytes")));
    }
    Ok(text)
}

/// A keystore in which nothing is wrong but perhaps the password.
struct Sealed {
    derivation: Derivation,
    salt: Vec<u8>,
    iv: [u8; 16],
    ciphertext: Vec<u8>,
    mac: Vec<u8>,
}

/// How the password becomes a key, within the limits.
enum Derivation {
    Scrypt(scrypt::Params),
    Pbkdf2(NonZeroU32),
}

impl Sealed {
    fn read(text: &str, expected: Option<Address>) -> Result<Self, Problem> {
        // A parser's message may repeat what stands there, and that may be a bare key.
        let file: File = serde_json::from_str(text).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            Problem::Malformed(format!("line {line}, column {column} is not as its format has it"))
        })?;
        if file.version != 3 {
            return Err(Problem::Version(file.version));
        }
        let crypto = file.crypto;
        if crypto.cipher != "aes-128-ctr" {
            return Err(unknown("cipher", &crypto.cipher));
        }
        let iv = bytes("iv", &crypto.cipherparams.iv)?;
        let iv = iv.try_into().map_err(|_| Problem::Malformed("`iv` is not 16 bytes long".into()))?;
        let ciphertext = bytes("ciphertext", &crypto.ciphertext)?;
        if ciphertext.is_empty() || ciphertext.len() > SECRET_BYTES {
            let length = ciphertext.len();
            return Err(Problem::Malformed(format!("`ciphertext` is {length} bytes long, and a key 32")));
        }
        let given = file.address.as_deref().map(|text| bytes("address", text)).transpose()?;
        if let (Some(expected), Some(found)) = (expected, given) {
            let found = Address::try_from(&*found)
                .map_err(|_| Problem::Malformed("`address` is not 20 bytes long".into()))?;
            if found != expected {
                return Err(Problem::OtherAddress { expected, found });
            }
        }
        let derivation = match &*crypto.kdf {
            "scrypt" => params::<Scrypt>(&crypto.kdfparams)?.within_limits()?,
            "pbkdf2" => params::<Pbkdf2>(&crypto.kdfparams)?.within_limits()?,
            other => return Err(unknown("key derivation", other)),
        };
        let salt = bytes("salt", &params::<Salt>(&crypto.kdfparams)?.salt)?;
        Ok(Self { derivation, salt, iv, ciphertext, mac: bytes("mac", &crypto.mac)? })
    }

    fn open(self, password: &SecretString) -> Result<Secret, Problem> {
        let derived = self.derivation.derive(password, &self.salt);
        verify_slices_are_equal(&mac(&derived, &self.ciphertext), &self.mac)
            .map_err(|_| Problem::Password)?;
        let mut text = Zeroizing::new(self.ciphertext);
        crypt(&derived, self.iv, &mut text);
        let mut secret = Zeroizing::new([0; SECRET_BYTES]);
        secret[SECRET_BYTES - text.len()..].copy_from_slice(&text);
        Secret::new(&secret).ok_or_else(|| Problem::Malformed("what it holds is no key of secp256k1".into()))
    }
}

impl Derivation {
    fn derive(&self, password: &SecretString, salt: &[u8]) -> Zeroizing<[u8; DERIVED_BYTES]> {
        let password = password.expose_secret().as_bytes();
        let mut derived = Zeroizing::new([0; DERIVED_BYTES]);
        match self {
            Self::Scrypt(params) => {
                scrypt::scrypt(password, salt, params, &mut *derived).expect("32 bytes can be derived");
            }
            Self::Pbkdf2(rounds) => {
                pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, *rounds, salt, password, &mut *derived);
            }
        }
        derived
    }
}

impl Scrypt {
    fn within_limits(self) -> Result<Derivation, Problem> {
        let Self { dklen, n, r, p } = self;
        check_length(dklen)?;
        let none = || Problem::Malformed(format!("scrypt has no parameters n = {n}, r = {r}, p = {p}"));
        if !n.is_power_of_two() || n == 1 || r == 0 || p == 0 {
            return Err(none());
        }
        let reserved = u128::from(n) * u128::from(r) * 128;
        if reserved > MAX_SCRYPT_BYTES || p > MAX_SCRYPT_PASSES {
            return Err(Problem::Costly(format!(
                "scrypt with n = {n}, r = {r}, p = {p} reserves {} MiB and goes through them {p} times",
                reserved >> 20
            )));
        }
        let log_n = u8::try_from(n.trailing_zeros()).map_err(|_| none())?;
        scrypt::Params::new(log_n, r, p).map(Derivation::Scrypt).map_err(|_| none())
    }
}

impl Pbkdf2 {
    fn within_limits(&self) -> Result<Derivation, Problem> {
        check_length(self.dklen)?;
        if self.prf != "hmac-sha256" {
            return Err(unknown("pseudorandom function", &self.prf));
        }
        let rounds = NonZeroU32::new(self.c)
            .ok_or_else(|| Problem::Malformed("PBKDF2 has no parameter c = 0".into()))?;
        if rounds.get() > MAX_PBKDF2_ROUNDS {
            return Err(Problem::Costly(format!("PBKDF2 with c = {rounds} rounds")));
        }
        Ok(Derivation::Pbkdf2(rounds))
    }
}

fn params<T: for<'a> Deserialize<'a>>(params: &serde_json::Value) -> Result<T, Problem> {
    T::deserialize(params)
        .map_err(|error| Problem::Malformed(format!("`kdfparams` are not as they should be: {error}")))
}

fn check_length(dklen: u64) -> Result<(), Problem> {
    match dklen {
        32 => Ok(()),
        other => Err(Problem::Malformed(format!(
            "its derived key has {other} bytes (`dklen`), where 32 are needed"
        ))),
    }
}

/// Counter mode is its own inverse.
fn crypt(derived: &[u8; DERIVED_BYTES], iv: [u8; 16], text: &mut [u8]) {
    let key = UnboundCipherKey::new(&AES_128, &derived[..HALF]).expect("a key of AES-128 has 16 bytes");
    let key = DecryptingKey::ctr(key).expect("AES-128 has a counter mode");
    key.decrypt(text, DecryptionContext::Iv128(FixedLength::from(iv))).expect("a text of any length fits");
}

fn mac(derived: &[u8; DERIVED_BYTES], ciphertext: &[u8]) -> [u8; 32] {
    keccak256(Zeroizing::new([&derived[HALF..], ciphertext].concat())).0
}

fn bytes(what: &str, text: &str) -> Result<Vec<u8>, Problem> {
    hex::decode(text).map_err(|_| Problem::Malformed(format!("`{what}` is not hexadecimal")))
}

fn unknown(what: &'static str, name: &str) -> Problem {
    Problem::Unknown { what, name: name.chars().take(32).collect() }
}

#[cfg(test)]
#[path = "keystore_tests.rs"]
mod tests;
