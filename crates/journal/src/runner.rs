//! Runs a fold: under its lease, woken by the journal, stopped by a poisoned record until an operator decides.

use std::time::Duration;

use plimsoll_store::{Db, Lease, LeaseError, Leases, Partitions};
use serde_json::json;
use sqlx::postgres::PgListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::fold::{Fold, FoldError};
use crate::repo::cursor::{self, Stopped};
use crate::repo::{to_i64, to_u64};
use crate::step::{StepOptions, step};
use crate::tail::{End, Tail};

/// About how many records a step takes.
const MAX_STEP_RECORDS: usize = 40_000;
/// How long a step gathers more records, at most, while the journal is being backfilled. Nobody waits for the effects of such a step, and of the
/// rows that its records change time and again, each is then written once.
const BACKFILL_LINGER: Duration = Duration::from_secs(2);
/// A wake-up that was lost (another process's, while the listener reconnected) is made up for after this long.
const RECHECK_INTERVAL: Duration = Duration::from_secs(2);

/// The lease that a fold's runner holds.
#[must_use]
pub fn lease_name(fold: &str, chain_id: u64) -> String {
    format!("fold:{fold}:{chain_id}")
}

/// Keeps one fold of one chain in step with the journal.
#[derive(Debug)]
pub struct FoldRunner<F> {
    fold: F,
    chain_id: u64,
    db: Db,
    leases: Leases,
    tail: Tail,
}

impl<F: Fold> FoldRunner<F> {
    /// A runner for `fold` on this chain.
    pub fn new(fold: F, chain_id: u64, db: Db, leases: Leases, tail: Tail) -> Self {
        Self { fold, chain_id, db, leases, tail }
    }

    /// Runs until `cancel`. Returns an error that a restart may heal (the database is gone); a poisoned record does not end it: the
    /// fold's row says `stopped`, and the runner waits for an operator.
    pub async fn run(&mut self, cancel: &CancellationToken) -> Result<(), FoldError> {
        let name = lease_name(self.fold.name(), self.chain_id);
        while !cancel.is_cancelled() {
            let lease = match self.leases.acquire_wait(&name, cancel).await {
                Ok(lease) => lease,
                Err(LeaseError::Cancelled { .. }) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            tracing::info!(
                fold = self.fold.name(),
                chain_id = self.chain_id,
                fencing_token = lease.token(),
                "fold runs"
            );
            let outcome = self.work(&lease, cancel).await;
            if let Err(error) = lease.release().await {
                tracing::warn!(lease = name, %error, "the lease could not be given back; it expires by itself");
            }
            match outcome {
                Err(FoldError::Lease(LeaseError::Fenced { .. })) => {
                    tracing::warn!(lease = name, "the lease went to another; waiting for it");
                }
                other => return other,
            }
        }
        Ok(())
    }

    async fn work(&mut self, lease: &Lease, cancel: &CancellationToken) -> Result<(), FoldError> {
        let mut end = self.tail.subscribe(self.chain_id);
        let mut partitions = Partitions::default();
        let mut cursor = {
            let mut conn = self.db.worker().acquire().await?;
            cursor::position(&mut conn, self.fold.name(), self.chain_id).await?
        };
        loop {
            if cancel.is_cancelled() {
                return Ok(());
            }
            self.ensure_partitions(&mut partitions, cursor).await?;
            let options = StepOptions {
                max_records: MAX_STEP_RECORDS,
                up_to_seq: None,
                tail: Some(&self.tail),
                lease: Some(lease),
            };
            end.mark_unchanged();
            match step(&mut self.fold, &self.db, self.chain_id, options).await {
                Ok(done) if done.records > 0 => {
                    cursor = done.cursor;
                    let from = Covered { seq: cursor, block_number: done.block_number.map_or(0, to_u64) };
                    tokio::select! {
                        () = gathered(&mut end, from) => {}
                        () = cancel.cancelled() => {}
                        () = lease.lost().cancelled() => {}
                    }
                    metrics::counter!("fold_records_total", "fold" => self.fold.name(), "chain_id" => self.chain_id.to_string())
                        .increment(done.records as u64);
                }
                Ok(_) => wait(&mut end, lease, cancel).await,
                Err(
                    error @ (FoldError::Poisoned { .. }
                    | FoldError::UndoOrder { .. }
                    | FoldError::Dangling { .. }
                    | FoldError::Hole { .. }
                    | FoldError::Malformed { .. }),
                ) => {
                    self.stop(lease, &error).await?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The partitions that the next step's rows go to, whatever it takes: a step larger than this is one block that outgrew
    /// every bound, and fails with Postgres's own words.
    async fn ensure_partitions(&self, partitions: &mut Partitions, cursor: i64) -> Result<(), FoldError> {
        let ahead = to_i64(8 * MAX_STEP_RECORDS as u64);
        for table in self.fold.partitioned_tables() {
            partitions.ensure(self.db.worker(), table, self.chain_id, cursor, cursor + ahead).await?;
        }
        Ok(())
    }

    /// Writes down why the fold stopped and what to do.
    async fn stop(&self, lease: &Lease, error: &FoldError) -> Result<(), FoldError> {
        let seq = match error {
            FoldError::Poisoned { seq, .. } => Some(*seq),
            _ => None,
        };
        let why = json!({
            "seq": seq,
            "error": error.to_string(),
            "remedy": "mend the cause and restart, or pass over the record on record: plimsoll fold skip",
        });
        tracing::error!(fold = self.fold.name(), chain_id = self.chain_id, seq, %error, "fold stopped");
        metrics::counter!("fold_stops_total", "fold" => self.fold.name(), "chain_id" => self.chain_id.to_string()).increment(1);
        let mut tx = self.db.begin_worker().await?;
        lease.guard(&mut tx).await?;
        cursor::stop(&mut tx, self.fold.name(), self.chain_id, &why).await?;
        Ok(tx.commit().await?)
    }
}

/// How far a fold has come.
#[derive(Clone, Copy)]
struct Covered {
    seq: i64,
    block_number: u64,
}

/// Until there is enough for the next step, or long enough.
async fn gathered(end: &mut watch::Receiver<End>, from: Covered) {
    if tokio::time::timeout(BACKFILL_LINGER, end.wait_for(|end| is_enough(*end, from))).await.is_err() {
        tracing::trace!("enough waited for a larger step");
    }
}

/// Whether a step takes what there is, or waits for more. At the head it never waits. In a backfill it waits for a full step; but where less than
/// that is to come, for half of it, then for half of what is left, and so on: the last step, which runs when the backfill is over and
/// nothing else does, is then a small one.
fn is_enough(end: End, from: Covered) -> bool {
    let is_full = end.seq - from.seq >= to_i64(MAX_STEP_RECORDS as u64);
    is_full || end.block_number.saturating_sub(from.block_number) >= end.missing_blocks
}

/// Until there is more, or a moment passed, or there is no reason to wait.
async fn wait(end: &mut watch::Receiver<End>, lease: &Lease, cancel: &CancellationToken) {
    tokio::select! {
        _ = end.changed() => {}
        () = tokio::time::sleep(RECHECK_INTERVAL) => {}
        () = cancel.cancelled() => {}
        () = lease.lost().cancelled() => {}
    }
}

/// Why a record was not passed over. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum SkipError {
    /// No such fold has run.
    #[error("fold {fold} has not run on chain {chain_id}")]
    NoSuchFold {
        /// The name that was given.
        fold: String,
        /// The chain.
        chain_id: u64,
    },
    /// The fold goes on by itself.
    #[error("fold {fold} of chain {chain_id} has not stopped, so there is no record to pass over")]
    NotStopped {
        /// The fold.
        fold: String,
        /// The chain.
        chain_id: u64,
    },
    /// It is not this record that stops the fold.
    #[error(
        "fold {fold} of chain {chain_id} has stopped {}, not at record {seq}",
        at.map_or_else(|| "at no single record".to_owned(), |at| format!("at record {at}"))
    )]
    StoppedElsewhere {
        /// The fold.
        fold: String,
        /// The chain.
        chain_id: u64,
        /// The record that was given.
        seq: i64,
        /// The record that it stopped at; none when its tables and the journal do not belong together.
        at: Option<i64>,
    },
    /// Postgres.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
}

/// Passes over the record on which a fold has stopped, on record, and lets the fold go on. That it has stopped there is looked at in the same
/// transaction, under the cursor's lock: of two operators who decide at once, the second is told.
pub async fn skip(
    db: &Db,
    fold: &str,
    chain_id: u64,
    seq: i64,
    operator: &str,
    reason: &str,
) -> Result<(), SkipError> {
    let mut tx = db.begin_worker().await?;
    let named = fold.to_owned();
    match cursor::stopped_at(&mut tx, fold, chain_id).await? {
        None => return Err(SkipError::NoSuchFold { fold: named, chain_id }),
        Some(Stopped::No) => return Err(SkipError::NotStopped { fold: named, chain_id }),
        Some(Stopped::At(at)) if at != Some(seq) => {
            return Err(SkipError::StoppedElsewhere { fold: named, chain_id, seq, at });
        }
        Some(Stopped::At(_)) => {}
    }
    cursor::add_skip(&mut tx, fold, chain_id, seq, operator, reason).await?;
    cursor::restart(&mut tx, fold, chain_id).await?;
    Ok(tx.commit().await?)
}

/// Lets a stopped fold try again, after its cause was mended.
pub async fn retry(db: &Db, fold: &str, chain_id: u64) -> Result<(), sqlx::Error> {
    let mut conn = db.worker().acquire().await?;
    cursor::restart(&mut conn, fold, chain_id).await
}

/// Wakes this process's readers when another process writes a journal. Runs until `cancel`; reconnects by itself, and errors
/// only when it cannot connect.
pub async fn listen(db: &Db, tail: &Tail, cancel: &CancellationToken) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(db.worker()).await?;
    listener.listen("plimsoll_journal").await?;
    loop {
        let notification = tokio::select! {
            () = cancel.cancelled() => return Ok(()),
            notification = listener.recv() => notification?,
        };
        match End::announced(notification.payload()) {
            Some((chain_id, end)) => tail.announce(chain_id, end),
            None => {
                tracing::warn!(payload = notification.payload(), "this does not announce a journal's end");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long the gathering takes, from the beginning of a journal, while a backfill of `blocks` blocks brings one with so many records every
    /// `period`, and stops after `times` of them.
    async fn gathering(records: i64, blocks: u64, period: Duration, times: u64) -> Duration {
        let journal = watch::Sender::new(End { seq: 0, block_number: 0, missing_blocks: blocks });
        let mut end = journal.subscribe();
        let growth = tokio::spawn(async move {
            for _ in 0..times.min(blocks) {
                tokio::time::sleep(period).await;
                journal.send_modify(|end| {
                    *end = End {
                        seq: end.seq + records,
                        block_number: end.block_number + 1,
                        missing_blocks: end.missing_blocks - 1,
                    };
                });
            }
            std::future::pending::<()>().await;
        });
        let began = tokio::time::Instant::now();
        gathered(&mut end, Covered { seq: 0, block_number: 0 }).await;
        growth.abort();
        began.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_step_of_a_backfill_waits_for_a_full_one_or_for_half_of_what_is_left_or_long_enough() {
        let (ms, full) = (Duration::from_millis, to_i64(MAX_STEP_RECORDS as u64));
        assert_eq!(gathering(full / 10, 1_000, ms(50), 1_000).await, ms(500), "full");
        assert_eq!(gathering(1, 10, ms(50), 10).await, ms(250), "half of it");
        assert_eq!(gathering(1, 1, ms(50), 1).await, ms(50), "the last block");
        assert_eq!(gathering(1, 1_000, ms(100), 1_000).await, BACKFILL_LINGER, "it trickles");
        assert_eq!(gathering(1, 10, ms(50), 4).await, BACKFILL_LINGER, "its writer died");
    }

    #[tokio::test(start_paused = true)]
    async fn a_step_at_the_head_waits_for_nothing() {
        let (_journal, mut end) = watch::channel(End { seq: 7, block_number: 7, missing_blocks: 0 });
        let began = tokio::time::Instant::now();
        gathered(&mut end, Covered { seq: 7, block_number: 7 }).await;
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}
