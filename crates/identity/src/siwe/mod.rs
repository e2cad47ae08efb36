//! Sign-in with a wallet: EIP-4361 messages, EIP-191 signatures, EIP-1271 contract wallets.

mod check;
mod message;
mod signature;

pub use check::{
    CLOCK_SKEW, CallOutcome, CheckError, Expectations, KeysOnly, MAX_AGE, Proven, WalletCalls,
    WalletUnavailable, check,
};
pub use message::{MAX_MESSAGE_BYTES, Message, ParseError};
pub use signature::{SignatureError, personal_digest, recover};
