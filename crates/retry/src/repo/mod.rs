//! All SQL of the retry.
//!
//! A job's row is changed by its chain's fold and by its chain's worker. Both lock it first: the fold what its records are about, in the order of their ids; the worker what it takes,
//! passing over what is locked, and later one row a transaction. So neither waits for the other while it is waited for. A status changes by compare-and-set ([`steps::take`]), with
//! its row of the audit in the same statement.

pub(crate) mod fold;
pub(crate) mod orders;
pub(crate) mod steps;
pub(crate) mod worker;

use alloy_primitives::{Address, B256};
use plimsoll_types::parse_address;
use uuid::Uuid;

use crate::events::Key;
use crate::job::{Inclusion, Job};
use crate::state::Status;

/// A statement that gives jobs: what it begins with, and what follows the columns.
macro_rules! jobs {
    ($before:literal, $after:literal $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            $crate::repo::Row,
            $before
                + r#" j.job_id AS "job_id!", j.tenant_id AS "tenant_id!", j.chain_id AS "chain_id!", j."user" AS "user!", j.asset AS "asset?", j.view_addr AS "view_addr!",
                      j.status AS "status!: Status", j.version AS "version!", j.attempts AS "attempts!", j.is_automatic AS "is_automatic!", j.reason_code AS "reason_code!",
                      j.reason_text AS "reason_text!", j.request_id AS "request_id?", j.signer AS "signer?", j.transaction_id AS "transaction_id?", j.tx_hash AS "tx_hash?",
                      j.block_number AS "block_number?", j.block_hash AS "block_hash?", j.tx_index AS "tx_index?", j.succeeded AS "succeeded?", j.healed_seq AS "healed_seq?",
                      j.ended_seq AS "ended_seq?" "#
                + $after
            $(, $argument)*
        )
    };
}
pub(crate) use jobs;

/// A job's columns, as they come.
pub(crate) struct Row {
    job_id: Uuid,
    tenant_id: Uuid,
    chain_id: i64,
    user: String,
    asset: Option<String>,
    view_addr: String,
    status: Status,
    version: i32,
    attempts: i32,
    is_automatic: bool,
    reason_code: String,
    reason_text: String,
    request_id: Option<Uuid>,
    signer: Option<String>,
    transaction_id: Option<Uuid>,
    tx_hash: Option<Vec<u8>>,
    block_number: Option<i64>,
    block_hash: Option<Vec<u8>>,
    tx_index: Option<i32>,
    succeeded: Option<bool>,
    healed_seq: Option<i64>,
    ended_seq: Option<i64>,
}

impl TryFrom<Row> for Job {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> Result<Self, sqlx::Error> {
        let key = Key {
            tenant_id: row.tenant_id,
            user: address(&row.user)?,
            asset: row.asset.as_deref().map(address).transpose()?,
            view: address(&row.view_addr)?,
        };
        let place = (row.tx_hash, row.block_number, row.block_hash, row.tx_index, row.succeeded);
        let inclusion = match place {
            (Some(tx_hash), Some(number), Some(block_hash), Some(tx_index), Some(succeeded)) => {
                Some(Inclusion {
                    tx_hash: hash(&tx_hash)?,
                    block_number: to_u64(number)?,
                    block_hash: hash(&block_hash)?,
                    tx_index: tx_index.cast_unsigned(),
                    succeeded,
                })
            }
            _ => None,
        };
        Ok(Self {
            id: row.job_id,
            chain_id: to_u64(row.chain_id)?,
            key,
            status: row.status,
            version: row.version,
            attempts: row.attempts.cast_unsigned(),
            is_automatic: row.is_automatic,
            reason_code: row.reason_code,
            reason_text: row.reason_text,
            request_id: row.request_id,
            signer: row.signer.as_deref().map(address).transpose()?,
            transaction_id: row.transaction_id,
            inclusion,
            healed_seq: row.healed_seq,
            ended_seq: row.ended_seq,
        })
    }
}

fn all(rows: Vec<Row>) -> Result<Vec<Job>, sqlx::Error> {
    rows.into_iter().map(Job::try_from).collect()
}

fn one(row: Option<Row>) -> Result<Option<Job>, sqlx::Error> {
    row.map(Job::try_from).transpose()
}

/// A chain id or a number as Postgres keeps it. All of them fit: the schema has no larger ones.
fn to_i64(value: u64) -> i64 {
    i64::try_from(value).expect("chain ids and numbers stay below 2^63")
}

/// A row that was written by something else than this program.
fn unreadable(what: impl Into<String>) -> sqlx::Error {
    sqlx::Error::Decode(what.into().into())
}

fn to_u64(value: i64) -> Result<u64, sqlx::Error> {
    u64::try_from(value).map_err(|_| unreadable(format!("{value} is negative")))
}

fn hash(bytes: &[u8]) -> Result<B256, sqlx::Error> {
    B256::try_from(bytes).map_err(|_| unreadable(format!("a hash of {} bytes", bytes.len())))
}

fn address(text: &str) -> Result<Address, sqlx::Error> {
    parse_address(text).map_err(|error| unreadable(error.to_string()))
}

/// A length of time as Postgres takes it.
fn to_ms(time: std::time::Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
