//! The demo's own look into the database.

use sqlx::PgConnection;

/// Rows of the mirrors.
pub(super) async fn mirror_rows(conn: &mut PgConnection, chain_id: i64) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT (SELECT count(*) FROM position_cache_mirror WHERE chain_id = $1)
                + (SELECT count(*) FROM view_mirror WHERE chain_id = $1) AS "rows!""#,
        chain_id
    )
    .fetch_one(conn)
    .await
}

/// Live events of this name.
pub(super) async fn live_events_named(
    conn: &mut PgConnection,
    chain_id: i64,
    name: &str,
) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "n!" FROM chain_live l
         JOIN chain_events e ON e.chain_id = l.chain_id AND e.block_number = l.block_number AND e.id = l.event_id
         WHERE l.chain_id = $1 AND e.event_name = $2"#,
        chain_id,
        name
    )
    .fetch_one(conn)
    .await
}

/// Anomalies noticed so far, by kind.
pub(super) async fn anomalies(
    conn: &mut PgConnection,
    chain_id: i64,
) -> Result<Vec<(String, i64)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT kind, count(*) AS "n!" FROM anomalies WHERE chain_id = $1 GROUP BY kind ORDER BY kind"#,
        chain_id
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.kind, row.n)).collect())
}
