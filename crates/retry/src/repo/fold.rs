//! What the fold writes: failures, healings, where attempts are, and all of it back again.

use std::time::Duration;

use alloy_primitives::{Address, B256};
use plimsoll_journal::{Event, Transaction};
use plimsoll_types::address_text;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{all, jobs, one, to_i64, to_ms};
use crate::events::Key;
use crate::history;
use crate::job::Job;
use crate::state::Status;

/// A failure, as it is kept.
#[derive(Clone, Debug)]
pub(crate) struct Occurrence<'a> {
    pub(crate) journal_seq: i64,
    pub(crate) event: &'a Event,
    pub(crate) named: Address,
    pub(crate) code: &'a str,
    pub(crate) text: &'a str,
    pub(crate) raw: &'a [u8],
}

/// The open jobs of these users, locked.
pub(crate) async fn open_of(
    conn: &mut PgConnection,
    chain_id: u64,
    users: &[String],
) -> Result<Vec<Job>, sqlx::Error> {
    let rows = jobs!(
        "SELECT",
        r#"FROM cache_retry_jobs j WHERE j.chain_id = $1 AND j."user" = ANY ($2) AND j.status NOT IN ('succeeded', 'ignored', 'superseded') ORDER BY j.job_id FOR UPDATE"#,
        to_i64(chain_id),
        users,
    );
    all(rows.fetch_all(conn).await?)
}

/// A job, locked.
pub(crate) async fn lock(conn: &mut PgConnection, job_id: Uuid) -> Result<Option<Job>, sqlx::Error> {
    let row = jobs!("SELECT", "FROM cache_retry_jobs j WHERE j.job_id = $1 FOR UPDATE", job_id);
    one(row.fetch_optional(conn).await?)
}

/// The other job of this key that is open.
pub(crate) async fn other_open(conn: &mut PgConnection, job: &Job) -> Result<Option<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT job_id FROM cache_retry_jobs
           WHERE chain_id = $1 AND "user" = $2 AND asset IS NOT DISTINCT FROM $3 AND view_addr = $4 AND tenant_id = $5 AND job_id <> $6
             AND status NOT IN ('succeeded', 'ignored', 'superseded')"#,
        to_i64(job.chain_id),
        address_text(&job.key.user),
        job.key.asset.as_ref().map(address_text),
        address_text(&job.key.view),
        job.key.tenant_id,
        job.id,
    )
    .fetch_optional(conn)
    .await
}

/// The failures of one job that are on the chain become another's.
pub(crate) async fn hand_over(conn: &mut PgConnection, from: Uuid, to: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE cache_retry_occurrences SET job_id = $2 WHERE job_id = $1 AND NOT is_retracted",
        from,
        to
    )
    .execute(conn)
    .await
    .map(drop)
}

/// Opens a job for its first failure.
pub(crate) async fn open(
    conn: &mut PgConnection,
    actor: &str,
    (job_id, chain_id, key): (Uuid, u64, &Key),
    (cool_down, is_automatic): (Duration, bool),
    occurrence: &Occurrence<'_>,
) -> Result<Job, sqlx::Error> {
    let row = jobs!(
        r#"WITH opened AS (
               INSERT INTO cache_retry_jobs (job_id, tenant_id, chain_id, "user", asset, view_addr, next_available_at, is_automatic, reason_code, reason_text)
               VALUES ($1, $2, $3, $4, $5, $6, clock_timestamp() + $7::bigint * interval '1 millisecond', $8, $9, $10)
               RETURNING *
           ), audited AS (
               INSERT INTO cache_retry_audit (job_id, version, tenant_id, action, actor, note, after)
               SELECT job_id, version, tenant_id, 'enqueue', $11, reason_text,
                      jsonb_build_object('status', status, 'attempts', attempts, 'next_available_at', next_available_at, 'reason_code', reason_code)
               FROM opened
           )
           SELECT"#,
        "FROM opened j",
        job_id,
        key.tenant_id,
        to_i64(chain_id),
        address_text(&key.user),
        key.asset.as_ref().map(address_text),
        address_text(&key.view),
        to_ms(cool_down),
        is_automatic,
        occurrence.code,
        occurrence.text,
        actor,
    );
    let job = Job::try_from(row.fetch_one(&mut *conn).await?)?;
    keep(conn, &job, occurrence).await?;
    history::publish_step(conn, actor, None, occurrence.text, &job).await?;
    Ok(job)
}

/// One more failure of an open job.
pub(crate) async fn add(
    conn: &mut PgConnection,
    actor: &str,
    job: &Job,
    is_automatic: bool,
    occurrence: &Occurrence<'_>,
) -> Result<Job, sqlx::Error> {
    keep(conn, job, occurrence).await?;
    let reason = (occurrence.code, occurrence.text);
    let words = ("failed_again", occurrence.text);
    revise(conn, actor, job, (reason, is_automatic || job.is_automatic, None), words).await
}

/// What is known of a job's failures has changed: its newest reason, whether it is tried unasked, and what healed it since.
pub(crate) async fn revise(
    conn: &mut PgConnection,
    actor: &str,
    job: &Job,
    ((code, text), is_automatic, healed_seq): ((&str, &str), bool, Option<i64>),
    (action, note): (&str, &str),
) -> Result<Job, sqlx::Error> {
    let row = jobs!(
        r#"WITH revised AS (
               UPDATE cache_retry_jobs SET version = version + 1, reason_code = $2, reason_text = $3, is_automatic = $4, healed_seq = $5, updated_at = clock_timestamp()
               WHERE job_id = $1 RETURNING *
           ), audited AS (
               INSERT INTO cache_retry_audit (job_id, version, tenant_id, action, actor, note, before, after)
               SELECT job_id, version, tenant_id, $6, $7, $8, jsonb_build_object('status', status, 'attempts', attempts, 'reason_code', $9::text),
                      jsonb_build_object('status', status, 'attempts', attempts, 'reason_code', reason_code)
               FROM revised
           )
           SELECT"#,
        "FROM revised j",
        job.id,
        code,
        text,
        is_automatic,
        healed_seq,
        action,
        actor,
        note,
        job.reason_code,
    );
    let revised = Job::try_from(row.fetch_one(&mut *conn).await?)?;
    history::publish_step(conn, actor, Some(job.status), note, &revised).await?;
    Ok(revised)
}

async fn keep(conn: &mut PgConnection, job: &Job, occurrence: &Occurrence<'_>) -> Result<(), sqlx::Error> {
    let event = occurrence.event;
    sqlx::query!(
        "INSERT INTO cache_retry_occurrences (chain_id, journal_seq, job_id, tenant_id, block_number, block_hash, tx_hash, log_index, contract_address, view_addr, reason_code,
                                              reason_text, reason_raw)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        to_i64(job.chain_id),
        occurrence.journal_seq,
        job.id,
        job.key.tenant_id,
        to_i64(event.block_number),
        event.block_hash.as_slice(),
        event.tx_hash.as_slice(),
        event.log_index.cast_signed(),
        address_text(&event.contract),
        address_text(&occurrence.named),
        occurrence.code,
        occurrence.text,
        occurrence.raw,
    )
    .execute(conn)
    .await
    .map(drop)
}

/// A failure left the chain; whose it was.
pub(crate) async fn retract(
    conn: &mut PgConnection,
    chain_id: u64,
    journal_seq: i64,
) -> Result<Option<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        "UPDATE cache_retry_occurrences SET is_retracted = true WHERE chain_id = $1 AND journal_seq = $2 RETURNING job_id",
        to_i64(chain_id),
        journal_seq,
    )
    .fetch_optional(conn)
    .await
}

/// Code and text of a job's newest failure that is on the chain; none: all of them left it.
pub(crate) async fn newest_reason(
    conn: &mut PgConnection,
    job_id: Uuid,
) -> Result<Option<(String, String)>, sqlx::Error> {
    let row = sqlx::query!(
        "SELECT reason_code, reason_text FROM cache_retry_occurrences WHERE job_id = $1 AND NOT is_retracted ORDER BY journal_seq DESC LIMIT 1",
        job_id,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| (row.reason_code, row.reason_text)))
}

/// What healed a job's key since its newest failure, while an attempt of it is under way; or that nothing did, after all.
pub(crate) async fn note_healing(
    conn: &mut PgConnection,
    job_id: Uuid,
    healed_seq: Option<i64>,
) -> Result<(), sqlx::Error> {
    sqlx::query!("UPDATE cache_retry_jobs SET healed_seq = $2 WHERE job_id = $1", job_id, healed_seq)
        .execute(conn)
        .await
        .map(drop)
}

/// Notes where the chain has attempts, by the requests that these transactions carry.
pub(crate) async fn include(
    conn: &mut PgConnection,
    chain_id: u64,
    transactions: &[(Uuid, &Transaction)],
) -> Result<(), sqlx::Error> {
    let column = |of: fn(&Transaction) -> B256| {
        transactions.iter().map(|(_, transaction)| of(transaction).to_vec()).collect::<Vec<_>>()
    };
    let requests: Vec<_> = transactions.iter().map(|(request_id, _)| *request_id).collect();
    let senders: Vec<_> = transactions.iter().map(|(_, one)| address_text(&one.sender)).collect();
    let blocks: Vec<_> = transactions.iter().map(|(_, one)| to_i64(one.block_number)).collect();
    let indices: Vec<_> = transactions.iter().map(|(_, one)| one.tx_index.cast_signed()).collect();
    let succeeded: Vec<_> = transactions.iter().map(|(_, one)| one.succeeded).collect();
    sqlx::query!(
        "UPDATE cache_retry_jobs j
         SET tx_hash = i.tx_hash, block_number = i.block_number, block_hash = i.block_hash, tx_index = i.tx_index, succeeded = i.succeeded, updated_at = clock_timestamp()
         FROM unnest($2::uuid[], $3::text[], $4::bytea[], $5::bigint[], $6::bytea[], $7::int[], $8::boolean[])
                  AS i(request_id, sender, tx_hash, block_number, block_hash, tx_index, succeeded)
         WHERE j.request_id = i.request_id AND j.chain_id = $1 AND j.signer = i.sender AND j.status IN ('submitted', 'awaiting_event')",
        to_i64(chain_id),
        &requests,
        &senders,
        &column(|transaction| transaction.tx_hash),
        &blocks,
        &column(|transaction| transaction.block_hash),
        &indices,
        &succeeded,
    )
    .execute(conn)
    .await
    .map(drop)
}

/// This transaction left the chain with its block.
pub(crate) async fn exclude(
    conn: &mut PgConnection,
    request_id: Uuid,
    transaction: &Transaction,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE cache_retry_jobs SET tx_hash = NULL, block_number = NULL, block_hash = NULL, tx_index = NULL, succeeded = NULL, updated_at = clock_timestamp()
         WHERE request_id = $1 AND tx_hash = $2 AND block_hash = $3",
        request_id,
        transaction.tx_hash.as_slice(),
        transaction.block_hash.as_slice(),
    )
    .execute(conn)
    .await
    .map(drop)
}
