//! Writing the journal and the raw store: COPY for what grows, small statements for the marks.

use alloy_primitives::B256;
use plimsoll_types::BlockState;
use sqlx::PgConnection;

use super::{to_hash, to_i64};
use crate::fold::FoldError;
use crate::writer::{ChainIdentity, NewBlock};

pub(crate) const COPY_EVENTS: &str = "COPY chain_events (chain_id, block_number, block_hash, log_index, id, tx_hash, tx_index, \
     contract_address, event_name, topic0, topics, data, payload, request_id, seq) FROM STDIN (FORMAT binary)";
pub(crate) const COPY_TRANSACTIONS: &str = "COPY chain_tx_meta (chain_id, block_number, block_hash, tx_index, id, tx_hash, sender, \
     to_address, nonce, succeeded, gas_used, effective_gas_price, gas_paid_wei, request_id) FROM STDIN (FORMAT binary)";
pub(crate) const COPY_LIVE: &str =
    "COPY chain_live (chain_id, tx_hash, log_index, event_id, block_number) FROM STDIN (FORMAT binary)";
pub(crate) const COPY_JOURNAL: &str =
    "COPY journal (chain_id, seq, block_number, ref, kind) FROM STDIN (FORMAT binary)";

/// The chain's row, as the writer needs it.
pub(crate) struct ChainRow {
    pub(crate) genesis_hash: Vec<u8>,
    pub(crate) next_seq: i64,
    pub(crate) next_id: i64,
    pub(crate) head_number: Option<i64>,
    pub(crate) head_hash: Option<Vec<u8>>,
    pub(crate) confirmed_number: Option<i64>,
    pub(crate) final_number: Option<i64>,
    pub(crate) halted: bool,
    pub(crate) halt: Option<serde_json::Value>,
}

pub(crate) async fn open_chain(
    conn: &mut PgConnection,
    chain: &ChainIdentity,
) -> Result<ChainRow, sqlx::Error> {
    sqlx::query!(
        "INSERT INTO chains (chain_id, name, genesis_hash, start_block, confirmations, finality)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (chain_id) DO UPDATE SET name = EXCLUDED.name, confirmations = EXCLUDED.confirmations,
             finality = EXCLUDED.finality, updated_at = now()
         WHERE chains.genesis_hash = EXCLUDED.genesis_hash",
        to_i64(chain.chain_id),
        chain.name,
        chain.genesis_hash.as_slice(),
        to_i64(chain.start_block),
        to_i64(chain.confirmations),
        chain.finality
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query_as!(
        ChainRow,
        r#"SELECT genesis_hash, next_seq, next_id, head_number, head_hash, confirmed_number, final_number,
                  state = 'halted' AS "halted!", halt
           FROM chains WHERE chain_id = $1 FOR UPDATE"#,
        to_i64(chain.chain_id)
    )
    .fetch_one(conn)
    .await
}

/// The counters as committed, with the row locked until the transaction ends.
pub(crate) async fn lock_counters(conn: &mut PgConnection, chain_id: u64) -> Result<(i64, i64), sqlx::Error> {
    sqlx::query!("SELECT next_seq, next_id FROM chains WHERE chain_id = $1 FOR UPDATE", to_i64(chain_id))
        .fetch_one(conn)
        .await
        .map(|row| (row.next_seq, row.next_id))
}

/// Where the chain's row stands after a commit.
pub(crate) struct Marks {
    pub(crate) next_seq: i64,
    pub(crate) next_id: i64,
    pub(crate) head: Option<(u64, B256)>,
    pub(crate) confirmed: Option<u64>,
    pub(crate) finalized: Option<u64>,
    pub(crate) rpc_head: Option<u64>,
}

pub(crate) async fn set_marks(
    conn: &mut PgConnection,
    chain_id: u64,
    marks: &Marks,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE chains SET next_seq = $2, next_id = $3, head_number = $4, head_hash = $5, confirmed_number = $6,
             final_number = $7, rpc_head_number = COALESCE($8, rpc_head_number),
             rpc_head_at = CASE WHEN $8::bigint IS NULL THEN rpc_head_at ELSE now() END, updated_at = now()
         WHERE chain_id = $1",
        to_i64(chain_id),
        marks.next_seq,
        marks.next_id,
        marks.head.map(|(number, _)| to_i64(number)),
        marks.head.as_ref().map(|(_, hash)| hash.as_slice()),
        marks.confirmed.map(to_i64),
        marks.finalized.map(to_i64),
        marks.rpc_head.map(to_i64)
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Tells the other processes, once this is committed.
pub(crate) async fn announce(conn: &mut PgConnection, announcement: &str) -> Result<(), sqlx::Error> {
    sqlx::query!("SELECT pg_notify('plimsoll_journal', $1)", announcement).execute(conn).await?;
    Ok(())
}

/// An event that the raw store has already: its block was here before.
pub(crate) struct Known {
    pub(crate) id: i64,
    pub(crate) block_hash: Vec<u8>,
    pub(crate) index: i32,
}

pub(crate) async fn known_events(
    conn: &mut PgConnection,
    chain_id: u64,
    from: u64,
    to: u64,
) -> Result<Vec<Known>, sqlx::Error> {
    sqlx::query_as!(
        Known,
        "SELECT id, block_hash, log_index AS index FROM chain_events WHERE chain_id = $1 AND block_number BETWEEN $2 AND $3",
        to_i64(chain_id),
        to_i64(from),
        to_i64(to)
    )
    .fetch_all(conn)
    .await
}

pub(crate) async fn known_transactions(
    conn: &mut PgConnection,
    chain_id: u64,
    from: u64,
    to: u64,
) -> Result<Vec<Known>, sqlx::Error> {
    sqlx::query_as!(
        Known,
        "SELECT id, block_hash, tx_index AS index FROM chain_tx_meta WHERE chain_id = $1 AND block_number BETWEEN $2 AND $3",
        to_i64(chain_id),
        to_i64(from),
        to_i64(to)
    )
    .fetch_all(conn)
    .await
}

/// The ids of the events of these blocks that are on the canonical chain.
pub(crate) async fn live_events(
    conn: &mut PgConnection,
    chain_id: u64,
    from: u64,
    to: u64,
) -> Result<Vec<i64>, sqlx::Error> {
    sqlx::query_scalar!(
        "SELECT e.id FROM chain_events e
         JOIN chain_live l ON l.chain_id = e.chain_id AND l.tx_hash = e.tx_hash AND l.log_index = e.log_index AND l.event_id = e.id
         WHERE e.chain_id = $1 AND e.block_number BETWEEN $2 AND $3",
        to_i64(chain_id),
        to_i64(from),
        to_i64(to)
    )
    .fetch_all(conn)
    .await
}

/// A final block of record.
pub(crate) struct FinalBlock {
    pub(crate) number: i64,
    pub(crate) hash: Vec<u8>,
    pub(crate) parent_hash: Vec<u8>,
}

/// The final blocks of record among these.
pub(crate) async fn final_blocks(
    conn: &mut PgConnection,
    chain_id: u64,
    from: u64,
    to: u64,
) -> Result<Vec<FinalBlock>, sqlx::Error> {
    sqlx::query_as!(
        FinalBlock,
        "SELECT number, hash, parent_hash FROM chain_blocks WHERE chain_id = $1 AND number BETWEEN $2 AND $3 AND state = 'final'",
        to_i64(chain_id),
        to_i64(from),
        to_i64(to)
    )
    .fetch_all(conn)
    .await
}

/// Puts a block on record, or back on the canonical chain, and returns its id: `id` when it is new.
pub(crate) async fn put_block(
    conn: &mut PgConnection,
    chain_id: u64,
    id: i64,
    block: &NewBlock,
    state: BlockState,
) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"INSERT INTO chain_blocks (chain_id, number, hash, id, parent_hash, time, state)
           VALUES ($1, $2, $3, $4, $5, to_timestamp($6), $7)
           ON CONFLICT (chain_id, number, hash) DO UPDATE SET state = EXCLUDED.state
           RETURNING id"#,
        to_i64(chain_id),
        to_i64(block.number),
        block.hash.as_slice(),
        id,
        block.parent_hash.as_slice(),
        seconds(block.timestamp),
        state as BlockState
    )
    .fetch_one(conn)
    .await
}

/// Puts final blocks on record, with ids from `first_id` on. One that is there already is final, and stays otherwise as it is.
pub(crate) async fn put_final_blocks(
    conn: &mut PgConnection,
    chain_id: u64,
    first_id: i64,
    blocks: &[NewBlock],
) -> Result<(), sqlx::Error> {
    if blocks.is_empty() {
        return Ok(());
    }
    let numbers: Vec<_> = blocks.iter().map(|block| to_i64(block.number)).collect();
    let hashes: Vec<_> = blocks.iter().map(|block| block.hash.to_vec()).collect();
    let parents: Vec<_> = blocks.iter().map(|block| block.parent_hash.to_vec()).collect();
    let times: Vec<_> = blocks.iter().map(|block| seconds(block.timestamp)).collect();
    sqlx::query!(
        "INSERT INTO chain_blocks (chain_id, number, hash, id, parent_hash, time, state)
         SELECT $1, it.number, it.hash, $2 + it.place - 1, it.parent_hash, to_timestamp(it.time), 'final'
         FROM unnest($3::bigint[], $4::bytea[], $5::bytea[], $6::float8[]) WITH ORDINALITY AS it (number, hash, parent_hash, time, place)
         ON CONFLICT (chain_id, number, hash) DO UPDATE SET state = 'final' WHERE chain_blocks.state <> 'final'",
        to_i64(chain_id),
        first_id,
        &numbers,
        &hashes,
        &parents,
        &times
    )
    .execute(conn)
    .await
    .map(drop)
}

/// Block times are whole seconds below 2^53: exact as a double, which is what `to_timestamp` takes.
#[allow(clippy::cast_precision_loss)]
fn seconds(timestamp: u64) -> f64 {
    timestamp as f64
}

pub(crate) async fn set_block_states(
    conn: &mut PgConnection,
    chain_id: u64,
    ids: &[i64],
    numbers: (u64, u64),
    state: BlockState,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE chain_blocks SET state = $5 WHERE chain_id = $1 AND number BETWEEN $2 AND $3 AND id = ANY($4)",
        to_i64(chain_id),
        to_i64(numbers.0),
        to_i64(numbers.1),
        ids,
        state as BlockState
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes the events of these blocks off the canonical chain.
pub(crate) async fn unlive(
    conn: &mut PgConnection,
    chain_id: u64,
    from: u64,
    hashes: &[Vec<u8>],
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "DELETE FROM chain_live l USING chain_events e
         WHERE e.chain_id = $1 AND e.block_number >= $2 AND e.block_hash = ANY($3)
           AND l.chain_id = e.chain_id AND l.tx_hash = e.tx_hash AND l.log_index = e.log_index AND l.event_id = e.id",
        to_i64(chain_id),
        to_i64(from),
        hashes
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(crate) async fn halt(
    conn: &mut PgConnection,
    chain_id: u64,
    why: &serde_json::Value,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE chains SET state = 'halted', halt = $2, updated_at = now() WHERE chain_id = $1",
        to_i64(chain_id),
        why
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "INSERT INTO anomalies (chain_id, source, kind, detail) VALUES ($1, 'ingest', 'halt', $2)",
        to_i64(chain_id),
        why
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Keeps an anomaly that has no record of its own; the same one is kept once.
pub(crate) async fn add_anomaly(
    conn: &mut PgConnection,
    chain_id: u64,
    source: &str,
    kind: &str,
    detail: &serde_json::Value,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO anomalies (chain_id, source, kind, detail) SELECT $1, $2, $3, $4
         WHERE NOT EXISTS (SELECT FROM anomalies WHERE chain_id = $1 AND source = $2 AND kind = $3 AND detail = $4)",
        to_i64(chain_id),
        source,
        kind,
        detail
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Lifts a halt; `false` when the chain was not halted.
pub(crate) async fn resume(
    conn: &mut PgConnection,
    chain_id: u64,
    detail: &serde_json::Value,
) -> Result<bool, sqlx::Error> {
    let lifted = sqlx::query!(
        "UPDATE chains SET state = 'following', halt = NULL, updated_at = now() WHERE chain_id = $1 AND state = 'halted'",
        to_i64(chain_id)
    )
    .execute(&mut *conn)
    .await?
    .rows_affected()
        > 0;
    if lifted {
        sqlx::query!(
            "INSERT INTO anomalies (chain_id, source, kind, detail) VALUES ($1, 'ingest', 'resumed', $2)",
            to_i64(chain_id),
            detail
        )
        .execute(conn)
        .await?;
    }
    Ok(lifted)
}

pub(crate) async fn set_rpc_head(
    conn: &mut PgConnection,
    chain_id: u64,
    number: u64,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE chains SET rpc_head_number = $2, rpc_head_at = now() WHERE chain_id = $1",
        to_i64(chain_id),
        to_i64(number)
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The head's hash as the row keeps it.
pub(crate) fn head(chain_id: u64, row: &ChainRow) -> Result<Option<(u64, B256)>, FoldError> {
    match (row.head_number, &row.head_hash) {
        (Some(number), Some(hash)) => Ok(Some((super::to_u64(number), to_hash(chain_id, hash)?))),
        _ => Ok(None),
    }
}
