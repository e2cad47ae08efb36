//! Closing periods: what was booked by then does not change any more.
//!
//! # Why it holds
//! Whoever posts holds the tenant's books for sharing until that is committed, and a closing holds them alone. So what is in flight is there when the period is closed, and counts in it; whatever comes
//! after counts in the open period, with its own time. The closing keeps the trial balance of that moment and, for each account, how many lines it had: that tells for ever which lines count in which
//! period. A period that is closed stays closed.
//!
//! It keeps the size of the tenant's log too, with all that waits to be sealed: the first checkpoint of that size or a larger one has everything that the period has.

use plimsoll_store::Db;
use plimsoll_types::Context;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::posting::{REASON_MAX, to_microseconds};
use crate::repo::periods as repo;

/// The most closings that are listed at once.
pub const CLOSINGS_MAX: u16 = 1_000;

/// A period that was closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closing {
    /// Its end: what is booked at it counts in it.
    pub closed_through: OffsetDateTime,
    /// A log of so many entries has all that was booked by then.
    pub log_size: u64,
    /// Why.
    pub reason: String,
    /// The request that closed it.
    pub request_id: Uuid,
    /// Whose request it was.
    pub user_id: Option<Uuid>,
    /// Who closed it.
    pub created_by: String,
    /// When.
    pub created_at: OffsetDateTime,
}

/// Why a period is not closed.
#[derive(Debug, thiserror::Error)]
pub enum CloseError {
    /// A write without its tenant.
    #[error("a closing has a tenant_id: name the tenant whose books these are")]
    NoTenant,
    /// The reason is empty or too long.
    #[error("reason: it has {characters} characters, and needs 1 to {REASON_MAX}")]
    Reason {
        /// How many it has.
        characters: usize,
    },
    /// The tenant has no books.
    #[error("tenant {tenant_id} has no books here: open an account first")]
    NoBooks {
        /// Whose.
        tenant_id: Uuid,
    },
    /// The period has not passed.
    #[error("{through} is in the future: a period is closed when it has passed")]
    Future {
        /// What was asked for.
        through: OffsetDateTime,
    },
    /// A later one is closed, or this one.
    #[error("the books are closed through {closed_through} already: name a later time")]
    Closed {
        /// How far they are closed.
        closed_through: OffsetDateTime,
    },
    /// The request closed another period.
    #[error(
        "request_id {request_id} closed the period through {closed_through}: send what is new under a new request_id"
    )]
    Conflict {
        /// The key.
        request_id: Uuid,
        /// What it closed.
        closed_through: OffsetDateTime,
    },
    /// The database. Whether the period is closed is not known: send it again under the same `request_id`.
    #[error("closing a period: {0}; send it again under the same request_id")]
    Database(#[from] sqlx::Error),
}

/// Closes the books of the context's tenant through a time, with all of it. The same request gets the same closing again.
///
/// # Errors
/// [`CloseError`]: the books are as they were.
pub async fn close(
    db: &Db,
    through: OffsetDateTime,
    reason: &str,
    context: &Context,
) -> Result<Closing, CloseError> {
    let tenant_id = context.tenant_id.ok_or(CloseError::NoTenant)?;
    let through = to_microseconds(through);
    let characters = reason.chars().count();
    if !(1..=REASON_MAX).contains(&characters) {
        return Err(CloseError::Reason { characters });
    }
    let mut tx = db.tenant_tx(&[tenant_id]).await?;
    let Some(books) = repo::lock(&mut tx, tenant_id).await? else {
        return Err(CloseError::NoBooks { tenant_id });
    };
    if let Some(first) = repo::by_request(&mut tx, tenant_id, context.request_id).await? {
        let Closing { closed_through, request_id, .. } = first;
        let is_same = closed_through == through && first.reason == reason;
        return if is_same { Ok(first) } else { Err(CloseError::Conflict { request_id, closed_through }) };
    }
    if through > books.now {
        return Err(CloseError::Future { through });
    }
    if let Some(closed_through) = books.closed_through.filter(|closed| through <= *closed) {
        return Err(CloseError::Closed { closed_through });
    }
    let closing = repo::insert(&mut tx, through, reason, tenant_id, context).await?;
    tx.commit().await?;
    Ok(closing)
}

/// A tenant's closings, the latest first; those before a time, where one is given. At most `limit` and [`CLOSINGS_MAX`].
///
/// # Errors
/// The database's.
pub async fn closings(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    before: Option<OffsetDateTime>,
    limit: u16,
) -> Result<Vec<Closing>, sqlx::Error> {
    repo::before(conn, tenant_id, before, limit.min(CLOSINGS_MAX)).await
}
