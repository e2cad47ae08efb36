//! What operators order: that a job be tried, or left.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::repo::{fold, orders as repo, steps};
use crate::state::{Backoff, Change, Deadletter, Ignored, Left, Queued, Status, Step};

/// Has a job tried as soon as it may be, and again as often as it may be: whoever asks, and why, is on record. `false`: it does not wait to be tried. `conn` is the worker's.
///
/// # Errors
/// The database's.
pub async fn ask(
    conn: &mut PgConnection,
    job_id: Uuid,
    actor: &str,
    note: &str,
) -> Result<bool, sqlx::Error> {
    repo::ask(conn, job_id, actor, note).await
}

/// Leaves a job as it is: nothing is tried for it any more. A further failure of its key opens another. `false`: it does not wait, or an attempt of it is under way. `conn` is the worker's.
///
/// # Errors
/// The database's.
pub async fn ignore(
    conn: &mut PgConnection,
    job_id: Uuid,
    actor: &str,
    note: &str,
) -> Result<bool, sqlx::Error> {
    let Some(job) = fold::lock(conn, job_id).await? else { return Ok(false) };
    let left = Left { note: note.to_owned() };
    let step: Step = match job.status {
        Status::Queued => Change::<Queued, Ignored>::new(job_id, left).into(),
        Status::Backoff => Change::<Backoff, Ignored>::new(job_id, left).into(),
        Status::Deadletter => Change::<Deadletter, Ignored>::new(job_id, left).into(),
        _ => return Ok(false),
    };
    Ok(steps::take(conn, actor, step).await?.is_some())
}
