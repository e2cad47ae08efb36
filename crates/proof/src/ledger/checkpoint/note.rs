//! A text with signatures below it, as C2SP's signed-note lays it out.

use std::fmt;

use ::base64::{Engine, engine::general_purpose::STANDARD};

use super::key::{self, NoteKey};

/// What a signature's line begins with.
const SIGNATURE_MARK: &str = "\u{2014} ";
/// No note is longer: room for the signatures of a few dozen witnesses, of the largest kind too.
pub const MAX_NOTE_BYTES: usize = 256 * 1024;
/// No note has more signatures. Whoever reads notes must take 16.
pub const MAX_SIGNATURES: usize = 64;

/// One line of those below the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteSignature {
    /// Whose.
    pub name: String,
    /// Which of its keys.
    pub key_id: [u8; 4],
    /// What the key's algorithm made of the text.
    pub signature: Vec<u8>,
}

/// A text and its signatures, none of which is checked yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedNote {
    /// What is signed, with its last line feed.
    pub text: String,
    /// In the order of the note.
    pub signatures: Vec<NoteSignature>,
}

/// Why a note is not one, or not one that a key has signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteFault {
    /// Too long.
    #[error("a note of {bytes} bytes: at most {MAX_NOTE_BYTES} are read")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Too many signatures.
    #[error("a note with more than {MAX_SIGNATURES} signatures")]
    TooManySignatures,
    /// A control character other than a line feed.
    #[error("a note has no control characters but line feeds; there is {character:?}")]
    Control {
        /// It.
        character: char,
    },
    /// The last line has no end.
    #[error("a note's lines end with a line feed, the last one too")]
    Unterminated,
    /// No empty line before the signatures.
    #[error("a note is a text, an empty line, and signatures; there is no empty line")]
    NoBlankLine,
    /// A text without signatures.
    #[error("a note has one signature at least")]
    Unsigned,
    /// A line below the text that is no signature.
    #[error(
        "{found:.120?} is no line of a signature: those are an em dash, a name and the Base64 of a key id and a signature"
    )]
    Line {
        /// The line.
        found: String,
    },
    /// No signature of the key.
    #[error("the note is not signed by {name}, key {key_id:08x}")]
    NotSigned {
        /// The key's name.
        name: String,
        /// The key's id.
        key_id: u32,
    },
    /// A signature in the key's name that the key did not make.
    #[error("the note's signature of {name}, key {key_id:08x}, is false: its text is not what was signed")]
    False {
        /// The key's name.
        name: String,
        /// The key's id.
        key_id: u32,
    },
}

impl SignedNote {
    /// Reads a note: strictly, so that it is written the same.
    ///
    /// # Errors
    /// Where it is not one.
    pub fn parse(note: &str) -> Result<Self, NoteFault> {
        if note.len() > MAX_NOTE_BYTES {
            return Err(NoteFault::TooLong { bytes: note.len() });
        }
        if let Some(character) = note.chars().find(|character| *character < ' ' && *character != '\n') {
            return Err(NoteFault::Control { character });
        }
        // The last empty line: the text may have some.
        let blank = note.rfind("\n\n").ok_or(NoteFault::NoBlankLine)?;
        let (text, below) = (&note[..=blank], &note[blank + 2..]);
        if below.is_empty() {
            return Err(NoteFault::Unsigned);
        }
        let lines = below.strip_suffix('\n').ok_or(NoteFault::Unterminated)?.split('\n');
        let mut signatures = Vec::new();
        for line in lines {
            if signatures.len() == MAX_SIGNATURES {
                return Err(NoteFault::TooManySignatures);
            }
            let signature = NoteSignature::parse(line);
            signatures.push(signature.ok_or_else(|| NoteFault::Line { found: line.to_owned() })?);
        }
        Ok(Self { text: text.to_owned(), signatures })
    }

    /// Checks that the key has signed the text. Other keys' signatures are not looked at; of this key's, none may be false.
    ///
    /// # Errors
    /// Where it has not.
    pub fn verify(&self, key: &NoteKey) -> Result<(), NoteFault> {
        let key_id = u32::from_be_bytes(key.key_id());
        let mut is_signed = false;
        for signature in &self.signatures {
            if signature.name == key.name() && signature.key_id == key.key_id() {
                if !key.has_signed(self.text.as_bytes(), &signature.signature) {
                    return Err(NoteFault::False { name: key.name().to_owned(), key_id });
                }
                is_signed = true;
            }
        }
        if is_signed { Ok(()) } else { Err(NoteFault::NotSigned { name: key.name().to_owned(), key_id }) }
    }
}

impl fmt::Display for SignedNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        for NoteSignature { name, key_id, signature } in &self.signatures {
            let bytes = [key_id, signature.as_slice()].concat();
            writeln!(f, "{SIGNATURE_MARK}{name} {}", base64(&bytes))?;
        }
        Ok(())
    }
}

impl NoteSignature {
    fn parse(line: &str) -> Option<Self> {
        let (name, encoded) = line.strip_prefix(SIGNATURE_MARK)?.split_once(' ')?;
        key::check_name(name).ok()?;
        let bytes = from_base64(encoded)?;
        let (key_id, signature) = bytes.split_first_chunk()?;
        // A signature of no bytes is none.
        (!signature.is_empty()).then(|| Self {
            name: name.to_owned(),
            key_id: *key_id,
            signature: signature.to_vec(),
        })
    }
}

pub(super) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Padded, without white space, and with no bit set that says nothing.
pub(super) fn from_base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}
