//! What is in both books, in the same words.

use std::fmt::Debug;

use alloy_primitives::B256;
use plimsoll_relayer::attempt::Attempt;
use plimsoll_relayer::book::BookError;
use plimsoll_relayer::request::SignerId;
use plimsoll_testkit::chaos::relayer::{AttemptRow, Row};
use plimsoll_types::{AttemptPurpose, address_text};

pub(super) fn shown<T: Debug>(told: &Result<T, BookError>) -> String {
    match told {
        Ok(told) => format!("{told:?}"),
        Err(BookError::Fenced(_)) => "fenced".to_owned(),
        Err(BookError::Unknown(_)) => "unknown".to_owned(),
        Err(_) => "refused".to_owned(),
    }
}

/// A row as both show it.
pub(super) fn text(row: &Row) -> String {
    fn or<T: ToString>(value: Option<T>) -> String {
        value.map_or_else(|| "-".to_owned(), |value| value.to_string())
    }
    let hex = |hash: Option<B256>| or(hash.map(alloy_primitives::hex::encode));
    let purpose = row.ours.map(|ours| named(ours.purpose));
    [
        row.id.to_string(),
        address_text(&row.signer.address),
        row.state.to_string(),
        row.version.to_string(),
        or(row.nonce),
        or(row.end_wanted),
        or(row.end_why.clone()),
        or(row.taken.map(|taken| taken.block_number)),
        hex(row.taken.map(|taken| taken.block_hash)),
        hex(row.taken.map(|taken| taken.tx_hash)),
        or(row.taken.map(|taken| taken.succeeded)),
        or(row.ours.map(|ours| ours.attempt)),
        or(purpose),
        or(row.ours.map(|ours| ours.gas_used)),
        or(row.ours.map(|ours| ours.gas_paid_wei)),
        row.is_final.to_string(),
    ]
    .join("|")
}

pub(super) const ROWS: &str = "SELECT array_to_string(ARRAY[id::text, signer, state::text, version::text, nonce::text, end_wanted::text, end_why, block_number::text,
        encode(block_hash, 'hex'), encode(tx_hash, 'hex'), succeeded::text, attempt::text, purpose::text, gas_used::text, gas_paid_wei::text, is_final::text], '|', '-')
    FROM managed_transactions WHERE chain_id = $1 ORDER BY id";
pub(super) const ATTEMPTS: &str = "SELECT array_to_string(ARRAY[signer, nonce::text, attempt::text, transaction_id::text, purpose::text, encode(tx_hash, 'hex'), fencing_token::text], '|', '-')
    FROM transaction_attempts WHERE chain_id = $1 ORDER BY signer, nonce, attempt";

fn named(purpose: AttemptPurpose) -> &'static str {
    match purpose {
        AttemptPurpose::Send => "send",
        AttemptPurpose::Bump => "bump",
        AttemptPurpose::Cancel => "cancel",
        AttemptPurpose::Fill => "fill",
    }
}

/// An attempt as both show it.
pub(super) fn attempt_text(signer: SignerId, AttemptRow { attempt, token, .. }: &AttemptRow) -> String {
    let Attempt { nonce, number, transaction_id, purpose, tx_hash, .. } = attempt;
    let (purpose, hash) = (named(*purpose), alloy_primitives::hex::encode(tx_hash));
    let signer = address_text(&signer.address);
    format!("{signer}|{nonce}|{number}|{transaction_id}|{purpose}|{hash}|{token}")
}
