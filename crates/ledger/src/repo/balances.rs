//! Balances, now and earlier.

use plimsoll_types::Balance;
use sqlx::PgConnection;
use uuid::Uuid;

use super::to_i64;
use crate::balance::AsOf;

/// Halves the account's versions until one is left, and adds the late ones. Versions are dense: each that is looked for is there.
pub(crate) async fn at(
    conn: &mut PgConnection,
    account_id: Uuid,
    as_of: AsOf,
) -> Result<Option<Balance>, sqlx::Error> {
    let AsOf { effective_at, recorded_at, block_number } = as_of;
    sqlx::query_scalar!(
        r#"WITH RECURSIVE search(low, high) AS (
               SELECT 0::bigint, version FROM asset_balances WHERE account_id = $1
               UNION ALL
               SELECT CASE WHEN found.counts THEN middle ELSE low END, CASE WHEN found.counts THEN high ELSE middle - 1 END
               FROM (SELECT low, high, (low + high + 1) / 2 AS middle FROM search WHERE low < high) AS halved
               CROSS JOIN LATERAL (SELECT (e.latest_effective_at <= $2) IS NOT FALSE AND (e.recorded_at <= $3) IS NOT FALSE AND (e.latest_block <= $4) IS NOT FALSE AS counts
                                   FROM ledger_entries e WHERE e.account_id = $1 AND e.account_version = halved.middle) AS found)
           SELECT COALESCE((SELECT balance_after FROM ledger_entries WHERE account_id = $1 AND account_version = search.low), 0)
                + COALESCE((SELECT sum(debit - credit) FROM ledger_entries
                            WHERE account_id = $1 AND account_version > search.low AND (effective_at < latest_effective_at OR chain_block_number < latest_block)
                              AND (effective_at <= $2) IS NOT FALSE AND (recorded_at <= $3) IS NOT FALSE AND (COALESCE(chain_block_number, latest_block) <= $4) IS NOT FALSE), 0)
                AS "balance!: Balance"
           FROM search WHERE low = high"#,
        account_id,
        effective_at,
        recorded_at,
        block_number.map(to_i64),
    )
    .fetch_optional(conn)
    .await
}
