//! Tenants: they hand requests in, again if they are not answered, and call them off. What they did is known here, whatever becomes of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use alloy_primitives::{Address, U256};
use plimsoll_relayer::request::{Call, Request, Validity};
use plimsoll_types::Context;
use time::Duration;
use uuid::Uuid;

use super::Trace;
use super::book::Tables;
use super::journal::Journal;
use super::judge::{Judge, lock, signer_id};
use super::store::Handed;
use super::story::{Asked, Does};
use super::transaction::{Effect, Pen, calldata};
use super::world::{COUNTER, GWEI};
use crate::chaos::dice::Dice;

/// Whoever is paid.
const PAID: Address = Address::repeat_byte(0x9a);

/// All tenants.
pub(super) struct Tenants {
    tables: Arc<Tables>,
    judge: Arc<Judge>,
    journal: Arc<Journal>,
    trace: Arc<Trace>,
    signers: Vec<Address>,
    handed: Mutex<Vec<Request>>,
    /// By request, the ids under which it was taken: one, if all is well.
    accepted: Mutex<BTreeMap<Uuid, Vec<Uuid>>>,
    dice: Mutex<Dice>,
    next_id: Mutex<u128>,
}

/// A tenant, by its number.
pub(super) fn tenant(number: u8) -> Uuid {
    Uuid::from_u128(0x7e_0000 + u128::from(number))
}

impl Tenants {
    pub(super) fn new(
        tables: &Arc<Tables>,
        judge: &Arc<Judge>,
        journal: &Arc<Journal>,
        pens: &[Pen],
        dice: Dice,
    ) -> Self {
        Self {
            tables: Arc::clone(tables),
            judge: Arc::clone(judge),
            journal: Arc::clone(journal),
            trace: Arc::clone(&judge.trace),
            signers: pens.iter().map(plimsoll_relayer::keys::Key::address).collect(),
            handed: Mutex::default(),
            accepted: Mutex::default(),
            dice: Mutex::new(dice),
            next_id: Mutex::new(1),
        }
    }

    /// What was taken, by request.
    pub(super) fn accepted(&self) -> BTreeMap<Uuid, Vec<Uuid>> {
        lock(&self.accepted).clone()
    }

    /// A new request.
    pub(super) fn hands_in(&self, asked: &Asked) {
        let request = self.request(asked);
        lock(&self.handed).push(request.clone());
        self.put(&request);
        // Somebody who is not sure whether it was taken.
        let again = lock(&self.dice).permille(150);
        if again {
            self.put(&request);
        }
    }

    fn request(&self, asked: &Asked) -> Request {
        let Asked { does, gas_limit, max_fee_gwei, priority, .. } = *asked;
        let request_id = {
            let handed = lock(&self.handed).len() as u128;
            Uuid::from_u128(0x4e_0000_0000 + handed)
        };
        let mut context = Context::new(request_id, "tenant");
        context.tenant_id = Some(tenant(asked.tenant));
        let (to, value, data) = match does {
            Does::Counts => (COUNTER, U256::ZERO, calldata(Effect::Counts(request_id))),
            Does::Reverts => (COUNTER, U256::ZERO, calldata(Effect::Reverts)),
            Does::Pays => (PAID, U256::ONE, calldata(Effect::None)),
        };
        let head = lock(&self.judge.world).head().number;
        let as_of_block_hash = asked.as_of.and_then(|below| {
            let number = head.checked_sub(below)?;
            let hash = lock(&self.judge.world).canonical(number)?.hash;
            // Nobody decides on a block that is not known here.
            self.tables.store().journal.blocks.get(&hash).filter(|is_canonical| **is_canonical).map(|_| hash)
        });
        let until = asked
            .until_ms
            .map(|ms| self.tables.now() + Duration::milliseconds(i64::try_from(ms).unwrap_or(i64::MAX)));
        Request {
            context,
            operation_type: "chaos".into(),
            signer: signer_id(self.signers[asked.signer]),
            call: Call { to: Some(to), value, data },
            gas_limit,
            max_fee_limit: max_fee_gwei.map(|gwei| u128::from(gwei) * GWEI),
            priority,
            validity: Validity {
                until,
                until_block: asked.until_blocks.map(|more| head + more),
                as_of_block_hash,
            },
            simulate: None,
        }
    }

    fn put(&self, request: &Request) {
        if !self.tables.is_up() {
            return self.trace.fault("handed_in_while_down");
        }
        let id = {
            let mut next = lock(&self.next_id);
            *next += 1;
            Uuid::from_u128(*next)
        };
        let handed = self.tables.write(|store| store.accept(id, request));
        let request_id = request.context.request_id;
        match handed {
            Handed::New => {
                lock(&self.accepted).entry(request_id).or_default().push(id);
                self.trace.count(|counts| counts.accepted += 1);
            }
            Handed::Known(_) => self.trace.count(|counts| counts.repeated += 1),
            Handed::Conflict(_) => self.trace.count(|counts| counts.conflicts += 1),
        }
        // Those who work it may hear of it, or find it when they look.
        if lock(&self.dice).permille(700) {
            self.journal.rings();
        }
    }

    fn one(&self, which: usize) -> Option<Request> {
        let handed = lock(&self.handed);
        let count = handed.len();
        // The latest are the ones about which something can still be done.
        (count > 0).then(|| handed[count - 1 - which % count].clone())
    }

    /// One of them is handed in again.
    pub(super) fn again(&self, which: usize) {
        if let Some(request) = self.one(which) {
            self.put(&request);
        }
    }

    /// Something else is handed in under the key of one of them.
    pub(super) fn otherwise(&self, which: usize) {
        if let Some(mut request) = self.one(which) {
            request.priority += 1;
            let id = request.context.request_id;
            if lock(&self.accepted).contains_key(&id) {
                self.put(&request);
            }
        }
    }

    /// The end of one of them is asked for.
    pub(super) fn calls_off(&self, which: usize) {
        let Some(request) = self.one(which % 12) else { return };
        let ids = lock(&self.accepted).get(&request.context.request_id).cloned().unwrap_or_default();
        let Some(id) = ids.first().copied().filter(|_| self.tables.is_up()) else { return };
        lock(&self.judge.truth).called_off.insert(id);
        if self.tables.write(|store| store.call_off(id, "the tenant says so")) {
            self.trace.count(|counts| counts.called_off += 1);
            self.journal.rings();
        }
    }
}
