//! A step of a job: by compare-and-set, with its row of the audit and its event.

use plimsoll_types::address_text;
use sqlx::PgConnection;

use super::{jobs, one, to_ms};
use crate::history;
use crate::job::Job;
use crate::state::{Status, Step};

/// Takes a step, in somebody's name. `None`: the job is not in the status any more that the step begins in, and nothing was written.
pub(crate) async fn take(
    conn: &mut PgConnection,
    actor: &str,
    step: impl Into<Step>,
) -> Result<Option<Job>, sqlx::Error> {
    let step = step.into();
    let columns = &step.columns;
    let attempt = columns.attempt.as_ref();
    let row = jobs!(
        r#"WITH before AS (
               SELECT j.job_id, jsonb_build_object('status', j.status, 'attempts', j.attempts, 'next_available_at', j.next_available_at, 'reason_code', j.reason_code,
                                                   'request_id', j.request_id, 'transaction_id', j.transaction_id) AS document
               FROM cache_retry_jobs j WHERE j.job_id = $1 AND j.status = $2 FOR UPDATE
           ), taken AS (
               UPDATE cache_retry_jobs j
               SET status = $3, version = j.version + 1, why = $5, ended_seq = $6, updated_at = clock_timestamp(),
                   next_available_at = COALESCE(clock_timestamp() + $7::bigint * interval '1 millisecond', j.next_available_at),
                   transaction_id = CASE WHEN $8::int IS NULL THEN COALESCE($9, j.transaction_id) END,
                   attempts = COALESCE($8, j.attempts), request_id = COALESCE($10, j.request_id), signer = COALESCE($11, j.signer),
                   fencing_token = COALESCE($12, j.fencing_token),
                   tx_hash = CASE WHEN $8 IS NULL THEN j.tx_hash END, block_number = CASE WHEN $8 IS NULL THEN j.block_number END,
                   block_hash = CASE WHEN $8 IS NULL THEN j.block_hash END, tx_index = CASE WHEN $8 IS NULL THEN j.tx_index END,
                   succeeded = CASE WHEN $8 IS NULL THEN j.succeeded END
               FROM before b WHERE j.job_id = b.job_id
               RETURNING j.*
           ), audited AS (
               INSERT INTO cache_retry_audit (job_id, version, tenant_id, action, actor, note, before, after)
               SELECT t.job_id, t.version, t.tenant_id, $4, $13, $5, b.document,
                      jsonb_build_object('status', t.status, 'attempts', t.attempts, 'next_available_at', t.next_available_at, 'reason_code', t.reason_code,
                                         'request_id', t.request_id, 'transaction_id', t.transaction_id)
               FROM taken t JOIN before b USING (job_id)
           )
           SELECT"#,
        "FROM taken j",
        step.job_id,
        step.from as Status,
        step.to as Status,
        columns.action,
        columns.note,
        columns.ended_seq,
        columns.retry_in.map(to_ms),
        attempt.map(|attempt| attempt.attempt.cast_signed()),
        columns.transaction_id,
        attempt.map(|attempt| attempt.request_id),
        attempt.map(|attempt| address_text(&attempt.signer)),
        attempt.map(|attempt| attempt.fencing_token),
        actor,
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(job) = one(row)? else { return Ok(None) };
    history::publish_step(conn, actor, Some(step.from), &columns.note, &job).await?;
    Ok(Some(job))
}
