//! Reading for `verify`: pages of mirror rows, together with the watermark that they are exact at.

use alloy_primitives::B256;
use serde_json::{Value, json};
use sqlx::{PgConnection, PgPool};

use super::{to_i64, unreadable};
use crate::FOLD_NAME;
use crate::declarations::POSITION_VIEW;

/// The block that the fold's tables are exact at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Watermark {
    pub(crate) block_number: u64,
    pub(crate) block_hash: B256,
}

/// A row of either mirror.
#[derive(Clone, Debug)]
pub(crate) struct MirroredRow {
    pub(crate) contract: String,
    pub(crate) view: String,
    /// Key parameters joined by `/`.
    pub(crate) key: String,
    /// Its fields by name.
    pub(crate) value: Value,
    pub(crate) block_number: u64,
    pub(crate) journal_seq: i64,
}

/// Where a walk through both mirrors stands: what the last row read was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Place {
    /// At the beginning.
    #[default]
    Start,
    /// In `position_cache_mirror`, after (user, asset, contract).
    Positions(String, String, String),
    /// In `view_mirror`, after (contract, view, key).
    Mirrors(String, String, String),
    /// Past the last row.
    End,
}

/// Rows and the watermark of one snapshot.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    pub(crate) watermark: Option<Watermark>,
    pub(crate) rows: Vec<MirroredRow>,
    pub(crate) next: Place,
}

/// Up to `limit` rows after `place`.
pub(crate) async fn page(
    pool: &PgPool,
    chain_id: u64,
    place: &Place,
    limit: i64,
) -> Result<Page, sqlx::Error> {
    let mut tx = plimsoll_store::Tx::snapshot(pool).await?;
    let watermark = watermark(&mut tx, chain_id).await?;
    let empty = String::new();
    let (rows, next) = match place {
        Place::Start | Place::Positions(..) => {
            let after = match place {
                Place::Positions(user, asset, contract) => (user, asset, contract),
                _ => (&empty, &empty, &empty),
            };
            let rows = positions_after(&mut tx, chain_id, (after.0, after.1, after.2), limit).await?;
            let next = match rows.last().and_then(|row| Some((row, row.key.split_once('/')?))) {
                Some((row, (user, asset))) => {
                    Place::Positions(user.to_owned(), asset.to_owned(), row.contract.clone())
                }
                None => Place::Mirrors(String::new(), String::new(), String::new()),
            };
            (rows, next)
        }
        Place::Mirrors(contract, view, key) => {
            let rows = mirrors_after(&mut tx, chain_id, (contract, view, key), limit).await?;
            let next = match rows.last() {
                Some(row) => Place::Mirrors(row.contract.clone(), row.view.clone(), row.key.clone()),
                None => Place::End,
            };
            (rows, next)
        }
        Place::End => (Vec::new(), Place::End),
    };
    tx.commit().await?;
    Ok(Page { watermark, rows, next })
}

async fn watermark(conn: &mut PgConnection, chain_id: u64) -> Result<Option<Watermark>, sqlx::Error> {
    let row = sqlx::query!(
        "SELECT block_number, block_hash FROM fold_cursors WHERE fold = $1 AND chain_id = $2",
        FOLD_NAME,
        to_i64(chain_id)
    )
    .fetch_optional(conn)
    .await?;
    let Some((number, hash)) = row.and_then(|row| row.block_number.zip(row.block_hash)) else {
        return Ok(None);
    };
    Ok(Some(Watermark {
        block_number: u64::try_from(number).map_err(|_| unreadable("a negative block number"))?,
        block_hash: B256::try_from(hash.as_slice()).map_err(|_| unreadable("a hash that is not 32 bytes"))?,
    }))
}

async fn positions_after(
    conn: &mut PgConnection,
    chain_id: u64,
    (user, asset, contract): (&str, &str, &str),
    limit: i64,
) -> Result<Vec<MirroredRow>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT contract, "user", asset, collateral::text AS "collateral!", debt::text AS "debt!", version::text AS "version!",
                  last_chain_block, last_journal_seq
           FROM position_cache_mirror WHERE chain_id = $1 AND ("user", asset, chain_id, contract) > ($2, $3, $1, $4)
           ORDER BY "user", asset, chain_id, contract LIMIT $5"#,
        to_i64(chain_id),
        user,
        asset,
        contract,
        limit
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(MirroredRow {
                contract: row.contract,
                view: POSITION_VIEW.to_owned(),
                key: format!("{}/{}", row.user, row.asset),
                value: json!({ "collateral": row.collateral, "debt": row.debt, "version": row.version }),
                block_number: u64::try_from(row.last_chain_block)
                    .map_err(|_| unreadable("a negative block number"))?,
                journal_seq: row.last_journal_seq,
            })
        })
        .collect()
}

async fn mirrors_after(
    conn: &mut PgConnection,
    chain_id: u64,
    (contract, view, key): (&str, &str, &str),
    limit: i64,
) -> Result<Vec<MirroredRow>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT contract, view, key, value, last_chain_block, last_journal_seq
         FROM view_mirror WHERE chain_id = $1 AND (contract, view, key) > ($2, $3, $4)
         ORDER BY contract, view, key LIMIT $5",
        to_i64(chain_id),
        contract,
        view,
        key,
        limit
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(MirroredRow {
                contract: row.contract,
                view: row.view,
                key: row.key,
                value: row.value,
                block_number: u64::try_from(row.last_chain_block)
                    .map_err(|_| unreadable("a negative block number"))?,
                journal_seq: row.last_journal_seq,
            })
        })
        .collect()
}

/// How many rows the chain's mirrors have.
pub(crate) async fn count(pool: &PgPool, chain_id: u64) -> Result<u64, sqlx::Error> {
    let rows = sqlx::query_scalar!(
        r#"SELECT (SELECT count(*) FROM position_cache_mirror WHERE chain_id = $1)
                + (SELECT count(*) FROM view_mirror WHERE chain_id = $1) AS "rows!""#,
        to_i64(chain_id)
    )
    .fetch_one(pool)
    .await?;
    u64::try_from(rows).map_err(|_| unreadable("a negative count"))
}
