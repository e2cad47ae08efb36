//! Balances, now and earlier.

use plimsoll_types::Balance;
use sqlx::PgConnection;
use uuid::Uuid;

use super::to_i64;
use crate::balance::AsOf;

/// All of the account's lines, as far as they lie within what is given.
pub(crate) async fn at(
    conn: &mut PgConnection,
    account_id: Uuid,
    as_of: AsOf,
) -> Result<Option<Balance>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT balance_at(account_id, version, $2, $3, $4) AS "balance!: Balance" FROM asset_balances WHERE account_id = $1"#,
        account_id,
        as_of.effective_at,
        as_of.recorded_at,
        as_of.block_number.map(to_i64),
    )
    .fetch_optional(conn)
    .await
}
