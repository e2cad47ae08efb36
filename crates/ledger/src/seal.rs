//! The sealer: takes what is committed into each tenant's log, and signs where the log stands.
//!
//! # The promise
//! Every posting that is committed gets into its tenant's log, once, under the next index, linked to the entry before it; and within about a second a signed checkpoint covers it.
//!
//! # Why it holds
//! Whoever books leaves the postings' ids and digests in `ledger_staging`, one row a transaction and tenant. A transaction of the sealer takes the oldest rows that it can see, locks the
//! logs of their tenants, appends, removes the rows, and moves the logs. *Nothing twice*: rows and logs move together, under locks. *Nothing skipped*: a row is in the queue until it is
//! sealed, and is looked for by being there, not by its number. *No lock across commits of writers*: they only insert. What was booked on what another transaction committed before has a
//! later place than that, since its row was staged after it was read.
//!
//! A checkpoint is a row first, with size and root; once that is committed it is signed. The row's key is the size: a second root of the same size cannot be committed, so none is signed.
//! A process that dies in between leaves a row without a note, which the next one signs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::B256;
use plimsoll_proof::ledger::checkpoint::{self, Checkpoint, CheckpointFault, KeyFault, NoteSigner};
use plimsoll_proof::ledger::log::ChainHead;
use plimsoll_proof::ledger::tiles::{self, TILE_WIDTH, Tile, TileId};
use plimsoll_proof::ledger::tree::Frontier;
use plimsoll_store::{Db, Lease, LeaseError, Leases};
use sqlx::PgConnection;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::repo::proofs;
use crate::repo::seal as repo;
use crate::repo::seal::{Log, Staged};

/// The lease under which it is done.
pub const LEASE: &str = "sealer:ledger";
/// About as many postings are sealed in one transaction.
const BATCH_POSTINGS: usize = 4_096;
/// How many staged rows are looked at for them.
const BATCH_ROWS: i64 = 4_096;
/// How long nothing to do is waited out.
const IDLE: Duration = Duration::from_millis(20);
/// How often a log that has grown gets a checkpoint.
const CHECKPOINT_PERIOD: Duration = Duration::from_secs(1);

/// Why nothing was sealed. What waits, waits.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The lease is another's.
    #[error("sealing: {0}")]
    Lease(#[from] LeaseError),
    /// A log and its tables do not agree.
    #[error(
        "the log of tenant {tenant_id} is broken: {what}; nothing more is sealed in it: run `plimsoll verify ledger`"
    )]
    Broken {
        /// Whose log.
        tenant_id: Uuid,
        /// What is wrong.
        what: String,
    },
    /// A checkpoint that cannot be made.
    #[error("signing: {0}")]
    Checkpoint(#[from] CheckpointFault),
    /// A log that no key can be named after.
    #[error("signing: {0}")]
    Key(#[from] KeyFault),
    /// The database's.
    #[error("sealing: {0}")]
    Database(#[from] sqlx::Error),
}

/// What a transaction of the sealer came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// How many postings.
    pub postings: usize,
    /// Whether more may wait.
    pub has_more: bool,
}

/// Seals the logs of all tenants.
#[derive(Clone, Debug)]
pub struct Sealer {
    db: Db,
    leases: Leases,
    /// What the logs are named after.
    name: String,
    signer: Arc<NoteSigner>,
}

impl Sealer {
    /// `name`: what its logs are called, before `/<tenant_id>`; another after a restore.
    #[must_use]
    pub fn new(db: Db, leases: Leases, name: &str, signer: impl Into<Arc<NoteSigner>>) -> Self {
        Self { db, leases, name: name.into(), signer: signer.into() }
    }

    /// Seals, whenever this process has the lease, until `cancel`.
    ///
    /// # Errors
    /// [`SealError`]; but a lost lease is waited for.
    pub async fn run(&self, cancel: &CancellationToken) -> Result<(), SealError> {
        while !cancel.is_cancelled() {
            let lease = match self.leases.acquire_wait(LEASE, cancel).await {
                Err(LeaseError::Cancelled { .. }) => return Ok(()),
                other => other?,
            };
            let outcome = match self.show_key(&lease).await {
                Ok(()) => self.work(&lease, cancel).await,
                Err(error) => Err(error),
            };
            if let Err(error) = lease.release().await {
                tracing::warn!(lease = LEASE, %error, "the lease could not be given back; it expires by itself");
            }
            match outcome {
                Err(SealError::Lease(LeaseError::Fenced { .. })) => {
                    tracing::warn!(lease = LEASE, "the lease went to another; waiting for it");
                }
                other => return other,
            }
        }
        Ok(())
    }

    async fn work(&self, lease: &Lease, cancel: &CancellationToken) -> Result<(), SealError> {
        let mut tick = tokio::time::interval(CHECKPOINT_PERIOD);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !cancel.is_cancelled() && !lease.lost().is_cancelled() {
            let sealed = self.seal(lease).await?;
            tokio::select! {
                biased;
                _ = tick.tick() => self.checkpoint(lease).await?,
                () = std::future::ready(()), if sealed.has_more => {}
                () = cancel.cancelled() => {}
                () = lease.lost().cancelled() => {}
                () = tokio::time::sleep(IDLE) => {}
            }
        }
        Ok(())
    }

    /// Puts down which key signs from now on, before it does.
    ///
    /// # Errors
    /// [`SealError`].
    pub async fn show_key(&self, lease: &Lease) -> Result<(), SealError> {
        let mut tx = self.db.begin_worker().await?;
        lease.guard(&mut tx).await?;
        proofs::put_key(&mut tx, &self.name, self.signer.key().public_key()).await?;
        Ok(tx.commit().await?)
    }

    /// Takes what was staged first into the logs: one transaction of it.
    ///
    /// # Errors
    /// [`SealError`].
    pub async fn seal(&self, lease: &Lease) -> Result<Sealed, SealError> {
        let mut tx = self.db.begin_worker().await?;
        lease.guard(&mut tx).await?;
        let queued = repo::oldest(&mut tx, BATCH_ROWS).await?;
        let waiting = queued.len();
        let staged = first_of(queued, BATCH_POSTINGS);
        if staged.is_empty() {
            tx.rollback().await?;
            return Ok(Sealed { postings: 0, has_more: false });
        }
        let tenants: Vec<_> =
            staged.iter().map(|row| row.tenant_id).collect::<BTreeSet<_>>().into_iter().collect();
        let mut logs: BTreeMap<Uuid, Growing> = repo::lock_logs(&mut tx, &tenants)
            .await?
            .into_iter()
            .map(|log| Ok((log.tenant_id, Growing::of(log)?)))
            .collect::<Result<_, SealError>>()?;
        for row in &staged {
            let log = logs.get_mut(&row.tenant_id).ok_or_else(|| SealError::Broken {
                tenant_id: row.tenant_id,
                what: "it has postings, and no log".into(),
            })?;
            log.append(row);
        }
        let leaves: Vec<_> = logs.values().flat_map(Growing::leaves).collect();
        let postings = leaves.len();
        repo::insert_leaves(&mut tx, &leaves).await?;
        for log in logs.values() {
            log.keep_tiles(&mut tx).await?;
            repo::move_log(&mut tx, &log.moved()).await?;
        }
        let ids: Vec<_> = staged.iter().map(|row| row.staging_id).collect();
        repo::remove(&mut tx, &ids).await?;
        tx.commit().await?;
        if let Some(oldest) = staged.iter().map(|row| row.staged_for_s).reduce(f64::max) {
            metrics::histogram!("ledger_seal_lag_seconds").record(oldest);
        }
        metrics::counter!("ledger_sealed_postings_total").increment(postings as u64);
        Ok(Sealed { postings, has_more: staged.len() < waiting })
    }

    /// Puts down where each log that has grown stands, and signs what is put down.
    ///
    /// # Errors
    /// [`SealError`].
    pub async fn checkpoint(&self, lease: &Lease) -> Result<(), SealError> {
        let mut tx = self.db.begin_worker().await?;
        lease.guard(&mut tx).await?;
        for log in repo::grown_logs(&mut tx).await? {
            let tenant_id = log.tenant_id;
            let root = Growing::of(log)?.frontier.root();
            let broken = |what: String| SealError::Broken { tenant_id, what };
            let origin =
                checkpoint::origin(&self.name, tenant_id).map_err(|fault| broken(fault.to_string()))?;
            repo::put_checkpoint(&mut tx, tenant_id, &origin, root).await?;
        }
        tx.commit().await?;
        // Only what is committed is signed.
        for unsigned in repo::unsigned(self.db.worker()).await? {
            // A log's key is named after it.
            let signer = self.signer.named(&unsigned.origin)?;
            let checkpoint = Checkpoint::new(unsigned.origin, unsigned.tree_size, unsigned.root_hash);
            let note = checkpoint.sign(&signer)?;
            repo::sign(self.db.worker(), unsigned.tenant_id, checkpoint.size, &note).await?;
        }
        Ok(())
    }
}

/// As many rows from the first on as have about so many postings; one at least.
fn first_of(mut queued: Vec<Staged>, postings: usize) -> Vec<Staged> {
    let mut so_far = 0;
    let taken = queued
        .iter()
        .take_while(|row| {
            let fits = so_far < postings;
            so_far += row.postings.len();
            fits
        })
        .count();
    queued.truncate(taken);
    queued
}

/// A leaf that is new.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leaf {
    pub(crate) tenant_id: Uuid,
    pub(crate) index: u64,
    pub(crate) posting_id: Uuid,
    pub(crate) prev_entry_hash: B256,
    pub(crate) entry_hash: B256,
}

/// A log, and what is appended to it.
struct Growing {
    from: u64,
    head: ChainHead,
    frontier: Frontier,
    new: Vec<Leaf>,
}

impl Growing {
    fn of(log: Log) -> Result<Self, SealError> {
        let Log { tenant_id, size, head_hash, frontier } = log;
        let frontier = Frontier::from_parts(size, frontier)
            .map_err(|fault| SealError::Broken { tenant_id, what: fault.to_string() })?;
        let head = ChainHead { tenant_id, size, entry_hash: head_hash };
        Ok(Self { from: size, head, frontier, new: Vec::new() })
    }

    fn append(&mut self, row: &Staged) {
        for (posting_id, digest) in row.postings.iter().zip(&row.digests) {
            let (entry, entry_hash) = self.head.append(*digest);
            self.frontier.append(entry_hash);
            self.new.push(Leaf {
                tenant_id: entry.tenant_id,
                index: entry.index,
                posting_id: *posting_id,
                prev_entry_hash: entry.prev_entry_hash,
                entry_hash,
            });
        }
    }

    fn leaves(&self) -> impl Iterator<Item = Leaf> + '_ {
        self.new.iter().copied()
    }

    fn moved(&self) -> Log {
        Log {
            tenant_id: self.head.tenant_id,
            size: self.head.size,
            head_hash: self.head.entry_hash,
            frontier: self.frontier.subtrees().to_vec(),
        }
    }

    /// Writes the tiles that became full, those below first.
    async fn keep_tiles(&self, conn: &mut PgConnection) -> Result<(), SealError> {
        let tenant_id = self.head.tenant_id;
        for id in tiles::completed(self.from, self.head.size) {
            let hashes = match id.level {
                0 => self.entries(conn, id).await?,
                level => repo::tile_roots(conn, tenant_id, level - 1, id.hashes()).await?,
            };
            let tile = Tile::new(hashes)
                .map_err(|fault| SealError::Broken { tenant_id, what: format!("tile {id:?}: {fault}") })?;
            repo::insert_tile(conn, tenant_id, id, &tile.to_bytes(), tile.root()).await?;
        }
        Ok(())
    }

    /// The hashes of a tile's entries: of those before from the table, of the new ones as they are.
    async fn entries(&self, conn: &mut PgConnection, id: TileId) -> Result<Vec<B256>, SealError> {
        let wanted = id.hashes();
        let mut hashes = Vec::with_capacity(TILE_WIDTH);
        if wanted.start < self.from {
            let before = wanted.start..self.from.min(wanted.end);
            hashes = repo::entry_hashes(conn, self.head.tenant_id, before).await?;
        }
        let is_wanted = |leaf: &&Leaf| wanted.contains(&leaf.index);
        hashes.extend(self.new.iter().filter(is_wanted).map(|leaf| leaf.entry_hash));
        Ok(hashes)
    }
}
