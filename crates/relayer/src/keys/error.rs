//! Why a key did not sign.

use alloy_primitives::Address;

/// Why a key did not sign. Its text names the signer at most by scheme, host and port.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Nobody knows: it was not reached, it did not answer in time, or it is out of order. Asking again may help.
    #[error(
        "{at} did not sign: {why}. What to do: look whether it runs and can be reached; it is asked again"
    )]
    Unavailable {
        /// Who was asked.
        at: String,
        /// What happened.
        why: String,
    },
    /// It understood, and will not.
    #[error("{at} refuses to sign: {why}. What to do: {remedy}")]
    Refused {
        /// Who was asked.
        at: String,
        /// What it said.
        why: String,
        /// What changes that.
        remedy: &'static str,
    },
    /// What it answered is no signature.
    #[error("{at} answered with no signature: {why}. What to do: look what answers at that address")]
    Garbled {
        /// Who was asked.
        at: String,
        /// What is wrong with it.
        why: String,
    },
    /// The signature is somebody else's, or of something else.
    #[error(
        "the signature is of {found}, and {expected} was to sign. What to do: give the key of {expected}, or correct the signer's address"
    )]
    OtherKey {
        /// Who was to sign.
        expected: Address,
        /// Whose signature it is.
        found: Address,
    },
}

impl KeyError {
    /// Whether asking again can help, with nothing changed.
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}
