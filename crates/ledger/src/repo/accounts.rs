//! Books, currencies and accounts.

use plimsoll_types::Balance;
use sqlx::PgConnection;
use uuid::Uuid;

use super::to_i64;
use crate::account::{AccountClass, AccountType, Currency, NewAccount};

/// Opens a tenant's books, unless they are open.
pub(crate) async fn open_books(conn: &mut PgConnection, tenant_id: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query!("INSERT INTO ledger_books (tenant_id) VALUES ($1) ON CONFLICT DO NOTHING", tenant_id)
        .execute(conn)
        .await
        .map(drop)
}

/// Puts a currency into them, unless it is there.
pub(crate) async fn put_currency(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    currency: &Currency,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO currencies (tenant_id, currency, chain_id, token_address, decimals, name) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (tenant_id, currency) DO NOTHING",
        tenant_id,
        currency.currency,
        currency.chain_id.map(to_i64),
        currency.token_address,
        i16::from(currency.decimals),
        currency.name,
    )
    .execute(conn)
    .await
    .map(drop)
}

/// Opens accounts, each with a balance of nothing.
pub(crate) async fn open_accounts(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    accounts: &[NewAccount],
) -> Result<(), sqlx::Error> {
    fn column<T>(accounts: &[NewAccount], of: impl Fn(&NewAccount) -> T) -> Vec<T> {
        accounts.iter().map(of).collect()
    }
    sqlx::query!(
        "INSERT INTO accounts (tenant_id, account_id, name, account_type, class, domain, currency, user_id, chain_id, address, min_balance, max_balance)
         SELECT $1, * FROM unnest($2::uuid[], $3::text[], $4::account_type[], $5::account_class[], $6::text[], $7::text[], $8::uuid[], $9::bigint[], $10::text[],
                                  $11::numeric[], $12::numeric[])",
        tenant_id,
        &column(accounts, |it| it.account_id),
        &column(accounts, |it| it.name.clone()),
        &column(accounts, |it| it.account_type) as &[AccountType],
        &column(accounts, |it| it.class) as &[AccountClass],
        &column(accounts, |it| it.domain.clone()),
        &column(accounts, |it| it.currency.clone()),
        &column(accounts, |it| it.user_id) as &[Option<Uuid>],
        &column(accounts, |it| it.chain_id.map(to_i64)) as &[Option<i64>],
        &column(accounts, |it| it.address.clone()) as &[Option<String>],
        &column(accounts, |it| it.min_balance) as &[Option<Balance>],
        &column(accounts, |it| it.max_balance) as &[Option<Balance>],
    )
    .execute(conn)
    .await
    .map(drop)
}
