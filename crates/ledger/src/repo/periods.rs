//! Periods that are closed.

use plimsoll_types::Context;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::to_u64;
use crate::period::Closing;

/// A tenant's books, which nobody posts to until the transaction ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Locked {
    /// None: not at all.
    pub(crate) closed_through: Option<OffsetDateTime>,
    /// The database's clock.
    pub(crate) now: OffsetDateTime,
}

/// Waits until nobody is posting, and keeps it so.
pub(crate) async fn lock(conn: &mut PgConnection, tenant_id: Uuid) -> Result<Option<Locked>, sqlx::Error> {
    let row = sqlx::query!(
        r#"SELECT NULLIF(closed_through, '-infinity') AS closed_through, clock_timestamp() AS "now!" FROM ledger_books WHERE tenant_id = $1 FOR NO KEY UPDATE"#,
        tenant_id
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Locked { closed_through: row.closed_through, now: row.now }))
}

struct Row {
    closed_through: OffsetDateTime,
    log_size: i64,
    reason: String,
    request_id: Uuid,
    user_id: Option<Uuid>,
    created_by: String,
    created_at: OffsetDateTime,
}

impl Row {
    fn closing(self) -> Result<Closing, sqlx::Error> {
        Ok(Closing {
            closed_through: self.closed_through,
            log_size: to_u64(self.log_size)?,
            reason: self.reason,
            request_id: self.request_id,
            user_id: self.user_id,
            created_by: self.created_by,
            created_at: self.created_at,
        })
    }
}

/// What a request has closed.
pub(crate) async fn by_request(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    request_id: Uuid,
) -> Result<Option<Closing>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        "SELECT closed_through, log_size, reason, request_id, user_id, created_by, created_at FROM ledger_closings WHERE tenant_id = $1 AND request_id = $2",
        tenant_id,
        request_id,
    )
    .fetch_optional(conn)
    .await?
    .map(Row::closing)
    .transpose()
}

/// Closes a period: its triggers do.
pub(crate) async fn insert(
    conn: &mut PgConnection,
    through: OffsetDateTime,
    reason: &str,
    tenant_id: Uuid,
    context: &Context,
) -> Result<Closing, sqlx::Error> {
    sqlx::query_as!(
        Row,
        "INSERT INTO ledger_closings (tenant_id, closed_through, reason, request_id, user_id, created_by, correlation_id) VALUES ($1, $2, $3, $4, $5, $6, $7)
         RETURNING closed_through, log_size, reason, request_id, user_id, created_by, created_at",
        tenant_id,
        through,
        reason,
        context.request_id,
        context.user_id,
        context.actor,
        context.correlation_id,
    )
    .fetch_one(conn)
    .await?
    .closing()
}

/// The latest ones.
pub(crate) async fn before(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    before: Option<OffsetDateTime>,
    limit: u16,
) -> Result<Vec<Closing>, sqlx::Error> {
    let rows = sqlx::query_as!(
        Row,
        "SELECT closed_through, log_size, reason, request_id, user_id, created_by, created_at FROM ledger_closings
         WHERE tenant_id = $1 AND (closed_through < $2) IS NOT FALSE ORDER BY closed_through DESC LIMIT $3",
        tenant_id,
        before,
        i64::from(limit),
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Row::closing).collect()
}
