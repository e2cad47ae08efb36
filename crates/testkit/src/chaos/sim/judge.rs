//! The promises that a run is held to: at each commit, at each end of the follower, and when all is well again.
//!
//! *At each commit*
//! - What is committed of a block is what is in it: every log of the followed contracts, every transaction of the watched senders.
//! - Nothing is taken back that a majority of the endpoints had all through the round that took it back; nor, while no majority shows the new
//!   branch, what one of them had that could be heard.
//! - Nothing is marked final while a majority of the endpoints has another block there all through the round, unless a majority had this one, as
//!   deep as finality is, before.
//! - What is offered to the journal continues it.
//!
//! *At each end*: the follower ends with an error only for a reason that chance gave it; it halts only if no majority had the journal's
//! final block all through the round.
//!
//! *At the end*: the journal's laws, and its events and transactions equal the chain's from the first block of interest on.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use alloy_primitives::B256;
use plimsoll_ingest::IngestError;
use plimsoll_journal::{Content, Event, Filter, NewEvent, Range, Transaction, Uncovered, WriteError};
use plimsoll_types::Completeness;
use serde_json::Value;
use tokio::time::Instant;

use super::Trace;
use super::book::{Commit, MemoryJournal, Witness};
use super::lies::Lies;
use super::network::Network;
use super::store::BlockId;
use super::story::Settings;
use crate::truth::{TruthEvent, differences};
use crate::world::{Inclusion, contracts, user};

/// The judge of one run.
pub(super) struct Judge {
    pub(super) network: Arc<Network>,
    pub(super) trace: Arc<Trace>,
    pub(super) settings: Settings,
    pub(super) lies: Arc<Lies>,
    /// What the process follows now.
    pub(super) followed: Mutex<Filter>,
}

fn truth_of(event: &Event) -> TruthEvent {
    TruthEvent {
        block_number: event.block_number,
        log_index: event.log_index,
        block_hash: event.block_hash,
        tx_hash: event.tx_hash,
        tx_index: event.tx_index,
        address: event.contract,
        topics: event.topics.to_vec(),
        data: event.data.clone(),
    }
}

fn inclusion_of(tx: &Transaction) -> Inclusion {
    (tx.block_number, tx.block_hash, tx.tx_index, tx.sender, tx.nonce, tx.succeeded)
}

impl Judge {
    /// The process follows this from now on.
    pub(super) fn follows(&self, filter: &Filter) {
        self.trace.note(format_args!(
            "{} contracts and {} senders are followed",
            filter.contracts.len(),
            filter.senders.len()
        ));
        *self.followed.lock().unwrap_or_else(PoisonError::into_inner) = filter.clone();
    }

    fn followed(&self) -> Filter {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn has_majority(&self, places: usize) -> bool {
        2 * places > self.network.places()
    }

    /// What is in these blocks is all that these events and transactions say.
    fn content(
        &self,
        proof: Completeness,
        filter: &Filter,
        blocks: &[B256],
        events: &[NewEvent],
        transactions: &[Transaction],
    ) {
        let is_of_interest = |event: &TruthEvent| {
            filter.contracts.get(&event.address).is_some_and(|start| event.block_number >= *start)
        };
        let watched: Vec<_> = self
            .settings
            .watched
            .iter()
            .copied()
            .filter(|n| filter.senders.contains_key(&user(*n)))
            .collect();
        let mut found: Vec<_> = events.iter().map(|new| truth_of(&new.event)).collect();
        found.sort_unstable();
        let mut expected: Vec<_> = blocks
            .iter()
            .flat_map(|block| self.network.with_world(|world| world.events_of(*block)))
            .filter(is_of_interest)
            .collect();
        expected.sort_unstable();
        if expected != found && !self.is_excused(proof, &expected, &found) {
            let what = differences(&expected, &found);
            self.trace.violated(format!("what is committed of {blocks:?} is not what is in it: {what:#?}"));
        }
        let expected: Vec<_> =
            blocks.iter().flat_map(|block| self.network.inclusions_of(*block, &watched)).collect();
        let found: Vec<_> = transactions.iter().map(inclusion_of).collect();
        if expected != found {
            self.trace.violated(format!(
                "watched transactions of {blocks:?} are {expected:#?}, and {found:#?} are committed"
            ));
        }
    }

    /// Whether what differs was lied about, and the follower had no way to see it.
    fn is_excused(&self, proof: Completeness, expected: &[TruthEvent], found: &[TruthEvent]) -> bool {
        let (expected, found): (BTreeSet<_>, BTreeSet<_>) =
            (expected.iter().collect(), found.iter().collect());
        proof == Completeness::Bloom
            && expected.symmetric_difference(&found).all(|event| self.lies.is_unseen(event.block_hash))
    }

    fn range(&self, filter: &Filter, first: u64, range: &Range) {
        let Range { from, end, hashes, events, transactions, .. } = range;
        let first = first.max(self.settings.start_block).max(1);
        if !self.network.has((end.number, end.hash)) {
            return self.trace.violated(format!("the range ends with {end:?}, which is of another chain"));
        }
        let blocks: Vec<_> =
            (first..=end.number).filter_map(|number| self.network.ancestor(end.hash, number)).collect();
        let linked: Vec<_> =
            (*from..=end.number).filter_map(|number| self.network.ancestor(end.hash, number)).collect();
        if !hashes.is_empty() && *hashes != linked {
            self.trace.violated(format!("the range {from} to {end:?} is certified for other blocks"));
        }
        self.content(self.settings.backfill, filter, &blocks, events, transactions);
        self.trace.count(|counts| counts.ranges += 1);
    }

    fn replaced(&self, gone: &[BlockId], contents: &[Content], marked: Option<BlockId>, since: Instant) {
        for Content { block, events, transactions, .. } in contents {
            if self.network.has((block.number, block.hash)) {
                self.content(self.settings.head, &self.followed(), &[block.hash], events, transactions);
            } else {
                self.trace.violated(format!("{block:?} is of another chain"));
            }
        }
        if let Some(lowest) = gone.first() {
            self.taken_back(
                *lowest,
                contents.first().map(|content| (content.block.number, content.block.hash)),
                since,
            );
            self.trace.count(|counts| {
                counts.reorgs += 1;
                counts.blocks_taken_back += gone.len() as u64;
            });
        }
        if let Some(marked) = marked {
            self.marked_final(marked, since);
        }
    }

    /// `lowest` is the lowest block that is taken back, `new` the one that comes in its place.
    fn taken_back(&self, lowest: BlockId, new: Option<BlockId>, since: Instant) {
        let (number, hash) = lowest;
        let mut stood = self.network.stood_by(lowest, since);
        stood.retain(|place| self.network.could_be_heard(*place, number, since));
        if self.has_majority(stood.len()) {
            return self.trace.violated(format!(
                "block {number} {hash} is taken back, and endpoints {stood:?} had it all the time, which are the majority"
            ));
        }
        let Some(new) = new else { return };
        let shown = self.network.have_shown(new, since);
        if !self.has_majority(shown.len()) && !stood.is_empty() {
            self.trace.violated(format!(
                "block {number} {hash} is taken back for {}, which only {shown:?} had, and endpoints {stood:?} had the old one all the time",
                new.1
            ));
        }
    }

    fn marked_final(&self, block: BlockId, since: Instant) {
        let (number, hash) = block;
        let mut against = self.network.stood_against(block, since);
        against.retain(|place| self.network.could_be_heard(*place, number, since));
        let once = self.network.have_shown_deep(block, self.settings.finality_depth);
        if self.has_majority(against.len()) && !self.has_majority(once.len()) {
            self.trace.violated(format!(
                "block {number} {hash} is marked final, and endpoints {against:?} had another all the time, which are the majority"
            ));
        }
    }

    /// The follower ended by itself.
    pub(super) fn ended(&self, error: &IngestError) {
        let is_explained = match error {
            // Only somebody who was replaced by another chain is told to be one, and he was.
            IngestError::WrongChain { .. } | IngestError::Journal(WriteError::DifferentGenesis { .. }) => {
                self.network.was_foreign()
            }
            IngestError::Rpc(_) | IngestError::Inconsistent { .. } => true,
            IngestError::Contradiction { endpoint, .. } => self.lies.have_been_told_by(endpoint),
            IngestError::Journal(WriteError::Database(_) | WriteError::Stale { .. }) => true,
            _ => false,
        };
        if !is_explained {
            self.trace.violated(format!("the follower ends, and nothing explains it: {error}"));
        }
    }

    /// The follower found a reorg past finality, in the round that began then.
    pub(super) fn halted(&self, final_block: BlockId, since: Instant) {
        let (number, hash) = final_block;
        let mut stood = self.network.stood_by(final_block, since);
        stood.retain(|place| self.network.could_be_heard(*place, number, since));
        if self.has_majority(stood.len()) {
            self.trace.violated(format!(
                "the chain halts, and endpoints {stood:?}, which are the majority, had the final block {number} {hash} all the time"
            ));
        }
        self.trace.count(|counts| counts.halts += 1);
    }

    /// All is well, and the journal has come to rest: with this block at its end. What nobody was asked about is told apart.
    pub(super) fn at_rest(&self, journal: &MemoryJournal, tip: BlockId) {
        let gaps = self.uncovered(journal, tip.0);
        let is_asked = |address, number| !gaps.iter().any(|gap| gap.contains(address, number));
        if let Err(broken) = journal.read(crate::laws::Journal::check) {
            self.trace.violated(format!("a law of the journal is broken: {broken}"));
        }
        let first = self.settings.start_block.max(1);
        let blocks: Vec<_> =
            (first..=tip.0).filter_map(|number| self.network.ancestor(tip.1, number)).collect();
        let mut expected: Vec<_> = blocks
            .iter()
            .flat_map(|block| self.network.with_world(|world| world.events_of(*block)))
            .filter(|event| is_asked(event.address, event.block_number))
            .collect();
        expected.sort_unstable();
        let mut found: Vec<_> = journal.live_events().iter().map(truth_of).collect();
        found.sort_unstable();
        // What was believed at one place is in the journal at the other.
        let proof = self.settings.head.min(self.settings.backfill);
        if expected != found && !self.is_excused(proof, &expected, &found) {
            let what = differences(&expected, &found);
            self.trace.violated(format!("the journal's events are not the chain's: {what:#?}"));
        }
        let expected: Vec<_> = blocks
            .iter()
            .flat_map(|block| self.network.inclusions_of(*block, &self.settings.watched))
            .filter(|(number, _, _, sender, ..)| is_asked(*sender, *number))
            .collect();
        let mut found: Vec<_> = journal.live_transactions().iter().map(inclusion_of).collect();
        // What came late stands at the end.
        found.sort_by_key(|(number, _, index, ..)| (*number, *index));
        if expected != found {
            let watched: Vec<_> = self.settings.watched.iter().map(|n| user(*n)).collect();
            self.trace.violated(format!(
                "transactions of {watched:?} are {expected:#?} on the chain, and {found:#?} in the journal"
            ));
        }
    }

    /// What of all that is to be followed, up to this block, nobody was asked about.
    pub(super) fn uncovered(&self, journal: &MemoryJournal, head: u64) -> Vec<Uncovered> {
        let wanted = Filter {
            contracts: contracts(self.settings.start_block)
                .iter()
                .map(|it| (it.address, it.start_block))
                .collect(),
            senders: self.settings.watched.iter().map(|n| (user(*n), self.settings.start_block)).collect(),
        };
        journal.uncovered(&wanted, head)
    }

    /// What is not marked in a journal at rest: what has enough blocks on top is confirmed, and final.
    pub(super) fn missing_mark(&self, journal: &MemoryJournal, tip: BlockId) -> Option<String> {
        let Settings { confirmations, finality_depth, start_block, .. } = &self.settings;
        let (confirmed, last_final) = journal.marks();
        let due = |depth: u64| tip.0.checked_sub(depth).filter(|number| number >= start_block);
        let marks =
            [("confirmed", confirmed, due(*confirmations)), ("final", last_final, due(*finality_depth))];
        let missing = marks.into_iter().find(|(_, mark, due)| mark < due);
        missing.map(|(what, mark, due)| {
            format!("with the head at {}, {due:?} is {what}, and {mark:?} is marked", tip.0)
        })
    }

    /// Who lied, and whether he was named.
    pub(super) fn named(&self, named: &BTreeSet<usize>) {
        if self.settings.head.min(self.settings.backfill) < Completeness::Receipts {
            return;
        }
        for (place, count) in self.lies.by_place() {
            // An answer that was cut off, or that nobody waited for any more, is not looked at.
            if count >= 3 && !named.contains(&place) {
                self.trace.violated(format!("endpoint {place} lied {count} times, and was not named"));
            }
        }
    }
}

impl Witness for Judge {
    fn sees(&self, commit: &Commit<'_>, since: Instant) {
        match commit {
            Commit::Finalized(block) => {
                self.trace.note(format_args!("commit: final {} {}", block.number, block.hash));
                if !self.network.has((block.number, block.hash)) {
                    self.trace.violated(format!("{block:?} is marked final, and is of another chain"));
                }
                self.marked_final((block.number, block.hash), since);
            }
            Commit::Range { first, range } => {
                self.trace.note(format_args!("commit: {first} to {} {}", range.end.number, range.end.hash));
                self.count(range.events.len(), range.transactions.len());
                self.range(&self.followed(), *first, range);
            }
            Commit::Late { filter, range } => {
                self.trace.note(format_args!(
                    "commit, late: {} to {} {}",
                    range.from, range.end.number, range.end.hash
                ));
                self.count(range.events.len(), range.transactions.len());
                self.trace.count(|counts| counts.late_ranges += 1);
                self.range(filter, range.from, range);
            }
            Commit::Replaced { gone, contents, marked } => {
                let new: Vec<_> = contents.iter().map(|c| (c.block.number, c.block.hash)).collect();
                self.trace.note(format_args!("commit: {gone:?} gone, {new:?} new, {marked:?} final"));
                let (events, transactions) = (
                    contents.iter().map(|content| content.events.len()).sum(),
                    contents.iter().map(|content| content.transactions.len()).sum(),
                );
                self.count(events, transactions);
                self.replaced(gone, contents, *marked, since);
            }
        }
    }

    fn notes(&self, kind: &str, detail: &Value) {
        self.trace.note(format_args!("anomaly: {kind} {detail}"));
        let is_explained = kind == "endpoint_contradiction"
            && detail["endpoint"].as_str().is_some_and(|endpoint| self.lies.have_been_told_by(endpoint));
        if !is_explained {
            self.trace.violated(format!("an anomaly that nobody is the cause of: {kind} {detail}"));
        }
    }

    fn refuses(&self, error: &WriteError) {
        self.trace.note(format_args!("the journal refuses: {error}"));
        if !matches!(error, WriteError::Stale { .. }) {
            self.trace
                .violated(format!("the follower offers the journal what does not continue it: {error}"));
        }
    }
}

impl Judge {
    fn count(&self, events: usize, transactions: usize) {
        self.trace.count(|counts| {
            counts.commits += 1;
            counts.events += events as u64;
            counts.transactions += transactions as u64;
        });
    }
}
