//! Live subscriptions: the newest events from memory, older ones from the database, and nobody waits for a slow reader (spec 3 task 3.5, BufferChannel).
//!
//! One [`Feed`] a process follows the stream into a bounded ring. It never waits for anyone: a full ring drops its oldest. A [`BufferChannel`] is a cursor, and
//! takes what follows it from the ring; if the ring no longer has that, from the database, page by page, until it has caught up. So a slow reader costs the others
//! nothing, costs memory nothing, and misses nothing: it is only late.
//!
//! *Why nothing is missed or told twice.* Numbers are dense, so the ring is one unbroken range and either holds the event after the cursor or does not. Where it does not, the
//! page is read up to the ring's end, all of which was committed before the page was read. The cursor moves only over what was handed out, or over what the reader may not see.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use plimsoll_store::Db;
use plimsoll_store::sequencer::{SequencerError, head};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::event::{EVENTS, StoredEvent};
use crate::keys::Sight;
use crate::repo::events as repo;

/// How many of the newest events a process keeps in memory.
const RING_EVENTS: usize = 2_048;
/// How many are read at a time.
const PAGE_EVENTS: usize = 256;
/// How often the stream's end is looked for when no sequencer of this process says that it moved.
const POLL_PERIOD: Duration = Duration::from_millis(100);

/// Why a subscription ended.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The cursor is of another history: the database was restored since.
    #[error(
        "the cursor {after} lies beyond the stream's end {head}: this database was restored from an earlier state; begin anew"
    )]
    BeyondEnd {
        /// What was asked for.
        after: i64,
        /// Where the stream ends.
        head: i64,
    },
    /// What follows the cursor is past its retention: to go on would be to miss it in silence.
    #[error(
        "what follows the cursor {after} is no longer kept: the first event that is has the number {first}; begin anew, from 0"
    )]
    Gone {
        /// What was asked for.
        after: i64,
        /// The first that is kept.
        first: i64,
    },
    /// The process ends.
    #[error(
        "the feed of events has ended with its process; subscribe again, from the last sequence number that was received"
    )]
    Closed,
    /// The stream could not be read.
    #[error("reading events: {0}")]
    Stream(#[from] SequencerError),
    /// The database's own error.
    #[error("reading events: {0}")]
    Database(#[from] sqlx::Error),
}

/// The newest events in memory. Clones are the same feed.
#[derive(Clone, Debug)]
pub struct Feed {
    ring: Arc<Mutex<Ring>>,
    end: Arc<watch::Sender<End>>,
}

/// Up to where the feed has followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It has not begun.
    Unknown,
    At(i64),
    Closed,
}

#[derive(Debug)]
struct Ring {
    events: VecDeque<Arc<StoredEvent>>,
    capacity: usize,
}

impl Default for Feed {
    fn default() -> Self {
        Self::with_capacity(RING_EVENTS)
    }
}

impl Feed {
    /// A feed that keeps so many of the newest events.
    #[must_use]
    pub fn with_capacity(events: usize) -> Self {
        let ring = Ring { events: VecDeque::new(), capacity: events };
        Self { ring: Arc::new(Mutex::new(ring)), end: Arc::new(watch::Sender::new(End::Unknown)) }
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows the stream until `cancel`; then the subscriptions end. One call at a time: after an error it may be called again, and goes on.
    ///
    /// # Errors
    /// When the stream cannot be read. Subscriptions wait.
    pub async fn run(&self, db: &Db, cancel: &CancellationToken) -> Result<(), SequencerError> {
        let mut numbered = EVENTS.subscribe_numbered();
        let known = *self.end.borrow();
        let mut at = match known {
            End::At(at) => at,
            End::Unknown | End::Closed => head(&mut *db.worker().acquire().await?, &EVENTS).await?.sequence,
        };
        self.end.send_replace(End::At(at));
        let limit = i64::try_from(PAGE_EVENTS).unwrap_or(i64::MAX);
        while !cancel.is_cancelled() {
            numbered.mark_unchanged();
            let page = repo::page(&mut *db.worker().acquire().await?, at, i64::MAX, None, limit).await?;
            let is_full = page.len() == PAGE_EVENTS;
            at = page.last().and_then(|event| event.sequence).unwrap_or(at);
            self.push(page);
            if !is_full {
                tokio::select! {
                    _ = numbered.changed() => {}
                    () = tokio::time::sleep(POLL_PERIOD) => {}
                    () = cancel.cancelled() => {}
                }
            }
        }
        self.close();
        Ok(())
    }

    /// The subscriptions end. For whoever gives up to [`Feed::run`] it; a run does so itself when it is cancelled.
    pub fn close(&self) {
        self.end.send_replace(End::Closed);
    }

    /// Returns once the subscriptions have been told to end.
    pub async fn closed(&self) {
        // An error says that the sender is gone, and it is here.
        self.end.subscribe().wait_for(|end| *end == End::Closed).await.ok();
    }

    fn push(&self, page: Vec<StoredEvent>) {
        let Some(last) = page.last().and_then(|event| event.sequence) else { return };
        self.ring().push(page);
        self.end.send_replace(End::At(last));
    }

    /// Subscribes to what follows `after`, as far as it may be seen: 0 for all that is kept, `None` for what is yet to come.
    ///
    /// # Errors
    /// [`ChannelError::BeyondEnd`], [`ChannelError::Gone`], or that the stream's end could not be read.
    pub async fn subscribe(
        &self,
        db: &Db,
        sight: Sight,
        after: Option<i64>,
    ) -> Result<BufferChannel, ChannelError> {
        let mut conn = db.worker().acquire().await?;
        let head = head(&mut conn, &EVENTS).await?.sequence;
        let cursor = after.unwrap_or(head);
        if cursor > head {
            return Err(ChannelError::BeyondEnd { after: cursor, head });
        }
        if after.is_some_and(|after| after > 0) {
            let first = repo::first_kept(&mut conn).await?;
            if cursor + 1 < first {
                return Err(ChannelError::Gone { after: cursor, first });
            }
        }
        drop(conn);
        Ok(BufferChannel {
            feed: self.clone(),
            db: db.clone(),
            sight,
            cursor,
            page: VecDeque::new(),
            page_through: cursor,
            end: self.end.subscribe(),
        })
    }
}

impl Ring {
    fn push(&mut self, page: Vec<StoredEvent>) {
        let follows =
            |last: &Arc<StoredEvent>, first: &StoredEvent| last.sequence.map(|s| s + 1) == first.sequence;
        if let (Some(last), Some(first)) = (self.events.back(), page.first())
            && !follows(last, first)
        {
            self.events.clear();
        }
        self.events.extend(page.into_iter().map(Arc::new));
        let surplus = self.events.len().saturating_sub(self.capacity);
        self.events.drain(..surplus);
    }

    /// Up to `limit` events after `cursor`; `None` when the first of them is not here.
    fn after(&self, cursor: i64, limit: usize) -> Option<Vec<Arc<StoredEvent>>> {
        let first = self.events.front()?.sequence?;
        let skip = usize::try_from(cursor + 1 - first).ok()?;
        Some(self.events.iter().skip(skip).take(limit).cloned().collect())
    }
}

/// One subscription: a cursor, and at most a page of events.
#[derive(Debug)]
pub struct BufferChannel {
    feed: Feed,
    db: Db,
    sight: Sight,
    cursor: i64,
    page: VecDeque<Arc<StoredEvent>>,
    /// The cursor once the page is handed out: the events in between are not the reader's.
    page_through: i64,
    end: watch::Receiver<End>,
}

impl BufferChannel {
    /// The next event that may be seen; waits for it. To drop the future is safe: nothing is lost.
    ///
    /// # Errors
    /// See [`ChannelError`]. After a database error it can be called again.
    pub async fn next(&mut self) -> Result<Arc<StoredEvent>, ChannelError> {
        loop {
            if let Some(event) = self.page.pop_front() {
                self.cursor = event.sequence.unwrap_or(self.cursor);
                return Ok(event);
            }
            self.cursor = self.cursor.max(self.page_through);
            let end = *self.end.borrow_and_update();
            match end {
                End::At(end) if end > self.cursor => self.fill(end).await?,
                End::At(_) | End::Unknown => self.end.changed().await.map_err(|_| ChannelError::Closed)?,
                End::Closed => return Err(ChannelError::Closed),
            }
        }
    }

    /// Everything up to this number was handed out or is not the reader's: where to subscribe again.
    #[must_use]
    pub fn cursor(&self) -> i64 {
        self.cursor
    }

    async fn fill(&mut self, end: i64) -> Result<(), ChannelError> {
        let in_memory = self.feed.ring().after(self.cursor, PAGE_EVENTS);
        if let Some(events) = in_memory {
            self.page_through = events.last().and_then(|event| event.sequence).unwrap_or(self.cursor);
            self.page = events.into_iter().filter(|event| self.sight.includes(event.tenant_id)).collect();
            return Ok(());
        }
        metrics::counter!("bus_catch_up_pages_total").increment(1);
        let limit = i64::try_from(PAGE_EVENTS).unwrap_or(i64::MAX);
        let page = match &self.sight {
            // Confined by the database too.
            Sight::Tenants(tenants) => {
                let mut tx = self.db.tenant_tx(tenants).await?;
                let page = repo::page(&mut tx, self.cursor, end, Some(tenants), limit).await?;
                tx.commit().await?;
                page
            }
            Sight::Everything => {
                repo::page(&mut *self.db.worker().acquire().await?, self.cursor, end, None, limit).await?
            }
        };
        let last = page.last().and_then(|event| event.sequence);
        self.page_through = if page.len() == PAGE_EVENTS { last.unwrap_or(end) } else { end };
        self.page = page.into_iter().map(Arc::new).collect();
        Ok(())
    }
}
