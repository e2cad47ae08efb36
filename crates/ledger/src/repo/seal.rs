//! The logs: what is staged, what is sealed, and what is signed. Over the worker's role.

use std::ops::Range;

use alloy_primitives::B256;
use plimsoll_proof::ledger::tiles::TileId;
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{hash, to_i64, to_u64, unreadable};
use crate::seal::Leaf;

/// What a transaction left to be sealed.
#[derive(Debug)]
pub(crate) struct Staged {
    pub(crate) staging_id: i64,
    pub(crate) tenant_id: Uuid,
    pub(crate) postings: Vec<Uuid>,
    pub(crate) digests: Vec<B256>,
    /// How long it has waited, in seconds.
    pub(crate) staged_for_s: f64,
}

/// Where a log stands.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    pub(crate) tenant_id: Uuid,
    pub(crate) size: u64,
    pub(crate) head_hash: B256,
    pub(crate) frontier: Vec<B256>,
}

/// A checkpoint that is committed and not signed.
#[derive(Debug)]
pub(crate) struct Unsigned {
    pub(crate) tenant_id: Uuid,
    pub(crate) origin: String,
    pub(crate) tree_size: u64,
    pub(crate) root_hash: B256,
}

/// What a look at the queue tells.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) server_started_at: OffsetDateTime,
    pub(crate) has_rows: bool,
}

/// Whether anything waits at or above `from` that is none of these tenants'. In the order of the key: EXISTS would be answered by reading the table from its start, over all that died there.
pub(crate) async fn look(pool: &PgPool, from: i64, but_of: &[Uuid]) -> Result<Seen, sqlx::Error> {
    sqlx::query_as!(
        Seen,
        r#"SELECT pg_postmaster_start_time() AS "server_started_at!",
                  (SELECT staging_id FROM ledger_staging WHERE staging_id >= $1 AND tenant_id <> ALL ($2) ORDER BY staging_id LIMIT 1) IS NOT NULL AS "has_rows!""#,
        from,
        but_of
    )
    .fetch_one(pool)
    .await
}

/// The oldest rows that can be seen at or above `from`; of one tenant or of all, and of none of the others.
pub(crate) async fn oldest(
    conn: &mut PgConnection,
    from: i64,
    of: Option<Uuid>,
    but_of: &[Uuid],
    limit: i64,
) -> Result<Vec<Staged>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT staging_id, tenant_id, postings, digests, extract(epoch FROM clock_timestamp() - staged_at)::float8 AS "staged_for_s!"
           FROM ledger_staging WHERE staging_id >= $1 AND ($2::uuid IS NULL OR tenant_id = $2) AND tenant_id <> ALL ($3)
           ORDER BY staging_id LIMIT $4"#,
        from,
        of,
        but_of,
        limit
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Staged {
                staging_id: row.staging_id,
                tenant_id: row.tenant_id,
                postings: row.postings,
                digests: hashes(&row.digests)?,
                staged_for_s: row.staged_for_s,
            })
        })
        .collect()
}

fn hashes(bytes: &[u8]) -> Result<Vec<B256>, sqlx::Error> {
    bytes.chunks(32).map(hash).collect()
}

/// The logs of these tenants, locked until the transaction ends.
pub(crate) async fn lock_logs(conn: &mut PgConnection, tenants: &[Uuid]) -> Result<Vec<Log>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT tenant_id, size, head_hash, frontier FROM ledger_logs WHERE tenant_id = ANY ($1) ORDER BY tenant_id FOR NO KEY UPDATE",
        tenants
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(|row| log(row.tenant_id, row.size, &row.head_hash, &row.frontier)).collect()
}

fn log(tenant_id: Uuid, size: i64, head_hash: &[u8], frontier: &[u8]) -> Result<Log, sqlx::Error> {
    Ok(Log { tenant_id, size: to_u64(size)?, head_hash: hash(head_hash)?, frontier: hashes(frontier)? })
}

/// The logs that are farther than their last checkpoint.
pub(crate) async fn grown_logs(conn: &mut PgConnection) -> Result<Vec<Log>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT l.tenant_id, l.size, l.head_hash, l.frontier FROM ledger_logs l
         WHERE l.size > 0 AND NOT EXISTS (SELECT FROM ledger_checkpoints c WHERE c.tenant_id = l.tenant_id AND c.tree_size = l.size)
         ORDER BY l.tenant_id FOR NO KEY UPDATE OF l"
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(|row| log(row.tenant_id, row.size, &row.head_hash, &row.frontier)).collect()
}

pub(crate) async fn insert_leaves(conn: &mut PgConnection, leaves: &[Leaf]) -> Result<(), sqlx::Error> {
    let tenants: Vec<_> = leaves.iter().map(|leaf| leaf.tenant_id).collect();
    let indices: Vec<_> = leaves.iter().map(|leaf| to_i64(leaf.index)).collect();
    let postings: Vec<_> = leaves.iter().map(|leaf| leaf.posting_id).collect();
    let before: Vec<_> = leaves.iter().map(|leaf| leaf.prev_entry_hash.to_vec()).collect();
    let hashes: Vec<_> = leaves.iter().map(|leaf| leaf.entry_hash.to_vec()).collect();
    sqlx::query!(
        "INSERT INTO ledger_leaves (tenant_id, leaf_index, posting_id, prev_entry_hash, entry_hash)
         SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::bytea[], $5::bytea[])",
        &tenants,
        &indices,
        &postings,
        &before,
        &hashes,
    )
    .execute(conn)
    .await
    .map(drop)
}

/// Removes rows that are sealed, all of them.
pub(crate) async fn remove(conn: &mut PgConnection, staging_ids: &[i64]) -> Result<(), sqlx::Error> {
    let removed = sqlx::query!("DELETE FROM ledger_staging WHERE staging_id = ANY ($1)", staging_ids)
        .execute(conn)
        .await?
        .rows_affected();
    if removed != staging_ids.len() as u64 {
        return Err(unreadable(format!(
            "{removed} of {} rows of ledger_staging were there when they were sealed: something else removes them",
            staging_ids.len()
        )));
    }
    Ok(())
}

pub(crate) async fn move_log(conn: &mut PgConnection, log: &Log) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE ledger_logs SET size = $2, head_hash = $3, frontier = $4 WHERE tenant_id = $1",
        log.tenant_id,
        to_i64(log.size),
        &log.head_hash[..],
        log.frontier.iter().flat_map(|hash| hash.0).collect::<Vec<u8>>(),
    )
    .execute(conn)
    .await
    .map(drop)
}

/// The hashes of these entries, in order.
pub(crate) async fn entry_hashes(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    indices: Range<u64>,
) -> Result<Vec<B256>, sqlx::Error> {
    let rows = sqlx::query_scalar!(
        "SELECT entry_hash FROM ledger_leaves WHERE tenant_id = $1 AND leaf_index >= $2 AND leaf_index < $3 ORDER BY leaf_index",
        tenant_id,
        to_i64(indices.start),
        to_i64(indices.end),
    )
    .fetch_all(conn)
    .await?;
    rows.iter().map(|row| hash(row)).collect()
}

/// The roots of these tiles, in order.
pub(crate) async fn tile_roots(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    level: u8,
    tiles: Range<u64>,
) -> Result<Vec<B256>, sqlx::Error> {
    let rows = sqlx::query_scalar!(
        "SELECT root_hash FROM ledger_tiles WHERE tenant_id = $1 AND level = $2 AND tile >= $3 AND tile < $4 ORDER BY tile",
        tenant_id,
        i16::from(level),
        to_i64(tiles.start),
        to_i64(tiles.end),
    )
    .fetch_all(conn)
    .await?;
    rows.iter().map(|row| hash(row)).collect()
}

pub(crate) async fn insert_tile(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    id: TileId,
    hashes: &[u8],
    root: B256,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO ledger_tiles (tenant_id, level, tile, hashes, root_hash) VALUES ($1, $2, $3, $4, $5)",
        tenant_id,
        i16::from(id.level),
        to_i64(id.index),
        hashes,
        &root[..],
    )
    .execute(conn)
    .await
    .map(drop)
}

/// Puts down where a locked log stands.
pub(crate) async fn put_checkpoint(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    origin: &str,
    root: B256,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO ledger_checkpoints (tenant_id, origin, tree_size, root_hash) SELECT $1, $2, size, $3 FROM ledger_logs WHERE tenant_id = $1",
        tenant_id,
        origin,
        &root[..],
    )
    .execute(conn)
    .await
    .map(drop)
}

/// What is to be signed.
pub(crate) async fn unsigned(pool: &PgPool) -> Result<Vec<Unsigned>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT tenant_id, origin, tree_size, root_hash FROM ledger_checkpoints WHERE note IS NULL ORDER BY tenant_id, tree_size"
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Unsigned {
                tenant_id: row.tenant_id,
                origin: row.origin,
                tree_size: to_u64(row.tree_size)?,
                root_hash: hash(&row.root_hash)?,
            })
        })
        .collect()
}

/// Keeps a signature: the first one.
pub(crate) async fn sign(
    pool: &PgPool,
    tenant_id: Uuid,
    tree_size: u64,
    note: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE ledger_checkpoints SET note = $3 WHERE tenant_id = $1 AND tree_size = $2 AND note IS NULL",
        tenant_id,
        to_i64(tree_size),
        note,
    )
    .execute(pool)
    .await
    .map(drop)
}
