//! The laws of a journal, checked against its rows in Postgres.

use std::collections::HashMap;

use alloy_primitives::B256;
use plimsoll_store::Tx;
use plimsoll_testkit::laws::{BlockBody, Body, Journal, Row};
use sqlx::{PgConnection, PgPool};

/// Id, number, hash, parent's hash, state.
type BlockRow = (i64, i64, Vec<u8>, Vec<u8>, String);

/// Checks them all; says which record breaks which.
pub async fn check(pool: &PgPool, chain_id: u64) -> Result<(), String> {
    // One snapshot: the node may be at work meanwhile.
    let mut tx = Tx::snapshot(pool).await.map_err(|error| error.to_string())?;
    check_on(&mut tx, chain_id).await
}

/// As [`check`], as this session sees it.
pub async fn check_on(conn: &mut PgConnection, chain_id: u64) -> Result<(), String> {
    let journal = read(conn, chain_id.cast_signed()).await.map_err(|error| error.to_string())?;
    journal.check().map_err(|broken| format!("chain {chain_id}, {broken}"))
}

/// The journal as this session sees it.
pub async fn read(conn: &mut PgConnection, chain: i64) -> Result<Journal, sqlx::Error> {
    let rows: Vec<(i64, String, i64, i64)> = sqlx::query_as(
        "SELECT seq, kind::text, block_number, ref FROM journal WHERE chain_id = $1 ORDER BY seq",
    )
    .bind(chain)
    .fetch_all(&mut *conn)
    .await?;
    let rows = rows.into_iter().map(|(seq, kind, number, reference)| Row {
        seq,
        kind: kind.parse().expect("a journal kind"),
        number,
        reference,
    });
    let events = "SELECT id, block_number, block_hash, log_index FROM chain_events WHERE chain_id = $1";
    let transactions = "SELECT id, block_number, block_hash, tx_index FROM chain_tx_meta WHERE chain_id = $1";
    let blocks: Vec<BlockRow> = sqlx::query_as(
        "SELECT id, number, hash, parent_hash, state::text FROM chain_blocks WHERE chain_id = $1",
    )
    .bind(chain)
    .fetch_all(&mut *conn)
    .await?;
    let blocks = blocks.into_iter().map(|(id, number, hash, parent, state)| {
        let body = Body { number, hash: B256::from_slice(&hash), index: 0 };
        let state = state.parse().expect("a block state");
        (id, BlockBody { body, parent: B256::from_slice(&parent), state })
    });
    Ok(Journal {
        rows: rows.collect(),
        events: bodies(conn, chain, events).await?,
        transactions: bodies(conn, chain, transactions).await?,
        blocks: blocks.collect(),
    })
}

async fn bodies(
    conn: &mut PgConnection,
    chain: i64,
    statement: &'static str,
) -> Result<HashMap<i64, Body>, sqlx::Error> {
    let rows: Vec<(i64, i64, Vec<u8>, i32)> = sqlx::query_as(statement).bind(chain).fetch_all(conn).await?;
    Ok(rows
        .into_iter()
        .map(|(id, number, hash, index)| (id, Body { number, hash: B256::from_slice(&hash), index }))
        .collect())
}
