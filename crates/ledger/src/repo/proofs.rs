//! What of the logs is shown: checkpoints, keys, and what proofs are made of. In a transaction that is confined to the tenant, but for the key that is put down.

use alloy_primitives::B256;
use plimsoll_proof::ledger::tiles::{Needs, Tile, TileId, TiledNodes};
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{hash, to_i64, to_u64, unreadable};

/// A checkpoint that is signed.
pub(crate) struct CheckpointRow {
    pub(crate) origin: String,
    pub(crate) tree_size: u64,
    pub(crate) root_hash: B256,
    pub(crate) note: String,
    pub(crate) created_at: OffsetDateTime,
}

/// A posting's place in its log.
pub(crate) struct Leaf {
    pub(crate) index: u64,
    pub(crate) prev_entry_hash: B256,
    pub(crate) entry_hash: B256,
    pub(crate) digest: B256,
}

/// The tenant's signed checkpoint of that size, or the last one.
pub(crate) async fn checkpoint(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    tree_size: Option<u64>,
) -> Result<Option<CheckpointRow>, sqlx::Error> {
    let row = sqlx::query!(
        r#"SELECT origin, tree_size, root_hash, note AS "note!", created_at FROM ledger_checkpoints
           WHERE tenant_id = $1 AND ($2::bigint IS NULL OR tree_size = $2) AND note IS NOT NULL ORDER BY tree_size DESC LIMIT 1"#,
        tenant_id,
        tree_size.map(to_i64),
    )
    .fetch_optional(conn)
    .await?;
    row.map(|row| {
        Ok(CheckpointRow {
            origin: row.origin,
            tree_size: to_u64(row.tree_size)?,
            root_hash: hash(&row.root_hash)?,
            note: row.note,
            created_at: row.created_at,
        })
    })
    .transpose()
}

/// A posting's place, and its digest; `None`: there is no such posting. A place of `None`: it is not sealed yet.
pub(crate) async fn leaf(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    posting_id: Uuid,
) -> Result<Option<Option<Leaf>>, sqlx::Error> {
    let row = sqlx::query!(
        r#"SELECT p.digest, l.leaf_index AS "leaf_index?", l.prev_entry_hash AS "prev_entry_hash?", l.entry_hash AS "entry_hash?"
           FROM ledger_postings p LEFT JOIN ledger_leaves l USING (posting_id) WHERE p.tenant_id = $1 AND p.posting_id = $2"#,
        tenant_id,
        posting_id,
    )
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let (Some(index), Some(prev), Some(entry)) = (row.leaf_index, row.prev_entry_hash, row.entry_hash) else {
        return Ok(Some(None));
    };
    Ok(Some(Some(Leaf {
        index: to_u64(index)?,
        prev_entry_hash: hash(&prev)?,
        entry_hash: hash(&entry)?,
        digest: hash(&row.digest)?,
    })))
}

/// What is needed of the log of `size` entries.
pub(crate) async fn nodes(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    size: u64,
    needs: &Needs,
) -> Result<TiledNodes, sqlx::Error> {
    let mut nodes = TiledNodes::new(size);
    let wanted: Vec<_> = needs.tiles.union(&needs.tile_roots).collect();
    let levels: Vec<_> = wanted.iter().map(|id| i16::from(id.level)).collect();
    let indices: Vec<_> = wanted.iter().map(|id| to_i64(id.index)).collect();
    let rows = sqlx::query!(
        "SELECT t.level, t.tile, t.hashes, t.root_hash FROM unnest($2::smallint[], $3::bigint[]) AS wanted(level, tile)
         JOIN ledger_tiles t ON t.tenant_id = $1 AND t.level = wanted.level AND t.tile = wanted.tile",
        tenant_id,
        &levels,
        &indices,
    )
    .fetch_all(&mut *conn)
    .await?;
    for row in rows {
        let level = u8::try_from(row.level).map_err(|_| unreadable("a level that no tree has"))?;
        let id = TileId { level, index: to_u64(row.tile)? };
        nodes.insert_tile_root(id, hash(&row.root_hash)?);
        if needs.tiles.contains(&id) {
            nodes.insert_tile(
                id,
                Tile::from_bytes(&row.hashes).map_err(|fault| unreadable(fault.to_string()))?,
            );
        }
    }
    let entries: Vec<_> = needs.entries.iter().map(|index| to_i64(*index)).collect();
    let rows = sqlx::query!(
        "SELECT leaf_index, entry_hash FROM ledger_leaves WHERE tenant_id = $1 AND leaf_index = ANY ($2)",
        tenant_id,
        &entries,
    )
    .fetch_all(conn)
    .await?;
    for row in rows {
        nodes.insert_entry(to_u64(row.leaf_index)?, hash(&row.entry_hash)?);
    }
    Ok(nodes)
}

/// The keys of all logs that the tenant has checkpoints of, the newest first: the origin, the key, since when.
pub(crate) async fn keys(
    conn: &mut PgConnection,
    tenant_id: Uuid,
) -> Result<Vec<(String, Vec<u8>, OffsetDateTime)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT o.origin AS "origin!", k.public_key, k.since
           FROM (SELECT DISTINCT origin FROM ledger_checkpoints WHERE tenant_id = $1) AS o JOIN ledger_keys k ON o.origin = k.log_name || '/' || $1::text
           ORDER BY k.since DESC"#,
        tenant_id
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.origin, row.public_key, row.since)).collect())
}

/// Puts down that this key signs the logs of this name, unless that is known.
pub(crate) async fn put_key(
    conn: &mut PgConnection,
    log_name: &str,
    public_key: &[u8; 32],
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO ledger_keys (log_name, public_key) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        log_name,
        public_key.as_slice(),
    )
    .execute(conn)
    .await
    .map(drop)
}
