//! History that comes late: of a contract or sender that was added, that is wanted from an earlier block, or that an endpoint once withheld.
//!
//! It is appended where the journal ends, since no place before is free, and as what it is: a fold that reads it knows that later blocks stand
//! before it. Only final blocks come late, so nothing of it is ever taken back, and it is not on the undo stack. **The newest block comes first**, so that
//! whoever keeps the last state of a key has it with the first record of that key, and never shows an older one meanwhile; within a block the order is
//! the block's, so that a transaction can be read as one.

use std::collections::{BTreeMap, HashSet};

use alloy_primitives::B256;
use plimsoll_types::{BackfillState, JournalKind};
use sqlx::PgConnection;

use super::certify::{Certified, certify};
use super::input::{NewBlock, NewEvent, Range};
use super::plan::{Known, Plan, append, include, put_final_blocks};
use super::{WriteError, Writer};
use crate::backfills::{Advanced, Progress};
use crate::coverage::{Uncovered, certificates, uncovered};
use crate::filter::Filter;
use crate::record::Transaction;
use crate::repo::certificate::{self, Source};
use crate::repo::{backfill, to_hash, to_u64, write};

impl Writer {
    /// What of `wanted` nobody was asked for, up to the journal's head.
    ///
    /// # Errors
    /// When the database fails, or has what this version cannot read.
    pub async fn uncovered(&self, wanted: &Filter) -> Result<Vec<Uncovered>, WriteError> {
        let Some((head, _)) = self.state.head else { return Ok(Vec::new()) };
        Ok(uncovered(wanted, &certificates(&self.db, self.chain_id).await?, head))
    }

    /// Appends what this range of final blocks has of `filter` and the journal has not, the newest block first, and puts on record that it is
    /// all. Returns how many records it took; doing it again takes none.
    ///
    /// # Errors
    /// [`WriteError::NotFinal`] for blocks that may still be taken back or are not in the journal yet, [`WriteError::OtherBlock`] for blocks of another
    /// chain than the journal's; then nothing is written.
    #[tracing::instrument(
        name = "ingest_commit_late",
        skip_all,
        fields(chain_id = self.chain_id, block_number = range.end.number, events = range.events.len())
    )]
    pub async fn append_late(&mut self, filter: &Filter, range: Range) -> Result<usize, WriteError> {
        let appended = self.late(filter, range, None).await?;
        Ok(appended.map_or(0, |appended| usize::try_from(appended.taken).unwrap_or(usize::MAX)))
    }

    /// The same for a backfill that was asked for, which moves on by it in the same transaction; its limit may end it above the range's first block,
    /// never within a block. None, and nothing is written: it was ended meanwhile.
    ///
    /// # Errors
    /// As [`Self::append_late`].
    ///
    /// # Panics
    /// When the range does not begin where the backfill stands: blocks would be passed over.
    #[tracing::instrument(
        name = "ingest_commit_asked",
        skip_all,
        fields(chain_id = self.chain_id, block_number = range.end.number, events = range.events.len(), request_id = %progress.request_id)
    )]
    pub async fn append_asked(
        &mut self,
        progress: Progress,
        filter: &Filter,
        range: Range,
    ) -> Result<Option<Advanced>, WriteError> {
        assert_eq!(progress.next, range.end.number, "a backfill looks at every block");
        self.late(filter, range, Some(progress)).await
    }

    async fn late(
        &mut self,
        filter: &Filter,
        range: Range,
        asked: Option<Progress>,
    ) -> Result<Option<Advanced>, WriteError> {
        let Range { from, end, hashes, blocks: found, events, transactions, evidence } = range;
        let settled =
            self.state.final_block.as_ref().map(|block| block.number).min(self.state.head.map(|head| head.0));
        if settled.is_none_or(|settled| end.number > settled) || end.number < from {
            return Err(WriteError::NotFinal { chain_id: self.chain_id, number: end.number, settled });
        }
        let mut plan = Plan::new(&self.state);
        let mut tx = self.begin_range(from, end.number, events.len() + transactions.len()).await?;
        self.are_its_own(&mut tx, (from, &end), &hashes, &found).await?;
        let known = Known::load(&mut tx, self.chain_id, from, end.number).await?;
        let live = if events.is_empty() {
            HashSet::new()
        } else {
            write::live_events(&mut tx, self.chain_id, from, end.number).await?.into_iter().collect()
        };
        let events =
            events.into_iter().filter(|new| known.event(&new.event).is_none_or(|id| !live.contains(&id)));
        let transactions = transactions.into_iter().filter(|tx| known.transaction(tx).is_none());
        let mut blocks: BTreeMap<u64, (Vec<NewEvent>, Vec<Transaction>)> = BTreeMap::new();
        events.for_each(|new| blocks.entry(new.event.block_number).or_default().0.push(new));
        transactions.for_each(|tx| blocks.entry(tx.block_number).or_default().1.push(tx));
        let at_most = asked.and_then(|progress| progress.at_most);
        let mut down_to = from;
        for (number, (events, transactions)) in blocks.into_iter().rev() {
            for event in events {
                append(&mut plan, self.chain_id, &known, event, JournalKind::LateAppend);
            }
            for transaction in transactions {
                include(&mut plan, self.chain_id, &known, transaction, JournalKind::LateIncluded);
            }
            if at_most.is_some_and(|most| plan.len() as u64 >= most) {
                down_to = number;
                break;
            }
        }
        let taken = plan.len() as u64;
        let found: Vec<_> = found.into_iter().filter(|block| block.number >= down_to).collect();
        put_final_blocks(&mut tx, self.chain_id, &mut plan, &found).await?;
        let state = match asked {
            None => BackfillState::Done,
            Some(progress) => match backfill::advance(&mut tx, &progress, down_to, taken).await? {
                Some(state) => state,
                None => return Ok(None),
            },
        };
        // Where only the last block was looked at, its hash is all there is.
        let unseen = usize::try_from(down_to - from).unwrap_or(usize::MAX);
        let hashes = hashes.get(unseen..).unwrap_or_default();
        let digest = certificate::register(&mut tx, self.chain_id, filter).await?;
        let to = (end.number, end.hash);
        let certified = Certified { source: Source::Late, from: down_to, to, hashes, evidence: &evidence };
        certify(&mut tx, self.chain_id, digest, &mut None, certified).await?;
        self.commit(tx, plan, self.state.clone()).await?;
        Ok(Some(Advanced { taken, down_to, state }))
    }

    /// The blocks from `from` to `end` are those that the journal has, as far as it has them, and below the one that follows.
    async fn are_its_own(
        &self,
        conn: &mut PgConnection,
        (from, end): (u64, &NewBlock),
        hashes: &[B256],
        found: &[NewBlock],
    ) -> Result<(), WriteError> {
        for block in write::final_blocks(conn, self.chain_id, from, end.number + 1).await? {
            let number = to_u64(block.number);
            let (number, given, known) = if number > end.number {
                (end.number, end.hash, block.parent_hash)
            } else {
                let seen = usize::try_from(number - from).ok().and_then(|at| hashes.get(at).copied());
                let given = || found.iter().find(|it| it.number == number).map(|it| it.hash);
                match seen.or_else(given) {
                    Some(given) => (number, given, block.hash),
                    None if number == end.number => (number, end.hash, block.hash),
                    None => continue,
                }
            };
            let known = to_hash(self.chain_id, &known)?;
            if given != known {
                return Err(WriteError::OtherBlock { chain_id: self.chain_id, number, given, known });
            }
        }
        Ok(())
    }
}
