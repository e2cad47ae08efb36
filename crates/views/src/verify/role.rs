//! The continuous verification: round and round the mirrors, at a low rate.

use std::time::Duration;

use plimsoll_chain::Pool;
use plimsoll_chain::abi::Contracts;
use plimsoll_store::{Db, Lease, LeaseError, Leases};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{Mismatch, VerifyError, VerifyReport, Walk};
use crate::batch::Anomaly;
use crate::repo::log;
use crate::repo::read::Place;

/// `anomalies.source`.
const SOURCE: &str = "verify";
/// `anomalies.kind`.
const MIRROR_MISMATCH: &str = "mirror_mismatch";
/// The pause after a round, however few rows it had.
const MIN_ROUND_PAUSE: Duration = Duration::from_secs(5);
/// The pause after the node did not answer.
const FAILURE_PAUSE: Duration = Duration::from_secs(15);

/// How fast to go.
#[derive(Clone, Copy, Debug)]
pub struct VerifierOptions {
    /// Rows compared in a second, on average.
    pub rows_per_s: u32,
    /// Rows a page: one snapshot, one batch of calls.
    pub page_rows: u32,
}

impl Default for VerifierOptions {
    fn default() -> Self {
        Self { rows_per_s: 20, page_rows: 20 }
    }
}

/// The lease that a chain's verifier holds.
#[must_use]
pub fn lease_name(chain_id: u64) -> String {
    format!("verify:views:{chain_id}")
}

/// Compares the chain's mirrors with its contracts for ever, in one process at a time.
pub struct Verifier {
    walk: Walk,
    leases: Leases,
    options: VerifierOptions,
}

impl Verifier {
    /// A verifier of this chain.
    #[must_use]
    pub fn new(
        db: Db,
        endpoints: impl Into<Pool>,
        leases: Leases,
        chain_id: u64,
        contracts: &Contracts,
        options: VerifierOptions,
    ) -> Self {
        Self { walk: Walk::new(db, endpoints.into(), chain_id, contracts), leases, options }
    }

    /// Runs until `cancel`.
    ///
    /// # Errors
    /// When the database fails: a restart may heal it. A node that does not answer is waited for.
    pub async fn run(&mut self, cancel: &CancellationToken) -> Result<(), VerifyError> {
        let name = lease_name(self.walk.chain_id);
        while !cancel.is_cancelled() {
            let lease = match self.leases.acquire_wait(&name, cancel).await {
                Ok(lease) => lease,
                Err(LeaseError::Cancelled { .. }) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let outcome = self.rounds(&lease, cancel).await;
            match outcome {
                Err(VerifyError::Lease(LeaseError::Fenced { .. })) => {}
                Ok(()) if lease.lost().is_cancelled() => {}
                other => {
                    lease.release().await?;
                    return other;
                }
            }
        }
        Ok(())
    }

    /// Until cancelled, or the lease is lost.
    async fn rounds(&mut self, lease: &Lease, cancel: &CancellationToken) -> Result<(), VerifyError> {
        self.walk.place = Place::Start;
        while !cancel.is_cancelled() && !lease.lost().is_cancelled() {
            let mut report = VerifyReport { chain_id: self.walk.chain_id, ..VerifyReport::default() };
            let page = tokio::select! {
                page = self.walk.page(self.options.page_rows, &mut report) => page,
                () = cancel.cancelled() => return Ok(()),
            };
            let pause = match page {
                Ok(more) => {
                    let pause = Duration::from_secs(1) * u32::try_from(report.rows).unwrap_or(u32::MAX)
                        / self.options.rows_per_s.max(1);
                    if more {
                        pause
                    } else {
                        self.walk.place = Place::Start;
                        pause.max(MIN_ROUND_PAUSE)
                    }
                }
                Err(VerifyError::Rpc(error)) => {
                    tracing::warn!(chain_id = self.walk.chain_id, %error, "verification waits for the node");
                    FAILURE_PAUSE
                }
                Err(other) => return Err(other),
            };
            self.record(lease, &report).await?;
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = cancel.cancelled() => {}
                () = lease.lost().cancelled() => {}
            }
        }
        Ok(())
    }

    async fn record(&self, lease: &Lease, report: &VerifyReport) -> Result<(), VerifyError> {
        let chain_id = self.walk.chain_id;
        let anomalies: Vec<_> = report.mismatches.iter().map(anomaly).collect();
        if !anomalies.is_empty() {
            let mut tx = self.walk.db.begin_worker().await?;
            lease.guard(&mut tx).await?;
            log::add_anomalies(&mut tx, chain_id, SOURCE, &anomalies).await?;
            tx.commit().await?;
        }
        for mismatch in &report.mismatches {
            let (contract, view, key) = (&mismatch.contract, &mismatch.view, &mismatch.key);
            tracing::error!(
                chain_id,
                contract,
                view,
                key,
                block_number = mismatch.block_number,
                "the mirror differs from the chain"
            );
        }
        let chain = chain_id.to_string();
        metrics::counter!("mirror_verify_checked_total", "chain_id" => chain.clone()).increment(report.rows);
        metrics::counter!("mirror_verify_mismatch_total", "chain_id" => chain.clone())
            .increment(report.mismatched_rows);
        metrics::counter!("mirror_verify_unverified_total", "chain_id" => chain)
            .increment(report.unverified_rows);
        Ok(())
    }
}

fn anomaly(mismatch: &Mismatch) -> Anomaly {
    let detail = serde_json::to_value(mismatch).unwrap_or_else(|error| json!({ "error": error.to_string() }));
    Anomaly { kind: MIRROR_MISMATCH, journal_seq: mismatch.journal_seq, detail }
}
