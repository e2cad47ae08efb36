//! The views' fold: a batch through memory and into the tables, and back out of them when a reorg takes it back.

use std::collections::{BTreeMap, HashSet};

use alloy_primitives::Address;
use plimsoll_chain::abi::Contracts;
use plimsoll_journal::{Fold, FoldError, Record, Undone, oldest_undos, replace_undos};
use plimsoll_types::{ApplyStatus, JournalKind, address_text};
use serde_json::Value;
use sqlx::PgConnection;

use crate::FOLD_NAME;
use crate::batch::{Batch, Folded, Item, Poison, Says};
use crate::cache::PositionCache;
use crate::counters::{Count, Counters};
use crate::declarations::DECLARATIONS;
use crate::plan::{Plans, UNKNOWN_VIEW};
use crate::reason::Reasons;
use crate::repo::{self, log::Rows};
use crate::row::{MirrorKey, MirrorRow, PositionKey, PositionRow, Undo};
use crate::rows::{REORG_ROLLBACK, RowWriter, SKIPPED};

/// The tables that are partitioned by journal sequence.
const PARTITIONED: &[&str] = &["view_apply_entries", "view_trail", "position_push_links"];

/// Keeps the mirrors, trails, links and apply log of one chain.
#[derive(Debug)]
pub struct ViewFold {
    chain_id: u64,
    plans: Plans,
    reasons: Reasons,
    rows: Rows,
    cache: PositionCache,
    counters: Option<Counters>,
    /// Contracts whose late start is on record.
    known_late: HashSet<Address>,
    noticed_late: Vec<Address>,
}

impl ViewFold {
    /// The fold of this chain's followed contracts.
    #[must_use]
    pub fn new(chain_id: u64, contracts: &Contracts) -> Self {
        Self {
            chain_id,
            plans: Plans::new(contracts, DECLARATIONS),
            reasons: Reasons::new(contracts),
            rows: Rows::default(),
            cache: PositionCache::default(),
            counters: Some(Counters::default()),
            known_late: HashSet::new(),
            noticed_late: Vec::new(),
        }
    }

    /// The same fold, for a replay: what it does was counted when it was done first.
    pub(crate) fn uncounted(chain_id: u64, contracts: &Contracts) -> Self {
        Self { counters: None, ..Self::new(chain_id, contracts) }
    }

    fn poisoned(&self, poison: Poison) -> FoldError {
        FoldError::Poisoned {
            fold: FOLD_NAME,
            chain_id: self.chain_id,
            seq: poison.seq,
            reason: poison.reason,
        }
    }

    fn unreadable_undo(&self, seq: i64, reason: &str) -> FoldError {
        let reason =
            format!("its undo entry cannot be read ({reason}); rebuild the fold's tables from the journal");
        self.poisoned(Poison { seq, reason })
    }

    fn count(&mut self, count: impl FnOnce() -> Count) {
        if let Some(counters) = &mut self.counters {
            counters.add(count());
        }
    }

    fn tally(counters: &mut Counters, plans: &Plans, items: &[Item<'_>], folded: &Folded) {
        for item in items {
            let (view, status) = (item.plan.map_or(UNKNOWN_VIEW, |plan| plan.view), item.outcome.status);
            counters.add(Count::Applied { view, status: status.as_str() });
            if let (ApplyStatus::Rejected, Some(reject_code)) = (status, item.outcome.code) {
                counters.add(Count::Rejected { reject_code });
            }
            match &item.says {
                Says::Replay { .. } => counters.add(Count::IdempotentIgnored),
                Says::Failure { view, .. } => counters.add(Count::CacheUpdateFailed {
                    view: plans.name_of(view),
                    asset: item.asset.as_ref().map_or_else(|| "none".to_owned(), address_text),
                }),
                _ => {}
            }
        }
        for anomaly in folded.anomalies.iter().chain(folded.late_starts.values()) {
            counters.add(Count::Anomaly { kind: anomaly.kind });
        }
    }
}

impl Fold for ViewFold {
    fn name(&self) -> &'static str {
        FOLD_NAME
    }

    fn partitioned_tables(&self) -> &'static [&'static str] {
        PARTITIONED
    }

    async fn apply(
        &mut self,
        conn: &mut PgConnection,
        final_number: Option<u64>,
        records: &[Record],
    ) -> Result<Vec<Option<Value>>, FoldError> {
        let finalized = records
            .iter()
            .filter(|record| record.kind == JournalKind::Finalize)
            .map(|record| record.block_number);
        let settled = finalized.max().max(final_number);
        let poisoned = |poison: Poison| FoldError::Poisoned {
            fold: FOLD_NAME,
            chain_id: self.chain_id,
            seq: poison.seq,
            reason: poison.reason,
        };
        let mut batch = Batch::read(&self.plans, &self.reasons, records, settled).map_err(poisoned)?;
        self.cache.begin(records);
        if batch.items.is_empty() {
            self.cache.stage(records, Vec::new());
            return Ok(vec![None; records.len()]);
        }
        let (slots, keys) = batch.recall_positions(&self.cache);
        for (at, row) in repo::position::load(conn, self.chain_id, &keys).await? {
            batch.set_position(slots[at], row);
        }
        let (slots, keys): (Vec<_>, Vec<_>) = batch.mirror_keys().into_iter().unzip();
        for (at, row) in repo::mirror::load(conn, self.chain_id, &keys).await? {
            batch.set_mirror(slots[at], row);
        }
        let (slots, keys): (Vec<_>, Vec<_>) = batch.buried().into_iter().unzip();
        for oldest in oldest_undos(conn, FOLD_NAME, self.chain_id, &keys).await? {
            let undo =
                Undo::from_json(oldest.undo).map_err(|reason| self.unreadable_undo(oldest.seq, &reason))?;
            batch.set_beneath(slots[oldest.key], oldest.seq, undo);
        }
        let mut folded = batch.fold().map_err(poisoned)?;
        folded.late_starts.retain(|contract, _| !self.known_late.contains(contract));

        let mut writer = RowWriter::new(self.chain_id, &mut self.rows);
        writer.batch(&batch).map_err(poisoned)?;
        self.rows.write(conn).await?;
        let changed = batch.changed_positions();
        repo::position::insert(conn, self.chain_id, &changed.new).await?;
        let updated = repo::position::update(conn, self.chain_id, &changed.existing).await?;
        if updated != changed.existing.len() as u64 {
            let what = format!(
                "position_cache_mirror has only {updated} of {} rows that the views wrote into it: something else wrote there; \
                 compare with `plimsoll replay views`",
                changed.existing.len()
            );
            return Err(FoldError::Malformed { chain_id: self.chain_id, what });
        }
        repo::mirror::put(conn, self.chain_id, &batch.changed_mirrors().map_err(poisoned)?).await?;
        replace_undos(conn, FOLD_NAME, self.chain_id, &batch.changed_beneath()).await?;
        repo::log::add_anomalies(conn, self.chain_id, repo::log::FOLD_SOURCE, &folded.anomalies).await?;
        for (contract, anomaly) in &folded.late_starts {
            repo::log::add_anomaly_once_a_contract(conn, self.chain_id, &address_text(contract), anomaly)
                .await?;
        }

        for anomaly in
            folded.anomalies.iter().chain(folded.late_starts.values()).filter(|_| self.counters.is_some())
        {
            let (kind, seq, detail) = (anomaly.kind, anomaly.journal_seq, &anomaly.detail);
            tracing::warn!(chain_id = self.chain_id, kind, journal_seq = seq, %detail, "anomaly");
        }
        if let Some(counters) = &mut self.counters {
            Self::tally(counters, &self.plans, &batch.items, &folded);
        }
        self.noticed_late.extend(folded.late_starts.keys());
        self.cache.stage(records, batch.known_positions());
        Ok(folded.undos)
    }

    async fn undo(&mut self, conn: &mut PgConnection, undone: Vec<Undone>) -> Result<(), FoldError> {
        self.cache.clear();
        // Newest first, so that of several undos of one row the oldest is seen last, and stays.
        let mut positions: BTreeMap<PositionKey, Option<PositionRow>> = BTreeMap::new();
        let mut mirrors: BTreeMap<MirrorKey, Option<MirrorRow>> = BTreeMap::new();
        let mut taken_back = Vec::with_capacity(undone.len());
        let mut writer = RowWriter::new(self.chain_id, &mut self.rows);
        let mut retracted_views = Vec::new();
        for mut undone in undone {
            let Some(event) = undone.record.event() else { continue };
            retracted_views.push(self.plans.of(event).map_or(UNKNOWN_VIEW, |plan| plan.view));
            taken_back.push(undone.record.seq);
            writer.retraction(&self.plans, &undone);
            let Some(undo) = undone.undo.take() else { continue };
            match Undo::from_json(undo) {
                Ok(Undo::Position { key, before }) => {
                    positions.insert(key, before);
                }
                Ok(Undo::Mirror { key, before }) => {
                    mirrors.insert(key, before);
                }
                Err(reason) => {
                    return Err(self.unreadable_undo(undone.record.seq, &reason));
                }
            }
        }
        self.rows.write(conn).await?;
        repo::log::take_back(conn, self.chain_id, &taken_back).await?;
        let restored: Vec<_> = positions.iter().filter_map(|(key, row)| Some((*key, (*row)?))).collect();
        let removed: Vec<_> =
            positions.iter().filter(|(_, row)| row.is_none()).map(|(key, _)| *key).collect();
        repo::position::put(conn, self.chain_id, &restored).await?;
        repo::position::remove(conn, self.chain_id, &removed).await?;
        let restored: Vec<_> = mirrors.iter().filter_map(|(key, row)| Some((key, row.clone()?))).collect();
        let removed: Vec<_> = mirrors.iter().filter(|(_, row)| row.is_none()).map(|(key, _)| key).collect();
        repo::mirror::put(conn, self.chain_id, &restored).await?;
        repo::mirror::remove(conn, self.chain_id, &removed).await?;
        for view in retracted_views {
            self.count(|| Count::Applied { view, status: ApplyStatus::Rejected.as_str() });
            self.count(|| Count::Rejected { reject_code: REORG_ROLLBACK });
        }
        Ok(())
    }

    async fn skip(
        &mut self,
        conn: &mut PgConnection,
        record: &Record,
        reason: &str,
    ) -> Result<(), FoldError> {
        let Some(event) = record.event() else { return Ok(()) };
        let view = self.plans.of(event).map_or(UNKNOWN_VIEW, |plan| plan.view);
        RowWriter::new(self.chain_id, &mut self.rows).skipped(&self.plans, record, reason);
        self.rows.write(conn).await?;
        tracing::warn!(
            chain_id = self.chain_id,
            journal_seq = record.seq,
            code = SKIPPED,
            reason,
            "record passed over"
        );
        self.count(|| Count::Applied { view, status: ApplyStatus::Error.as_str() });
        Ok(())
    }

    fn committed(&mut self) {
        self.cache.committed();
        self.known_late.extend(self.noticed_late.drain(..));
        if let Some(counters) = &mut self.counters {
            counters.publish(self.chain_id);
        }
    }

    fn rolled_back(&mut self) {
        self.cache.clear();
        self.noticed_late.clear();
        if let Some(counters) = &mut self.counters {
            counters.forget();
        }
    }
}
