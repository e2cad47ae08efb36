//! When all has come to rest: each request, each nonce, and what the book says of them.

use std::collections::BTreeMap;

use plimsoll_relayer::request::SignerId;
use plimsoll_types::TransactionState;
use uuid::Uuid;

use super::{Judge, lock};
use crate::chaos::relayer::store::{Row, Store};
use crate::chaos::relayer::transaction::{Effect, effect};
use crate::chaos::relayer::world::World;

impl Judge {
    /// What still has to come before all is at rest; none: it is.
    pub(in crate::chaos::relayer) fn awaited(&self, store: &Store) -> Option<String> {
        let is_over = |row: &Row| match row.state {
            TransactionState::Confirmed => row.is_final,
            state => state.is_end(),
        };
        if let Some(place) = store.rows.iter().position(|row| !is_over(row)) {
            let row = &store.rows[place];
            return Some(format!("#{place} is {}, nonce {:?}, {:?}", row.state, row.nonce, row.taken));
        }
        let world = lock(&self.world);
        store.signers.iter().find_map(|(signer, row)| {
            let on_chain = sent(&world, *signer);
            // Before it sends anything, nobody tells of what it had sent.
            let is_told = row.consumed_next == on_chain || row.consumed_next == 0 && row.next_nonce == 0;
            let is_behind = row.next_nonce > on_chain || !is_told;
            is_behind.then(|| {
                format!("{signer}: the next nonce is {}, and {on_chain} on the chain", row.next_nonce)
            })
        })
    }

    /// All has come to rest: what is true?
    pub(in crate::chaos::relayer) fn at_rest(&self, store: &Store, accepted: &BTreeMap<Uuid, Vec<Uuid>>) {
        let broken = {
            let world = lock(&self.world);
            self.requests(store, &world, accepted)
                .or_else(|| self.nonces(store, &world))
                .or_else(|| rows(store, &world))
        };
        if let Some(broken) = broken {
            self.trace.violated(broken);
        }
    }

    /// Each request took effect as often as its end says.
    fn requests(&self, store: &Store, world: &World, accepted: &BTreeMap<Uuid, Vec<Uuid>>) -> Option<String> {
        let effects = &world.head().state.effects;
        for (request_id, ids) in accepted {
            let rows: Vec<_> = ids.iter().filter_map(|id| store.row(*id)).collect();
            if rows.len() != 1 || ids.len() != 1 {
                return Some(format!("request {request_id} is on record {} times", rows.len()));
            }
            let row = rows[0];
            let counts = row.request.as_ref().map(|request| effect(&request.call.data));
            let is_counted = matches!(counts, Some(Effect::Counts(_)));
            let expected = u64::from(row.state == TransactionState::Confirmed && is_counted);
            let count = effects.get(request_id).copied().unwrap_or_default();
            self.trace.count(|counts| counts.effects += count);
            if count != expected {
                return Some(format!(
                    "request {request_id} is {} and took effect {count} times: {row:?}",
                    row.state
                ));
            }
        }
        None
    }

    /// Each nonce has one request, and none was left open.
    fn nonces(&self, store: &Store, world: &World) -> Option<String> {
        let mut owners: BTreeMap<(SignerId, u64), Uuid> = BTreeMap::new();
        for ((signer, nonce, _), row) in &store.attempts {
            let id = row.attempt.transaction_id;
            if *owners.entry((*signer, *nonce)).or_insert(id) != id {
                return Some(format!("nonce {nonce} of {signer} has attempts of several requests"));
            }
        }
        store.signers.iter().find_map(|(signer, row)| {
            let (on_chain, told) = (sent(world, *signer), row.consumed_next);
            // Before it was watched, nobody told of it.
            let is_told = told == on_chain || told == 0 && row.next_nonce == 0;
            let is_right = row.next_nonce <= on_chain && is_told;
            (!is_right).then(|| {
                format!(
                    "{signer}: {on_chain} on the chain, {told} by the journal, {} in the book",
                    row.next_nonce
                )
            })
        })
    }
}

/// What the book says of each row is on the canonical chain.
fn rows(store: &Store, world: &World) -> Option<String> {
    for (place, row) in store.rows.iter().enumerate() {
        let (Some(taken), Some(nonce)) = (row.taken, row.nonce) else {
            if row.state == TransactionState::Confirmed || row.taken.is_some() {
                return Some(format!("#{place} is {} without a block and a nonce", row.state));
            }
            continue;
        };
        let included = Judge::included(world, row.signer, &taken);
        let is_there = world.is_on(world.tip, taken.block_hash, taken.block_number)
            && included.is_some_and(|included| included.tx.nonce == nonce);
        if !is_there {
            return Some(format!("#{place} is {}, and the chain does not have {taken:?}", row.state));
        }
    }
    None
}

/// How many transactions of a signer are on the canonical chain.
fn sent(world: &World, signer: SignerId) -> u64 {
    world.head().state.accounts.get(&signer.address).map_or(0, |account| account.nonce)
}
