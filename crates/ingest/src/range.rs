//! Ranges of blocks at or below a final one: several in flight, each proven as far as is asked for, decoded off the I/O path, given out in order, upwards
//! or downwards.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::B256;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use plimsoll_chain::interval::Interval;
use plimsoll_chain::{ErrorClass, Header, Pool, Reservation, Rpc};
use plimsoll_journal::{NewBlock, NewEvent, Range, Transaction};
use plimsoll_types::Completeness;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::content::Wanted;
use crate::endpoints::{name_contradiction, votes_on};
use crate::error::IngestError;
use crate::new_block;
use crate::plan::{BlockId, Verdict, Vote};

/// Blocks of a range whose transactions are looked through at a time, when senders are watched.
const BLOCKS_IN_FLIGHT: usize = 8;

/// Up to so many logs are decoded where they arrive: it takes less than handing them over.
const DECODED_INLINE: u64 = 64;

/// A range that was fetched, proven and decoded.
pub(crate) struct Fetched {
    /// The endpoint that gave it.
    pub(crate) place: usize,
    /// What is wanted of it.
    pub(crate) range: Range,
    /// The hash of the block before it, where its headers were looked at.
    pub(crate) parent_hash: Option<B256>,
    /// Why other endpoints, asked before, were passed over.
    pub(crate) passed_over: Vec<IngestError>,
    logs: u64,
    elapsed: Duration,
}

struct InFlight {
    from: u64,
    to: u64,
    task: AbortOnDropHandle<Result<Fetched, Refused>>,
}

/// A range that was not had, and by which endpoint.
struct Refused {
    place: usize,
    error: IngestError,
}

/// A range that nobody gave.
pub(crate) struct NotHad {
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) error: IngestError,
}

impl From<NotHad> for IngestError {
    fn from(range: NotHad) -> Self {
        range.error
    }
}

/// In which order ranges are given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// The lowest first.
    Up,
    /// The highest first.
    Down,
}

/// The ranges from one block to another, in order.
pub(crate) struct Ranges<'a, I> {
    pool: &'a Pool,
    wanted: Arc<Wanted>,
    /// Of each endpoint.
    intervals: I,
    /// How many are in flight.
    ahead: usize,
    direction: Direction,
    /// What is not in flight: the first block, and how many there are.
    left: (u64, u64),
    on: BlockId,
    in_flight: VecDeque<InFlight>,
}

impl<'a, I: AsMut<[Interval]>> Ranges<'a, I> {
    /// The ranges from block `first` to block `last`, on the chain of the final block `on`, at or above it.
    pub(crate) fn new(
        pool: &'a Pool,
        wanted: &Arc<Wanted>,
        intervals: I,
        ahead: usize,
        direction: Direction,
        (first, last): (u64, u64),
        on: BlockId,
    ) -> Self {
        let (wanted, ahead, left) = (wanted.clone(), ahead.max(1), (first, (last + 1).saturating_sub(first)));
        Self { pool, wanted, intervals, ahead, direction, left, on, in_flight: VecDeque::new() }
    }

    /// The next one; none after the last. Dropped before it is ready, it loses nothing. After one that was not had it goes on with the one behind it.
    pub(crate) async fn next(&mut self) -> Result<Option<Fetched>, NotHad> {
        // Ends: each turn gives out the front range, or halves it, down to one block, where the endpoint's refusal is an error.
        loop {
            while self.left.1 > 0 && self.in_flight.len() < self.ahead {
                self.send();
            }
            let Some(InFlight { from, to, task }) = self.in_flight.front_mut() else { return Ok(None) };
            let (from, to, fetched) = (*from, *to, task.await);
            self.in_flight.pop_front();
            let fetched = match fetched {
                Ok(fetched) => fetched,
                Err(error) => return Err(NotHad { from, to, error: error.into() }),
            };
            match fetched {
                Ok(fetched) => {
                    let interval = &mut self.intervals.as_mut()[fetched.place];
                    interval.on_success(to - from + 1, fetched.logs, fetched.elapsed);
                    return Ok(Some(fetched));
                }
                Err(Refused { place, error }) if to > from && self.shrink(place, &error, to - from + 1) => {
                    tracing::debug!(chain_id = self.wanted.chain_id, from, to, %error, "range refused; asking for less");
                    let recalled: u64 = self.in_flight.drain(..).map(|range| range.to - range.from + 1).sum();
                    let blocks = self.left.1 + recalled + (to - from + 1);
                    self.left = match self.direction {
                        Direction::Up => (from, blocks),
                        Direction::Down => (self.left.0, blocks),
                    };
                }
                Err(Refused { error, .. }) => return Err(NotHad { from, to, error }),
            }
        }
    }

    /// Asks for the range that comes next.
    fn send(&mut self) {
        let place = self.pool.reserve(Some(self.on.0));
        let (first, left) = self.left;
        let blocks = self.intervals.as_mut()[place.place()].blocks().min(left);
        let from = match self.direction {
            Direction::Up => first,
            Direction::Down => first + left - blocks,
        };
        let to = from + blocks - 1;
        let rest = if self.direction == Direction::Up { first + blocks } else { first };
        self.left = (rest, left - blocks);
        let task = fetch(self.pool.clone(), place, self.wanted.clone(), from, to, self.on);
        self.in_flight.push_back(InFlight { from, to, task: AbortOnDropHandle::new(tokio::spawn(task)) });
    }

    /// Whether asking for fewer blocks may help; the interval has learned from it.
    fn shrink(&mut self, place: usize, error: &IngestError, span_blocks: u64) -> bool {
        let interval = &mut self.intervals.as_mut()[place];
        match error {
            IngestError::Rpc(error) if error.class() == ErrorClass::RangeTooLarge => {
                interval.on_too_large(span_blocks);
            }
            IngestError::Rpc(error) if error.is_timeout() => interval.on_timeout(span_blocks),
            _ => return false,
        }
        true
    }
}

/// Fetches a range from the endpoint that was chosen for it, or from the next where that one fails, or most others have another block at its end.
async fn fetch(
    pool: Pool,
    chosen: Reservation,
    wanted: Arc<Wanted>,
    from: u64,
    to: u64,
    on: BlockId,
) -> Result<Fetched, Refused> {
    let others = pool.fittest(Some(on.0)).into_iter().filter(|place| *place != chosen.place());
    let mut first: Option<Refused> = None;
    let mut passed_over = Vec::new();
    for place in std::iter::once(chosen.place()).chain(others) {
        let rpc = &pool.endpoints()[place];
        let fetched = match fetch_from(rpc, place, &wanted, from, to, on).await {
            Ok(fetched) => {
                is_of_the_others_chain(&pool, &wanted, place, &fetched.range.end).await.map(|()| fetched)
            }
            Err(error) => Err(error),
        };
        match fetched {
            Ok(fetched) => {
                passed_over.extend(first.map(|refused| refused.error));
                return Ok(Fetched { passed_over, ..fetched });
            }
            Err(error) => {
                name_contradiction(rpc, &error);
                let is_its_own = error.is_of_endpoint() && !may_be_too_much(&error);
                match &first {
                    Some(_) => passed_over.push(error),
                    None => first = Some(Refused { place, error }),
                }
                if !is_its_own && first.as_ref().is_some_and(|refused| refused.place == place) {
                    break;
                }
            }
        }
    }
    Err(first.expect("a pool has an endpoint"))
}

/// The other endpoints have the block with which the range ends. Its blocks are linked to it, so that who makes up a history has to make up this one;
/// what is proven from headers is true of the headers, whosever they are. One whose word stands against all that can be heard is not
/// believed, and as long as there is no majority, one that contradicts is enough to wait.
async fn is_of_the_others_chain(
    pool: &Pool,
    wanted: &Wanted,
    place: usize,
    end: &NewBlock,
) -> Result<(), IngestError> {
    if pool.endpoints().len() == 1 {
        return Ok(());
    }
    let mut votes = votes_on(pool, (end.number, end.hash)).await;
    votes[place] = Vote::For;
    if Verdict::of(&votes) == Verdict::Refused {
        let what = format!("others have another block {} than {}", end.number, end.hash);
        return Err(wanted.inconsistent(&pool.endpoints()[place], what));
    }
    Ok(())
}

/// Whether asking for fewer blocks may help.
fn may_be_too_much(error: &IngestError) -> bool {
    matches!(error, IngestError::Rpc(error) if error.class() == ErrorClass::RangeTooLarge || error.is_timeout())
}

async fn fetch_from(
    rpc: &Rpc,
    place: usize,
    wanted: &Arc<Wanted>,
    from: u64,
    to: u64,
    on: BlockId,
) -> Result<Fetched, IngestError> {
    let started = Instant::now();
    let range = if wanted.filter.addresses.is_empty() {
        rpc.header_on(to, on).await?.map(|end| (Vec::new(), end))
    } else {
        rpc.range(from, to, on, &wanted.filter).await?
    };
    let elapsed = started.elapsed();
    let inconsistent = |what| wanted.inconsistent(rpc, what);
    let (logs, end) = range.ok_or_else(|| {
        let (number, hash) = on;
        inconsistent(format!(
            "it had block {number} as {hash}, and now does not have it, or not block {to} below it"
        ))
    })?;
    let foreign =
        logs.iter().rev().take_while(|log| log.block_number == to).find(|log| log.block_hash != end.hash);
    if let Some(log) = foreign {
        return Err(inconsistent(format!("block {to} is {}, a log of it says {}", end.hash, log.block_hash)));
    }
    let (count, logs) = (logs.len() as u64, Arc::new(logs));
    let is_proven =
        wanted.backfill_completeness > Completeness::Trusted && !wanted.filter.addresses.is_empty();
    let headers = if is_proven || wanted.watches_at(to) {
        linked_headers(rpc, wanted, from, &end).await?
    } else {
        Vec::new()
    };
    if is_proven {
        let every_block = wanted.backfill_completeness == Completeness::Receipts;
        wanted.check_range(rpc, &headers, &logs, every_block).await?;
    }
    let transactions = transactions(rpc, wanted, &headers).await?;
    let events = if count < DECODED_INLINE {
        wanted.events(&logs)
    } else {
        let (decoder, given) = (wanted.clone(), Arc::clone(&logs));
        tokio::task::spawn_blocking(move || decoder.events(&given)).await?
    };
    let events = match events {
        Ok(events) => events,
        Err(mismatch) => {
            let provable = if is_proven { &headers[..] } else { &[] };
            return Err(wanted.mismatch(rpc, provable, &logs, mismatch).await);
        }
    };
    let evidence = wanted.evidence(rpc, wanted.backfill_completeness);
    let parent_hash = headers.first().map(|header| header.parent_hash);
    let hashes = headers.iter().map(|header| header.hash).collect();
    let blocks = blocks_with_content(rpc, wanted, &headers, &end, &events, &transactions).await?;
    let range = Range { from, end: new_block(&end), hashes, blocks, events, transactions, evidence };
    Ok(Fetched { place, range, parent_hash, passed_over: Vec::new(), logs: count, elapsed })
}

/// The headers of the blocks from `from` to `end`, which are linked to it.
async fn linked_headers(
    rpc: &Rpc,
    wanted: &Wanted,
    from: u64,
    end: &Header,
) -> Result<Vec<Header>, IngestError> {
    let headers: Vec<_> = rpc.headers_by_number(from, end.number).await?.into_iter().flatten().collect();
    let is_linked = headers.windows(2).all(|pair| pair[1].parent_hash == pair[0].hash);
    if !is_linked || headers.first().map(|h| h.number) != Some(from) || headers.last() != Some(end) {
        let what = format!("blocks {from} to {} are not the chain that ends with {}", end.number, end.hash);
        return Err(wanted.inconsistent(rpc, what));
    }
    Ok(headers)
}

/// The blocks below the last one that have something, as their headers say: where no header was looked at, they are asked for.
async fn blocks_with_content(
    rpc: &Rpc,
    wanted: &Wanted,
    headers: &[Header],
    end: &Header,
    events: &[NewEvent],
    transactions: &[Transaction],
) -> Result<Vec<NewBlock>, IngestError> {
    let of_events = events.iter().map(|new| (new.event.block_number, new.event.block_hash));
    let of_transactions = transactions.iter().map(|tx| (tx.block_number, tx.block_hash));
    let mut found: BTreeMap<u64, B256> = of_events.chain(of_transactions).collect();
    found.remove(&end.number);
    if !headers.is_empty() {
        let with_content = headers.iter().filter(|header| found.contains_key(&header.number));
        return Ok(with_content.map(new_block).collect());
    }
    let asked = found.into_iter().map(|(number, hash)| async move {
        let header = rpc.header_by_hash(hash).await?.filter(|header| header.number == number);
        header.as_ref().map(new_block).ok_or_else(|| {
            wanted.inconsistent(rpc, format!("a log is of block {number} ({hash}), which is not there"))
        })
    });
    stream::iter(asked).buffered(BLOCKS_IN_FLIGHT).try_collect().boxed().await
}

/// The watched senders' transactions of these blocks, block by block: no endpoint serves them by sender.
async fn transactions(
    rpc: &Rpc,
    wanted: &Wanted,
    headers: &[Header],
) -> Result<Vec<Transaction>, IngestError> {
    if !headers.last().is_some_and(|header| wanted.watches_at(header.number)) {
        return Ok(Vec::new());
    }
    let blocks = headers.iter().map(|header| async move {
        match wanted.backfill_completeness {
            Completeness::Receipts => wanted.proven_transactions(rpc, header).await,
            Completeness::Bloom | Completeness::Trusted => {
                wanted.transactions(rpc, header.number, header.hash).await
            }
        }
    });
    stream::iter(blocks).buffered(BLOCKS_IN_FLIGHT).try_concat().boxed().await
}
