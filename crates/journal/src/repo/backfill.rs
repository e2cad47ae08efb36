//! Backfills that were asked for.

use std::collections::BTreeSet;

use plimsoll_types::{BackfillState, Completeness, address_text};
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{to_address, to_i64, to_u64};
use crate::backfills::{Backfill, Order, Progress};
use crate::fold::FoldError;

struct Row {
    request_id: Uuid,
    chain_id: i64,
    from_number: i64,
    to_number: i64,
    contracts: Option<Vec<String>>,
    max_events: Option<i64>,
    parallel_ranges: Option<i32>,
    level: Option<Completeness>,
    state: BackfillState,
    next_number: i64,
    found: i64,
    found_before: i64,
    trouble: Option<String>,
    actor: String,
    reason: Option<String>,
    created_at: OffsetDateTime,
    started_at: Option<OffsetDateTime>,
    ended_at: Option<OffsetDateTime>,
}

impl TryFrom<Row> for Backfill {
    type Error = FoldError;

    fn try_from(row: Row) -> Result<Self, FoldError> {
        let chain_id = to_u64(row.chain_id);
        let addresses = |texts: Vec<String>| -> Result<BTreeSet<_>, _> {
            texts.iter().map(|text| to_address(chain_id, text)).collect()
        };
        let blocks_done = to_u64(row.to_number - row.next_number);
        let order = Order {
            request_id: row.request_id,
            chain_id,
            from: to_u64(row.from_number),
            to: to_u64(row.to_number),
            contracts: row.contracts.map(addresses).transpose()?,
            max_events: row.max_events.map(to_u64),
            parallel_ranges: row.parallel_ranges.map(i32::cast_unsigned),
            level: row.level,
        };
        Ok(Self {
            next: (row.next_number >= row.from_number).then(|| to_u64(row.next_number)),
            order,
            state: row.state,
            blocks_done,
            found: to_u64(row.found),
            events_left: row.max_events.map(|max| to_u64((max - (row.found - row.found_before)).max(0))),
            trouble: row.trouble,
            actor: row.actor,
            reason: row.reason,
            created_at: row.created_at,
            started_at: row.started_at,
            ended_at: row.ended_at,
        })
    }
}

/// Puts it on record; `false` when there is one with this id.
pub(crate) async fn insert(
    conn: &mut PgConnection,
    order: &Order,
    actor: &str,
    reason: Option<&str>,
) -> Result<bool, sqlx::Error> {
    let contracts: Option<Vec<String>> =
        order.contracts.as_ref().map(|all| all.iter().map(address_text).collect());
    let done = sqlx::query!(
        "INSERT INTO backfills (request_id, chain_id, from_number, to_number, contracts, max_events, parallel_ranges, next_number, actor, reason, level)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $4, $8, $9, $10) ON CONFLICT (request_id) DO NOTHING",
        order.request_id,
        to_i64(order.chain_id),
        to_i64(order.from),
        to_i64(order.to),
        contracts.as_deref(),
        order.max_events.map(to_i64),
        order.parallel_ranges.map(u32::cast_signed),
        actor,
        reason,
        order.level as Option<Completeness>
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

pub(crate) async fn find(conn: &mut PgConnection, request_id: Uuid) -> Result<Option<Backfill>, FoldError> {
    let row = sqlx::query_as!(
        Row,
        r#"SELECT request_id, chain_id, from_number, to_number, contracts, max_events, parallel_ranges, level AS "level: Completeness", state AS "state: BackfillState",
                  next_number, found, found_before, trouble, actor, reason, created_at, started_at, ended_at
           FROM backfills WHERE request_id = $1"#,
        request_id
    )
    .fetch_optional(conn)
    .await?;
    row.map(Backfill::try_from).transpose()
}

/// The same, locked until the transaction ends.
pub(crate) async fn lock(conn: &mut PgConnection, request_id: Uuid) -> Result<Option<Backfill>, FoldError> {
    let locked = sqlx::query_scalar!("SELECT 1 FROM backfills WHERE request_id = $1 FOR UPDATE", request_id)
        .fetch_optional(&mut *conn)
        .await?;
    match locked {
        Some(_) => find(conn, request_id).await,
        None => Ok(None),
    }
}

/// The newest ones first.
pub(crate) async fn list(
    conn: &mut PgConnection,
    chain_id: Option<u64>,
    state: Option<BackfillState>,
    limit: i64,
) -> Result<Vec<Backfill>, FoldError> {
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT request_id, chain_id, from_number, to_number, contracts, max_events, parallel_ranges, level AS "level: Completeness", state AS "state: BackfillState",
                  next_number, found, found_before, trouble, actor, reason, created_at, started_at, ended_at
           FROM backfills WHERE ($1::bigint IS NULL OR chain_id = $1) AND ($2::backfill_state IS NULL OR state = $2)
           ORDER BY ordinal DESC LIMIT $3"#,
        chain_id.map(to_i64),
        state as Option<BackfillState>,
        limit
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Backfill::try_from).collect()
}

/// The one that the chain's writer works off now: what has begun before what has not, and by the order in which they were asked for.
pub(crate) async fn next(conn: &mut PgConnection, chain_id: u64) -> Result<Option<Backfill>, FoldError> {
    let row = sqlx::query_as!(
        Row,
        r#"SELECT request_id, chain_id, from_number, to_number, contracts, max_events, parallel_ranges, level AS "level: Completeness", state AS "state: BackfillState",
                  next_number, found, found_before, trouble, actor, reason, created_at, started_at, ended_at
           FROM backfills WHERE chain_id = $1 AND state IN ('queued', 'running')
           ORDER BY state = 'running' DESC, ordinal LIMIT 1"#,
        to_i64(chain_id)
    )
    .fetch_optional(conn)
    .await?;
    row.map(Backfill::try_from).transpose()
}

/// The last one of the chain that was worked on for a while: its blocks, and the seconds that they took.
pub(crate) async fn last_pace(
    conn: &mut PgConnection,
    chain_id: u64,
) -> Result<Option<(u64, f64)>, sqlx::Error> {
    let row = sqlx::query!(
        r#"SELECT to_number - next_number AS "blocks!", EXTRACT(EPOCH FROM updated_at - started_at)::float8 AS "seconds!"
           FROM backfills
           WHERE chain_id = $1 AND state IN ('running', 'done') AND updated_at > started_at AND to_number > next_number
           ORDER BY ordinal DESC LIMIT 1"#,
        to_i64(chain_id)
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| (to_u64(row.blocks), row.seconds)))
}

/// An operator's word: it ends here.
pub(crate) async fn cancel(conn: &mut PgConnection, request_id: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE backfills SET state = 'cancelled', ended_at = now(), updated_at = now() WHERE request_id = $1",
        request_id
    )
    .execute(conn)
    .await
    .map(drop)
}

/// An operator's word: it goes on where it was, and counts anew towards its limit.
pub(crate) async fn resume(conn: &mut PgConnection, request_id: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE backfills SET state = 'queued', found_before = found, trouble = NULL, ended_at = NULL, updated_at = now()
         WHERE request_id = $1",
        request_id
    )
    .execute(conn)
    .await
    .map(drop)
}

/// The writer has taken it up; `false`: it was ended meanwhile.
pub(crate) async fn start(conn: &mut PgConnection, request_id: Uuid) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "UPDATE backfills SET state = 'running', started_at = COALESCE(started_at, now()), updated_at = now()
         WHERE request_id = $1 AND state IN ('queued', 'running')",
        request_id
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// All blocks from where it stood down to `down_to` were looked at, and so much was found in them; what became of it. None: it was ended
/// meanwhile, or stands elsewhere.
pub(crate) async fn advance(
    conn: &mut PgConnection,
    progress: &Progress,
    down_to: u64,
    found: u64,
) -> Result<Option<BackfillState>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"UPDATE backfills SET next_number = $3, found = found + $4, trouble = NULL, updated_at = now(),
               state = CASE WHEN $3 < from_number THEN 'done'
                            WHEN found + $4 - found_before >= max_events THEN 'limited' ELSE 'running' END::backfill_state,
               ended_at = CASE WHEN $3 < from_number OR found + $4 - found_before >= max_events THEN now() END,
               started_at = COALESCE(started_at, now())
           WHERE request_id = $1 AND next_number = $2 AND state IN ('queued', 'running')
           RETURNING state AS "state: BackfillState""#,
        progress.request_id,
        to_i64(progress.next),
        to_i64(down_to) - 1,
        to_i64(found)
    )
    .fetch_optional(conn)
    .await
}

/// It cannot go on as things are.
pub(crate) async fn fail(conn: &mut PgConnection, request_id: Uuid, why: &str) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE backfills SET state = 'failed', trouble = $2, ended_at = now(), updated_at = now()
         WHERE request_id = $1 AND state IN ('queued', 'running')",
        request_id,
        why
    )
    .execute(conn)
    .await
    .map(drop)
}

/// It goes on, and why it does not come on is to be seen.
pub(crate) async fn note_trouble(
    conn: &mut PgConnection,
    request_id: Uuid,
    why: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE backfills SET trouble = $2 WHERE request_id = $1 AND state IN ('queued', 'running') AND trouble IS DISTINCT FROM $2",
        request_id,
        why
    )
    .execute(conn)
    .await
    .map(drop)
}
