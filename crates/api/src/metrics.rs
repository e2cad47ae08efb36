//! Metrics: the recorder of the process, and the gauges that are read from the database when someone asks.
//!
//! Counters and histograms are counted where things happen. What the database knows better (marks, lags, leases, anomalies) is read at the
//! scrape: it is then true in whatever process answers, and costs nothing while nobody asks.

mod describe;
mod relayer;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics::{counter, gauge};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use plimsoll_types::api::{ChainState, FoldState};
use sqlx::PgPool;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::fresh::FreshnessLimits;
use crate::limits::{COLLECT_INTERVAL_MS, PROBE_TIMEOUT_MS};
use crate::repo::{RepoError, chains, operations};

/// From half a millisecond to half a minute.
const SECONDS: &[f64] =
    &[0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// From a hundredth of a second to an hour: what waits for blocks, and for a turn.
const WAITS: &[f64] =
    &[0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3_600.0];
/// Depths, ranges, batches.
const COUNTS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 64.0, 256.0, 1_024.0, 4_096.0, 16_384.0, 65_536.0];
/// How often histogram samples are moved into their buckets: between two, they wait in memory.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// The recorder cannot be installed.
#[derive(Debug, thiserror::Error)]
#[error("metrics cannot be recorded: {0}; a process installs its recorder once")]
pub struct InstallError(#[from] BuildError);

/// Installs the process's recorder and describes the metrics. Once a process, before anything is counted.
///
/// A process that does not [`crate::serve`] runs [`upkeep`] itself.
///
/// # Errors
/// When the process has a recorder already.
pub fn install() -> Result<PrometheusHandle, InstallError> {
    let handle = PrometheusBuilder::new()
        .set_buckets(COUNTS)?
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)?
        .set_buckets_for_metric(Matcher::Full("relayer_reached_seconds".to_owned()), WAITS)?
        .install_recorder()?;
    describe::describe();
    Ok(handle)
}

/// Moves histogram samples into their buckets until `cancel`; without it they pile up between scrapes.
pub async fn upkeep(handle: PrometheusHandle, cancel: CancellationToken) {
    let mut tick = tokio::time::interval(UPKEEP_INTERVAL);
    while cancel.run_until_cancelled(tick.tick()).await.is_some() {
        handle.run_upkeep();
    }
}

/// Sets the gauges that the database knows, when a scrape asks.
#[derive(Clone, Debug)]
pub struct Collector {
    app: PgPool,
    operations: PgPool,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    at: Option<Instant>,
    lease_holders: HashSet<(String, String)>,
}

impl Collector {
    /// `app` reads the public marks; `operations` (the worker's pool) anomalies and leases.
    #[must_use]
    pub fn new(app: PgPool, operations: PgPool) -> Self {
        Self { app, operations, seen: Arc::default() }
    }

    /// Brings the gauges up to date. A database that does not answer in time is told by `database_up`.
    pub async fn collect(&self) {
        let mut seen = self.seen.lock().await;
        if seen.at.is_some_and(|at| at.elapsed() < Duration::from_millis(COLLECT_INTERVAL_MS)) {
            return;
        }
        let limit = Duration::from_millis(PROBE_TIMEOUT_MS);
        let is_up = match tokio::time::timeout(limit, self.read(&mut seen.lease_holders)).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::warn!(%error, "metrics of the database cannot be read");
                false
            }
            Err(_) => {
                tracing::warn!(limit_ms = PROBE_TIMEOUT_MS, "metrics of the database were not read in time");
                false
            }
        };
        gauge!("database_up").set(if is_up { 1.0 } else { 0.0 });
        seen.at = Some(Instant::now());
    }

    async fn read(&self, lease_holders: &mut HashSet<(String, String)>) -> Result<(), RepoError> {
        for standing in chains::standings(&self.app, None, &FreshnessLimits::default()).await? {
            set_chain(&standing);
        }
        let pool = &self.operations;
        for anomaly in operations::anomalies(pool).await? {
            counter!("anomalies_total", "chain_id" => anomaly.chain_id.to_string(), "source" => anomaly.source, "kind" => anomaly.kind)
                .absolute(anomaly.count.unsigned_abs());
        }
        for lag in operations::outbox_lags(pool).await? {
            gauge!("outbox_lag_events", "stream" => lag.stream, "reader" => lag.reader)
                .set(number(lag.events.unsigned_abs()));
        }
        relayer::collect(pool).await?;
        for (lease, holder) in lease_holders.drain() {
            gauge!("lease_holder", "lease" => lease, "holder" => holder).set(0.0);
        }
        for lease in operations::leases(pool).await? {
            gauge!("lease_fencing_token", "lease" => lease.name.clone())
                .set(number(lease.fencing_token.unsigned_abs()));
            gauge!("lease_remaining_seconds", "lease" => lease.name.clone()).set(lease.remaining_seconds);
            gauge!("lease_holder", "lease" => lease.name.clone(), "holder" => lease.holder.clone())
                .set(if lease.is_held() { 1.0 } else { 0.0 });
            lease_holders.insert((lease.name, lease.holder));
        }
        Ok(())
    }
}

fn set_chain(standing: &chains::Standing) {
    let chain = &standing.chain;
    let id = chain.chain_id.to_string();
    let set = |name: &'static str, value: Option<f64>| {
        if let Some(value) = value {
            gauge!(name, "chain_id" => id.clone()).set(value);
        }
    };
    set("chain_head_number", chain.head.as_ref().map(|head| number(head.number)));
    set("chain_confirmed_number", chain.confirmed_number.map(number));
    set("chain_final_number", chain.final_number.map(number));
    set("chain_rpc_head_number", chain.node_head.as_ref().map(|head| number(head.number)));
    set("chain_rpc_head_age_seconds", chain.node_head.as_ref().and_then(|head| head.age_seconds));
    set("chain_lag_blocks", chain.lag_blocks.map(number));
    set("chain_halted", Some(if chain.state == ChainState::Halted { 1.0 } else { 0.0 }));
    set("journal_seq", Some(number(chain.journal_seq)));
    for fold in &chain.folds {
        let set = |name: &'static str, value: f64| {
            gauge!(name, "fold" => fold.fold.clone(), "chain_id" => id.clone()).set(value);
        };
        set("fold_lag_blocks", number(fold.lag_blocks));
        set("fold_lag_records", number(fold.lag_records));
        if let Some(lag) = fold.lag_seconds {
            set("fold_lag_seconds", lag);
        }
        set("fold_stopped", if fold.state == FoldState::Stopped { 1.0 } else { 0.0 });
    }
}

/// Gauges are doubles; block numbers and sequences stay below 2^53.
#[allow(clippy::cast_precision_loss)]
fn number(value: u64) -> f64 {
    value as f64
}
