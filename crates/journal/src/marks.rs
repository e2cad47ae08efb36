//! Confirmed blocks, for everyone who only wants stable ones (spec 3 task 3.4).
//!
//! A chain's `confirm` records, their retractions and its `finalize` records, in the order of the journal, as a stream of which a reader's cursor is the journal's own `seq`:
//!
//! - [`Confirmed`](MarkKind::Confirmed): the block, and all below it, reached the chain's confirmation depth, or was final when the journal came by. At the head there is one a block,
//!   and each is the last one's child; in a backfill there is one a range, for the range's last block.
//! - [`Retracted`](MarkKind::Retracted): a reorganisation that went deeper than the confirmations took that block back. Newest first, before anything is confirmed in its place.
//! - [`Final`](MarkKind::Final): that block and all below it are not taken back any more. Precedes the confirmations of a backfill, follows those at the head.
//!
//! *In order and once* because the journal is: one writer, dense numbers, and a record once committed never changes. *Nobody waits for a slow reader* because each is a
//! cursor behind a [`plimsoll_store::feed::BufferChannel`], over one reader of the journal a chain and process.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use plimsoll_store::Db;
use plimsoll_store::feed::{BufferChannel, ChannelError, Feed, PAGE_ITEMS, Page, Source};
use plimsoll_types::JournalKind;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::fold::FoldError;
use crate::record::{Block, Body, Record};
use crate::repo::marks as repo;
use crate::tail::{End, Tail};

/// How many records are looked through at a time: in a backfill there are few marks among many of them.
const MAX_SPAN: i64 = 50_000;
/// About how many are taken from memory at a time.
const TAIL_RECORDS: usize = 4_096;
/// How long the reader of a journal rests when that cannot be read.
const PAUSE: Duration = Duration::from_secs(1);

/// What became of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkKind {
    /// It and all below it reached the confirmation depth.
    Confirmed,
    /// It was confirmed, and left the canonical chain.
    Retracted,
    /// It and all below it are final.
    Final,
}

/// What became of a block, and where the journal says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The record's place in the journal: where to go on.
    pub seq: i64,
    /// What became of it.
    pub kind: MarkKind,
    /// The block.
    pub block: Arc<Block>,
}

/// Why a journal's marks could not be read.
#[derive(Debug, thiserror::Error)]
pub enum MarksError {
    /// The database has no journal of this chain.
    #[error("chain {chain_id} is not followed: the database has no journal of it")]
    UnknownChain {
        /// The chain.
        chain_id: u64,
    },
    /// The journal cannot be read back.
    #[error(transparent)]
    Read(#[from] FoldError),
    /// Postgres.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
}

/// One subscription to a chain's confirmed blocks.
pub type MarksChannel = BufferChannel<BlockMarks>;
/// Why a [`MarksChannel`] ended.
pub type MarksClosed = ChannelError<MarksError>;

/// A chain's marks as a stream.
#[derive(Clone, Debug)]
pub struct BlockMarks {
    chain_id: u64,
    db: Db,
    tail: Tail,
}

impl Source for BlockMarks {
    type Item = Mark;
    type Sight = ();
    type Error = MarksError;
    type Moved = End;

    /// A wake-up that was lost (another process's, while the listener reconnected) is made up for after this long.
    const POLL_PERIOD: Duration = Duration::from_secs(2);

    fn name(&self) -> String {
        format!("blocks:{}", self.chain_id)
    }

    fn number(mark: &Mark) -> i64 {
        mark.seq
    }

    /// What a chain says is public.
    fn shows((): &(), _: &Mark) -> bool {
        true
    }

    fn moved(&self) -> watch::Receiver<End> {
        self.tail.subscribe(self.chain_id)
    }

    async fn end(&self) -> Result<i64, MarksError> {
        let mut conn = self.db.worker().acquire().await?;
        let end = repo::end(&mut conn, self.chain_id).await?;
        end.ok_or(MarksError::UnknownChain { chain_id: self.chain_id })
    }

    /// A journal is kept whole.
    async fn first(&self) -> Result<i64, MarksError> {
        Ok(1)
    }

    async fn page(&self, after: i64, through: i64, _: Option<&()>) -> Result<Page<Mark>, MarksError> {
        let mut known = self.tail.after(self.chain_id, after, TAIL_RECORDS).unwrap_or_default();
        known.retain(|record| record.seq <= through);
        if let Some(last) = known.last().map(|record| record.seq) {
            let items: Vec<_> = known.iter().filter_map(mark).take(PAGE_ITEMS).collect();
            let through = items.get(PAGE_ITEMS - 1).map_or(last, |mark| mark.seq);
            return Ok(Page { items, through, has_more: through < last });
        }
        let end = self.end().await?.min(through);
        let bound = end.min(after.saturating_add(MAX_SPAN));
        let mut conn = self.db.worker().acquire().await?;
        let (marks, through) = repo::marks(&mut conn, self.chain_id, after, bound, PAGE_ITEMS).await?;
        let through = through.max(after);
        Ok(Page { items: marks.iter().filter_map(mark).collect(), through, has_more: through < end })
    }
}

/// What a record says of a confirmed block, if it does.
fn mark(record: &Record) -> Option<Mark> {
    let of = |kind, block: &Arc<Block>| Mark { seq: record.seq, kind, block: block.clone() };
    match (record.kind, &record.body) {
        (JournalKind::Confirm, Body::Block(block)) => Some(of(MarkKind::Confirmed, block)),
        (JournalKind::Finalize, Body::Block(block)) => Some(of(MarkKind::Final, block)),
        (JournalKind::Retract, Body::Retract(taken)) if taken.kind == JournalKind::Confirm => {
            taken.block().map(|block| of(MarkKind::Retracted, block))
        }
        _ => None,
    }
}

/// The confirmed blocks of every chain, for any number of subscribers of this process. Clones are the same; the last one's end ends the subscriptions.
#[derive(Clone, Debug)]
pub struct Marks {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    db: Db,
    tail: Tail,
    feeds: Mutex<HashMap<u64, Feed<BlockMarks>>>,
    cancel: CancellationToken,
    _ended: DropGuard,
}

impl Marks {
    /// Of the journals in this database; woken by `tail`, which the journals' writers fill, or [`listen`](crate::listen).
    #[must_use]
    pub fn new(db: Db, tail: Tail) -> Self {
        let cancel = CancellationToken::new();
        let _ended = cancel.clone().drop_guard();
        Self { inner: Arc::new(Inner { db, tail, feeds: Mutex::default(), cancel, _ended }) }
    }

    /// Subscribes to what a chain's journal says after its record `after`: 0 for all, `None` for what is yet to come. The first subscription of a chain starts the one
    /// reader of its journal, which lasts as long as this does.
    ///
    /// # Errors
    /// [`MarksError::UnknownChain`], [`ChannelError::BeyondEnd`], or that the journal could not be read.
    pub async fn subscribe(&self, chain_id: u64, after: Option<i64>) -> Result<MarksChannel, MarksClosed> {
        let source = BlockMarks { chain_id, db: self.inner.db.clone(), tail: self.inner.tail.clone() };
        // Before anything is kept for it: whoever asks for chains that are not there leaves nothing behind.
        source.end().await?;
        self.feed(source).subscribe((), after).await
    }

    /// How far the subscription of a chain that is furthest behind is from its feed's end, in records of the journal.
    #[must_use]
    pub fn lag(&self, chain_id: u64) -> i64 {
        let feeds = self.inner.feeds.lock().unwrap_or_else(PoisonError::into_inner);
        feeds.get(&chain_id).map_or(0, Feed::lag)
    }

    fn feed(&self, source: BlockMarks) -> Feed<BlockMarks> {
        let mut feeds = self.inner.feeds.lock().unwrap_or_else(PoisonError::into_inner);
        match feeds.entry(source.chain_id) {
            Entry::Occupied(known) => known.get().clone(),
            Entry::Vacant(new) => {
                let feed = new.insert(Feed::new(source)).clone();
                let (running, cancel) = (feed.clone(), self.inner.cancel.clone());
                tokio::spawn(async move { running.keep_running(PAUSE, &cancel).await });
                feed
            }
        }
    }
}
