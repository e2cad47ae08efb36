//! Up to which block the chain is final.
//!
//! What is final is never taken back, so with several endpoints it is not for one of them to say. A block is *due* when depth, age or the chain's own
//! tag say so by the heads of the majority, and final when the majority has that very block. As long as there is no majority, one that has
//! another block there is enough to wait, and where the others are silent a block is believed that nobody contradicts for a while. That is
//! asked beside the following of the head, which waits for nobody's answer.

use std::collections::VecDeque;
use std::time::Duration;

use futures::FutureExt;
use futures::future::join_all;
use plimsoll_chain::{FinalityTag, Header, Pool};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::book::Book;
use crate::config::Finality;
use crate::endpoints::{VOTE_PATIENCE, votes_on};
use crate::error::IngestError;
use crate::follow::Follower;
use crate::plan::{BlockId, CanonicalTail, Verdict};

/// How often it is asked what is final.
const INQUIRY_INTERVAL: Duration = Duration::from_secs(1);
/// A block that is due is believed to be final after this long, if nobody contradicts and too few are there to say so.
const UNOPPOSED_FOR: Duration = Duration::from_secs(20);
/// A branch that ends this much above the majority's heads, and is as long, is waited with: what of it is final is not known.
const MAX_AHEAD_BLOCKS: u64 = 1_024;

/// What the endpoints say of finality; none if they do not say.
type Answer = Option<Inquiry>;

/// What the endpoints say of the block that is due; none if none is.
type Inquiry = Option<(BlockId, Verdict)>;

/// What was learned of the chain's finality.
#[derive(Debug, Default)]
pub(crate) struct Finalized {
    /// The last block that is final, as far as is known.
    agreed: Option<BlockId>,
    /// A block that nobody contradicted since then.
    unopposed: Option<(BlockId, Instant)>,
    asked: Option<Instant>,
    answer: Option<AbortOnDropHandle<Answer>>,
    /// Whether the chain ever said what it calls final.
    is_known: bool,
    /// Numbers and times of the journal's blocks that are not final yet, as far as this follower brought them in.
    times: VecDeque<(u64, u64)>,
}

impl<B: Book> Follower<'_, B> {
    /// Takes in what was answered, and asks when enough time has passed.
    pub(crate) async fn look_at_finality(&mut self, tail: &CanonicalTail) -> Result<(), IngestError> {
        if let Some(answer) = self.finalized.answer.take_if(|answer| answer.is_finished()) {
            self.finalized.hear(answer.await?);
        }
        let is_asked = self.finalized.answer.is_some()
            || self.finalized.asked.is_some_and(|asked| asked.elapsed() < INQUIRY_INTERVAL);
        if is_asked {
            return Ok(());
        }
        let pool = self.pool.clone();
        let question = match self.config.finality {
            Finality::Tag(tag) => async move {
                Some(match majority_mark(&pool, tag).await? {
                    Some(block) => inquire(&pool, block).await,
                    None => None,
                })
            }
            .boxed(),
            Finality::Depth(_) | Finality::Age(_) => {
                let due =
                    self.due(tail).filter(|due| !self.is_alone() && self.finalized.agreed != Some(*due));
                let Some(block) = due else { return Ok(()) };
                async move { Some(inquire(&pool, block).await) }.boxed()
            }
        };
        self.finalized.asked = Some(Instant::now());
        self.finalized.answer = Some(AbortOnDropHandle::new(tokio::spawn(question)));
        Ok(())
    }

    /// Whether it is known what the chain calls final; the first answer is waited for. A branch may be the whole chain, as long as it is not known
    /// that most of it is final.
    pub(crate) async fn knows_finality(&mut self) -> Result<bool, IngestError> {
        if !matches!(self.config.finality, Finality::Tag(_)) {
            return Ok(true);
        }
        if !self.finalized.is_known
            && let Some(answer) = self.finalized.answer.take()
        {
            self.finalized.hear(answer.await?);
        }
        Ok(self.finalized.is_known)
    }

    /// Whether there is no other endpoint to ask.
    fn is_alone(&self) -> bool {
        self.pool.endpoints().len() == 1
    }

    /// The height of this head, or the majority's if that is lower.
    fn height_with_majority(&self, number: u64) -> u64 {
        self.pool.reach().filter(|_| !self.is_alone()).map_or(number, |reach| reach.height.min(number))
    }

    /// The time of this head, or the majority's if that is earlier.
    fn time_with_majority(&self, timestamp: u64) -> u64 {
        self.pool.reach().filter(|_| !self.is_alone()).map_or(timestamp, |reach| reach.time.min(timestamp))
    }

    /// Whether a branch from `first` to this head is long, and the majority is nowhere near its end.
    pub(crate) fn is_far_ahead(&self, first: u64, head: &Header) -> bool {
        head.number.saturating_sub(first.max(self.height_with_majority(head.number))) > MAX_AHEAD_BLOCKS
    }

    /// The last of the journal's blocks that is deep or old enough, if it is not final yet.
    fn due(&self, tail: &CanonicalTail) -> Option<BlockId> {
        let (tip, _) = tail.tip()?;
        let number = match self.config.finality {
            Finality::Depth(blocks) => self.height_with_majority(tip).checked_sub(blocks)?,
            Finality::Age(age) => {
                let (_, newest) = self.finalized.times.back()?;
                self.finalized.last_older(age, self.time_with_majority(*newest))?
            }
            Finality::Tag(_) => return None,
        };
        tail.unfinal.iter().rfind(|(due, _)| *due <= number).copied()
    }

    /// The last final block at or below the head, to be looked up on the head's own chain.
    pub(crate) async fn final_below(&mut self, head: &Header) -> Result<Option<u64>, IngestError> {
        match self.config.finality {
            Finality::Depth(blocks) => {
                Ok(Some(self.height_with_majority(head.number).saturating_sub(blocks)))
            }
            Finality::Tag(_) => Ok(self.finalized.agreed.map(|(number, _)| number.min(head.number))),
            Finality::Age(age) => self.last_older_than(age, head).await,
        }
    }

    /// The block with which a backfill ends that begins at `first`: `end`, or one below it for which there was more time.
    pub(crate) async fn agreed_end(
        &mut self,
        first: u64,
        end: Header,
        head: &Header,
    ) -> Result<Option<Header>, IngestError> {
        let block = (end.number, end.hash);
        if self.is_alone() || self.finalized.agreed == Some(block) {
            return Ok(Some(end));
        }
        let verdict = self.judge(block).await?;
        self.finalized.weigh(block, verdict);
        let agreed = self.finalized.agreed.filter(|(number, _)| (first..=end.number).contains(number));
        let Some((number, hash)) = agreed else { return Ok(None) };
        let there = self.known_header(number, head).await?;
        Ok((there.hash == hash).then_some(there))
    }

    /// The last block that is older than the head, and the majority's, by this much; none if none above the final ones is.
    async fn last_older_than(&self, age: Duration, head: &Header) -> Result<Option<u64>, IngestError> {
        let now = self.time_with_majority(head.timestamp);
        let Some(cutoff) = now.checked_sub(age.as_secs()) else { return Ok(None) };
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

    /// Up to which block the journal is final once it has these blocks on `ancestor`.
    pub(crate) fn final_with(
        &mut self,
        tail: &CanonicalTail,
        ancestor: Option<BlockId>,
        headers: &[Header],
    ) -> Option<u64> {
        let (first, last) = (headers.first()?, headers.last()?);
        let due = match self.config.finality {
            Finality::Depth(blocks) => last.number.checked_sub(blocks),
            Finality::Tag(_) => None,
            Finality::Age(age) => {
                let times = &mut self.finalized.times;
                times.retain(|(number, _)| *number < first.number);
                times.extend(headers.iter().map(|header| (header.number, header.timestamp)));
                self.finalized.last_older(age, last.timestamp)
            }
        };
        if self.is_alone() && due.is_some() {
            return due;
        }
        // What is on another branch says that this one will be taken back.
        let is_kept = |block: &BlockId| {
            ancestor.is_some_and(|(number, _)| block.0 <= number) && tail.contains(*block)
                || headers.iter().any(|header| (header.number, header.hash) == *block)
        };
        self.finalized.agreed.filter(is_kept).map(|(number, _)| number)
    }

    /// Writes down what was found to be final since the last block came: a chain may pause.
    pub(crate) async fn write_final(&mut self, tail: &CanonicalTail) -> Result<(), IngestError> {
        let news = self.finalized.agreed.filter(|block| !tail.is_final(block.0) && tail.contains(*block));
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

impl Finalized {
    fn hear(&mut self, answer: Answer) {
        self.is_known |= answer.is_some();
        if let Some((block, verdict)) = answer.flatten() {
            self.weigh(block, verdict);
        }
    }

    /// Takes in what the endpoints say of a block that is due.
    fn weigh(&mut self, block: BlockId, verdict: Verdict) {
        match verdict {
            Verdict::Believed => (self.agreed, self.unopposed) = (Some(block), None),
            Verdict::Refused => self.unopposed = None,
            Verdict::IfItStays => {
                let (first, since) = *self.unopposed.get_or_insert((block, Instant::now()));
                if since.elapsed() >= UNOPPOSED_FOR {
                    (self.agreed, self.unopposed) = (Some(first), Some((block, Instant::now())));
                }
            }
        }
    }

    /// The last of the known blocks that is this old at that time.
    fn last_older(&self, age: Duration, now: u64) -> Option<u64> {
        let cutoff = now.checked_sub(age.as_secs())?;
        self.times.iter().rfind(|(_, time)| *time <= cutoff).map(|(number, _)| *number)
    }
}

/// What all endpoints say of a block that is due.
async fn inquire(pool: &Pool, block: BlockId) -> Inquiry {
    // Who is alone has just said so.
    let is_alone = pool.endpoints().len() == 1;
    let verdict = if is_alone { Verdict::Believed } else { Verdict::of(&votes_on(pool, block).await) };
    Some((block, verdict))
}

/// The highest block that more than half of the endpoints call final, or are past, if there is one; none if too few of them say so. Who does not
/// answer for a while does not.
async fn majority_mark(pool: &Pool, tag: FinalityTag) -> Option<Option<BlockId>> {
    let marks = pool.endpoints().iter().map(|rpc| async move {
        match tokio::time::timeout(VOTE_PATIENCE, rpc.final_head(tag)).await {
            Ok(Ok(header)) => Some(header.map(|header| (header.number, header.hash))),
            Ok(Err(error)) => {
                tracing::warn!(endpoint = rpc.endpoint(), %error, "what is final is not known");
                None
            }
            Err(_) => None,
        }
    });
    let mut marks: Vec<Option<BlockId>> = join_all(marks).await.into_iter().flatten().collect();
    marks.sort_unstable_by(|a, b| b.cmp(a));
    marks.get(pool.endpoints().len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::B256;
    use tokio::time::advance;

    #[tokio::test(start_paused = true)]
    async fn what_nobody_contradicts_for_a_while_is_believed_and_a_contradiction_begins_the_while_anew() {
        let (block, later) = ((7, B256::repeat_byte(7)), (8, B256::repeat_byte(8)));
        let (mut finalized, second) = (Finalized::default(), Duration::from_secs(1));
        finalized.weigh(block, Verdict::IfItStays);
        advance(UNOPPOSED_FOR - second).await;
        finalized.weigh(block, Verdict::Refused);
        advance(second).await;
        finalized.weigh(block, Verdict::IfItStays);
        assert_eq!(finalized.agreed, None, "it was contradicted a second ago");
        advance(UNOPPOSED_FOR - second).await;
        finalized.weigh(later, Verdict::IfItStays);
        assert_eq!(finalized.agreed, None, "not yet");
        advance(second).await;
        finalized.weigh(later, Verdict::IfItStays);
        assert_eq!(finalized.agreed, Some(block), "the one that was shown all the while");
        finalized.weigh(later, Verdict::Believed);
        assert_eq!(finalized.agreed, Some(later));
    }
}
