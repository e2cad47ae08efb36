//! A journal in memory, written by the rules of [`plimsoll_journal::Writer`].
//!
//! It is the same journal: rows, ids and marks come out as Postgres would have them, which a test holds both against. What the writer does in
//! one transaction is done here in one call, which changes everything or nothing.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use alloy_primitives::B256;
use plimsoll_journal::{Content, Event, Filter, NewBlock, NewEvent, Range, Transaction, WriteError};
use plimsoll_types::{BlockState, JournalKind};

use crate::laws::{BlockBody, Body, Journal, Row};

/// A block's number and hash.
pub(super) type BlockId = (u64, B256);

/// A canonical block above finality, and its place in the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Live {
    id: i64,
    pub(super) number: u64,
    pub(super) hash: B256,
    first_seq: i64,
    last_seq: i64,
    confirm_seq: Option<i64>,
}

/// Where a writer believes that the journal stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Belief {
    next_seq: i64,
    next_id: i64,
    pub(super) head: Option<BlockId>,
    pub(super) final_block: Option<BlockId>,
    /// Above finality, oldest first.
    pub(super) live: Vec<Live>,
}

/// What is committed.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) chain_id: u64,
    /// The records, and what of the raw store the laws look at.
    pub(super) journal: Journal,
    pub(super) events: HashMap<i64, Event>,
    pub(super) transactions: HashMap<i64, Transaction>,
    event_ids: HashMap<(B256, u32), i64>,
    transaction_ids: HashMap<(B256, u32), i64>,
    block_ids: HashMap<BlockId, i64>,
    next_id: i64,
    pub(super) head: Option<BlockId>,
    pub(super) final_block: Option<BlockId>,
    /// Which blocks were asked about what.
    pub(super) asked: Vec<Asked>,
    /// Whether the chain is halted.
    pub(super) is_halted: bool,
}

/// Blocks, and what they were asked about.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) filter: Arc<Filter>,
}

/// A place or an id as Postgres has it.
fn signed(number: u64) -> i64 {
    i64::try_from(number).expect("a block number is far below 2^63")
}

impl Store {
    pub(super) fn new(chain_id: u64) -> Self {
        Self {
            chain_id,
            journal: Journal::default(),
            events: HashMap::new(),
            transactions: HashMap::new(),
            event_ids: HashMap::new(),
            transaction_ids: HashMap::new(),
            block_ids: HashMap::new(),
            next_id: 1,
            head: None,
            final_block: None,
            asked: Vec::new(),
            is_halted: false,
        }
    }

    pub(super) fn next_seq(&self) -> i64 {
        i64::try_from(self.journal.rows.len()).expect("a journal fits into memory") + 1
    }

    /// What a writer believes that is opened now: read from the records alone, oldest first, and the mark of the head.
    pub(super) fn open(&self) -> Belief {
        let mut belief = Belief {
            next_seq: self.next_seq(),
            next_id: self.next_id,
            head: self.head,
            final_block: None,
            live: Vec::new(),
        };
        let mut first_seq = None;
        for row in &self.journal.rows {
            let hash = || self.journal.blocks[&row.reference].body.hash;
            let number = row.number.cast_unsigned();
            match row.kind {
                // What comes late is final.
                JournalKind::LateAppend | JournalKind::LateIncluded => {}
                JournalKind::Append | JournalKind::Included => _ = first_seq.get_or_insert(row.seq),
                JournalKind::Block => {
                    let first_seq = first_seq.take().unwrap_or(row.seq);
                    if belief.final_block.is_none_or(|(last, _)| number > last) {
                        let (id, last_seq) = (row.reference, row.seq);
                        belief.live.push(Live {
                            id,
                            number,
                            hash: hash(),
                            first_seq,
                            last_seq,
                            confirm_seq: None,
                        });
                    }
                }
                JournalKind::Confirm => {
                    let live = belief.live.iter_mut().find(|live| live.id == row.reference);
                    if let Some(live) = live {
                        live.confirm_seq = Some(row.seq);
                    }
                }
                JournalKind::Finalize => {
                    belief.live.retain(|live| live.number > number);
                    belief.final_block = Some((number, hash()));
                }
                JournalKind::Retract => {
                    let index = usize::try_from(row.reference - 1).expect("a retraction refers to a record");
                    if self.journal.rows[index].kind == JournalKind::Block {
                        belief.live.pop();
                    }
                }
            }
        }
        belief
    }

    /// The block of this id.
    pub(super) fn block(&self, id: i64) -> BlockId {
        let body = &self.journal.blocks[&id].body;
        (body.number.cast_unsigned(), body.hash)
    }

    /// See [`plimsoll_journal::Writer::finalize`].
    pub(super) fn finalize(&mut self, belief: &Belief, block: &NewBlock) -> Result<Belief, WriteError> {
        if belief.final_block.is_some_and(|(number, _)| number >= block.number) {
            return Ok(belief.clone());
        }
        self.guard(belief)?;
        let mut next = belief.clone();
        self.confirm_up_to(&mut next, block.number);
        let id = self.put_block(block, BlockState::Final);
        self.mark_final(&mut next, id);
        Ok(self.commit(next))
    }

    /// See [`plimsoll_journal::Writer::append_range`].
    pub(super) fn append_range(
        &mut self,
        belief: &Belief,
        filter: &Arc<Filter>,
        range: Range,
    ) -> Result<Belief, WriteError> {
        let Range { from, end, blocks, events, transactions, .. } = range;
        let next_number = belief.head.map_or(0, |(number, _)| number + 1);
        let is_final = belief
            .final_block
            .is_some_and(|(number, hash)| end.number < number || (end.number, end.hash) == (number, hash));
        if from < next_number || end.number < from || !is_final || !belief.live.is_empty() {
            return Err(self.not_on_head(belief, end.number));
        }
        self.guard(belief)?;
        let mut next = belief.clone();
        self.fill(events, transactions);
        self.asked.push(Asked { from, to: end.number, filter: filter.clone() });
        self.put_final_blocks(&blocks);
        let id = self.put_block(&end, BlockState::Final);
        self.push(JournalKind::Block, end.number, id);
        self.push(JournalKind::Confirm, end.number, id);
        next.head = Some((end.number, end.hash));
        Ok(self.commit(next))
    }

    /// See [`plimsoll_journal::Writer::append_late`].
    pub(super) fn append_late(
        &mut self,
        belief: &Belief,
        filter: &Filter,
        range: Range,
    ) -> Result<(Belief, usize), WriteError> {
        let Range { from, end, blocks: found, events, transactions, .. } = range;
        let settled = belief.final_block.map(|(number, _)| number).min(belief.head.map(|(number, _)| number));
        if settled.is_none_or(|settled| end.number > settled) || end.number < from {
            return Err(WriteError::NotFinal { chain_id: self.chain_id, number: end.number, settled });
        }
        self.guard(belief)?;
        let live: HashSet<i64> =
            self.live(JournalKind::Append).chain(self.live(JournalKind::LateAppend)).collect();
        let mut blocks: BTreeMap<u64, (Vec<Event>, Vec<Transaction>)> = BTreeMap::new();
        for NewEvent { event, .. } in events {
            let known = self.event_ids.get(&(event.block_hash, event.log_index));
            if known.is_none_or(|id| !live.contains(id)) {
                blocks.entry(event.block_number).or_default().0.push(event);
            }
        }
        for transaction in transactions {
            if !self.transaction_ids.contains_key(&(transaction.block_hash, transaction.tx_index)) {
                blocks.entry(transaction.block_number).or_default().1.push(transaction);
            }
        }
        let before = self.next_seq();
        for (number, (events, transactions)) in blocks.into_iter().rev() {
            for event in events {
                let id = self.event(event);
                self.push(JournalKind::LateAppend, number, id);
            }
            for transaction in transactions {
                let id = self.transaction(&transaction);
                self.push(JournalKind::LateIncluded, number, id);
            }
        }
        self.put_final_blocks(&found);
        let taken = usize::try_from(self.next_seq() - before).expect("records are few");
        self.asked.push(Asked { from, to: end.number, filter: Arc::new(filter.clone()) });
        Ok((self.commit(belief.clone()), taken))
    }

    /// What the records of a kind that are not taken back refer to.
    pub(super) fn live(&self, kind: JournalKind) -> impl Iterator<Item = i64> {
        let rows = &self.journal.rows;
        let mut standing = vec![true; rows.len()];
        for row in rows.iter().filter(|row| row.kind == JournalKind::Retract) {
            standing[usize::try_from(row.reference - 1).expect("a place")] = false;
        }
        let rows = rows.iter().zip(standing).filter(move |(row, standing)| *standing && row.kind == kind);
        rows.map(|(row, _)| row.reference)
    }

    /// See [`plimsoll_journal::Writer::replace_above`].
    pub(super) fn replace_above(
        &mut self,
        belief: &Belief,
        filter: &Arc<Filter>,
        ancestor: Option<BlockId>,
        contents: Vec<Content>,
        confirm: Option<u64>,
        finalize: Option<u64>,
    ) -> Result<(Belief, usize), WriteError> {
        self.check_links(belief, ancestor, &contents)?;
        if contents.is_empty() && belief.live.is_empty() {
            return Ok((belief.clone(), 0));
        }
        self.guard(belief)?;
        let mut next = belief.clone();
        let retracted = self.retract_above(&mut next, ancestor.map(|(number, _)| number));
        if retracted > 0 {
            // Blocks that left are asked about no more.
            let below = ancestor.map_or(0, |(number, _)| number + 1);
            self.asked.iter_mut().for_each(|asked| asked.to = asked.to.min(below.saturating_sub(1)));
            self.asked.retain(|asked| asked.from < below && asked.from <= asked.to);
        }
        for Content { block, events, transactions, .. } in contents {
            self.asked.push(Asked { from: block.number, to: block.number, filter: filter.clone() });
            let first_seq = self.next_seq();
            self.fill(events, transactions);
            let id = self.put_block(&block, BlockState::Seen);
            let last_seq = self.push(JournalKind::Block, block.number, id);
            next.head = Some((block.number, block.hash));
            let NewBlock { number, hash, .. } = block;
            next.live.push(Live { id, number, hash, first_seq, last_seq, confirm_seq: None });
        }
        if let Some(number) = confirm.max(finalize) {
            self.confirm_up_to(&mut next, number);
        }
        let last_final = finalize.and_then(|number| next.live.iter().rfind(|live| live.number <= number));
        if let Some(id) = last_final.map(|live| live.id) {
            self.mark_final(&mut next, id);
        }
        Ok((self.commit(next), retracted))
    }

    fn not_on_head(&self, belief: &Belief, number: u64) -> WriteError {
        WriteError::NotOnHead { chain_id: self.chain_id, number, head: belief.head }
    }

    fn check_links(
        &self,
        belief: &Belief,
        ancestor: Option<BlockId>,
        contents: &[Content],
    ) -> Result<(), WriteError> {
        let canonical = ancestor.is_none_or(|ancestor| {
            [belief.final_block, belief.head].contains(&Some(ancestor))
                || belief.live.iter().any(|live| (live.number, live.hash) == ancestor)
        });
        let mut parent = ancestor;
        for Content { block, .. } in contents {
            let linked =
                parent.is_none_or(|(number, hash)| block.number == number + 1 && block.parent_hash == hash);
            if !linked || !canonical || belief.final_block.is_some_and(|(last, _)| block.number <= last) {
                return Err(self.not_on_head(belief, block.number));
            }
            parent = Some((block.number, block.hash));
        }
        Ok(())
    }

    /// Refuses to go on from a belief that is not what is committed.
    fn guard(&self, belief: &Belief) -> Result<(), WriteError> {
        if (belief.next_seq, belief.next_id) == (self.next_seq(), self.next_id) {
            Ok(())
        } else {
            Err(WriteError::Stale { chain_id: self.chain_id })
        }
    }

    fn commit(&mut self, belief: Belief) -> Belief {
        (self.head, self.final_block) = (belief.head, belief.final_block);
        Belief { next_seq: self.next_seq(), next_id: self.next_id, ..belief }
    }

    fn push(&mut self, kind: JournalKind, number: u64, reference: i64) -> i64 {
        let seq = self.next_seq();
        self.journal.rows.push(Row { seq, kind, number: signed(number), reference });
        seq
    }

    fn id(&mut self) -> i64 {
        self.next_id += 1;
        self.next_id - 1
    }

    /// Each block's events, then its transactions.
    fn fill(&mut self, events: Vec<NewEvent>, transactions: Vec<Transaction>) {
        let mut events = events.into_iter().map(|new| new.event).peekable();
        let mut transactions = transactions.into_iter().peekable();
        loop {
            let of_event = events.peek().map(|event| event.block_number);
            let of_transaction = transactions.peek().map(|tx| tx.block_number);
            let Some(number) = of_event.into_iter().chain(of_transaction).min() else { break };
            while let Some(event) = events.next_if(|event| event.block_number == number) {
                let id = self.event(event);
                self.push(JournalKind::Append, number, id);
            }
            while let Some(transaction) = transactions.next_if(|tx| tx.block_number == number) {
                let id = self.transaction(&transaction);
                self.push(JournalKind::Included, number, id);
            }
        }
    }

    fn event(&mut self, event: Event) -> i64 {
        let key = (event.block_hash, event.log_index);
        if let Some(id) = self.event_ids.get(&key) {
            return *id;
        }
        let id = self.id();
        let (number, index) = (signed(event.block_number), event.log_index.cast_signed());
        self.journal.events.insert(id, Body { number, hash: event.block_hash, index });
        self.event_ids.insert(key, id);
        self.events.insert(id, Event { id, ..event });
        id
    }

    fn transaction(&mut self, transaction: &Transaction) -> i64 {
        let key = (transaction.block_hash, transaction.tx_index);
        if let Some(id) = self.transaction_ids.get(&key) {
            return *id;
        }
        let id = self.id();
        let (number, index) = (signed(transaction.block_number), transaction.tx_index.cast_signed());
        self.journal.transactions.insert(id, Body { number, hash: transaction.block_hash, index });
        self.transaction_ids.insert(key, id);
        self.transactions.insert(id, Transaction { id, ..transaction.clone() });
        id
    }

    /// Puts a block on record, or back on the canonical chain. Takes an id in either case, as the writer does.
    fn put_block(&mut self, block: &NewBlock, state: BlockState) -> i64 {
        let fresh = self.id();
        let id = *self.block_ids.entry((block.number, block.hash)).or_insert(fresh);
        let body = Body { number: signed(block.number), hash: block.hash, index: 0 };
        self.journal.blocks.insert(id, BlockBody { body, parent: block.parent_hash, state });
        id
    }

    fn put_final_blocks(&mut self, blocks: &[NewBlock]) {
        for block in blocks {
            self.put_block(block, BlockState::Final);
        }
    }

    fn set_state(&mut self, id: i64, state: BlockState) {
        self.journal.blocks.get_mut(&id).expect("a live block is on record").state = state;
    }

    /// Newest block first, its confirmation before its records, its records newest first.
    fn retract_above(&mut self, next: &mut Belief, ancestor: Option<u64>) -> usize {
        let keep = next.live.iter().position(|live| ancestor.is_none_or(|number| live.number > number));
        let gone = next.live.split_off(keep.unwrap_or(next.live.len()));
        for live in gone.iter().rev() {
            for seq in live.confirm_seq.into_iter().chain((live.first_seq..=live.last_seq).rev()) {
                self.push(JournalKind::Retract, live.number, seq);
            }
            self.set_state(live.id, BlockState::Orphaned);
        }
        if !gone.is_empty() {
            next.head = next.live.last().map(|live| (live.number, live.hash)).or(next.final_block);
        }
        gone.len()
    }

    /// Confirms the live blocks up to `number` that are not confirmed yet, oldest first.
    fn confirm_up_to(&mut self, next: &mut Belief, number: u64) {
        for live in next.live.iter_mut().filter(|l| l.number <= number && l.confirm_seq.is_none()) {
            live.confirm_seq = Some(self.push(JournalKind::Confirm, live.number, live.id));
            self.set_state(live.id, BlockState::Confirmed);
        }
    }

    /// Marks a block of record final, and every live block below it.
    fn mark_final(&mut self, next: &mut Belief, id: i64) {
        let (number, hash) = self.block(id);
        for live in next.live.iter().filter(|live| live.number <= number) {
            self.set_state(live.id, BlockState::Final);
        }
        next.live.retain(|live| live.number > number);
        self.push(JournalKind::Finalize, number, id);
        next.final_block = Some((number, hash));
    }
}
