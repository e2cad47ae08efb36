//! Readers of the events with a durable cursor each: what carries them out of the house, or acts on them within.
//!
//! The cursor is a row, moved in the reader's own transaction. A reader whose effects are in this database uses [`take`]: effects and cursor commit
//! together, so each event has its effect once. A reader that sends events elsewhere must not do so within a transaction: it [`peek`]s, sends, and
//! [`advance`]s once the other side has acknowledged. If it dies in between it sends again, in the same order and under the same ids.
//!
//! Retention drops no event that a registered reader has yet to read. All of this wants the worker's rights.

use sqlx::PgConnection;

use crate::event::{EVENTS, StoredEvent};
use crate::repo::{events, outbox as repo};

/// Why a reader does not go on.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    /// It was never registered.
    #[error("there is no outbox reader {reader:?}: register it first, which decides where it begins")]
    UnknownReader {
        /// Its name.
        reader: String,
    },
    /// The cursor is elsewhere: two processes read under one name. What this one has sent was, or will be, sent twice.
    #[error(
        "the cursor of the outbox reader {reader:?} is no longer at {from}: another process reads under the same name; hold a lease while reading"
    )]
    Moved {
        /// Its name.
        reader: String,
        /// Where it was expected.
        from: i64,
    },
    /// The database's own error.
    #[error("outbox: {0}")]
    Database(#[from] sqlx::Error),
}

/// What a reader has yet to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Where the cursor is.
    pub after: i64,
    /// What follows, in order.
    pub events: Vec<StoredEvent>,
}

impl Batch {
    /// Where the cursor will be once all of it is done.
    #[must_use]
    pub fn through(&self) -> i64 {
        self.events.last().and_then(|event| event.sequence).unwrap_or(self.after)
    }
}

/// Makes the cursor of `reader` at `after`, unless it has one: 0 for all that is kept, [`plimsoll_store::sequencer::head`] for what is yet to come.
///
/// # Errors
/// The database's.
pub async fn register(conn: &mut PgConnection, reader: &str, after: i64) -> Result<(), OutboxError> {
    Ok(repo::register(conn, EVENTS.name(), reader, after).await?)
}

/// The next `limit` events, and moves the cursor past them, in the caller's transaction. Another one that takes for the same reader waits for this one's end.
///
/// # Errors
/// See [`OutboxError`].
pub async fn take(
    conn: &mut PgConnection,
    reader: &str,
    limit: i64,
) -> Result<Vec<StoredEvent>, OutboxError> {
    let after = repo::lock(conn, EVENTS.name(), reader).await?.ok_or_else(|| unknown(reader))?;
    let batch = Batch { after, events: events::page(conn, after, i64::MAX, None, limit).await? };
    if !batch.events.is_empty() {
        advance(conn, reader, after, batch.through()).await?;
    }
    Ok(batch.events)
}

/// The next `limit` events, without moving anything.
///
/// # Errors
/// See [`OutboxError`].
pub async fn peek(conn: &mut PgConnection, reader: &str, limit: i64) -> Result<Batch, OutboxError> {
    let after = repo::position(conn, EVENTS.name(), reader).await?.ok_or_else(|| unknown(reader))?;
    Ok(Batch { after, events: events::page(conn, after, i64::MAX, None, limit).await? })
}

/// Moves the cursor from where it was seen.
///
/// # Errors
/// [`OutboxError::Moved`] when it is no longer there.
pub async fn advance(conn: &mut PgConnection, reader: &str, from: i64, to: i64) -> Result<(), OutboxError> {
    match repo::advance(conn, EVENTS.name(), reader, from, to).await? {
        true => Ok(()),
        false => Err(OutboxError::Moved { reader: reader.to_owned(), from }),
    }
}

fn unknown(reader: &str) -> OutboxError {
    OutboxError::UnknownReader { reader: reader.to_owned() }
}
