//! What a log is at a moment, signed: a C2SP checkpoint (<https://c2sp.org/tlog-checkpoint>) in a C2SP signed note
//! (<https://c2sp.org/signed-note>).
//!
//! ```text
//! books.example.com/0192f0c1-2f3a-7b4c-8d5e-6f708192a3b4
//! 20852163
//! CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
//!
//! — books.example.com/0192f0c1-2f3a-7b4c-8d5e-6f708192a3b4 Az3grl…
//! ```
//!
//! The origin is the log's configured name, a slash, and the tenant. A log must never sign two checkpoints of which neither is the beginning of the other; a
//! restored database, which may have forgotten what was signed, goes on under a new name.

mod key;
mod note;
#[cfg(test)]
mod tests;

use alloy_primitives::B256;
use uuid::Uuid;

pub use self::key::{KeyFault, NoteKey, NoteSigner};
pub use self::note::{MAX_NOTE_BYTES, MAX_SIGNATURES, NoteFault, NoteSignature, SignedNote};
use self::note::{base64, from_base64};

/// Size and root of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log.
    pub origin: String,
    /// How many entries it has.
    pub size: u64,
    /// The tree's root over them.
    pub root: B256,
    /// Further lines, which are signed too. Ours name the log that this one continues, where it does.
    pub extensions: Vec<String>,
}

/// Why a text is no checkpoint, or not the one that is looked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointFault {
    /// The note around it.
    #[error(transparent)]
    Note(#[from] NoteFault),
    /// A line that says nothing, or more than a line.
    #[error("{line} of a checkpoint is a line that is neither empty nor has control characters in it")]
    Line {
        /// Which.
        line: &'static str,
    },
    /// The second line.
    #[error("a checkpoint's size is a decimal number below 2^64 without leading zeros, not {found:.40?}")]
    Size {
        /// What is there.
        found: String,
    },
    /// The third line.
    #[error("a checkpoint's root is the Base64 of 32 bytes, not {found:.80?}")]
    Root {
        /// What is there.
        found: String,
    },
    /// A checkpoint of another log.
    #[error("the checkpoint is of the log {found:.200?}, not {expected:?}")]
    Origin {
        /// Its own.
        found: String,
        /// The log's that is looked for.
        expected: String,
    },
}

/// The origin of a tenant's log: `<log name>/<tenant_id>`.
///
/// # Errors
/// Where the name is not one that a key may have.
pub fn origin(log_name: &str, tenant_id: Uuid) -> Result<String, KeyFault> {
    key::check_name(log_name)?;
    Ok(format!("{log_name}/{tenant_id}"))
}

/// The tenant that an origin names; `None` of one that [`origin`] did not write.
#[must_use]
pub fn origin_tenant(origin: &str) -> Option<Uuid> {
    let (log_name, tenant) = origin.rsplit_once('/')?;
    let tenant_id = Uuid::try_parse(tenant).ok()?;
    (self::origin(log_name, tenant_id).as_deref() == Ok(origin)).then_some(tenant_id)
}

impl Checkpoint {
    /// Without further lines.
    #[must_use]
    pub fn new(origin: impl Into<String>, size: u64, root: B256) -> Self {
        Self { origin: origin.into(), size, root, extensions: Vec::new() }
    }

    /// The text that is signed.
    ///
    /// # Errors
    /// Where the origin or a further line is not a line.
    pub fn text(&self) -> Result<String, CheckpointFault> {
        check_line("the origin", &self.origin)?;
        let mut text = format!("{}\n{}\n{}\n", self.origin, self.size, base64(self.root.as_slice()));
        for extension in &self.extensions {
            check_line("an extension", extension)?;
            text.push_str(extension);
            text.push('\n');
        }
        Ok(text)
    }

    /// Reads the text of a note: strictly, so that a checkpoint has one text. It says nothing about signatures: see [`Checkpoint::verify`].
    ///
    /// # Errors
    /// Where it is no checkpoint.
    pub fn parse(text: &str) -> Result<Self, CheckpointFault> {
        let mut lines = text.strip_suffix('\n').ok_or(NoteFault::Unterminated)?.split('\n');
        let origin = lines.next().unwrap_or_default();
        check_line("the origin", origin)?;
        let size = lines.next().unwrap_or_default();
        let size = parse_size(size).ok_or_else(|| CheckpointFault::Size { found: size.to_owned() })?;
        let root = lines.next().unwrap_or_default();
        let root = from_base64(root)
            .and_then(|bytes| B256::try_from(bytes.as_slice()).ok())
            .ok_or_else(|| CheckpointFault::Root { found: root.to_owned() })?;
        let mut extensions = Vec::new();
        for line in lines {
            check_line("an extension", line)?;
            extensions.push(line.to_owned());
        }
        Ok(Self { origin: origin.to_owned(), size, root, extensions })
    }

    /// Signs it: the note, with one signature.
    ///
    /// # Errors
    /// Where it has no text.
    pub fn sign(&self, signer: &NoteSigner) -> Result<String, CheckpointFault> {
        Ok(signer.sign(self.text()?)?.to_string())
    }

    /// Reads a signed note that this key has signed as one of this log. Signatures of keys that are not asked about (witnesses', a former key's) are no
    /// obstacle, and say nothing.
    ///
    /// # Errors
    /// Where it is no note, no checkpoint, not signed by the key, or of another log.
    pub fn verify(note: &str, key: &NoteKey, expected_origin: &str) -> Result<Self, CheckpointFault> {
        let note = SignedNote::parse(note)?;
        note.verify(key)?;
        let checkpoint = Self::parse(&note.text)?;
        if checkpoint.origin != expected_origin {
            return Err(CheckpointFault::Origin {
                found: checkpoint.origin,
                expected: expected_origin.to_owned(),
            });
        }
        Ok(checkpoint)
    }
}

fn check_line(line: &'static str, text: &str) -> Result<(), CheckpointFault> {
    let fits = !text.is_empty() && !text.bytes().any(|byte| byte < b' ');
    if fits { Ok(()) } else { Err(CheckpointFault::Line { line }) }
}

/// Only what is written so: no sign, no leading zeros.
fn parse_size(text: &str) -> Option<u64> {
    let is_canonical =
        text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if is_canonical { text.parse().ok() } else { None }
}
