//! The way in for requests: many share a transaction, and nobody holds a connection while waiting.
//!
//! What waits while transactions are being committed shares the next one; when nobody else is there a batch is one posting, and nobody waits for it. Two transactions are under way at a time: while
//! one is being written and made durable, the other takes its batch, looks its keys up, works out what comes of it, and waits for its turn ([`crate::forecast`]). What only the database finds wrong with a posting is isolated by
//! halving the batch, so none fails its neighbours.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use plimsoll_store::Db;
use tokio::sync::{Mutex, mpsc, oneshot, watch};

use crate::batch::{self, Outcomes, Posted};
use crate::error::PostError;
use crate::forecast::Forecast;
use crate::posting::Posting;

/// The most postings of one transaction.
pub const BATCH_MAX: usize = 2_048;
/// The most that wait. Whoever comes then is told to come again.
pub const QUEUE_MAX: usize = 8_192;
/// Transactions under way at a time. A third would only wait for accounts behind the second.
const WRITERS: usize = 2;
/// How long a batch that is not full waits for more while another is under way.
const GATHER: Duration = Duration::from_millis(10);
/// How often a batch is tried again that somebody else was in the way of.
pub(crate) const TRIES_MAX: u32 = 10;

#[derive(Debug)]
struct Waiting {
    posting: Posting,
    asker: oneshot::Sender<Result<Posted, PostError>>,
}

/// Takes postings. Clones share the queue.
#[derive(Clone, Debug)]
pub struct Intake {
    queue: mpsc::Sender<Waiting>,
}

impl Intake {
    /// Starts to take postings.
    #[must_use]
    pub fn start(db: Db) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let writer = Writer {
            db,
            waiting: Arc::new(Mutex::new(waiting)),
            forecast: Arc::default(),
            under_way: Arc::default(),
        };
        for _ in 0..WRITERS {
            tokio::spawn(writer.clone().run());
        }
        Self { queue }
    }

    /// Books a posting, and returns once that is durable. Dropped, it may be booked all the same.
    ///
    /// # Errors
    /// [`PostError`]. After [`PostError::Database`] it may be on record: a repetition tells.
    pub async fn post(&self, posting: Posting) -> Result<Posted, PostError> {
        let (asker, told) = oneshot::channel();
        self.queue.try_send(Waiting { posting, asker }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => PostError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => PostError::Stopped,
        })?;
        told.await.unwrap_or(Err(PostError::Stopped))
    }
}

#[derive(Clone)]
struct Writer {
    db: Db,
    waiting: Arc<Mutex<mpsc::Receiver<Waiting>>>,
    forecast: Arc<Forecast>,
    /// How many transactions are.
    under_way: Arc<watch::Sender<usize>>,
}

impl Writer {
    /// Commits what waits, batch after batch. Ends when the last [`Intake`] is gone and nothing waits.
    async fn run(self) {
        loop {
            let batch = self.gather().await;
            if batch.is_empty() {
                return;
            }
            metrics::histogram!("ledger_batch_postings").record(batch.len() as f64);
            self.under_way.send_modify(|under_way| *under_way += 1);
            self.write(batch).await;
            self.under_way.send_modify(|under_way| *under_way -= 1);
        }
    }

    /// The next batch; empty at the end. Behind a transaction that is under way it would only wait for accounts, so it takes what comes meanwhile too: whoever is told of that transaction's end
    /// sends the next posting.
    async fn gather(&self) -> Vec<Waiting> {
        let mut batch = Vec::new();
        let mut queue = self.waiting.lock().await;
        queue.recv_many(&mut batch, BATCH_MAX).await;
        let mut under_way = self.under_way.subscribe();
        let until = tokio::time::Instant::now() + GATHER;
        while !batch.is_empty() && batch.len() < BATCH_MAX && *under_way.borrow_and_update() > 0 {
            let room = BATCH_MAX - batch.len();
            tokio::select! {
                taken = queue.recv_many(&mut batch, room) => if taken == 0 { break },
                _ = under_way.changed() => {}
                () = tokio::time::sleep_until(until) => break,
            }
        }
        batch
    }

    /// Commits all of them together; or, where that cannot be, in halves, until the one that cannot is alone. It ends: parts become smaller, and one alone is told.
    async fn write(&self, batch: Vec<Waiting>) {
        let mut parts = vec![batch];
        while let Some(mut part) = parts.pop() {
            match self.commit(&part).await {
                Ok(outcomes) => {
                    for (waiting, outcome) in part.into_iter().zip(outcomes) {
                        tell(waiting, outcome);
                    }
                }
                Err(error) if part.len() > 1 && may_be_of_one(&error) => {
                    let rest = part.split_off(part.len() / 2);
                    parts.extend([rest, part]);
                }
                Err(error) => {
                    tracing::warn!(%error, postings = part.len(), "postings could not be written");
                    let error = Arc::new(error);
                    for waiting in part {
                        tell(waiting, Err(PostError::Database(Arc::clone(&error))));
                    }
                }
            }
        }
    }

    /// One transaction as the app's role, confined to the tenants of its postings; once more where somebody else was in the way.
    async fn commit(&self, batch: &[Waiting]) -> Result<Outcomes, sqlx::Error> {
        let postings: Vec<_> = batch.iter().map(|waiting| &waiting.posting).collect();
        let tenants: BTreeSet<_> = postings.iter().map(|posting| posting.tenant_id()).collect();
        let tenants: Vec<_> = tenants.into_iter().collect();
        let mut tries = 0;
        loop {
            let mut turn = self.forecast.turn();
            let mut tx = self.db.tenant_tx(&tenants).await?;
            let outcome = batch::post(&mut tx, &postings, Some(&mut turn)).await;
            match outcome {
                Ok(outcomes) => {
                    tx.commit().await?;
                    return Ok(outcomes);
                }
                Err(error) => {
                    tx.rollback().await?;
                    tries += 1;
                    if tries >= TRIES_MAX || !is_in_the_way(&error) {
                        return Err(error);
                    }
                }
            }
        }
    }
}

/// Tells whoever waits, who may be gone: what is on record is so all the same.
fn tell(waiting: Waiting, outcome: Result<Posted, PostError>) {
    let ends = match &outcome {
        Ok(posted) if posted.is_replay => "replayed",
        Ok(_) => "booked",
        Err(PostError::Conflict { .. }) => "conflict",
        Err(PostError::Refused(_) | PostError::NoBooks { .. } | PostError::Invalid(_)) => "refused",
        Err(_) => "failed",
    };
    metrics::counter!("ledger_postings_total", "outcome" => ends).increment(1);
    let _ = waiting.asker.send(outcome);
}

fn code(error: &sqlx::Error) -> Option<std::borrow::Cow<'_, str>> {
    error.as_database_error()?.code()
}

/// Whether another transaction was in the way: it used a key meanwhile, or both waited for each other.
pub(crate) fn is_in_the_way(error: &sqlx::Error) -> bool {
    const UNIQUE_VIOLATION: &str = "23505";
    const DEADLOCK: &str = "40P01";
    code(error).is_some_and(|code| code == UNIQUE_VIOLATION || code == DEADLOCK)
}

/// Whether it may be said of one posting alone: its data (class 22), what it refers to or breaks (23), a wait in a circle (40), or that it cannot be put into words.
pub(crate) fn may_be_of_one(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Encode(_))
        || code(error).is_some_and(|code| ["22", "23", "40"].iter().any(|class| code.starts_with(class)))
}
