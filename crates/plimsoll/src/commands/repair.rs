//! `plimsoll verify completeness --repair`: what was found is asked for again, as `plimsoll backfill` asks for it.

use std::fmt;

use plimsoll_ingest::verify::CompletenessReport;
use plimsoll_journal::backfills::{self, Backfill, Order};
use plimsoll_store::Db;
use plimsoll_types::BackfillState;
use serde::Serialize;
use uuid::Uuid;

use super::backfill::{put, refused};
use super::waiting::waits;
use crate::cli::Repair;
use crate::failure::Failure;

/// Requests of a chain that are looked through for one that has the blocks already.
const MAX_OPEN: u32 = 10_000;

/// What was asked for, or would be.
#[derive(Serialize)]
pub(super) struct Asked {
    dry_run: bool,
    /// On record: those that were put there now, and those that were there already and have these blocks before them.
    backfills: Vec<Backfill>,
    /// Which would be put on record.
    would_ask: Vec<Order>,
    /// Why they wait, where they do.
    waits: Option<String>,
}

impl Asked {
    pub(super) fn is_on_record(&self) -> bool {
        !self.backfills.is_empty()
    }
}

/// Has what is missing, and what could not be proven, fetched again.
pub(super) async fn ask(db: &Db, report: &CompletenessReport, how: &Repair) -> Result<Asked, Failure> {
    let chain_id = report.chain_id;
    let mut open = Vec::new();
    for state in [BackfillState::Queued, BackfillState::Running] {
        open.extend(backfills::list(db, Some(chain_id), Some(state), MAX_OPEN).await.map_err(refused)?);
    }
    let mut asked = Asked { dry_run: how.dry_run, backfills: Vec::new(), would_ask: Vec::new(), waits: None };
    for repair in report.repairs() {
        let order = Order {
            request_id: Uuid::now_v7(),
            chain_id,
            from: repair.blocks.from,
            to: repair.blocks.to,
            contracts: None,
            max_events: None,
            parallel_ranges: None,
            level: Some(repair.level),
        };
        if let Some(known) = open.iter().find(|known| has_before_it(known, &order)) {
            if !asked.backfills.contains(known) {
                asked.backfills.push(known.clone());
            }
        } else if how.dry_run {
            asked.would_ask.push(order);
        } else {
            asked.backfills.push(put(db, &order, how.reason.as_deref()).await?.0);
        }
    }
    if asked.is_on_record() {
        asked.waits = waits(db, chain_id).await?;
    }
    Ok(asked)
}

/// Whether this request will look at all that is asked for.
fn has_before_it(known: &Backfill, order: &Order) -> bool {
    let is_of_all = known.order.contracts.is_none() && known.order.max_events.is_none();
    is_of_all
        && known.order.from <= order.from
        && known.next.is_some_and(|next| order.to <= next)
        && known.order.level >= order.level
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.backfills.is_empty() && self.would_ask.is_empty() {
            return writeln!(f, "nothing to repair");
        }
        for Backfill { order, state, .. } in &self.backfills {
            writeln!(f, "repair: {order} ({state}), request {}", order.request_id)?;
        }
        for order in &self.would_ask {
            writeln!(f, "would ask for {order}")?;
        }
        if let Some(why) = &self.waits {
            writeln!(f, "{why}")?;
        }
        if self.dry_run {
            return writeln!(f, "nothing was put on record (dry run)");
        }
        writeln!(f, "`plimsoll backfill show ID --wait` shows how one goes; look again when they are done")
    }
}

#[cfg(test)]
mod tests {
    use plimsoll_types::Completeness;
    use time::OffsetDateTime;

    use super::*;

    #[test]
    fn only_a_request_that_will_still_look_at_all_of_it_stands_for_another() {
        let order = |from, to, level| Order {
            request_id: Uuid::nil(),
            chain_id: 1,
            from,
            to,
            contracts: None,
            max_events: None,
            parallel_ranges: None,
            level,
        };
        let known = |order: Order, next| Backfill {
            order,
            state: BackfillState::Running,
            next: Some(next),
            blocks_done: 0,
            found: 0,
            events_left: None,
            trouble: None,
            actor: "cli:ada".into(),
            reason: None,
            created_at: OffsetDateTime::UNIX_EPOCH,
            started_at: None,
            ended_at: None,
        };
        let (bloom, receipts) = (Some(Completeness::Bloom), Some(Completeness::Receipts));
        let asked = order(10, 20, receipts);
        let stands = |known: &Backfill| has_before_it(known, &asked);
        assert!(stands(&known(order(10, 20, receipts), 20)));
        assert!(stands(&known(order(1, 50, receipts), 30)));
        assert!(!stands(&known(order(1, 50, receipts), 19)), "it is past the highest of these blocks");
        assert!(!stands(&known(order(11, 20, receipts), 20)), "it begins above the lowest");
        assert!(!stands(&known(order(1, 50, bloom), 50)), "it proves less");
        assert!(!stands(&known(order(1, 50, None), 50)), "it proves as the chain's backfills do");
        assert!(
            !stands(&known(Order { max_events: Some(9), ..order(1, 50, receipts) }, 50)),
            "it may stop before"
        );
        let named = Some([alloy_primitives::Address::ZERO].into());
        assert!(
            !stands(&known(Order { contracts: named, ..order(1, 50, receipts) }, 50)),
            "it looks for less"
        );
    }
}
