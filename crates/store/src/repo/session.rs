//! What is asked of a session itself.

use sqlx::{AssertSqlSafe, Executor, PgConnection, Row};
use uuid::Uuid;

/// Ends a transaction that the driver may not know of. Where there is none the server only says so.
pub(crate) async fn roll_back(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::raw_sql("ROLLBACK").execute(conn).await?;
    Ok(())
}

/// Takes an advisory lock, shared, until the session ends. As text: one message, and nothing that would be prepared and kept.
pub(crate) async fn attend(conn: &mut PgConnection, lock: i64) -> Result<(), sqlx::Error> {
    let statement = format!("SELECT pg_advisory_lock_shared({lock})");
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(conn).await.map(drop)
}

/// Whether the server's next answer is the one to the next statement: it is asked for a value that no statement had before.
pub(crate) async fn is_in_step(conn: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let fresh = Uuid::new_v4().to_string();
    // As text within the statement: one message, and nothing that would be prepared and kept.
    let rows = conn.fetch_all(sqlx::raw_sql(AssertSqlSafe(format!("SELECT '{fresh}'")))).await?;
    let [row] = rows.as_slice() else { return Ok(false) };
    Ok(row.try_get::<&str, _>(0).is_ok_and(|answer| answer == fresh))
}
