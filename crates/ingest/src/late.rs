//! History of what is wanted since later than it begins: a contract or a sender that was added, or that is wanted from an earlier block.
//!
//! It is brought in beside the following of the head, which it never keeps waiting for an answer, from the highest final block that was not asked about
//! downwards: what a contract's state is now is there first. What is still to be done follows from the certificates alone, so it goes on after a restart
//! where it was. Blocks above finality wait until they are final.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use alloy_primitives::{Address, B256};
use plimsoll_chain::Pool;
use plimsoll_chain::abi::Contracts;
use plimsoll_chain::interval::Interval;
use plimsoll_journal::{Filter, Uncovered, WriteError};
use tokio::time::Instant;

use crate::backfill::note_contradiction;
use crate::book::Book;
use crate::config::IngestConfig;
use crate::content::{self, Wanted};
use crate::error::IngestError;
use crate::metrics;
use crate::pace::Pace;
use crate::plan::BlockId;
use crate::range::{Direction, Fetched, NotHad, Ranges};

/// Ranges that are asked for at a time; the head's own requests go beside them.
const RANGES_IN_FLIGHT: usize = 2;
/// After a range that no endpoint gave, this long nothing is asked.
const RETRY_PAUSE: Duration = Duration::from_secs(5);

/// What became of a range.
pub(crate) type Outcome = Result<Option<Fetched>, NotHad>;

/// Brings in what a wider filter has left uncovered.
pub(crate) struct LateHistory<'a> {
    config: &'a IngestConfig,
    pool: &'a Pool,
    contracts: &'a Contracts,
    wanted: Filter,
    /// Whether anything is uncovered, as far as was looked, and the final block then.
    looked: Option<(bool, Option<BlockId>)>,
    /// Blocks to be brought in, each counted for each contract and sender.
    uncovered: u64,
    stretch: Option<InWork<'a>>,
    not_before: Option<Instant>,
}

/// A stretch that is being brought in.
struct InWork<'a> {
    stretch: Stretch,
    filter: Filter,
    ranges: Ranges<'a, Vec<Interval>>,
    pace: Pace,
    taken: usize,
    /// What the block below the last range has to be.
    expected: Option<B256>,
}

/// Final blocks, and who was asked about in none of them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stretch {
    from: u64,
    to: u64,
    contracts: BTreeSet<Address>,
    senders: BTreeSet<Address>,
}

impl<'a> LateHistory<'a> {
    pub(crate) fn new(config: &'a IngestConfig, pool: &'a Pool, contracts: &'a Contracts) -> Self {
        let wanted = content::filter(config, contracts);
        Self { config, pool, contracts, wanted, looked: None, uncovered: 0, stretch: None, not_before: None }
    }

    /// Whether there may be something to do, and nothing is being done.
    pub(crate) fn has_news(&self, book: &impl Book) -> bool {
        self.stretch.is_none() && self.looked.is_none_or(|(has_gaps, at)| has_gaps && at != settled(book))
    }

    /// Finds what is to be done next.
    pub(crate) async fn look(&mut self, book: &impl Book) -> Result<(), IngestError> {
        let gaps = book.uncovered(&self.wanted).await?;
        self.uncovered = gaps.iter().map(|gap| gap.to - gap.from + 1).sum();
        metrics::uncovered(self.config.chain_id, self.uncovered);
        let settled = settled(book);
        self.looked = Some((!gaps.is_empty(), settled));
        let Some(settled) = settled else { return Ok(()) };
        self.stretch = Stretch::highest(&gaps, settled.0).map(|stretch| self.begin(stretch, settled));
        Ok(())
    }

    fn begin(&self, stretch: Stretch, on: BlockId) -> InWork<'a> {
        let Stretch { from, to, .. } = stretch;
        let of = |wanted: &BTreeMap<Address, u64>, who: &BTreeSet<Address>| {
            wanted.iter().filter(|it| who.contains(it.0)).map(|(address, from)| (*address, *from)).collect()
        };
        let filter = Filter {
            contracts: of(&self.wanted.contracts, &stretch.contracts),
            senders: of(&self.wanted.senders, &stretch.senders),
        };
        let chain_id = self.config.chain_id;
        tracing::info!(chain_id, from, to, contracts = ?stretch.contracts, senders = ?stretch.senders, "late history: begins");
        let wanted = Wanted::only(self.config, self.contracts, &filter);
        let intervals = self.pool.endpoints().iter().map(|_| Interval::new(self.config.range)).collect();
        let ranges =
            Ranges::new(self.pool, &wanted, intervals, RANGES_IN_FLIGHT, Direction::Down, (from, to), on);
        InWork { stretch, filter, ranges, pace: Pace::new(from, to), taken: 0, expected: None }
    }

    /// Whether nothing is being brought in.
    pub(crate) fn is_idle(&self) -> bool {
        self.stretch.is_none()
    }

    /// The next range of what is being brought in; waits for ever when there is nothing. Dropped before it is ready, it loses nothing.
    pub(crate) async fn next(&mut self) -> Outcome {
        let Some(work) = &mut self.stretch else { return std::future::pending().await };
        if let Some(not_before) = self.not_before {
            tokio::time::sleep_until(not_before).await;
            self.not_before = None;
        }
        work.ranges.next().await
    }

    /// Takes in what [`Self::next`] gave.
    pub(crate) async fn take(&mut self, book: &mut impl Book, outcome: Outcome) -> Result<(), IngestError> {
        match outcome {
            Ok(Some(fetched)) => self.append(book, fetched).await,
            Ok(None) => {
                if let Some(InWork { stretch: Stretch { from, to, .. }, taken, .. }) = self.stretch.take() {
                    let chain_id = self.config.chain_id;
                    tracing::info!(chain_id, from, to, records = taken, "late history: done");
                }
                self.looked = None;
                Ok(())
            }
            Err(range) => self.not_had(book, range).await,
        }
    }

    async fn append(&mut self, book: &mut impl Book, fetched: Fetched) -> Result<(), IngestError> {
        let Some(work) = &mut self.stretch else { return Ok(()) };
        let chain_id = self.config.chain_id;
        for error in &fetched.passed_over {
            note_contradiction(book, error).await?;
        }
        let Fetched { place, range, parent_hash, .. } = fetched;
        let (from, to, found) = (range.from, range.end.number, range.end.hash);
        if let Some(expected) = work.expected.filter(|expected| *expected != found) {
            let endpoint = self.pool.endpoints()[place].endpoint().to_owned();
            let what = format!("block {} names the parent {expected}, and {to} is {found}", to + 1);
            let error = IngestError::Inconsistent { endpoint, chain_id, what };
            return self.not_had(book, NotHad { from, to, error }).await;
        }
        let taken = match book.append_late(&work.filter, range).await {
            Err(error @ WriteError::OtherBlock { .. }) => {
                return self.not_had(book, NotHad { from, to, error: error.into() }).await;
            }
            taken => taken?,
        };
        work.taken += taken;
        work.expected = parent_hash;
        let whose = work.stretch.contracts.len() + work.stretch.senders.len();
        self.uncovered = self.uncovered.saturating_sub((to - from + 1) * whose as u64);
        metrics::uncovered(chain_id, self.uncovered);
        let (first, last) = (work.stretch.from, work.stretch.to);
        // As if it went upwards.
        if let Some(told) = work.pace.is_at(first + (last + 1 - from)) {
            let (blocks_per_s, remaining_s) = (told.blocks_per_s.round(), told.remaining.as_secs());
            let records = work.taken;
            tracing::info!(
                chain_id,
                from,
                first,
                records,
                blocks_per_s,
                remaining_s,
                "late history: goes on"
            );
        }
        Ok(())
    }

    /// Nobody gave these blocks, or what they gave cannot be read, or is not the journal's chain. That stops nothing but this: they are asked for again.
    async fn not_had(&mut self, book: &impl Book, range: NotHad) -> Result<(), IngestError> {
        let NotHad { from, to, error } = range;
        note_contradiction(book, &error).await?;
        let is_of_blocks = matches!(
            error,
            IngestError::AbiMismatch(_) | IngestError::Journal(WriteError::OtherBlock { .. })
        );
        if !error.is_of_endpoint() && !is_of_blocks {
            return Err(error);
        }
        let chain_id = self.config.chain_id;
        tracing::warn!(chain_id, from, to, %error, "late history: no endpoint gave these blocks; they are asked for again");
        (self.stretch, self.looked) = (None, None);
        self.not_before = Some(Instant::now() + RETRY_PAUSE);
        Ok(())
    }
}

/// The final block, once the journal has it: what was announced and is still missing comes with its backfill.
fn settled(book: &impl Book) -> Option<BlockId> {
    book.final_block().filter(|settled| book.head().is_some_and(|head| head.0 >= settled.0))
}

impl Stretch {
    /// The highest blocks, up to `settled`, in which the same contracts and senders are uncovered.
    fn highest(gaps: &[Uncovered], settled: u64) -> Option<Self> {
        let due: Vec<_> = gaps.iter().filter(|gap| gap.from <= settled).collect();
        let end = |gap: &Uncovered| gap.to.min(settled);
        let to = due.iter().map(|gap| end(gap)).max()?;
        let (with, below): (Vec<_>, Vec<_>) = due.into_iter().partition(|gap| end(gap) == to);
        let from = with.iter().map(|gap| gap.from).chain(below.iter().map(|gap| end(gap) + 1)).max()?;
        let of = |is_sender| {
            with.iter().filter(move |gap| gap.is_sender == is_sender).map(|gap| gap.address).collect()
        };
        Some(Self { from, to, contracts: of(false), senders: of(true) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gap(byte: u8, is_sender: bool, from: u64, to: u64) -> Uncovered {
        Uncovered { address: Address::repeat_byte(byte), is_sender, from, to }
    }

    /// The stretches as they are brought in one after the other: (from, to, first bytes of contracts, of senders).
    fn stretches(gaps: &[Uncovered], settled: u64) -> Vec<(u64, u64, Vec<u8>, Vec<u8>)> {
        let mut left = gaps.to_vec();
        let mut all = Vec::new();
        while let Some(Stretch { from, to, contracts, senders }) = Stretch::highest(&left, settled) {
            assert!(from <= to && all.len() < 20, "{all:?}");
            let bytes = |addresses: &BTreeSet<Address>| addresses.iter().map(|address| address[0]).collect();
            all.push((from, to, bytes(&contracts), bytes(&senders)));
            // What lies above finality stays.
            let is_done = |it: &Uncovered| {
                (if it.is_sender { &senders } else { &contracts }).contains(&it.address) && it.from <= to
            };
            let (done, rest): (Vec<_>, Vec<_>) = left.into_iter().partition(is_done);
            let above = done.iter().map(|it| Uncovered { from: it.from.max(to + 1), ..it.clone() });
            let below = done.iter().map(|it| Uncovered { to: it.to.min(from - 1), ..it.clone() });
            left = above.chain(below).filter(|part| part.from <= part.to).chain(rest).collect();
        }
        all
    }

    #[test]
    fn the_highest_blocks_come_first_and_each_block_once_with_all_who_lack_it() {
        let gaps = [gap(1, false, 5, 20), gap(2, false, 10, 30), gap(3, true, 1, 12)];
        assert_eq!(
            stretches(&gaps, 100),
            [
                (21, 30, vec![2], vec![]),
                (13, 20, vec![1, 2], vec![]),
                (10, 12, vec![1, 2], vec![3]),
                (5, 9, vec![1], vec![3]),
                (1, 4, vec![], vec![3]),
            ]
        );
    }

    #[test]
    fn what_may_still_be_taken_back_waits() {
        let gaps = [gap(1, false, 5, 20), gap(2, false, 15, 30)];
        assert_eq!(stretches(&gaps, 10), [(5, 10, vec![1], vec![])]);
        assert_eq!(stretches(&gaps, 4), []);
        assert_eq!(stretches(&gaps, 15), [(15, 15, vec![1, 2], vec![]), (5, 14, vec![1], vec![])]);
    }
}
