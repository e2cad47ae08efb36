//! `view_mirror`.

use plimsoll_types::address_text;
use sqlx::PgConnection;

use super::{Stamps, stamp, to_i64, unreadable};
use crate::row::{MirrorKey, MirrorRow};

/// Columns of keys, for `unnest`.
#[derive(Default)]
struct Keys {
    contracts: Vec<String>,
    views: Vec<String>,
    keys: Vec<String>,
}

impl Keys {
    fn of<'a>(keys: impl IntoIterator<Item = &'a MirrorKey>) -> Self {
        let mut columns = Self::default();
        for key in keys {
            columns.contracts.push(address_text(&key.contract));
            columns.views.push(key.view.to_string());
            columns.keys.push(key.key.clone());
        }
        columns
    }
}

/// The rows that exist, each with its key's index.
pub(crate) async fn load(
    conn: &mut PgConnection,
    chain_id: u64,
    keys: &[&MirrorKey],
) -> Result<Vec<(usize, MirrorRow)>, sqlx::Error> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let columns = Keys::of(keys.iter().copied());
    let rows = sqlx::query!(
        r#"SELECT k.n AS "n!", m.tenant_id, m.value::text AS "value!", m.last_chain_block, m.last_chain_block_hash, m.last_chain_tx,
                  m.last_log_index, m.last_journal_seq
           FROM unnest($2::text[], $3::text[], $4::text[]) WITH ORDINALITY AS k(contract, view, key, n)
           JOIN view_mirror m ON m.chain_id = $1 AND m.contract = k.contract AND m.view = k.view AND m.key = k.key"#,
        to_i64(chain_id),
        &columns.contracts,
        &columns.views,
        &columns.keys
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let index = usize::try_from(row.n - 1).map_err(|_| unreadable("an ordinality below 1"))?;
            let stamp = stamp(
                row.last_chain_block,
                &row.last_chain_block_hash,
                &row.last_chain_tx,
                row.last_log_index,
                row.last_journal_seq,
            )?;
            Ok((index, MirrorRow { tenant_id: row.tenant_id, value: row.value, stamp }))
        })
        .collect()
}

/// Puts these rows in the place of what their keys had. No key comes twice.
pub(crate) async fn put(
    conn: &mut PgConnection,
    chain_id: u64,
    rows: &[(&MirrorKey, MirrorRow)],
) -> Result<(), sqlx::Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let keys = Keys::of(rows.iter().map(|(key, _)| *key));
    let tenants: Vec<_> = rows.iter().map(|(_, row)| row.tenant_id).collect();
    let values: Vec<_> = rows.iter().map(|(_, row)| row.value.as_str()).collect();
    let mut stamps = Stamps::default();
    rows.iter().for_each(|(_, row)| stamps.push(&row.stamp));
    sqlx::query!(
        "INSERT INTO view_mirror (chain_id, contract, view, key, tenant_id, value, last_chain_block, last_chain_block_hash,
             last_chain_tx, last_log_index, last_journal_seq)
         SELECT $1, r.contract, r.view, r.key, r.tenant_id, r.value::jsonb, r.block, r.hash, r.tx, r.log_index, r.journal_seq
         FROM unnest($2::text[], $3::text[], $4::text[], $5::uuid[], $6::text[], $7::bigint[], $8::bytea[], $9::bytea[],
             $10::integer[], $11::bigint[])
             AS r(contract, view, key, tenant_id, value, block, hash, tx, log_index, journal_seq)
         ON CONFLICT (chain_id, contract, view, key) DO UPDATE SET
             tenant_id = EXCLUDED.tenant_id, value = EXCLUDED.value, last_chain_block = EXCLUDED.last_chain_block,
             last_chain_block_hash = EXCLUDED.last_chain_block_hash, last_chain_tx = EXCLUDED.last_chain_tx,
             last_log_index = EXCLUDED.last_log_index, last_journal_seq = EXCLUDED.last_journal_seq, last_updated_at = now()",
        to_i64(chain_id),
        &keys.contracts,
        &keys.views,
        &keys.keys,
        &tenants as _,
        &values as _,
        &stamps.blocks,
        &stamps.block_hashes as _,
        &stamps.tx_hashes as _,
        &stamps.log_indices,
        &stamps.journal_seqs
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Removes these rows.
pub(crate) async fn remove(
    conn: &mut PgConnection,
    chain_id: u64,
    keys: &[&MirrorKey],
) -> Result<(), sqlx::Error> {
    if keys.is_empty() {
        return Ok(());
    }
    let columns = Keys::of(keys.iter().copied());
    sqlx::query!(
        "DELETE FROM view_mirror m USING unnest($2::text[], $3::text[], $4::text[]) AS k(contract, view, key)
         WHERE m.chain_id = $1 AND m.contract = k.contract AND m.view = k.view AND m.key = k.key",
        to_i64(chain_id),
        &columns.contracts,
        &columns.views,
        &columns.keys
    )
    .execute(conn)
    .await?;
    Ok(())
}
