//! Ranges below finality: several in flight, decoded off the I/O path, committed in order.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use plimsoll_chain::{ErrorClass, Header, Pool, Reservation, Rpc};
use plimsoll_journal::{NewBlock, NewEvent, Transaction};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::book::Book;
use crate::config::Completeness;
use crate::content::Wanted;
use crate::endpoints::name_contradiction;
use crate::error::IngestError;
use crate::follow::Follower;
use crate::plan::BlockId;
use crate::{metrics, new_block};

/// Blocks of a range whose transactions are looked through at a time, when senders are watched.
const BLOCKS_IN_FLIGHT: usize = 8;

/// Up to so many logs are decoded where they arrive: it takes less than handing them over.
const DECODED_INLINE: u64 = 64;

/// A range that was fetched and decoded.
struct Fetched {
    /// The endpoint that gave it.
    place: usize,
    /// The parent of its first block, where the headers were asked for.
    parent: Option<BlockId>,
    events: Vec<NewEvent>,
    transactions: Vec<Transaction>,
    end: NewBlock,
    logs: u64,
    elapsed: std::time::Duration,
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

impl<B: Book> Follower<'_, B> {
    /// Brings in every range from `first`, where the journal ends, to the block `on`, which the journal has announced as final. Each comes from a
    /// node that has this very block, so it is of the chain that it ends, whatever has become of the endpoint since.
    pub(crate) async fn backfill(
        &mut self,
        wanted: &Arc<Wanted>,
        first: u64,
        on: BlockId,
        cancel: &CancellationToken,
    ) -> Result<(), IngestError> {
        let (last, _) = on;
        tracing::info!(chain_id = wanted.chain_id, first, last, "backfill");
        let started = Instant::now();
        let mut events = 0;
        let mut next = first;
        let mut in_flight: VecDeque<InFlight> = VecDeque::new();
        // Ends: each turn either commits the front range, of which there are finitely many, or halves it, down to one block, where the
        // endpoint's refusal is an error.
        while next <= last || !in_flight.is_empty() {
            while next <= last && in_flight.len() < self.config.ranges_in_flight.max(1) {
                let place = self.pool.reserve(Some(last));
                let to = last.min(next + self.intervals[place.place()].blocks() - 1);
                let task = tokio::spawn(fetch(self.pool.clone(), place, wanted.clone(), next, to, on));
                in_flight.push_back(InFlight { from: next, to, task: AbortOnDropHandle::new(task) });
                next = to + 1;
            }
            let Some(InFlight { from, to, task }) = in_flight.pop_front() else { break };
            let fetched = tokio::select! {
                biased;
                () = cancel.cancelled() => return Ok(()),
                fetched = task => fetched?,
            };
            match fetched {
                Ok(fetched) => {
                    self.intervals[fetched.place].on_success(to - from + 1, fetched.logs, fetched.elapsed);
                    events += fetched.events.len();
                    self.commit_range(fetched, last).await?;
                }
                Err(Refused { place, error }) if to > from && self.shrink(place, &error, to - from + 1) => {
                    tracing::debug!(chain_id = wanted.chain_id, from, to, %error, "range refused; asking for less");
                    in_flight.clear();
                    next = from;
                }
                Err(Refused { error, .. }) => return Err(error),
            }
        }
        tracing::info!(
            chain_id = wanted.chain_id,
            first,
            last,
            events,
            elapsed_ms = started.elapsed().as_millis(),
            "backfill done"
        );
        Ok(())
    }

    /// Whether asking for fewer blocks may help; the interval has learned from it.
    fn shrink(&mut self, place: usize, error: &IngestError, span_blocks: u64) -> bool {
        let interval = &mut self.intervals[place];
        match error {
            IngestError::Rpc(error) if error.class() == ErrorClass::RangeTooLarge => {
                interval.on_too_large(span_blocks);
            }
            IngestError::Rpc(error) if error.is_timeout() => interval.on_timeout(span_blocks),
            _ => return false,
        }
        true
    }

    async fn commit_range(&mut self, fetched: Fetched, last: u64) -> Result<(), IngestError> {
        let chain_id = self.config.chain_id;
        if let (Some(parent), Some(head)) = (fetched.parent, self.book.head())
            && parent.0 == head.0
            && parent.1 != head.1
        {
            // Either is of another chain. If it is the journal's, it shows each time.
            self.past_finality(head, Some(parent.1), (fetched.end.number, fetched.end.hash)).await?;
            let endpoint = self.pool.endpoints()[fetched.place].endpoint().to_owned();
            let what = format!(
                "block {} names the parent {}, and the journal has {} there",
                parent.0 + 1,
                parent.1,
                head.1
            );
            return Err(IngestError::Inconsistent { endpoint, chain_id, what });
        }
        let count = fetched.events.len() as u64;
        let started = Instant::now();
        self.book.append_range(fetched.events, fetched.transactions, &fetched.end).await?;
        metrics::committed(chain_id, 0, count, started.elapsed());
        metrics::remaining(chain_id, last - fetched.end.number);
        Ok(())
    }
}

/// Fetches a range from the endpoint that was chosen for it, or from the next where that one fails.
async fn fetch(
    pool: Pool,
    chosen: Reservation,
    wanted: Arc<Wanted>,
    from: u64,
    to: u64,
    on: BlockId,
) -> Result<Fetched, Refused> {
    let others = pool.fittest(Some(on.0)).into_iter().filter(|place| *place != chosen.place());
    let mut first = None;
    for place in std::iter::once(chosen.place()).chain(others) {
        let rpc = &pool.endpoints()[place];
        match fetch_from(rpc, place, &wanted, from, to, on).await {
            Ok(fetched) => return Ok(fetched),
            Err(error) => {
                name_contradiction(rpc, &error);
                let is_its_own = error.is_of_endpoint() && !may_be_too_much(&error);
                let refused = first.get_or_insert(Refused { place, error });
                if !is_its_own && refused.place == place {
                    break;
                }
            }
        }
    }
    Err(first.expect("a pool has an endpoint"))
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
    let headers = if is_proven || !wanted.senders.is_empty() {
        linked_headers(rpc, wanted, from, &end).await?
    } else {
        Vec::new()
    };
    if is_proven {
        let every_block = wanted.backfill_completeness == Completeness::Receipts;
        wanted.check_range(rpc, &headers, &logs, every_block).await?;
    }
    let parent = headers.first().and_then(|first| Some((first.number.checked_sub(1)?, first.parent_hash)));
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
    Ok(Fetched { place, parent, events, transactions, end: new_block(&end), logs: count, elapsed })
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

/// The watched senders' transactions of these blocks, block by block: no endpoint serves them by sender.
async fn transactions(
    rpc: &Rpc,
    wanted: &Wanted,
    headers: &[Header],
) -> Result<Vec<Transaction>, IngestError> {
    if wanted.senders.is_empty() {
        return Ok(Vec::new());
    }
    let blocks = headers.iter().map(|header| wanted.transactions(rpc, header.number, header.hash));
    stream::iter(blocks).buffered(BLOCKS_IN_FLIGHT).try_concat().boxed().await
}
