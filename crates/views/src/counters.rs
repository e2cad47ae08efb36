//! The fold's metrics (spec 1 §10.1), counted once: gathered while a batch is folded, published when it is committed, dropped when it
//! is rolled back and folded again.

use std::collections::BTreeMap;

/// Counted since the last commit.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pending: BTreeMap<Count, u64>,
}

/// What is counted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Count {
    /// `view_applied_total{view,status}`
    Applied { view: &'static str, status: &'static str },
    /// `apply_rejected_total{reject_code}`
    Rejected { reject_code: &'static str },
    /// `cache_update_failed_total{view,asset}`
    CacheUpdateFailed { view: String, asset: String },
    /// `positionview_idempotent_ignored_total`
    IdempotentIgnored,
    /// `view_anomalies_total{kind}`
    Anomaly { kind: &'static str },
}

impl Counters {
    pub(crate) fn add(&mut self, count: Count) {
        *self.pending.entry(count).or_default() += 1;
    }

    pub(crate) fn forget(&mut self) {
        self.pending.clear();
    }

    pub(crate) fn publish(&mut self, chain_id: u64) {
        let chain = chain_id.to_string();
        for (count, by) in std::mem::take(&mut self.pending) {
            let counter = match count {
                Count::Applied { view, status } => {
                    metrics::counter!("view_applied_total", "chain_id" => chain.clone(), "view" => view, "status" => status)
                }
                Count::Rejected { reject_code } => {
                    metrics::counter!("apply_rejected_total", "chain_id" => chain.clone(), "reject_code" => reject_code)
                }
                Count::CacheUpdateFailed { view, asset } => {
                    metrics::counter!("cache_update_failed_total", "chain_id" => chain.clone(), "view" => view, "asset" => asset)
                }
                Count::IdempotentIgnored => {
                    metrics::counter!("positionview_idempotent_ignored_total", "chain_id" => chain.clone())
                }
                Count::Anomaly { kind } => {
                    metrics::counter!("view_anomalies_total", "chain_id" => chain.clone(), "kind" => kind)
                }
            };
            counter.increment(by);
        }
    }
}
