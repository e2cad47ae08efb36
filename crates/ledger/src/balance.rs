//! What an account held: at a time, at a block, as it was known at another time; exactly.
//!
//! # Why it is quick
//! Along an account's versions, the latest effective time so far, the highest block so far and the time of recording never go back. So the last version up to which all of these lie within what is asked for
//! is found by halving, and its `balance_after` has every line up to it. A line after it that counts too happened before another that was booked earlier: there are few of these, and they have an index
//! of their own (`ledger_entries_late`).

use plimsoll_types::Balance;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::repo::balances as repo;

/// Which lines count: those that lie within all that is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AsOf {
    /// What had happened by then.
    pub effective_at: Option<OffsetDateTime>,
    /// What was on record by then.
    pub recorded_at: Option<OffsetDateTime>,
    /// What was of that block or an earlier one. A line of no block counts from the highest that its account's lines before it were of.
    pub block_number: Option<u64>,
}

/// What an account of one of the tenants that `conn` is confined to held, debits less credits; `None`: there is no such account.
///
/// # Errors
/// The database's; a sum that 256 bits do not hold cannot be read.
pub async fn balance(
    conn: &mut PgConnection,
    account_id: Uuid,
    as_of: AsOf,
) -> Result<Option<Balance>, sqlx::Error> {
    repo::at(conn, account_id, as_of).await
}
