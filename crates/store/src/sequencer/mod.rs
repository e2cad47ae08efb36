//! One total order for what many write: a queue in a table, and one process that numbers it.
//!
//! # The promise
//! A row that a committed transaction put into a stream's staging table gets into the stream, once, under a number of its own. Numbers
//! are dense from 1, and once a number can be read, so can all below it: a reader's cursor is one integer. A row that was staged
//! after its writer had seen the effects of another's transaction has a higher number than that other's rows.
//!
//! # Why it holds
//! Writers insert into the staging table, where the row gets the next `staging_id`, in whatever transaction they are in. The sequencer
//! takes the oldest rows *that it can see*, moves them to the stream under the next numbers, deletes them from staging, and moves the counter, in one
//! transaction that locked the counter's row first.
//!
//! 1. *Dense, and nothing twice.* The numbers of a batch follow the counter that the same transaction locked, moves and commits; rows, their
//!    deletion and the counter commit together or not at all. Whoever numbers next waits for that lock and reads the queue after
//!    it (READ COMMITTED: each statement sees what was committed before it), so it finds the rows gone and the counter moved. That needs no lease;
//!    the lease keeps a second process from getting in the way, and its guard stops one that slept through its own replacement.
//! 2. *Nothing skipped.* A staged row is in the queue until it is in the stream. It is looked for by being there, never by being above an
//!    id that was reached: ids are given out in one order and committed in another, and a row that commits late, under a low id, is simply
//!    the oldest of the next batch.
//! 3. *Causal order.* If the writer of B saw what A committed before it staged B, then A's row has the lower `staging_id` (ids are
//!    given out one by one, uncached), and whoever can see B can see A. So A is numbered in an earlier batch, or before B in the same.
//!    Hence the rule for writers: *stage what depends on a read after that read, and after the locks that order it.*
//! 4. *Nobody stalls.* A transaction left open holds back its own rows and no other's. A restored dump brings queue, stream and counter of one moment;
//!    ids do not have to be dense or to begin anywhere. No lock is held across writers' commits.
//!
//! # Hash link
//! A linked stream's writer also gives the row's digest, and the sequencer links: `hash = SHA-256(tag ‖ sequence ‖ prev_hash ‖ digest)` ([`link_hash`]).
//! The last hash is in the counter's row. Whoever changes, removes or adds a row must redo every hash after it; [`LinkCheck`] finds the
//! first that does not follow. (Somebody with all power over the database can redo them all. Against that only a hash kept elsewhere helps.)
//!
//! # Dead rows under a long snapshot
//! The queue's front is where rows die. Vacuum takes them, but not while any transaction (a dump, a report) still has a snapshot from before, and
//! every look for the oldest row would walk over all of them. So the sequencer keeps a *floor*, an id below which no row can appear any more, and looks from there.
//! It is proved, not guessed (`floor.rs`): every writer that could have an id below it has ended, and the queue was seen empty
//! below it after that. What the dead rows cost then is disk, until the snapshot ends.
//!
//! # Being woken
//! [`Stream::announce_staged`] wakes a sequencer in the writer's own process; it looks at once and then ever less often, since the writer may
//! not have committed yet. What is staged in the ten milliseconds after a batch waits for their end, so that under load a batch is many rows. Any other looks every [`MAX_IDLE`]: one indexed read. Writers do not NOTIFY: Postgres orders all
//! transactions that do by one lock, which they hold through their commit, and group commit would be gone.

mod floor;
mod link;
mod stream;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

pub use self::floor::{Floor, Writers};
pub(crate) use self::link::Links;
pub use self::link::{BrokenLink, HASH_BYTES, Hash, LinkCheck, link_hash};
pub use self::stream::{Head, Stream, head, read_after};
use crate::db::Db;
use crate::lease::{Lease, LeaseError, Leases};
use crate::partitions::Partitions;
use crate::repo::sequencer as repo;

/// The most rows that are numbered in one transaction.
pub const MAX_BATCH_ROWS: i64 = 4_096;
/// How long a sequencer that nobody wakes waits between two looks.
pub const MAX_IDLE: Duration = Duration::from_millis(100);
/// What is staged within this time after a batch shares the next one: a batch costs what many rows do.
const GATHER: Duration = Duration::from_millis(10);
/// How long it waits for the first look after something was staged or numbered; each next wait is twice as long.
const MIN_IDLE: Duration = Duration::from_millis(2);
/// Partitions are made for so many numbers ahead.
const AHEAD_ROWS: i64 = 16 * MAX_BATCH_ROWS;
/// How often the lag is measured.
const REPORT_PERIOD: Duration = Duration::from_secs(5);
/// The floor is moved so often, and whenever so many rows died since: each look walks over those above it.
const FLOOR_PERIOD: Duration = Duration::from_secs(1);
const FLOOR_ROWS: u64 = 512;
/// `sequencer_lag_rows` counts no further.
const MAX_COUNTED_ROWS: i64 = 1_000_000;

/// Why a batch was not numbered. It is still in the queue.
#[derive(Debug, thiserror::Error)]
pub enum SequencerError {
    /// The lease is another's, or was not had.
    #[error("sequencer: {0}")]
    Lease(#[from] LeaseError),
    /// The stream has no row in `sequences`.
    #[error("the table `sequences` has no stream {stream:?}: its migration has to insert one")]
    UnknownStream {
        /// Its name.
        stream: &'static str,
    },
    /// A linked stream's row without a digest of 32 bytes.
    #[error(
        "row {staging_id} of {staging} has no digest of 32 bytes: the stream is hash-linked, its writers must give one"
    )]
    NoDigest {
        /// The staging table.
        staging: &'static str,
        /// The row.
        staging_id: i64,
    },
    /// Rows vanished from the queue while its counter was locked.
    #[error(
        "{missing} rows vanished from {staging} while they were being numbered: something else deletes from it; nothing was numbered"
    )]
    Vanished {
        /// The staging table.
        staging: &'static str,
        /// How many.
        missing: u64,
    },
    /// The database's own error.
    #[error("sequencer: {0}")]
    Database(#[from] sqlx::Error),
}

/// What one batch came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// How many rows were numbered.
    pub rows: u64,
    /// Whether there may be more already.
    pub has_more: bool,
}

/// Numbers one stream, while it holds the lease `sequencer:<stream>`.
#[derive(Debug)]
pub struct Sequencer {
    stream: &'static Stream,
    db: Db,
    leases: Leases,
    partitions: Partitions,
    floor: Floor,
    /// The floor, for the lag's measuring.
    look_from: Arc<AtomicI64>,
    max_batch_rows: i64,
    /// At most that; halved while a batch takes longer than a statement may.
    batch_rows: i64,
}

impl Sequencer {
    /// Does nothing yet.
    #[must_use]
    pub fn new(stream: &'static Stream, db: Db, leases: Leases) -> Self {
        Self {
            stream,
            db,
            leases,
            partitions: Partitions::new(),
            floor: Floor::default(),
            look_from: Arc::new(AtomicI64::new(i64::MIN)),
            max_batch_rows: MAX_BATCH_ROWS,
            batch_rows: MAX_BATCH_ROWS,
        }
    }

    /// As [`Sequencer::new`], with smaller batches: from 1 to [`MAX_BATCH_ROWS`].
    #[must_use]
    pub fn with_max_batch_rows(self, rows: i64) -> Self {
        let rows = rows.clamp(1, MAX_BATCH_ROWS);
        Self { max_batch_rows: rows, batch_rows: rows, ..self }
    }

    /// The lease that its numbering is done under.
    #[must_use]
    pub fn lease_name(stream: &Stream) -> String {
        format!("sequencer:{}", stream.name())
    }

    /// Numbers what is staged, whenever this process has the lease, until `cancel`. The lag is measured in any case.
    ///
    /// # Errors
    /// What [`Sequencer::drain`] may; but a lost lease is waited for.
    pub async fn run(&mut self, cancel: &CancellationToken) -> Result<(), SequencerError> {
        let (db, stream, look_from) = (self.db.clone(), self.stream, Arc::clone(&self.look_from));
        tokio::select! {
            outcome = self.hold(cancel) => outcome,
            () = report_lag(&db, stream, &look_from) => Ok(()),
        }
    }

    async fn hold(&mut self, cancel: &CancellationToken) -> Result<(), SequencerError> {
        let name = Self::lease_name(self.stream);
        while !cancel.is_cancelled() {
            let lease = match self.leases.acquire_wait(&name, cancel).await {
                Err(LeaseError::Cancelled { .. }) => return Ok(()),
                other => other?,
            };
            tracing::info!(stream = self.stream.name(), token = lease.token(), "numbers the stream");
            let outcome = self.work(&lease, cancel).await;
            if let Err(error) = lease.release().await {
                tracing::warn!(lease = name, %error, "the lease could not be given back; it expires by itself");
            }
            match outcome {
                Err(SequencerError::Lease(LeaseError::Fenced { .. })) => {
                    tracing::warn!(lease = name, "the lease went to another; waiting for it");
                }
                other => return other,
            }
        }
        Ok(())
    }

    async fn work(&mut self, lease: &Lease, cancel: &CancellationToken) -> Result<(), SequencerError> {
        let mut staged = self.stream.subscribe_staged();
        let mut idle = MIN_IDLE;
        let mut floor_tick = tokio::time::interval(FLOOR_PERIOD);
        floor_tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        self.floor.forget();
        let mut died = 0;
        while !cancel.is_cancelled() && !lease.lost().is_cancelled() {
            staged.mark_unchanged();
            let drained = self.drain(lease).await?;
            if drained.rows > 0 {
                idle = MIN_IDLE;
            }
            died += drained.rows;
            if died >= FLOOR_ROWS {
                died = 0;
                floor_tick.reset_immediately();
            }
            if drained.rows > 0 && !drained.has_more {
                let _ = tokio::time::timeout(GATHER, lease.lost().cancelled()).await;
            }
            tokio::select! {
                biased;
                _ = floor_tick.tick() => self.raise_floor().await?,
                () = std::future::ready(()), if drained.has_more => {}
                () = cancel.cancelled() => {}
                () = lease.lost().cancelled() => {}
                _ = staged.changed() => idle = MIN_IDLE,
                () = tokio::time::sleep(idle) => idle = (idle * 2).min(MAX_IDLE),
            }
        }
        Ok(())
    }

    /// Numbers the oldest rows of the queue, if there are any: one batch of them, in one transaction under `lease`. To drop it at any
    /// point is safe.
    ///
    /// # Errors
    /// See [`SequencerError`]. Nothing was numbered, unless the connection was lost at the commit; the next call finds out.
    pub async fn drain(&mut self, lease: &Lease) -> Result<Drained, SequencerError> {
        let outcome = self.number_batch(lease).await;
        match &outcome {
            Ok(drained) if drained.rows > 0 => {
                metrics::counter!("sequencer_rows_total", "stream" => self.stream.name())
                    .increment(drained.rows);
                self.stream.announce_numbered();
                self.batch_rows = (self.batch_rows * 2).min(self.max_batch_rows);
            }
            Err(SequencerError::Database(error)) if is_timeout(error) && self.batch_rows > 1 => {
                self.batch_rows = (self.batch_rows / 2).max(1);
                tracing::warn!(
                    stream = self.stream.name(),
                    rows = self.batch_rows,
                    "a batch took too long; it is made smaller"
                );
                return Ok(Drained { rows: 0, has_more: true });
            }
            _ => {}
        }
        outcome
    }

    async fn number_batch(&mut self, lease: &Lease) -> Result<Drained, SequencerError> {
        const NOTHING: Drained = Drained { rows: 0, has_more: false };
        let stream = self.stream;
        let unknown = SequencerError::UnknownStream { stream: stream.name() };
        let seen = repo::look(self.db.worker(), stream, self.floor.id()).await?.ok_or(unknown)?;
        if self.floor.is_of_another_server(seen.server_started_at) {
            self.floor.forget();
            return Ok(Drained { rows: 0, has_more: true });
        }
        if !seen.has_rows {
            self.floor.seen_empty();
            self.look_from.store(self.floor.id(), Ordering::Relaxed);
            return Ok(NOTHING);
        }
        let reach = seen.next + AHEAD_ROWS;
        self.partitions.ensure(self.db.worker(), stream.name(), 0, seen.next, reach).await?;

        let mut tx = self.db.begin_worker_by_keys().await?;
        lease.guard(&mut tx).await?;
        let at = repo::lock(&mut tx, stream.name()).await?;
        if at.next + self.batch_rows > reach {
            // Somebody else numbered meanwhile, and still we hold the lease: a holder's last batch. Look again.
            tx.rollback().await?;
            return Ok(Drained { rows: 0, has_more: true });
        }
        let queued = repo::oldest(&mut tx, stream, self.floor.id(), self.batch_rows).await?;
        let Some(newest) = queued.last().map(|row| row.staging_id) else {
            tx.rollback().await?;
            return Ok(NOTHING);
        };
        let count = queued.len() as u64;
        let rows = i64::try_from(count).expect("a batch is bounded");
        let (links, head_hash) = link::link_batch(stream, &at, &queued)?;
        let moved = repo::number(&mut tx, stream, at.next, &queued, &links).await?;
        if moved != queued.len() as u64 {
            return Err(SequencerError::Vanished {
                staging: stream.staging(),
                missing: queued.len() as u64 - moved,
            });
        }
        repo::advance(&mut tx, stream.name(), at.next + rows, &head_hash).await?;
        tx.commit().await?;

        let is_full = rows == self.batch_rows;
        self.floor.drained(newest, is_full);
        self.look_from.store(self.floor.id(), Ordering::Relaxed);
        Ok(Drained { rows: moved, has_more: is_full })
    }

    /// Looks who writes to the queue, so that the next looks need not walk over its dead rows (module documentation). It only saves work.
    ///
    /// # Errors
    /// The database's.
    pub async fn raise_floor(&mut self) -> Result<(), SequencerError> {
        let writers = writers(self.db.worker(), self.stream.staging()).await?;
        self.floor.observe(writers);
        Ok(())
    }
}

/// Who writes to the queue in the table `staging`, whose key is the identity `staging_id`; for [`Floor::observe`].
///
/// # Errors
/// The database's.
pub async fn writers(pool: &PgPool, staging: &'static str) -> Result<Writers, sqlx::Error> {
    repo::writers(pool, staging).await
}

/// Whether the server gave the statement up.
fn is_timeout(error: &sqlx::Error) -> bool {
    const QUERY_CANCELED: &str = "57014";
    crate::roles::sql_state(error).as_deref() == Some(QUERY_CANCELED)
}

/// Measures what waits in the queue, whoever numbers it.
async fn report_lag(db: &Db, stream: &'static Stream, look_from: &AtomicI64) {
    let mut tick = tokio::time::interval(REPORT_PERIOD);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        match repo::lag(db, stream, look_from.load(Ordering::Relaxed), MAX_COUNTED_ROWS).await {
            Ok(lag) => {
                metrics::gauge!("sequencer_lag_rows", "stream" => stream.name()).set(lag.rows);
                metrics::gauge!("sequencer_lag_seconds", "stream" => stream.name()).set(lag.seconds);
            }
            Err(error) => {
                tracing::warn!(stream = stream.name(), %error, "the sequencer's lag was not measured");
            }
        }
    }
}
