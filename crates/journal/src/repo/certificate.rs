//! Filters and certificates of completeness.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use alloy_primitives::{Address, B256};
use plimsoll_proof::BlocksRoot;
use plimsoll_types::{Completeness, address_text};
use serde_json::{Value, json};
use sqlx::PgConnection;

use super::{to_hash, to_i64, to_u64};
use crate::coverage::Certificate;
use crate::filter::Filter;
use crate::fold::FoldError;
use crate::writer::OpenRange;

/// What a range was looked at for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "certificate_source", rename_all = "lowercase")]
pub(crate) enum Source {
    /// It was brought in below finality.
    Backfill,
    /// Its blocks were brought in one by one.
    Head,
    /// They were looked at again.
    Verify,
    /// What is wanted of them came late.
    Late,
}

impl Source {
    /// As Postgres spells it.
    fn as_str(self) -> &'static str {
        match self {
            Self::Backfill => "backfill",
            Self::Head => "head",
            Self::Verify => "verify",
            Self::Late => "late",
        }
    }
}

/// Puts a filter on record, and returns its digest.
pub(crate) async fn register(
    conn: &mut PgConnection,
    chain_id: u64,
    filter: &Filter,
) -> Result<B256, sqlx::Error> {
    let digest = filter.digest();
    let [contracts, senders] = [&filter.contracts, &filter.senders].map(|addresses| {
        let from = addresses.iter().map(|(address, from)| (address_text(address), json!(from)));
        Value::Object(from.collect())
    });
    sqlx::query!(
        "INSERT INTO completeness_filters (chain_id, filter_digest, contracts, senders) VALUES ($1, $2, $3, $4)
         ON CONFLICT (chain_id, filter_digest) DO NOTHING",
        to_i64(chain_id),
        digest.as_slice(),
        contracts,
        senders
    )
    .execute(conn)
    .await?;
    Ok(digest)
}

/// The range of this filter that ends with this very block, if there is one: the last that was begun.
pub(crate) async fn ending_with(
    conn: &mut PgConnection,
    chain_id: u64,
    filter: B256,
    (number, hash): (u64, B256),
) -> Result<Option<OpenRange>, FoldError> {
    let row = sqlx::query!(
        r#"SELECT certificate_id, source AS "source: Source", from_number, to_number, blocks_root, level AS "level: Completeness", endpoints
           FROM completeness_certificates
           WHERE chain_id = $1 AND filter_digest = $2 AND to_number = $3 AND to_hash = $4 AND source IN ('backfill', 'head')
           ORDER BY certificate_id DESC LIMIT 1"#,
        to_i64(chain_id),
        filter.as_slice(),
        to_i64(number),
        hash.as_slice()
    )
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let root = row.blocks_root.map(|root| to_hash(chain_id, &root).map(BlocksRoot::kept)).transpose()?;
    Ok(Some(OpenRange {
        id: row.certificate_id,
        source: row.source,
        from: to_u64(row.from_number),
        to: to_u64(row.to_number),
        root,
        level: row.level,
        endpoints: row.endpoints,
    }))
}

/// Puts a range on record, and returns its id.
pub(crate) async fn insert(
    conn: &mut PgConnection,
    chain_id: u64,
    filter: B256,
    range: &OpenRange,
    to_hash: B256,
) -> Result<i64, sqlx::Error> {
    let root = range.root.map(|root| root.root());
    sqlx::query_scalar!(
        "INSERT INTO completeness_certificates
             (chain_id, filter_digest, from_number, to_number, to_hash, blocks_root, level, endpoints, source)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING certificate_id",
        to_i64(chain_id),
        filter.as_slice(),
        to_i64(range.from),
        to_i64(range.to),
        to_hash.as_slice(),
        root.as_ref().map(B256::as_slice),
        range.level as Completeness,
        &range.endpoints,
        range.source as Source
    )
    .fetch_one(conn)
    .await
}

/// The range has more blocks at its end.
pub(crate) async fn grow(
    conn: &mut PgConnection,
    range: &OpenRange,
    to_hash: B256,
) -> Result<(), sqlx::Error> {
    let root = range.root.map(|root| root.root());
    sqlx::query!(
        "UPDATE completeness_certificates SET to_number = $2, to_hash = $3, blocks_root = $4, endpoints = $5, certified_at = now()
         WHERE certificate_id = $1",
        range.id,
        to_i64(range.to),
        to_hash.as_slice(),
        root.as_ref().map(B256::as_slice),
        &range.endpoints
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets the ranges that begin above this block; all of them without one.
pub(crate) async fn delete_above(
    conn: &mut PgConnection,
    chain_id: u64,
    ancestor: Option<u64>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "DELETE FROM completeness_certificates WHERE chain_id = $1 AND from_number > $2 AND to_number > $2",
        to_i64(chain_id),
        ancestor.map_or(-1, to_i64)
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The ranges that this block is in, and a later one.
pub(crate) async fn reaching_above(
    conn: &mut PgConnection,
    chain_id: u64,
    ancestor: u64,
) -> Result<Vec<(i64, u64)>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT certificate_id, from_number FROM completeness_certificates
         WHERE chain_id = $1 AND from_number <= $2 AND to_number > $2",
        to_i64(chain_id),
        to_i64(ancestor)
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.certificate_id, to_u64(row.from_number))).collect())
}

/// Ends a range of the head with this block. Its blocks are on record each for itself.
pub(crate) async fn shorten(
    conn: &mut PgConnection,
    chain_id: u64,
    (id, from): (i64, u64),
    to: u64,
) -> Result<(), FoldError> {
    let rows = sqlx::query!(
        "SELECT hash FROM chain_blocks WHERE chain_id = $1 AND number BETWEEN $2 AND $3 AND state <> 'orphaned' ORDER BY number",
        to_i64(chain_id),
        to_i64(from),
        to_i64(to)
    )
    .fetch_all(&mut *conn)
    .await?;
    let hashes = rows.iter().map(|row| to_hash(chain_id, &row.hash)).collect::<Result<Vec<_>, _>>()?;
    let last = hashes.last().filter(|_| hashes.len() as u64 == to - from + 1).ok_or_else(|| {
        FoldError::Malformed {
            chain_id,
            what: format!(
                "{} blocks on record from {from} to {to}, each of which was brought in by itself",
                hashes.len()
            ),
        }
    })?;
    let root = hashes.iter().collect::<BlocksRoot>().root();
    sqlx::query!(
        "UPDATE completeness_certificates SET to_number = $2, to_hash = $3, blocks_root = $4, certified_at = now() WHERE certificate_id = $1",
        id,
        to_i64(to),
        last.as_slice(),
        root.as_slice()
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// All of a chain, by their blocks.
pub(crate) async fn all(conn: &mut PgConnection, chain_id: u64) -> Result<Vec<Certificate>, FoldError> {
    // Before the filters, of which none is ever taken away: so each certificate's is among them, whatever is certified meanwhile.
    let certified = sqlx::query!(
        r#"SELECT filter_digest, from_number, to_number, to_hash, blocks_root, level AS "level: Completeness", endpoints,
                  source AS "source: Source", certified_at
           FROM completeness_certificates WHERE chain_id = $1 ORDER BY from_number, certificate_id"#,
        to_i64(chain_id)
    )
    .fetch_all(&mut *conn)
    .await?;
    let rows = sqlx::query!(
        "SELECT filter_digest, contracts, senders FROM completeness_filters WHERE chain_id = $1",
        to_i64(chain_id)
    )
    .fetch_all(conn)
    .await?;
    let malformed = |what: String| FoldError::Malformed { chain_id, what };
    let mut filters = HashMap::new();
    for row in rows {
        let contracts: BTreeMap<Address, u64> = serde_json::from_value(row.contracts)
            .map_err(|error| malformed(format!("a filter's contracts: {error}")))?;
        let senders: BTreeMap<Address, u64> = serde_json::from_value(row.senders)
            .map_err(|error| malformed(format!("a filter's senders: {error}")))?;
        filters.insert(row.filter_digest, Arc::new(Filter { contracts, senders }));
    }
    certified
        .into_iter()
        .map(|row| {
            let filter = filters.get(&row.filter_digest);
            Ok(Certificate {
                from: to_u64(row.from_number),
                to: to_u64(row.to_number),
                to_hash: to_hash(chain_id, &row.to_hash)?,
                blocks_root: row.blocks_root.map(|root| to_hash(chain_id, &root)).transpose()?,
                filter: filter
                    .ok_or_else(|| malformed("a certificate without its filter".to_owned()))?
                    .clone(),
                level: row.level,
                endpoints: row.endpoints,
                source: row.source.as_str().to_owned(),
                certified_at: row.certified_at,
            })
        })
        .collect()
}

/// Forgets what a second look has shown of blocks that are looked at again, where no more was shown.
pub(crate) async fn supersede(
    conn: &mut PgConnection,
    chain_id: u64,
    filter: B256,
    (from, to): (u64, u64),
    level: Completeness,
    before_id: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "DELETE FROM completeness_certificates
         WHERE chain_id = $1 AND filter_digest = $2 AND source = 'verify' AND from_number >= $3 AND to_number <= $4 AND level <= $5
           AND certificate_id < $6",
        to_i64(chain_id),
        filter.as_slice(),
        to_i64(from),
        to_i64(to),
        level as Completeness,
        before_id
    )
    .execute(conn)
    .await?;
    Ok(())
}
