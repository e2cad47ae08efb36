//! What is booked and sealed, as it stands in the tables; for whoever checks it or shows it. Over the worker's role.

use std::ops::Range;

use alloy_primitives::B256;
use plimsoll_proof::ledger::encoding::{Direction, SealedLine, SealedPosting};
use plimsoll_proof::ledger::export::ExportedLine;
use plimsoll_types::{Amount, Balance};
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{hash, to_i64, to_u64, unreadable};

/// An entry of a log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leaf {
    pub(crate) index: u64,
    pub(crate) posting_id: Uuid,
    pub(crate) prev_entry_hash: B256,
    pub(crate) entry_hash: B256,
}

/// The entries of a log with these indices, in order.
pub(crate) async fn leaves(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    indices: Range<u64>,
) -> Result<Vec<Leaf>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT leaf_index, posting_id, prev_entry_hash, entry_hash FROM ledger_leaves
         WHERE tenant_id = $1 AND leaf_index >= $2 AND leaf_index < $3 ORDER BY leaf_index",
        tenant_id,
        to_i64(indices.start),
        to_i64(indices.end),
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Leaf {
                index: to_u64(row.leaf_index)?,
                posting_id: row.posting_id,
                prev_entry_hash: hash(&row.prev_entry_hash)?,
                entry_hash: hash(&row.entry_hash)?,
            })
        })
        .collect()
}

/// A posting as it stands.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) posting: SealedPosting,
    pub(crate) lines: Vec<ExportedLine>,
    /// Its digest as it is stored.
    pub(crate) digest: B256,
    /// What of it is not sealed, and does not agree with what is.
    pub(crate) faults: Vec<String>,
}

/// These postings with their lines, by their places; `None`: there is none.
pub(crate) async fn postings(
    conn: &mut PgConnection,
    ids: &[Uuid],
) -> Result<Vec<Option<Stored>>, sqlx::Error> {
    let mut found: Vec<Option<Stored>> = ids.iter().map(|_| None).collect();
    let mut facts: Vec<Option<Facts>> = ids.iter().map(|_| None).collect();
    headers(conn, ids, &mut found, &mut facts).await?;
    lines(conn, ids, &mut found, &facts).await?;
    for (posting, facts) in found.iter_mut().zip(facts) {
        let (Some(posting), Some(facts)) = (posting, facts) else { continue };
        if usize::from(facts.line_count) != posting.lines.len() {
            let lines = posting.lines.len();
            posting.faults.push(format!("it says that it has {} lines, and has {lines}", facts.line_count));
        }
    }
    Ok(found)
}

/// What lines repeat of their posting.
struct Facts {
    line_count: u16,
    effective_at: OffsetDateTime,
    recorded_at: OffsetDateTime,
    block: Option<i64>,
}

fn place(n: i64) -> Result<usize, sqlx::Error> {
    usize::try_from(n - 1).map_err(|_| unreadable("an ordinality below 1"))
}

async fn headers(
    conn: &mut PgConnection,
    ids: &[Uuid],
    found: &mut [Option<Stored>],
    facts: &mut [Option<Facts>],
) -> Result<(), sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT given.place AS "place!", p.posting_id, p.tenant_id, p.user_id, p.request_id, p.operation_type, p.checksum, p.domain, p.internal_tx_id, p.trace_id,
                  p.effective_at, p.booked_at, p.recorded_at, p.chain_id, p.chain_tx_hash, p.chain_block_number, p.chain_block_hash, p.reverses, p.compensates, p.reason,
                  p.created_by, p.correlation_id, p.causation_id, p.metadata, p.line_count, p.digest
           FROM unnest($1::uuid[]) WITH ORDINALITY AS given(posting_id, place) JOIN ledger_postings p ON p.posting_id = given.posting_id"#,
        ids
    )
    .fetch_all(conn)
    .await?;
    let optional = |bytes: Option<Vec<u8>>| bytes.as_deref().map(hash).transpose();
    for row in rows {
        let place = place(row.place)?;
        facts[place] = Some(Facts {
            line_count: row.line_count.unsigned_abs(),
            effective_at: row.effective_at,
            recorded_at: row.recorded_at,
            block: row.chain_block_number,
        });
        let posting = SealedPosting {
            tenant_id: row.tenant_id,
            posting_id: row.posting_id,
            user_id: row.user_id,
            request_id: row.request_id,
            operation_type: row.operation_type,
            request_checksum: hash(&row.checksum)?,
            domain: row.domain,
            internal_tx_id: row.internal_tx_id,
            trace_id: row.trace_id,
            effective_at_us: microseconds(row.effective_at),
            booked_at_us: microseconds(row.booked_at),
            recorded_at_us: microseconds(row.recorded_at),
            chain_id: row.chain_id.map(to_u64).transpose()?,
            chain_tx_hash: optional(row.chain_tx_hash)?,
            chain_block_number: row.chain_block_number.map(to_u64).transpose()?,
            chain_block_hash: optional(row.chain_block_hash)?,
            reverses: row.reverses,
            compensates: row.compensates,
            reason: row.reason,
            created_by: row.created_by,
            correlation_id: row.correlation_id,
            causation_id: row.causation_id,
            metadata: row.metadata,
        };
        let (digest, lines) = (hash(&row.digest)?, Vec::new());
        found[place] = Some(Stored { posting, lines, digest, faults: Vec::new() });
    }
    Ok(())
}

async fn lines(
    conn: &mut PgConnection,
    ids: &[Uuid],
    found: &mut [Option<Stored>],
    facts: &[Option<Facts>],
) -> Result<(), sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT given.place AS "place!", e.posting_id, e.sequence, e.tenant_id, e.account_id, e.debit AS "debit: Amount", e.credit AS "credit: Amount", e.currency, e.entry_type,
                  e.account_version, e.balance_after AS "balance_after: Balance", e.effective_at, e.recorded_at, e.chain_block_number, e.checksum
           FROM unnest($1::uuid[]) WITH ORDINALITY AS given(posting_id, place) JOIN ledger_entries e ON e.posting_id = given.posting_id ORDER BY given.place, e.sequence"#,
        ids
    )
    .fetch_all(conn)
    .await?;
    for row in rows {
        let place = place(row.place)?;
        let (Some(posting), Some(facts)) = (&mut found[place], &facts[place]) else { continue };
        let (direction, amount) = match (row.debit, row.credit) {
            (debit, Amount::ZERO) => (Direction::Debit, debit),
            (Amount::ZERO, credit) => (Direction::Credit, credit),
            (debit, _) => {
                posting.faults.push(format!("line {} is a debit and a credit", row.sequence));
                (Direction::Debit, debit)
            }
        };
        let is_of_posting = row.tenant_id == posting.posting.tenant_id
            && row.effective_at == facts.effective_at
            && row.recorded_at == facts.recorded_at
            && row.chain_block_number == facts.block;
        if !is_of_posting {
            posting
                .faults
                .push(format!("line {} has another tenant, time or block than its posting", row.sequence));
        }
        let line = SealedLine {
            posting_id: row.posting_id,
            sequence: row.sequence.unsigned_abs(),
            account_id: row.account_id,
            direction,
            amount: amount.0,
            currency: row.currency,
            entry_type: row.entry_type,
            account_version: to_u64(row.account_version)?,
            balance_after: row.balance_after.0,
        };
        posting.lines.push(ExportedLine { line, checksum: hash(&row.checksum)? });
    }
    Ok(())
}

fn microseconds(at: OffsetDateTime) -> i64 {
    i64::try_from(at.unix_timestamp_nanos() / 1_000).unwrap_or(i64::MAX)
}

/// A full tile.
#[derive(Debug)]
pub(crate) struct StoredTile {
    pub(crate) tile: u64,
    pub(crate) hashes: Vec<u8>,
    pub(crate) root_hash: B256,
}

/// The tiles of a level with these places, in order.
pub(crate) async fn tiles(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    level: u8,
    tiles: Range<u64>,
) -> Result<Vec<StoredTile>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT tile, hashes, root_hash FROM ledger_tiles WHERE tenant_id = $1 AND level = $2 AND tile >= $3 AND tile < $4 ORDER BY tile",
        tenant_id,
        i16::from(level),
        to_i64(tiles.start),
        to_i64(tiles.end),
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(StoredTile { tile: to_u64(row.tile)?, hashes: row.hashes, root_hash: hash(&row.root_hash)? })
        })
        .collect()
}

/// A checkpoint.
#[derive(Debug)]
pub(crate) struct StoredCheckpoint {
    pub(crate) origin: String,
    pub(crate) tree_size: u64,
    pub(crate) root_hash: B256,
    pub(crate) note: Option<String>,
}

/// The checkpoints of more than `after` entries and at most `through`, by size.
pub(crate) async fn checkpoints(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    after: u64,
    through: u64,
) -> Result<Vec<StoredCheckpoint>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT origin, tree_size, root_hash, note FROM ledger_checkpoints WHERE tenant_id = $1 AND tree_size > $2 AND tree_size <= $3 ORDER BY tree_size",
        tenant_id,
        to_i64(after),
        to_i64(through),
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(StoredCheckpoint {
                origin: row.origin,
                tree_size: to_u64(row.tree_size)?,
                root_hash: hash(&row.root_hash)?,
                note: row.note,
            })
        })
        .collect()
}
