//! A batch of records, folded in memory: no I/O, so that every rule can be tested on a table.
//!
//! [`Batch::read`] decodes and pairs; the caller then gives it the mirror rows that it asks for; [`Batch::fold`] goes through the
//! events in order and leaves, for each, what goes into the apply log, and for each key the row that the mirror ends with.
//! Pairing looks ahead within a transaction (a push may follow the version that it produced). That is sound because a block is applied,
//! and taken back, as a whole.
//!
//! What comes late ([`Record::is_late`]) is in a batch of its own. It enters the mirror where that has nothing later, and else the logs alone; and
//! what the undo stack would restore beneath the mirror's row ([`beneath`]).

mod beneath;
mod item;
mod rules;

use alloy_primitives::map::{Entry, HashMap};
use alloy_primitives::{Address, hex};
use plimsoll_journal::{Event, Record};
use plimsoll_types::ApplyStatus;
use serde_json::Value;

use self::beneath::Beneath;
pub(crate) use self::item::{Item, Outcome, Says};
use crate::cache::PositionCache;
use crate::links::{Answer, Pairing, Push};
use crate::plan::{Action, Plan, Plans, write_key, write_object};
use crate::reason::{Reason, Reasons};
use crate::row::{MirrorKey, MirrorRow, PositionKey, PositionRow, Stamp};

/// The journal's order was broken.
pub(crate) const REORG_CONFLICT: &str = "reorg_conflict";

/// Revert data longer than this is cut in the apply log; all of it is in the raw store.
const MAX_RAW_REASON_BYTES: usize = 4096;

/// A record that cannot be folded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Poison {
    pub(crate) seq: i64,
    pub(crate) reason: String,
}

/// A row of `position_cache_mirror` that the batch touches.
#[derive(Clone, Copy, Debug)]
struct PositionSlot {
    row: Option<PositionRow>,
    /// Whether the table has a row of this key.
    exists: bool,
    changed: bool,
}

/// Rows to write.
#[derive(Clone, Debug, Default)]
pub(crate) struct ChangedPositions {
    pub(crate) new: Vec<(PositionKey, PositionRow)>,
    pub(crate) existing: Vec<(PositionKey, PositionRow)>,
}

/// A row of `view_mirror` that the batch touches.
#[derive(Clone, Debug)]
struct MirrorSlot {
    key: MirrorKey,
    loaded: Option<MirrorRow>,
    must_load: bool,
    last: Option<usize>,
}

/// Something that should not have happened.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Anomaly {
    pub(crate) kind: &'static str,
    pub(crate) journal_seq: i64,
    pub(crate) detail: Value,
}

/// What [`Batch::fold`] found beside the items' outcomes.
#[derive(Debug, Default)]
pub(crate) struct Folded {
    /// One a record.
    pub(crate) undos: Vec<Option<Value>>,
    pub(crate) anomalies: Vec<Anomaly>,
    /// The first key of each contract that was first seen at a later version than 1.
    pub(crate) late_starts: HashMap<Address, Anomaly>,
}

/// Events, and the mirror rows that they touch.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    records: usize,
    settled: Option<u64>,
    pub(crate) items: Vec<Item<'a>>,
    position_keys: Vec<PositionKey>,
    positions: Vec<PositionSlot>,
    mirrors: Vec<MirrorSlot>,
    /// What the oldest entries of the undo stack would restore, by key; only of what comes late.
    beneath: Beneath,
}

impl<'a> Batch<'a> {
    /// Decodes the events of `records` and pairs pushes with answers. Nothing at or below block `settled` is taken back.
    pub(crate) fn read(
        plans: &'a Plans,
        reasons: &Reasons,
        records: &'a [Record],
        settled: Option<u64>,
    ) -> Result<Self, Poison> {
        let mut batch = Self {
            records: records.len(),
            settled,
            items: Vec::with_capacity(records.len()),
            position_keys: Vec::new(),
            positions: Vec::new(),
            mirrors: Vec::new(),
            beneath: Beneath::default(),
        };
        let mut index = Index::default();
        for (at, record) in records.iter().enumerate() {
            if let Some(event) = record.event() {
                let item = batch
                    .item(plans, reasons, &mut index, at, record, event)
                    .map_err(|reason| Poison { seq: record.seq, reason })?;
                batch.items.push(item);
            }
        }
        batch.pair(plans)?;
        Ok(batch)
    }

    fn item(
        &mut self,
        plans: &'a Plans,
        reasons: &Reasons,
        index: &mut Index,
        at: usize,
        record: &'a Record,
        event: &'a Event,
    ) -> Result<Item<'a>, String> {
        let plan = plans.of(event);
        let mut item = Item { at, ..Item::bare(record, event, plan, Outcome::plain(ApplyStatus::Ignored)) };
        let Some(plan) = plan else { return Ok(item) };
        item.user = plan.user(event)?;
        item.asset = plan.asset(event)?;
        item.request_id = plan.request_id(event)?;
        item.seq = plan.seq(event)?;
        match &plan.action {
            Action::Position { collateral, debt, version } => {
                item.says = Says::Position {
                    slot: self.position_slot(index, plan, event)?,
                    collateral: collateral.u256(event)?,
                    debt: debt.u256(event)?,
                    version: version.u64(event)?,
                };
            }
            Action::Replay => {
                item.says = Says::Replay { slot: self.position_slot(index, plan, event)?, version: None };
            }
            Action::Push { .. } => item.says = Says::Push,
            Action::Failure { view, reason, other } => {
                let raw = reason.bytes(event)?;
                let Reason { code, text } = reasons.read(raw);
                item.says = Says::Failure { view: view.address(event)?, code };
                let mut detail = Vec::new();
                write_object(other, event, &mut detail)?;
                let mut detail: Value = serde_json::from_slice(&detail).map_err(|error| error.to_string())?;
                detail["reason"] = text.into();
                detail["raw"] = hex::encode_prefixed(&raw[..raw.len().min(MAX_RAW_REASON_BYTES)]).into();
                if raw.len() > MAX_RAW_REASON_BYTES {
                    detail["raw_bytes"] = raw.len().into();
                }
                item.outcome = Outcome::rejected(code, detail);
            }
            Action::Mirror { key, .. } => {
                let mut text = Vec::new();
                write_key(key, event, &mut text)?;
                let text = String::from_utf8(text).map_err(|error| error.to_string())?;
                let key = MirrorKey { contract: event.contract, view: plan.view.into(), key: text };
                item.says = Says::Mirror { slot: self.mirror_slot(index, key, record, event) };
                item.outcome = Outcome::plain(ApplyStatus::Applied);
            }
            Action::Trail { .. } => {
                item.says = Says::Trail;
                item.outcome = Outcome::plain(ApplyStatus::Applied);
            }
            Action::Ignored => {}
        }
        Ok(item)
    }

    fn position_slot(&mut self, index: &mut Index, plan: &Plan, event: &Event) -> Result<usize, String> {
        let (user, asset) = plan.user_and_asset(event)?;
        let key = PositionKey { contract: event.contract, user, asset };
        Ok(*index.positions.entry(key).or_insert_with(|| {
            self.position_keys.push(key);
            self.positions.push(PositionSlot { row: None, exists: false, changed: false });
            self.positions.len() - 1
        }))
    }

    fn mirror_slot(&mut self, index: &mut Index, key: MirrorKey, record: &Record, event: &Event) -> usize {
        let must_load = self.is_undoable(event) || record.is_late();
        let slot = match index.mirrors.entry(key) {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => {
                self.mirrors.push(MirrorSlot {
                    key: entry.key().clone(),
                    loaded: None,
                    must_load: false,
                    last: None,
                });
                *entry.insert(self.mirrors.len() - 1)
            }
        };
        self.mirrors[slot].must_load |= must_load;
        slot
    }

    fn is_undoable(&self, event: &Event) -> bool {
        self.settled.is_none_or(|settled| event.block_number > settled)
    }

    fn pair(&mut self, plans: &Plans) -> Result<(), Poison> {
        let mut pairing = Pairing::default();
        let mut transaction = None;
        for (i, item) in self.items.iter().enumerate() {
            let here = Some((item.event.block_hash, item.event.tx_hash));
            if transaction != here {
                pairing.end_transaction();
                transaction = here;
            }
            let Some(key) = item.user.zip(item.asset) else { continue };
            match &item.says {
                Says::Push => {
                    let values = match item.plan.map(|plan| &plan.action) {
                        Some(Action::Push { values: Some((collateral, debt)) }) => Some(
                            collateral
                                .u256(item.event)
                                .and_then(|collateral| Ok((collateral, debt.u256(item.event)?)))
                                .map_err(|reason| Poison { seq: item.record.seq, reason })?,
                        ),
                        _ => None,
                    };
                    pairing.push(key, i, Push { values, request_id: item.request_id });
                }
                Says::Position { collateral, debt, .. } => {
                    pairing.answer(key, i, Answer::Wrote { values: (*collateral, *debt) });
                }
                Says::Replay { .. } => {
                    pairing.answer(key, i, Answer::Replayed { request_id: item.request_id });
                }
                Says::Failure { view, .. } if plans.may_hold_positions(view) => {
                    pairing.answer(key, i, Answer::Failed);
                }
                _ => {}
            }
        }
        for pair in pairing.into_pairs() {
            self.items[pair.push].counterpart = Some(pair.answer);
            self.items[pair.answer].counterpart = Some(pair.push);
        }
        Ok(())
    }

    /// Takes what is known of the keys' rows from the cache, and returns the slots and keys of the others, to be loaded.
    pub(crate) fn recall_positions(&mut self, cache: &PositionCache) -> (Vec<usize>, Vec<PositionKey>) {
        let mut unknown = (Vec::new(), Vec::new());
        for slot in 0..self.position_keys.len() {
            let key = self.position_keys[slot];
            if let Some(row) = cache.get(&key) {
                self.set_position(slot, *row);
            } else {
                unknown.0.push(slot);
                unknown.1.push(key);
            }
        }
        unknown
    }

    pub(crate) fn set_position(&mut self, slot: usize, row: PositionRow) {
        self.positions[slot] = PositionSlot { row: Some(row), exists: true, changed: false };
    }

    /// The rows of `view_mirror` to load: those that something of this batch may have to restore.
    pub(crate) fn mirror_keys(&self) -> Vec<(usize, &MirrorKey)> {
        self.mirrors
            .iter()
            .enumerate()
            .filter(|(_, slot)| slot.must_load)
            .map(|(i, slot)| (i, &slot.key))
            .collect()
    }

    pub(crate) fn set_mirror(&mut self, slot: usize, row: MirrorRow) {
        self.mirrors[slot].loaded = Some(row);
    }

    fn mirror_row(&self, i: usize) -> Result<MirrorRow, Poison> {
        let item = &self.items[i];
        Ok(MirrorRow {
            tenant_id: item.plan.map(|plan| plan.contract.tenant_id),
            value: item.value()?,
            stamp: Stamp::of(item.record, item.event),
        })
    }

    /// The rows that `position_cache_mirror` ends with: those that are new to it and those that it has, each in key order.
    pub(crate) fn changed_positions(&self) -> ChangedPositions {
        let mut changed = ChangedPositions::default();
        for (key, slot) in self.position_keys.iter().zip(&self.positions).filter(|(_, slot)| slot.changed) {
            if let Some(row) = slot.row {
                let rows = if slot.exists { &mut changed.existing } else { &mut changed.new };
                rows.push((*key, row));
            }
        }
        changed.new.sort_unstable_by_key(|(key, _)| *key);
        changed.existing.sort_unstable_by_key(|(key, _)| *key);
        changed
    }

    /// Every position row of the batch's keys, changed or not.
    pub(crate) fn known_positions(&self) -> Vec<(PositionKey, PositionRow)> {
        let known = self.position_keys.iter().zip(&self.positions);
        known.filter_map(|(key, slot)| Some((*key, slot.row?))).collect()
    }

    /// The rows that `view_mirror` ends with, in key order.
    pub(crate) fn changed_mirrors(&self) -> Result<Vec<(&MirrorKey, MirrorRow)>, Poison> {
        let mut changed: Vec<_> =
            self.mirrors.iter().filter_map(|slot| Some((&slot.key, slot.last?))).collect();
        changed.sort_unstable();
        changed.into_iter().map(|(key, last)| Ok((key, self.mirror_row(last)?))).collect()
    }
}

#[derive(Default)]
struct Index {
    positions: HashMap<PositionKey, usize>,
    mirrors: HashMap<MirrorKey, usize>,
}
