//! What has a nonce of a signer, where that is no transaction of whoever asks.

use alloy_primitives::B256;
use plimsoll_types::TransactionState;
use plimsoll_types::api::{Explanation, WaitsFor};

use super::{Said, Surroundings, said};
use crate::request::SignerId;

/// What has a nonce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NonceHas {
    /// A transaction of another tenant, of which nothing more is told.
    AnotherTenants,
    /// One of the platform's own, which fills it.
    Fill(TransactionState),
    /// A transaction that is none of ours, in a block.
    Stranger {
        /// Which.
        tx_hash: B256,
        /// Where.
        block_number: u64,
    },
    /// Nothing, and it was not given yet.
    NotGiven {
        /// The first that was not.
        next: u64,
    },
    /// Nothing, and a block used it before this signer was followed.
    Before {
        /// The first that no block has used.
        front: u64,
    },
    /// Nothing, and later ones were given.
    Gap,
}

/// Explains a nonce of a signer.
#[must_use]
pub fn explain_nonce(signer: SignerId, nonce: u64, has: &NonceHas, around: &Surroundings) -> Explanation {
    let Said { waits_for, waiting, next, next_at, next_block } = match has {
        NonceHas::AnotherTenants => said(
            WaitsFor::Nothing,
            "a transaction of another tenant has it",
            "that one says so to whom it belongs",
        ),
        NonceHas::Fill(state) if state.is_end() => said(
            WaitsFor::Nothing,
            "nothing had it, and it was filled with a transaction that does nothing",
            "nothing: it is used",
        ),
        NonceHas::Fill(state) => said(
            WaitsFor::Block,
            format!(
                "nothing had it: a transaction of the platform that does nothing fills it, and is {state}"
            ),
            "a block takes that one, so that what is behind it can be included",
        ),
        NonceHas::Stranger { tx_hash, block_number } => said(
            WaitsFor::Nothing,
            format!(
                "transaction {tx_hash} used it in block {block_number}, and is none of ours: somebody else signs with this key"
            ),
            "nothing: it is used",
        ),
        NonceHas::NotGiven { next } => said(
            WaitsFor::Turn,
            format!("it was not given to anything: the next one is {next}"),
            "it is given when what waits, or comes, needs it",
        ),
        NonceHas::Before { front } => said(
            WaitsFor::Nothing,
            format!(
                "it was used before this signer was followed: {front} is the first that no block has used"
            ),
            "nothing: it is used",
        ),
        NonceHas::Gap => said(
            WaitsFor::Holder,
            "nothing has it, and nothing behind it can be included",
            "whoever works the signer fills it with a transaction that does nothing, at the next look",
        ),
    };
    Explanation {
        transaction_id: None,
        chain_id: signer.chain_id,
        signer: plimsoll_types::address_text(&signer.address),
        nonce: Some(nonce),
        state: None,
        waits_for,
        waiting,
        held_by: around.lease.clone(),
        next,
        next_at,
        next_block,
        troubles: around
            .halts
            .iter()
            .map(|halt| format!("an operator's switch is thrown: {}", halt.reason))
            .collect(),
    }
}
