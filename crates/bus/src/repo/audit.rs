//! Audit entries: staged, and read back for verification.

use plimsoll_store::sequencer::Hash;
use plimsoll_types::Context;
use sqlx::PgConnection;

use crate::audit::Row;

/// An entry with its place in the stream.
#[derive(Debug)]
pub(crate) struct Numbered {
    pub(crate) sequence: i64,
    pub(crate) row: Row,
    pub(crate) digest: Vec<u8>,
    pub(crate) prev_hash: Vec<u8>,
    pub(crate) hash: Vec<u8>,
}

/// Puts the entry into the queue.
pub(crate) async fn stage(conn: &mut PgConnection, row: &Row, digest: &Hash) -> Result<(), sqlx::Error> {
    let context = &row.context;
    sqlx::query!(
        "INSERT INTO audit_staging (tenant_id, request_id, user_id, actor, action, target_type, target_id, before, after, tx_id, reason,
                                    correlation_id, recorded_at, digest)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8::text::jsonb, $9::text::jsonb, $10, $11, $12, $13, $14)",
        context.tenant_id,
        context.request_id,
        context.user_id,
        context.actor,
        row.action,
        row.target_type,
        row.target_id,
        row.before,
        row.after,
        row.tx_id,
        row.reason,
        context.correlation_id,
        row.recorded_at,
        &digest[..],
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
