//! The journal's newest records in memory, and the wake-up when there are more.
//!
//! A reader whose cursor lies within the tail is served from it and saves a query; any other reads the database. The tail is
//! a cache of committed rows and no more: it holds a bounded number of them, and losing it loses nothing.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::record::Record;

/// How many records of a chain are kept.
const MAX_RECORDS: usize = 64_000;

/// Where a journal ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct End {
    /// The last place.
    pub seq: i64,
    /// The last block that it covers.
    pub block_number: u64,
    /// The blocks that its writer, at a backfill, has still to bring up to the one that is announced as final; 0 at the head.
    pub missing_blocks: u64,
}

impl End {
    /// As other processes are told: `<chain>:<seq>:<block>:<missing blocks>`.
    pub(crate) fn announcement(self, chain_id: u64) -> String {
        let Self { seq, block_number, missing_blocks } = self;
        format!("{chain_id}:{seq}:{block_number}:{missing_blocks}")
    }

    /// What an [announcement](Self::announcement) says.
    pub(crate) fn announced(announcement: &str) -> Option<(u64, Self)> {
        let mut parts = announcement.split(':');
        let chain_id = parts.next()?.parse().ok()?;
        let seq = parts.next()?.parse().ok()?;
        let block_number = parts.next()?.parse().ok()?;
        let missing_blocks = parts.next()?.parse().ok()?;
        parts.next().is_none().then_some((chain_id, Self { seq, block_number, missing_blocks }))
    }
}

/// The newest records of each chain, shared by the writer and the readers of one process.
#[derive(Clone, Debug, Default)]
pub struct Tail {
    chains: Arc<Mutex<HashMap<u64, Chain>>>,
}

#[derive(Debug)]
struct Chain {
    batches: VecDeque<Arc<[Record]>>,
    records: usize,
    end: watch::Sender<End>,
}

impl Default for Chain {
    fn default() -> Self {
        Self { batches: VecDeque::new(), records: 0, end: watch::Sender::new(End::default()) }
    }
}

impl Tail {
    fn with<T>(&self, chain_id: u64, f: impl FnOnce(&mut Chain) -> T) -> T {
        let mut chains = self.chains.lock().unwrap_or_else(PoisonError::into_inner);
        f(chains.entry(chain_id).or_default())
    }

    /// Adds records that were just committed, with which the journal ends at `end`, and wakes the readers.
    pub(crate) fn push(&self, chain_id: u64, records: Vec<Record>, end: End) {
        let Some(first) = records.first().map(|r| r.seq) else { return };
        self.with(chain_id, |chain| {
            let contiguous = chain.batches.back().and_then(|b| b.last()).is_none_or(|r| r.seq + 1 == first);
            if !contiguous {
                chain.batches.clear();
                chain.records = 0;
            }
            chain.records += records.len();
            chain.batches.push_back(records.into());
            while chain.records > MAX_RECORDS && chain.batches.len() > 1 {
                chain.records -= chain.batches.pop_front().map_or(0, |b| b.len());
            }
            chain.end.send_replace(end);
        });
    }

    /// Wakes the readers: the journal ends there now. Word of a place that is known already is late, and passed over.
    pub(crate) fn announce(&self, chain_id: u64, announced: End) {
        self.with(chain_id, |chain| {
            chain.end.send_if_modified(|end| {
                let is_news = announced.seq > end.seq;
                if is_news {
                    *end = announced;
                }
                is_news
            })
        });
    }

    /// The last place known, and its changes.
    #[must_use]
    pub fn subscribe(&self, chain_id: u64) -> watch::Receiver<End> {
        self.with(chain_id, |chain| chain.end.subscribe())
    }

    /// Up to `limit` records after `cursor`, in whole batches beyond the first; `None` when they are not all here.
    pub(crate) fn after(&self, chain_id: u64, cursor: i64, limit: usize) -> Option<Vec<Record>> {
        let batches: Vec<_> = self.with(chain_id, |chain| {
            let first = chain.batches.front()?.first()?.seq;
            (first <= cursor + 1).then(|| {
                let mut taken = 0;
                chain
                    .batches
                    .iter()
                    .filter(|b| b.last().is_some_and(|r| r.seq > cursor))
                    .take_while(|b| {
                        let more = taken < limit;
                        taken += b.len();
                        more
                    })
                    .cloned()
                    .collect()
            })
        })?;
        let records: Vec<_> =
            batches.iter().flat_map(|b| b.iter()).filter(|r| r.seq > cursor).cloned().collect();
        (!records.is_empty()).then_some(records)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Block, Body};
    use alloy_primitives::B256;
    use plimsoll_types::JournalKind;

    fn records(seqs: std::ops::RangeInclusive<i64>) -> Vec<Record> {
        let block = Arc::new(Block {
            id: 1,
            number: 1,
            hash: B256::ZERO,
            parent_hash: B256::ZERO,
            time: time::OffsetDateTime::UNIX_EPOCH,
        });
        seqs.map(|seq| Record {
            seq,
            kind: JournalKind::Block,
            block_number: 1,
            body: Body::Block(block.clone()),
        })
        .collect()
    }

    fn ends_at(seq: i64) -> End {
        End { seq, block_number: 1, missing_blocks: 0 }
    }

    fn seqs(records: Option<Vec<Record>>) -> Option<Vec<i64>> {
        records.map(|records| records.iter().map(|r| r.seq).collect())
    }

    #[test]
    fn a_reader_within_the_tail_is_served_and_any_other_is_sent_to_the_database() {
        let tail = Tail::default();
        tail.push(1, records(5..=7), ends_at(7));
        tail.push(1, records(8..=9), ends_at(9));
        assert_eq!(seqs(tail.after(1, 3, 10)), None);
        assert_eq!(seqs(tail.after(1, 4, 10)), Some(vec![5, 6, 7, 8, 9]));
        assert_eq!(seqs(tail.after(1, 6, 1)), Some(vec![7]));
        assert_eq!(seqs(tail.after(1, 9, 10)), None);
        assert_eq!(seqs(tail.after(2, 0, 10)), None);
    }

    #[test]
    fn a_gap_empties_the_tail() {
        let tail = Tail::default();
        tail.push(1, records(1..=2), ends_at(2));
        tail.push(1, records(9..=9), ends_at(9));
        assert_eq!(seqs(tail.after(1, 0, 10)), None);
        assert_eq!(seqs(tail.after(1, 8, 10)), Some(vec![9]));
    }

    #[test]
    fn readers_are_woken_by_what_is_new_only() {
        let tail = Tail::default();
        let mut end = tail.subscribe(1);
        tail.push(1, records(1..=2), ends_at(2));
        assert!(end.has_changed().unwrap());
        assert_eq!(*end.borrow_and_update(), ends_at(2));
        tail.announce(1, ends_at(2));
        assert!(!end.has_changed().unwrap());
        tail.announce(1, ends_at(3));
        assert_eq!(*end.borrow_and_update(), ends_at(3));
    }

    #[test]
    fn what_is_announced_is_what_is_heard() {
        for end in [End { seq: 7, block_number: 5, missing_blocks: 9 }, End::default()] {
            assert_eq!(End::announced(&end.announcement(31_337)), Some((31_337, end)));
        }
        for strange in ["", "1", "1:2", "1:2:3", "1:2:3:perhaps", "1:2:3:4:5", "a:2:3:4", "1:2:3:-4"] {
            assert_eq!(End::announced(strange), None, "{strange:?}");
        }
    }
}
