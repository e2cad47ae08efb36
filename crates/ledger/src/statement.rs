//! An account's statement: what it held, what came and went, and what it held then.
//!
//! Lines are in the order in which they were booked, which is the account's own and does not change; one that came late stands where it was booked, with its own time. The balance after each is of the
//! lines of the statement up to it, so the last one is the closing balance, and a statement that begins where another ends opens with that one's closing balance.
//!
//! # Why it is quick
//! The lines of a window are the versions between the last one before it and the last one up to its end, both found by halving; and late ones after these, which have an index of their own.

use alloy_primitives::B256;
use plimsoll_types::{Amount, Balance};
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::account::{AccountClass, AccountType};
use crate::posting::{Correction, Direction, to_microseconds};
use crate::repo::statements as repo;

/// The most lines of a page.
pub const STATEMENT_LINES_MAX: u16 = 1_000;

/// Which of its times says whether a line counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// When it happened.
    Effective,
    /// In which period it counts: when it happened, or after that period's closing.
    Booked,
    /// When it was written.
    Recorded,
}

/// After a time, and through another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// By which times.
    pub by: By,
    /// What lies at it or before is in the opening balance.
    pub after: OffsetDateTime,
    /// What lies at it is the last that counts.
    pub through: OffsetDateTime,
}

/// A line of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatementLine {
    /// Its place in the account's history, and the cursor of a page that ends with it.
    pub account_version: i64,
    /// Its posting.
    pub posting_id: Uuid,
    /// Its place in that, from 1.
    pub sequence: i16,
    /// Debit or credit.
    pub direction: Direction,
    /// How much.
    pub amount: Amount,
    /// What the account held with it, of what the statement counts: debits less credits.
    pub balance: Balance,
    /// What kind of line.
    pub entry_type: String,
    /// The posting's operation.
    pub operation_type: String,
    /// The posting's request.
    pub request_id: Uuid,
    /// When it happened.
    pub effective_at: OffsetDateTime,
    /// In which period it counts.
    pub booked_at: OffsetDateTime,
    /// When it was written.
    pub recorded_at: OffsetDateTime,
    /// The transaction on the chain.
    pub chain_tx_hash: Option<B256>,
    /// Its block.
    pub chain_block_number: Option<u64>,
    /// What the posting puts right, and why.
    pub corrects: Option<(Correction, String)>,
}

/// A page of an account's statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The account.
    pub account_id: Uuid,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub account_type: AccountType,
    /// Where it stands.
    pub class: AccountClass,
    /// Its books.
    pub domain: String,
    /// What it is kept in.
    pub currency: String,
    /// What it held when the window begins, debits less credits.
    pub opening: Balance,
    /// What it held with everything before this page: on the first, the opening balance.
    pub brought_forward: Balance,
    /// What it held when the window ends.
    pub closing: Balance,
    /// The page's lines.
    pub lines: Vec<StatementLine>,
    /// Where the next page goes on; none: this was the last.
    pub next: Option<i64>,
}

/// Why there is no statement.
#[derive(Debug, thiserror::Error)]
pub enum StatementError {
    /// The window ends before it begins.
    #[error("the statement would end ({through}) before it begins ({after}): name a later end")]
    Window {
        /// Its beginning.
        after: OffsetDateTime,
        /// Its end.
        through: OffsetDateTime,
    },
    /// The database.
    #[error("reading a statement: {0}")]
    Database(#[from] sqlx::Error),
}

/// A page of at most `limit` lines (and [`STATEMENT_LINES_MAX`]) of the statement of a tenant's account, after the line `cursor`; `None`: there is no such account. `conn` is a snapshot that sees the
/// tenant ([`plimsoll_store::Db::tenant_snapshot`]): pages of one agree with each other, whatever is booked meanwhile.
///
/// # Errors
/// [`StatementError`].
pub async fn statement(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    account_id: Uuid,
    window: Window,
    cursor: Option<i64>,
    limit: u16,
) -> Result<Option<Statement>, StatementError> {
    let Window { by, after, through } = window;
    let window = Window { by, after: to_microseconds(after), through: to_microseconds(through) };
    if window.through < window.after {
        return Err(StatementError::Window { after, through });
    }
    let Some(account) = repo::account(conn, tenant_id, account_id, window).await? else { return Ok(None) };
    let limit = limit.clamp(1, STATEMENT_LINES_MAX);
    let brought_forward = match cursor {
        None => account.opening,
        Some(cursor) => repo::brought_forward(conn, &account, window, cursor).await?,
    };
    let cursor = cursor.unwrap_or(0);
    // One more tells whether there is another page.
    let mut lines = repo::lines(conn, &account, window, cursor, limit + 1, brought_forward).await?;
    let is_last = lines.len() <= usize::from(limit);
    lines.truncate(usize::from(limit));
    let next = lines.last().filter(|_| !is_last).map(|line| line.account_version);
    Ok(Some(Statement {
        account_id,
        name: account.name,
        account_type: account.account_type,
        class: account.class,
        domain: account.domain,
        currency: account.currency,
        opening: account.opening,
        brought_forward,
        closing: account.closing,
        lines,
        next,
    }))
}
