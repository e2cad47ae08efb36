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

/// As [`stage`], for many in one statement. The ids first, in their own order; then the events, in theirs. Of an id that stands twice the first event is staged.
pub(crate) async fn stage_all(
    conn: &mut PgConnection,
    staged: &[(Event, Context)],
) -> Result<Vec<bool>, sqlx::Error> {
    // A column of this shape, by what it is of each event.
    fn column<'a, T>(staged: &'a [(Event, Context)], of: impl Fn(&'a Event, &'a Context) -> T) -> Vec<T> {
        staged.iter().map(|(event, context)| of(event, context)).collect()
    }
    let fresh = sqlx::query_scalar!(
        r#"WITH given AS (
               SELECT * FROM unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::text[], $8::text[], $9::text[],
                                    $10::bigint[], $11::jsonb[], $12::uuid[], $13::uuid[], $14::text[], $15::text[])
                   WITH ORDINALITY AS given(event_id, tenant_id, source, event_type, subject, "timestamp", actor_id, target_id, target_type, version,
                                            payload, request_id, user_id, correlation_id, causation_id, place)
           ), fresh AS (
               INSERT INTO event_ids (event_id, tenant_id)
               SELECT DISTINCT event_id COLLATE "C", tenant_id FROM given ORDER BY 1, 2
               ON CONFLICT DO NOTHING
               RETURNING event_id, tenant_id
           ), first AS (
               SELECT DISTINCT ON (given.event_id, given.tenant_id) given.*
               FROM given JOIN fresh ON fresh.event_id = given.event_id AND fresh.tenant_id IS NOT DISTINCT FROM given.tenant_id
               ORDER BY given.event_id, given.tenant_id, given.place
           ), staged AS (
               INSERT INTO events_staging (event_id, tenant_id, source, event_type, subject, timestamp, actor_id, target_id, target_type, version,
                                           payload, request_id, user_id, correlation_id, causation_id)
               SELECT event_id, tenant_id, source, event_type, subject, "timestamp", actor_id, target_id, target_type, version, payload, request_id,
                      user_id, correlation_id, causation_id
               FROM first ORDER BY place
           )
           SELECT place AS "place!" FROM first"#,
        &column(staged, |event, _| event.event_id.clone()),
        &column(staged, |_, context| context.tenant_id) as &[Option<Uuid>],
        &column(staged, |event, _| event.source.clone()),
        &column(staged, |event, _| event.event_type.clone()),
        &column(staged, |event, _| event.subject.clone()) as &[Option<String>],
        &column(staged, |event, _| event.timestamp),
        &column(staged, |_, context| context.actor.clone()),
        &column(staged, |event, _| event.target.as_ref().map(|(_, id)| id.clone())) as &[Option<String>],
        &column(staged, |event, _| event.target.as_ref().map(|(kind, _)| kind.clone())) as &[Option<String>],
        &column(staged, |event, _| event.version) as &[Option<i64>],
        &column(staged, |event, _| event.payload.clone()),
        &column(staged, |_, context| context.request_id),
        &column(staged, |_, context| context.user_id) as &[Option<Uuid>],
        &column(staged, |_, context| context.correlation_id.clone()),
        &column(staged, |_, context| context.causation_id.clone()) as &[Option<String>],
    )
    .fetch_all(conn)
    .await?;
    let places: std::collections::HashSet<i64> = fresh.into_iter().collect();
    Ok((1..).take(staged.len()).map(|place| places.contains(&place)).collect())
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

/// The lowest number that retention has left a place for.
pub(crate) async fn first_kept(conn: &mut PgConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT GREATEST(min((regexp_match(child.relname, '^events_(\d+)$'))[1]::bigint), 1) AS "first!"
           FROM pg_inherits link JOIN pg_class child ON child.oid = link.inhrelid
           WHERE link.inhparent = 'events'::regclass"#
    )
    .fetch_one(conn)
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
