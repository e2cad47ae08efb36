//! Late history beneath what may still be taken back.
//!
//! A row that is younger than finality may be taken back, and the oldest entry of its key on the undo stack says what is there then: what the mirror had
//! when the key was first touched above finality. Late history is older than all of that, and may be newer than what the entry holds: then it is what has
//! to be there. Other entries hold what is itself above finality, and so later.

use alloy_primitives::map::HashMap;
use serde_json::Value;

use super::Batch;
use crate::row::{MirrorRow, PositionRow, Stamp, Undo};

/// What the oldest undo entries of the batch's keys hold.
#[derive(Debug, Default)]
pub(super) struct Beneath {
    positions: HashMap<usize, Held<PositionRow>>,
    mirrors: HashMap<usize, Held<MirrorRow>>,
}

#[derive(Debug)]
struct Held<R> {
    /// The record that the entry takes back.
    seq: i64,
    before: Option<R>,
    is_changed: bool,
}

impl<R> Held<R> {
    fn offer(&mut self, row: R, stamp: fn(&R) -> &Stamp) {
        if self.before.as_ref().is_none_or(|before| stamp(before).place() < stamp(&row).place()) {
            self.before = Some(row);
            self.is_changed = true;
        }
    }
}

impl Beneath {
    /// A position that the mirror has a later row of.
    pub(super) fn position(&mut self, slot: usize, row: PositionRow) {
        if let Some(held) = self.positions.get_mut(&slot) {
            held.offer(row, |row| &row.stamp);
        }
    }

    /// The same of another mirror.
    pub(super) fn mirror(&mut self, slot: usize, row: MirrorRow) {
        if let Some(held) = self.mirrors.get_mut(&slot) {
            held.offer(row, |row| &row.stamp);
        }
    }
}

/// A key of the batch of which something may still be taken back.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Slot {
    Position(usize),
    Mirror(usize),
}

impl Batch<'_> {
    /// The keys whose rows may still be taken back, each as its undo entries name it; none unless the batch comes late.
    pub(crate) fn buried(&self) -> Vec<(Slot, Value)> {
        if !self.items.first().is_some_and(|item| item.record.is_late()) {
            return Vec::new();
        }
        let is_young = |stamp: &Stamp| self.settled.is_none_or(|settled| stamp.block_number > settled);
        let positions = self
            .positions
            .iter()
            .enumerate()
            .filter(|(_, slot)| slot.row.is_some_and(|row| is_young(&row.stamp)));
        let positions = positions.map(|(i, _)| {
            (Slot::Position(i), Undo::Position { key: self.position_keys[i], before: None }.key_json())
        });
        let mirrors = self.mirrors.iter().enumerate().filter_map(|(i, slot)| {
            slot.loaded.as_ref().filter(|row| is_young(&row.stamp))?;
            Some((Slot::Mirror(i), Undo::Mirror { key: slot.key.clone(), before: None }.key_json()))
        });
        positions.chain(mirrors).collect()
    }

    /// The oldest entry of such a key, and the record that it takes back.
    pub(crate) fn set_beneath(&mut self, slot: Slot, seq: i64, undo: Undo) {
        match (slot, undo) {
            (Slot::Position(slot), Undo::Position { before, .. }) => {
                self.beneath.positions.insert(slot, Held { seq, before, is_changed: false });
            }
            (Slot::Mirror(slot), Undo::Mirror { before, .. }) => {
                self.beneath.mirrors.insert(slot, Held { seq, before, is_changed: false });
            }
            _ => unreachable!("an entry is of the table that its key names"),
        }
    }

    /// The entries that hold something else now, by the records that they take back.
    pub(crate) fn changed_beneath(&self) -> Vec<(i64, Value)> {
        let positions =
            self.beneath.positions.iter().filter(|(_, held)| held.is_changed).map(|(slot, held)| {
                (held.seq, Undo::Position { key: self.position_keys[*slot], before: held.before }.to_json())
            });
        let mirrors = self.beneath.mirrors.iter().filter(|(_, held)| held.is_changed).map(|(slot, held)| {
            let undo = Undo::Mirror { key: self.mirrors[*slot].key.clone(), before: held.before.clone() };
            (held.seq, undo.to_json())
        });
        positions.chain(mirrors).collect()
    }
}
