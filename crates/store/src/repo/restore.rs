//! What a backup notes, and what a restore changes.

use serde_json::Value;
use sqlx::PgConnection;

/// Begins a transaction whose snapshot `pg_dump` can share, and names it.
pub(crate) async fn export_snapshot(conn: &mut PgConnection) -> Result<String, sqlx::Error> {
    sqlx::raw_sql("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").execute(&mut *conn).await?;
    sqlx::query_scalar("SELECT pg_export_snapshot()").fetch_one(conn).await
}

/// Each chain's next journal number and head, as JSON.
pub(crate) async fn chains(conn: &mut PgConnection) -> Result<Value, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT COALESCE(jsonb_agg(jsonb_build_object('chain_id', chain_id, 'name', name, 'next_seq', next_seq, 'head_number', head_number)
                                     ORDER BY chain_id), '[]') AS "chains!" FROM chains"#
    )
    .fetch_one(conn)
    .await
}

/// Raises every token by `jump` and lets every lease expire: no holder from before the backup can be in force again.
pub(crate) async fn raise_tokens(conn: &mut PgConnection, jump: i64) -> Result<u64, sqlx::Error> {
    let result = sqlx::query!(
        "UPDATE leases SET fencing_token = fencing_token + $1, expires_at = 'epoch', holder = 'restored'",
        jump
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected())
}
