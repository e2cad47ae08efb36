//! Up to which block the chain is final.

use std::collections::VecDeque;
use std::time::Duration;

use futures::future::join_all;
use plimsoll_chain::{FinalityTag, Header};
use tokio::time::Instant;

use crate::book::Book;
use crate::config::Finality;
use crate::error::IngestError;
use crate::follow::Follower;
use crate::plan::{BlockId, CanonicalTail};

/// How often the chain is asked what it calls final.
const MARK_INTERVAL: Duration = Duration::from_secs(1);

/// What was learned of the chain's finality.
#[derive(Debug, Default)]
pub(crate) struct Finalized {
    /// The block that a majority of the endpoints calls final, or has passed.
    mark: Option<BlockId>,
    asked: Option<Instant>,
    /// Numbers and times of the journal's blocks that are not final yet, as far as this follower brought them in.
    times: VecDeque<(u64, u64)>,
}

impl<B: Book> Follower<'_, B> {
    /// Asks, where the chain tells and enough time has passed, what is final.
    pub(crate) async fn look_at_finality(&mut self) {
        let Finality::Tag(tag) = self.config.finality else { return };
        if self.finalized.asked.is_some_and(|asked| asked.elapsed() < MARK_INTERVAL) {
            return;
        }
        self.finalized.asked = Some(Instant::now());
        self.finalized.mark = self.majority_mark(tag).await.or(self.finalized.mark);
    }

    /// The highest block that more than half of the endpoints call final, or are past.
    async fn majority_mark(&self, tag: FinalityTag) -> Option<BlockId> {
        let answers = join_all(self.pool.endpoints().iter().map(|rpc| rpc.final_head(tag))).await;
        let mut marks = Vec::new();
        for (rpc, answer) in self.pool.endpoints().iter().zip(answers) {
            match answer {
                Ok(header) => marks.extend(header.map(|header| (header.number, header.hash))),
                Err(error) => {
                    tracing::warn!(chain_id = self.config.chain_id, endpoint = rpc.endpoint(), %error, "what is final is not known");
                }
            }
        }
        marks.sort_unstable_by(|a, b| b.cmp(a));
        marks.get(self.pool.endpoints().len() / 2).copied()
    }

    /// The last final block at or below the head, to be looked up on the head's own chain.
    pub(crate) async fn final_below(&mut self, head: &Header) -> Result<Option<u64>, IngestError> {
        match self.config.finality {
            Finality::Depth(blocks) => Ok(Some(head.number.saturating_sub(blocks))),
            Finality::Tag(_) => Ok(self.finalized.mark.map(|(number, _)| number.min(head.number))),
            Finality::Age(age) => self.last_older_than(age, head).await,
        }
    }

    /// The last block that is older than the head by this much; none if none above the final ones is.
    async fn last_older_than(&self, age: Duration, head: &Header) -> Result<Option<u64>, IngestError> {
        let Some(cutoff) = head.timestamp.checked_sub(age.as_secs()) else { return Ok(None) };
        let mut low =
            self.contracts.start_block().max(self.book.final_block().map_or(0, |(number, _)| number));
        let mut high = head.number;
        // Ends: the span is at least halved in each turn. What is at `low` is old enough, or nothing above it is.
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            let there = self.known_header(middle, head).await?;
            if there.timestamp <= cutoff { low = middle } else { high = middle - 1 }
        }
        let there = self.known_header(low, head).await?;
        Ok((there.timestamp <= cutoff).then_some(there.number))
    }

    /// Up to which block the journal is final once it has these blocks at its end.
    pub(crate) fn final_with(&mut self, tail: &CanonicalTail, headers: &[Header]) -> Option<u64> {
        let (first, last) = (headers.first()?, headers.last()?);
        match self.config.finality {
            Finality::Depth(blocks) => last.number.checked_sub(blocks),
            Finality::Tag(_) => {
                let mark = self.finalized.mark?;
                // A mark that is on another branch says that this one will be taken back.
                let is_here = if mark.0 < first.number {
                    tail.contains(mark)
                } else {
                    headers.iter().any(|header| (header.number, header.hash) == mark)
                };
                is_here.then_some(mark.0)
            }
            Finality::Age(age) => {
                let times = &mut self.finalized.times;
                times.retain(|(number, _)| *number < first.number);
                times.extend(headers.iter().map(|header| (header.number, header.timestamp)));
                let cutoff = last.timestamp.checked_sub(age.as_secs())?;
                times.iter().rfind(|(_, time)| *time <= cutoff).map(|(number, _)| *number)
            }
        }
    }

    /// Writes down what the chain has called final since the last block came: a chain may pause.
    pub(crate) async fn mark_final(&mut self, tail: &CanonicalTail) -> Result<(), IngestError> {
        let news = self.finalized.mark.filter(|mark| !tail.is_final(mark.0) && tail.contains(*mark));
        if let Some((number, _)) = news {
            self.book.replace_above(tail.tip(), Vec::new(), None, Some(number)).await?;
        }
        Ok(())
    }

    /// The journal has no block up to this one any more that could be taken back.
    pub(crate) fn forget_final(&mut self) {
        let last_final = self.book.final_block().map_or(0, |(number, _)| number);
        self.finalized.times.retain(|(number, _)| *number > last_final);
    }
}
