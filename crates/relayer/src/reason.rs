//! Why a transaction reverts, or did: in one code, in words, and by whose account.

use alloy_primitives::Bytes;
use plimsoll_chain::{CallError, RevertKind, Reverts, TracedRevert, short_text};
use plimsoll_types::RevertSource;

/// The code of a failure for want of gas.
pub const OUT_OF_GAS: &str = "out_of_gas";
/// The code of a failure of which nobody could tell more.
pub const UNKNOWN: &str = "unknown";

/// Why a transaction reverts, or did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// Who says so.
    pub source: RevertSource,
    /// A code for machines: see [`plimsoll_chain::Revert::code`], and [`OUT_OF_GAS`], [`UNKNOWN`].
    pub code: String,
    /// For people.
    pub text: String,
    /// The bytes that it was read from, for operators.
    pub data: Bytes,
    /// How the node called the failure, or why nobody could tell, for operators.
    pub message: String,
}

impl Reason {
    fn read(reverts: &Reverts, source: RevertSource, data: Bytes, message: &str) -> Self {
        let revert = reverts.read(&data);
        let (code, text) = match (&revert.kind, words_of(message)) {
            (RevertKind::Empty, _) if is_out_of_gas(message) => return Self::out_of_gas(source, message),
            // Some nodes keep the bytes to themselves, and say what is in them.
            (RevertKind::Empty, Some(words)) => ("error".to_owned(), short_text(words)),
            _ => (revert.code().into_owned(), revert.text),
        };
        Self { source, code, text, data, message: short_text(message) }
    }

    fn out_of_gas(source: RevertSource, message: &str) -> Self {
        let text = "it runs out of gas".to_owned();
        Self { source, code: OUT_OF_GAS.to_owned(), text, data: Bytes::new(), message: short_text(message) }
    }

    /// Why a node that was asked to run it says that it fails; the other error where it does not say that.
    ///
    /// # Errors
    /// The node did not run it.
    pub fn of_call(reverts: &Reverts, source: RevertSource, error: CallError) -> Result<Self, CallError> {
        match error {
            CallError::Reverted { message, data } => Ok(Self::read(reverts, source, data, &message)),
            CallError::Failed { message, .. } if is_out_of_gas(&message) => {
                Ok(Self::out_of_gas(source, &message))
            }
            failed @ CallError::Failed { .. } => Err(failed),
        }
    }

    /// Why it reverted where it is, as a node traced it.
    #[must_use]
    pub fn of_trace(reverts: &Reverts, traced: TracedRevert) -> Self {
        Self::read(reverts, RevertSource::Trace, traced.data, &traced.message)
    }

    /// That nobody could tell, and what is known all the same.
    #[must_use]
    pub fn unknown(text: &str, message: &str) -> Self {
        Self {
            source: RevertSource::Nobody,
            code: UNKNOWN.to_owned(),
            text: text.to_owned(),
            data: Bytes::new(),
            message: short_text(message),
        }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.text, self.code)
    }
}

/// Anvil says `OutOfGas`, the others `out of gas`.
fn is_out_of_gas(message: &str) -> bool {
    let letters: String = message.chars().filter(char::is_ascii_alphabetic).collect();
    letters.to_ascii_lowercase().contains("outofgas")
}

/// What a node adds to the bare word that something reverted.
fn words_of(message: &str) -> Option<&str> {
    let (head, words) = message.split_once(": ")?;
    let words = words.trim();
    (head.to_ascii_lowercase().ends_with("reverted") && !words.is_empty() && words != "0x").then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(message: &str, data: &'static [u8]) -> Result<(String, String), CallError> {
        let error = CallError::Reverted { message: message.into(), data: Bytes::from_static(data) };
        Reason::of_call(&Reverts::default(), RevertSource::Estimate, error)
            .map(|reason| (reason.code, reason.text))
    }

    #[test]
    fn what_a_node_says_counts_where_it_keeps_the_bytes_to_itself() {
        let told = |code: &str, text: &str| Ok((code.to_owned(), text.to_owned()));
        let bare = "no reason given (out of gas, or a bare revert)";
        assert_eq!(of("execution reverted: paused", b""), told("error", "paused"));
        assert_eq!(of("execution reverted", b""), told("empty", bare));
        assert_eq!(of("execution reverted: 0x", b""), told("empty", bare));
        assert_eq!(of("execution reverted: paused", &[0xde, 0xad, 0xbe, 0xef]).unwrap().0, "unknown_error");
        assert_eq!(of("execution reverted: out of gas", b"").unwrap().0, OUT_OF_GAS);
    }

    #[test]
    fn who_did_not_run_it_does_not_say_why_it_fails_unless_gas_ran_out() {
        let failed = |message: &str| {
            let error = CallError::Failed { code: -32_000, message: message.into() };
            Reason::of_call(&Reverts::default(), RevertSource::Simulation, error).map(|reason| reason.code)
        };
        assert_eq!(failed("EVM error OutOfGas"), Ok(OUT_OF_GAS.to_owned()));
        assert_eq!(failed("out of gas: gas required exceeds: 21000"), Ok(OUT_OF_GAS.to_owned()));
        assert!(failed("insufficient funds for gas * price + value").is_err());
    }
}
