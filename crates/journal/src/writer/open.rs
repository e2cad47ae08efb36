//! Where a writer stands, and how that is read back from the journal.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use alloy_primitives::B256;
use plimsoll_types::JournalKind;
use sqlx::PgConnection;

use super::WriteError;
use super::certify::OpenRange;
use crate::record::Block;
use crate::repo::certificate;
use crate::repo::read::{self, Row};
use crate::repo::write::{self, ChainRow};
use crate::repo::{to_i64, to_u64};
use crate::tail::End;

/// How many journal rows are read at a time when a writer finds out where it stands.
const OPEN_PAGE: i64 = 10_000;

/// A canonical block above finality, and its place in the journal.
#[derive(Clone, Debug)]
pub(super) struct LiveBlock {
    pub(super) block: Arc<Block>,
    pub(super) first_seq: i64,
    pub(super) last_seq: i64,
    pub(super) confirm_seq: Option<i64>,
}

/// Where the writer stands.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) next_seq: i64,
    pub(super) next_id: i64,
    pub(super) head: Option<(u64, B256)>,
    pub(super) confirmed: Option<u64>,
    pub(super) final_block: Option<Arc<Block>>,
    /// Above finality, oldest first.
    pub(super) live: Vec<LiveBlock>,
    /// The range of blocks, proven in one way, that ends with the head.
    pub(super) certified: Option<OpenRange>,
}

impl State {
    /// Where the journal ends. What it misses of the block that was announced as final is being backfilled.
    pub(super) fn end(&self) -> End {
        let block_number = self.head.map_or(0, |(number, _)| number);
        let announced = self.final_block.as_ref().map_or(0, |block| block.number);
        End { seq: self.next_seq - 1, block_number, missing_blocks: announced.saturating_sub(block_number) }
    }

    /// Reads it back, in the transaction that holds the chain's row.
    pub(super) async fn read(
        conn: &mut PgConnection,
        chain_id: u64,
        filter: B256,
        row: &ChainRow,
    ) -> Result<Self, WriteError> {
        let final_block = match row.final_number {
            Some(number) => read::final_block(conn, chain_id, to_u64(number)).await?,
            None => None,
        };
        let live = live_blocks(conn, chain_id, row.next_seq, row.final_number).await?;
        let head = write::head(chain_id, row)?;
        let certified = match head {
            Some(head) => certificate::ending_with(conn, chain_id, filter, head).await?,
            None => None,
        };
        Ok(Self {
            next_seq: row.next_seq,
            next_id: row.next_id,
            head,
            confirmed: row.confirmed_number.map(to_u64),
            final_block,
            live,
            certified,
        })
    }
}

/// The canonical blocks above finality, found by reading the journal backwards.
///
/// The scan ends at the first `block` record at or below finality. It misses nothing: blocks are appended in the order of their numbers on
/// top of the canonical head, so a live block above finality has every record of its own after the live record of any block below it,
/// and a record of a block at or below finality that comes later would have taken it back first.
async fn live_blocks(
    conn: &mut PgConnection,
    chain_id: u64,
    next_seq: i64,
    final_number: Option<i64>,
) -> Result<Vec<LiveBlock>, WriteError> {
    let floor = final_number.unwrap_or(-1);
    let mut newest_first: Vec<Row> = Vec::new();
    let mut before = next_seq;
    'pages: loop {
        let page = read::rows_before(conn, chain_id, before, OPEN_PAGE).await?;
        let Some(oldest) = page.last() else { break };
        before = oldest.seq;
        for row in page {
            if row.kind == JournalKind::Block && row.block_number <= floor {
                break 'pages;
            }
            newest_first.push(row);
        }
    }
    let retracted: HashSet<i64> =
        newest_first.iter().filter(|r| r.kind == JournalKind::Retract).map(|r| r.reference).collect();
    let rows: Vec<_> = newest_first
        .into_iter()
        .rev()
        .filter(|r| r.block_number > floor && r.kind != JournalKind::Retract && !retracted.contains(&r.seq))
        .collect();
    let marks: Vec<_> = rows
        .iter()
        .filter(|r| matches!(r.kind, JournalKind::Block | JournalKind::Confirm))
        .copied()
        .collect();
    let records = read::records(conn, chain_id, &marks).await?;
    let mut live: Vec<LiveBlock> = Vec::new();
    let mut firsts: HashMap<i64, i64> = HashMap::new();
    for row in rows.iter().filter(|r| !matches!(r.kind, JournalKind::Confirm | JournalKind::Finalize)) {
        firsts.entry(row.block_number).and_modify(|seq| *seq = row.seq.min(*seq)).or_insert(row.seq);
    }
    for record in records {
        let Some(block) = record.block().cloned() else { continue };
        match record.kind {
            JournalKind::Block => {
                let first_seq = firsts.get(&to_i64(block.number)).copied().unwrap_or(record.seq);
                live.push(LiveBlock { block, first_seq, last_seq: record.seq, confirm_seq: None });
            }
            _ => {
                if let Some(live) = live.iter_mut().find(|l| l.block.id == block.id) {
                    live.confirm_seq = Some(record.seq);
                }
            }
        }
    }
    Ok(live)
}
