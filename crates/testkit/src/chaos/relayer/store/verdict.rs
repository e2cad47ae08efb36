//! What the chain's fold writes: from the journal alone, by compare-and-set on the state.

use alloy_primitives::{Address, B256, U256};
use plimsoll_relayer::request::SignerId;
use plimsoll_types::{AttemptPurpose, TransactionState};

use super::{Broken, Ours, Row, Store, Taken};

/// An inclusion, as the journal has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Who signed it.
    pub sender: Address,
    /// The nonce that it consumed.
    pub nonce: u64,
    /// Its hash.
    pub tx_hash: B256,
    /// Its block.
    pub block_number: u64,
    /// Its block.
    pub block_hash: B256,
    /// Whether it succeeded.
    pub succeeded: bool,
    /// Gas.
    pub gas_used: U256,
    /// Wei.
    pub gas_paid_wei: U256,
}

/// A record of the journal, as far as the relayer is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A transaction of a watched sender is in a block.
    Included(Seen),
    /// All of a block is there.
    Block(u64),
    /// A block has the confirmations.
    Confirm(u64),
    /// A block is final.
    Finalize(u64),
}

impl Store {
    /// Folds records, as `VerdictFold::apply` does: run by run of one kind.
    pub fn apply(&mut self, chain_id: u64, entries: &[Entry]) {
        let kind = std::mem::discriminant::<Entry>;
        for run in entries.chunk_by(|one, next| kind(one) == kind(next)) {
            let highest = run.iter().map(|entry| match entry {
                Entry::Included(seen) => seen.block_number,
                Entry::Block(number) | Entry::Confirm(number) | Entry::Finalize(number) => *number,
            });
            let highest = highest.max().unwrap_or_default();
            match run[0] {
                Entry::Included(_) => {
                    let seen = |entry: &Entry| match entry {
                        Entry::Included(seen) => Some(*seen),
                        _ => None,
                    };
                    let seen: Vec<_> = run.iter().filter_map(seen).collect();
                    self.included(chain_id, &seen);
                }
                Entry::Block(_) => {}
                Entry::Confirm(_) => self.confirmed(highest),
                Entry::Finalize(_) => self.finalized(highest),
            }
        }
    }

    /// Takes inclusions back, the newest first, as `VerdictFold::undo` does.
    pub fn undo(&mut self, chain_id: u64, seen: &[Seen]) {
        let at = |seen: &Seen| SignerId { chain_id, address: seen.sender };
        let is_there =
            |row: &Row, seen: &Seen| row.taken.is_some_and(|taken| taken.block_hash == seen.block_hash);
        for seen in seen {
            let place =
                self.bound_to(at(seen), seen.nonce).filter(|place| is_there(&self.rows[*place], seen));
            if let Some(place) = place.filter(|place| self.rows[*place].state == TransactionState::Confirmed)
            {
                self.turn(place, TransactionState::Mined);
            }
        }
        if self.broken != Some(Broken::NeverTakenBack) {
            for from in [TransactionState::Mined, TransactionState::Tracking] {
                seen.iter().for_each(|seen| self.take_back(at(seen), from, seen));
            }
        }
        for seen in seen {
            if let Some(signer) = self.signers.get_mut(&at(seen)) {
                signer.consumed_next = signer.consumed_next.min(seen.nonce);
            }
        }
    }

    fn take_back(&mut self, signer: SignerId, from: TransactionState, seen: &Seen) {
        let Some(place) = self.bound_to(signer, seen.nonce) else { return };
        let row = &mut self.rows[place];
        let is_it = |taken: Taken| taken.tx_hash == seen.tx_hash && taken.block_hash == seen.block_hash;
        if row.state == from && row.taken.is_some_and(is_it) {
            (row.taken, row.ours) = (None, None);
            self.turn(place, TransactionState::Tracking);
        }
    }

    fn included(&mut self, chain_id: u64, seen: &[Seen]) {
        let mined = seen.iter().filter(|seen| self.mine(seen)).count();
        if mined < seen.len() {
            seen.iter().for_each(|seen| self.displace(SignerId { chain_id, address: seen.sender }, seen));
        }
        for seen in seen {
            let signer = SignerId { chain_id, address: seen.sender };
            if let Some(signer) = self.signers.get_mut(&signer) {
                signer.consumed_next = signer.consumed_next.max(seen.nonce + 1);
            }
        }
    }

    /// Tracking → Mined, where an attempt of ours is in the block.
    fn mine(&mut self, seen: &Seen) -> bool {
        let Some((signer, ..)) = self.hashes.get(&seen.tx_hash).copied() else { return false };
        let Some(attempt) = self.attempt(seen.tx_hash).map(|row| row.attempt.clone()) else { return false };
        let Some(place) = self.places.get(&attempt.transaction_id).copied() else { return false };
        let row = &mut self.rows[place];
        let is_its = row.nonce == Some(attempt.nonce) && row.signer == signer;
        if row.state != TransactionState::Tracking || !is_its {
            return false;
        }
        let Seen { block_number, block_hash, tx_hash, succeeded, gas_used, gas_paid_wei, .. } = *seen;
        row.taken = Some(Taken { block_number, block_hash, tx_hash, succeeded });
        row.ours = Some(Ours { attempt: attempt.number, purpose: attempt.purpose, gas_used, gas_paid_wei });
        self.turn(place, TransactionState::Mined);
        match self.broken {
            Some(Broken::ConfirmedWhenSeen) => self.confirmed(block_number),
            Some(Broken::FailedWhenSeen) => self.fail(block_number),
            _ => {}
        }
        true
    }

    /// Notes by whom a nonce was consumed that a request has.
    fn displace(&mut self, signer: SignerId, seen: &Seen) {
        if self.attempt(seen.tx_hash).is_some() {
            return;
        }
        let place = self.bound_to(signer, seen.nonce);
        let Some(place) = place.filter(|place| self.rows[*place].state == TransactionState::Tracking) else {
            return;
        };
        let Seen { block_number, block_hash, tx_hash, succeeded, .. } = *seen;
        self.rows[place].taken = Some(Taken { block_number, block_hash, tx_hash, succeeded });
        self.turn(place, TransactionState::Tracking);
        if self.broken == Some(Broken::RequeuedBeforeFinality) {
            self.release(block_number);
        }
    }

    fn confirmed(&mut self, number: u64) {
        let is_it = |row: &Row| {
            row.state == TransactionState::Mined
                && row.taken.is_some_and(|taken| taken.succeeded && taken.block_number <= number)
                && row.ours.is_some_and(|ours| ours.purpose != AttemptPurpose::Cancel)
        };
        self.turn_all(is_it, |_| TransactionState::Confirmed);
    }

    fn finalized(&mut self, number: u64) {
        self.confirmed(number);
        let is_up_to = |row: &Row| row.taken.is_some_and(|taken| taken.block_number <= number);
        for row in self.rows.iter_mut().filter(|row| row.state == TransactionState::Confirmed) {
            row.is_final |= is_up_to(row);
        }
        self.fail(number);
        if self.broken == Some(Broken::MissingIsFailure) {
            self.miss();
        }
        if self.broken != Some(Broken::NotLookedUp) {
            self.displace_before(number);
        }
        self.release(number);
    }

    /// Mined → Failed, Cancelled or Expired, in blocks up to this one.
    fn fail(&mut self, number: u64) {
        let is_cancel = |row: &Row| row.ours.is_some_and(|ours| ours.purpose == AttemptPurpose::Cancel);
        let is_it = |row: &Row| {
            row.state == TransactionState::Mined
                && row
                    .taken
                    .is_some_and(|taken| taken.block_number <= number && (!taken.succeeded || is_cancel(row)))
        };
        self.turn_all(is_it, |row| {
            row.is_final = true;
            if is_cancel(row) {
                // Where no end was asked for, Postgres would refuse the whole transaction.
                return row.end_wanted.unwrap_or(TransactionState::Mined);
            }
            row.end_why = Some("it reverted".to_owned());
            TransactionState::Failed
        });
    }

    /// What is under way and in no block is called a failure.
    fn miss(&mut self) {
        let is_it = |row: &Row| row.state == TransactionState::Tracking && row.taken.is_none();
        self.turn_all(is_it, |row| {
            (row.is_final, row.end_why) = (true, Some("there is no receipt".to_owned()));
            TransactionState::Failed
        });
    }

    /// Strangers who used a nonce just before it was given, in blocks up to this one.
    fn displace_before(&mut self, number: u64) {
        for place in 0..self.rows.len() {
            let row = &self.rows[place];
            let (TransactionState::Tracking, None, Some(nonce)) = (row.state, row.taken, row.nonce) else {
                continue;
            };
            if self.signers.get(&row.signer).is_none_or(|signer| nonce >= signer.consumed_next) {
                continue;
            }
            let is_it = |seen: &&Seen| {
                (seen.sender, seen.nonce) == (row.signer.address, nonce)
                    && seen.block_number <= number
                    && self.journal.blocks.get(&seen.block_hash) == Some(&true)
                    && self.attempt(seen.tx_hash).is_none()
            };
            let found = self.journal.inclusions.iter().find(is_it).copied();
            if let Some(Seen { block_number, block_hash, tx_hash, succeeded, .. }) = found {
                self.rows[place].taken = Some(Taken { block_number, block_hash, tx_hash, succeeded });
                self.turn(place, TransactionState::Tracking);
            }
        }
    }

    /// Tracking → Pending or Replaced: whose nonce a stranger consumed in blocks up to this one.
    fn release(&mut self, number: u64) {
        for place in 0..self.rows.len() {
            let row = &self.rows[place];
            let is_up_to = row.taken.is_some_and(|taken| taken.block_number <= number);
            if row.state != TransactionState::Tracking || !is_up_to {
                continue;
            }
            let requeues = self.signers.get(&row.signer).is_some_and(|signer| signer.requeues);
            if row.request.is_none() || !requeues {
                let row = &mut self.rows[place];
                row.is_final = true;
                row.end_why = Some("another transaction of its signer took its nonce".to_owned());
                self.turn(place, TransactionState::Replaced);
            } else {
                self.unbind(place);
                self.rows[place].taken = None;
                self.turn(place, TransactionState::Pending);
            }
        }
    }

    fn turn_all(&mut self, which: impl Fn(&Row) -> bool, to: impl Fn(&mut Row) -> TransactionState) {
        for place in 0..self.rows.len() {
            if which(&self.rows[place]) {
                let mut row = self.rows[place].clone();
                let state = to(&mut row);
                self.rows[place] = row;
                self.turn(place, state);
            }
        }
    }
}
