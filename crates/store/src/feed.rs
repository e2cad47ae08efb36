//! Live subscriptions: the newest items of a numbered stream from memory, older ones from the database, and nobody waits for a slow reader
//! (spec 3 task 3.5, BufferChannel).
//!
//! One [`Feed`] of a stream and process follows it into a bounded ring, while anybody listens. It never waits for anyone: a full ring drops its oldest. A [`BufferChannel`] is a cursor, and
//! takes what follows it from the ring; if the ring no longer has that, from the database, page by page, until it has caught up. So a slow reader costs the others
//! nothing, costs memory nothing, and misses nothing: it is only late. How late the latest is, is a figure (`subscriber_lag_records`).
//!
//! *Why nothing is missed or told twice.* Numbers rise, and once one can be read so can all below it. The ring is the whole of one range of numbers, and either has what follows the cursor
//! or does not. Where it does not, the page is read up to the ring's end, all of which was committed before the page was read. The cursor moves only over what was handed
//! out, or over what the reader may not see.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How many of the newest items a process keeps in memory.
const RING_ITEMS: usize = 2_048;
/// How many are read at a time.
pub const PAGE_ITEMS: usize = 256;

/// A stream whose items have numbers that rise, and of which whatever can be read has all that precedes it.
pub trait Source: Clone + fmt::Debug + Send + Sync + 'static {
    /// What it is made of.
    type Item: fmt::Debug + Send + Sync + 'static;
    /// What a reader may see of it.
    type Sight: fmt::Debug + Send + Sync + 'static;
    /// Why it could not be read.
    type Error: fmt::Debug + fmt::Display + Send + 'static;
    /// What its wake-up carries.
    type Moved: Send + Sync + 'static;

    /// How often its end is looked for when nobody says that it moved.
    const POLL_PERIOD: Duration;

    /// Its name, as figures are labelled.
    fn name(&self) -> String;

    /// An item's number.
    fn number(item: &Self::Item) -> i64;

    /// Whether a reader may see it.
    fn shows(sight: &Self::Sight, item: &Self::Item) -> bool;

    /// Changes when there may be more.
    fn moved(&self) -> watch::Receiver<Self::Moved>;

    /// The last number that there is; 0 before the first.
    fn end(&self) -> impl Future<Output = Result<i64, Self::Error>> + Send;

    /// The first number that is kept.
    fn first(&self) -> impl Future<Output = Result<i64, Self::Error>> + Send;

    /// What has a number above `after` and up to `through`, in order, as far as `sight` (all: `None`) lets it be seen: at most [`PAGE_ITEMS`].
    fn page(
        &self,
        after: i64,
        through: i64,
        sight: Option<&Self::Sight>,
    ) -> impl Future<Output = Result<Page<Self::Item>, Self::Error>> + Send;
}

/// A part of a stream.
#[derive(Debug)]
pub struct Page<T> {
    /// Everything that was asked for, up to `through`.
    pub items: Vec<T>,
    /// Up to which number that is all.
    pub through: i64,
    /// Whether there may be more beyond it at once.
    pub has_more: bool,
}

/// Why a subscription ended.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError<E: fmt::Display> {
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
        "what follows the cursor {after} is no longer kept: the first that is has the number {first}; begin anew, from 0"
    )]
    Gone {
        /// What was asked for.
        after: i64,
        /// The first that is kept.
        first: i64,
    },
    /// The process ends.
    #[error("the feed has ended with its process; subscribe again, from the last number that was received")]
    Closed,
    /// The stream could not be read.
    #[error("reading the stream: {0}")]
    Source(E),
}

impl<E: fmt::Display> From<E> for ChannelError<E> {
    fn from(error: E) -> Self {
        Self::Source(error)
    }
}

/// The newest items in memory. Clones are the same feed.
#[derive(Debug)]
pub struct Feed<S: Source> {
    source: S,
    ring: Arc<Mutex<Ring<S::Item>>>,
    end: Arc<watch::Sender<End>>,
    cursors: Arc<Mutex<Vec<Weak<AtomicI64>>>>,
}

/// Up to where the feed has followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It has not begun.
    Unknown,
    At(i64),
    Closed,
}

/// All that has a number above `after` and up to `through`.
#[derive(Debug)]
struct Ring<T> {
    items: VecDeque<Arc<T>>,
    after: i64,
    through: i64,
    capacity: usize,
}

impl<S: Source> Clone for Feed<S> {
    fn clone(&self) -> Self {
        let Self { source, ring, end, cursors } = self;
        Self { source: source.clone(), ring: ring.clone(), end: end.clone(), cursors: cursors.clone() }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each critical section leaves what it guards as it should be.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S: Source> Feed<S> {
    /// The feed of a stream.
    #[must_use]
    pub fn new(source: S) -> Self {
        Self::with_capacity(source, RING_ITEMS)
    }

    /// A feed that keeps so many of the newest items.
    #[must_use]
    pub fn with_capacity(source: S, items: usize) -> Self {
        let ring = Ring { items: VecDeque::new(), after: 0, through: 0, capacity: items };
        Self {
            source,
            ring: Arc::new(Mutex::new(ring)),
            end: Arc::new(watch::Sender::new(End::Unknown)),
            cursors: Arc::default(),
        }
    }

    /// Follows the stream until `cancel`; then the subscriptions end. One call at a time: after an error it may be called again, and goes on.
    ///
    /// # Errors
    /// When the stream cannot be read. Subscriptions wait.
    pub async fn run(&self, cancel: &CancellationToken) -> Result<(), S::Error> {
        let mut moved = self.source.moved();
        let known = *self.end.borrow();
        let mut at = match known {
            End::At(at) => at,
            End::Unknown | End::Closed => {
                let at = self.source.end().await?;
                locked(&self.ring).begin(at);
                at
            }
        };
        self.end.send_replace(End::At(at));
        while !cancel.is_cancelled() {
            moved.mark_unchanged();
            let is_heard = self.is_heard();
            let page = match is_heard {
                true => self.source.page(at, i64::MAX, None).await?,
                // How far it goes is all that anyone will ask: whoever subscribes meanwhile finds the rest in the database.
                false => Page { items: Vec::new(), through: self.source.end().await?, has_more: false },
            };
            let has_more = page.has_more;
            if page.through > at {
                at = page.through;
                match is_heard {
                    true => locked(&self.ring).push::<S>(page),
                    false => locked(&self.ring).begin(at),
                }
                self.end.send_replace(End::At(at));
            }
            self.measure(at);
            if !has_more {
                tokio::select! {
                    _ = moved.changed() => {}
                    () = tokio::time::sleep(S::POLL_PERIOD) => {}
                    () = cancel.cancelled() => {}
                }
            }
        }
        self.close();
        Ok(())
    }

    /// [`run`](Self::run), again after each error, until `cancel`.
    pub async fn keep_running(&self, pause: Duration, cancel: &CancellationToken) {
        while let Err(error) = self.run(cancel).await {
            tracing::warn!(stream = self.source.name(), %error, "the stream cannot be read; trying again");
            if cancel.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                break;
            }
        }
        self.close();
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

    /// How far the subscription that is furthest behind is from the feed's end, in numbers of the stream.
    #[must_use]
    pub fn lag(&self) -> i64 {
        let End::At(at) = *self.end.borrow() else { return 0 };
        let mut cursors = locked(&self.cursors);
        cursors.retain(|cursor| cursor.strong_count() > 0);
        let behind =
            cursors.iter().filter_map(Weak::upgrade).map(|cursor| at - cursor.load(Ordering::Relaxed));
        behind.max().unwrap_or(0).max(0)
    }

    /// Whether there is a subscription.
    fn is_heard(&self) -> bool {
        let mut cursors = locked(&self.cursors);
        cursors.retain(|cursor| cursor.strong_count() > 0);
        !cursors.is_empty()
    }

    fn measure(&self, at: i64) {
        debug_assert!(at >= 0, "numbers are from 1");
        #[expect(clippy::cast_precision_loss, reason = "a figure to look at")]
        metrics::gauge!("subscriber_lag_records", "stream" => self.source.name()).set(self.lag() as f64);
    }

    /// Subscribes to what follows `after`, as far as it may be seen: 0 for all that is kept, `None` for what is yet to come.
    ///
    /// # Errors
    /// [`ChannelError::BeyondEnd`], [`ChannelError::Gone`], or that the stream could not be read.
    pub async fn subscribe(
        &self,
        sight: S::Sight,
        after: Option<i64>,
    ) -> Result<BufferChannel<S>, ChannelError<S::Error>> {
        let head = self.source.end().await?;
        let cursor = after.unwrap_or(head);
        if cursor > head {
            return Err(ChannelError::BeyondEnd { after: cursor, head });
        }
        if after.is_some_and(|after| after > 0) {
            let first = self.source.first().await?;
            if cursor + 1 < first {
                return Err(ChannelError::Gone { after: cursor, first });
            }
        }
        let told = Arc::new(AtomicI64::new(cursor));
        locked(&self.cursors).push(Arc::downgrade(&told));
        Ok(BufferChannel {
            feed: self.clone(),
            sight,
            cursor,
            told,
            page: VecDeque::new(),
            page_through: cursor,
            end: self.end.subscribe(),
        })
    }
}

impl<T> Ring<T> {
    fn begin(&mut self, at: i64) {
        self.items.clear();
        (self.after, self.through) = (at, at);
    }

    fn push<S: Source<Item = T>>(&mut self, page: Page<T>) {
        debug_assert!(page.items.first().is_none_or(|first| S::number(first) > self.through));
        self.items.extend(page.items.into_iter().map(Arc::new));
        self.through = page.through;
        let surplus = self.items.len().saturating_sub(self.capacity);
        if let Some(last) = self.items.drain(..surplus).next_back() {
            self.after = S::number(&last);
        }
    }

    /// What follows `cursor`, at most a page, and up to which number that is all; `None` when the first of it is not here.
    fn following<S: Source<Item = T>>(&self, cursor: i64) -> Option<(Vec<Arc<T>>, i64)> {
        if cursor < self.after {
            return None;
        }
        let first = self.items.partition_point(|item| S::number(item) <= cursor);
        let items: Vec<_> = self.items.iter().skip(first).take(PAGE_ITEMS).cloned().collect();
        let is_all = first + items.len() == self.items.len();
        let last = items.last().map(|item| S::number(item)).filter(|_| !is_all);
        Some((items, last.unwrap_or(self.through)))
    }
}

/// One subscription: a cursor, and at most a page of items.
#[derive(Debug)]
pub struct BufferChannel<S: Source> {
    feed: Feed<S>,
    sight: S::Sight,
    cursor: i64,
    /// The cursor, for whoever measures how late it is.
    told: Arc<AtomicI64>,
    page: VecDeque<Arc<S::Item>>,
    /// The cursor once the page is handed out: what is in between is not the reader's.
    page_through: i64,
    end: watch::Receiver<End>,
}

impl<S: Source> BufferChannel<S> {
    /// The next item that may be seen; waits for it. To drop the future is safe: nothing is lost.
    ///
    /// # Errors
    /// See [`ChannelError`]. After [`ChannelError::Source`] it can be called again.
    pub async fn next(&mut self) -> Result<Arc<S::Item>, ChannelError<S::Error>> {
        loop {
            if let Some(item) = self.page.pop_front() {
                self.advance(S::number(&item));
                return Ok(item);
            }
            self.advance(self.page_through);
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

    fn advance(&mut self, to: i64) {
        self.cursor = self.cursor.max(to);
        self.told.store(self.cursor, Ordering::Relaxed);
    }

    async fn fill(&mut self, end: i64) -> Result<(), ChannelError<S::Error>> {
        let in_memory = locked(&self.feed.ring).following::<S>(self.cursor);
        if let Some((items, through)) = in_memory {
            self.page_through = through;
            self.page = items.into_iter().filter(|item| S::shows(&self.sight, item)).collect();
            return Ok(());
        }
        metrics::counter!("bus_catch_up_pages_total").increment(1);
        let page = self.feed.source.page(self.cursor, end, Some(&self.sight)).await?;
        self.page_through = page.through;
        self.page = page.items.into_iter().map(Arc::new).collect();
        Ok(())
    }
}
