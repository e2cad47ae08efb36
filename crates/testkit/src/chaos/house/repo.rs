//! How a run cuts the sessions of others.

use sqlx::PgConnection;

/// Ends the sessions of everybody else: all of them, or those that are at work; how many.
pub(super) async fn end_sessions(conn: &mut PgConnection, all: bool) -> Result<u64, sqlx::Error> {
    let ended = sqlx::query_scalar!(
        r#"SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) AS "n!" FROM pg_stat_activity
           WHERE datname = current_database() AND pid <> pg_backend_pid() AND ($1 OR state <> 'idle')"#,
        all
    )
    .fetch_one(conn)
    .await?;
    Ok(ended.unsigned_abs())
}
