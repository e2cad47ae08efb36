//! What the chain's fold writes of users' transactions: from the journal alone, by compare-and-set on the state.

use plimsoll_types::{Amount, TransactionState};
use sqlx::PgConnection;

use super::seen::Columns;
use super::{Changed, address, hash, to_i64, to_u64, unreadable};
use crate::fold::Seen;

/// Whether anything may be learned of a transaction of this chain.
pub(crate) async fn has_open(conn: &mut PgConnection, chain_id: u64) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM user_transactions WHERE chain_id = $1 AND NOT is_final) AS "exists!""#,
        to_i64(chain_id)
    )
    .fetch_one(conn)
    .await
}

/// Pending or Tracking → Mined: what was signed is among what was included. Whoever has the bytes may have sent them.
pub(crate) async fn mined(
    conn: &mut PgConnection,
    chain_id: u64,
    seen: &[Seen],
) -> Result<Vec<Changed>, sqlx::Error> {
    let columns = Columns::of(seen);
    users_changed!(
        r#"UPDATE user_transactions t
           SET state = 'mined', version = version + 1, block_number = seen.block_number, block_hash = seen.block_hash, tx_hash = seen.tx_hash,
               succeeded = seen.succeeded, gas_used = seen.gas_used, gas_paid_wei = seen.gas_paid, updated_at = clock_timestamp()
           FROM unnest($2::bytea[], $3::bigint[], $4::bytea[], $5::boolean[], $6::numeric[], $7::numeric[])
                    AS seen(tx_hash, block_number, block_hash, succeeded, gas_used, gas_paid)
           WHERE t.chain_id = $1 AND t.signed_hash = seen.tx_hash AND t.state IN ('pending', 'tracking')"#,
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

/// Notes which other transaction of its sender has its nonce.
pub(crate) async fn displaced(
    conn: &mut PgConnection,
    chain_id: u64,
    seen: &[Seen],
) -> Result<Vec<Changed>, sqlx::Error> {
    let columns = Columns::of(seen);
    users_changed!(
        r#"UPDATE user_transactions t
           SET state = 'tracking', version = version + 1, block_number = seen.block_number, block_hash = seen.block_hash, tx_hash = seen.tx_hash,
               succeeded = seen.succeeded, updated_at = clock_timestamp()
           FROM unnest($2::text[], $3::bigint[], $4::bytea[], $5::bigint[], $6::bytea[], $7::boolean[])
                    AS seen(sender, nonce, tx_hash, block_number, block_hash, succeeded)
           WHERE t.chain_id = $1 AND t.sender = seen.sender AND t.nonce = seen.nonce AND t.signed_hash <> seen.tx_hash AND t.block_hash IS NULL
             AND NOT t.is_final AND t.state IN ('pending', 'tracking')"#,
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

/// What is in final blocks of the nonces that wait, and was there before they were handed in.
pub(crate) async fn missed(
    conn: &mut PgConnection,
    chain_id: u64,
    final_number: u64,
) -> Result<Vec<Seen>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT DISTINCT m.sender, m.nonce AS "nonce: Amount", m.tx_hash, m.block_number, m.block_hash, m.succeeded, m.gas_used AS "gas_used: Amount",
                  m.gas_paid_wei AS "gas_paid_wei: Amount"
           FROM user_transactions t
           JOIN chain_tx_meta m ON m.chain_id = t.chain_id AND m.sender = t.sender AND m.nonce = t.nonce::numeric AND m.block_number <= $2
           JOIN chain_blocks b ON b.chain_id = m.chain_id AND b.number = m.block_number AND b.hash = m.block_hash AND b.state <> 'orphaned'
           WHERE t.chain_id = $1 AND t.state IN ('pending', 'tracking') AND t.block_hash IS NULL AND NOT t.is_final"#,
        to_i64(chain_id),
        to_i64(final_number),
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Seen {
                sender: address(&row.sender)?,
                nonce: u64::try_from(row.nonce.0).map_err(|_| unreadable("a nonce above 2^64-1"))?,
                tx_hash: hash(&row.tx_hash)?,
                block_number: to_u64(row.block_number)?,
                block_hash: hash(&row.block_hash)?,
                succeeded: row.succeeded,
                gas_used: row.gas_used,
                gas_paid_wei: row.gas_paid_wei,
            })
        })
        .collect()
}

/// Mined → Confirmed: what succeeded in blocks up to this one, which reached the confirmation depth.
pub(crate) async fn confirm(
    conn: &mut PgConnection,
    chain_id: u64,
    confirmed_number: u64,
) -> Result<Vec<Changed>, sqlx::Error> {
    users_changed!(
        r#"UPDATE user_transactions t SET state = 'confirmed', version = version + 1, updated_at = clock_timestamp()
           WHERE t.chain_id = $1 AND t.block_number <= $2 AND t.state = 'mined' AND t.succeeded AND NOT t.is_final"#,
        to_i64(chain_id),
        to_i64(confirmed_number),
    )
    .fetch_all(conn)
    .await
}

/// Marks what was confirmed in blocks up to this one, which is final.
pub(crate) async fn settle(
    conn: &mut PgConnection,
    chain_id: u64,
    final_number: u64,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE user_transactions SET is_final = true WHERE chain_id = $1 AND block_number <= $2 AND state = 'confirmed' AND NOT is_final",
        to_i64(chain_id),
        to_i64(final_number),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Mined → Failed: what reverted in blocks up to this one, which is final.
pub(crate) async fn fail(
    conn: &mut PgConnection,
    chain_id: u64,
    final_number: u64,
) -> Result<Vec<Changed>, sqlx::Error> {
    users_changed!(
        r#"UPDATE user_transactions t
           SET state = 'failed', end_why = 'it reverted', is_final = true, version = version + 1, updated_at = clock_timestamp()
           WHERE t.chain_id = $1 AND t.block_number <= $2 AND t.state = 'mined' AND NOT t.succeeded AND NOT t.is_final"#,
        to_i64(chain_id),
        to_i64(final_number),
    )
    .fetch_all(conn)
    .await
}

/// Tracking → Replaced: whose nonce another transaction used in blocks up to this one, which is final.
pub(crate) async fn replace(
    conn: &mut PgConnection,
    chain_id: u64,
    final_number: u64,
) -> Result<Vec<Changed>, sqlx::Error> {
    users_changed!(
        r#"UPDATE user_transactions t
           SET state = 'replaced', end_why = 'another transaction of its sender took its nonce', is_final = true, version = version + 1,
               updated_at = clock_timestamp()
           WHERE t.chain_id = $1 AND t.block_number <= $2 AND t.state = 'tracking' AND NOT t.is_final"#,
        to_i64(chain_id),
        to_i64(final_number),
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
    users_changed!(
        r#"UPDATE user_transactions t SET state = 'mined', version = version + 1, updated_at = clock_timestamp()
           FROM unnest($2::bytea[], $3::bytea[]) AS seen(tx_hash, block_hash)
           WHERE t.chain_id = $1 AND t.signed_hash = seen.tx_hash AND t.block_hash = seen.block_hash AND t.state = 'confirmed' AND NOT t.is_final"#,
        to_i64(chain_id),
        &columns.tx_hashes,
        &columns.block_hashes,
    )
    .fetch_all(conn)
    .await
}

/// Out of this state, which is Mined, or Tracking where another transaction had the nonce: what left the chain, with its block.
pub(crate) async fn take_back(
    conn: &mut PgConnection,
    chain_id: u64,
    from: TransactionState,
    seen: &[Seen],
) -> Result<Vec<Changed>, sqlx::Error> {
    let columns = Columns::of(seen);
    users_changed!(
        r#"UPDATE user_transactions t
           SET state = 'tracking', version = version + 1, block_number = NULL, block_hash = NULL, tx_hash = NULL, succeeded = NULL, gas_used = NULL,
               gas_paid_wei = NULL, not_before = clock_timestamp(), updated_at = clock_timestamp()
           FROM unnest($2::text[], $3::bigint[], $4::bytea[], $5::bytea[]) AS seen(sender, nonce, tx_hash, block_hash)
           WHERE t.chain_id = $1 AND t.sender = seen.sender AND t.nonce = seen.nonce AND t.tx_hash = seen.tx_hash AND t.block_hash = seen.block_hash
             AND t.state = $6 AND NOT t.is_final"#,
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
