//! The fields of a line of an export, by name.

use alloy_primitives::{B256, I256, U256};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::values::{Micros, Text, nullable};
use super::{ExportedLine, ExportedPosting, Unwritable};
use crate::ledger::encoding::{Direction, SealedLine, SealedPosting};

/// A posting, named as the columns are.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Row {
    tenant_id: Text<Uuid>,
    posting_id: Text<Uuid>,
    #[serde(deserialize_with = "nullable")]
    user_id: Option<Text<Uuid>>,
    request_id: Text<Uuid>,
    operation_type: String,
    checksum: Text<B256>,
    domain: String,
    #[serde(deserialize_with = "nullable")]
    internal_tx_id: Option<Text<Uuid>>,
    #[serde(deserialize_with = "nullable")]
    trace_id: Option<Text<Uuid>>,
    effective_at: Text<Micros>,
    booked_at: Text<Micros>,
    recorded_at: Text<Micros>,
    #[serde(deserialize_with = "nullable")]
    chain_id: Option<u64>,
    #[serde(deserialize_with = "nullable")]
    chain_tx_hash: Option<Text<B256>>,
    #[serde(deserialize_with = "nullable")]
    chain_block_number: Option<u64>,
    #[serde(deserialize_with = "nullable")]
    chain_block_hash: Option<Text<B256>>,
    #[serde(deserialize_with = "nullable")]
    reverses: Option<Text<Uuid>>,
    #[serde(deserialize_with = "nullable")]
    compensates: Option<Text<Uuid>>,
    #[serde(deserialize_with = "nullable")]
    reason: Option<String>,
    created_by: String,
    correlation_id: String,
    #[serde(deserialize_with = "nullable")]
    causation_id: Option<String>,
    metadata: Box<RawValue>,
    lines: Vec<RowLine>,
    leaf_index: u64,
    prev_entry_hash: Text<B256>,
    entry_hash: Text<B256>,
}

/// A line of it. The posting's id is not repeated.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RowLine {
    sequence: u16,
    account_id: Text<Uuid>,
    direction: Text<Direction>,
    amount: Text<U256>,
    currency: String,
    entry_type: String,
    account_version: u64,
    balance_after: Text<I256>,
    checksum: Text<B256>,
}

impl Row {
    pub(super) fn into_posting(self) -> ExportedPosting {
        let posting_id = self.posting_id.0;
        ExportedPosting {
            posting: SealedPosting {
                tenant_id: self.tenant_id.0,
                posting_id,
                user_id: self.user_id.map(|value| value.0),
                request_id: self.request_id.0,
                operation_type: self.operation_type,
                request_checksum: self.checksum.0,
                domain: self.domain,
                internal_tx_id: self.internal_tx_id.map(|value| value.0),
                trace_id: self.trace_id.map(|value| value.0),
                effective_at_us: self.effective_at.0.us(),
                booked_at_us: self.booked_at.0.us(),
                recorded_at_us: self.recorded_at.0.us(),
                chain_id: self.chain_id,
                chain_tx_hash: self.chain_tx_hash.map(|value| value.0),
                chain_block_number: self.chain_block_number,
                chain_block_hash: self.chain_block_hash.map(|value| value.0),
                reverses: self.reverses.map(|value| value.0),
                compensates: self.compensates.map(|value| value.0),
                reason: self.reason,
                created_by: self.created_by,
                correlation_id: self.correlation_id,
                causation_id: self.causation_id,
                metadata: Box::<str>::from(self.metadata).into_string(),
            },
            lines: self.lines.into_iter().map(|line| line.into_line(posting_id)).collect(),
            leaf_index: self.leaf_index,
            prev_entry_hash: self.prev_entry_hash.0,
            entry_hash: self.entry_hash.0,
        }
    }

    pub(super) fn of(exported: &ExportedPosting) -> Result<Self, Unwritable> {
        let posting = exported.posting.clone();
        let unwritable = |reason: String| Unwritable { field: "metadata", reason };
        let metadata =
            RawValue::from_string(posting.metadata).map_err(|error| unwritable(error.to_string()))?;
        // White space around a value is not a part of it, and would not come back.
        if metadata.get() != exported.posting.metadata || metadata.get().contains('\n') {
            return Err(unwritable("it has white space around it, or more than one line".to_owned()));
        }
        Ok(Self {
            tenant_id: Text(posting.tenant_id),
            posting_id: Text(posting.posting_id),
            user_id: posting.user_id.map(Text),
            request_id: Text(posting.request_id),
            operation_type: posting.operation_type,
            checksum: Text(posting.request_checksum),
            domain: posting.domain,
            internal_tx_id: posting.internal_tx_id.map(Text),
            trace_id: posting.trace_id.map(Text),
            effective_at: time("effective_at", posting.effective_at_us)?,
            booked_at: time("booked_at", posting.booked_at_us)?,
            recorded_at: time("recorded_at", posting.recorded_at_us)?,
            chain_id: posting.chain_id,
            chain_tx_hash: posting.chain_tx_hash.map(Text),
            chain_block_number: posting.chain_block_number,
            chain_block_hash: posting.chain_block_hash.map(Text),
            reverses: posting.reverses.map(Text),
            compensates: posting.compensates.map(Text),
            reason: posting.reason,
            created_by: posting.created_by,
            correlation_id: posting.correlation_id,
            causation_id: posting.causation_id,
            metadata,
            lines: exported.lines.iter().map(RowLine::of).collect(),
            leaf_index: exported.leaf_index,
            prev_entry_hash: Text(exported.prev_entry_hash),
            entry_hash: Text(exported.entry_hash),
        })
    }
}

fn time(field: &'static str, us: i64) -> Result<Text<Micros>, Unwritable> {
    let outside = || format!("{us} microseconds since 1970 are not in the years 0 to 9999");
    Micros::new(us).map(Text).ok_or_else(|| Unwritable { field, reason: outside() })
}

impl RowLine {
    fn into_line(self, posting_id: Uuid) -> ExportedLine {
        let line = SealedLine {
            posting_id,
            sequence: self.sequence,
            account_id: self.account_id.0,
            direction: self.direction.0,
            amount: self.amount.0,
            currency: self.currency,
            entry_type: self.entry_type,
            account_version: self.account_version,
            balance_after: self.balance_after.0,
        };
        ExportedLine { line, checksum: self.checksum.0 }
    }

    fn of(exported: &ExportedLine) -> Self {
        let line = exported.line.clone();
        Self {
            sequence: line.sequence,
            account_id: Text(line.account_id),
            direction: Text(line.direction),
            amount: Text(line.amount),
            currency: line.currency,
            entry_type: line.entry_type,
            account_version: line.account_version,
            balance_after: Text(line.balance_after),
            checksum: Text(exported.checksum),
        }
    }
}
