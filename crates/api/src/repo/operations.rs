//! For metrics and the readiness check. Anomalies and leases are the worker's to read, never a route's.

use sqlx::PgPool;

use super::RepoError;

/// How often something that should not have happened was noted.
pub(crate) struct AnomalyCount {
    pub(crate) chain_id: i64,
    pub(crate) source: String,
    pub(crate) kind: String,
    pub(crate) count: i64,
}

/// All anomalies, by chain, source and kind.
pub(crate) async fn anomalies(pool: &PgPool) -> Result<Vec<AnomalyCount>, RepoError> {
    let counts = sqlx::query_as!(
        AnomalyCount,
        r#"SELECT chain_id, source, kind, count(*) AS "count!" FROM anomalies GROUP BY chain_id, source, kind"#
    );
    Ok(counts.fetch_all(pool).await?)
}

/// Who has a lease, and for how long still.
pub(crate) struct LeaseStanding {
    pub(crate) name: String,
    pub(crate) holder: String,
    pub(crate) fencing_token: i64,
    /// Below zero once it has run out.
    pub(crate) remaining_seconds: f64,
}

impl LeaseStanding {
    /// Whether the token is in force by the database's clock.
    pub(crate) fn is_held(&self) -> bool {
        self.remaining_seconds > 0.0
    }
}

/// All leases.
pub(crate) async fn leases(pool: &PgPool) -> Result<Vec<LeaseStanding>, RepoError> {
    let leases = sqlx::query_as!(
        LeaseStanding,
        r#"SELECT name, holder, fencing_token,
                  EXTRACT(EPOCH FROM expires_at - clock_timestamp())::float8 AS "remaining_seconds!"
           FROM leases"#
    );
    Ok(leases.fetch_all(pool).await?)
}

/// How far a reader of a stream is behind it.
pub(crate) struct OutboxLag {
    pub(crate) stream: String,
    pub(crate) reader: String,
    pub(crate) events: i64,
}

/// All readers that have a cursor.
pub(crate) async fn outbox_lags(pool: &PgPool) -> Result<Vec<OutboxLag>, RepoError> {
    let lags = sqlx::query_as!(
        OutboxLag,
        r#"SELECT stream, reader, next - 1 - sequence AS "events!" FROM outbox_cursors JOIN sequences USING (stream)"#
    );
    Ok(lags.fetch_all(pool).await?)
}

/// The version of the schema; the app role may read it. Not checked when compiled: the table is the migrator's own.
pub(crate) async fn schema_version(pool: &PgPool) -> Result<Option<i64>, RepoError> {
    Ok(sqlx::query_scalar("SELECT max(version) FROM plimsoll._sqlx_migrations WHERE success")
        .fetch_one(pool)
        .await?)
}
