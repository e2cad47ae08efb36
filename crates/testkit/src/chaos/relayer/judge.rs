//! What must hold, read from the chain and from what was handed in, never from what the relayer believes.
//!
//! Of each change of a state it is asked, at the moment at which it is committed, whether the chain bears it out; of all bytes that a node is given, whether
//! they were committed; and when all has come to rest, whether each request took effect as its end says, and no nonce is left open.

mod rest;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use alloy_primitives::{B256, U256};
use plimsoll_relayer::request::SignerId;
use plimsoll_types::{AttemptPurpose, TransactionState};
use time::OffsetDateTime;
use uuid::Uuid;

use super::Trace;
use super::book::Witness;
use super::store::{Row, Store, Taken};
use super::transaction::{Effect, effect};
use super::world::{CHAIN_ID, Included, World};

/// So often at least must nodes have called bytes hopeless before they are given up.
const HOPELESS: u32 = 3;

/// What tenants did, and nodes said, as it was.
#[derive(Debug, Default)]
pub(super) struct Truth {
    /// Ends that were asked for.
    pub(super) called_off: BTreeSet<Uuid>,
    /// Whether the counter ever refused.
    pub(super) refused: bool,
    /// How often nodes called these bytes hopeless.
    pub(super) hopeless: BTreeMap<B256, u32>,
    /// The highest block that any node showed.
    pub(super) head: u64,
}

/// Holds what is done against what is true.
#[derive(Debug)]
pub(super) struct Judge {
    pub(super) world: Arc<Mutex<World>>,
    pub(super) trace: Arc<Trace>,
    pub(super) truth: Mutex<Truth>,
    pub(super) confirmations: u64,
    pub(super) finality: u64,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Judge {
    /// A node is given bytes by one of ours.
    pub(super) fn arrives(&self, store: &Store, tx_hash: B256, raw: &[u8]) {
        match store.attempt(tx_hash) {
            Some(row) if *row.attempt.raw == *raw => {}
            _ => self.trace.violated(format!("a node is given {tx_hash}, which is not committed")),
        }
    }

    /// The block in which this happened, if it is one, and what happened there.
    fn included(world: &World, signer: SignerId, taken: &Taken) -> Option<Included> {
        let block = world.block(taken.block_hash).filter(|block| block.number == taken.block_number)?;
        let included = block.included.iter().find(|included| included.tx.hash == taken.tx_hash)?;
        let is_it = included.tx.sender == signer.address && included.succeeded == taken.succeeded;
        is_it.then(|| included.clone())
    }

    /// The highest number that is final by all that was ever shown.
    fn final_number(&self, world: &World) -> Option<u64> {
        world.highest.checked_sub(self.finality)
    }

    /// No attempt of this row at another nonce than its own took effect, or ever can.
    fn is_free(&self, store: &Store, world: &World, row: &Row) -> Result<(), String> {
        let sent = self.final_number(world).and_then(|number| world.canonical(number));
        let final_nonce = |signer: SignerId| {
            let account = sent.and_then(|block| block.state.accounts.get(&signer.address));
            account.map_or(0, |account| account.nonce)
        };
        let of_row = store.attempts.iter().filter(|(_, attempt)| attempt.attempt.transaction_id == row.id);
        for ((signer, nonce, _), attempt) in of_row {
            if (*signer, Some(*nonce)) == (row.signer, row.nonce) {
                continue;
            }
            if *nonce >= final_nonce(*signer) {
                return Err(format!("its attempt at nonce {nonce} may still be included"));
            }
            if world.is_included(attempt.attempt.tx_hash) {
                return Err(format!("its attempt at nonce {nonce} is included"));
            }
        }
        Ok(())
    }

    /// Whether the chain bears this change out.
    fn bears(&self, store: &Store, row: &Row, now: OffsetDateTime) -> Result<(), String> {
        use TransactionState as S;
        let world = lock(&self.world);
        let world = &*world;
        match (row.state, row.nonce) {
            (S::Pending | S::Tracking, _) => self.is_free(store, world, row),
            (S::Mined, Some(_)) => self.inclusion(world, row).map(drop),
            (S::Confirmed, Some(_)) => {
                let (taken, included) = self.inclusion(world, row)?;
                if !included.succeeded {
                    return Err("it did not succeed".to_owned());
                }
                let deep = taken.block_number + self.confirmations;
                let is_deep =
                    world.ever(deep).any(|tip| world.is_on(tip, taken.block_hash, taken.block_number));
                if is_deep { Ok(()) } else { Err("its block never had the confirmations".to_owned()) }
            }
            (S::Failed | S::Cancelled | S::Expired | S::Replaced, Some(_)) => {
                self.end_in_a_block(store, world, row)
            }
            (_, None) => {
                self.is_free(store, world, row)?;
                self.end_without_a_block(world, row, now)
            }
        }
    }

    fn inclusion(&self, world: &World, row: &Row) -> Result<(Taken, Included), String> {
        let taken = row.taken.ok_or("nothing consumed its nonce")?;
        let included = Self::included(world, row.signer, &taken).ok_or("no block has that")?;
        if Some(included.tx.nonce) != row.nonce {
            return Err("it is included at another nonce".to_owned());
        }
        Ok((taken, included))
    }

    fn end_in_a_block(&self, store: &Store, world: &World, row: &Row) -> Result<(), String> {
        use TransactionState as S;
        let (taken, included) = self.inclusion(world, row)?;
        let is_final = self.final_number(world).is_some_and(|last| taken.block_number <= last)
            && world.is_on(world.tip, taken.block_hash, taken.block_number);
        if !is_final {
            return Err("its block is not final".to_owned());
        }
        let attempt = store.attempt(taken.tx_hash).map(|row| &row.attempt);
        let does_nothing = effect(&included.tx.data) == Effect::None && included.tx.value == U256::ZERO;
        let is_cancel = does_nothing
            && attempt.is_some_and(|attempt| attempt.purpose == AttemptPurpose::Cancel)
            && row.end_wanted == Some(row.state);
        let is_right = match row.state {
            S::Failed => {
                attempt.is_some() && (!included.succeeded || is_cancel && self.was_hopeless(store, row))
            }
            S::Cancelled => is_cancel && lock(&self.truth).called_off.contains(&row.id),
            S::Expired => is_cancel,
            S::Replaced => {
                let requeues = store.signers.get(&row.signer).is_some_and(|signer| signer.requeues);
                attempt.is_none() && (row.request.is_none() || !requeues)
            }
            _ => false,
        };
        if is_right { Ok(()) } else { Err("the chain says otherwise".to_owned()) }
    }

    fn was_hopeless(&self, store: &Store, row: &Row) -> bool {
        let truth = lock(&self.truth);
        let of_row = store.attempts.values().filter(|attempt| attempt.attempt.transaction_id == row.id);
        let told = of_row.filter_map(|attempt| truth.hopeless.get(&attempt.attempt.tx_hash));
        told.sum::<u32>() >= HOPELESS
    }

    fn end_without_a_block(&self, world: &World, row: &Row, now: OffsetDateTime) -> Result<(), String> {
        let Some(request) = &row.request else { return Err("a fill that fills nothing".to_owned()) };
        let truth = lock(&self.truth);
        let validity = request.validity;
        let is_right = match row.state {
            TransactionState::Cancelled => truth.called_off.contains(&row.id),
            TransactionState::Failed => {
                let is_odd_gas = request.gas_limit.is_some_and(|gas| !(22_000..=30_000_000).contains(&gas));
                effect(&request.call.data) == Effect::Reverts || truth.refused || is_odd_gas
            }
            TransactionState::Expired => {
                let has_left = |hash: B256| world.was_left(hash);
                validity.until.is_some_and(|until| until <= now)
                    || validity.until_block.is_some_and(|last| truth.head >= last)
                    || validity.as_of_block_hash.is_some_and(has_left)
            }
            _ => false,
        };
        if is_right { Ok(()) } else { Err("nothing is known that it could end for".to_owned()) }
    }
}

impl Witness for Judge {
    fn committed(&self, store: &mut Store, under: Option<(SignerId, i64)>, now: OffsetDateTime) {
        if let Some((signer, token)) = under
            && !store.is_in_force(signer, token, now)
        {
            self.trace
                .violated(format!("something is written under the token {token}, which is not in force"));
        }
        for (place, before) in std::mem::take(&mut store.changes) {
            let row = &store.rows[place];
            let from = before.map_or("nothing", TransactionState::as_str);
            let end = row.state.is_end().then_some(row.end_why.as_deref()).flatten().unwrap_or_default();
            self.trace.note(format_args!("#{place}: {from} → {} {:?} {end}", row.state, row.nonce));
            let counted = row.state.as_str();
            self.trace.count(|counts| *counts.states.entry(counted).or_default() += 1);
            if before == Some(TransactionState::Confirmed) {
                self.trace.count(|counts| counts.revised += 1);
            }
            if before == Some(TransactionState::Tracking) && row.state == TransactionState::Pending {
                self.trace.count(|counts| counts.requeued += 1);
            }
            let held = store.check(place).and_then(|()| is_below_the_next(store, row));
            let held = held.and_then(|()| is_given_by_who_may(store, row, before));
            let held = held.and_then(|()| self.bears(store, row, now));
            if let Err(why) = held {
                self.trace.violated(format!("#{place} becomes {}: {why}", row.state));
            }
        }
        let doubled = lock(&self.world).doubled.first().copied();
        if let Some(id) = doubled {
            self.trace.violated(format!("request {id} took effect twice on one branch"));
        }
    }
}

/// What has a nonce has one below the next: of that depends that no nonce is given twice, and that each below it is filled.
fn is_below_the_next(store: &Store, row: &Row) -> Result<(), String> {
    let next = store.signers.get(&row.signer).map_or(0, |signer| signer.next_nonce);
    let is_below = row.nonce.is_none_or(|nonce| nonce < next);
    if is_below { Ok(()) } else { Err(format!("it has nonce {:?}, and the next one is {next}", row.nonce)) }
}

/// Who hands over to another gives no nonce to what waits.
fn is_given_by_who_may(store: &Store, row: &Row, before: Option<TransactionState>) -> Result<(), String> {
    let is_given = (before, row.state) == (Some(TransactionState::Pending), TransactionState::Tracking);
    let hands_over = store.signers.get(&row.signer).is_some_and(|signer| signer.rotated_to.is_some());
    if is_given && hands_over { Err("its signer hands over to another".to_owned()) } else { Ok(()) }
}

/// The chain's id, as signers have it.
pub(super) fn signer_id(address: alloy_primitives::Address) -> SignerId {
    SignerId { chain_id: CHAIN_ID, address }
}
