//! The story of a transaction, as whoever runs the platform reads it: whose it is, and each change of it, also those that have no number on the bus yet.

use alloy_primitives::B256;
use plimsoll_types::TransactionState;
use serde::Serialize;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::history::event_id;
use crate::repo::story as repo;

/// By what a transaction is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// Its own id.
    Id(Uuid),
    /// The hash of one of its attempts, on whichever chain.
    Hash(B256),
}

/// Whose a transaction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whose {
    /// Its id.
    pub id: Uuid,
    /// Its tenant; none: the platform filled a nonce with it.
    pub tenant_id: Option<Uuid>,
}

/// A change, as it was published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Counts from 1.
    pub version: i64,
    /// When, by the publisher's clock.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// By whom.
    pub actor: String,
    /// Out of which state; none: it was accepted.
    pub from: Option<TransactionState>,
    /// Into which.
    pub to: Option<TransactionState>,
    /// By which signer.
    pub signer: Option<String>,
    /// What happened.
    pub because: Option<String>,
    /// Why it ends, or is to.
    pub why: Option<String>,
}

/// Whose transaction this is. `conn` is the worker's, as below.
///
/// # Errors
/// The database's.
pub async fn whose(conn: &mut PgConnection, name: Name) -> Result<Option<Whose>, sqlx::Error> {
    let id = match name {
        Name::Id(id) => id,
        Name::Hash(hash) => match crate::repo::read::id_of(conn, &hash).await? {
            Some(id) => id,
            None => return Ok(None),
        },
    };
    repo::whose(conn, id).await
}

/// The changes of a transaction up to a version, the oldest first. Those whose events are past their retention are not among them.
///
/// # Errors
/// The database's.
pub async fn changes(conn: &mut PgConnection, id: Uuid, version: u32) -> Result<Vec<Change>, sqlx::Error> {
    let ids: Vec<_> = (1..=version.cast_signed()).map(|version| event_id(id, version)).collect();
    repo::changes(conn, &ids).await
}
