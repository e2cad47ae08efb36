//! Idempotency entries, read for people. What works with them is in `idempotency::repo`.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::idempotency::{Entry, EntryFilter, Key, Scope, State};

struct EntryRow {
    entry_id: i64,
    tenant_id: Option<Uuid>,
    principal: String,
    method: String,
    route: String,
    key: String,
    state: State,
    claimed_by: String,
    claim_expires_at: OffsetDateTime,
    recovery_point: Option<String>,
    result_status: Option<i16>,
    answer_bytes: Option<i32>,
    created_at: OffsetDateTime,
    expires_at: OffsetDateTime,
}

impl From<EntryRow> for Entry {
    fn from(row: EntryRow) -> Self {
        Self {
            entry_id: row.entry_id,
            scope: Scope {
                tenant_id: row.tenant_id,
                principal: row.principal,
                method: row.method,
                route: row.route,
            },
            key: Key::stored(row.key),
            state: row.state,
            claimed_by: row.claimed_by,
            claim_expires_at: row.claim_expires_at,
            recovery_point: row.recovery_point,
            status: row.result_status.map(i16::unsigned_abs),
            answer_bytes: row.answer_bytes.map(|bytes| u64::from(bytes.unsigned_abs())),
            created_at: row.created_at,
            expires_at: row.expires_at,
        }
    }
}

/// The ids are given out in the order in which keys are first used.
pub(crate) async fn entries(
    conn: &mut PgConnection,
    filter: &EntryFilter,
    limit: i64,
) -> Result<Vec<Entry>, sqlx::Error> {
    let rows = sqlx::query_as!(
        EntryRow,
        r#"SELECT entry_id, tenant_id, principal, method, route, key, state AS "state: State", claimed_by, claim_expires_at, recovery_point,
                  result_status, octet_length(result) AS answer_bytes, created_at, expires_at
           FROM idempotency_cache
           WHERE tenant_id IS NOT DISTINCT FROM $1 AND ($2::text IS NULL OR route = $2) AND ($3::text IS NULL OR key = $3)
             AND ($4::text IS NULL OR principal = $4) AND ($5::idempotency_state IS NULL OR state = $5)
           ORDER BY entry_id DESC LIMIT $6"#,
        filter.tenant_id,
        filter.route,
        filter.key,
        filter.principal,
        filter.state as Option<State>,
        limit
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(Entry::from).collect())
}

pub(crate) async fn entry(conn: &mut PgConnection, entry_id: i64) -> Result<Option<Entry>, sqlx::Error> {
    let row = sqlx::query_as!(
        EntryRow,
        r#"SELECT entry_id, tenant_id, principal, method, route, key, state AS "state: State", claimed_by, claim_expires_at, recovery_point,
                  result_status, octet_length(result) AS answer_bytes, created_at, expires_at
           FROM idempotency_cache WHERE entry_id = $1"#,
        entry_id
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(Entry::from))
}

pub(crate) async fn lock_entry(conn: &mut PgConnection, entry_id: i64) -> Result<Option<Entry>, sqlx::Error> {
    let row = sqlx::query_as!(
        EntryRow,
        r#"SELECT entry_id, tenant_id, principal, method, route, key, state AS "state: State", claimed_by, claim_expires_at, recovery_point,
                  result_status, octet_length(result) AS answer_bytes, created_at, expires_at
           FROM idempotency_cache WHERE entry_id = $1 FOR NO KEY UPDATE"#,
        entry_id
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(Entry::from))
}
