//! Statements.

use plimsoll_types::{Amount, Balance};
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{hash, to_u64, unreadable};
use crate::account::{AccountClass, AccountType};
use crate::posting::{Correction, Direction};
use crate::statement::{By, StatementLine, Window};

/// An account, and where a window lies in its history. By booked times a line counts if it happened by then *and* is of the versions that the account had when the period was closed.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) account_id: Uuid,
    pub(crate) name: String,
    pub(crate) account_type: AccountType,
    pub(crate) class: AccountClass,
    pub(crate) domain: String,
    pub(crate) currency: String,
    pub(crate) opening: Balance,
    pub(crate) closing: Balance,
    /// The versions that can count at the window's beginning, and at its end.
    bound_after: i64,
    bound_through: i64,
    /// Up to it all lie before the window; and up to it none lies behind.
    last_before: i64,
    last_within: i64,
}

/// The times of a window as the database's functions take them: effective and recorded ones.
struct Times {
    effective_after: Option<OffsetDateTime>,
    effective_through: Option<OffsetDateTime>,
    booked_after: Option<OffsetDateTime>,
    booked_through: Option<OffsetDateTime>,
    recorded_after: Option<OffsetDateTime>,
    recorded_through: Option<OffsetDateTime>,
}

impl Times {
    fn of(Window { by, after, through }: Window) -> Self {
        let when = |is: bool, at| is.then_some(at);
        let (booked, recorded) = (by == By::Booked, by == By::Recorded);
        Self {
            effective_after: when(!recorded, after),
            effective_through: when(!recorded, through),
            booked_after: when(booked, after),
            booked_through: when(booked, through),
            recorded_after: when(recorded, after),
            recorded_through: when(recorded, through),
        }
    }
}

pub(crate) async fn account(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    account_id: Uuid,
    window: Window,
) -> Result<Option<Account>, sqlx::Error> {
    let times = Times::of(window);
    sqlx::query_as!(
        Account,
        r#"SELECT a.account_id, a.name, a.account_type AS "account_type: AccountType", a.class AS "class: AccountClass", a.domain, a.currency,
                  balance_at(a.account_id, bound.after, $3, $7, NULL) AS "opening!: Balance", balance_at(a.account_id, bound.through, $4, $8, NULL) AS "closing!: Balance",
                  bound.after AS "bound_after!", bound.through AS "bound_through!",
                  last_version(a.account_id, bound.after, $3, $7, NULL) AS "last_before!", last_version(a.account_id, bound.through, $4, $8, NULL) AS "last_within!"
           FROM accounts a CROSS JOIN LATERAL (SELECT booked_version(a.account_id, $5) AS after, booked_version(a.account_id, $6) AS through OFFSET 0) AS bound
           WHERE a.tenant_id = $1 AND a.account_id = $2"#,
        tenant_id,
        account_id,
        times.effective_after,
        times.effective_through,
        times.booked_after,
        times.booked_through,
        times.recorded_after,
        times.recorded_through,
    )
    .fetch_optional(conn)
    .await
}

/// What the account held with the window's lines up to that version.
pub(crate) async fn brought_forward(
    conn: &mut PgConnection,
    account: &Account,
    window: Window,
    cursor: i64,
) -> Result<Balance, sqlx::Error> {
    let times = Times::of(window);
    let cursor = cursor.max(0);
    sqlx::query_scalar!(
        r#"SELECT $2 + balance_at($1, LEAST($3::bigint, $4), $5, $6, NULL) - balance_at($1, LEAST($3, $7::bigint), $8, $9, NULL) AS "balance!: Balance""#,
        account.account_id,
        account.opening as Balance,
        cursor,
        account.bound_through,
        times.effective_through,
        times.recorded_through,
        account.bound_after,
        times.effective_after,
        times.recorded_after,
    )
    .fetch_one(conn)
    .await
}

/// The window's lines after that version.
pub(crate) async fn lines(
    conn: &mut PgConnection,
    account: &Account,
    window: Window,
    cursor: i64,
    limit: u16,
    brought_forward: Balance,
) -> Result<Vec<StatementLine>, sqlx::Error> {
    let times = Times::of(window);
    let rows = sqlx::query!(
        r#"SELECT e.account_version AS "account_version!", e.posting_id AS "posting_id!", e.sequence AS "sequence!", e.debit AS "debit!: Amount", e.credit AS "credit!: Amount",
                  e.entry_type AS "entry_type!", e.effective_at AS "effective_at!", e.recorded_at AS "recorded_at!", e.chain_block_number,
                  p.operation_type, p.request_id, p.booked_at, p.chain_tx_hash, p.reverses, p.compensates, p.reason
           FROM (SELECT * FROM (
                    (SELECT * FROM ledger_entries e
                     WHERE e.account_id = $1 AND e.account_version > GREATEST($2::bigint, $4) AND e.account_version <= $5
                       AND NOT (e.account_version <= $6 AND (e.effective_at <= $8) IS NOT FALSE AND (e.recorded_at <= $9) IS NOT FALSE)
                     ORDER BY e.account_version LIMIT $3)
                    UNION ALL
                    (SELECT * FROM ledger_entries e
                     WHERE e.account_id = $1 AND e.account_version > GREATEST($2, $5::bigint) AND e.account_version <= $7
                       AND (e.effective_at < e.latest_effective_at OR e.chain_block_number < e.latest_block)
                       AND (e.effective_at <= $10) IS NOT FALSE AND (e.recorded_at <= $11) IS NOT FALSE
                       AND NOT (e.account_version <= $6 AND (e.effective_at <= $8) IS NOT FALSE AND (e.recorded_at <= $9) IS NOT FALSE)
                     ORDER BY e.account_version LIMIT $3)) AS counted
                 ORDER BY account_version LIMIT $3) AS e
           JOIN ledger_postings p ON p.posting_id = e.posting_id
           ORDER BY e.account_version"#,
        account.account_id,
        cursor,
        i64::from(limit),
        account.last_before,
        account.last_within,
        account.bound_after,
        account.bound_through,
        times.effective_after,
        times.recorded_after,
        times.effective_through,
        times.recorded_through,
    )
    .fetch_all(conn)
    .await?;
    let mut balance = brought_forward;
    rows.into_iter()
        .map(|row| {
            let (direction, amount) = match row.debit {
                Amount::ZERO => (Direction::Credit, row.credit),
                debit => (Direction::Debit, debit),
            };
            balance = crate::book::moved(balance, direction, amount)
                .ok_or_else(|| unreadable("a balance beyond 255 bits"))?;
            let corrects = match (row.reverses, row.compensates) {
                (Some(id), _) => Some(Correction::Reverses(id)),
                (None, Some(id)) => Some(Correction::Compensates(id)),
                (None, None) => None,
            };
            Ok(StatementLine {
                account_version: row.account_version,
                posting_id: row.posting_id,
                sequence: row.sequence,
                direction,
                amount,
                balance,
                entry_type: row.entry_type,
                operation_type: row.operation_type,
                request_id: row.request_id,
                effective_at: row.effective_at,
                booked_at: row.booked_at,
                recorded_at: row.recorded_at,
                chain_tx_hash: row.chain_tx_hash.as_deref().map(hash).transpose()?,
                chain_block_number: row.chain_block_number.map(to_u64).transpose()?,
                corrects: corrects.zip(row.reason),
            })
        })
        .collect()
}
