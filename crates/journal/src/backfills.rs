//! Backfills that an operator asks for: final blocks that are looked at again, so that what is wanted of them and is not in the journal is appended late.
//!
//! **Who does what.** The journal has one writer, so whoever asks puts a request on record, and the process that holds the chain's ingest lease works it
//! off beside following the head, newest block first.
//!
//! **Once.** A request is its id: the same one again is the same request, and with other arguments a conflict. How far it is moves in the
//! transaction that appends what was found, from the very block at which it stood: what dies in between is found as it was, and no block is counted
//! twice.
//!
//! **An operator's word holds.** That transaction also looks whether it is still to go on, under the row's lock: once a cancellation is committed,
//! nothing of it is appended any more.

use std::collections::BTreeSet;

use alloy_primitives::Address;
use plimsoll_store::Db;
use plimsoll_types::{BackfillState, Completeness};
use serde::Serialize;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::fold::FoldError;
use crate::repo::backfill as repo;
use crate::repo::{cursor, read};

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Order {
    /// The request's id.
    pub request_id: Uuid,
    /// The chain.
    pub chain_id: u64,
    /// The lowest block.
    pub from: u64,
    /// The highest block: final.
    pub to: u64,
    /// Whose logs; without it everything that is followed, watched senders included.
    pub contracts: Option<BTreeSet<Address>>,
    /// It stops once it has found so many events and transactions since it was queued, and the rest of the block that has the last of them.
    pub max_events: Option<u64>,
    /// How many ranges are in flight; without it as many as the configuration says.
    pub parallel_ranges: Option<u32>,
    /// At least at this level it is proven; without it as the chain's backfills are.
    pub level: Option<Completeness>,
}

/// A request, and how far it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Backfill {
    /// What was asked for.
    #[serde(flatten)]
    pub order: Order,
    /// What became of it.
    pub state: BackfillState,
    /// The highest block that is still to be looked at; none when all were.
    pub next: Option<u64>,
    /// Blocks that were looked at.
    pub blocks_done: u64,
    /// Events and transactions that were not in the journal and were appended.
    pub found: u64,
    /// With so many more it stops.
    pub events_left: Option<u64>,
    /// Why it failed; while it runs, why it does not come on.
    pub trouble: Option<String>,
    /// Who asked.
    pub actor: String,
    /// Why.
    pub reason: Option<String>,
    /// When it was put on record.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When the writer took it up first.
    #[serde(with = "time::serde::rfc3339::option")]
    pub started_at: Option<OffsetDateTime>,
    /// When it ended.
    #[serde(with = "time::serde::rfc3339::option")]
    pub ended_at: Option<OffsetDateTime>,
}

impl Backfill {
    /// Blocks in all.
    #[must_use]
    pub fn blocks(&self) -> u64 {
        self.order.to - self.order.from + 1
    }
}

/// Where a request stands that the writer works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Which request.
    pub request_id: Uuid,
    /// The highest block that is still to be looked at.
    pub next: u64,
    /// With so much that was found it is to stop.
    pub at_most: Option<u64>,
}

/// What a commit has done for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advanced {
    /// Events and transactions that were appended.
    pub taken: u64,
    /// The lowest block that was looked at; above the range's first one when the limit was reached before.
    pub down_to: u64,
    /// What became of the request by that.
    pub state: BackfillState,
}

/// Why a request is refused.
#[derive(Debug, thiserror::Error)]
pub enum BackfillError {
    /// There is no such journal.
    #[error("chain {chain_id} has no journal yet: `plimsoll run` begins it")]
    NotBegun {
        /// The chain.
        chain_id: u64,
    },
    /// Nothing of it is final.
    #[error(
        "no block of chain {chain_id} is final yet; what is not final is proven when it comes, and may still leave"
    )]
    NothingFinal {
        /// The chain.
        chain_id: u64,
    },
    /// The first block is above the last.
    #[error("block {from} is above block {to}: the range is from the lower to the higher one")]
    Reversed {
        /// Asked for.
        from: u64,
        /// Asked for.
        to: u64,
    },
    /// Not all of it is final.
    #[error(
        "chain {chain_id}: block {to} is above {last}, the last final one that is in the journal; what is above is followed as it comes"
    )]
    BeyondFinality {
        /// The chain.
        chain_id: u64,
        /// Asked for.
        to: u64,
        /// The last final block.
        last: u64,
    },
    /// Another request has the id.
    #[error("the request {request_id} is another one: {known}")]
    Conflict {
        /// The id.
        request_id: Uuid,
        /// What was asked for under it.
        known: String,
    },
    /// There is no such request.
    #[error("there is no backfill with the request id {request_id}")]
    Unknown {
        /// The id.
        request_id: Uuid,
    },
    /// It is over, so that nothing is left to be cancelled.
    #[error("the backfill {request_id} has ended already: it is {state}")]
    Ended {
        /// The id.
        request_id: Uuid,
        /// What became of it.
        state: BackfillState,
    },
    /// It waits, runs, or has looked at every block.
    #[error("the backfill {request_id} is {state}: there is nothing to resume")]
    NothingToResume {
        /// The id.
        request_id: Uuid,
        /// What became of it.
        state: BackfillState,
    },
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] FoldError),
    /// Postgres.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
}

impl std::fmt::Display for Order {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "blocks {} to {} of chain {}", self.from, self.to, self.chain_id)?;
        if let Some(contracts) = &self.contracts {
            let names: Vec<_> = contracts.iter().map(plimsoll_types::address_text).collect();
            write!(f, " for {}", names.join(", "))?;
        }
        if let Some(events) = self.max_events {
            write!(f, ", up to {events} events at a time")?;
        }
        if let Some(ranges) = self.parallel_ranges {
            write!(f, ", {ranges} ranges in flight")?;
        }
        if let Some(level) = self.level {
            write!(f, ", at level {level}")?;
        }
        Ok(())
    }
}

/// Whether these blocks can be asked for: they are final, and the journal covers them.
///
/// # Errors
/// [`BackfillError`].
pub async fn check(conn: &mut PgConnection, order: &Order) -> Result<(), BackfillError> {
    let Order { chain_id, from, to, .. } = *order;
    if from > to {
        return Err(BackfillError::Reversed { from, to });
    }
    let marks = cursor::marks(conn, chain_id).await?.ok_or(BackfillError::NotBegun { chain_id })?;
    // Up to where the journal covers it: a backfill may still be on its way to the final block.
    let last = marks.final_number.min(marks.head).ok_or(BackfillError::NothingFinal { chain_id })?;
    if read::final_block(conn, chain_id, last).await?.is_none() {
        return Err(BackfillError::NothingFinal { chain_id });
    }
    if to > last {
        return Err(BackfillError::BeyondFinality { chain_id, to, last });
    }
    Ok(())
}

/// Puts a request on record, in the caller's transaction; whether it was not there before.
///
/// # Errors
/// [`BackfillError`].
pub async fn request(
    conn: &mut PgConnection,
    order: &Order,
    actor: &str,
    reason: Option<&str>,
) -> Result<(Backfill, bool), BackfillError> {
    let request_id = order.request_id;
    // What is on record is so whatever may be asked for now.
    if let Some(known) = repo::find(conn, request_id).await? {
        return same(known, order);
    }
    check(conn, order).await?;
    let is_new = repo::insert(conn, order, actor, reason).await?;
    let known = repo::find(conn, request_id).await?.ok_or(BackfillError::Unknown { request_id })?;
    if is_new { Ok((known, true)) } else { same(known, order) }
}

fn same(known: Backfill, order: &Order) -> Result<(Backfill, bool), BackfillError> {
    if known.order == *order {
        return Ok((known, false));
    }
    Err(BackfillError::Conflict { request_id: order.request_id, known: known.order.to_string() })
}

/// A request.
///
/// # Errors
/// [`BackfillError::Unknown`], or that the database failed.
pub async fn find(db: &Db, request_id: Uuid) -> Result<Backfill, BackfillError> {
    let mut conn = db.worker().acquire().await?;
    repo::find(&mut conn, request_id).await?.ok_or(BackfillError::Unknown { request_id })
}

/// Requests, the newest first.
///
/// # Errors
/// When the database fails.
pub async fn list(
    db: &Db,
    chain_id: Option<u64>,
    state: Option<BackfillState>,
    limit: u32,
) -> Result<Vec<Backfill>, BackfillError> {
    let mut conn = db.worker().acquire().await?;
    Ok(repo::list(&mut conn, chain_id, state, i64::from(limit)).await?)
}

/// The blocks of the chain's last request that was worked on, and the seconds that they took; none while there is none.
///
/// # Errors
/// When the database fails.
pub async fn last_pace(db: &Db, chain_id: u64) -> Result<Option<(u64, f64)>, BackfillError> {
    let mut conn = db.worker().acquire().await?;
    Ok(repo::last_pace(&mut conn, chain_id).await?)
}

/// Ends a request where it is, in the caller's transaction: nothing of it is appended once that is committed. Gives it as it was and as it is.
///
/// # Errors
/// [`BackfillError::Unknown`], [`BackfillError::Ended`], or that the database failed.
pub async fn cancel(
    conn: &mut PgConnection,
    request_id: Uuid,
) -> Result<(Backfill, Backfill), BackfillError> {
    let before = repo::lock(conn, request_id).await?.ok_or(BackfillError::Unknown { request_id })?;
    if !before.state.is_open() && before.state != BackfillState::Limited {
        return Err(BackfillError::Ended { request_id, state: before.state });
    }
    repo::cancel(conn, request_id).await?;
    let after = repo::find(conn, request_id).await?.ok_or(BackfillError::Unknown { request_id })?;
    Ok((before, after))
}

/// Has a request go on where it ended, in the caller's transaction; it counts anew towards its limit. Gives it as it was and as it is.
///
/// # Errors
/// [`BackfillError::Unknown`], [`BackfillError::NothingToResume`], or that the database failed.
pub async fn resume(
    conn: &mut PgConnection,
    request_id: Uuid,
) -> Result<(Backfill, Backfill), BackfillError> {
    let before = repo::lock(conn, request_id).await?.ok_or(BackfillError::Unknown { request_id })?;
    if before.state.is_open() || before.state == BackfillState::Done {
        return Err(BackfillError::NothingToResume { request_id, state: before.state });
    }
    repo::resume(conn, request_id).await?;
    let after = repo::find(conn, request_id).await?.ok_or(BackfillError::Unknown { request_id })?;
    Ok((before, after))
}
