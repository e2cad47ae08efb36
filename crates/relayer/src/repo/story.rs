//! A transaction's changes, found by the ids that their events have.

use plimsoll_types::TransactionState;
use sqlx::PgConnection;
use uuid::Uuid;

use super::unreadable;
use crate::story::{Change, Whose};

pub(crate) async fn whose(conn: &mut PgConnection, id: Uuid) -> Result<Option<Whose>, sqlx::Error> {
    sqlx::query_as!(Whose, "SELECT id, tenant_id FROM managed_transactions WHERE id = $1", id)
        .fetch_optional(conn)
        .await
}

pub(crate) async fn changes(
    conn: &mut PgConnection,
    event_ids: &[String],
) -> Result<Vec<Change>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT version AS "version!", timestamp AS "at!", actor_id AS "actor!", payload ->> 'from' AS from, payload ->> 'to' AS to,
                  payload ->> 'signer' AS signer, payload ->> 'because' AS because, payload ->> 'why' AS why
           FROM (SELECT version, timestamp, actor_id, payload FROM events WHERE event_id = ANY($1)
                 UNION ALL SELECT version, timestamp, actor_id, payload FROM events_staging WHERE event_id = ANY($1)) AS e
           WHERE version IS NOT NULL ORDER BY version"#,
        event_ids,
    )
    .fetch_all(conn)
    .await?;
    let state = |text: Option<String>| {
        let state = text.map(|text| text.parse::<TransactionState>());
        state.transpose().map_err(|error| unreadable(error.to_string()))
    };
    rows.into_iter()
        .map(|row| {
            Ok(Change {
                version: row.version,
                at: row.at,
                actor: row.actor,
                from: state(row.from)?,
                to: state(row.to)?,
                signer: row.signer,
                because: row.because,
                why: row.why,
            })
        })
        .collect()
}
