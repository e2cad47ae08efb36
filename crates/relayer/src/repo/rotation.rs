//! Signers that hand over, as the worker writes it. The signer's row is locked before anything of its queue is touched.

use alloy_primitives::Address;
use plimsoll_types::{TransactionState, address_text};
use sqlx::PgConnection;

use super::{Changed, address, to_i64};
use crate::request::SignerId;

/// A signer whose row is locked.
pub(crate) struct Locked {
    pub(crate) address: Address,
    pub(crate) rotated_to: Option<Address>,
}

/// Locks its row, as whoever gives a nonce does.
pub(crate) async fn lock(conn: &mut PgConnection, signer: SignerId) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "SELECT FROM signers WHERE chain_id = $1 AND address = $2 FOR NO KEY UPDATE",
        to_i64(signer.chain_id),
        address_text(&signer.address),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Locks the rows of both, and marks `old` where neither hands over; how they were. As the app's role, too.
pub(crate) async fn mark(
    conn: &mut PgConnection,
    old: SignerId,
    new: Address,
) -> Result<Vec<Locked>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT address AS "address!", rotated_to FROM rotate_signer($1, $2, $3)"#,
        to_i64(old.chain_id),
        address_text(&old.address),
        address_text(&new),
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let rotated_to = row.rotated_to.as_deref().map(address).transpose()?;
            Ok(Locked { address: address(&row.address)?, rotated_to })
        })
        .collect()
}

/// Moves what waits for a signer that hands over.
pub(crate) async fn hand_over(
    conn: &mut PgConnection,
    old: SignerId,
    limit: i64,
) -> Result<Vec<Changed>, sqlx::Error> {
    changed!(
        r#"UPDATE managed_transactions t SET signer = s.rotated_to, version = version + 1, updated_at = clock_timestamp()
           FROM signers s
           WHERE s.chain_id = $1 AND s.address = $2 AND s.rotated_to IS NOT NULL AND t.state = 'pending'
             AND t.id IN (SELECT id FROM managed_transactions WHERE chain_id = $1 AND signer = $2 AND state = 'pending' ORDER BY id LIMIT $3 FOR NO KEY UPDATE)"#,
        to_i64(old.chain_id),
        address_text(&old.address),
        limit,
    )
    .fetch_all(conn)
    .await
}

pub(crate) async fn unfinished(conn: &mut PgConnection, chain_id: u64) -> Result<Vec<SignerId>, sqlx::Error> {
    let addresses = sqlx::query_scalar!(
        "SELECT address FROM signers s WHERE chain_id = $1 AND rotated_to IS NOT NULL
           AND EXISTS (SELECT FROM managed_transactions t WHERE t.chain_id = s.chain_id AND t.signer = s.address AND t.state = 'pending')",
        to_i64(chain_id),
    )
    .fetch_all(conn)
    .await?;
    addresses.iter().map(|text| Ok(SignerId { chain_id, address: address(text)? })).collect()
}
