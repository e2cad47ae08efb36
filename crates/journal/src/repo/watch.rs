//! `watched_senders`.

use alloy_primitives::Address;
use plimsoll_types::address_text;
use sqlx::PgConnection;

use super::{to_address, to_i64, to_u64};
use crate::fold::FoldError;
use crate::watch::Watched;

struct Row {
    address: String,
    from_number: i64,
    watched_from: Option<i64>,
}

impl Row {
    fn read(&self, chain_id: u64) -> Result<Watched, FoldError> {
        Ok(Watched {
            address: to_address(chain_id, &self.address)?,
            from: to_u64(self.from_number),
            acknowledged: self.watched_from.map(to_u64),
        })
    }
}

/// None if the chain has no journal.
pub(crate) async fn add(
    conn: &mut PgConnection,
    chain_id: u64,
    sender: Address,
    from: Option<u64>,
    added_by: &str,
) -> Result<Option<Watched>, FoldError> {
    let row = sqlx::query_as!(
        Row,
        "INSERT INTO watched_senders (chain_id, address, from_number, added_by)
         SELECT chain_id, $2, COALESCE($3, head_number + 1, 0), $4 FROM chains WHERE chain_id = $1
         ON CONFLICT (chain_id, address) DO UPDATE SET from_number = LEAST(watched_senders.from_number, EXCLUDED.from_number)
         RETURNING address, from_number, watched_from",
        to_i64(chain_id),
        address_text(&sender),
        from.map(to_i64),
        added_by
    )
    .fetch_optional(conn)
    .await?;
    row.map(|row| row.read(chain_id)).transpose()
}

pub(crate) async fn all(conn: &mut PgConnection, chain_id: u64) -> Result<Vec<Watched>, FoldError> {
    let rows = sqlx::query_as!(
        Row,
        "SELECT address, from_number, watched_from FROM watched_senders WHERE chain_id = $1 ORDER BY address",
        to_i64(chain_id)
    )
    .fetch_all(conn)
    .await?;
    rows.iter().map(|row| row.read(chain_id)).collect()
}

/// Acknowledges those of these senders that no writer knew, as of the next block; whether there is another that is acknowledged.
pub(crate) async fn acknowledge<'a>(
    conn: &mut PgConnection,
    chain_id: u64,
    senders: impl Iterator<Item = &'a Address>,
    next: u64,
) -> Result<bool, sqlx::Error> {
    let senders: Vec<String> = senders.map(address_text).collect();
    sqlx::query!(
        "UPDATE watched_senders SET watched_from = $3 WHERE chain_id = $1 AND address = ANY($2) AND watched_from IS NULL",
        to_i64(chain_id),
        &senders,
        to_i64(next)
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM watched_senders WHERE chain_id = $1 AND watched_from IS NOT NULL AND address <> ALL($2)) AS "exists!""#,
        to_i64(chain_id),
        &senders
    )
    .fetch_one(conn)
    .await
}
