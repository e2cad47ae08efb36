//! Reports. Each is one statement, and so of one moment of the database.

use alloy_primitives::U512;
use plimsoll_types::Balance;
use sqlx::PgConnection;
use time::OffsetDateTime;

use super::{to_i64, to_u64, unreadable};
use crate::account::{AccountClass, AccountType};
use crate::report::{AccountBalance, After, ClassTotal, Moment, Scope};

pub(crate) async fn accounts(
    conn: &mut PgConnection,
    scope: &Scope,
    moment: Moment,
    after: Option<&After>,
    limit: u16,
) -> Result<Vec<AccountBalance>, sqlx::Error> {
    sqlx::query_as!(
        AccountBalance,
        r#"SELECT account_id AS "account_id!", name AS "name!", account_type AS "account_type!: AccountType", class AS "class!: AccountClass", domain AS "domain!",
                  currency AS "currency!", balance AS "balance!: Balance"
           FROM account_balances($1, $2, $3, $4)
           WHERE (domain = $5) IS NOT FALSE AND (currency = $6) IS NOT FALSE AND (domain, name, currency) > ($7, $8, $9)
           ORDER BY domain, name, currency LIMIT $10"#,
        scope.tenant_id,
        moment.effective_at,
        moment.booked_at,
        moment.recorded_at,
        scope.domain,
        scope.currency,
        after.map_or("", |it| it.domain.as_str()),
        after.map_or("", |it| it.name.as_str()),
        after.map_or("", |it| it.currency.as_str()),
        i64::from(limit),
    )
    .fetch_all(conn)
    .await
}

pub(crate) async fn totals(
    conn: &mut PgConnection,
    scope: &Scope,
    moment: Moment,
) -> Result<Vec<ClassTotal>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT domain AS "domain!", currency AS "currency!", class AS "class!: AccountClass", account_type AS "account_type!: AccountType", count(*) AS "accounts!",
                  COALESCE(sum(balance) FILTER (WHERE balance > 0), 0)::text AS "debits!", COALESCE(-sum(balance) FILTER (WHERE balance < 0), 0)::text AS "credits!"
           FROM account_balances($1, $2, $3, $4) WHERE (domain = $5) IS NOT FALSE AND (currency = $6) IS NOT FALSE
           GROUP BY domain, currency, class, account_type ORDER BY domain, currency, class, account_type"#,
        scope.tenant_id,
        moment.effective_at,
        moment.booked_at,
        moment.recorded_at,
        scope.domain,
        scope.currency,
    )
    .fetch_all(conn)
    .await?;
    let sum = |text: &str| {
        U512::from_str_radix(text, 10).map_err(|error| unreadable(format!("a sum of balances: {error}")))
    };
    rows.into_iter()
        .map(|row| {
            Ok(ClassTotal {
                domain: row.domain,
                currency: row.currency,
                class: row.class,
                account_type: row.account_type,
                accounts: to_u64(row.accounts)?,
                debits: sum(&row.debits)?,
                credits: sum(&row.credits)?,
            })
        })
        .collect()
}

pub(crate) async fn income(
    conn: &mut PgConnection,
    scope: &Scope,
    from: Moment,
    through: Moment,
    after: Option<&After>,
    limit: u16,
) -> Result<Vec<AccountBalance>, sqlx::Error> {
    sqlx::query_as!(
        AccountBalance,
        r#"SELECT t.account_id AS "account_id!", t.name AS "name!", t.account_type AS "account_type!: AccountType", t.class AS "class!: AccountClass",
                  t.domain AS "domain!", t.currency AS "currency!", t.balance - f.balance AS "balance!: Balance"
           FROM account_balances($1, $2, $3, $4) t JOIN account_balances($1, $5, $6, $7) f ON f.account_id = t.account_id
           WHERE t.class IN ('income', 'expense') AND (t.domain = $8) IS NOT FALSE AND (t.currency = $9) IS NOT FALSE
             AND (t.domain, t.name, t.currency) > ($10, $11, $12)
           ORDER BY t.domain, t.name, t.currency LIMIT $13"#,
        scope.tenant_id,
        through.effective_at,
        through.booked_at,
        through.recorded_at,
        from.effective_at,
        from.booked_at,
        from.recorded_at,
        scope.domain,
        scope.currency,
        after.map_or("", |it| it.domain.as_str()),
        after.map_or("", |it| it.name.as_str()),
        after.map_or("", |it| it.currency.as_str()),
        i64::from(limit),
    )
    .fetch_all(conn)
    .await
}

/// Of the block that is canonical, if there are several of that number.
pub(crate) async fn time_of_block(
    conn: &mut PgConnection,
    chain_id: u64,
    block_number: u64,
) -> Result<Option<OffsetDateTime>, sqlx::Error> {
    sqlx::query_scalar!(
        "SELECT time FROM chain_blocks WHERE chain_id = $1 AND number = $2 AND state <> 'orphaned' LIMIT 1",
        to_i64(chain_id),
        to_i64(block_number),
    )
    .fetch_optional(conn)
    .await
}
