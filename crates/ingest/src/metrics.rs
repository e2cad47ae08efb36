//! What is told of a chain and of its endpoints.

use std::time::Duration;

use metrics::{counter, gauge, histogram};
use plimsoll_types::BackfillState;

use crate::pace::Told;

/// 1 while the chain is halted.
pub(crate) fn halted(chain_id: u64, is_halted: bool) {
    gauge!("chain_halted", "chain_id" => chain_id.to_string()).set(u8::from(is_halted));
}

/// A reorg past finality was seen.
pub(crate) fn deep_reorg(chain_id: u64) {
    counter!("deep_reorg_total", "chain_id" => chain_id.to_string()).increment(1);
}

/// A reorg was followed.
#[expect(clippy::cast_precision_loss, reason = "a depth is small")]
pub(crate) fn reorg(chain_id: u64, depth_blocks: usize) {
    counter!("reorgs_total", "chain_id" => chain_id.to_string()).increment(1);
    histogram!("reorg_depth_blocks", "chain_id" => chain_id.to_string()).record(depth_blocks as f64);
}

/// Blocks and events were committed; `blocks` is 0 for a range, whose blocks are not all looked at.
pub(crate) fn committed(chain_id: u64, blocks: u64, events: u64, elapsed: Duration) {
    let chain = || chain_id.to_string();
    histogram!("ingest_commit_seconds", "chain_id" => chain()).record(elapsed);
    counter!("ingest_blocks_total", "chain_id" => chain()).increment(blocks);
    counter!("ingest_events_total", "chain_id" => chain()).increment(events);
}

/// Blocks that a backfill has still to bring.
#[expect(clippy::cast_precision_loss, reason = "block numbers are far below 2^52")]
pub(crate) fn remaining(chain_id: u64, blocks: u64) {
    gauge!("ingest_backfill_remaining_blocks", "chain_id" => chain_id.to_string()).set(blocks as f64);
}

/// How fast a backfill goes, and how much longer it will take.
pub(crate) fn pace(chain_id: u64, told: &Told) {
    gauge!("ingest_backfill_blocks_per_second", "chain_id" => chain_id.to_string()).set(told.blocks_per_s);
    gauge!("ingest_backfill_remaining_seconds", "chain_id" => chain_id.to_string())
        .set(told.remaining.as_secs_f64());
}

/// A commit for a backfill that an operator asked for: what it found, and how many blocks are left.
pub(crate) fn asked(chain_id: u64, found: u64, remaining_blocks: u64) {
    counter!("ingest_backfill_request_found_total", "chain_id" => chain_id.to_string()).increment(found);
    asked_remaining(chain_id, remaining_blocks);
}

/// Blocks that the backfill in work has still to look at.
#[expect(clippy::cast_precision_loss, reason = "block numbers are far below 2^52")]
pub(crate) fn asked_remaining(chain_id: u64, blocks: u64) {
    gauge!("ingest_backfill_request_remaining_blocks", "chain_id" => chain_id.to_string()).set(blocks as f64);
}

/// A backfill that an operator asked for has ended so.
pub(crate) fn asked_ended(chain_id: u64, state: BackfillState) {
    counter!("ingest_backfill_requests_ended_total", "chain_id" => chain_id.to_string(), "state" => state.as_str())
        .increment(1);
}

/// Blocks of the journal, counted for each contract and sender, that nobody has been asked about for it.
#[expect(clippy::cast_precision_loss, reason = "block numbers are far below 2^52")]
pub(crate) fn uncovered(chain_id: u64, blocks: u64) {
    gauge!("ingest_uncovered_blocks", "chain_id" => chain_id.to_string()).set(blocks as f64);
}

/// Blocks by which an endpoint's head is below what the journal has.
#[expect(clippy::cast_precision_loss, reason = "block numbers are far below 2^52")]
pub(crate) fn behind(chain_id: u64, endpoint: &str, blocks: u64) {
    gauge!("rpc_endpoint_behind_blocks", "chain_id" => chain_id.to_string(), "endpoint" => endpoint.to_owned())
        .set(blocks as f64);
}

/// An endpoint contradicted itself: its logs against its header's bloom or receipts root.
pub(crate) fn contradiction(chain_id: u64, endpoint: &str) {
    counter!("rpc_endpoint_contradictions_total", "chain_id" => chain_id.to_string(), "endpoint" => endpoint.to_owned())
        .increment(1);
}

/// 1 while the endpoint is on a fork on which the others are not.
pub(crate) fn on_other_fork(chain_id: u64, endpoint: &str, is_alone: bool) {
    gauge!("rpc_endpoint_on_other_fork", "chain_id" => chain_id.to_string(), "endpoint" => endpoint.to_owned())
        .set(u8::from(is_alone));
}
