//! The laws of a journal: in what order its records may stand, and what they may refer to.
//!
//! They are checked against the records alone, whatever wrote them: a journal in Postgres is read for it row by row, one of the
//! simulator is one already. A reader of the laws is a fold: it knows only what is before a record, and that must be enough.

mod repo;
pub mod stored;

use std::collections::{BTreeMap, HashMap, HashSet};

use alloy_primitives::B256;
use plimsoll_types::{BlockState, JournalKind};

/// A record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its place, from 1.
    pub seq: i64,
    /// What it says.
    pub kind: JournalKind,
    /// The block that it is about.
    pub number: i64,
    /// The id of what it refers to; of a retraction, the place of the record that it takes back.
    pub reference: i64,
}

/// What a record refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// Block number.
    pub number: i64,
    /// Block hash.
    pub hash: B256,
    /// Of an event its log index, of a transaction its index; 0 of a block.
    pub index: i32,
}

/// What else is known of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockBody {
    /// Number and hash.
    pub body: Body,
    /// The parent's hash.
    pub parent: B256,
    /// How sure it is said to be.
    pub state: BlockState,
}

/// A journal with what it refers to, by id.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Journal {
    /// The records, in the order of their places.
    pub rows: Vec<Row>,
    /// Events.
    pub events: HashMap<i64, Body>,
    /// Transactions of watched senders.
    pub transactions: HashMap<i64, Body>,
    /// Blocks.
    pub blocks: HashMap<i64, BlockBody>,
}

/// A record that is not retracted.
#[derive(Clone, Debug)]
struct Live {
    seq: i64,
    kind: JournalKind,
    number: i64,
    hash: B256,
    id: i64,
}

#[derive(Debug, Default)]
struct Checker {
    /// Unretracted `append`, `included` and `block` records, oldest first.
    stack: Vec<Live>,
    /// Unretracted `confirm` records by block number.
    confirms: BTreeMap<i64, Live>,
    /// What came late, by id.
    late: HashSet<i64>,
    final_number: Option<i64>,
    final_hash: B256,
    /// The block that is being appended: it has no `block` record yet.
    open: Option<Body>,
    open_included: bool,
    /// The block that is being taken back.
    closing: Option<i64>,
}

impl Journal {
    /// Checks all laws.
    ///
    /// # Errors
    ///
    /// The record that breaks one, and which.
    pub fn check(&self) -> Result<(), String> {
        let mut checker = Checker::default();
        for (expected, (place, row)) in (1..).zip(self.rows.iter().enumerate()) {
            let outcome = if row.seq == expected {
                checker.take(row, &self.rows[..place], self)
            } else {
                Err(format!("the record after {} is missing", expected - 1))
            };
            outcome.map_err(|broken| format!("{row:?}: {broken}\n{checker:?}"))?;
        }
        checker.finish(&self.blocks).map_err(|broken| format!("at the end: {broken}\n{checker:?}"))
    }
}

fn law(holds: bool, broken: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(broken.to_owned()) }
}

impl Checker {
    fn head(&self) -> Option<&Live> {
        self.stack.iter().rev().find(|live| live.kind == JournalKind::Block)
    }

    fn is_final(&self, number: i64) -> bool {
        self.final_number.is_some_and(|last| number <= last)
    }

    fn take(&mut self, row: &Row, before: &[Row], journal: &Journal) -> Result<(), String> {
        if row.kind == JournalKind::Retract {
            let place = row.reference.checked_sub(1).and_then(|place| usize::try_from(place).ok());
            let original = place.and_then(|place| before.get(place));
            return self.retract(row, original.ok_or("it takes back a record that is not before it")?);
        }
        self.closed()?;
        let block = journal.blocks.get(&row.reference);
        let body = match row.kind {
            JournalKind::Append | JournalKind::LateAppend => journal.events.get(&row.reference),
            JournalKind::Included | JournalKind::LateIncluded => journal.transactions.get(&row.reference),
            _ => block.map(|block| &block.body),
        };
        let body = body.ok_or("it refers to no row of the raw store")?;
        law(body.number == row.number, "its block number is not its row's")?;
        match row.kind {
            JournalKind::Append => self.content(row, body, false),
            JournalKind::Included => self.content(row, body, true),
            JournalKind::LateAppend | JournalKind::LateIncluded => self.late(row, body),
            JournalKind::Confirm => self.confirm(row, body),
            JournalKind::Finalize => self.finalize(row, body),
            _ => self.block(row, body, block.map_or(B256::ZERO, |block| block.parent)),
        }
    }

    /// Whatever was being taken back is taken back whole.
    fn closed(&mut self) -> Result<(), String> {
        if let Some(number) = self.closing.take() {
            let whole = self.stack.last().is_none_or(|live| live.number != number);
            law(whole, "a block was taken back in part")?;
        }
        Ok(())
    }

    fn content(&mut self, row: &Row, body: &Body, included: bool) -> Result<(), String> {
        let head = self.head().map_or(-1, |live| live.number);
        law(row.number > head, "it belongs to a block that has its `block` record already")?;
        if let Some(open) = &self.open {
            if open.number == body.number {
                law(open.hash == body.hash, "two blocks of one height are mixed")?;
                law(!self.open_included || included, "an event after the transactions of its block")?;
                let ordered = self.open_included != included || open.index < body.index;
                law(ordered, "not in the order of the block")?;
            } else {
                law(self.is_final(row.number), "above finality a block has its own `block` record")?;
                law(open.number < body.number, "blocks out of order")?;
            }
        }
        self.open = Some(body.clone());
        self.open_included = included;
        self.push(row, body);
        Ok(())
    }

    /// What comes late is of a final block that the journal has, comes once, and is not on the stack.
    fn late(&mut self, row: &Row, body: &Body) -> Result<(), String> {
        law(self.open.is_none(), "what comes late in the middle of a block")?;
        law(self.is_final(row.number), "what comes late may still be taken back")?;
        let head = self.head().map_or(-1, |live| live.number);
        law(row.number <= head, "it comes late, and its block has not come yet")?;
        let last = self.final_number == Some(row.number);
        law(!last || self.final_hash == body.hash, "it is not of the block that is final at its height")?;
        let is_there =
            self.stack.iter().any(|live| live.kind != JournalKind::Block && live.id == row.reference);
        law(!is_there && self.late.insert(row.reference), "it is there already")
    }

    fn push(&mut self, row: &Row, body: &Body) {
        let (kind, hash) = (row.kind, body.hash);
        self.stack.push(Live { seq: row.seq, kind, number: row.number, hash, id: row.reference });
    }

    fn block(&mut self, row: &Row, body: &Body, parent: B256) -> Result<(), String> {
        if let Some(open) = self.open.take() {
            let whole = open.number < row.number || open.hash == body.hash;
            law(whole && open.number <= row.number, "it closes another block than its records'")?;
            let own = open.number == row.number || self.is_final(row.number);
            law(own, "above finality a block has its own `block` record")?;
        }
        if let Some(head) = self.head() {
            law(row.number > head.number, "the head goes back without a retraction")?;
            let next = row.number == head.number + 1;
            law(next || self.is_final(row.number), "a range above finality: `finalize` has to precede it")?;
            law(!next || head.hash == parent, "its parent is not the head")?;
        }
        if self.is_final(row.number) {
            let last = self.final_number == Some(row.number);
            law(!last || self.final_hash == body.hash, "it is not the block that is final at its height")?;
        }
        self.push(row, body);
        Ok(())
    }

    fn confirm(&mut self, row: &Row, body: &Body) -> Result<(), String> {
        law(self.open.is_none(), "a mark in the middle of a block")?;
        let live = self.stack.iter().any(|live| live.kind == JournalKind::Block && live.id == row.reference);
        law(live, "it confirms a block that is not canonical")?;
        law(!self.confirms.contains_key(&row.number), "it confirms a block again")?;
        let unconfirmed_below = self.stack.iter().any(|l| {
            l.kind == JournalKind::Block && l.number < row.number && !self.confirms.contains_key(&l.number)
        });
        law(!unconfirmed_below, "a block below is not confirmed")?;
        let (kind, hash) = (row.kind, body.hash);
        let confirm = Live { seq: row.seq, kind, number: row.number, hash, id: row.reference };
        self.confirms.insert(row.number, confirm);
        Ok(())
    }

    fn finalize(&mut self, row: &Row, body: &Body) -> Result<(), String> {
        law(self.open.is_none(), "a mark in the middle of a block")?;
        law(!self.is_final(row.number), "it is final already")?;
        for live in self.stack.iter().filter(|l| l.kind == JournalKind::Block && l.number <= row.number) {
            law(self.confirms.contains_key(&live.number), "a block below is not confirmed")?;
            law(
                live.number < row.number || live.id == row.reference,
                "another block is canonical at its height",
            )?;
        }
        self.final_number = Some(row.number);
        self.final_hash = body.hash;
        Ok(())
    }

    fn retract(&mut self, row: &Row, original: &Row) -> Result<(), String> {
        law(self.open.is_none(), "a retraction in the middle of a block")?;
        law(row.number == original.number, "its block number is not that of the record it takes back")?;
        law(!self.is_final(row.number), "it takes back what is final")?;
        if original.kind == JournalKind::Confirm {
            self.closed()?;
            let confirm = self.confirms.remove(&row.number);
            law(confirm.is_some_and(|c| c.seq == original.seq), "that confirmation is not in force")?;
            let top =
                self.stack.last().is_some_and(|l| l.kind == JournalKind::Block && l.number == row.number);
            law(top, "a confirmation goes only right before its own block")?;
            self.closing = Some(row.number);
            return Ok(());
        }
        if self.closing.is_some_and(|number| number != row.number) {
            self.closed()?;
        }
        self.closing = Some(row.number);
        law(!self.confirms.contains_key(&row.number), "its block's confirmation has to be taken back first")?;
        let top = self.stack.pop();
        law(top.is_some_and(|top| top.seq == original.seq), "not the newest record that is not taken back")
    }

    fn finish(&mut self, blocks: &HashMap<i64, BlockBody>) -> Result<(), String> {
        self.closed()?;
        law(self.open.is_none(), "a block has no `block` record")?;
        let live: HashMap<i64, &Live> = self
            .stack
            .iter()
            .filter(|live| live.kind == JournalKind::Block)
            .map(|live| (live.id, live))
            .collect();
        for (id, BlockBody { body, state, .. }) in blocks {
            let expected = match live.get(id) {
                _ if self.final_number == Some(body.number) && self.final_hash == body.hash => {
                    BlockState::Final
                }
                Some(live) if self.is_final(live.number) => BlockState::Final,
                Some(live) if self.confirms.contains_key(&live.number) => BlockState::Confirmed,
                Some(_) => BlockState::Seen,
                // A mark of a backfill's end stays where later marks have gone on.
                None if self.is_final(body.number) && *state == BlockState::Final => BlockState::Final,
                None => BlockState::Orphaned,
            };
            law(*state == expected, &format!("block {} is {state}, and should be {expected}", body.number))?;
        }
        Ok(())
    }
}
