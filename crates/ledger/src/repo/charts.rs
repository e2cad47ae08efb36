//! Accounts by their names.

use plimsoll_types::Balance;
use sqlx::PgConnection;
use uuid::Uuid;

use super::unreadable;
use crate::account::{AccountClass, AccountType, NewAccount};
use crate::chart::Chart;

fn column<T>(accounts: &[NewAccount], of: impl Fn(&NewAccount) -> T) -> Vec<T> {
    accounts.iter().map(of).collect()
}

/// Opens those whose name is not taken in their domain and currency; how many.
pub(crate) async fn open_missing(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    accounts: &[NewAccount],
) -> Result<u64, sqlx::Error> {
    let opened = sqlx::query!(
        "INSERT INTO accounts (tenant_id, account_id, name, account_type, class, domain, currency, user_id, min_balance)
         SELECT $1, * FROM unnest($2::uuid[], $3::text[], $4::account_type[], $5::account_class[], $6::text[], $7::text[], $8::uuid[], $9::numeric[])
         ON CONFLICT (tenant_id, domain, name, currency) DO NOTHING",
        tenant_id,
        &column(accounts, |it| it.account_id),
        &column(accounts, |it| it.name.clone()),
        &column(accounts, |it| it.account_type) as &[AccountType],
        &column(accounts, |it| it.class) as &[AccountClass],
        &column(accounts, |it| it.domain.clone()),
        &column(accounts, |it| it.currency.clone()),
        &column(accounts, |it| it.user_id) as &[Option<Uuid>],
        &column(accounts, |it| it.min_balance) as &[Option<Balance>],
    )
    .execute(conn)
    .await?;
    Ok(opened.rows_affected())
}

/// The place of the first of them that the books have as another.
pub(crate) async fn differing(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    accounts: &[NewAccount],
) -> Result<Option<usize>, sqlx::Error> {
    let place = sqlx::query_scalar!(
        r#"SELECT w.place AS "place!"
           FROM unnest($2::text[], $3::text[], $4::text[], $5::account_type[], $6::account_class[], $7::uuid[])
                    WITH ORDINALITY AS w(domain, name, currency, account_type, class, user_id, place)
           JOIN accounts a ON a.tenant_id = $1 AND a.domain = w.domain AND a.name = w.name AND a.currency = w.currency
           WHERE (a.account_type, a.class) <> (w.account_type, w.class) OR a.user_id IS DISTINCT FROM w.user_id
           ORDER BY w.place LIMIT 1"#,
        tenant_id,
        &column(accounts, |it| it.domain.clone()),
        &column(accounts, |it| it.name.clone()),
        &column(accounts, |it| it.currency.clone()),
        &column(accounts, |it| it.account_type) as &[AccountType],
        &column(accounts, |it| it.class) as &[AccountClass],
        &column(accounts, |it| it.user_id) as &[Option<Uuid>],
    )
    .fetch_optional(conn)
    .await?;
    place.map(|n| usize::try_from(n - 1).map_err(|_| unreadable("an ordinality below 1"))).transpose()
}

/// Takes note that the books have a chart's accounts.
pub(crate) async fn note(conn: &mut PgConnection, tenant_id: Uuid, chart: &Chart) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO ledger_charts (tenant_id, chart, version) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        tenant_id,
        chart.name,
        i32::from(chart.version),
    )
    .execute(conn)
    .await
    .map(drop)
}

pub(crate) async fn named(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    domain: &str,
    name: &str,
    currency: &str,
) -> Result<Option<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        "SELECT account_id FROM accounts WHERE tenant_id = $1 AND domain = $2 AND name = $3 AND currency = $4",
        tenant_id,
        domain,
        name,
        currency,
    )
    .fetch_optional(conn)
    .await
}

/// An account's domain and currency.
pub(crate) async fn place(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    account_id: Uuid,
) -> Result<Option<(String, String)>, sqlx::Error> {
    let row = sqlx::query!(
        "SELECT domain, currency FROM accounts WHERE tenant_id = $1 AND account_id = $2",
        tenant_id,
        account_id
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| (row.domain, row.currency)))
}
