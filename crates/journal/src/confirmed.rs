//! What a `confirm` makes certain: the records of its block, or of its range.
//!
//! A fold that acts on what is confirmed reads each record when its block is confirmed, and not when it comes. It needs no memory of what it has passed: the events and inclusions of a
//! block stand in front of its `block` record without a gap, since the writer commits them so, and those of a backfilled range in front of the range's. So a restart, a step of any
//! size and a replay find the same records.

use std::collections::HashSet;

use plimsoll_types::JournalKind;
use sqlx::PgConnection;

use crate::fold::FoldError;
use crate::record::Record;
use crate::repo::cursor;
use crate::repo::read::{self, Row};

/// Rows of the journal that are looked through at a time.
const SPAN: i64 = 512;

/// The `append` and `included` records that `confirm` makes certain, oldest first, without those that an operator had the fold pass over. `earlier` are
/// the records that were given together with it and stand before it: what is among them is not read again.
///
/// # Errors
/// The database failed, or the journal has no block that this confirms.
pub async fn confirmed(
    conn: &mut PgConnection,
    fold: &str,
    chain_id: u64,
    confirm: &Record,
    earlier: &[Record],
) -> Result<Vec<Record>, FoldError> {
    let block = confirm.block().ok_or_else(|| FoldError::Malformed {
        chain_id,
        what: format!("record {} confirms no block", confirm.seq),
    })?;
    let is_its_block = |record: &Record| {
        record.kind == JournalKind::Block && record.block().is_some_and(|it| it.id == block.id)
    };
    let (mut records, before) = match earlier.iter().rposition(is_its_block) {
        Some(end) => {
            let start = earlier[..end].iter().rposition(|it| !is_content(it.kind)).map_or(0, |at| at + 1);
            let before = (start == 0).then(|| (earlier[0].seq, true));
            (earlier[start..end].to_vec(), before)
        }
        None => (Vec::new(), Some((earlier.first().map_or(confirm.seq, |first| first.seq), false))),
    };
    if let Some((before, is_inside)) = before {
        let rows = rows_of(conn, chain_id, before, is_inside, block.id).await?;
        let found = rows.ok_or_else(|| FoldError::Dangling {
            chain_id,
            what: "a block with its confirmation, and without a record of its own:",
            reference: block.id,
        })?;
        let mut all = read::records(conn, chain_id, &found).await?;
        all.append(&mut records);
        records = all;
    }
    let (Some(first), Some(last)) = (records.first(), records.last()) else { return Ok(records) };
    let skips = cursor::skips(conn, fold, chain_id, first.seq - 1, last.seq).await?;
    let skipped: HashSet<_> = skips.into_iter().map(|(seq, _)| seq).collect();
    records.retain(|record| !skipped.contains(&record.seq));
    Ok(records)
}

fn is_content(kind: JournalKind) -> bool {
    matches!(kind, JournalKind::Append | JournalKind::Included)
}

/// The rows of a block's content that stand before `before`, oldest first; `is_inside`: what stands there is the content already, else its block record is to be found first. None: there
/// is no such block.
async fn rows_of(
    conn: &mut PgConnection,
    chain_id: u64,
    mut before: i64,
    mut is_inside: bool,
    block_id: i64,
) -> Result<Option<Vec<Row>>, FoldError> {
    let mut content = Vec::new();
    // Ends: each turn goes down by the rows that it read, and the journal begins at 1.
    loop {
        let rows = read::rows_before(conn, chain_id, before, SPAN).await?;
        let Some(lowest) = rows.last().map(|row| row.seq) else { break };
        before = lowest;
        for row in rows {
            if is_inside && is_content(row.kind) {
                content.push(row);
            } else if is_inside {
                content.reverse();
                return Ok(Some(content));
            } else {
                is_inside = row.kind == JournalKind::Block && row.reference == block_id;
            }
        }
    }
    content.reverse();
    Ok(is_inside.then_some(content))
}
