//! How far each reader is.

use sqlx::PgConnection;

/// Makes the reader's cursor if there is none.
pub(crate) async fn register(
    conn: &mut PgConnection,
    stream: &str,
    reader: &str,
    after: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO outbox_cursors (stream, reader, sequence) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        stream,
        reader,
        after
    )
    .execute(conn)
    .await
    .map(drop)
}

/// Where the reader is.
pub(crate) async fn position(
    conn: &mut PgConnection,
    stream: &str,
    reader: &str,
) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar!(
        "SELECT sequence FROM outbox_cursors WHERE stream = $1 AND reader = $2",
        stream,
        reader
    )
    .fetch_optional(conn)
    .await
}

/// Where the reader is, and stays until the transaction ends.
pub(crate) async fn lock(
    conn: &mut PgConnection,
    stream: &str,
    reader: &str,
) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar!(
        "SELECT sequence FROM outbox_cursors WHERE stream = $1 AND reader = $2 FOR NO KEY UPDATE",
        stream,
        reader
    )
    .fetch_optional(conn)
    .await
}

/// Moves the cursor if it is where it was seen; says whether it was.
pub(crate) async fn advance(
    conn: &mut PgConnection,
    stream: &str,
    reader: &str,
    from: i64,
    to: i64,
) -> Result<bool, sqlx::Error> {
    let result = sqlx::query!(
        "UPDATE outbox_cursors SET sequence = $4, updated_at = clock_timestamp() WHERE stream = $1 AND reader = $2 AND sequence = $3",
        stream,
        reader,
        from,
        to
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() == 1)
}
