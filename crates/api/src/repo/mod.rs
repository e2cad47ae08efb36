//! All SQL of the API.
//!
//! Each question is one statement, so that its rows, the fold's watermark and the chain's marks come from one snapshot and cannot
//! disagree. Nothing here writes. Every statement is static and checked when compiled; the driver prepares it once a connection.

pub(crate) mod chains;
pub(crate) mod events;
pub(crate) mod operations;
pub(crate) mod positions;

use alloy_primitives::B256;
use plimsoll_types::BlockState;
use serde_json::Value;

use crate::fresh::ChainMarks;

/// Why the database gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RepoError {
    /// Postgres, or the way there.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    /// A row that cannot be: another hand wrote it, or a bug of ours.
    #[error("the database holds a {what} that cannot be: {value}")]
    Malformed { what: &'static str, value: String },
}

/// A number that is never negative in the schema.
fn unsigned(what: &'static str, value: i64) -> Result<u64, RepoError> {
    u64::try_from(value).map_err(|_| RepoError::Malformed { what, value: value.to_string() })
}

fn unsigned_or_none(what: &'static str, value: Option<i64>) -> Result<Option<u64>, RepoError> {
    value.map(|value| unsigned(what, value)).transpose()
}

fn index(what: &'static str, value: i32) -> Result<u32, RepoError> {
    u32::try_from(value).map_err(|_| RepoError::Malformed { what, value: value.to_string() })
}

fn hash(what: &'static str, bytes: &[u8]) -> Result<B256, RepoError> {
    B256::try_from(bytes).map_err(|_| RepoError::Malformed { what, value: format!("{} bytes", bytes.len()) })
}

/// `Some` with what the column says, or null JSON, when the state is the bad one.
fn cause(is_bad: bool, why: Option<Value>) -> Option<Value> {
    is_bad.then(|| why.unwrap_or(Value::Null))
}

/// How sure a block is, by the chain's marks. Not every block of a backfill has a row in `chain_blocks`: the marks know them all.
pub(crate) fn block_state(chain: &ChainMarks, block_number: u64, is_orphaned: bool) -> BlockState {
    let reached = |mark: Option<u64>| mark.is_some_and(|mark| block_number <= mark);
    if is_orphaned {
        BlockState::Orphaned
    } else if reached(chain.final_number) {
        BlockState::Final
    } else if reached(chain.confirmed_number) {
        BlockState::Confirmed
    } else {
        BlockState::Seen
    }
}
