//! Ranges below finality, committed in order.

use std::sync::Arc;

use plimsoll_journal::Range;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::book::Book;
use crate::content::Wanted;
use crate::error::IngestError;
use crate::follow::Follower;
use crate::metrics;
use crate::pace::Pace;
use crate::plan::BlockId;
use crate::range::{Direction, Fetched, Ranges};

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
        let (mut events, mut pace) = (0, Pace::new(first, last));
        let ahead = self.config.ranges_in_flight;
        let intervals = &mut self.intervals[..];
        let mut ranges = Ranges::new(self.pool, wanted, intervals, ahead, Direction::Up, (first, last), on);
        let elsewhere = loop {
            let fetched = tokio::select! {
                biased;
                () = cancel.cancelled() => return Ok(()),
                fetched = ranges.next() => fetched?,
            };
            let Some(fetched) = fetched else { break None };
            for error in &fetched.passed_over {
                note_contradiction(&self.book, error).await?;
            }
            // Each range was linked by itself. Where the journal has the block before it, they are linked to one another.
            let before = self.book.head().filter(|(number, _)| number + 1 == fetched.range.from);
            if let (Some(before), Some(parent)) = (before, fetched.parent_hash)
                && before.1 != parent
            {
                break Some((before, parent, fetched));
            }
            events += fetched.range.events.len();
            let next = fetched.range.end.number + 1;
            commit_range(&mut self.book, wanted.chain_id, fetched.range, last).await?;
            if let Some(told) = pace.is_at(next) {
                metrics::pace(wanted.chain_id, &told);
                let (blocks_per_s, remaining_s) = (told.blocks_per_s.round(), told.remaining.as_secs());
                let remaining_blocks = told.remaining_blocks;
                tracing::info!(
                    chain_id = wanted.chain_id,
                    next,
                    last,
                    blocks_per_s,
                    remaining_blocks,
                    remaining_s,
                    "backfill goes on"
                );
            }
        };
        if let Some((before, parent, Fetched { place, range, .. })) = elsewhere {
            // Either is of another chain. If it is the journal's, it shows each time.
            self.past_finality(before, Some(parent), (range.end.number, range.end.hash)).await?;
            let (endpoint, (number, hash)) = (self.pool.endpoints()[place].endpoint().to_owned(), before);
            let what =
                format!("block {} names the parent {parent}, and the journal has {hash} there", number + 1);
            return Err(IngestError::Inconsistent { endpoint, chain_id: wanted.chain_id, what });
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
}

async fn commit_range(
    book: &mut impl Book,
    chain_id: u64,
    range: Range,
    last: u64,
) -> Result<(), IngestError> {
    let (count, end) = (range.events.len() as u64, range.end.number);
    let started = Instant::now();
    book.append_range(range).await?;
    metrics::committed(chain_id, 0, count, started.elapsed());
    metrics::remaining(chain_id, last - end);
    Ok(())
}

/// Keeps the evidence that an endpoint contradicted itself.
pub(crate) async fn note_contradiction(book: &impl Book, error: &IngestError) -> Result<(), IngestError> {
    if let Some(detail) = error.contradiction() {
        book.note_anomaly("endpoint_contradiction", &detail).await?;
    }
    Ok(())
}
