//! The statements.
//!
//! Claiming takes no lock that anyone waits for: an insert that gives way to a row that is there, then a read without a lock, and where
//! that says that the row may be taken, an update that skips a row whose holder is committing just now. So nobody who waits for an
//! answer waits within the database. Several rows are locked in the order of their ids.
//!
//! A connection keeps the plan that it made for a statement, perhaps when the table was all but empty; a plan that reads all of it would be
//! kept while it grows. So one row is asked for by its key alone, and where there are several, scans are ruled out.

use serde_json::Value;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::decision::State;
use super::key::Scope;
use crate::presence::Presence;
use crate::repo::tenants::begin_and;
use crate::roles::sql_state;
use crate::tx::Tx;

/// What `hold_claim` says of a claim that is another's, or nobody's.
const NOT_HELD: &str = "PL001";

/// Begins claiming: names the tenant, and lets COMMIT return before the log is on disk: a claim that a crash of the server forgets is one under
/// which nothing was committed, and nothing can be.
pub(super) async fn begin_claiming(pool: &PgPool, tenant: Uuid) -> Result<Tx, sqlx::Error> {
    let more = "; SET LOCAL synchronous_commit = off; SET LOCAL enable_seqscan = off";
    Tx::by(pool, begin_and(&[tenant], more)).await
}

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

/// New entries, one for each index of the vectors.
pub(super) struct New<'a> {
    pub(super) scope: &'a Scope,
    pub(super) keys: Vec<String>,
    pub(super) fingerprints: Vec<Vec<u8>>,
    pub(super) claims: Vec<Uuid>,
    pub(super) ttls_ms: Vec<i64>,
    pub(super) claimed_by: &'a str,
    pub(super) presence: Presence,
    pub(super) claim_term_ms: i64,
}

/// Writes those whose keys are free, and returns their claims and ids. The row that is there is looked for first: an insert that meets
/// one whose answer is being committed just now would wait for that.
pub(super) async fn insert(conn: &mut PgConnection, new: &New<'_>) -> Result<Vec<(Uuid, i64)>, sqlx::Error> {
    let rows = sqlx::query!(
        "INSERT INTO idempotency_cache
            (tenant_id, principal, method, route, key, fingerprint, claim, claimed_by, presence, claim_expires_at, created_at, expires_at)
         SELECT $1::uuid, $2, $3, $4, new.key, new.fingerprint, new.claim, $9, $11::bigint,
                clock_timestamp() + $10::bigint * interval '1 millisecond', clock_timestamp(),
                clock_timestamp() + new.ttl_ms * interval '1 millisecond'
         FROM unnest($5::text[], $6::bytea[], $7::uuid[], $8::bigint[]) AS new(key, fingerprint, claim, ttl_ms)
         WHERE (SELECT true FROM idempotency_cache AS old
                WHERE old.key = new.key AND old.principal = $2 AND old.route = $4 AND old.method = $3
                  AND old.tenant_id IS NOT DISTINCT FROM $1::uuid) IS NULL
         ORDER BY new.key
         ON CONFLICT (key, principal, route, method, tenant_id) DO NOTHING
         RETURNING claim, entry_id",
        new.scope.tenant_id,
        new.scope.principal,
        new.scope.method,
        new.scope.route,
        &new.keys,
        &new.fingerprints,
        &new.claims,
        &new.ttls_ms,
        new.claimed_by,
        new.claim_term_ms,
        new.presence.lock()
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.claim, row.entry_id)).collect())
}

/// An entry that was there before.
pub(super) struct Row {
    pub(super) entry_id: i64,
    pub(super) key: String,
    pub(super) fingerprint: Vec<u8>,
    pub(super) state: State,
    pub(super) claim: Uuid,
    /// By which its process is known; `None` where it is not.
    pub(super) presence: Option<i64>,
    /// No session of that process is left, nor comes before this transaction has ended. Of the asker's own process this is not asked.
    pub(super) is_deserted: bool,
    pub(super) is_claim_expired: bool,
    pub(super) is_expired: bool,
    pub(super) result_status: Option<i16>,
    pub(super) result_headers: Option<Value>,
    pub(super) result: Option<Vec<u8>>,
}

/// Asks for a lock that is had only where a claim's process is gone, and never waits for it: of two who ask at once, one takes the other
/// for its holder, and looks again.
pub(super) async fn find(
    conn: &mut PgConnection,
    scope: &Scope,
    keys: &[String],
    own: Presence,
) -> Result<Vec<Row>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        r#"SELECT entry_id, key, fingerprint, state AS "state: State", claim, presence,
                  CASE WHEN state = 'in_flight' AND presence <> $6 THEN pg_try_advisory_xact_lock(presence) ELSE false END AS "is_deserted!",
                  claim_expires_at <= clock_timestamp() AS "is_claim_expired!", expires_at <= clock_timestamp() AS "is_expired!",
                  result_status, result_headers, result
           FROM idempotency_cache
           WHERE key = ANY ($5) AND principal = $2 AND route = $4 AND method = $3 AND tenant_id IS NOT DISTINCT FROM $1"#,
        scope.tenant_id,
        scope.principal,
        scope.method,
        scope.route,
        keys,
        own.lock()
    )
    .fetch_all(conn)
    .await
}

/// What a taker writes over what it saw.
pub(super) struct Taking<'a> {
    pub(super) entry_id: i64,
    pub(super) seen_claim: Uuid,
    pub(super) seen_state: State,
    /// Its holder is gone: it need not have expired.
    pub(super) is_deserted: bool,
    /// The key is used anew: its recovery point goes, and its age begins now.
    pub(super) renews: bool,
    pub(super) fingerprint: &'a [u8],
    pub(super) claim: Uuid,
    pub(super) claimed_by: &'a str,
    pub(super) presence: Presence,
    pub(super) claim_term_ms: i64,
    pub(super) ttl_ms: i64,
}

/// Takes the entry if it still is as it was seen, its claim is not held, and nobody has it locked. Returns its recovery point.
pub(super) async fn take(
    conn: &mut PgConnection,
    taking: &Taking<'_>,
) -> Result<Option<Option<(String, Value)>>, sqlx::Error> {
    let row = sqlx::query!(
        r#"UPDATE idempotency_cache
           SET state = 'in_flight', claim = $5, claimed_by = $6, presence = $10, fingerprint = $7,
               claim_expires_at = clock_timestamp() + $8::bigint * interval '1 millisecond',
               expires_at = CASE WHEN $4 THEN clock_timestamp() + $9::bigint * interval '1 millisecond' ELSE expires_at END,
               created_at = CASE WHEN $4 THEN clock_timestamp() ELSE created_at END,
               recovery_point = CASE WHEN NOT $4 THEN recovery_point END, recovery_data = CASE WHEN NOT $4 THEN recovery_data END,
               result_status = NULL, result_headers = NULL, result = NULL
           WHERE ctid = (SELECT ctid FROM idempotency_cache
                         WHERE entry_id = $1 AND claim = $2 AND state = $3
                           AND (state <> 'in_flight' OR claim_expires_at <= clock_timestamp() OR $11)
                         FOR UPDATE SKIP LOCKED)
           RETURNING recovery_point, recovery_data"#,
        taking.entry_id,
        taking.seen_claim,
        taking.seen_state as State,
        taking.renews,
        taking.claim,
        taking.claimed_by,
        taking.fingerprint,
        taking.claim_term_ms,
        taking.ttl_ms,
        taking.presence.lock(),
        taking.is_deserted
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| row.recovery_point.zip(row.recovery_data)))
}

/// Rules scans of whole tables in or out until the transaction ends, and returns how it was.
async fn set_scans(conn: &mut PgConnection, are_allowed: &str) -> Result<String, sqlx::Error> {
    let row = sqlx::query!(
        r#"SELECT current_setting('enable_seqscan') AS "before!", set_config('enable_seqscan', $1, true) AS after"#,
        are_allowed
    )
    .fetch_one(conn)
    .await?;
    Ok(row.before)
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

/// Locks those that are still held under these claims, and returns their ids. A claim is random: it belongs to one entry.
pub(super) async fn lock_all(
    conn: &mut PgConnection,
    entries: &[i64],
    claims: &[Uuid],
) -> Result<Vec<i64>, sqlx::Error> {
    let scans = set_scans(conn, "off").await?;
    let locked = sqlx::query_scalar!(
        "SELECT entry_id FROM idempotency_cache
         WHERE entry_id = ANY ($1) AND claim = ANY ($2) AND state = 'in_flight'
         ORDER BY entry_id
         FOR NO KEY UPDATE",
        entries,
        claims
    )
    .fetch_all(&mut *conn)
    .await?;
    set_scans(conn, &scans).await?;
    Ok(locked)
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
    let scans = set_scans(conn, "off").await?;
    let completed = sqlx::query_scalar!(
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
    .fetch_all(&mut *conn)
    .await?;
    set_scans(conn, &scans).await?;
    Ok(completed)
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
