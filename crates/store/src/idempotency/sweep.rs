//! Entries whose time is over go, a batch at a time; an operator takes one out on record.

use sqlx::PgConnection;
use tokio_util::sync::CancellationToken;

use super::decision::State;
use super::key::{Key, Scope};
use super::{IdempotencyError, repo};
use crate::db::Db;
use crate::lease::Lease;

/// Entries that one transaction deletes.
const SWEEP_BATCH: i64 = 1_000;
/// Deletes everything whose time is over, under a lease that one process at a time has, and returns how much that was. Ends, since each batch but the last is full and what is
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
