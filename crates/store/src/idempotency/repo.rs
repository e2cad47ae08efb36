//! The statements.
//!
//! Several rows are locked in the order of their ids. How keys are looked at is in [`looks`].
//!
//! A connection keeps the plan that it made for a statement, perhaps when the table was all but empty; a plan that reads all of it would be
//! kept while it grows. So one row is asked for by its key alone, and where there are several, the transaction is one that looks by keys ([`crate::Db::tenant_tx_by_keys`]).

pub(super) mod looks;

use serde_json::Value;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::decision::State;
use super::key::Scope;
use crate::repo::tenants::begin_and;
use crate::roles::sql_state;
use crate::tx::Tx;

/// What `hold_claim` says of a claim that is another's, or nobody's.
const NOT_HELD: &str = "PL001";

/// Begins a transaction of the tenant that has the entry locked under this claim. `None`: the claim is not held any more.
pub(super) async fn begin_holding(
    pool: &PgPool,
    tenant: Uuid,
    entry_id: i64,
    claim: Uuid,
) -> Result<Option<Tx>, sqlx::Error> {
    let more = format!("; SELECT hold_claim({entry_id}, '{claim}')");
    match Tx::by(pool, begin_and(&[tenant], &more)).await {
        Ok(tx) => Ok(Some(tx)),
        Err(error) if sql_state(&error).as_deref() == Some(NOT_HELD) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Locks an entry that is still held under this claim until the transaction ends.
pub(super) async fn lock(conn: &mut PgConnection, entry_id: i64, claim: Uuid) -> Result<bool, sqlx::Error> {
    let row = sqlx::query!(
        r#"SELECT true AS "held!" FROM idempotency_cache
           WHERE entry_id = $1 AND claim = $2 AND state = 'in_flight' FOR NO KEY UPDATE"#,
        entry_id,
        claim
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.is_some())
}

/// Locks those that are still held under these claims, and returns their claims. A claim is random: it belongs to one entry.
pub(super) async fn lock_all(
    conn: &mut PgConnection,
    entries: &[i64],
    claims: &[Uuid],
) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        "SELECT claim FROM idempotency_cache
         WHERE entry_id = ANY ($1) AND claim = ANY ($2) AND state = 'in_flight'
         ORDER BY entry_id
         FOR NO KEY UPDATE",
        entries,
        claims
    )
    .fetch_all(conn)
    .await
}

/// Sets a recovery point, and gives the claim its whole term again. `false`: the claim is not held any more.
pub(super) async fn advance(
    conn: &mut PgConnection,
    (entry_id, claim): (i64, Uuid),
    (name, data): (&str, &Value),
    claim_term_ms: i64,
    ttl_ms: i64,
) -> Result<bool, sqlx::Error> {
    let result = sqlx::query!(
        "UPDATE idempotency_cache
         SET recovery_point = $3, recovery_data = $4, claim_expires_at = clock_timestamp() + $5::bigint * interval '1 millisecond',
             expires_at = GREATEST(expires_at, clock_timestamp() + $6::bigint * interval '1 millisecond')
         WHERE entry_id = $1 AND claim = $2 AND state = 'in_flight'",
        entry_id,
        claim,
        name,
        data,
        claim_term_ms,
        ttl_ms
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Answers, one for each index of the vectors.
#[derive(Default)]
pub(super) struct Answers {
    pub(super) entries: Vec<i64>,
    pub(super) claims: Vec<Uuid>,
    pub(super) statuses: Vec<i16>,
    pub(super) headers: Vec<Option<Value>>,
    pub(super) bodies: Vec<Option<Vec<u8>>>,
}

/// Completes an entry that is still held under this claim.
pub(super) async fn complete(
    conn: &mut PgConnection,
    (entry_id, claim): (i64, Uuid),
    (status, headers, body): (i16, Option<&Value>, Option<&[u8]>),
) -> Result<bool, sqlx::Error> {
    let result = sqlx::query!(
        "UPDATE idempotency_cache
         SET state = 'done', result_status = $3, result_headers = $4, result = $5, recovery_point = NULL, recovery_data = NULL
         WHERE entry_id = $1 AND claim = $2 AND state = 'in_flight'",
        entry_id,
        claim,
        status,
        headers,
        body
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Completes those that are still held under these claims, and returns their ids.
pub(super) async fn complete_all(
    conn: &mut PgConnection,
    answers: &Answers,
) -> Result<Vec<i64>, sqlx::Error> {
    sqlx::query_scalar!(
        "UPDATE idempotency_cache AS entry
         SET state = 'done', recovery_point = NULL, recovery_data = NULL,
             (result_status, result_headers, result) = (
                 SELECT done.status, done.headers, done.body
                 FROM unnest($1::bigint[], $3::smallint[], $4::jsonb[], $5::bytea[]) AS done(entry_id, status, headers, body)
                 WHERE done.entry_id = entry.entry_id)
         WHERE entry.entry_id = ANY ($1) AND entry.claim = ANY ($2) AND entry.state = 'in_flight'
         RETURNING entry.entry_id",
        &answers.entries,
        &answers.claims,
        &answers.statuses,
        &answers.headers as &[Option<Value>],
        &answers.bodies as &[Option<Vec<u8>>]
    )
    .fetch_all(conn)
    .await
}

/// Gives an entry up: it goes, or where it has a recovery point it stays there for the next one. Two statements, because the first may
/// wait for the holder's own transaction to end, and the second must see how that ended.
pub(super) async fn release(conn: &mut PgConnection, entry_id: i64, claim: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "DELETE FROM idempotency_cache WHERE entry_id = $1 AND claim = $2 AND state = 'in_flight' AND recovery_point IS NULL",
        entry_id,
        claim
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "UPDATE idempotency_cache SET state = 'recoverable'
         WHERE entry_id = $1 AND claim = $2 AND state = 'in_flight' AND recovery_point IS NOT NULL",
        entry_id,
        claim
    )
    .execute(conn)
    .await
    .map(drop)
}

/// Deletes up to `limit` entries whose time is over and that nobody works on.
pub(super) async fn sweep(conn: &mut PgConnection, limit: i64) -> Result<u64, sqlx::Error> {
    let result = sqlx::query!(
        "DELETE FROM idempotency_cache WHERE entry_id IN (
             SELECT entry_id FROM idempotency_cache
             WHERE expires_at <= clock_timestamp() AND (state <> 'in_flight' OR claim_expires_at <= clock_timestamp())
             ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED)",
        limit
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected())
}

/// Deletes an entry, and puts on record what it was. Returns its state and the status that was answered.
pub(super) async fn invalidate(
    conn: &mut PgConnection,
    scope: &Scope,
    key: &str,
    operator: &str,
    reason: &str,
) -> Result<Option<(State, Option<i16>)>, sqlx::Error> {
    let row = sqlx::query!(
        r#"WITH gone AS (
               DELETE FROM idempotency_cache
               WHERE key = $5 AND principal = $2 AND route = $4 AND method = $3 AND tenant_id IS NOT DISTINCT FROM $1
               RETURNING *
           )
           INSERT INTO idempotency_invalidations
               (tenant_id, principal, method, route, key, fingerprint, state, recovery_point, result_status, created_at, operator, reason)
           SELECT tenant_id, principal, method, route, key, fingerprint, state, recovery_point, result_status, created_at, $6, $7 FROM gone
           RETURNING state AS "state: State", result_status"#,
        scope.tenant_id,
        scope.principal,
        scope.method,
        scope.route,
        key,
        operator,
        reason
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| (row.state, row.result_status)))
}
