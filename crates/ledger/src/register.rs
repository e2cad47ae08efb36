//! The register of a tenant's accounts and currencies: listed, with what accounts hold or held, and changed. In a transaction of the caller's that is confined to the tenant.

use plimsoll_types::api::{BlockRef, LedgerAccount, LedgerBalance, LedgerCurrency};
use plimsoll_types::{AccountClass, AccountType, Balance};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::balance::{AsOf, balance};
use crate::repo::register::{self as repo, CurrencyRow, Row, Wanted};
use crate::repo::{hash, to_u64, unreadable};

/// Which accounts of a tenant: those that all that is given is true of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// This one.
    pub account_id: Option<Uuid>,
    /// Of this name.
    pub name: Option<String>,
    /// Of these books.
    pub domain: Option<String>,
    /// Kept in this.
    pub currency: Option<String>,
    /// For this.
    pub account_type: Option<AccountType>,
    /// Of this user.
    pub owner_id: Option<Uuid>,
    /// Open for requests, or closed.
    pub is_open: Option<bool>,
}

async fn rows(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    filter: &Filter,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Row>, sqlx::Error> {
    let wanted = Wanted {
        account_id: filter.account_id,
        name: filter.name.clone(),
        domain: filter.domain.clone(),
        currency: filter.currency.clone(),
        account_type: filter.account_type,
        owner_id: filter.owner_id,
        is_open: filter.is_open,
    };
    repo::accounts(conn, tenant_id, &wanted, after, limit).await
}

/// The accounts, by id: up to `limit` after one.
///
/// # Errors
/// The database's.
pub async fn accounts(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    filter: &Filter,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<LedgerAccount>, sqlx::Error> {
    rows(conn, tenant_id, filter, after, limit).await?.into_iter().map(account).collect()
}

/// The tenant's account of this id.
///
/// # Errors
/// The database's.
pub async fn by_id(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    account_id: Uuid,
) -> Result<Option<LedgerAccount>, sqlx::Error> {
    let filter = Filter { account_id: Some(account_id), ..Filter::default() };
    Ok(accounts(conn, tenant_id, &filter, None, 1).await?.pop())
}

/// What accounts hold, or held, by id: up to `limit` after one.
///
/// # Errors
/// The database's.
pub async fn balances(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    filter: &Filter,
    as_of: AsOf,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<LedgerBalance>, sqlx::Error> {
    let rows = rows(conn, tenant_id, filter, after, limit).await?;
    let mut balances = Vec::with_capacity(rows.len());
    for row in rows {
        let raw_balance = if as_of == AsOf::default() {
            row.raw_balance
        } else {
            balance(conn, row.account_id, as_of).await?.unwrap_or(row.raw_balance)
        };
        balances.push(shown(row, raw_balance)?);
    }
    Ok(balances)
}

/// The currencies, by name: up to `limit` after one.
///
/// # Errors
/// The database's.
pub async fn currencies(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    after: Option<&str>,
    limit: i64,
) -> Result<Vec<LedgerCurrency>, sqlx::Error> {
    repo::currencies(conn, tenant_id, after, limit).await?.into_iter().map(currency).collect()
}

/// The tenant's currency of that name.
///
/// # Errors
/// The database's.
pub async fn currency_by_name(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    name: &str,
) -> Result<Option<LedgerCurrency>, sqlx::Error> {
    repo::currency(conn, tenant_id, name).await?.map(currency).transpose()
}

/// Closes an account for requests, whatever it holds; whether it was open. What the chain does is booked on it all the same.
///
/// # Errors
/// The database's.
pub async fn close(conn: &mut PgConnection, tenant_id: Uuid, account_id: Uuid) -> Result<bool, sqlx::Error> {
    repo::close(conn, tenant_id, account_id).await
}

/// Sets what requests may leave on an account, on its normal side; whether there is such an account.
///
/// # Errors
/// The database's: a least that is above the most is one.
pub async fn set_limits(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    account_id: Uuid,
    min_balance: Option<Balance>,
    max_balance: Option<Balance>,
) -> Result<bool, sqlx::Error> {
    repo::set_limits(conn, tenant_id, account_id, min_balance, max_balance).await
}

fn account(row: Row) -> Result<LedgerAccount, sqlx::Error> {
    Ok(LedgerAccount {
        account_id: row.account_id,
        name: row.name,
        account_type: row.account_type,
        class: row.class,
        domain: row.domain,
        currency: row.currency,
        owner_id: row.owner_id,
        chain_id: row.chain_id.map(to_u64).transpose()?,
        address: row.address,
        min_balance: row.min_balance,
        max_balance: row.max_balance,
        closed_at: row.closed_at,
        created_at: row.created_at,
    })
}

fn shown(row: Row, raw_balance: Balance) -> Result<LedgerBalance, sqlx::Error> {
    let balance = match row.class {
        AccountClass::Asset | AccountClass::Expense => raw_balance,
        AccountClass::Liability | AccountClass::Equity | AccountClass::Income => {
            let turned = raw_balance.0.checked_neg();
            Balance(turned.ok_or_else(|| unreadable("a balance that has no other side"))?)
        }
    };
    let last_updated_block = match (row.last_updated_block, row.last_updated_block_hash) {
        (Some(number), Some(bytes)) => Some(BlockRef { number: to_u64(number)?, hash: hash(&bytes)? }),
        _ => None,
    };
    Ok(LedgerBalance {
        account_id: row.account_id,
        name: row.name,
        domain: row.domain,
        currency: row.currency,
        balance,
        raw_balance,
        last_updated_block,
    })
}

fn currency(row: CurrencyRow) -> Result<LedgerCurrency, sqlx::Error> {
    let decimals = u8::try_from(row.decimals);
    Ok(LedgerCurrency {
        currency: row.currency,
        chain_id: row.chain_id.map(to_u64).transpose()?,
        token_address: row.token_address,
        decimals: decimals.map_err(|_| unreadable("decimals that no currency has"))?,
        name: row.name,
    })
}
