//! A ledger against a checkpoint, from an export alone: what was changed, removed, reordered or added, by name.
//!
//! It is in two halves. [`Examined::examine`] looks at a posting by itself and does the hashing; it needs nothing else, so a caller may do it on as many
//! threads as there are. [`Verifier::add`] takes what came of it in the order of the file, and is cheap: the chain of the log, the tree, and
//! each account's versions and balances. Neither keeps postings: what stays in memory is an entry for each account.
//!
//! # What is found
//!
//! Each thing is compared with what was stored beside it, so that one change is one [`Break`] where it is, and not one for every row that
//! comes after. Nothing is believed for that: a report without a break means that everything that was stored is what follows from the content, and
//! that the stored hashes have the root that was signed. Somebody who changes a posting and recomputes *every* hash after it leaves no trace in the
//! rows, only another root; that one is then all that can be said, and an older checkpoint with a proof of consistency, or another export, tells where.
//!
//! An account's lines have versions, and those are the order within it. Where two postings of one account were sealed the other way round, that
//! is no break: lines are put in order by their versions, [`MAX_EARLY_LINES`] at most at a time.

mod accounts;
mod breaks;
mod examine;
mod order;
#[cfg(test)]
mod tests;

use alloy_primitives::{B256, I256};
use uuid::Uuid;

use self::accounts::Accounts;
pub use self::accounts::MAX_EARLY_LINES;
pub use self::breaks::{Break, Fault};
pub use self::examine::Examined;
use self::order::{Order, Place};
use super::checkpoint::Checkpoint;
use super::export::ExportFault;
use super::log::NO_ENTRY;
use super::tree::Frontier;

/// So many breaks are named; further ones are counted.
pub const MAX_BREAKS: usize = 1_000;

/// Goes through an export, posting by posting.
#[derive(Debug)]
pub struct Verifier {
    tenant_id: Uuid,
    checkpoint_size: u64,
    checkpoint_root: B256,
    order: Order,
    /// The hashes that the next entry may name: the stored one, and what the content gives, which is another only after a break.
    last: [B256; 2],
    tree: Frontier,
    /// Whether each entry was there when its turn came, so that `tree` is the log's.
    is_in_order: bool,
    accounts: Accounts,
    postings: u64,
    lines: u64,
    found: Found,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// How many entries the checkpoint is of.
    pub checkpoint_size: u64,
    /// How many postings there were.
    pub postings: u64,
    /// How many lines they had.
    pub lines: u64,
    /// How many accounts those are of.
    pub accounts: usize,
    /// Whether the entries' hashes, in their order, have the checkpoint's root.
    pub root_matches: bool,
    /// What does not hold: the first [`MAX_BREAKS`].
    pub breaks: Vec<Break>,
    /// How many breaks there are.
    pub break_count: u64,
}

impl Report {
    /// Whether the export is the ledger that was signed, all of it and nothing else, and its books are right.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.break_count == 0 && self.root_matches
    }
}

#[derive(Debug, Default)]
struct Found {
    breaks: Vec<Break>,
    count: u64,
}

impl Found {
    fn push(&mut self, found: Break) {
        self.count += 1;
        if self.breaks.len() < MAX_BREAKS {
            self.breaks.push(found);
        }
    }
}

impl Verifier {
    /// Of a tenant's log up to a checkpoint, whose signature has been verified. [`super::checkpoint::origin_tenant`] knows the tenant.
    #[must_use]
    pub fn new(tenant_id: Uuid, checkpoint: &Checkpoint) -> Self {
        Self {
            tenant_id,
            checkpoint_size: checkpoint.size,
            checkpoint_root: checkpoint.root,
            order: Order::default(),
            last: [NO_ENTRY; 2],
            tree: Frontier::new(),
            is_in_order: true,
            accounts: Accounts::default(),
            postings: 0,
            lines: 0,
            found: Found::default(),
        }
    }

    /// How many postings it has seen.
    #[must_use]
    pub fn postings(&self) -> u64 {
        self.postings
    }

    /// The next line of the export, or why there is no posting in it.
    pub fn add(&mut self, row: Result<Examined, ExportFault>) {
        let row = match row {
            Ok(row) => row,
            Err(fault) => return self.found.push(Break::of_export(Fault::Unreadable(fault))),
        };
        self.postings += 1;
        self.lines += row.lines.len() as u64;
        let (index, posting_id) = (row.leaf_index, row.posting_id);
        let at = |fault| Break { index: Some(index), posting_id: Some(posting_id), fault };
        for fault in row.faults {
            self.found.push(at(fault));
        }
        if row.tenant_id != self.tenant_id {
            self.found.push(at(Fault::Tenant { found: row.tenant_id }));
        }
        if index >= self.checkpoint_size {
            self.found.push(at(Fault::Beyond { size: self.checkpoint_size }));
        }
        match self.order.place(index) {
            Place::Next => {
                if !self.last.contains(&row.prev_entry_hash) {
                    self.found
                        .push(at(Fault::PrevHash { found: row.prev_entry_hash, expected: self.last[0] }));
                }
            }
            Place::AfterGap => self.is_in_order = false,
            Place::Late { after } => {
                self.is_in_order = false;
                self.found.push(at(Fault::OutOfOrder { after }));
            }
            // Its lines have been counted, or are somebody's who took its place.
            Place::Repeated => return self.found.push(at(Fault::Repeated)),
        }
        if index.checked_add(1) == Some(self.order.next()) {
            self.last = [row.entry_hash, row.computed_hash];
        }
        if self.is_in_order && index < self.checkpoint_size {
            self.tree.append(row.entry_hash);
        }
        for line in &row.lines {
            self.accounts.add(index, line, &mut |found| self.found.push(found));
        }
    }

    /// A posting that is booked and waits for its entry; after those that have one. It is examined as the entry that it would get, of which nothing is said here but what is wrong with the
    /// posting by itself and with its accounts.
    pub fn add_unsealed(&mut self, posting: Examined) {
        self.lines += posting.lines.len() as u64;
        for fault in posting.faults {
            self.found.push(Break { index: None, posting_id: Some(posting.posting_id), fault });
        }
        for line in &posting.lines {
            self.accounts.add(posting.leaf_index, line, &mut |found| self.found.push(found));
        }
    }

    /// The tree over the entries that were added so far; `None` once one was not there when its turn came.
    #[must_use]
    pub fn tree(&self) -> Option<&Frontier> {
        self.is_in_order.then_some(&self.tree)
    }

    /// Where each account stands after the lines that were added: its version, and its balance, debit-positive.
    pub fn accounts(&self) -> impl Iterator<Item = (Uuid, u64, I256)> {
        self.accounts.standings()
    }

    /// How many lines it has seen.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// After the last line.
    #[must_use]
    pub fn finish(mut self) -> Report {
        let found = &mut self.found;
        self.accounts.finish(&mut |of_account| found.push(of_account));
        for missing in self.order.missing() {
            found.push(Break::of_export(Fault::Missing { from: missing.start, to: missing.end - 1 }));
        }
        let seen = self.order.next();
        if seen < self.checkpoint_size {
            let fault = Fault::Truncated { from: seen, size: self.checkpoint_size };
            found.push(Break::of_export(fault));
        }
        let is_whole = self.is_in_order && self.tree.size() == self.checkpoint_size;
        let computed = self.tree.root();
        let root_matches = is_whole && computed == self.checkpoint_root;
        if is_whole && !root_matches {
            found.push(Break::of_export(Fault::Root { computed, expected: self.checkpoint_root }));
        }
        Report {
            checkpoint_size: self.checkpoint_size,
            postings: self.postings,
            lines: self.lines,
            accounts: self.accounts.len(),
            root_matches,
            breaks: self.found.breaks,
            break_count: self.found.count,
        }
    }
}
