//! Backfills that an operator asked for: final blocks that are looked at again.
//!
//! They are worked off one after the other beside the following of the head, when no history is left that was never asked for, from the highest block
//! downwards. How far one is stands in the database and moves with what is appended, so that each look at it, the first one after a crash too, goes
//! on where it is. A range that no node answers for is asked for again until one does; what none of them can prove fails the request after a few times,
//! and says why.

use std::time::Duration;

use alloy_primitives::B256;
use plimsoll_chain::Pool;
use plimsoll_chain::abi::Contracts;
use plimsoll_chain::interval::Interval;
use plimsoll_journal::backfills::{Backfill, Progress};
use plimsoll_journal::{Filter, WriteError};
use plimsoll_types::{BackfillState, address_text};
use tokio::time::Instant;
use uuid::Uuid;

use crate::backfill::note_contradiction;
use crate::book::Book;
use crate::config::IngestConfig;
use crate::content::{Wanted, filter_for};
use crate::error::IngestError;
use crate::late::Outcome;
use crate::metrics;
use crate::pace::Pace;
use crate::plan::BlockId;
use crate::range::{Direction, Fetched, NotHad, Ranges};

/// How often it is looked whether there is one.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// After a range that was not had, this long nothing is asked.
const RETRY_PAUSE: Duration = Duration::from_secs(2);
/// What was answered and not proven, so many times in a row, fails the request.
const MAX_TRIES: u32 = 5;

/// What is to be acted upon: what became of a range; none when it is time to look whether there is something to be done.
pub(crate) type News = Option<Outcome>;

/// Works off what was asked for.
pub(crate) struct Asked<'a> {
    config: &'a IngestConfig,
    pool: &'a Pool,
    contracts: &'a Contracts,
    /// Boxed: seldom there, and large.
    work: Option<Box<InWork<'a>>>,
    look_at: Instant,
    /// The request and block that it did not come past, and how many times in a row.
    tries: Option<(Uuid, u64, u32)>,
}

/// One that is being worked off.
struct InWork<'a> {
    backfill: Backfill,
    filter: Filter,
    ranges: Ranges<'a, Vec<Interval>>,
    /// Where it stood when it was taken up.
    top: u64,
    /// The highest block that is still to be looked at.
    next: u64,
    events_left: Option<u64>,
    /// The hash of block `next`, by the one above it.
    expected: Option<B256>,
    pace: Pace,
}

impl<'a> Asked<'a> {
    pub(crate) fn new(config: &'a IngestConfig, pool: &'a Pool, contracts: &'a Contracts) -> Self {
        Self { config, pool, contracts, work: None, look_at: Instant::now(), tries: None }
    }

    /// The next thing to be acted upon. Dropped before it is ready, it loses nothing.
    pub(crate) async fn next(&mut self) -> News {
        if let Some(work) = &mut self.work {
            return Some(work.ranges.next().await);
        }
        tokio::time::sleep_until(self.look_at).await;
        None
    }

    /// Acts upon what [`Self::next`] gave.
    pub(crate) async fn take(&mut self, book: &mut impl Book, news: News) -> Result<(), IngestError> {
        match news {
            None => self.look(book).await,
            Some(Ok(Some(fetched))) => self.append(book, fetched).await,
            // With its last range it was done.
            Some(Ok(None)) => {
                self.look_again(Duration::ZERO);
                Ok(())
            }
            Some(Err(not_had)) => self.not_had(book, not_had).await,
        }
    }

    /// Lets go of what it works on: how far that is stands in the database.
    fn look_again(&mut self, after: Duration) {
        self.work = None;
        self.look_at = Instant::now() + after;
    }

    async fn look(&mut self, book: &impl Book) -> Result<(), IngestError> {
        self.look_at = Instant::now() + LOOK_INTERVAL;
        // What the journal has announced as final and has not got yet comes with its backfill.
        let settled =
            book.final_block().filter(|settled| book.head().is_some_and(|head| head.0 >= settled.0));
        let Some(on) = settled else { return Ok(()) };
        let Some(backfill) = book.take_backfill().await? else { return Ok(()) };
        let Some(next) = backfill.next else { return Ok(()) };
        let request_id = backfill.order.request_id;
        let unknown = backfill.order.contracts.iter().flatten().find(|it| self.contracts.get(it).is_none());
        let why = match unknown {
            Some(address) => format!("the contract {} is not followed any more", address_text(address)),
            None if next > on.0 => format!("block {next} is above {}, the journal's final block", on.0),
            None => {
                self.work = Some(Box::new(self.begin(backfill, next, on)));
                return Ok(());
            }
        };
        self.fail(book, request_id, &why).await
    }

    fn begin(&self, backfill: Backfill, next: u64, on: BlockId) -> InWork<'a> {
        let (order, chain_id) = (&backfill.order, self.config.chain_id);
        tracing::info!(chain_id, request_id = %order.request_id, from = order.from, next, "backfill as asked for: goes on");
        let filter = filter_for(self.config, self.contracts, order);
        let wanted = Wanted::only(&self.config.proving(order.level), self.contracts, &filter);
        let intervals = self.pool.endpoints().iter().map(|_| Interval::new(self.config.range)).collect();
        let ahead = order
            .parallel_ranges
            .map_or(self.config.ranges_in_flight, |ranges| usize::try_from(ranges).unwrap_or(usize::MAX));
        let blocks = (order.from, next);
        let ranges = Ranges::new(self.pool, &wanted, intervals, ahead, Direction::Down, blocks, on);
        let pace = Pace::new(order.from, next);
        let events_left = backfill.events_left;
        InWork { backfill, filter, ranges, top: next, next, events_left, expected: None, pace }
    }

    async fn append(&mut self, book: &mut impl Book, fetched: Fetched) -> Result<(), IngestError> {
        let Some(work) = &mut self.work else { return Ok(()) };
        let (chain_id, request_id) = (self.config.chain_id, work.backfill.order.request_id);
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
        let progress = Progress { request_id, next: work.next, at_most: work.events_left };
        let advanced = match book.append_asked(progress, &work.filter, range).await {
            Err(error @ WriteError::OtherBlock { .. }) => {
                return self.not_had(book, NotHad { from, to, error: error.into() }).await;
            }
            advanced => advanced?,
        };
        let Some(advanced) = advanced else {
            tracing::info!(chain_id, %request_id, "backfill as asked for: it was ended");
            metrics::asked_remaining(chain_id, 0);
            self.look_again(Duration::ZERO);
            return Ok(());
        };
        let first = work.backfill.order.from;
        metrics::asked(chain_id, advanced.taken, advanced.down_to - first);
        if advanced.state != BackfillState::Running || advanced.down_to != from {
            let (state, down_to) = (advanced.state, advanced.down_to);
            tracing::info!(chain_id, %request_id, %state, down_to, "backfill as asked for: a part is done");
            if state != BackfillState::Running {
                metrics::asked_ended(chain_id, state);
                metrics::asked_remaining(chain_id, 0);
            }
            self.look_again(Duration::ZERO);
            return Ok(());
        }
        // As if it went upwards.
        if let Some(told) = work.pace.is_at(first + (work.top + 1 - from)) {
            let (blocks_per_s, remaining_s) = (told.blocks_per_s.round(), told.remaining.as_secs());
            tracing::info!(chain_id, %request_id, from, first, blocks_per_s, remaining_s, "backfill as asked for: goes on");
        }
        work.next = from - 1;
        work.expected = parent_hash;
        work.events_left = work.events_left.map(|left| left.saturating_sub(advanced.taken));
        Ok(())
    }

    async fn not_had(&mut self, book: &impl Book, range: NotHad) -> Result<(), IngestError> {
        let Some(work) = &self.work else { return Ok(()) };
        let (request_id, next) = (work.backfill.order.request_id, work.next);
        let NotHad { from, to, error } = range;
        note_contradiction(book, &error).await?;
        let is_of_blocks = matches!(error, IngestError::Journal(WriteError::OtherBlock { .. }));
        let is_of_abi = matches!(error, IngestError::AbiMismatch(_));
        if !error.is_of_endpoint() && !is_of_blocks && !is_of_abi {
            return Err(error);
        }
        let times = match self.tries {
            Some((request, block, times)) if (request, block) == (request_id, next) => times + 1,
            _ => 1,
        };
        self.tries = Some((request_id, next, times));
        let chain_id = self.config.chain_id;
        let why = format!("blocks {from} to {to}: {error}");
        // Who does not answer may answer later; what an ABI cannot read it never will.
        let is_lost = is_of_abi || times >= MAX_TRIES && !matches!(error, IngestError::Rpc(_));
        if is_lost {
            self.tries = None;
            return self.fail(book, request_id, &why).await;
        }
        tracing::warn!(chain_id, %request_id, from, to, %error, "backfill as asked for: no endpoint gave these blocks; they are asked for again");
        book.note_backfill_trouble(request_id, &why).await?;
        self.look_again(RETRY_PAUSE);
        Ok(())
    }

    async fn fail(&mut self, book: &impl Book, request_id: Uuid, why: &str) -> Result<(), IngestError> {
        let chain_id = self.config.chain_id;
        tracing::error!(chain_id, %request_id, why, "backfill as asked for: it failed");
        metrics::asked_ended(chain_id, BackfillState::Failed);
        metrics::asked_remaining(chain_id, 0);
        book.fail_backfill(request_id, why).await?;
        self.look_again(Duration::ZERO);
        Ok(())
    }
}
