//! What a node means by its answer to `eth_sendRawTransaction`.
//!
//! There is no standard for it: codes overlap, and clients, versions and providers say the same thing in other words. So the words are in a
//! table (`spellings.rs`), and what the table does not know is [`SendAnswer::Unknown`], which is neither success nor failure. Only a result
//! with our own hash is [`SendAnswer::Accepted`], whatever a text says.
//!
//! An answer is of one node about its own pool at one moment. It ends nothing: what became of a transaction is decided by the blocks.

mod spellings;
#[cfg(test)]
mod tests;

use alloy_primitives::B256;
use plimsoll_chain::{ErrorClass, Refused, RpcError, SendError};

/// Characters of a node's words that are kept.
const MAX_DETAIL_CHARS: usize = 400;

/// JSON-RPC: the method does not exist or is not available.
const METHOD_NOT_FOUND: i64 = -32_601;

/// A call ran and reverted (execution-apis, as geth gives it). zkSync gives it with any words, so words come first.
const REVERTED: i64 = 3;

/// What one node said of one transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendAnswer {
    /// The node has taken it, under the hash that it has.
    Accepted,
    /// The node has had it before. As good as accepted; though Nethermind also says so of what it saw and did not keep
    /// (NethermindEth/nethermind#4148).
    AlreadyKnown,
    /// The nonce is used up in a block: by this transaction, by another of ours, or by a stranger's.
    NonceTooLow {
        /// The sender's next nonce, where the node says it.
        next: Option<u64>,
    },
    /// The node wants a lower nonce first.
    NonceTooHigh {
        /// The sender's next nonce, where the node says it.
        next: Option<u64>,
    },
    /// It offers less than the node's pool takes.
    Underpriced,
    /// The pool has another transaction with this nonce, and this one does not offer enough more to take its place. Some say so of the
    /// very same transaction.
    ReplacementUnderpriced,
    /// What it offers at most is below the base fee.
    FeeBelowBase,
    /// Its whole fee is above what the node lets anybody pay.
    FeeAboveNodeLimit,
    /// The sender cannot pay for it.
    InsufficientFunds,
    /// Its gas limit is below what any transaction with its data needs.
    IntrinsicGasTooLow,
    /// Its gas limit is above what a block, or one transaction, may have.
    ExceedsBlockGasLimit,
    /// The pool is full.
    PoolFull,
    /// The pool takes no more, or no such one, of this sender for now.
    SenderLimit,
    /// It is signed for another chain, or for none.
    WrongChain,
    /// The chain does not know this type of transaction.
    UnsupportedType,
    /// Its encoding, signature or numbers are not those of any valid transaction.
    Malformed,
    /// It has more bytes than the node, or any, takes.
    TooLarge,
    /// The node takes nothing from this sender, or nothing like it.
    Forbidden,
    /// The endpoint wants to be asked less often.
    RateLimited,
    /// The node takes no transactions, or not now.
    Unavailable,
    /// The node ran it, and it reverted. Nitro's sequencer then drops it; Hardhat and Ganache say so of what they have put into a block.
    Reverted,
    /// Nothing can be concluded: no answer, or one that nobody knows, or one that cannot be about this transaction.
    Unknown,
}

impl SendAnswer {
    /// A stable name, as it is kept and counted.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::AlreadyKnown => "already_known",
            Self::NonceTooLow { .. } => "nonce_too_low",
            Self::NonceTooHigh { .. } => "nonce_too_high",
            Self::Underpriced => "underpriced",
            Self::ReplacementUnderpriced => "replacement_underpriced",
            Self::FeeBelowBase => "fee_below_base",
            Self::FeeAboveNodeLimit => "fee_above_node_limit",
            Self::InsufficientFunds => "insufficient_funds",
            Self::IntrinsicGasTooLow => "intrinsic_gas_too_low",
            Self::ExceedsBlockGasLimit => "exceeds_block_gas_limit",
            Self::PoolFull => "pool_full",
            Self::SenderLimit => "sender_limit",
            Self::WrongChain => "wrong_chain",
            Self::UnsupportedType => "unsupported_type",
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::Forbidden => "forbidden",
            Self::RateLimited => "rate_limited",
            Self::Unavailable => "unavailable",
            Self::Reverted => "reverted",
            Self::Unknown => "unknown",
        }
    }

    /// The sending succeeded: the node has it.
    #[must_use]
    pub const fn is_taken(self) -> bool {
        matches!(self, Self::Accepted | Self::AlreadyKnown)
    }

    /// It may be in a pool or in a block, as far as this answer goes. What other nodes have is not told by it.
    #[must_use]
    pub const fn may_be_in_a_pool(self) -> bool {
        match self {
            Self::Accepted
            | Self::AlreadyKnown
            | Self::NonceTooLow { .. }
            | Self::ReplacementUnderpriced
            // A provider may have passed it on to one of its nodes before another of them refused.
            | Self::RateLimited
            | Self::Unavailable
            | Self::Reverted
            | Self::Unknown => true,
            Self::NonceTooHigh { .. }
            | Self::Underpriced
            | Self::FeeBelowBase
            | Self::FeeAboveNodeLimit
            | Self::InsufficientFunds
            | Self::IntrinsicGasTooLow
            | Self::ExceedsBlockGasLimit
            | Self::PoolFull
            | Self::SenderLimit
            | Self::WrongChain
            | Self::UnsupportedType
            | Self::Malformed
            | Self::TooLarge
            | Self::Forbidden => false,
        }
    }

    /// The chain has to be asked what is true, before anything is done about it.
    #[must_use]
    pub const fn asks_the_chain(self) -> bool {
        matches!(self, Self::NonceTooLow { .. } | Self::NonceTooHigh { .. } | Self::Reverted | Self::Unknown)
    }

    /// With a higher offer it might be taken.
    #[must_use]
    pub const fn is_about_fees(self) -> bool {
        matches!(self, Self::Underpriced | Self::ReplacementUnderpriced | Self::FeeBelowBase)
    }

    /// The same bytes may be taken later, without anything being changed in them.
    #[must_use]
    pub const fn may_be_taken_later(self) -> bool {
        matches!(
            self,
            Self::NonceTooHigh { .. }
                | Self::Underpriced
                | Self::FeeBelowBase
                | Self::InsufficientFunds
                | Self::PoolFull
                | Self::SenderLimit
                | Self::RateLimited
                | Self::Unavailable
                | Self::Unknown
        )
    }

    /// These bytes are not for this chain as it is: to send them again is in vain.
    #[must_use]
    pub const fn needs_other_bytes(self) -> bool {
        matches!(
            self,
            Self::IntrinsicGasTooLow
                | Self::ExceedsBlockGasLimit
                | Self::WrongChain
                | Self::UnsupportedType
                | Self::Malformed
                | Self::TooLarge
        )
    }
}

/// What a node said, and what it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// What it means.
    pub answer: SendAnswer,
    /// The node's words, or what is wrong with its answer, cut to a bounded length and without control characters; none where it just
    /// gave the hash.
    pub detail: Option<String>,
}

/// What the answer to our transaction with this hash means. The chain's client gives one answer for each transaction
/// ([`plimsoll_chain::Rpc::send_raw`]).
#[must_use]
pub fn read(ours: B256, answer: &Result<B256, SendError>) -> Reading {
    let (answer, detail) = match answer {
        Ok(theirs) if *theirs == ours => return Reading { answer: SendAnswer::Accepted, detail: None },
        Ok(theirs) => {
            tracing::error!(%ours, %theirs, "a node gave a transaction of ours another's hash: its answer says nothing");
            (SendAnswer::Unknown, format!("the node calls it {theirs}, and it is {ours}"))
        }
        Err(SendError::Refused(refused)) => {
            (of_refusal(refused), format!("error {}: {}", refused.code, refused.message))
        }
        Err(SendError::Unknown(error) | SendError::NotSent(error)) => {
            (of_no_answer(error), error.to_string())
        }
    };
    Reading { answer, detail: Some(bounded(&detail)) }
}

/// What a refusal means, by its words, or else by its code.
#[must_use]
pub fn of_refusal(refused: &Refused) -> SendAnswer {
    let Refused { class, code, message, data } = refused;
    // Some proxies say "internal error", and in the data why.
    let by_words = spellings::read(message).or_else(|| data.as_deref().and_then(spellings::read));
    by_words.unwrap_or(match (code, class) {
        (&REVERTED, _) => SendAnswer::Reverted,
        (&METHOD_NOT_FOUND, _) => SendAnswer::Unavailable,
        (_, ErrorClass::RateLimited { .. }) => SendAnswer::RateLimited,
        _ => SendAnswer::Unknown,
    })
}

/// What it means that no node answered this transaction: nothing. What was said then was said of the batch and not of one of its members,
/// even where the words or an HTTP status would fit one.
fn of_no_answer(error: &RpcError) -> SendAnswer {
    match error.class() {
        ErrorClass::RateLimited { .. } => SendAnswer::RateLimited,
        _ => SendAnswer::Unknown,
    }
}

fn bounded(text: &str) -> String {
    let clean = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let mut bounded: String = text.chars().take(MAX_DETAIL_CHARS).map(clean).collect();
    if text.chars().nth(MAX_DETAIL_CHARS).is_some() {
        bounded.push('…');
    }
    bounded
}
