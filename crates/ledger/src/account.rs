//! Accounts, the currencies that they are kept in, and a tenant's books, which have them.

use plimsoll_store::Db;
use plimsoll_types::Balance;
pub use plimsoll_types::{AccountClass, AccountType};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::repo::accounts as repo;

/// A currency of a tenant's books.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Currency {
    /// As lines name it: a code, or `eip155:<chain>/erc20:<address>` (CAIP-19).
    pub currency: String,
    /// The chain that it is of.
    pub chain_id: Option<u64>,
    /// The token's address, lower-case; none for the chain's native coin.
    pub token_address: Option<String>,
    /// For showing amounts; nothing is computed with it.
    pub decimals: u8,
    /// For people.
    pub name: String,
}

/// An account that is to be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAccount {
    /// Its id.
    pub account_id: Uuid,
    /// For people; once in a domain and currency.
    pub name: String,
    /// What it is for.
    pub account_type: AccountType,
    /// Where it stands.
    pub class: AccountClass,
    /// Which books: cash, reward, platform …
    pub domain: String,
    /// What it is kept in, once and for all.
    pub currency: String,
    /// Whose it is.
    pub user_id: Option<Uuid>,
    /// The chain of its address.
    pub chain_id: Option<u64>,
    /// Its address, lower-case.
    pub address: Option<String>,
    /// The least that a request may leave on it, on its normal side.
    pub min_balance: Option<Balance>,
    /// The most.
    pub max_balance: Option<Balance>,
}

/// Opens a tenant's books, unless they are open; and puts these currencies and accounts into them.
///
/// # Errors
/// The database's: an account's id or name that is taken, a currency that the books do not have.
pub async fn open(
    db: &Db,
    tenant_id: Uuid,
    currencies: &[Currency],
    accounts: &[NewAccount],
) -> Result<(), sqlx::Error> {
    let mut tx = db.tenant_tx(&[tenant_id]).await?;
    open_in(&mut tx, tenant_id, currencies, accounts).await?;
    tx.commit().await
}

/// [`open`] within a transaction that is confined to the tenant.
///
/// # Errors
/// As [`open`].
pub async fn open_in(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    currencies: &[Currency],
    accounts: &[NewAccount],
) -> Result<(), sqlx::Error> {
    repo::open_books(conn, tenant_id).await?;
    for currency in currencies {
        repo::put_currency(conn, tenant_id, currency).await?;
    }
    repo::open_accounts(conn, tenant_id, accounts).await
}
