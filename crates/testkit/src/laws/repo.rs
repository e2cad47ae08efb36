//! A journal's rows, as this session sees them.

use sqlx::PgConnection;

pub(super) struct Record {
    pub(super) seq: i64,
    pub(super) kind: String,
    pub(super) block_number: i64,
    pub(super) reference: i64,
}

pub(super) struct BodyRow {
    pub(super) id: i64,
    pub(super) block_number: i64,
    pub(super) block_hash: Vec<u8>,
    pub(super) index: i32,
}

pub(super) struct BlockRow {
    pub(super) id: i64,
    pub(super) number: i64,
    pub(super) hash: Vec<u8>,
    pub(super) parent_hash: Vec<u8>,
    pub(super) state: String,
}

pub(super) struct RangeRow {
    pub(super) from_number: i64,
    pub(super) to_number: i64,
    pub(super) to_hash: Vec<u8>,
    pub(super) blocks_root: Option<Vec<u8>>,
    pub(super) source: String,
    pub(super) endpoints: i64,
}

pub(super) async fn records(conn: &mut PgConnection, chain_id: i64) -> Result<Vec<Record>, sqlx::Error> {
    sqlx::query_as!(
        Record,
        r#"SELECT seq, kind::text AS "kind!", block_number, ref AS reference FROM journal WHERE chain_id = $1 ORDER BY seq"#,
        chain_id
    )
    .fetch_all(conn)
    .await
}

pub(super) async fn events(conn: &mut PgConnection, chain_id: i64) -> Result<Vec<BodyRow>, sqlx::Error> {
    sqlx::query_as!(
        BodyRow,
        "SELECT id, block_number, block_hash, log_index AS index FROM chain_events WHERE chain_id = $1",
        chain_id
    )
    .fetch_all(conn)
    .await
}

pub(super) async fn transactions(
    conn: &mut PgConnection,
    chain_id: i64,
) -> Result<Vec<BodyRow>, sqlx::Error> {
    sqlx::query_as!(
        BodyRow,
        "SELECT id, block_number, block_hash, tx_index AS index FROM chain_tx_meta WHERE chain_id = $1",
        chain_id
    )
    .fetch_all(conn)
    .await
}

pub(super) async fn blocks(conn: &mut PgConnection, chain_id: i64) -> Result<Vec<BlockRow>, sqlx::Error> {
    sqlx::query_as!(
        BlockRow,
        r#"SELECT id, number, hash, parent_hash, state::text AS "state!" FROM chain_blocks WHERE chain_id = $1"#,
        chain_id
    )
    .fetch_all(conn)
    .await
}

/// What was proven when it was brought in, by block.
pub(super) async fn ranges(conn: &mut PgConnection, chain_id: i64) -> Result<Vec<RangeRow>, sqlx::Error> {
    sqlx::query_as!(
        RangeRow,
        r#"SELECT from_number, to_number, to_hash, blocks_root, source::text AS "source!",
                  cardinality(endpoints)::bigint AS "endpoints!"
           FROM completeness_certificates WHERE chain_id = $1 AND source IN ('backfill', 'head') ORDER BY from_number"#,
        chain_id
    )
    .fetch_all(conn)
    .await
}

pub(super) async fn head(conn: &mut PgConnection, chain_id: i64) -> Result<Option<i64>, sqlx::Error> {
    let head = sqlx::query_scalar!("SELECT head_number FROM chains WHERE chain_id = $1", chain_id);
    Ok(head.fetch_optional(conn).await?.flatten())
}
