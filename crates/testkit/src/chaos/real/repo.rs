//! What a run reads from its database.

use serde_json::Value;
use sqlx::PgConnection;

/// Something that was noticed and should not happen.
#[derive(Clone, Debug)]
pub(super) struct Anomaly {
    pub(super) source: String,
    pub(super) kind: String,
    pub(super) detail: Value,
}

/// All of them.
pub(super) async fn anomalies(conn: &mut PgConnection, chain_id: i64) -> Result<Vec<Anomaly>, sqlx::Error> {
    sqlx::query_as!(
        Anomaly,
        "SELECT source, kind, detail FROM anomalies WHERE chain_id = $1 ORDER BY anomaly_id",
        chain_id
    )
    .fetch_all(conn)
    .await
}

/// How often the lease of this name was taken.
pub(super) async fn lease_taken(conn: &mut PgConnection, name: &str) -> Result<u64, sqlx::Error> {
    let token = sqlx::query_scalar!("SELECT fencing_token FROM leases WHERE name = $1", name);
    Ok(token.fetch_optional(conn).await?.unwrap_or(0).unsigned_abs())
}

/// Records that take another back.
pub(super) async fn retractions(conn: &mut PgConnection, chain_id: i64) -> Result<u64, sqlx::Error> {
    let count = sqlx::query_scalar!(
        r#"SELECT count(*) AS "n!" FROM journal WHERE chain_id = $1 AND kind = 'retract'"#,
        chain_id
    );
    Ok(count.fetch_one(conn).await?.unsigned_abs())
}
