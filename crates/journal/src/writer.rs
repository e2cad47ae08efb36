//! The only way into a journal.
//!
//! **Dense and in order.** One writer a chain: it holds the chain's ingest lease, checks its token in each of its transactions, and
//! takes the chain's row `FOR UPDATE` there. `seq` comes from that row, so commit order is sequence order, and a transaction that
//! aborts gives its numbers back: there is no hole, and a reader's cursor is one integer.
//!
//! **After a doubt, read again.** A commit whose answer was lost may have happened. The writer compares its counters with the
//! row's in each transaction and refuses to go on from a state that is not the database's ([`WriteError::Stale`]); its owner opens a
//! new one, which rebuilds everything from the journal.
//!
//! **Marks.** `finalize(F)` precedes the records of a backfill that ends at `F`: from then on a reader knows by the order of records
//! alone that what it reads at or below `F` will not be taken back. `confirm(N)` follows the records of `N` and is taken back only when
//! `N` itself is, before any of its records.

mod backfill;
mod certify;
mod error;
mod input;
mod late;
mod open;
mod plan;

use std::sync::Arc;

use alloy_primitives::B256;
use plimsoll_store::{Db, Lease, Partitions, Tx};
use plimsoll_types::{BlockState, JournalKind};

use self::certify::withdraw;
pub(crate) use self::certify::{Certified, OpenRange, certify};
pub use self::error::WriteError;
pub use self::input::{ChainIdentity, Content, Decoding, Evidence, NewBlock, NewEvent, Range};
use self::open::{LiveBlock, State};
use self::plan::{Known, Plan, confirm_up_to, fill, mark_final, put_block, put_final_blocks, retract_above};
use crate::record::{Block, Body};
use crate::repo::certificate::{self, Source};
use crate::repo::write::{self, Marks};
use crate::repo::{to_i64, watch};
use crate::tail::Tail;

/// The writer of one chain's journal.
#[derive(Debug)]
pub struct Writer {
    db: Db,
    lease: Lease,
    tail: Tail,
    chain_id: u64,
    /// The digest of what is wanted.
    filter: B256,
    partitions: Partitions,
    state: State,
    halt: Option<serde_json::Value>,
    rpc_head: Option<u64>,
}

impl Writer {
    /// Opens the chain's journal: makes its row, or checks that it is of this very chain, and finds out where it stands.
    pub async fn open(db: &Db, lease: Lease, tail: Tail, chain: &ChainIdentity) -> Result<Self, WriteError> {
        let mut tx = db.begin_worker().await?;
        lease.guard(&mut tx).await?;
        let row = write::open_chain(&mut tx, chain).await?;
        if row.genesis_hash != chain.genesis_hash.as_slice() {
            return Err(WriteError::DifferentGenesis {
                chain_id: chain.chain_id,
                given: chain.genesis_hash,
                known: alloy_primitives::hex::encode_prefixed(&row.genesis_hash),
            });
        }
        let filter = certificate::register(&mut tx, chain.chain_id, &chain.filter).await?;
        let state = State::read(&mut tx, chain.chain_id, filter, &row).await?;
        let next = state.head.map_or(0, |(number, _)| number + 1);
        if watch::acknowledge(&mut tx, chain.chain_id, chain.filter.senders.keys(), next).await? {
            return Err(WriteError::Unwatched { chain_id: chain.chain_id });
        }
        tx.commit().await?;
        tail.announce(chain.chain_id, state.end());
        let halt = if row.halted { Some(row.halt.unwrap_or_default()) } else { None };
        Ok(Self {
            db: db.clone(),
            lease,
            tail,
            chain_id: chain.chain_id,
            filter,
            partitions: Partitions::default(),
            state,
            halt,
            rpc_head: None,
        })
    }

    /// Why the chain is halted, when it is.
    #[must_use]
    pub fn halted(&self) -> Option<&serde_json::Value> {
        self.halt.as_ref()
    }

    /// The last block that the journal covers.
    #[must_use]
    pub fn head(&self) -> Option<(u64, B256)> {
        self.state.head
    }

    /// The last final block.
    #[must_use]
    pub fn final_block(&self) -> Option<&Arc<Block>> {
        self.state.final_block.as_ref()
    }

    /// The canonical blocks that a reorg may still take, oldest first: (number, hash).
    #[must_use]
    pub fn unfinal(&self) -> Vec<(u64, B256)> {
        self.state.live.iter().map(|live| (live.block.number, live.block.hash)).collect()
    }

    /// The last record's place.
    #[must_use]
    pub fn end(&self) -> i64 {
        self.state.next_seq - 1
    }

    /// Marks a block final, and with it all below. Blocks of the journal up to it that are not confirmed yet are confirmed first.
    pub async fn finalize(&mut self, block: &NewBlock) -> Result<(), WriteError> {
        if self.state.final_block.as_ref().is_some_and(|f| f.number >= block.number) {
            return Ok(());
        }
        let mut plan = Plan::new(&self.state);
        let mut next = self.state.clone();
        let mut tx = self.begin(&[("chain_blocks", block.number, block.number)], &[]).await?;
        confirm_up_to(&mut plan, &mut next, block.number);
        let block = put_block(&mut tx, self.chain_id, &mut plan, block, BlockState::Final).await?;
        mark_final(&mut tx, self.chain_id, &mut plan, &mut next, block).await?;
        self.commit(tx, plan, next).await
    }

    /// Appends a range of a backfill, at or below finality: every event and transaction wanted between the head and its end. What follows the head
    /// at once is the range's to know; a journal that begins later than the chain has nothing wanted between.
    #[tracing::instrument(
        name = "ingest_commit",
        skip_all,
        fields(chain_id = self.chain_id, block_number = range.end.number, events = range.events.len())
    )]
    pub async fn append_range(&mut self, range: Range) -> Result<(), WriteError> {
        let Range { from, end, hashes, blocks, events, transactions, evidence } = range;
        let next_number = self.state.head.map_or(0, |(number, _)| number + 1);
        let is_final = self
            .state
            .final_block
            .as_ref()
            .is_some_and(|f| end.number < f.number || (end.number, end.hash) == (f.number, f.hash));
        if from < next_number || end.number < from || !is_final || !self.state.live.is_empty() {
            return Err(WriteError::NotOnHead {
                chain_id: self.chain_id,
                number: end.number,
                head: self.state.head,
            });
        }
        let first_row = events
            .iter()
            .map(|e| e.event.block_number)
            .chain(transactions.iter().map(|t| t.block_number))
            .fold(end.number, u64::min);
        let mut plan = Plan::new(&self.state);
        let mut next = self.state.clone();
        let mut tx = self.begin_range(first_row, end.number, events.len() + transactions.len() + 2).await?;
        let known = Known::load(&mut tx, self.chain_id, first_row, end.number).await?;
        fill(&mut plan, self.chain_id, &known, events, transactions);
        put_final_blocks(&mut tx, self.chain_id, &mut plan, &blocks).await?;
        let block = put_block(&mut tx, self.chain_id, &mut plan, &end, BlockState::Final).await?;
        plan.push(JournalKind::Block, block.number, block.id, Body::Block(block.clone()));
        plan.push(JournalKind::Confirm, block.number, block.id, Body::Block(block.clone()));
        next.head = Some((block.number, block.hash));
        next.confirmed = Some(block.number);
        let to = (end.number, end.hash);
        let certified =
            Certified { source: Source::Backfill, from, to, hashes: &hashes, evidence: &evidence };
        certify(&mut tx, self.chain_id, self.filter, &mut next.certified, certified).await?;
        self.commit(tx, plan, next).await
    }

    /// Makes the canonical chain end with `contents`, whose first block's parent is the canonical block at `ancestor` (or the
    /// chain's start): takes back what is above `ancestor`, newest first, appends, confirms and finalizes to these numbers, all in one
    /// transaction. Without contents it only takes back: the chain went back below its first block of interest. Returns how many
    /// blocks were taken back.
    #[tracing::instrument(
        name = "ingest_commit",
        skip_all,
        fields(
            chain_id = self.chain_id,
            block_number = contents.last().map(|content| content.block.number),
            blocks = contents.len(),
            events = contents.iter().map(|content| content.events.len()).sum::<usize>(),
            retracted_blocks = tracing::field::Empty
        )
    )]
    pub async fn replace_above(
        &mut self,
        ancestor: Option<(u64, B256)>,
        contents: Vec<Content>,
        confirm: Option<u64>,
        finalize: Option<u64>,
    ) -> Result<usize, WriteError> {
        self.check_links(ancestor, &contents)?;
        let oldest = self.state.live.first().map(|l| l.block.number);
        let Some(from) = contents.first().map(|c| c.block.number).or(oldest) else { return Ok(0) };
        let to = contents.last().map_or(from, |c| c.block.number);
        let count = contents.iter().map(|c| c.events.len() + c.transactions.len() + 3).sum::<usize>()
            + self
                .state
                .live
                .iter()
                .map(|l| usize::try_from(l.last_seq - l.first_seq + 2).unwrap_or(0))
                .sum::<usize>();
        let mut plan = Plan::new(&self.state);
        let mut next = self.state.clone();
        let mut tx = self.begin_range(from, to, count).await?;
        let retracted =
            retract_above(&mut tx, self.chain_id, &mut plan, &mut next, ancestor.map(|(n, _)| n)).await?;
        if retracted > 0 {
            withdraw(&mut tx, self.chain_id, self.filter, &mut next, ancestor).await?;
        }
        let known = Known::load(&mut tx, self.chain_id, from, to).await?;
        for alike in contents.chunk_by(|a, b| a.evidence == b.evidence) {
            let (first, last) = (&alike[0], &alike[alike.len() - 1]);
            let hashes: Vec<_> = alike.iter().map(|content| content.block.hash).collect();
            let (from, to) = (first.block.number, (last.block.number, last.block.hash));
            let certified =
                Certified { source: Source::Head, from, to, hashes: &hashes, evidence: &first.evidence };
            certify(&mut tx, self.chain_id, self.filter, &mut next.certified, certified).await?;
        }
        for content in contents {
            let first_seq = plan.next_seq();
            fill(&mut plan, self.chain_id, &known, content.events, content.transactions);
            let block =
                put_block(&mut tx, self.chain_id, &mut plan, &content.block, BlockState::Seen).await?;
            let last_seq = plan.push(JournalKind::Block, block.number, block.id, Body::Block(block.clone()));
            next.head = Some((block.number, block.hash));
            next.live.push(LiveBlock { block, first_seq, last_seq, confirm_seq: None });
        }
        // What is final before it has its confirmations is confirmed by that.
        if let Some(number) = confirm.max(finalize) {
            let ids = confirm_up_to(&mut plan, &mut next, number);
            if !ids.is_empty() {
                write::set_block_states(&mut tx, self.chain_id, &ids, (0, number), BlockState::Confirmed)
                    .await?;
            }
        }
        let last_final = finalize.and_then(|number| next.live.iter().rfind(|l| l.block.number <= number));
        if let Some(block) = last_final.map(|live| live.block.clone()) {
            mark_final(&mut tx, self.chain_id, &mut plan, &mut next, block).await?;
        }
        self.commit(tx, plan, next).await?;
        if retracted > 0 {
            tracing::Span::current().record("retracted_blocks", retracted);
        }
        Ok(retracted)
    }

    /// Notes the node's own head; the next commit writes it down.
    pub fn saw_rpc_head(&mut self, number: u64) {
        self.rpc_head = Some(number);
    }

    /// Writes the node's own head down now, for whoever asks how far behind the journal is, or whether the node is heard.
    pub async fn note_rpc_head(&self) -> Result<(), WriteError> {
        let Some(number) = self.rpc_head else { return Ok(()) };
        let mut tx = self.db.begin_worker().await?;
        self.lease.guard(&mut tx).await?;
        write::set_rpc_head(&mut tx, self.chain_id, number).await?;
        Ok(tx.commit().await?)
    }

    /// Keeps the evidence of what should not have happened: the same only once.
    pub async fn note_anomaly(&self, kind: &str, detail: &serde_json::Value) -> Result<(), WriteError> {
        let mut conn = self.db.worker().acquire().await?;
        Ok(write::add_anomaly(&mut conn, self.chain_id, "ingest", kind, detail).await?)
    }

    /// Stops the chain and says why; only [`resume`] lifts it.
    pub async fn halt(&mut self, why: serde_json::Value) -> Result<(), WriteError> {
        let mut tx = self.db.begin_worker().await?;
        self.lease.guard(&mut tx).await?;
        write::halt(&mut tx, self.chain_id, &why).await?;
        tx.commit().await?;
        self.halt = Some(why);
        Ok(())
    }

    fn check_links(&self, ancestor: Option<(u64, B256)>, contents: &[Content]) -> Result<(), WriteError> {
        let floor = self.state.final_block.as_ref().map(|f| (f.number, f.hash));
        let canonical = ancestor.is_none_or(|ancestor| {
            floor == Some(ancestor)
                || self.state.head == Some(ancestor)
                || self.state.live.iter().any(|l| (l.block.number, l.block.hash) == ancestor)
        });
        let mut parent = ancestor;
        for Content { block, .. } in contents {
            let linked =
                parent.is_none_or(|(number, hash)| block.number == number + 1 && block.parent_hash == hash);
            if !linked || !canonical || floor.is_some_and(|(number, _)| block.number <= number) {
                return Err(WriteError::NotOnHead {
                    chain_id: self.chain_id,
                    number: block.number,
                    head: self.state.head,
                });
            }
            parent = Some((block.number, block.hash));
        }
        Ok(())
    }

    async fn begin_range(&mut self, from: u64, to: u64, count: usize) -> Result<Tx, WriteError> {
        let blocks = [("chain_blocks", from, to), ("chain_events", from, to), ("chain_tx_meta", from, to)];
        self.begin(&blocks, &[("journal", count + 2)]).await
    }

    /// A transaction in which this writer has authority and the counters are as it believes.
    async fn begin(
        &mut self,
        blocks: &[(&'static str, u64, u64)],
        records: &[(&'static str, usize)],
    ) -> Result<Tx, WriteError> {
        for (parent, from, to) in blocks {
            self.partitions
                .ensure(self.db.worker(), parent, self.chain_id, to_i64(*from), to_i64(*to))
                .await?;
        }
        let unconfirmed = self.state.live.len() + 2;
        for (parent, count) in records.iter().copied().chain([("journal", unconfirmed)]) {
            let to = self.state.next_seq + i64::try_from(count + unconfirmed).expect("a commit is small");
            self.partitions.ensure(self.db.worker(), parent, self.chain_id, self.state.next_seq, to).await?;
        }
        let mut tx = self.db.begin_worker().await?;
        self.lease.guard(&mut tx).await?;
        if write::lock_counters(&mut tx, self.chain_id).await? != (self.state.next_seq, self.state.next_id) {
            return Err(WriteError::Stale { chain_id: self.chain_id });
        }
        Ok(tx)
    }

    async fn commit(&mut self, mut tx: Tx, plan: Plan, mut next: State) -> Result<(), WriteError> {
        next.next_seq = plan.next_seq();
        next.next_id = plan.next_id;
        let records = plan.write(&mut tx, self.chain_id).await?;
        let end = next.end();
        let marks = Marks {
            next_seq: next.next_seq,
            next_id: next.next_id,
            head: next.head,
            confirmed: next.confirmed,
            finalized: next.final_block.as_ref().map(|f| f.number),
            rpc_head: self.rpc_head,
        };
        write::set_marks(&mut tx, self.chain_id, &marks).await?;
        write::announce(&mut tx, &end.announcement(self.chain_id)).await?;
        tx.commit().await?;
        self.state = next;
        let retracts = records.iter().any(|r| r.kind == JournalKind::Retract);
        if retracts {
            // What was taken back is read from the database, with its bodies.
            self.tail.announce(self.chain_id, end);
        } else {
            self.tail.push(self.chain_id, records, end);
        }
        Ok(())
    }
}

/// Lifts a chain's halt, on record. The follower then looks at the chain again, and halts again if the reason still stands.
pub async fn resume(db: &Db, chain_id: u64, operator: &str, reason: &str) -> Result<bool, sqlx::Error> {
    let mut tx = db.begin_worker().await?;
    let detail = serde_json::json!({ "operator": operator, "reason": reason });
    let lifted = write::resume(&mut tx, chain_id, &detail).await?;
    tx.commit().await?;
    Ok(lifted)
}
