//! Accounts and currencies, listed and changed, in a transaction that is confined to the tenant.

use plimsoll_types::{AccountClass, AccountType, Balance};
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

/// Which accounts; none: any.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) account_id: Option<Uuid>,
    pub(crate) name: Option<String>,
    pub(crate) domain: Option<String>,
    pub(crate) currency: Option<String>,
    pub(crate) account_type: Option<AccountType>,
    pub(crate) owner_id: Option<Uuid>,
    pub(crate) is_open: Option<bool>,
}

/// An account, and what it holds.
pub(crate) struct Row {
    pub(crate) account_id: Uuid,
    pub(crate) name: String,
    pub(crate) account_type: AccountType,
    pub(crate) class: AccountClass,
    pub(crate) domain: String,
    pub(crate) currency: String,
    pub(crate) owner_id: Option<Uuid>,
    pub(crate) chain_id: Option<i64>,
    pub(crate) address: Option<String>,
    pub(crate) min_balance: Option<Balance>,
    pub(crate) max_balance: Option<Balance>,
    pub(crate) closed_at: Option<OffsetDateTime>,
    pub(crate) created_at: OffsetDateTime,
    pub(crate) raw_balance: Balance,
    pub(crate) last_updated_block: Option<i64>,
    pub(crate) last_updated_block_hash: Option<Vec<u8>>,
}

/// A currency.
pub(crate) struct CurrencyRow {
    pub(crate) currency: String,
    pub(crate) chain_id: Option<i64>,
    pub(crate) token_address: Option<String>,
    pub(crate) decimals: i16,
    pub(crate) name: String,
}

/// The tenant's accounts that are wanted, by id, after one.
pub(crate) async fn accounts(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    wanted: &Wanted,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Row>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        r#"SELECT a.account_id, a.name, a.account_type AS "account_type: AccountType", a.class AS "class: AccountClass", a.domain, a.currency, a.user_id AS owner_id,
                  a.chain_id, a.address, a.min_balance AS "min_balance: Balance", a.max_balance AS "max_balance: Balance", a.closed_at, a.created_at,
                  b.raw_balance AS "raw_balance: Balance", b.last_updated_block, b.last_updated_block_hash
           FROM accounts a JOIN asset_balances b USING (account_id)
           WHERE a.tenant_id = $1 AND ($2::uuid IS NULL OR a.account_id = $2) AND ($3::text IS NULL OR a.domain = $3) AND ($4::text IS NULL OR a.currency = $4)
             AND ($5::account_type IS NULL OR a.account_type = $5) AND ($6::uuid IS NULL OR a.user_id = $6)
             AND ($7::boolean IS NULL OR (a.closed_at IS NULL) = $7) AND ($8::uuid IS NULL OR a.account_id > $8)
             AND ($9::text IS NULL OR a.name = $9)
           ORDER BY a.account_id LIMIT $10"#,
        tenant_id,
        wanted.account_id,
        wanted.domain,
        wanted.currency,
        wanted.account_type as Option<AccountType>,
        wanted.owner_id,
        wanted.is_open,
        after,
        wanted.name,
        limit,
    )
    .fetch_all(conn)
    .await
}

/// The tenant's currency of that name.
pub(crate) async fn currency(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    name: &str,
) -> Result<Option<CurrencyRow>, sqlx::Error> {
    sqlx::query_as!(
        CurrencyRow,
        "SELECT currency, chain_id, token_address, decimals, name FROM currencies WHERE tenant_id = $1 AND currency = $2",
        tenant_id,
        name,
    )
    .fetch_optional(conn)
    .await
}

/// The tenant's currencies, by name, after one.
pub(crate) async fn currencies(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    after: Option<&str>,
    limit: i64,
) -> Result<Vec<CurrencyRow>, sqlx::Error> {
    sqlx::query_as!(
        CurrencyRow,
        "SELECT currency, chain_id, token_address, decimals, name FROM currencies
         WHERE tenant_id = $1 AND ($2::text IS NULL OR currency > $2) ORDER BY currency LIMIT $3",
        tenant_id,
        after,
        limit,
    )
    .fetch_all(conn)
    .await
}

/// Closes an account for requests; whether it was open.
pub(crate) async fn close(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    account_id: Uuid,
) -> Result<bool, sqlx::Error> {
    let closed = sqlx::query!(
        "UPDATE accounts SET closed_at = clock_timestamp() WHERE tenant_id = $1 AND account_id = $2 AND closed_at IS NULL",
        tenant_id,
        account_id,
    );
    Ok(closed.execute(conn).await?.rows_affected() == 1)
}

/// Sets an account's limits; whether there is such an account.
pub(crate) async fn set_limits(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    account_id: Uuid,
    min_balance: Option<Balance>,
    max_balance: Option<Balance>,
) -> Result<bool, sqlx::Error> {
    let set = sqlx::query!(
        "UPDATE accounts SET min_balance = $3, max_balance = $4 WHERE tenant_id = $1 AND account_id = $2",
        tenant_id,
        account_id,
        min_balance as Option<Balance>,
        max_balance as Option<Balance>,
    );
    Ok(set.execute(conn).await?.rows_affected() == 1)
}
