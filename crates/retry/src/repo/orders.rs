//! What operators order.

use sqlx::PgConnection;
use uuid::Uuid;

use super::{jobs, one};
use crate::history;
use crate::state::Status;

/// Wants a job tried that waits.
pub(crate) async fn ask(
    conn: &mut PgConnection,
    job_id: Uuid,
    actor: &str,
    note: &str,
) -> Result<bool, sqlx::Error> {
    let row = jobs!(
        r#"WITH asked AS (
               UPDATE cache_retry_jobs SET version = version + 1, asked_by = $2, is_automatic = false, updated_at = clock_timestamp()
               WHERE job_id = $1 AND status IN ('queued', 'backoff') RETURNING *
           ), audited AS (
               INSERT INTO cache_retry_audit (job_id, version, tenant_id, action, actor, note, before, after)
               SELECT job_id, version, tenant_id, 'ask', $2, $3, jsonb_build_object('status', status, 'attempts', attempts),
                      jsonb_build_object('status', status, 'attempts', attempts, 'asked_by', asked_by)
               FROM asked
           )
           SELECT"#,
        "FROM asked j",
        job_id,
        actor,
        note,
    );
    let Some(job) = one(row.fetch_optional(&mut *conn).await?)? else { return Ok(false) };
    history::publish_step(conn, actor, Some(job.status), note, &job).await?;
    Ok(true)
}
