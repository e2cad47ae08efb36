//! Events: staged, found and read.

use plimsoll_types::Context;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::event::{Event, StoredEvent};

/// Puts the event into the queue if its id is new; says whether it was.
pub(crate) async fn stage(
    conn: &mut PgConnection,
    event: &Event,
    context: &Context,
) -> Result<bool, sqlx::Error> {
    let (target_type, target_id) = event.target.as_ref().map(|(kind, id)| (&**kind, &**id)).unzip();
    let result = sqlx::query!(
        "WITH fresh AS (INSERT INTO event_ids (event_id, tenant_id) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING event_id)
         INSERT INTO events_staging (event_id, tenant_id, source, event_type, subject, timestamp, actor_id, target_id, target_type, version,
                                     payload, request_id, user_id, correlation_id, causation_id)
         SELECT event_id, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15 FROM fresh",
        event.event_id,
        context.tenant_id,
        event.source,
        event.event_type,
        event.subject,
        event.timestamp,
        context.actor,
        target_id,
        target_type,
        event.version,
        event.payload,
        context.request_id,
        context.user_id,
        context.correlation_id,
        context.causation_id,
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// The event of that id: one statement, so that it is found in the queue or in the stream, whenever it moves.
pub(crate) async fn find(
    conn: &mut PgConnection,
    event_id: &str,
    tenant_id: Option<Uuid>,
) -> Result<Option<StoredEvent>, sqlx::Error> {
    sqlx::query_as!(
        StoredEvent,
        r#"SELECT sequence, event_id AS "event_id!", tenant_id, source AS "source!", event_type AS "event_type!", subject,
                  timestamp AS "timestamp!", actor_id AS "actor_id!", target_id, target_type, version, payload AS "payload!",
                  request_id AS "request_id!", user_id, correlation_id AS "correlation_id!", causation_id, recorded_at AS "recorded_at!"
           FROM (SELECT sequence, event_id, tenant_id, source, event_type, subject, timestamp, actor_id, target_id, target_type, version,
                        payload, request_id, user_id, correlation_id, causation_id, recorded_at
                 FROM events
                 UNION ALL
                 SELECT NULL, event_id, tenant_id, source, event_type, subject, timestamp, actor_id, target_id, target_type, version,
                        payload, request_id, user_id, correlation_id, causation_id, recorded_at
                 FROM events_staging) AS everywhere
           WHERE event_id = $1 AND tenant_id IS NOT DISTINCT FROM $2"#,
        event_id,
        tenant_id
    )
    .fetch_optional(conn)
    .await
}

/// Up to `limit` events above `after` and up to `through`, of these tenants, or of all.
pub(crate) async fn page(
    conn: &mut PgConnection,
    after: i64,
    through: i64,
    tenants: Option<&[Uuid]>,
    limit: i64,
) -> Result<Vec<StoredEvent>, sqlx::Error> {
    match tenants {
        Some(tenants) => {
            sqlx::query_as!(
                StoredEvent,
                r#"SELECT sequence AS "sequence?", event_id, tenant_id, source, event_type, subject, timestamp, actor_id, target_id, target_type,
                          version, payload, request_id, user_id, correlation_id, causation_id, recorded_at
                   FROM events WHERE sequence > $1 AND sequence <= $2 AND tenant_id = ANY ($3) ORDER BY sequence LIMIT $4"#,
                after,
                through,
                tenants,
                limit
            )
            .fetch_all(conn)
            .await
        }
        None => {
            sqlx::query_as!(
                StoredEvent,
                r#"SELECT sequence AS "sequence?", event_id, tenant_id, source, event_type, subject, timestamp, actor_id, target_id, target_type,
                          version, payload, request_id, user_id, correlation_id, causation_id, recorded_at
                   FROM events WHERE sequence > $1 AND sequence <= $2 ORDER BY sequence LIMIT $3"#,
                after,
                through,
                limit
            )
            .fetch_all(conn)
            .await
        }
    }
}

/// The first `limit` events of a story, of these tenants, or of all.
pub(crate) async fn story(
    conn: &mut PgConnection,
    correlation_id: &str,
    tenants: Option<&[Uuid]>,
    limit: i64,
) -> Result<Vec<StoredEvent>, sqlx::Error> {
    sqlx::query_as!(
        StoredEvent,
        r#"SELECT sequence AS "sequence?", event_id, tenant_id, source, event_type, subject, timestamp, actor_id, target_id, target_type,
                  version, payload, request_id, user_id, correlation_id, causation_id, recorded_at
           FROM events WHERE correlation_id = $1 AND ($2::uuid[] IS NULL OR tenant_id = ANY ($2)) ORDER BY sequence LIMIT $3"#,
        correlation_id,
        tenants,
        limit
    )
    .fetch_all(conn)
    .await
}
