//! What an explanation needs to know beside the transaction. The worker's role asks, since a signer's queue is everybody's; nothing of another tenant's is told but how much it is.

use plimsoll_types::TransactionState;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

/// Where a chain and a sender stand.
pub(crate) struct Standing {
    pub(crate) confirmations: i64,
    pub(crate) head: Option<i64>,
    pub(crate) final_number: Option<i64>,
    pub(crate) next_nonce: Option<i64>,
    pub(crate) consumed_next: Option<i64>,
    pub(crate) is_watched: bool,
    pub(crate) under_way: i64,
}

/// What has a nonce.
pub(crate) struct Holding {
    pub(crate) id: Uuid,
    pub(crate) tenant_id: Option<Uuid>,
    pub(crate) state: TransactionState,
}

/// Of a sender on a chain; none of a chain that is not followed.
pub(crate) async fn standing(
    conn: &mut PgConnection,
    chain_id: i64,
    sender: &str,
) -> Result<Option<Standing>, sqlx::Error> {
    sqlx::query_as!(
        Standing,
        r#"SELECT c.confirmations, c.head_number AS head, c.final_number, s.next_nonce AS "next_nonce?", p.consumed_next AS "consumed_next?",
                  EXISTS (SELECT FROM watched_senders w WHERE w.chain_id = c.chain_id AND w.address = $2 AND w.watched_from IS NOT NULL) AS "is_watched!",
                  (SELECT count(*) FROM managed_transactions t WHERE t.chain_id = c.chain_id AND t.signer = $2 AND t.state = 'tracking'
                                                                  AND t.block_hash IS NULL) AS "under_way!"
           FROM chains c
           LEFT JOIN signers s ON s.chain_id = c.chain_id AND s.address = $2
           LEFT JOIN signer_progress p ON p.chain_id = c.chain_id AND p.address = $2
           WHERE c.chain_id = $1"#,
        chain_id,
        sender
    )
    .fetch_optional(conn)
    .await
}

/// How many of the signer's enter the window before this one.
pub(crate) async fn ahead(
    conn: &mut PgConnection,
    chain_id: i64,
    signer: &str,
    priority: i16,
    id: Uuid,
) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM managed_transactions
           WHERE chain_id = $1 AND signer = $2 AND state = 'pending' AND (priority > $3 OR (priority = $3 AND id < $4))"#,
        chain_id,
        signer,
        priority,
        id
    )
    .fetch_one(conn)
    .await
}

/// When what a user signed is given to the endpoints again.
pub(crate) async fn sent_again_at(
    conn: &mut PgConnection,
    id: Uuid,
) -> Result<Option<OffsetDateTime>, sqlx::Error> {
    sqlx::query_scalar!("SELECT not_before FROM user_transactions WHERE id = $1 AND sends > 0", id)
        .fetch_optional(conn)
        .await
}

/// What has this nonce of a signer, whosever it is.
pub(crate) async fn holding(
    conn: &mut PgConnection,
    chain_id: i64,
    signer: &str,
    nonce: i64,
) -> Result<Option<Holding>, sqlx::Error> {
    sqlx::query_as!(
        Holding,
        r#"SELECT id, tenant_id, state AS "state: TransactionState" FROM managed_transactions WHERE chain_id = $1 AND signer = $2 AND nonce = $3"#,
        chain_id,
        signer,
        nonce
    )
    .fetch_optional(conn)
    .await
}

/// What used this nonce of an address in a block of the canonical chain, as the journal saw it: its hash, and the block.
pub(crate) async fn used(
    conn: &mut PgConnection,
    chain_id: i64,
    sender: &str,
    nonce: i64,
) -> Result<Option<(Vec<u8>, i64)>, sqlx::Error> {
    let row = sqlx::query!(
        "SELECT m.tx_hash, m.block_number FROM chain_tx_meta m
         JOIN chain_blocks b ON b.chain_id = m.chain_id AND b.number = m.block_number AND b.hash = m.block_hash AND b.state <> 'orphaned'
         WHERE m.chain_id = $1 AND m.sender = $2 AND m.nonce = $3::bigint::numeric LIMIT 1",
        chain_id,
        sender,
        nonce
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| (row.tx_hash, row.block_number)))
}
