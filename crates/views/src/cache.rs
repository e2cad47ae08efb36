//! The position rows that recent batches left behind, so that a key which is written often is not read back each time.
//!
//! **Why a row from memory is the row in the table.** The journal is dense, and the fold's cursor moves in the transaction of its
//! effects. The cache is stamped with the record after the last one that it knows to be committed. If the next batch begins with
//! that very record, the cursor stood where we left it: no step of any other holder came between, and nobody else writes
//! the table. If it begins anywhere else, or anything was rolled back or taken back, the cache is emptied. What an `UPDATE` does not
//! find is an error, so even a table that was changed by hand is noticed.

use alloy_primitives::map::HashMap;
use plimsoll_journal::Record;

use crate::row::{PositionKey, PositionRow};

/// Rows that are kept: some 20 MB.
const MAX_ROWS: usize = 65_536;

#[derive(Debug, Default)]
pub(crate) struct PositionCache {
    rows: HashMap<PositionKey, PositionRow>,
    /// The record that must come next for `rows` to be true.
    next_seq: Option<i64>,
    staged: Option<Staged>,
}

#[derive(Debug)]
struct Staged {
    rows: Vec<(PositionKey, PositionRow)>,
    next_seq: i64,
}

impl PositionCache {
    /// A batch begins: forget everything unless it follows what is known.
    pub(crate) fn begin(&mut self, records: &[Record]) {
        if self.next_seq.is_none() || records.first().map(|record| record.seq) != self.next_seq {
            self.clear();
        }
    }

    pub(crate) fn get(&self, key: &PositionKey) -> Option<&PositionRow> {
        self.rows.get(key)
    }

    /// What the table will hold once this batch is committed.
    pub(crate) fn stage(&mut self, records: &[Record], rows: Vec<(PositionKey, PositionRow)>) {
        self.staged = records.last().map(|record| Staged { rows, next_seq: record.seq + 1 });
    }

    pub(crate) fn committed(&mut self) {
        let Some(staged) = self.staged.take() else { return };
        if self.rows.len() + staged.rows.len() > MAX_ROWS {
            self.rows.clear();
        }
        self.rows.extend(staged.rows.into_iter().take(MAX_ROWS));
        self.next_seq = Some(staged.next_seq);
    }

    pub(crate) fn clear(&mut self) {
        self.rows.clear();
        self.next_seq = None;
        self.staged = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use alloy_primitives::{Address, B256, U256};
    use plimsoll_journal::{Block, Body};
    use plimsoll_types::JournalKind;

    use crate::row::Stamp;

    fn records(seqs: std::ops::RangeInclusive<i64>) -> Vec<Record> {
        let block = Arc::new(Block {
            id: 1,
            number: 1,
            hash: B256::ZERO,
            parent_hash: B256::ZERO,
            time: time::OffsetDateTime::UNIX_EPOCH,
        });
        let record =
            |seq| Record { seq, kind: JournalKind::Block, block_number: 1, body: Body::Block(block.clone()) };
        seqs.map(record).collect()
    }

    fn row(version: u64) -> (PositionKey, PositionRow) {
        let key = PositionKey { contract: Address::ZERO, user: Address::ZERO, asset: Address::ZERO };
        let stamp = Stamp {
            block_number: 1,
            block_hash: B256::ZERO,
            tx_hash: B256::ZERO,
            log_index: 0,
            journal_seq: 1,
        };
        let row = PositionRow {
            tenant_id: None,
            collateral: U256::ZERO,
            debt: U256::ZERO,
            version,
            last_request_id: None,
            last_seq: None,
            stamp,
        };
        (key, row)
    }

    fn version(cache: &PositionCache) -> Option<u64> {
        cache.get(&row(0).0).map(|row| row.version)
    }

    #[test]
    fn a_row_is_known_only_while_records_follow_each_other_without_a_gap() {
        let mut cache = PositionCache::default();
        cache.begin(&records(1..=3));
        cache.stage(&records(1..=3), vec![row(1)]);
        assert_eq!(version(&cache), None, "not before the commit");
        cache.committed();
        cache.begin(&records(4..=5));
        assert_eq!(version(&cache), Some(1));
        cache.stage(&records(4..=5), vec![row(2)]);
        cache.committed();
        assert_eq!(version(&cache), Some(2));
        cache.begin(&records(7..=8));
        assert_eq!(version(&cache), None, "somebody else took record 6");
    }

    #[test]
    fn nothing_is_known_after_a_batch_that_was_not_committed() {
        let mut cache = PositionCache::default();
        cache.begin(&records(1..=3));
        cache.stage(&records(1..=3), vec![row(1)]);
        cache.committed();
        cache.begin(&records(4..=5));
        cache.stage(&records(4..=5), vec![row(2)]);
        cache.begin(&records(4..=5));
        assert_eq!(version(&cache), Some(1), "the batch before it stands");
        cache.clear();
        cache.committed();
        cache.begin(&records(4..=5));
        assert_eq!(version(&cache), None);
    }

    #[test]
    fn it_holds_no_more_than_its_limit() {
        let mut cache = PositionCache::default();
        let many = |from: u64| {
            let rows = (from..from + 40_000).map(|n| {
                let (key, row) = row(n);
                (PositionKey { user: Address::left_padding_from(&n.to_be_bytes()), ..key }, row)
            });
            rows.collect::<Vec<_>>()
        };
        for batch in 0..3 {
            cache.stage(&records(1..=1), many(batch * 40_000));
            cache.committed();
            assert!(cache.rows.len() <= MAX_ROWS);
        }
    }
}
