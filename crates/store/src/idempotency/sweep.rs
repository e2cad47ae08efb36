//! Entries whose time is over go, a batch at a time; an operator takes one out on record.

use std::time::Duration;

use sqlx::PgConnection;
use tokio_util::sync::CancellationToken;

use super::decision::State;
use super::key::{Key, Scope};
use super::{IdempotencyError, repo};
use crate::db::Db;
use crate::lease::{Lease, Leases};

/// The lease under which one process at a time sweeps.
pub const SWEEP_LEASE: &str = "idempotency:sweep";
/// Entries that one transaction deletes.
const SWEEP_BATCH: i64 = 1_000;
/// Between two looks for entries whose time is over.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// Sweeps, in one process at a time, until `cancel` or until the lease is lost.
///
/// # Errors
/// The database's, or the lease's.
pub async fn run_sweeper(
    db: &Db,
    leases: &Leases,
    cancel: &CancellationToken,
) -> Result<(), IdempotencyError> {
    let lease = match leases.acquire_wait(SWEEP_LEASE, cancel).await {
        Ok(lease) => lease,
        Err(crate::LeaseError::Cancelled { .. }) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let outcome = loop {
        if let Err(error) = sweep(db, &lease, cancel).await {
            break Err(error);
        }
        tokio::select! {
            () = tokio::time::sleep(SWEEP_INTERVAL) => {}
            () = cancel.cancelled() => break Ok(()),
            () = lease.lost().cancelled() => break Ok(()),
        }
    };
    lease.release().await?;
    outcome
}

/// Deletes everything whose time is over, and returns how much that was. Ends, since each batch but the last is full and what is
/// deleted does not come back in time.
///
/// # Errors
/// The database's, or the lease's.
pub async fn sweep(db: &Db, lease: &Lease, cancel: &CancellationToken) -> Result<u64, IdempotencyError> {
    let mut total = 0;
    loop {
        let mut tx = db.begin_worker().await?;
        lease.guard(&mut tx).await?;
        let swept = repo::sweep(&mut tx, SWEEP_BATCH).await?;
        tx.commit().await?;
        metrics::counter!("idempotency_swept_total").increment(swept);
        total += swept;
        if swept < SWEEP_BATCH.unsigned_abs() || cancel.is_cancelled() {
            return Ok(total);
        }
    }
}

/// What was taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invalidated {
    /// How far it had got.
    pub state: State,
    /// What had been answered.
    pub status: Option<u16>,
}

/// Takes a key out, on record (`idempotency_invalidations`): its next use is its first. Whoever works on it just now can no longer
/// commit. `None`: there is no such key.
///
/// # Errors
/// [`IdempotencyError::Unsigned`] without an operator or a reason; else the database's.
pub async fn invalidate(
    conn: &mut PgConnection,
    scope: &Scope,
    key: &Key,
    operator: &str,
    reason: &str,
) -> Result<Option<Invalidated>, IdempotencyError> {
    if operator.trim().is_empty() || reason.trim().is_empty() {
        return Err(IdempotencyError::Unsigned);
    }
    let gone = repo::invalidate(conn, scope, key.as_str(), operator, reason).await?;
    if gone.is_some() {
        metrics::counter!("idempotency_invalidations_total").increment(1);
        tracing::warn!(%key, route = scope.route, operator, reason, "an idempotency key was taken out");
    }
    Ok(gone.map(|(state, status)| Invalidated { state, status: status.map(i16::unsigned_abs) }))
}
