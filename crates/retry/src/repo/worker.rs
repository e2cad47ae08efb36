//! What the worker reads, and the budget of what is tried unasked.

use sqlx::PgConnection;
use uuid::Uuid;

use super::{all, jobs, to_i64};
use crate::job::Job;
use crate::state::Status;

/// Jobs that may be tried now, locked; those that are locked otherwise are passed over. `is_automatic`: those that nobody asked for.
pub(crate) async fn due(
    conn: &mut PgConnection,
    chain_id: u64,
    is_automatic: bool,
    limit: i64,
) -> Result<Vec<Job>, sqlx::Error> {
    let rows = jobs!(
        "SELECT",
        r#"FROM cache_retry_jobs j
           WHERE j.chain_id = $1 AND j.is_automatic = $2 AND j.status IN ('queued', 'backoff') AND (j.is_automatic OR j.asked_by IS NOT NULL)
             AND j.next_available_at <= clock_timestamp()
           ORDER BY j.next_available_at LIMIT $3 FOR UPDATE SKIP LOCKED"#,
        to_i64(chain_id),
        is_automatic,
        limit,
    );
    all(rows.fetch_all(conn).await?)
}

/// Jobs in this status, after this one, by their ids.
pub(crate) async fn in_status(
    conn: &mut PgConnection,
    chain_id: u64,
    status: Status,
    after: Uuid,
    limit: i64,
) -> Result<Vec<Job>, sqlx::Error> {
    let rows = jobs!(
        "SELECT",
        "FROM cache_retry_jobs j WHERE j.chain_id = $1 AND j.status = $2 AND j.job_id > $3 ORDER BY j.job_id LIMIT $4",
        to_i64(chain_id),
        status as Status,
        after,
        limit,
    );
    all(rows.fetch_all(conn).await?)
}

/// How much was tried unasked in the hour that is counted, locked; another hour begins where that is over.
pub(crate) async fn spent(conn: &mut PgConnection, chain_id: u64) -> Result<u32, sqlx::Error> {
    let spent = sqlx::query_scalar!(
        "INSERT INTO cache_retry_budgets AS b (chain_id) VALUES ($1)
         ON CONFLICT (chain_id) DO UPDATE
         SET attempts = CASE WHEN b.began_at <= clock_timestamp() - interval '1 hour' THEN 0 ELSE b.attempts END,
             began_at = CASE WHEN b.began_at <= clock_timestamp() - interval '1 hour' THEN clock_timestamp() ELSE b.began_at END
         RETURNING attempts",
        to_i64(chain_id),
    )
    .fetch_one(conn)
    .await?;
    Ok(spent.cast_unsigned())
}

/// One more was.
pub(crate) async fn spend(conn: &mut PgConnection, chain_id: u64) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE cache_retry_budgets SET attempts = attempts + 1 WHERE chain_id = $1",
        to_i64(chain_id)
    )
    .execute(conn)
    .await
    .map(drop)
}
