//! All SQL of the views.
//!
//! Table names are unqualified on purpose: `replay` runs the same statements on a connection whose temporary tables, which come first
//! in the search path, bear the same names. Each statement works on a batch: rows come in as one array a column (`unnest`), and
//! only the last value of a key is written, so that no `ON CONFLICT` meets a row twice. Logs, trails and links have their journal
//! record as key and go in by COPY.

pub(crate) mod log;
pub(crate) mod mirror;
pub(crate) mod position;
pub(crate) mod read;
pub(crate) mod replica;

use alloy_primitives::B256;
use plimsoll_types::Amount;

use crate::row::Stamp;

/// A chain id, number or index as Postgres keeps it. All of them fit: the schema has no larger ones.
pub(crate) fn to_i64(value: u64) -> i64 {
    i64::try_from(value).expect("block numbers and chain ids stay below 2^63")
}

/// A row that was written by something else than this program.
fn unreadable(what: impl Into<String>) -> sqlx::Error {
    sqlx::Error::Decode(what.into().into())
}

fn to_u64(value: Amount) -> Result<u64, sqlx::Error> {
    value.to_u64().ok_or_else(|| unreadable(format!("{value} is above 2^64-1")))
}

fn stamp(
    block_number: i64,
    block_hash: &[u8],
    tx_hash: &[u8],
    log_index: i32,
    journal_seq: i64,
) -> Result<Stamp, sqlx::Error> {
    let hash = |bytes: &[u8]| {
        B256::try_from(bytes).map_err(|_| unreadable(format!("a hash of {} bytes", bytes.len())))
    };
    Ok(Stamp {
        block_number: u64::try_from(block_number).map_err(|_| unreadable("a negative block number"))?,
        block_hash: hash(block_hash)?,
        tx_hash: hash(tx_hash)?,
        log_index: log_index.cast_unsigned(),
        journal_seq,
    })
}

/// Columns of stamps, for `unnest`.
#[derive(Default)]
struct Stamps<'a> {
    blocks: Vec<i64>,
    block_hashes: Vec<&'a [u8]>,
    tx_hashes: Vec<&'a [u8]>,
    log_indices: Vec<i32>,
    journal_seqs: Vec<i64>,
}

impl<'a> Stamps<'a> {
    fn push(&mut self, stamp: &'a Stamp) {
        self.blocks.push(to_i64(stamp.block_number));
        self.block_hashes.push(stamp.block_hash.as_slice());
        self.tx_hashes.push(stamp.tx_hash.as_slice());
        self.log_indices.push(stamp.log_index.cast_signed());
        self.journal_seqs.push(stamp.journal_seq);
    }
}
