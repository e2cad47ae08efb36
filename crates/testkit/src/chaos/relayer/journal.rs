//! The journal and its fold: what the chain's writer has seen of the canonical chain, and what the relayer's fold makes of it, each in its own time.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use alloy_primitives::U256;
use plimsoll_relayer::Bell;
use tokio::time::{Instant, sleep};

use super::book::Tables;
use super::judge::{Judge, lock};
use super::store::{Entry, Seen};
use super::world::{CHAIN_ID, World};
use crate::chaos::dice::Dice;

/// The most records of one step.
const STEP: u64 = 40;

/// A record.
#[derive(Clone, Debug)]
enum Record {
    Forward(Entry),
    /// A block left the chain, with these inclusions, the last first.
    Back(Vec<Seen>),
}

/// The writer, and the fold.
pub(super) struct Journal {
    world: Arc<Mutex<World>>,
    tables: Arc<Tables>,
    judge: Arc<Judge>,
    bells: Mutex<Vec<Bell>>,
    records: Mutex<Vec<Record>>,
    dice: Mutex<Dice>,
    pauses: Mutex<Pauses>,
}

/// How long each of the two pauses.
#[derive(Clone, Copy, Debug)]
struct Pauses {
    slowest_ms: u64,
    writer_until: Option<Instant>,
    fold_until: Option<Instant>,
}

/// What the writer remembers.
#[derive(Debug, Default)]
struct Written {
    /// The blocks on the canonical chain as it saw it, each with its inclusions.
    stack: Vec<(usize, Vec<Seen>)>,
    confirmed: u64,
    final_number: u64,
}

impl Journal {
    pub(super) fn new(tables: Arc<Tables>, judge: Arc<Judge>, slowest_ms: u64, dice: Dice) -> Self {
        Self {
            world: Arc::clone(&judge.world),
            tables,
            judge,
            bells: Mutex::default(),
            records: Mutex::default(),
            dice: Mutex::new(dice),
            pauses: Mutex::new(Pauses { slowest_ms, writer_until: None, fold_until: None }),
        }
    }

    /// Somebody wants to be woken when something of a signer changes.
    pub(super) fn wakes(&self, bell: Bell) {
        let mut bells = lock(&self.bells);
        bells.push(bell);
        let more = bells.len().saturating_sub(8);
        bells.drain(..more);
    }

    /// Wakes everybody.
    pub(super) fn rings(&self) {
        lock(&self.bells).iter().for_each(Bell::ring);
    }

    /// The writer, or else the fold, is away for so long.
    pub(super) fn pauses(&self, is_writer: bool, time: Duration) {
        let until = Some(Instant::now() + time);
        let mut pauses = lock(&self.pauses);
        *(if is_writer { &mut pauses.writer_until } else { &mut pauses.fold_until }) = until;
    }

    /// Both are at work, and quick.
    pub(super) fn heals(&self) {
        *lock(&self.pauses) = Pauses { slowest_ms: 300, writer_until: None, fold_until: None };
    }

    async fn rests(&self, until: impl Fn(&Pauses) -> Option<Instant>) {
        let most = lock(&self.pauses).slowest_ms;
        let time = lock(&self.dice).within(most / 4, most);
        sleep(Duration::from_millis(time)).await;
        while until(&lock(&self.pauses)).is_some_and(|until| until > Instant::now()) || !self.tables.is_up() {
            sleep(Duration::from_millis(500)).await;
        }
    }

    /// Writes down what the chain does. Never ends.
    pub(super) async fn writes(self: Arc<Self>) {
        let mut written = Written::default();
        loop {
            self.rests(|pauses| pauses.writer_until).await;
            self.look(&mut written);
        }
    }

    fn look(&self, written: &mut Written) {
        let watched: Vec<_> = {
            let mut store = self.tables.store();
            // Asked for before this block: from it on, nothing of it is missed.
            store.signers.iter_mut().for_each(|(_, row)| row.is_watched = true);
            store.signers.keys().map(|signer| signer.address).collect()
        };
        let mut records = Vec::new();
        let world = lock(&self.world);
        let mut store = self.tables.store();
        while let Some((top, seen)) = written.stack.last() {
            let block = &world.blocks[*top];
            if world.is_on(world.tip, block.hash, block.number) {
                break;
            }
            store.journal.blocks.insert(block.hash, false);
            records.push(Record::Back(seen.iter().rev().copied().collect()));
            written.confirmed = written.confirmed.min(block.number.saturating_sub(1));
            written.stack.pop();
        }
        let mut path = Vec::new();
        let (mut at, known) = (world.tip, written.stack.last().map_or(0, |(top, _)| *top));
        while at != known {
            path.push(at);
            at = world.blocks[at].parent;
        }
        for place in path.into_iter().rev() {
            let block = &world.blocks[place];
            let mut of_block = Vec::new();
            for included in block.included.iter().filter(|included| watched.contains(&included.tx.sender)) {
                let gas_used = U256::from(included.gas_used);
                let seen = Seen {
                    sender: included.tx.sender,
                    nonce: included.tx.nonce,
                    tx_hash: included.tx.hash,
                    block_number: block.number,
                    block_hash: block.hash,
                    succeeded: included.succeeded,
                    gas_used,
                    gas_paid_wei: gas_used * U256::from(included.gas_price),
                };
                of_block.push(seen);
                records.push(Record::Forward(Entry::Included(seen)));
            }
            store.journal.inclusions.extend(&of_block);
            store.journal.blocks.insert(block.hash, true);
            written.stack.push((place, of_block));
            records.push(Record::Forward(Entry::Block(block.number)));
            let confirmed = block.number.saturating_sub(self.judge.confirmations);
            if block.number >= self.judge.confirmations && confirmed > written.confirmed {
                written.confirmed = confirmed;
                records.push(Record::Forward(Entry::Confirm(confirmed)));
            }
            let final_number = block.number.saturating_sub(self.judge.finality);
            if block.number >= self.judge.finality && final_number > written.final_number {
                written.final_number = final_number;
                records.push(Record::Forward(Entry::Finalize(final_number)));
            }
        }
        let newest = written.stack.last().map(|(top, _)| &world.blocks[*top]);
        store.journal.newest = newest.map(|block| (block.number, block.hash));
        drop((world, store));
        lock(&self.records).extend(records);
    }

    /// Folds what is written. Never ends.
    pub(super) async fn folds(self: Arc<Self>) {
        let mut cursor = 0;
        loop {
            self.rests(|pauses| pauses.fold_until).await;
            let step = lock(&self.dice).within(1, STEP);
            let records = lock(&self.records);
            let step = records[cursor..].iter().take(usize::try_from(step).unwrap_or(1));
            let step: Vec<_> = step.cloned().collect();
            drop(records);
            let is_back = |record: &Record| matches!(record, Record::Back(_));
            for run in step.chunk_by(|one, next| is_back(one) == is_back(next)) {
                self.tables.write(|store| match &run[0] {
                    Record::Forward(_) => {
                        let entry = |record: &Record| match record {
                            Record::Forward(entry) => Some(*entry),
                            Record::Back(_) => None,
                        };
                        let entries: Vec<_> = run.iter().filter_map(entry).collect();
                        store.apply(CHAIN_ID, &entries);
                    }
                    Record::Back(_) => {
                        let seen = |record: &Record| match record {
                            Record::Back(seen) => seen.clone(),
                            Record::Forward(_) => Vec::new(),
                        };
                        let seen: Vec<_> = run.iter().flat_map(seen).collect();
                        store.undo(CHAIN_ID, &seen);
                    }
                });
                cursor += run.len();
                self.rings();
            }
        }
    }
}
