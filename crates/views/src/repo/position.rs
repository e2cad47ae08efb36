//! `position_cache_mirror`.

use plimsoll_types::{Amount, address_text};
use sqlx::PgConnection;

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

/// Puts these rows in the place of what their keys had. No key comes twice.
pub(crate) async fn put(
    conn: &mut PgConnection,
    chain_id: u64,
    rows: &[(PositionKey, PositionRow)],
) -> Result<(), sqlx::Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let keys = Keys::of(rows.iter().map(|(key, _)| key));
    let tenants: Vec<_> = rows.iter().map(|(_, row)| row.tenant_id).collect();
    let collaterals: Vec<_> = rows.iter().map(|(_, row)| Amount(row.collateral)).collect();
    let debts: Vec<_> = rows.iter().map(|(_, row)| Amount(row.debt)).collect();
    let versions: Vec<_> = rows.iter().map(|(_, row)| Amount::from(row.version)).collect();
    let requests: Vec<_> = rows.iter().map(|(_, row)| row.last_request_id.map(|id| id.to_string())).collect();
    let seqs: Vec<_> = rows.iter().map(|(_, row)| row.last_seq.map(Amount::from)).collect();
    let mut stamps = Stamps::default();
    rows.iter().for_each(|(_, row)| stamps.push(&row.stamp));
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
        &keys.contracts,
        &keys.users,
        &keys.assets,
        &tenants as _,
        &collaterals as _,
        &debts as _,
        &versions as _,
        &requests as _,
        &seqs as _,
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
