//! `position_cache_mirror`.
//!
//! A batch knows which of its rows exist. New ones go in by COPY, the others by an `UPDATE` that touches no indexed column, so that
//! Postgres can keep the new version on the old one's page and leave the indexes alone; `INSERT … ON CONFLICT` would look each
//! row up first and cost about twice as much. Both go in the primary key's order, which keeps the index pages warm. Only a
//! retraction, which is small, upserts.

use plimsoll_store::CopyBuffer;
use plimsoll_types::{Amount, address_text};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Stamps, stamp, to_i64, to_u64, unreadable};
use crate::row::{PositionKey, PositionRow, parse_request_id};

/// Columns of keys, for `unnest`.
#[derive(Default)]
struct Keys {
    contracts: Vec<String>,
    users: Vec<String>,
    assets: Vec<String>,
}

impl Keys {
    fn of<'a>(keys: impl IntoIterator<Item = &'a PositionKey>) -> Self {
        let mut columns = Self::default();
        for key in keys {
            columns.contracts.push(address_text(&key.contract));
            columns.users.push(address_text(&key.user));
            columns.assets.push(address_text(&key.asset));
        }
        columns
    }
}

/// The rows that exist, each with its key's index.
pub(crate) async fn load(
    conn: &mut PgConnection,
    chain_id: u64,
    keys: &[PositionKey],
) -> Result<Vec<(usize, PositionRow)>, sqlx::Error> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let columns = Keys::of(keys);
    let rows = sqlx::query!(
        r#"SELECT k.n AS "n!", m.tenant_id, m.collateral AS "collateral: Amount", m.debt AS "debt: Amount",
                  m.version AS "version: Amount", m.last_request_id, m.last_seq AS "last_seq: Amount", m.last_chain_block,
                  m.last_chain_block_hash, m.last_chain_tx, m.last_log_index, m.last_journal_seq
           FROM unnest($2::text[], $3::text[], $4::text[]) WITH ORDINALITY AS k(contract, "user", asset, n)
           JOIN position_cache_mirror m
             ON m.chain_id = $1 AND m.contract = k.contract AND m."user" = k."user" AND m.asset = k.asset"#,
        to_i64(chain_id),
        &columns.contracts,
        &columns.users,
        &columns.assets
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let index = usize::try_from(row.n - 1).map_err(|_| unreadable("an ordinality below 1"))?;
            let last_request_id =
                row.last_request_id.as_deref().map(parse_request_id).transpose().map_err(unreadable)?;
            let mirror = PositionRow {
                tenant_id: row.tenant_id,
                collateral: row.collateral.0,
                debt: row.debt.0,
                version: to_u64(row.version)?,
                last_request_id,
                last_seq: row.last_seq.map(to_u64).transpose()?,
                stamp: stamp(
                    row.last_chain_block,
                    &row.last_chain_block_hash,
                    &row.last_chain_tx,
                    row.last_log_index,
                    row.last_journal_seq,
                )?,
            };
            Ok((index, mirror))
        })
        .collect()
}

const COPY_COLUMNS: i16 = 15;
const COPY: &str = "COPY position_cache_mirror (chain_id, contract, \"user\", asset, tenant_id, collateral, debt, version, \
     last_request_id, last_seq, last_chain_block, last_chain_block_hash, last_chain_tx, last_log_index, last_journal_seq) \
     FROM STDIN (FORMAT binary)";

/// Adds rows whose keys the table does not have.
pub(crate) async fn insert(
    conn: &mut PgConnection,
    chain_id: u64,
    rows: &[(PositionKey, PositionRow)],
) -> Result<(), sqlx::Error> {
    let mut out = CopyBuffer::new();
    for (key, row) in rows {
        out.row(COPY_COLUMNS);
        out.put_i64(to_i64(chain_id));
        out.put_hex_text(key.contract.as_slice());
        out.put_hex_text(key.user.as_slice());
        out.put_hex_text(key.asset.as_slice());
        out.put_opt(row.tenant_id, CopyBuffer::put_uuid);
        out.put_amount(&Amount(row.collateral));
        out.put_amount(&Amount(row.debt));
        out.put_numeric_u64(row.version);
        out.put_opt(row.last_request_id, |out, id| out.put_text(&id.to_string()));
        out.put_opt(row.last_seq, CopyBuffer::put_numeric_u64);
        out.put_i64(to_i64(row.stamp.block_number));
        out.put_bytea(row.stamp.block_hash.as_slice());
        out.put_bytea(row.stamp.tx_hash.as_slice());
        out.put_i32(row.stamp.log_index.cast_signed());
        out.put_i64(row.stamp.journal_seq);
    }
    out.write(conn, COPY).await?;
    Ok(())
}

/// Columns of rows, for `unnest`.
struct Rows<'a> {
    keys: Keys,
    tenants: Vec<Option<Uuid>>,
    collaterals: Vec<Amount>,
    debts: Vec<Amount>,
    versions: Vec<Amount>,
    requests: Vec<Option<String>>,
    seqs: Vec<Option<Amount>>,
    stamps: Stamps<'a>,
}

impl<'a> Rows<'a> {
    fn of(rows: &'a [(PositionKey, PositionRow)]) -> Self {
        let mut stamps = Stamps::default();
        rows.iter().for_each(|(_, row)| stamps.push(&row.stamp));
        Self {
            keys: Keys::of(rows.iter().map(|(key, _)| key)),
            tenants: rows.iter().map(|(_, row)| row.tenant_id).collect(),
            collaterals: rows.iter().map(|(_, row)| Amount(row.collateral)).collect(),
            debts: rows.iter().map(|(_, row)| Amount(row.debt)).collect(),
            versions: rows.iter().map(|(_, row)| Amount::from(row.version)).collect(),
            requests: rows.iter().map(|(_, row)| row.last_request_id.map(|id| id.to_string())).collect(),
            seqs: rows.iter().map(|(_, row)| row.last_seq.map(Amount::from)).collect(),
            stamps,
        }
    }
}

/// Rows of one statement: its parameters are held thrice, as columns, as encoded and as sent.
const ROWS_PER_UPDATE: usize = 8_192;

/// Replaces rows whose keys the table has, and returns how many it had.
pub(crate) async fn update(
    conn: &mut PgConnection,
    chain_id: u64,
    rows: &[(PositionKey, PositionRow)],
) -> Result<u64, sqlx::Error> {
    let mut updated = 0;
    for rows in rows.chunks(ROWS_PER_UPDATE) {
        updated += update_some(conn, chain_id, rows).await?;
    }
    Ok(updated)
}

async fn update_some(
    conn: &mut PgConnection,
    chain_id: u64,
    rows: &[(PositionKey, PositionRow)],
) -> Result<u64, sqlx::Error> {
    let columns = Rows::of(rows);
    let updated = sqlx::query!(
        r#"UPDATE position_cache_mirror m SET
               tenant_id = r.tenant_id, collateral = r.collateral, debt = r.debt, version = r.version,
               last_request_id = r.last_request_id, last_seq = r.last_seq, last_chain_block = r.block,
               last_chain_block_hash = r.block_hash, last_chain_tx = r.tx, last_log_index = r.log_index,
               last_journal_seq = r.journal_seq, last_updated_at = now()
           FROM unnest($2::text[], $3::text[], $4::text[], $5::uuid[], $6::numeric[], $7::numeric[], $8::numeric[],
                $9::text[], $10::numeric[], $11::bigint[], $12::bytea[], $13::bytea[], $14::integer[], $15::bigint[])
                AS r(contract, "user", asset, tenant_id, collateral, debt, version, last_request_id, last_seq, block,
                     block_hash, tx, log_index, journal_seq)
           WHERE m."user" = r."user" AND m.asset = r.asset AND m.chain_id = $1 AND m.contract = r.contract"#,
        to_i64(chain_id),
        &columns.keys.contracts,
        &columns.keys.users,
        &columns.keys.assets,
        &columns.tenants as _,
        &columns.collaterals as _,
        &columns.debts as _,
        &columns.versions as _,
        &columns.requests as _,
        &columns.seqs as _,
        &columns.stamps.blocks,
        &columns.stamps.block_hashes as _,
        &columns.stamps.tx_hashes as _,
        &columns.stamps.log_indices,
        &columns.stamps.journal_seqs
    )
    .execute(conn)
    .await?;
    Ok(updated.rows_affected())
}

/// Puts these rows in the place of what their keys had. No key comes twice.
pub(crate) async fn put(
    conn: &mut PgConnection,
    chain_id: u64,
    rows: &[(PositionKey, PositionRow)],
) -> Result<(), sqlx::Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let columns = Rows::of(rows);
    sqlx::query!(
        r#"INSERT INTO position_cache_mirror (chain_id, contract, "user", asset, tenant_id, collateral, debt, version,
               last_request_id, last_seq, last_chain_block, last_chain_block_hash, last_chain_tx, last_log_index, last_journal_seq)
           SELECT $1, * FROM unnest($2::text[], $3::text[], $4::text[], $5::uuid[], $6::numeric[], $7::numeric[], $8::numeric[],
               $9::text[], $10::numeric[], $11::bigint[], $12::bytea[], $13::bytea[], $14::integer[], $15::bigint[])
           ON CONFLICT (chain_id, contract, "user", asset) DO UPDATE SET
               tenant_id = EXCLUDED.tenant_id, collateral = EXCLUDED.collateral, debt = EXCLUDED.debt,
               version = EXCLUDED.version, last_request_id = EXCLUDED.last_request_id, last_seq = EXCLUDED.last_seq,
               last_chain_block = EXCLUDED.last_chain_block, last_chain_block_hash = EXCLUDED.last_chain_block_hash,
               last_chain_tx = EXCLUDED.last_chain_tx, last_log_index = EXCLUDED.last_log_index,
               last_journal_seq = EXCLUDED.last_journal_seq, last_updated_at = now()"#,
        to_i64(chain_id),
        &columns.keys.contracts,
        &columns.keys.users,
        &columns.keys.assets,
        &columns.tenants as _,
        &columns.collaterals as _,
        &columns.debts as _,
        &columns.versions as _,
        &columns.requests as _,
        &columns.seqs as _,
        &columns.stamps.blocks,
        &columns.stamps.block_hashes as _,
        &columns.stamps.tx_hashes as _,
        &columns.stamps.log_indices,
        &columns.stamps.journal_seqs
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Removes these rows.
pub(crate) async fn remove(
    conn: &mut PgConnection,
    chain_id: u64,
    keys: &[PositionKey],
) -> Result<(), sqlx::Error> {
    if keys.is_empty() {
        return Ok(());
    }
    let columns = Keys::of(keys);
    sqlx::query!(
        r#"DELETE FROM position_cache_mirror m
           USING unnest($2::text[], $3::text[], $4::text[]) AS k(contract, "user", asset)
           WHERE m.chain_id = $1 AND m.contract = k.contract AND m."user" = k."user" AND m.asset = k.asset"#,
        to_i64(chain_id),
        &columns.contracts,
        &columns.users,
        &columns.assets
    )
    .execute(conn)
    .await?;
    Ok(())
}
