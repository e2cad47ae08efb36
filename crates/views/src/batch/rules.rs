//! The rules, event by event in journal order, over a batch that has its mirror rows.

use alloy_primitives::U256;
use plimsoll_types::{Amount, ApplyStatus};
use serde_json::json;

use super::{Anomaly, Batch, Folded, MirrorSlot, Outcome, Poison, PositionSlot, REORG_CONFLICT, Says};
use crate::position::{Verdict, is_out_of_order, judge};
use crate::reason::{OUT_OF_ORDER_SEQ, STALE_VERSION};
use crate::row::{PositionRow, Stamp, Undo};

impl Batch<'_> {
    /// Goes through the events in order.
    pub(crate) fn fold(&mut self) -> Result<Folded, Poison> {
        let mut folded = Folded { undos: vec![None; self.records], ..Folded::default() };
        for i in 0..self.items.len() {
            match self.items[i].says.clone() {
                Says::Position { slot, collateral, debt, version } => {
                    self.fold_position(i, slot, (collateral, debt, version), &mut folded);
                }
                Says::Replay { slot, .. } => {
                    let row = self.positions[slot].row;
                    let request_id = self.items[i].request_id;
                    let held = row.filter(|row| request_id.is_some() && row.last_request_id == request_id);
                    self.items[i].says = Says::Replay { slot, version: held.map(|row| row.version) };
                }
                Says::Failure { .. } => self.take_over_request(i),
                Says::Mirror { slot } => self.fold_mirror(i, slot, &mut folded)?,
                Says::Push | Says::Trail | Says::Ignored => {}
            }
        }
        Ok(folded)
    }

    /// An answer is on record with the request that it answers.
    fn take_over_request(&mut self, i: usize) {
        if let Some(push) = self.items[i].counterpart {
            self.items[i].request_id = self.items[push].request_id;
            self.items[i].seq = self.items[push].seq;
        }
    }

    fn fold_position(
        &mut self,
        i: usize,
        slot: usize,
        (collateral, debt, version): (U256, U256, u64),
        folded: &mut Folded,
    ) {
        self.take_over_request(i);
        let item = &self.items[i];
        let (stamp, push, at) = (Stamp::of(item.record, item.event), item.counterpart, item.at);
        let (request_id, seq) = (item.request_id, item.seq);
        let key = self.position_keys[slot];
        let before = self.positions[slot].row;
        let is_late = item.record.is_late();
        let tenant_id = item.plan.map(|plan| plan.contract.tenant_id);
        let verdict = judge(before.as_ref(), version, &stamp, is_late);
        let evidence = || {
            json!({
                "contract": key.contract, "user": key.user, "asset": key.asset,
                "version": version.to_string(), "mirror_version": before.map(|row| row.version.to_string()),
                "collateral": Amount(collateral), "debt": Amount(debt),
                "block_number": stamp.block_number, "mirror_block_number": before.map(|row| row.stamp.block_number),
            })
        };
        let mut anomaly = |kind| {
            folded.anomalies.push(Anomaly { kind, journal_seq: stamp.journal_seq, detail: evidence() });
        };
        let outcome = match verdict {
            Verdict::Next => Outcome::plain(ApplyStatus::Applied),
            Verdict::FirstSeen => {
                let late = Anomaly {
                    kind: "history_starts_late",
                    journal_seq: stamp.journal_seq,
                    detail: evidence(),
                };
                folded.late_starts.entry(key.contract).or_insert(late);
                Outcome {
                    detail: Some(json!({ "first_version_seen": version.to_string() })),
                    ..Outcome::plain(ApplyStatus::Applied)
                }
            }
            Verdict::Jump => {
                anomaly("version_jump");
                Outcome { detail: Some(evidence()), ..Outcome::plain(ApplyStatus::Applied) }
            }
            Verdict::Duplicate => {
                anomaly("version_repeated");
                Outcome { detail: Some(evidence()), ..Outcome::plain(ApplyStatus::Duplicate) }
            }
            Verdict::Back => {
                anomaly("version_back");
                Outcome::rejected(STALE_VERSION, evidence())
            }
            Verdict::BeforeMirror => {
                anomaly(REORG_CONFLICT);
                Outcome::rejected(REORG_CONFLICT, evidence())
            }
            Verdict::Late => Outcome::late(),
        };
        let applied = outcome.status == ApplyStatus::Applied;
        self.items[i].outcome = outcome;
        if verdict == Verdict::Late {
            let (last_request_id, last_seq) = (request_id, seq.filter(|seq| *seq != 0));
            let row = PositionRow { tenant_id, collateral, debt, version, last_request_id, last_seq, stamp };
            self.beneath.position(slot, row);
        }
        if !applied {
            return;
        }
        let last_seq = before.and_then(|row| row.last_seq);
        if let Some(push) = push.filter(|_| !is_late && is_out_of_order(last_seq, seq)) {
            let detail = json!({
                "user": key.user, "asset": key.asset, "version": version.to_string(),
                "seq": seq.map(|seq| seq.to_string()), "last_seq": last_seq.map(|seq| seq.to_string()),
            });
            let journal_seq = self.items[push].record.seq;
            folded.anomalies.push(Anomaly { kind: OUT_OF_ORDER_SEQ, journal_seq, detail: detail.clone() });
            self.items[push].outcome = Outcome::rejected(OUT_OF_ORDER_SEQ, detail);
        }
        let row = PositionRow {
            tenant_id,
            collateral,
            debt,
            version,
            last_request_id: request_id.or(before.and_then(|row| row.last_request_id)),
            last_seq: seq.filter(|seq| *seq != 0).or(last_seq),
            stamp,
        };
        self.positions[slot] = PositionSlot { row: Some(row), changed: true, ..self.positions[slot] };
        if self.is_undoable(self.items[i].event) {
            folded.undos[at] = Some(Undo::Position { key, before }.to_json());
        }
    }

    fn fold_mirror(&mut self, i: usize, slot: usize, folded: &mut Folded) -> Result<(), Poison> {
        if self.items[i].record.is_late() && self.mirror_has_later(i, slot) {
            self.items[i].outcome = Outcome::late();
            let row = self.mirror_row(i)?;
            self.beneath.mirror(slot, row);
            return Ok(());
        }
        let last = self.mirrors[slot].last.replace(i);
        if self.is_undoable(self.items[i].event) {
            let before = match last {
                Some(last) => Some(self.mirror_row(last)?),
                None => self.mirrors[slot].loaded.clone(),
            };
            let key = self.mirrors[slot].key.clone();
            folded.undos[self.items[i].at] = Some(Undo::Mirror { key, before }.to_json());
        }
        Ok(())
    }

    /// Whether the mirror's row is of a later event than this one.
    fn mirror_has_later(&self, i: usize, slot: usize) -> bool {
        let place = |i: usize| (self.items[i].event.block_number, self.items[i].event.log_index);
        let MirrorSlot { last, loaded, .. } = &self.mirrors[slot];
        let held = last.map(place).or(loaded.as_ref().map(|row| row.stamp.place()));
        held.is_some_and(|held| held > place(i))
    }
}
