//! Live subscriptions to events: [`plimsoll_store::feed`], where it is argued why nothing is missed and nothing told twice, over the stream of events.

use std::time::Duration;

use plimsoll_store::Db;
use plimsoll_store::feed::{self, PAGE_ITEMS, Page, Source};
use plimsoll_store::sequencer::{SequencerError, head};
use tokio::sync::watch;

use crate::event::{EVENTS, StoredEvent};
use crate::keys::Sight;
use crate::repo::events as repo;

/// The newest events in memory.
pub type Feed = feed::Feed<Events>;
/// One subscription to events: a cursor, and at most a page of them.
pub type BufferChannel = feed::BufferChannel<Events>;
/// Why a subscription ended.
pub type ChannelError = feed::ChannelError<SequencerError>;

/// The stream of events.
#[derive(Clone, Debug)]
pub struct Events {
    db: Db,
}

impl Events {
    /// Of this database.
    #[must_use]
    pub fn new(db: Db) -> Self {
        Self { db }
    }
}

impl Source for Events {
    type Item = StoredEvent;
    type Sight = Sight;
    type Error = SequencerError;
    type Moved = u64;

    const POLL_PERIOD: Duration = Duration::from_millis(100);

    fn name(&self) -> String {
        EVENTS.name().to_owned()
    }

    fn number(event: &StoredEvent) -> i64 {
        // What was read from the stream has one.
        event.sequence.unwrap_or_default()
    }

    fn shows(sight: &Sight, event: &StoredEvent) -> bool {
        sight.includes(event.tenant_id)
    }

    fn moved(&self) -> watch::Receiver<u64> {
        EVENTS.subscribe_numbered()
    }

    async fn end(&self) -> Result<i64, SequencerError> {
        Ok(head(&mut *self.db.worker().acquire().await?, &EVENTS).await?.sequence)
    }

    async fn first(&self) -> Result<i64, SequencerError> {
        Ok(repo::first_kept(&mut *self.db.worker().acquire().await?).await?)
    }

    async fn page(
        &self,
        after: i64,
        through: i64,
        sight: Option<&Sight>,
    ) -> Result<Page<StoredEvent>, SequencerError> {
        let limit = i64::try_from(PAGE_ITEMS).unwrap_or(i64::MAX);
        let items = match sight {
            // Confined by the database too.
            Some(Sight::Tenants(tenants)) => {
                let mut tx = self.db.tenant_tx(tenants).await?;
                let page = repo::page(&mut tx, after, through, Some(tenants), limit).await?;
                tx.commit().await?;
                page
            }
            Some(Sight::Everything) | None => {
                repo::page(&mut *self.db.worker().acquire().await?, after, through, None, limit).await?
            }
        };
        let has_more = items.len() == PAGE_ITEMS;
        let last = items.last().map_or(after, Self::number);
        // Numbers are dense, so that the last one read is the end of what could be read, where no end was given.
        let is_whole = !has_more && through != i64::MAX;
        Ok(Page { items, through: if is_whole { through } else { last }, has_more })
    }
}
