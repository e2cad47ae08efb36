//! Keys of notes: Ed25519 (RFC 8032), with a name.

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

use super::note::{NoteFault, NoteSignature, SignedNote, base64, from_base64};
use crate::ledger::sha256;

/// Ed25519, among signed-note's kinds of signatures.
const ED25519: u8 = 1;

/// What a note is checked against: a name and a public key. Its text is `<name>+<key id>+<Base64 of the kind and the key>`, as Go's
/// `note` package has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteKey {
    name: String,
    key: VerifyingKey,
}

/// Signs notes under a name.
pub struct NoteSigner {
    key: NoteKey,
    secret: SigningKey,
}

/// Why something is no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// The name.
    #[error(
        "a key's name is not empty and has no white space, control character or `+`; {found:.120?} will not do"
    )]
    Name {
        /// It.
        found: String,
    },
    /// The text's layout.
    #[error("a public key is written `<name>+<8 hexadecimal digits>+<Base64 of 33 bytes>`")]
    Layout,
    /// Another algorithm.
    #[error("a key of kind {kind:#04x}: only Ed25519 (0x01) is known")]
    Kind {
        /// The byte that says which.
        kind: u8,
    },
    /// Not a point of the curve, or one that anybody can sign for.
    #[error("the public key is none of Ed25519, or a weak one")]
    Key,
    /// The id does not belong to name and key.
    #[error(
        "the public key's id is {computed:08x}, not {found:08x}: name or key are not the ones it was made of"
    )]
    Id {
        /// What is written.
        found: u32,
        /// What follows.
        computed: u32,
    },
}

/// Names of keys and of logs: no spaces, and nothing that a note or a key's text would be cut at.
pub(super) fn check_name(name: &str) -> Result<(), KeyFault> {
    let fits = |c: char| !c.is_whitespace() && !c.is_control() && c != '+';
    if name.is_empty() || !name.chars().all(fits) {
        return Err(KeyFault::Name { found: name.to_owned() });
    }
    Ok(())
}

impl NoteKey {
    /// Of a public key's 32 bytes.
    ///
    /// # Errors
    /// Where the name will not do, or the bytes are no public key.
    pub fn new(name: &str, public_key: &[u8; 32]) -> Result<Self, KeyFault> {
        check_name(name)?;
        let key = VerifyingKey::from_bytes(public_key).map_err(|_| KeyFault::Key)?;
        if key.is_weak() {
            return Err(KeyFault::Key);
        }
        Ok(Self { name: name.to_owned(), key })
    }

    /// Whose it is.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key's 32 bytes.
    #[must_use]
    pub fn public_key(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }

    /// The first four bytes of `SHA-256(name ‖ 0x0A ‖ 0x01 ‖ public key)`.
    #[must_use]
    pub fn key_id(&self) -> [u8; 4] {
        let named = [self.name.as_bytes(), b"\n", &[ED25519], self.key.as_bytes()].concat();
        let [a, b, c, d, ..] = sha256(&named).0;
        [a, b, c, d]
    }

    pub(super) fn has_signed(&self, text: &[u8], signature: &[u8]) -> bool {
        Signature::from_slice(signature)
            .is_ok_and(|signature| self.key.verify_strict(text, &signature).is_ok())
    }
}

impl fmt::Display for NoteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = [&[ED25519], self.key.as_bytes().as_slice()].concat();
        write!(f, "{}+{:08x}+{}", self.name, u32::from_be_bytes(self.key_id()), base64(&key))
    }
}

impl FromStr for NoteKey {
    type Err = KeyFault;

    fn from_str(text: &str) -> Result<Self, KeyFault> {
        // The Base64 may have a `+` too.
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(encoded)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(KeyFault::Layout);
        };
        let is_id = id.len() == 8 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        let found = u32::from_str_radix(id, 16).ok().filter(|_| is_id).ok_or(KeyFault::Layout)?;
        let bytes = from_base64(encoded).ok_or(KeyFault::Layout)?;
        let (&kind, public_key) = bytes.split_first().ok_or(KeyFault::Layout)?;
        if kind != ED25519 {
            return Err(KeyFault::Kind { kind });
        }
        let key = Self::new(name, public_key.try_into().map_err(|_| KeyFault::Layout)?)?;
        let computed = u32::from_be_bytes(key.key_id());
        if computed != found {
            return Err(KeyFault::Id { found, computed });
        }
        Ok(key)
    }
}

impl NoteSigner {
    /// Of a secret key's 32 bytes (RFC 8032's). One secret may sign under several names: each has an id of its own, and a text says whose
    /// it is.
    ///
    /// # Errors
    /// Where the name will not do.
    pub fn new(name: &str, secret_key: &[u8; 32]) -> Result<Self, KeyFault> {
        let secret = SigningKey::from_bytes(secret_key);
        let key = NoteKey::new(name, secret.verifying_key().as_bytes())?;
        Ok(Self { key, secret })
    }

    /// The same secret under another name.
    ///
    /// # Errors
    /// Where the name will not do.
    pub fn named(&self, name: &str) -> Result<Self, KeyFault> {
        Self::new(name, self.secret.as_bytes())
    }

    /// What its notes are checked against.
    #[must_use]
    pub fn key(&self) -> &NoteKey {
        &self.key
    }

    /// A note of this text, which ends with a line feed.
    ///
    /// # Errors
    /// Where no note can have such a text.
    pub fn sign(&self, text: String) -> Result<SignedNote, NoteFault> {
        if !text.ends_with('\n') {
            return Err(NoteFault::Unterminated);
        }
        let signature = self.secret.sign(text.as_bytes()).to_bytes().to_vec();
        let signature = NoteSignature { name: self.key.name.clone(), key_id: self.key.key_id(), signature };
        let note = SignedNote { text, signatures: vec![signature] };
        // What nobody could read is not let out.
        SignedNote::parse(&note.to_string())?;
        Ok(note)
    }
}

impl fmt::Debug for NoteSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NoteSigner").field("key", &self.key).finish_non_exhaustive()
    }
}
