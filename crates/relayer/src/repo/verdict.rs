//! What the chain's fold writes: from the journal alone, by compare-and-set on the state.

use plimsoll_types::{Amount, TransactionState};
use sqlx::PgConnection;

use super::seen::Columns;
use super::{Changed, to_i64};
use crate::fold::Seen;

/// What a fold looks for has keys, as in [`plimsoll_store::Db::begin_worker_by_keys`]; its transaction is begun by others.
pub(crate) async fn look_by_keys(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    let by_keys = "SET LOCAL enable_seqscan = off; SET LOCAL plan_cache_mode = force_generic_plan";
    sqlx::raw_sql(by_keys).execute(conn).await.map(drop)
}

/// Tracking → Mined: our attempts among what was included.
pub(crate) async fn mined(
    conn: &mut PgConnection,
    chain_id: u64,
    seen: &[Seen],
) -> Result<Vec<Changed>, sqlx::Error> {
    let columns = Columns::of(seen);
    changed!(
        r#"UPDATE managed_transactions t
           SET state = 'mined', version = version + 1, block_number = seen.block_number, block_hash = seen.block_hash, tx_hash = seen.tx_hash,
               attempt = a.attempt, purpose = a.purpose, succeeded = seen.succeeded, gas_used = seen.gas_used, gas_paid_wei = seen.gas_paid,
               updated_at = clock_timestamp()
           FROM unnest($2::bytea[], $3::bigint[], $4::bytea[], $5::boolean[], $6::numeric[], $7::numeric[])
                    AS seen(tx_hash, block_number, block_hash, succeeded, gas_used, gas_paid)
           JOIN transaction_attempts a ON a.chain_id = $1 AND a.tx_hash = seen.tx_hash
           WHERE t.id = a.transaction_id AND t.state = (SELECT 'tracking'::transaction_state) AND t.nonce = a.nonce AND t.signer = a.signer"#,
        to_i64(chain_id),
        &columns.tx_hashes,
        &columns.blocks,
        &columns.block_hashes,
        &columns.succeeded,
        &columns.gas_used as &[Amount],
        &columns.gas_paid as &[Amount],
    )
    .fetch_all(conn)
    .await
}

/// Notes by whom a nonce was consumed that a request of ours has: a transaction that is none of its attempts.
pub(crate) async fn displaced(
    conn: &mut PgConnection,
    chain_id: u64,
    seen: &[Seen],
) -> Result<Vec<Changed>, sqlx::Error> {
    let columns = Columns::of(seen);
    changed!(
        r#"UPDATE managed_transactions t
           SET version = version + 1, block_number = seen.block_number, block_hash = seen.block_hash, tx_hash = seen.tx_hash, succeeded = seen.succeeded,
               updated_at = clock_timestamp()
           FROM unnest($2::text[], $3::bigint[], $4::bytea[], $5::bigint[], $6::bytea[], $7::boolean[])
                    AS seen(sender, nonce, tx_hash, block_number, block_hash, succeeded)
           WHERE t.chain_id = $1 AND t.signer = seen.sender AND t.nonce = seen.nonce AND t.state = 'tracking'
             AND NOT EXISTS (SELECT FROM transaction_attempts a WHERE a.chain_id = $1 AND a.tx_hash = seen.tx_hash)"#,
        to_i64(chain_id),
        &columns.senders,
        &columns.nonces,
        &columns.tx_hashes,
        &columns.blocks,
        &columns.block_hashes,
        &columns.succeeded,
    )
    .fetch_all(conn)
    .await
}

/// The same, for those that got their nonce at the moment at which it was consumed, and whom no record was applied to for that: by blocks up to this one, which is final.
pub(crate) async fn displaced_before(
    conn: &mut PgConnection,
    chain_id: u64,
    final_number: u64,
) -> Result<Vec<Changed>, sqlx::Error> {
    changed!(
        r#"UPDATE managed_transactions t
           SET version = version + 1, block_number = m.block_number, block_hash = m.block_hash, tx_hash = m.tx_hash, succeeded = m.succeeded,
               updated_at = clock_timestamp()
           FROM signer_progress p, chain_tx_meta m, chain_blocks b
           WHERE t.chain_id = $1 AND t.state = 'tracking' AND t.block_hash IS NULL
             AND p.chain_id = t.chain_id AND p.address = t.signer AND t.nonce < p.consumed_next
             AND m.chain_id = t.chain_id AND m.sender = t.signer AND m.nonce = t.nonce::numeric AND m.block_number <= $2
             AND b.chain_id = m.chain_id AND b.number = m.block_number AND b.hash = m.block_hash AND b.state <> 'orphaned'
             AND NOT EXISTS (SELECT FROM transaction_attempts a WHERE a.chain_id = $1 AND a.tx_hash = m.tx_hash)"#,
        to_i64(chain_id),
        to_i64(final_number),
    )
    .fetch_all(conn)
    .await
}

/// Moves the signers among the senders on: what is included consumes its nonce, whoever made it.
pub(crate) async fn consume(
    conn: &mut PgConnection,
    chain_id: u64,
    seen: &[Seen],
) -> Result<(), sqlx::Error> {
    let columns = Columns::of(seen);
    sqlx::query!(
        "UPDATE signer_progress p SET consumed_next = seen.nonce + 1, consumed_block = seen.block_number
         FROM (SELECT DISTINCT ON (sender) sender, nonce, block_number FROM unnest($2::text[], $3::bigint[], $4::bigint[]) AS seen(sender, nonce, block_number)
               ORDER BY sender, nonce DESC) AS seen
         WHERE p.chain_id = $1 AND p.address = seen.sender AND p.consumed_next <= seen.nonce",
        to_i64(chain_id),
        &columns.senders,
        &columns.nonces,
        &columns.blocks,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Out of this state, which is Mined, or Tracking where a stranger had the nonce: what left the chain, with its block.
pub(crate) async fn take_back(
    conn: &mut PgConnection,
    chain_id: u64,
    from: TransactionState,
    seen: &[Seen],
) -> Result<Vec<Changed>, sqlx::Error> {
    let columns = Columns::of(seen);
    changed!(
        r#"UPDATE managed_transactions t
           SET state = 'tracking', version = version + 1, block_number = NULL, block_hash = NULL, tx_hash = NULL, attempt = NULL, purpose = NULL,
               succeeded = NULL, gas_used = NULL, gas_paid_wei = NULL, revert_code = NULL, revert_text = NULL, revert_source = NULL, updated_at = clock_timestamp()
           FROM unnest($2::text[], $3::bigint[], $4::bytea[], $5::bytea[]) AS seen(sender, nonce, tx_hash, block_hash)
           WHERE t.chain_id = $1 AND t.signer = seen.sender AND t.nonce = seen.nonce AND t.tx_hash = seen.tx_hash AND t.block_hash = seen.block_hash
             AND t.state = $6"#,
        to_i64(chain_id),
        &columns.senders,
        &columns.nonces,
        &columns.tx_hashes,
        &columns.block_hashes,
        from as TransactionState,
    )
    .fetch_all(conn)
    .await
}

/// Moves the signers among the senders back: these nonces are free again.
pub(crate) async fn free(conn: &mut PgConnection, chain_id: u64, seen: &[Seen]) -> Result<(), sqlx::Error> {
    let columns = Columns::of(seen);
    sqlx::query!(
        "UPDATE signer_progress p SET consumed_next = seen.nonce, consumed_block = NULL
         FROM (SELECT sender, min(nonce) AS nonce FROM unnest($2::text[], $3::bigint[]) AS seen(sender, nonce) GROUP BY sender) AS seen
         WHERE p.chain_id = $1 AND p.address = seen.sender AND p.consumed_next > seen.nonce",
        to_i64(chain_id),
        &columns.senders,
        &columns.nonces,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Mined → Confirmed: what succeeded in blocks up to this one, which reached the confirmation depth.
pub(crate) async fn confirm(
    conn: &mut PgConnection,
    chain_id: u64,
    confirmed_number: u64,
) -> Result<Vec<Changed>, sqlx::Error> {
    changed!(
        r#"UPDATE managed_transactions t SET state = 'confirmed', version = version + 1, updated_at = clock_timestamp()
           WHERE t.chain_id = $1 AND t.block_number <= $2 AND t.state = 'mined' AND t.succeeded AND t.purpose <> 'cancel'"#,
        to_i64(chain_id),
        to_i64(confirmed_number),
    )
    .fetch_all(conn)
    .await
}

/// Confirmed → Mined: what is about to be taken back, and was told to be there for good.
pub(crate) async fn revise(
    conn: &mut PgConnection,
    chain_id: u64,
    seen: &[Seen],
) -> Result<Vec<Changed>, sqlx::Error> {
    let columns = Columns::of(seen);
    changed!(
        r#"UPDATE managed_transactions t SET state = 'mined', version = version + 1, updated_at = clock_timestamp()
           FROM unnest($2::text[], $3::bigint[], $4::bytea[]) AS seen(sender, nonce, block_hash)
           WHERE t.chain_id = $1 AND t.signer = seen.sender AND t.nonce = seen.nonce AND t.block_hash = seen.block_hash AND t.state = 'confirmed'"#,
        to_i64(chain_id),
        &columns.senders,
        &columns.nonces,
        &columns.block_hashes,
    )
    .fetch_all(conn)
    .await
}

/// Marks what was confirmed in blocks up to this one, which is final: no verdict over it is revised any more.
pub(crate) async fn settle(
    conn: &mut PgConnection,
    chain_id: u64,
    final_number: u64,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE managed_transactions SET is_final = true
         WHERE chain_id = $1 AND block_number <= $2 AND state = 'confirmed' AND NOT is_final",
        to_i64(chain_id),
        to_i64(final_number),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Mined → Failed, Cancelled or Expired: what is not what was asked for, in blocks up to this one, which is final.
pub(crate) async fn fail(
    conn: &mut PgConnection,
    chain_id: u64,
    final_number: u64,
) -> Result<Vec<Changed>, sqlx::Error> {
    changed!(
        r#"UPDATE managed_transactions t
           SET state = CASE t.purpose WHEN 'cancel' THEN t.end_wanted ELSE 'failed' END,
               end_why = CASE t.purpose WHEN 'cancel' THEN t.end_why ELSE 'it reverted' || COALESCE(': ' || t.revert_text, '') END,
               is_final = true, version = version + 1, updated_at = clock_timestamp()
           WHERE t.chain_id = $1 AND t.block_number <= $2 AND t.state = 'mined' AND (NOT t.succeeded OR t.purpose = 'cancel')"#,
        to_i64(chain_id),
        to_i64(final_number),
    )
    .fetch_all(conn)
    .await
}

/// Tracking → Pending or Replaced: those whose nonce a stranger consumed in blocks up to this one, which is final.
pub(crate) async fn release(
    conn: &mut PgConnection,
    chain_id: u64,
    final_number: u64,
) -> Result<Vec<Changed>, sqlx::Error> {
    changed!(
        r#"UPDATE managed_transactions t
           SET state = CASE WHEN is_over THEN 'replaced' ELSE 'pending' END::transaction_state,
               nonce = CASE WHEN is_over THEN nonce END,
               block_number = CASE WHEN is_over THEN block_number END, block_hash = CASE WHEN is_over THEN block_hash END,
               tx_hash = CASE WHEN is_over THEN tx_hash END, succeeded = CASE WHEN is_over THEN succeeded END, is_final = is_over,
               end_why = CASE WHEN is_over THEN 'another transaction of its signer took its nonce' ELSE end_why END,
               version = version + 1, updated_at = clock_timestamp()
           FROM (SELECT id, operation_type = 'fill' OR NOT s.requeues AS is_over
                 FROM managed_transactions t JOIN signers s ON s.chain_id = t.chain_id AND s.address = t.signer
                 WHERE t.chain_id = $1 AND t.block_number <= $2 AND t.state = 'tracking') AS d
           WHERE t.id = d.id"#,
        to_i64(chain_id),
        to_i64(final_number),
    )
    .fetch_all(conn)
    .await
}
