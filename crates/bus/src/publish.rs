//! Publishing, within the caller's transaction.
//!
//! *Why it is idempotent, also at once.* `(event_id, tenant_id)` is unique in `event_ids`, and the event is staged by the statement that inserts its id, if and only if
//! it did. A second publisher of the same id waits on that unique key until the first one's transaction has ended: rolled back, the id is its own; committed, it inserts
//! nothing, and its next statement, which sees what was committed before it, finds the first one's event: in the queue or, moved by one transaction, in the stream.

use serde_json::Value;
use sqlx::PgConnection;

use crate::event::{EVENTS, Event, StoredEvent};
use crate::keys::MissingKeys;
use crate::repo::events as repo;

/// The most that an event's payload may take as JSON text: an event says what happened, and refers to what is large.
pub const MAX_PAYLOAD_BYTES: usize = 64 * 1024;
/// The most events that [`publish_all`] takes.
pub const MAX_EVENTS: usize = 1_000;
/// The longest name: an event's id, source or type.
const MAX_NAME_CHARS: usize = 255;

/// What publishing came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Published {
    /// It was staged, and gets its number once the transaction has committed.
    New {
        /// Its id.
        event_id: String,
    },
    /// The id had been published before; nothing was written. `None`: that event is past its retention.
    Existing(Option<Box<StoredEvent>>),
}

/// Why nothing was published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// A key is missing.
    #[error(transparent)]
    MissingKeys(#[from] MissingKeys),
    /// A field cannot be kept.
    #[error("an event's {field} {problem}")]
    Invalid {
        /// Which.
        field: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The payload is too large.
    #[error(
        "an event's payload of {bytes} bytes is larger than {MAX_PAYLOAD_BYTES}: refer to what is large instead"
    )]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// More than one statement takes.
    #[error("{events} events are too many at once, {MAX_EVENTS} may be: publish them in parts")]
    TooMany {
        /// How many there were.
        events: usize,
    },
    /// The database's own error; the transaction is lost.
    #[error("publishing: {0}")]
    Database(#[from] sqlx::Error),
}

/// Publishes `event` in the caller's transaction.
///
/// # Errors
/// See [`PublishError`]. What was refused was refused before the database was asked: the transaction goes on.
pub async fn publish(conn: &mut PgConnection, event: Event) -> Result<Published, PublishError> {
    let context = event.keys.resolve(event.context.clone(), EVENTS.name())?;
    check(&event)?;
    if repo::stage(conn, &event, &context).await? {
        EVENTS.announce_staged();
        return Ok(Published::New { event_id: event.event_id });
    }
    let existing = repo::find(conn, &event.event_id, context.tenant_id).await?;
    Ok(Published::Existing(existing.map(Box::new)))
}

/// Publishes `events` in the caller's transaction, in their order and in one round trip, and says of each whether it is new. One whose id was published before, or stands twice among
/// these, is passed over. For whoever publishes much, as a fold does: what [`publish`] promises of one holds for each.
///
/// Ids are staged in their order as texts, whatever the order of the events: two that publish the same ones at once wait for each other one way only.
///
/// # Errors
/// See [`PublishError`]; [`PublishError::TooMany`] above [`MAX_EVENTS`]. What was refused was refused before the database was asked, and none of them was published.
pub async fn publish_all(conn: &mut PgConnection, events: Vec<Event>) -> Result<Vec<bool>, PublishError> {
    if events.len() > MAX_EVENTS {
        return Err(PublishError::TooMany { events: events.len() });
    }
    let mut staged = Vec::with_capacity(events.len());
    for event in events {
        let context = event.keys.resolve(event.context.clone(), EVENTS.name())?;
        check(&event)?;
        staged.push((event, context));
    }
    let fresh = repo::stage_all(conn, &staged).await?;
    if fresh.contains(&true) {
        EVENTS.announce_staged();
    }
    Ok(fresh)
}

fn check(event: &Event) -> Result<(), PublishError> {
    for (field, text) in
        [("event_id", &event.event_id), ("source", &event.source), ("event_type", &event.event_type)]
    {
        if text.is_empty() || text.chars().count() > MAX_NAME_CHARS {
            return Err(PublishError::Invalid { field, problem: "must have 1 to 255 characters" });
        }
        if text.contains('\0') {
            return Err(PublishError::Invalid {
                field,
                problem: "contains a NUL character, which Postgres does not keep",
            });
        }
    }
    let target = event.target.iter().flat_map(|(kind, id)| [kind, id]);
    if event.subject.iter().chain(target).any(|text| text.contains('\0')) || has_nul(&event.payload) {
        return Err(PublishError::Invalid {
            field: "content",
            problem: "contains a NUL character, which Postgres does not keep",
        });
    }
    let bytes = event.payload.to_string().len();
    if bytes > MAX_PAYLOAD_BYTES {
        return Err(PublishError::TooLarge { bytes });
    }
    Ok(())
}

/// Whether a text in `value` has a NUL character.
pub(crate) fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(values) => values.iter().any(has_nul),
        Value::Object(fields) => fields.iter().any(|(name, value)| name.contains('\0') || has_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}
