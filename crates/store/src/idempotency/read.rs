//! The entries as an operator looks at them.
//!
//! On a transaction that names its tenants ([`crate::Db::tenant_tx`]) their entries alone are seen, and the platform's only where
//! [`PLATFORM`](super::PLATFORM) was named; the worker sees all of them.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::IdempotencyError;
use super::decision::State;
use super::key::{Key, Scope};
use crate::repo::idempotency as repo;

/// An entry, without the answer's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is told by among all entries; taken anew, a key may have another.
    pub entry_id: i64,
    /// Where the key counts.
    pub scope: Scope,
    /// The key.
    pub key: Key,
    /// How far it got.
    pub state: State,
    /// Which process works on it, or did.
    pub claimed_by: String,
    /// When another may take it over, while it is in flight.
    pub claim_expires_at: OffsetDateTime,
    /// Where the next attempt goes on.
    pub recovery_point: Option<String>,
    /// What was answered.
    pub status: Option<u16>,
    /// The size of the answer that is kept, in bytes; `None` where there is none, or where it carried a secret and was not kept.
    pub answer_bytes: Option<u64>,
    /// Of the first request.
    pub created_at: OffsetDateTime,
    /// When the key is free again.
    pub expires_at: OffsetDateTime,
}

/// Which entries are looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryFilter {
    /// This tenant's; `None`: the platform's own.
    pub tenant_id: Option<Uuid>,
    /// Of this route's template.
    pub route: Option<String>,
    /// Under this key.
    pub key: Option<String>,
    /// By this principal.
    pub principal: Option<String>,
    /// That got so far.
    pub state: Option<State>,
}

impl State {
    /// As it is stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InFlight => "in_flight",
            Self::Recoverable => "recoverable",
            Self::Done => "done",
        }
    }
}

/// Up to `limit` entries that pass the filter, newest first.
///
/// # Errors
/// The database's.
pub async fn entries(
    conn: &mut PgConnection,
    filter: &EntryFilter,
    limit: i64,
) -> Result<Vec<Entry>, IdempotencyError> {
    Ok(repo::entries(conn, filter, limit).await?)
}

/// The entry; `None` where there is none of that id, or none that the connection may see.
///
/// # Errors
/// The database's.
pub async fn entry(conn: &mut PgConnection, entry_id: i64) -> Result<Option<Entry>, IdempotencyError> {
    Ok(repo::entry(conn, entry_id).await?)
}

/// As [`entry`], locked until the transaction ends: it waits for whoever commits under it just now.
///
/// # Errors
/// The database's.
pub async fn lock_entry(conn: &mut PgConnection, entry_id: i64) -> Result<Option<Entry>, IdempotencyError> {
    Ok(repo::lock_entry(conn, entry_id).await?)
}
