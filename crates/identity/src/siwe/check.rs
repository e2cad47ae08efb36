//! Is this message meant for us, now, and did its address sign it? All of it without the database; the nonce comes last, in the transaction
//! of the sign-in (`sign_in`), so that nothing here that takes time holds one.

use std::future::Future;
use std::time::Duration;

use alloy_primitives::{Address, B256, Bytes};
use time::OffsetDateTime;

use super::message::{Message, ParseError};
use super::signature::{SignatureError, personal_digest, recover};

/// How far the clocks of a wallet and of ours may be apart.
pub const CLOCK_SKEW: Duration = Duration::from_secs(60);
/// How old a message may be. A nonce does not live longer either.
pub const MAX_AGE: Duration = Duration::from_secs(10 * 60);

/// `isValidSignature(bytes32,bytes)`, and what it returns for a valid one (EIP-1271).
const IS_VALID_SIGNATURE: [u8; 4] = [0x16, 0x26, 0xba, 0x7e];
/// The longest signature that a contract wallet is asked about.
const MAX_SIGNATURE_BYTES: usize = 16 * 1024;
const WORD: usize = 32;

/// What a message must say to be meant for us.
#[derive(Clone, Debug)]
pub struct Expectations {
    /// The authority under which users reach us: `app.example.com`, with the port where it is not the scheme's own.
    pub domain: String,
    /// `https`; `http` only where a developer's browser talks to its own machine.
    pub scheme: String,
    /// The chains that users may sign in on.
    pub chain_ids: Vec<u64>,
}

/// A contract's answer to a read-only call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallOutcome {
    /// There is no contract at the address.
    NoCode,
    /// It returned this.
    Returned(Bytes),
    /// It reverted.
    Reverted,
}

/// The chain could not be asked: neither yes nor no.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct WalletUnavailable(pub String);

/// Asks contracts, for wallets that are contracts (EIP-1271). The adapter calls at the hash of one recent block, so that code and answer
/// are of one moment.
pub trait WalletCalls: Send + Sync {
    /// Calls `to` on `chain_id` with `data`, read-only.
    ///
    /// # Errors
    /// [`WalletUnavailable`] when there is no answer. A contract that reverts has answered.
    fn call(
        &self,
        chain_id: u64,
        to: Address,
        data: Bytes,
    ) -> impl Future<Output = Result<CallOutcome, WalletUnavailable>> + Send;
}

/// For a deployment where only keys sign: no address has code.
#[derive(Clone, Copy, Debug)]
pub struct KeysOnly;

impl WalletCalls for KeysOnly {
    async fn call(&self, _: u64, _: Address, _: Bytes) -> Result<CallOutcome, WalletUnavailable> {
        Ok(CallOutcome::NoCode)
    }
}

/// Why a message proves nothing to us.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// It is no sign-in message.
    #[error("this is not a sign-in message as EIP-4361 has it: {0}")]
    Malformed(#[from] ParseError),
    /// It was made for another site. Somebody may be passing on a signature that was given elsewhere.
    #[error("the message is for the domain {0:?}, which is not this one")]
    WrongDomain(String),
    /// Nor is its URI ours.
    #[error("the message's URI {0:?} is not of this site")]
    WrongUri(String),
    /// Nor its chain.
    #[error("the message is for chain {0}, on which nobody signs in here")]
    OtherChain(u64),
    /// It comes from the future.
    #[error("the message was issued in the future: check the clock of the device that made it")]
    IssuedInFuture,
    /// It was issued too long ago.
    #[error("the message was issued more than {} minutes ago: sign a new one", MAX_AGE.as_secs() / 60)]
    TooOld,
    /// Its own end has come.
    #[error("the message has expired: sign a new one")]
    Expired,
    /// Its own beginning has not.
    #[error("the message is not valid yet")]
    NotYetValid,
    /// The signature is none, or a malleable one.
    #[error("{0}")]
    Signature(#[from] SignatureError),
    /// Another address signed.
    #[error("the message was not signed by its address {0}")]
    OtherSigner(Address),
    /// The wallet is a contract, and says no.
    #[error("the contract wallet {0} does not accept the signature")]
    ContractRefused(Address),
    /// The wallet may be a contract, and could not be asked.
    #[error("the wallet's contract could not be asked whether the signature is its own: {0}. Try again")]
    Unavailable(#[from] WalletUnavailable),
}

/// A message that is meant for us and was signed by its address. Good for one sign-in, if its nonce is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    pub(crate) address: Address,
    pub(crate) chain_id: u64,
    pub(crate) nonce: String,
}

impl Proven {
    /// Who signed.
    #[must_use]
    pub fn address(&self) -> Address {
        self.address
    }

    /// On which chain.
    #[must_use]
    pub fn chain_id(&self) -> u64 {
        self.chain_id
    }
}

/// Checks a signed message. A key's signature is decided here; only where it does not fit is the address asked whether it is a contract.
///
/// # Errors
/// [`CheckError`]: each reason has its own.
pub async fn check(
    text: &str,
    signature: &[u8],
    expected: &Expectations,
    now: OffsetDateTime,
    wallets: &impl WalletCalls,
) -> Result<Proven, CheckError> {
    let message = Message::parse(text)?;
    check_meaning(&message, expected, now)?;
    let digest = personal_digest(text);
    let proven =
        Proven { address: message.address, chain_id: message.chain_id, nonce: message.nonce.to_owned() };
    let by_key = match recover(digest, signature) {
        Ok(signer) if signer == message.address => return Ok(proven),
        Ok(_) => CheckError::OtherSigner(message.address),
        Err(error) => error.into(),
    };
    if signature.len() > MAX_SIGNATURE_BYTES {
        return Err(by_key);
    }
    match wallets.call(message.chain_id, message.address, is_valid_signature(digest, signature)).await? {
        CallOutcome::NoCode => Err(by_key),
        CallOutcome::Returned(answer) if is_yes(&answer) => Ok(proven),
        CallOutcome::Returned(_) | CallOutcome::Reverted => Err(CheckError::ContractRefused(message.address)),
    }
}

fn check_meaning(
    message: &Message<'_>,
    expected: &Expectations,
    now: OffsetDateTime,
) -> Result<(), CheckError> {
    if message.domain != expected.domain || message.scheme.is_some_and(|scheme| scheme != expected.scheme) {
        return Err(CheckError::WrongDomain(message.domain.to_owned()));
    }
    if !is_of_site(message.uri, expected) {
        return Err(CheckError::WrongUri(message.uri.to_owned()));
    }
    if !expected.chain_ids.contains(&message.chain_id) {
        return Err(CheckError::OtherChain(message.chain_id));
    }
    // Differences, not sums: a message may name the year 9999, and a sum would leave the calendar.
    let early = time::Duration::ZERO - CLOCK_SKEW;
    let age = now - message.issued_at;
    if age < early {
        return Err(CheckError::IssuedInFuture);
    }
    if age > MAX_AGE + CLOCK_SKEW {
        return Err(CheckError::TooOld);
    }
    if message.expiration_time.is_some_and(|end| now - end >= CLOCK_SKEW) {
        return Err(CheckError::Expired);
    }
    if message.not_before.is_some_and(|start| now - start < early) {
        return Err(CheckError::NotYetValid);
    }
    Ok(())
}

fn is_of_site(uri: &str, expected: &Expectations) -> bool {
    uri.strip_prefix(expected.scheme.as_str())
        .and_then(|rest| rest.strip_prefix("://"))
        .and_then(|rest| rest.strip_prefix(expected.domain.as_str()))
        .is_some_and(|path| path.is_empty() || path.starts_with(['/', '?', '#']))
}

/// The call's data: the digest, the offset of the bytes, their length, and the bytes filled up to whole words.
fn is_valid_signature(digest: B256, signature: &[u8]) -> Bytes {
    let filled = signature.len().next_multiple_of(WORD);
    let mut data = Vec::with_capacity(IS_VALID_SIGNATURE.len() + 3 * WORD + filled);
    data.extend_from_slice(&IS_VALID_SIGNATURE);
    data.extend_from_slice(digest.as_slice());
    for word in [2 * WORD, signature.len()] {
        data.extend_from_slice(&[0; WORD - 8]);
        data.extend_from_slice(&(word as u64).to_be_bytes());
    }
    data.extend_from_slice(signature);
    data.resize(IS_VALID_SIGNATURE.len() + 3 * WORD + filled, 0);
    data.into()
}

/// The magic value, left-aligned in one whole word with nothing else in it.
fn is_yes(answer: &[u8]) -> bool {
    answer.len() == WORD
        && answer.starts_with(&IS_VALID_SIGNATURE)
        && answer[IS_VALID_SIGNATURE.len()..].iter().all(|byte| *byte == 0)
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
