//! What an import looks at beforehand, without a lock.

use std::collections::HashMap;

use plimsoll_types::Balance;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::book::{NormalSide, Standing};

/// How far a tenant's books are closed, and the database's clock; none: it has no books.
pub(crate) async fn books(
    conn: &mut PgConnection,
    tenant_id: Uuid,
) -> Result<Option<(Option<OffsetDateTime>, OffsetDateTime)>, sqlx::Error> {
    let row = sqlx::query!(
        r#"SELECT NULLIF(closed_through, '-infinity') AS closed_through, clock_timestamp() AS "now!" FROM ledger_books WHERE tenant_id = $1"#,
        tenant_id
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| (row.closed_through, row.now)))
}

/// What a tenant's accounts of these ids hold.
pub(crate) async fn standings(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    accounts: &[Uuid],
) -> Result<HashMap<Uuid, Standing>, sqlx::Error> {
    let rows = sqlx::query_as!(
        Standing,
        r#"SELECT b.account_id, b.tenant_id, a.domain, b.token_address AS currency, normal_side(a.class) AS "normal_side!: NormalSide", a.closed_at IS NOT NULL AS "is_closed!",
                  a.min_balance AS "min_balance: Balance", a.max_balance AS "max_balance: Balance", b.raw_balance AS "raw_balance: Balance", b.version,
                  NULLIF(b.latest_effective_at, '-infinity') AS latest_effective_at, NULLIF(b.last_recorded_at, '-infinity') AS last_recorded_at,
                  b.last_updated_block AS latest_block
           FROM asset_balances b JOIN accounts a USING (account_id) WHERE a.tenant_id = $1 AND b.account_id = ANY ($2)"#,
        tenant_id,
        accounts
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|standing| (standing.account_id, standing)).collect())
}

/// A tenant's accounts of these names, each with its domain, name and currency.
pub(crate) async fn named(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    (domains, names, currencies): (&[String], &[String], &[String]),
) -> Result<Vec<((String, String, String), Uuid)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT a.account_id, a.domain, a.name, a.currency FROM unnest($2::text[], $3::text[], $4::text[]) AS given(domain, name, currency)
           JOIN accounts a ON a.tenant_id = $1 AND a.domain = given.domain AND a.name = given.name AND a.currency = given.currency"#,
        tenant_id,
        domains,
        names,
        currencies
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| ((row.domain, row.name, row.currency), row.account_id)).collect())
}
