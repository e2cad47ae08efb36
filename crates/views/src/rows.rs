//! Items of a batch as rows for COPY.

use std::fmt::Write as _;

use plimsoll_journal::{Record, Undone};
use plimsoll_store::CopyBuffer;
use plimsoll_types::{ApplyStatus, PushOutcome, RequestId, ViewKind};
use serde_json::json;

use crate::FOLD_NAME;
use crate::batch::{Batch, Item, Outcome, Poison, Says};
use crate::plan::Plans;
use crate::repo::log::{APPLY_ENTRY_COLUMNS, LINK_COLUMNS, Rows, TRAIL_COLUMNS};
use crate::repo::to_i64;

/// The reject code of a retraction.
pub(crate) const REORG_ROLLBACK: &str = "reorg_rollback";

/// The reject code of a record that an operator had passed over.
pub(crate) const SKIPPED: &str = "skipped";

/// Writes the rows of one chain's records.
pub(crate) struct RowWriter<'a> {
    chain_id: i64,
    rows: &'a mut Rows,
    scratch: String,
    json: Vec<u8>,
}

impl<'a> RowWriter<'a> {
    pub(crate) fn new(chain_id: u64, rows: &'a mut Rows) -> Self {
        rows.clear();
        Self { chain_id: to_i64(chain_id), rows, scratch: String::new(), json: Vec::new() }
    }

    /// Each item's apply-log entry, and its trail or link row.
    pub(crate) fn batch(&mut self, batch: &Batch<'_>) -> Result<(), Poison> {
        for item in &batch.items {
            self.apply_entry(item.record.seq, item);
            match item.says {
                Says::Push => self.link(batch, item),
                Says::Trail => self.trail(item)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn request_id(&mut self, out: fn(&mut Rows) -> &mut CopyBuffer, id: Option<RequestId>) {
        let buffer = out(self.rows);
        match id {
            Some(id) => {
                self.scratch.clear();
                write!(self.scratch, "{id}").expect("a String takes every write");
                buffer.put_text(&self.scratch);
            }
            None => buffer.put_null(),
        }
    }

    fn apply_entry(&mut self, journal_seq: i64, item: &Item<'_>) {
        let event = item.event;
        let out = &mut self.rows.apply_entries;
        out.row(APPLY_ENTRY_COLUMNS);
        out.put_i64(self.chain_id);
        out.put_i64(journal_seq);
        out.put_i64(to_i64(event.block_number));
        out.put_i64(event.id);
        out.put_text(FOLD_NAME);
        out.put_text(item.plan.map_or(ViewKind::Unknown, |plan| plan.kind).as_str());
        out.put_text(item.outcome.status.as_str());
        out.put_opt(item.user, |out, user| out.put_bytea(user.as_slice()));
        out.put_opt(item.asset, |out, asset| out.put_bytea(asset.as_slice()));
        self.request_id(|rows| &mut rows.apply_entries, item.request_id);
        let out = &mut self.rows.apply_entries;
        out.put_opt(item.seq, CopyBuffer::put_numeric_u64);
        out.put_opt(item.outcome.code, CopyBuffer::put_text);
        match &item.outcome.detail {
            Some(detail) => {
                self.json.clear();
                serde_json::to_writer(&mut self.json, detail)
                    .expect("a Value is JSON, and a Vec takes every write");
                out.put_jsonb(&self.json);
            }
            None => out.put_null(),
        }
    }

    fn trail(&mut self, item: &Item<'_>) -> Result<(), Poison> {
        let Some(plan) = item.plan else { return Ok(()) };
        let (event, value, key) = (item.event, item.value()?, item.key()?);
        let out = &mut self.rows.trail;
        out.row(TRAIL_COLUMNS);
        out.put_i64(self.chain_id);
        out.put_i64(item.record.seq);
        out.put_text(&plan.contract.text);
        out.put_text(plan.view);
        out.put_text(&key);
        out.put_uuid(plan.contract.tenant_id);
        out.put_jsonb(value.as_bytes());
        out.put_i64(to_i64(event.block_number));
        out.put_bytea(event.block_hash.as_slice());
        out.put_bytea(event.tx_hash.as_slice());
        out.put_i32(event.log_index.cast_signed());
        Ok(())
    }

    fn link(&mut self, batch: &Batch<'_>, push: &Item<'_>) {
        let (Some(plan), Some(user), Some(asset)) = (push.plan, push.user, push.asset) else { return };
        let answer = push.counterpart.map(|answer| &batch.items[answer]);
        let refused =
            || push.outcome.reject_code().or(answer.and_then(|answer| answer.outcome.reject_code()));
        let (outcome, view, version, code) = match answer.map(|answer| (&answer.says, answer.event.contract))
        {
            Some((Says::Position { version, .. }, view)) => {
                (PushOutcome::Applied, Some(view), Some(*version), refused())
            }
            Some((Says::Replay { version, .. }, view)) => (PushOutcome::Ignored, Some(view), *version, None),
            Some((Says::Failure { view, code }, _)) => (PushOutcome::Failed, Some(*view), None, Some(*code)),
            _ => (PushOutcome::Unmatched, None, None, None),
        };
        let event = push.event;
        let out = &mut self.rows.links;
        out.row(LINK_COLUMNS);
        out.put_i64(self.chain_id);
        out.put_i64(push.record.seq);
        out.put_text(&plan.contract.text);
        out.put_hex_text(user.as_slice());
        out.put_hex_text(asset.as_slice());
        out.put_uuid(plan.contract.tenant_id);
        out.put_text(&plan.event_name);
        self.request_id(|rows| &mut rows.links, push.request_id);
        let out = &mut self.rows.links;
        out.put_opt(push.seq, CopyBuffer::put_numeric_u64);
        out.put_text(outcome.as_str());
        out.put_opt(view, |out, view| out.put_hex_text(view.as_slice()));
        out.put_opt(version, CopyBuffer::put_numeric_u64);
        out.put_opt(code, CopyBuffer::put_text);
        out.put_i64(to_i64(event.block_number));
        out.put_bytea(event.tx_hash.as_slice());
        out.put_i32(event.log_index.cast_signed());
    }

    /// The apply-log entry of a retraction.
    pub(crate) fn retraction(&mut self, plans: &Plans, undone: &Undone) {
        let detail = json!({ "retracted_seq": undone.record.seq });
        self.lone(plans, undone.retract_seq, &undone.record, Outcome::rejected(REORG_ROLLBACK, detail));
    }

    /// The apply-log entry of a record that an operator had passed over.
    pub(crate) fn skipped(&mut self, plans: &Plans, record: &Record, reason: &str) {
        let outcome = Outcome {
            status: ApplyStatus::Error,
            code: Some(SKIPPED),
            detail: Some(json!({ "operator": reason })),
        };
        self.lone(plans, record.seq, record, outcome);
    }

    /// Parameters that do not decode are left out: such a record is on its way out, and must not stop that.
    fn lone(&mut self, plans: &Plans, journal_seq: i64, record: &Record, outcome: Outcome) {
        let Some(event) = record.event() else { return };
        let plan = plans.of(event);
        let mut item = Item::bare(record, event, plan, outcome);
        if let Some(plan) = plan {
            item.user = plan.user(event).ok().flatten();
            item.asset = plan.asset(event).ok().flatten();
            item.request_id = plan.request_id(event).ok().flatten();
            item.seq = plan.seq(event).ok().flatten();
        }
        self.apply_entry(journal_seq, &item);
    }
}
