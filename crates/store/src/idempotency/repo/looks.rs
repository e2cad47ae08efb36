//! Looking at keys, and taking those that are to be had.
//!
//! Claiming takes no lock that anyone waits for: an insert that gives way to a row that is there, then a read without a lock, and where
//! that says that the row may be taken, an update that skips a row whose holder is committing just now. So nobody who waits for an
//! answer waits within the database.

use serde_json::Value;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::idempotency::decision::State;
use crate::idempotency::key::{Key, Scope};
use crate::presence::Presence;
use crate::repo::tenants::{BY_KEYS, begin_and};
use crate::tx::Tx;

/// Begins claiming: names the tenants, and lets COMMIT return before the log is on disk: a claim that a crash of the server forgets is one under
/// which nothing was committed, and nothing can be.
pub(in crate::idempotency) async fn begin_claiming(
    pool: &PgPool,
    tenants: &[Uuid],
) -> Result<Tx, sqlx::Error> {
    let more = format!("; SET LOCAL synchronous_commit = off{BY_KEYS}");
    Tx::by(pool, begin_and(tenants, &more)).await
}

/// Keys with their scopes, one for each index of the vectors.
#[derive(Default)]
pub(in crate::idempotency) struct Places {
    tenants: Vec<Option<Uuid>>,
    principals: Vec<String>,
    methods: Vec<String>,
    routes: Vec<String>,
    keys: Vec<String>,
}

impl Places {
    pub(in crate::idempotency) fn of<'a>(keys: impl Iterator<Item = (&'a Scope, &'a Key)>) -> Self {
        let mut places = Self::default();
        for (scope, key) in keys {
            places.tenants.push(scope.tenant_id);
            places.principals.push(scope.principal.clone());
            places.methods.push(scope.method.clone());
            places.routes.push(scope.route.clone());
            places.keys.push(key.as_str().to_owned());
        }
        places
    }
}

/// New entries, one for each index of the vectors.
pub(in crate::idempotency) struct New<'a> {
    pub(in crate::idempotency) places: Places,
    pub(in crate::idempotency) fingerprints: Vec<Vec<u8>>,
    pub(in crate::idempotency) claims: Vec<Uuid>,
    pub(in crate::idempotency) ttls_ms: Vec<i64>,
    pub(in crate::idempotency) claimed_by: &'a str,
    pub(in crate::idempotency) presence: Presence,
    pub(in crate::idempotency) claim_term_ms: i64,
}

/// Writes those whose keys are free, each key once, and returns their claims and ids. The row that is there is looked for first: an insert that meets
/// one whose answer is being committed just now would wait for that. All who insert do so in the order of the unique index: nobody waits in a circle.
pub(in crate::idempotency) async fn insert(
    conn: &mut PgConnection,
    new: &New<'_>,
) -> Result<Vec<(Uuid, i64)>, sqlx::Error> {
    let rows = sqlx::query!(
        "INSERT INTO idempotency_cache
            (tenant_id, principal, method, route, key, fingerprint, claim, claimed_by, presence, claim_expires_at, created_at, expires_at)
         SELECT new.tenant_id, new.principal, new.method, new.route, new.key, new.fingerprint, new.claim, $9, $11::bigint,
                clock_timestamp() + $10::bigint * interval '1 millisecond', clock_timestamp(),
                clock_timestamp() + new.ttl_ms * interval '1 millisecond'
         FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bytea[], $7::uuid[], $8::bigint[])
              AS new(tenant_id, principal, method, route, key, fingerprint, claim, ttl_ms)
         WHERE (SELECT true FROM idempotency_cache AS old
                WHERE old.key = new.key AND old.principal = new.principal AND old.route = new.route AND old.method = new.method
                  AND old.tenant_id IS NOT DISTINCT FROM new.tenant_id) IS NULL
         ORDER BY new.key, new.principal, new.route, new.method, new.tenant_id
         ON CONFLICT (key, principal, route, method, tenant_id) DO NOTHING
         RETURNING claim, entry_id",
        &new.places.tenants as &[Option<Uuid>],
        &new.places.principals,
        &new.places.methods,
        &new.places.routes,
        &new.places.keys,
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

/// Takes those of these keys whose time is over and that nobody works on, each once, and returns their claims and ids.
pub(in crate::idempotency) async fn renew(
    conn: &mut PgConnection,
    new: &New<'_>,
) -> Result<Vec<(Uuid, i64)>, sqlx::Error> {
    let rows = sqlx::query!(
        "UPDATE idempotency_cache AS old
         SET state = 'in_flight', claim = new.claim, claimed_by = $9, presence = $11::bigint, fingerprint = new.fingerprint,
             claim_expires_at = clock_timestamp() + $10::bigint * interval '1 millisecond', created_at = clock_timestamp(),
             expires_at = clock_timestamp() + new.ttl_ms * interval '1 millisecond', recovery_point = NULL, recovery_data = NULL,
             result_status = NULL, result_headers = NULL, result = NULL
         FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bytea[], $7::uuid[], $8::bigint[])
              AS new(tenant_id, principal, method, route, key, fingerprint, claim, ttl_ms)
         WHERE old.key = new.key AND old.principal = new.principal AND old.route = new.route AND old.method = new.method
           AND old.tenant_id IS NOT DISTINCT FROM new.tenant_id
           AND old.expires_at <= clock_timestamp() AND (old.state <> 'in_flight' OR old.claim_expires_at <= clock_timestamp())
         RETURNING old.claim, old.entry_id",
        &new.places.tenants as &[Option<Uuid>],
        &new.places.principals,
        &new.places.methods,
        &new.places.routes,
        &new.places.keys,
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
pub(in crate::idempotency) struct Row {
    /// Of its key among those that were asked for, from 1.
    pub(in crate::idempotency) place: i64,
    pub(in crate::idempotency) entry_id: i64,
    pub(in crate::idempotency) fingerprint: Vec<u8>,
    pub(in crate::idempotency) state: State,
    pub(in crate::idempotency) claim: Uuid,
    /// By which its process is known; `None` where it is not.
    pub(in crate::idempotency) presence: Option<i64>,
    /// No session of that process is left, nor comes before this transaction has ended. Of the asker's own process this is not asked.
    pub(in crate::idempotency) is_deserted: bool,
    pub(in crate::idempotency) is_claim_expired: bool,
    pub(in crate::idempotency) is_expired: bool,
    pub(in crate::idempotency) result_status: Option<i16>,
    pub(in crate::idempotency) result_headers: Option<Value>,
    pub(in crate::idempotency) result: Option<Vec<u8>>,
}

/// Asks for a lock that is had only where a claim's process is gone, and never waits for it: of two who ask at once, one takes the other
/// for its holder, and looks again.
pub(in crate::idempotency) async fn find(
    conn: &mut PgConnection,
    places: &Places,
    own: Presence,
) -> Result<Vec<Row>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        r#"SELECT asked.place AS "place!", entry_id, fingerprint, state AS "state: State", claim, presence,
                  CASE WHEN state = 'in_flight' AND presence <> $6 THEN pg_try_advisory_xact_lock(presence) ELSE false END AS "is_deserted!",
                  claim_expires_at <= clock_timestamp() AS "is_claim_expired!", expires_at <= clock_timestamp() AS "is_expired!",
                  result_status, result_headers, result
           FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[]) WITH ORDINALITY
                AS asked(tenant_id, principal, method, route, key, place)
           CROSS JOIN LATERAL (SELECT * FROM idempotency_cache AS old
                               WHERE old.key = asked.key AND old.principal = asked.principal AND old.route = asked.route AND old.method = asked.method
                                 AND old.tenant_id IS NOT DISTINCT FROM asked.tenant_id LIMIT 1) AS entry"#,
        &places.tenants as &[Option<Uuid>],
        &places.principals,
        &places.methods,
        &places.routes,
        &places.keys,
        own.lock()
    )
    .fetch_all(conn)
    .await
}

/// What a taker writes over what it saw.
pub(in crate::idempotency) struct Taking<'a> {
    pub(in crate::idempotency) entry_id: i64,
    pub(in crate::idempotency) seen_claim: Uuid,
    pub(in crate::idempotency) seen_state: State,
    /// Its holder is gone: it need not have expired.
    pub(in crate::idempotency) is_deserted: bool,
    /// The key is used anew: its recovery point goes, and its age begins now.
    pub(in crate::idempotency) renews: bool,
    pub(in crate::idempotency) fingerprint: &'a [u8],
    pub(in crate::idempotency) claim: Uuid,
    pub(in crate::idempotency) claimed_by: &'a str,
    pub(in crate::idempotency) presence: Presence,
    pub(in crate::idempotency) claim_term_ms: i64,
    pub(in crate::idempotency) ttl_ms: i64,
}

/// Takes the entry if it still is as it was seen, its claim is not held, and nobody has it locked. Returns its recovery point.
pub(in crate::idempotency) async fn take(
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
