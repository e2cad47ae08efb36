//! Audit entries: staged, and read back, for verification and for people.

use plimsoll_store::sequencer::Hash;
use plimsoll_types::Context;
use serde_json::value::RawValue;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::audit::{Filter, Recorded, Row};

/// An entry with its place in the stream.
#[derive(Debug)]
pub(crate) struct Numbered {
    pub(crate) sequence: i64,
    pub(crate) row: Row,
    pub(crate) digest: Vec<u8>,
    pub(crate) prev_hash: Vec<u8>,
    pub(crate) hash: Vec<u8>,
}

/// Puts the entries into the queue, in their order.
pub(crate) async fn stage(conn: &mut PgConnection, rows: &[(Row, Hash)]) -> Result<(), sqlx::Error> {
    fn column<'a, T>(rows: &'a [(Row, Hash)], of: impl Fn(&'a Row) -> T) -> Vec<T> {
        rows.iter().map(|(row, _)| of(row)).collect()
    }
    sqlx::query!(
        "INSERT INTO audit_staging (tenant_id, request_id, user_id, actor, action, target_type, target_id, before, after, tx_id, reason,
                                    correlation_id, recorded_at, digest)
         SELECT tenant_id, request_id, user_id, actor, action, target_type, target_id, before::jsonb, after::jsonb, tx_id, reason,
                correlation_id, recorded_at, digest
         FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[],
                     $12::text[], $13::timestamptz[], $14::bytea[]) WITH ORDINALITY
              AS given(tenant_id, request_id, user_id, actor, action, target_type, target_id, before, after, tx_id, reason, correlation_id, recorded_at, digest, place)
         ORDER BY place",
        &column(rows, |row| row.context.tenant_id) as &[Option<Uuid>],
        &column(rows, |row| row.context.request_id),
        &column(rows, |row| row.context.user_id) as &[Option<Uuid>],
        &column(rows, |row| row.context.actor.clone()),
        &column(rows, |row| row.action.clone()),
        &column(rows, |row| row.target_type.clone()),
        &column(rows, |row| row.target_id.clone()),
        &column(rows, |row| row.before.clone()) as &[Option<String>],
        &column(rows, |row| row.after.clone()) as &[Option<String>],
        &column(rows, |row| row.tx_id.clone()) as &[Option<String>],
        &column(rows, |row| row.reason.clone()) as &[Option<String>],
        &column(rows, |row| row.context.correlation_id.clone()),
        &column(rows, |row| row.recorded_at),
        &rows.iter().map(|(_, digest)| digest.to_vec()).collect::<Vec<_>>(),
    )
    .execute(conn)
    .await
    .map(drop)
}

/// The lowest number that retention has left a place for.
pub(crate) async fn first_kept(conn: &mut PgConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT GREATEST(min((regexp_match(child.relname, '^audit_log_(\d+)$'))[1]::bigint), 1) AS "first!"
           FROM pg_inherits link JOIN pg_class child ON child.oid = link.inhrelid
           WHERE link.inhparent = 'audit_log'::regclass"#
    )
    .fetch_one(conn)
    .await
}

/// The hash of the row `sequence` of a linked stream, where retention removed up to there.
pub(crate) async fn checkpoint(
    conn: &mut PgConnection,
    stream: &str,
    sequence: i64,
) -> Result<Option<Hash>, sqlx::Error> {
    let hash = sqlx::query_scalar!(
        "SELECT hash FROM stream_checkpoints WHERE stream = $1 AND sequence = $2",
        stream,
        sequence
    )
    .fetch_optional(conn)
    .await?;
    hash.map(|hash| {
        Hash::try_from(hash).map_err(|_| sqlx::Error::Decode("a checkpoint's hash is not 32 bytes".into()))
    })
    .transpose()
}

/// Up to `limit` entries from `from` to `to`.
pub(crate) async fn page(
    conn: &mut PgConnection,
    from: i64,
    to: i64,
    limit: i64,
) -> Result<Vec<Numbered>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT sequence, tenant_id, request_id, user_id, actor, action, target_type, target_id, before::text, after::text, tx_id, reason,
                correlation_id, recorded_at, digest, prev_hash, hash
         FROM audit_log WHERE sequence >= $1 AND sequence <= $2 ORDER BY sequence LIMIT $3",
        from,
        to,
        limit
    )
    .fetch_all(conn)
    .await?;
    let numbered = rows.into_iter().map(|row| Numbered {
        sequence: row.sequence,
        row: Row {
            context: Context {
                request_id: row.request_id,
                tenant_id: row.tenant_id,
                user_id: row.user_id,
                actor: row.actor,
                correlation_id: row.correlation_id,
                causation_id: None,
            },
            action: row.action,
            target_type: row.target_type,
            target_id: row.target_id,
            before: row.before,
            after: row.after,
            tx_id: row.tx_id,
            reason: row.reason,
            recorded_at: row.recorded_at,
        },
        digest: row.digest,
        prev_hash: row.prev_hash,
        hash: row.hash,
    });
    Ok(numbered.collect())
}

/// An entry with or without its place, as a row.
struct RecordedRow {
    sequence: Option<i64>,
    recorded_at: OffsetDateTime,
    tenant_id: Option<Uuid>,
    request_id: Uuid,
    user_id: Option<Uuid>,
    actor: String,
    action: String,
    target_type: String,
    target_id: String,
    before: Option<String>,
    after: Option<String>,
    tx_id: Option<String>,
    reason: Option<String>,
    correlation_id: String,
    digest: String,
    prev_hash: Option<String>,
    hash: Option<String>,
}

impl TryFrom<RecordedRow> for Recorded {
    type Error = sqlx::Error;

    fn try_from(row: RecordedRow) -> Result<Self, sqlx::Error> {
        let raw = |json: Option<String>| {
            json.map(RawValue::from_string).transpose().map_err(|error| sqlx::Error::Decode(error.into()))
        };
        Ok(Self {
            sequence: row.sequence,
            recorded_at: row.recorded_at,
            tenant_id: row.tenant_id,
            request_id: row.request_id,
            user_id: row.user_id,
            actor: row.actor,
            action: row.action,
            target_type: row.target_type,
            target_id: row.target_id,
            before: raw(row.before)?,
            after: raw(row.after)?,
            tx_id: row.tx_id,
            reason: row.reason,
            correlation_id: row.correlation_id,
            digest: row.digest,
            prev_hash: row.prev_hash,
            hash: row.hash,
        })
    }
}

fn recorded(rows: Vec<RecordedRow>) -> Result<Vec<Recorded>, sqlx::Error> {
    rows.into_iter().map(Recorded::try_from).collect()
}

/// The entries of a request. One statement sees an entry in the queue or in the log, as the sequencer moves it in one transaction.
pub(crate) async fn by_request(
    conn: &mut PgConnection,
    tenant_id: Option<Uuid>,
    request_id: Uuid,
) -> Result<Vec<Recorded>, sqlx::Error> {
    let rows = sqlx::query_as!(
        RecordedRow,
        r#"SELECT sequence, recorded_at AS "recorded_at!", tenant_id, request_id AS "request_id!", user_id, actor AS "actor!",
                  action AS "action!", target_type AS "target_type!", target_id AS "target_id!", before::text, after::text, tx_id, reason,
                  correlation_id AS "correlation_id!", encode(digest, 'hex') AS "digest!", encode(prev_hash, 'hex') AS prev_hash,
                  encode(hash, 'hex') AS hash
           FROM (SELECT sequence, 0::bigint AS staging_id, recorded_at, tenant_id, request_id, user_id, actor, action, target_type, target_id,
                        before, after, tx_id, reason, correlation_id, digest, prev_hash, hash
                 FROM audit_log
                 UNION ALL
                 SELECT NULL, staging_id, recorded_at, tenant_id, request_id, user_id, actor, action, target_type, target_id,
                        before, after, tx_id, reason, correlation_id, digest, NULL, NULL
                 FROM audit_staging) AS entries
           WHERE request_id = $1 AND ($2::uuid IS NULL OR tenant_id = $2)
           ORDER BY sequence NULLS LAST, staging_id"#,
        request_id,
        tenant_id,
    )
    .fetch_all(conn)
    .await?;
    recorded(rows)
}

/// The last number, or the last of a tenant's.
pub(crate) async fn last_number(
    conn: &mut PgConnection,
    tenant_id: Option<Uuid>,
) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar!(
        "SELECT max(sequence) FROM audit_log WHERE $1::uuid IS NULL OR tenant_id = $1",
        tenant_id
    )
    .fetch_one(conn)
    .await
}

/// Which entries come first.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Order {
    Oldest,
    Newest,
}

/// Entries that pass the filter, numbered `from` to `to`. The order is part of the statement, so that either is read off the index.
pub(crate) async fn in_order(
    conn: &mut PgConnection,
    filter: &Filter,
    (from, to): (i64, i64),
    order: Order,
    limit: i64,
) -> Result<Vec<Recorded>, sqlx::Error> {
    macro_rules! rows {
        ($order:literal) => {
            sqlx::query_as!(
                RecordedRow,
                r#"SELECT sequence AS "sequence?", recorded_at, tenant_id, request_id, user_id, actor, action, target_type, target_id,
                          before::text, after::text, tx_id, reason, correlation_id, encode(digest, 'hex') AS "digest!",
                          encode(prev_hash, 'hex') AS prev_hash, encode(hash, 'hex') AS hash
                   FROM audit_log
                   WHERE sequence >= $1 AND sequence <= $2
                     AND ($3::uuid IS NULL OR tenant_id = $3) AND ($4::uuid IS NULL OR user_id = $4) AND ($5::text IS NULL OR actor = $5)
                     AND ($6::text IS NULL OR action = $6 OR (right($6, 1) = '.' AND starts_with(action, $6)))
                     AND ($7::text IS NULL OR target_type = $7) AND ($8::text IS NULL OR target_id = $8)
                     AND ($9::timestamptz IS NULL OR recorded_at >= $9) AND ($10::timestamptz IS NULL OR recorded_at < $10) "#
                    + $order
                    + " LIMIT $11",
                from,
                to,
                filter.tenant_id,
                filter.user_id,
                filter.actor,
                filter.action,
                filter.target_type,
                filter.target_id,
                filter.since,
                filter.until,
                limit,
            )
            .fetch_all(conn)
            .await
        };
    }
    recorded(match order {
        Order::Oldest => rows!("ORDER BY sequence"),
        Order::Newest => rows!("ORDER BY sequence DESC"),
    }?)
}

/// How many entries are in the queue.
pub(crate) async fn waiting(conn: &mut PgConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM audit_staging"#).fetch_one(conn).await
}
