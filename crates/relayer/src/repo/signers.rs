//! Signers, and what the journal says of them.

use alloy_primitives::B256;
use plimsoll_types::address_text;
use sqlx::PgConnection;

use super::{hash, to_i64, to_u64};
use crate::request::SignerId;

/// How far a signer is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The first nonce that no attempt was committed for.
    pub next_nonce: u64,
    /// The first nonce that no canonical block has consumed, as far as the journal saw any.
    pub consumed_next: u64,
    /// Whether whoever writes the chain's journal has acknowledged that it follows this signer.
    pub is_watched: bool,
    /// Whether anything waits to enter the window.
    pub has_queue: bool,
    /// Whether the end of something that is under way is asked for, or a better offer.
    pub has_wishes: bool,
    /// How often its holder was asked to look again.
    pub looks_wanted: u64,
}

/// Makes a signer known, or gives it another name or policy.
pub(crate) async fn register(
    conn: &mut PgConnection,
    signer: SignerId,
    name: &str,
    requeues: bool,
) -> Result<(), sqlx::Error> {
    let (chain_id, address) = (to_i64(signer.chain_id), address_text(&signer.address));
    sqlx::query!(
        "INSERT INTO signers (chain_id, address, name, requeues) VALUES ($1, $2, $3, $4)
         ON CONFLICT (chain_id, address) DO UPDATE SET name = EXCLUDED.name, requeues = EXCLUDED.requeues
         WHERE (signers.name, signers.requeues) IS DISTINCT FROM (EXCLUDED.name, EXCLUDED.requeues)",
        chain_id,
        address,
        name,
        requeues
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "INSERT INTO signer_progress (chain_id, address) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        chain_id,
        address
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Whether it was ever made known.
pub(crate) async fn is_known(conn: &mut PgConnection, signer: SignerId) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM signers WHERE chain_id = $1 AND address = $2) AS "is!""#,
        to_i64(signer.chain_id),
        address_text(&signer.address),
    )
    .fetch_one(conn)
    .await
}

/// How far a signer is; none when it is not known.
pub(crate) async fn progress(
    conn: &mut PgConnection,
    signer: SignerId,
) -> Result<Option<Progress>, sqlx::Error> {
    let row = sqlx::query!(
        r#"SELECT s.next_nonce, s.looks_wanted, p.consumed_next,
                  EXISTS (SELECT FROM watched_senders w WHERE w.chain_id = s.chain_id AND w.address = s.address AND w.watched_from IS NOT NULL) AS "is_watched!",
                  EXISTS (SELECT FROM managed_transactions t WHERE t.chain_id = s.chain_id AND t.signer = s.address AND t.state = 'pending') AS "has_queue!",
                  EXISTS (SELECT FROM managed_transactions t WHERE t.chain_id = s.chain_id AND t.signer = s.address AND t.state = 'tracking'
                                                                AND (t.end_wanted IS NOT NULL OR t.speed_up_wanted IS NOT NULL) AND t.block_hash IS NULL) AS "has_wishes!"
           FROM signers s JOIN signer_progress p USING (chain_id, address) WHERE s.chain_id = $1 AND s.address = $2"#,
        to_i64(signer.chain_id),
        address_text(&signer.address),
    )
    .fetch_optional(conn)
    .await?;
    row.map(|row| {
        Ok(Progress {
            next_nonce: to_u64(row.next_nonce)?,
            consumed_next: to_u64(row.consumed_next)?,
            is_watched: row.is_watched,
            has_queue: row.has_queue,
            has_wishes: row.has_wishes,
            looks_wanted: to_u64(row.looks_wanted)?,
        })
    })
    .transpose()
}

/// The journal's head, if the signer is followed from the next block on or longer.
pub(crate) async fn followed_block(
    conn: &mut PgConnection,
    signer: SignerId,
) -> Result<Option<(u64, B256)>, sqlx::Error> {
    let head = sqlx::query!(
        r#"SELECT c.head_number AS "head_number!", c.head_hash AS "head_hash!" FROM watched_senders w JOIN chains c USING (chain_id)
           WHERE w.chain_id = $1 AND w.address = $2 AND c.head_number + 1 >= w.watched_from"#,
        to_i64(signer.chain_id),
        address_text(&signer.address),
    )
    .fetch_optional(conn)
    .await?;
    head.map(|head| Ok((to_u64(head.head_number)?, hash(&head.head_hash)?))).transpose()
}
