//! The laws of a journal, checked against its rows in Postgres.

use std::collections::{BTreeMap, HashMap};

use alloy_primitives::B256;
use plimsoll_proof::BlocksRoot;
use plimsoll_store::Tx;
use plimsoll_testkit::laws::{BlockBody, Body, Journal, Row};
use plimsoll_types::BlockState;
use sqlx::{PgConnection, PgPool};

/// First and last block, the last one's hash, the sum of all hashes, source, count of endpoints.
type RangeRow = (i64, i64, Vec<u8>, Option<Vec<u8>>, String, i64);
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
    journal.check().map_err(|broken| format!("chain {chain_id}, {broken}"))?;
    let certified =
        certified(conn, chain_id.cast_signed(), &journal).await.map_err(|error| error.to_string())?;
    certified.map_err(|broken| format!("chain {chain_id}, certificates: {broken}"))
}

/// What was proven when it was brought in is the journal's blocks, each once, up to its head, and by the sum of their hashes.
async fn certified(
    conn: &mut PgConnection,
    chain: i64,
    journal: &Journal,
) -> Result<Result<(), String>, sqlx::Error> {
    let ranges: Vec<RangeRow> = sqlx::query_as(
        "SELECT from_number, to_number, to_hash, blocks_root, source::text, cardinality(endpoints)::bigint
         FROM completeness_certificates WHERE chain_id = $1 AND source IN ('backfill', 'head') ORDER BY from_number",
    )
    .bind(chain)
    .fetch_all(&mut *conn)
    .await?;
    let head: Option<i64> = sqlx::query_scalar("SELECT head_number FROM chains WHERE chain_id = $1")
        .bind(chain)
        .fetch_optional(conn)
        .await?
        .flatten();
    let canonical: BTreeMap<i64, B256> = journal
        .blocks
        .values()
        .filter(|block| block.state != BlockState::Orphaned)
        .map(|block| (block.body.number, block.body.hash))
        .collect();
    let mut covered = None;
    for (from, to, hash, root, source, endpoints) in ranges {
        let range = format!("{source} {from} to {to}");
        if covered.is_some_and(|covered| covered + 1 != from) {
            return Ok(Err(format!("{range} begins elsewhere than after {covered:?}")));
        }
        if canonical.get(&to).map(B256::as_slice) != Some(&hash[..]) || endpoints == 0 {
            return Ok(Err(format!(
                "{range} ends with a block that is not the journal's, or is nobody's word"
            )));
        }
        if source == "head" {
            let hashes: Vec<_> = (from..=to).filter_map(|number| canonical.get(&number)).collect();
            let sum = hashes.iter().copied().collect::<BlocksRoot>().root();
            if root.as_deref() != Some(sum.as_slice()) || i64::try_from(hashes.len()) != Ok(to - from + 1) {
                return Ok(Err(format!("{range} is of other blocks")));
            }
        }
        covered = Some(to);
    }
    Ok(if covered == head {
        Ok(())
    } else {
        Err(format!("they end with {covered:?}, the journal with {head:?}"))
    })
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
