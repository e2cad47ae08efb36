//! Where a head leads: down to a block of the journal, and whether what it would take back may be taken back.

use std::collections::HashMap;

use alloy_primitives::B256;
use plimsoll_chain::Header;

use crate::book::Book;
use crate::error::{DeepReorg, IngestError};
use crate::follow::Follower;
use crate::plan::{BlockId, CanonicalTail, Verdict};

/// A branch that meets the journal: its blocks above the common ancestor, oldest first.
pub(crate) struct Branch {
    /// `None`: it begins with the first block of interest.
    pub(crate) ancestor: Option<BlockId>,
    pub(crate) headers: Vec<Header>,
}

impl<B: Book> Follower<'_, B> {
    /// Walks from `head` by parent hashes down to a block of the journal. `None`: it passes finality, and was not seen often enough
    /// to be believed.
    pub(crate) async fn branch(
        &mut self,
        tail: &CanonicalTail,
        head: &Header,
    ) -> Result<Option<Branch>, IngestError> {
        let mut known = self.headers_between(tail, head).await?;
        let start = self.contracts.start_block();
        let mut headers = vec![head.clone()];
        // Ends: each turn goes one block down, and no turn goes below finality or the first block of interest.
        loop {
            let lowest = headers.last().expect("it begins with the head");
            let parent = lowest.number.checked_sub(1).map(|number| (number, lowest.parent_hash));
            if let Some(ancestor) = parent.filter(|parent| tail.contains(*parent)) {
                headers.reverse();
                return Ok(Some(Branch { ancestor: Some(ancestor), headers }));
            }
            if lowest.number <= start && !tail.is_final(lowest.number) {
                // A branch may end below it, and then has nothing of interest.
                headers.retain(|header| header.number >= start);
                headers.reverse();
                return Ok(Some(Branch { ancestor: None, headers }));
            }
            let parent = parent.filter(|(number, _)| !tail.is_final(*number));
            let Some((_, parent_hash)) = parent else {
                return self.deep(tail, lowest, head).await.map(|()| None);
            };
            let header = match known.remove(&parent_hash) {
                Some(header) => header,
                None => self.rpc.header_by_hash(parent_hash).await?.ok_or_else(|| {
                    let number = lowest.number;
                    self.inconsistent(format!(
                        "block {number} names the parent {parent_hash}, which is not known"
                    ))
                })?,
            };
            headers.push(header);
        }
    }

    /// The headers between the journal's tip and `head`, in one batch; the walk checks how they are linked.
    async fn headers_between(
        &self,
        tail: &CanonicalTail,
        head: &Header,
    ) -> Result<HashMap<B256, Header>, IngestError> {
        let first = tail.tip().map_or(self.contracts.start_block(), |(number, _)| number + 1);
        if first >= head.number {
            return Ok(HashMap::new());
        }
        let headers = self.rpc.headers_by_number(first, head.number - 1).await?;
        Ok(headers.into_iter().flatten().map(|header| (header.hash, header)).collect())
    }

    /// Whether a branch from this ancestor takes blocks of the journal back.
    pub(crate) fn takes_back(&self, tail: &CanonicalTail, ancestor: Option<BlockId>) -> bool {
        tail.tip().is_some_and(|tip| ancestor != Some(tip))
    }

    /// Whether a single endpoint has to show the branch more than once: its head is lower than ours, as a stale node's would be.
    pub(crate) fn is_drastic(&self, tail: &CanonicalTail, ancestor: Option<BlockId>, head: &Header) -> bool {
        self.pool.endpoints().len() == 1
            && self.takes_back(tail, ancestor)
            && tail.tip().is_some_and(|(number, _)| head.number < number)
    }

    /// Whether the endpoints agree that blocks are taken back for a branch that begins with `first`. A branch without a block of interest ends
    /// below the first of them, with its head, which everybody has who is on the journal's own chain: of it is asked who still has what would go.
    pub(crate) async fn may_take_back(
        &mut self,
        tail: &CanonicalTail,
        first: Option<BlockId>,
        head: &Header,
    ) -> Result<bool, IngestError> {
        match (first, tail.unfinal.first()) {
            (Some(first), _) => self.is_agreed(first).await,
            (None, Some(lowest)) => {
                let verdict = self.judge_gone(*lowest).await?;
                Ok(self.is_enough(verdict, (head.number, head.hash)))
            }
            (None, None) => Ok(true),
        }
    }

    /// Whether the endpoints agree that this block is of the chain, or one shows it for long enough while nobody contradicts.
    pub(crate) async fn is_agreed(&mut self, block: BlockId) -> Result<bool, IngestError> {
        let verdict = self.judge(block).await?;
        Ok(self.is_enough(verdict, block))
    }

    fn is_enough(&mut self, verdict: Verdict, block: BlockId) -> bool {
        match verdict {
            Verdict::Believed => true,
            Verdict::IfItStays => self.sightings().branch.sighted(block),
            Verdict::Refused => {
                self.sightings().branch.reset();
                false
            }
        }
    }

    async fn deep(
        &mut self,
        tail: &CanonicalTail,
        lowest: &Header,
        head: &Header,
    ) -> Result<(), IngestError> {
        let Some(final_block) = tail.final_block else { return Ok(()) };
        let found = match lowest.number.checked_sub(final_block.0) {
            Some(0) => Some(lowest.hash),
            Some(1) => Some(lowest.parent_hash),
            _ => None,
        };
        self.past_finality(final_block, found, (head.number, head.hash)).await
    }

    /// The chain has another block in the place of a final one, as far as the endpoint of this round shows: `found`, or none below this head. Is an error
    /// once it is believed.
    pub(crate) async fn past_finality(
        &mut self,
        final_block: BlockId,
        found: Option<B256>,
        head: BlockId,
    ) -> Result<(), IngestError> {
        if !self.sightings().deep.sighted((final_block.0, found.unwrap_or(head.1))) {
            return Ok(());
        }
        if self.pool.endpoints().len() > 1 {
            let block = found.map_or(head, |found| (final_block.0, found));
            if self.judge(block).await? == Verdict::Refused {
                self.sightings().deep.reset();
                return Ok(());
            }
        }
        Err(IngestError::DeepReorg(Box::new(DeepReorg {
            chain_id: self.config.chain_id,
            final_block,
            found,
            head,
        })))
    }
}
