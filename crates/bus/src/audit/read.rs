//! The audit log, read: one request's entries, or page by page in either direction.
//!
//! A reader sees what its connection may see: on `Db::tenant_tx` the tenant's own entries, on the worker's everything. The tenant of a
//! [`Filter`] narrows that further, and lets an index find the rows; it is not what keeps tenants apart.
//!
//! A page looks at [`SCAN_ROWS`] numbers at most, whatever is looked for, so that a statement's time is bounded and a rare entry costs more pages,
//! not a longer statement. A page may therefore hold fewer entries than were asked for, or none, and still not be the last:
//! [`Page::next`] says where to go on, and each page begins beyond the numbers of the one before, so going on ends.

use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::event::to_micros;
use crate::repo::audit::{self as repo, Order};

/// The most entries that a page holds.
pub const PAGE_MAX_ROWS: i64 = 1_000;
/// How many numbers one page looks at, at most.
pub const SCAN_ROWS: i64 = 50_000;

/// An entry as it is kept.
#[derive(Clone, Debug, Serialize)]
pub struct Recorded {
    /// Its number; `None` while it waits for one.
    pub sequence: Option<i64>,
    /// When, by the writer's clock.
    #[serde(with = "time::serde::rfc3339")]
    pub recorded_at: OffsetDateTime,
    /// For whom; `None` for the platform's own operations.
    pub tenant_id: Option<Uuid>,
    /// The request.
    pub request_id: Uuid,
    /// For which of the tenant's users.
    pub user_id: Option<Uuid>,
    /// Who did it.
    pub actor: String,
    /// What was done.
    pub action: String,
    /// To what kind of thing.
    pub target_type: String,
    /// To which of them.
    pub target_id: String,
    /// Its state before. JSON text, so that no number is rounded.
    pub before: Option<Box<RawValue>>,
    /// Its state after.
    pub after: Option<Box<RawValue>>,
    /// The transaction of the ledger or the chain.
    pub tx_id: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// The story.
    pub correlation_id: String,
    /// SHA-256 of all that, in hexadecimal ([`super`] says how).
    pub digest: String,
    /// The hash of the entry before; `None` while it waits for its number.
    pub prev_hash: Option<String>,
    /// The hash of this one, over number, digest and `prev_hash`.
    pub hash: Option<String>,
}

/// Which entries are looked for; the default is all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// This tenant's.
    pub tenant_id: Option<Uuid>,
    /// Of this user of a tenant.
    pub user_id: Option<Uuid>,
    /// By this actor.
    pub actor: Option<String>,
    /// Of this action; where it ends with a full stop, of all whose names begin so (`identity.user.`).
    pub action: Option<String>,
    /// On this kind of thing.
    pub target_type: Option<String>,
    /// On this one.
    pub target_id: Option<String>,
    /// The first number.
    pub from: Option<i64>,
    /// The last number.
    pub to: Option<i64>,
    /// Recorded at or after this, by the writers' clocks. Numbers follow these nearly, not exactly.
    pub since: Option<OffsetDateTime>,
    /// Recorded before this.
    pub until: Option<OffsetDateTime>,
}

/// A part of what was looked for.
#[derive(Debug)]
pub struct Page {
    /// The entries, in the page's direction.
    pub entries: Vec<Recorded>,
    /// What to go on from; `None` at the end.
    pub next: Option<i64>,
}

/// All that the request put on record, in order; what waits for its number comes last.
///
/// # Errors
/// The database's.
pub async fn by_request(
    conn: &mut PgConnection,
    tenant_id: Option<Uuid>,
    request_id: Uuid,
) -> Result<Vec<Recorded>, sqlx::Error> {
    repo::by_request(conn, tenant_id, request_id).await
}

/// Up to `limit` entries with numbers above `after`, oldest first; [`PAGE_MAX_ROWS`] at most.
///
/// # Errors
/// The database's.
pub async fn page(
    conn: &mut PgConnection,
    filter: &Filter,
    after: i64,
    limit: i64,
) -> Result<Page, sqlx::Error> {
    let Some(last) = repo::last_number(conn, filter.tenant_id).await? else { return Ok(Page::empty()) };
    let last = filter.to.map_or(last, |to| to.min(last));
    let first = filter.from.map_or(1, |from| from.max(1)).max(after.saturating_add(1));
    if first > last {
        return Ok(Page::empty());
    }
    let scanned_to = last.min(first.saturating_add(SCAN_ROWS - 1));
    let limit = limit.clamp(1, PAGE_MAX_ROWS);
    let filter = &filter.to_the_microsecond();
    let entries = repo::in_order(conn, filter, (first, scanned_to), Order::Oldest, limit).await?;
    let next = last_looked_at(&entries, limit, scanned_to);
    Ok(Page { entries, next: (next < last).then_some(next) })
}

/// Up to `limit` entries with numbers below `before` (`None`: the newest), newest first; [`PAGE_MAX_ROWS`] at most.
///
/// # Errors
/// The database's.
pub async fn page_back(
    conn: &mut PgConnection,
    filter: &Filter,
    before: Option<i64>,
    limit: i64,
) -> Result<Page, sqlx::Error> {
    let Some(last) = repo::last_number(conn, filter.tenant_id).await? else { return Ok(Page::empty()) };
    let first = filter.from.map_or(1, |from| from.max(1));
    let last = filter.to.map_or(last, |to| to.min(last));
    let last = before.map_or(last, |before| last.min(before.saturating_sub(1)));
    if first > last {
        return Ok(Page::empty());
    }
    let scanned_to = first.max(last.saturating_sub(SCAN_ROWS - 1));
    let limit = limit.clamp(1, PAGE_MAX_ROWS);
    let filter = &filter.to_the_microsecond();
    let entries = repo::in_order(conn, filter, (scanned_to, last), Order::Newest, limit).await?;
    let next = last_looked_at(&entries, limit, scanned_to);
    Ok(Page { entries, next: (next > first).then_some(next) })
}

/// How many entries wait for their numbers: they are on record, and in no page yet.
///
/// # Errors
/// The database's.
pub async fn waiting(conn: &mut PgConnection) -> Result<i64, sqlx::Error> {
    repo::waiting(conn).await
}

/// The last entry of a full page; of any other, how far was looked.
fn last_looked_at(entries: &[Recorded], limit: i64, scanned_to: i64) -> i64 {
    let is_full = i64::try_from(entries.len()).is_ok_and(|count| count == limit);
    entries.last().filter(|_| is_full).and_then(|entry| entry.sequence).unwrap_or(scanned_to)
}

impl Page {
    fn empty() -> Self {
        Self { entries: Vec::new(), next: None }
    }
}

impl Filter {
    /// As the entries' own times are kept.
    fn to_the_microsecond(&self) -> Self {
        Self { since: self.since.map(to_micros), until: self.until.map(to_micros), ..self.clone() }
    }
}
