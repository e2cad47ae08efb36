//! The continuous comparison: round and round, each time at the block that the books then stand at.

use std::time::Duration;

use plimsoll_chain::Pool;
use plimsoll_store::{Db, Lease, LeaseError, Leases};
use plimsoll_types::Amount;
use tokio_util::sync::CancellationToken;

use super::check::{BalanceReport, Break, CheckError, TOLERANCE, check};
use super::suspense::settle;

/// The pause after a comparison.
const ROUND_PAUSE: Duration = Duration::from_secs(15);

/// The lease that a chain's comparison holds.
#[must_use]
pub fn lease_name(chain_id: u64) -> String {
    format!("verify:balances:{chain_id}")
}

/// Compares the books with the chain for ever, in one process at a time, and books what is silent against suspense.
pub struct BalanceChecker {
    db: Db,
    pool: Pool,
    leases: Leases,
    chain_id: u64,
    tolerance: Amount,
}

impl BalanceChecker {
    /// A comparison of this chain.
    #[must_use]
    pub fn new(db: Db, pool: Pool, leases: Leases, chain_id: u64) -> Self {
        Self { db, pool, leases, chain_id, tolerance: Amount::from(TOLERANCE) }
    }

    /// Runs until `cancel`.
    ///
    /// # Errors
    /// When the database fails: a restart may heal it. A node that does not answer is waited for.
    pub async fn run(&self, cancel: &CancellationToken) -> Result<(), CheckError> {
        let name = lease_name(self.chain_id);
        while !cancel.is_cancelled() {
            let lease = match self.leases.acquire_wait(&name, cancel).await {
                Ok(lease) => lease,
                Err(LeaseError::Cancelled { .. }) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let outcome = self.rounds(&lease, cancel).await;
            match outcome {
                Err(CheckError::Lease(LeaseError::Fenced { .. })) => {}
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
    async fn rounds(&self, lease: &Lease, cancel: &CancellationToken) -> Result<(), CheckError> {
        while !cancel.is_cancelled() && !lease.lost().is_cancelled() {
            let round = tokio::select! {
                round = self.round(lease) => round,
                () = cancel.cancelled() => return Ok(()),
            };
            match round {
                Ok(_) => {}
                Err(CheckError::Rpc(error)) => {
                    tracing::warn!(chain_id = self.chain_id, %error, "the comparison of balances waits for the node");
                }
                Err(other) => return Err(other),
            }
            tokio::select! {
                () = tokio::time::sleep(ROUND_PAUSE) => {}
                () = cancel.cancelled() => {}
                () = lease.lost().cancelled() => {}
            }
        }
        Ok(())
    }

    /// One comparison, and what follows from it.
    ///
    /// # Errors
    /// As [`check`]; the lease is gone; or the books do not take what was found.
    pub async fn round(&self, lease: &Lease) -> Result<BalanceReport, CheckError> {
        let report = check(&self.db, &self.pool, self.chain_id, self.tolerance).await?;
        let settled = settle(&self.db, lease, self.tolerance, &report).await?;
        for found in &report.breaks {
            told(self.chain_id, found);
        }
        let chain = self.chain_id.to_string();
        metrics::counter!("balance_verify_checked_total", "chain_id" => chain.clone())
            .increment(report.accounts());
        metrics::counter!("balance_verify_mismatch_total", "chain_id" => chain.clone())
            .increment(report.unexplained() as u64);
        metrics::counter!("balance_verify_unverified_total", "chain_id" => chain.clone())
            .increment(report.unverified.len() as u64);
        metrics::counter!("balance_verify_suspense_total", "chain_id" => chain).increment(settled);
        Ok(report)
    }
}

/// What an account held before its first posting is found once, and expected.
fn told(chain_id: u64, found: &Break) {
    let Break { account_id, name, currency, ledger, chain, .. } = found;
    if found.is_opening {
        tracing::info!(chain_id, %account_id, account = name, currency, held = %found.difference, "an account held something before its first posting: its opening balance is held in suspense");
    } else {
        tracing::error!(chain_id, %account_id, account = name, currency, %ledger, %chain, "the books differ from the chain");
    }
}
