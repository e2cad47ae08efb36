//! What an entry is found by.

use std::fmt;

use uuid::Uuid;

use super::fingerprint::Fingerprint;

/// The longest key, in characters.
pub const KEY_MAX_CHARS: usize = 255;
/// What the keys begin with that are derived from their request; no client may choose such a one.
pub const AUTOMATIC_PREFIX: &str = "auto:";
/// Hex digits of the fingerprint in a derived key (spec 4 §1). The whole fingerprint is compared as well.
const AUTOMATIC_HEX_DIGITS: usize = 32;

/// Stands for the platform itself in a transaction's set of tenants ([`crate::Db::tenant_tx`]): entries without a tenant are seen
/// only where it was named. No tenant has this id.
pub const PLATFORM: Uuid = Uuid::nil();

/// Where a key counts: the same key of another tenant, principal, method or route is another key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scope {
    /// `None` for an operation of the platform itself.
    pub tenant_id: Option<Uuid>,
    /// Who asks, as `user:<uuid>` or `key:<id>`; up to 255 bytes.
    pub principal: String,
    /// The HTTP method, in capitals.
    pub method: String,
    /// The route's template, as `/api/v1/things/{id}`; up to 255 bytes.
    pub route: String,
}

impl Scope {
    /// The tenant that a transaction names to see this scope's entries.
    #[must_use]
    pub fn tenant(&self) -> Uuid {
        self.tenant_id.unwrap_or(PLATFORM)
    }
}

/// A key: the client's own, or one that is derived from the request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    text: String,
    is_automatic: bool,
}

/// Why a text is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Nothing, or too much.
    #[error("a key has 1 to {KEY_MAX_CHARS} characters, this one has {0}")]
    Length(usize),
    /// Something else than printable ASCII.
    #[error("a key is made of printable ASCII characters alone")]
    Characters,
    /// It could be taken for a derived one.
    #[error("keys that begin with `{AUTOMATIC_PREFIX}` are not for clients to choose")]
    Reserved,
}

impl Key {
    /// A key that the client chose.
    ///
    /// # Errors
    /// [`KeyError`] says what is wrong with it.
    pub fn explicit(text: impl Into<String>) -> Result<Self, KeyError> {
        let text = text.into();
        let count = text.chars().count();
        if !(1..=KEY_MAX_CHARS).contains(&count) {
            return Err(KeyError::Length(count));
        }
        if !text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return Err(KeyError::Characters);
        }
        if text.starts_with(AUTOMATIC_PREFIX) {
            return Err(KeyError::Reserved);
        }
        Ok(Self { text, is_automatic: false })
    }

    /// The key of a request that has none: it guards only while the request is in flight.
    #[must_use]
    pub fn automatic(fingerprint: &Fingerprint) -> Self {
        let hex = fingerprint.to_string();
        Self { text: format!("{AUTOMATIC_PREFIX}{}", &hex[..AUTOMATIC_HEX_DIGITS]), is_automatic: true }
    }

    /// A key that an entry was made under.
    pub(crate) fn stored(text: String) -> Self {
        Self { is_automatic: text.starts_with(AUTOMATIC_PREFIX), text }
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it was derived.
    #[must_use]
    pub fn is_automatic(&self) -> bool {
        self.is_automatic
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
