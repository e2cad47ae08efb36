//! All SQL of the relayer.
//!
//! *Who writes what.* The app's role puts requests and wishes (`end_wanted`) and changes no state. Out of `pending`, and into an attempt, it is the holder of the signer's lease
//! alone that moves a request, in transactions that guard the lease first and lock the signer's row second: [`window`]. Out of `tracking` and `mined` it is the chain's fold
//! alone, under its own lease: [`verdict`]. What users signed ([`users`], [`user_verdict`]) is marked as under way by the holder of its chain's courier lease, and otherwise the same. So no two writers ever compete for a row's state, and each statement still names the state that it expects.
//!
//! *Order of locks.* Lease, signer, transactions by id; the fold locks no signer, only `signer_progress`, which nobody else writes. Requests are inserted in the order of their
//! natural keys, so that two batches with the same requests wait for each other one way only. That a natural key has one transaction in both tables is [`keys`].

//!
//! *How what has a key is looked up.* A plan is kept for as long as its session, and may have been made while a table was all but empty, or nothing waited in it, when every way to a row cost the same. So a
//! statement over given ids leaves one way only. Its transaction reads no whole tables ([`plimsoll_store::Db::begin_worker_by_keys`]). The state that it expects is a scalar subquery, `(SELECT 'pending'::…)`: no
//! partial index of that state serves it, which would be read from one end to the other for each batch. And what row-level security or a filter adds is behind LATERAL and LIMIT, so that each
//! key is looked up by itself.

/// A statement that changes requests `t` ([`Changed`]).
macro_rules! changed {
    ($statement:literal $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            $crate::repo::Changed,
            $statement
                + r#" RETURNING t.id, t.tenant_id, t.request_id, t.user_id, t.correlation_id, t.version, t.chain_id, t.signer, t.nonce, t.tx_hash, t.block_number,
                       t.state AS "state: TransactionState", t.end_why"#
            $(, $argument)*
        )
    };
}

/// A statement that tells of requests `t` all that there is to tell ([`read::Row`]): what stands before its columns, and after them.
macro_rules! told {
    ($before:literal, $after:literal $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            $crate::repo::read::Row,
            $before
                + r#"t.id, t.tenant_id, t.request_id, t.operation_type, t.user_id, t.created_by, t.correlation_id, t.chain_id, t.signer, t.to_address,
                     t.value_wei AS "value_wei: Amount", t.data, t.gas_limit, t.max_fee_limit AS "max_fee_limit: Amount", t.priority, t.valid_until, t.valid_until_block,
                     t.as_of_block_hash, t.state AS "state: TransactionState", t.version, t.nonce, t.end_wanted AS "end_wanted: TransactionState", t.end_why,
                     t.speed_up_wanted, t.block_number, t.block_hash, t.tx_hash, t.attempt, t.purpose AS "purpose: AttemptPurpose", t.succeeded,
                     t.gas_used AS "gas_used: Amount", t.gas_paid_wei AS "gas_paid_wei: Amount", t.is_final, t.simulate, t.revert_code, t.revert_text,
                     t.revert_source AS "revert_source: RevertSource", t.held_why, t.held_at, t.created_at, t.updated_at,
                     EXISTS (SELECT FROM kill_switches) AS "are_switches_thrown!""#
                + $after
            $(, $argument)*
        )
    };
}

/// [`changed`] of what users signed. `tx_hash`: what used the nonce, else what was signed.
macro_rules! users_changed {
    ($statement:literal $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            $crate::repo::Changed,
            $statement
                + r#" RETURNING t.id, t.tenant_id AS "tenant_id?", t.request_id, t.user_id, t.correlation_id, t.version, t.chain_id, t.sender AS signer, t.nonce AS "nonce?",
                       COALESCE(t.tx_hash, t.signed_hash) AS "tx_hash?", t.block_number, t.state AS "state: TransactionState", t.end_why"#
            $(, $argument)*
        )
    };
}

pub(crate) mod accept;
pub(crate) mod explain;
pub(crate) mod keys;
pub(crate) mod overview;
pub(crate) mod posts;
pub(crate) mod queue;
pub(crate) mod read;
pub(crate) mod reasons;
pub(crate) mod reconcile;
pub(crate) mod rotation;
mod seen;
pub(crate) mod signers;
pub(crate) mod speed_up;
pub(crate) mod spending;
pub(crate) mod story;
pub(crate) mod switches;
pub(crate) mod user_read;
pub(crate) mod user_verdict;
pub(crate) mod users;
pub(crate) mod verdict;
pub(crate) mod window;

use alloy_primitives::{Address, B256};
use plimsoll_types::{Amount, Context, TransactionState, parse_address};
use uuid::Uuid;

/// A chain id, number, nonce or gas as Postgres keeps it. All of them fit: [`crate::request::Request::check`] refuses larger ones.
pub(crate) fn to_i64(value: u64) -> i64 {
    i64::try_from(value).expect("chain ids, numbers, nonces and gas stay below 2^63")
}

/// A row that was written by something else than this program.
pub(crate) fn unreadable(what: impl Into<String>) -> sqlx::Error {
    sqlx::Error::Decode(what.into().into())
}

pub(crate) fn to_u64(value: i64) -> Result<u64, sqlx::Error> {
    u64::try_from(value).map_err(|_| unreadable(format!("{value} is negative")))
}

pub(crate) fn hash(bytes: &[u8]) -> Result<B256, sqlx::Error> {
    B256::try_from(bytes).map_err(|_| unreadable(format!("a hash of {} bytes", bytes.len())))
}

pub(crate) fn address(text: &str) -> Result<Address, sqlx::Error> {
    parse_address(text).map_err(|error| unreadable(error.to_string()))
}

/// A change of state as the database made it: what there is to publish.
#[derive(Clone, Debug)]
pub(crate) struct Changed {
    pub(crate) id: Uuid,
    pub(crate) tenant_id: Option<Uuid>,
    pub(crate) request_id: Uuid,
    pub(crate) user_id: Option<Uuid>,
    pub(crate) correlation_id: String,
    pub(crate) version: i32,
    pub(crate) chain_id: i64,
    pub(crate) signer: String,
    pub(crate) nonce: Option<i64>,
    pub(crate) tx_hash: Option<Vec<u8>>,
    pub(crate) block_number: Option<i64>,
    pub(crate) state: TransactionState,
    pub(crate) end_why: Option<String>,
}

impl Changed {
    /// In whose name it is published. It was caused by the change before it.
    pub(crate) fn context(&self, actor: &str) -> Context {
        Context {
            request_id: self.request_id,
            tenant_id: self.tenant_id,
            user_id: self.user_id,
            actor: actor.to_owned(),
            correlation_id: self.correlation_id.clone(),
            causation_id: (self.version > 1).then(|| crate::history::event_id(self.id, self.version - 1)),
        }
    }
}

impl From<&read::Row> for Changed {
    fn from(row: &read::Row) -> Self {
        Self {
            id: row.id,
            tenant_id: row.tenant_id,
            request_id: row.request_id,
            user_id: row.user_id,
            correlation_id: row.correlation_id.clone(),
            version: row.version,
            chain_id: row.chain_id,
            signer: row.signer.clone(),
            nonce: row.nonce,
            tx_hash: row.tx_hash.clone(),
            block_number: row.block_number,
            state: row.state,
            end_why: row.end_why.clone(),
        }
    }
}

/// A price, which is below 2^128 wei.
pub(crate) fn to_u128(value: Amount) -> Result<u128, sqlx::Error> {
    u128::try_from(value.0).map_err(|_| unreadable(format!("{value} is above 2^128-1")))
}
