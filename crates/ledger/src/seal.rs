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
//! *No log holds up another.* What is wrong with one, or with what is to be appended to it, stops that one alone, loudly, until the sealer is started anew: its rows wait in the queue, and the others'
//! are taken.
//!
//! A checkpoint is a row first, with size and root; once that is committed it is signed. The row's key is the size: a second root of the same size cannot be committed, so none is signed.
//! A process that dies in between leaves a row without a note, which the next one signs.
//!
//! # Being woken, and dead rows
//! Who books in this process wakes the sealer ([`plimsoll_store::sequencer`] says why nobody notifies through Postgres), which gives others a moment to share its transaction; what other processes
//! book it finds by looking now and then. A look begins at a floor below which no row can appear any more, so that rows which died under a long snapshot are not walked over.

mod growing;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use plimsoll_proof::ledger::checkpoint::{self, Checkpoint, CheckpointFault, KeyFault, NoteSigner};
use plimsoll_store::sequencer::{Floor, writers};
use plimsoll_store::{Db, Lease, LeaseError, Leases};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::growing::Growing;
pub(crate) use self::growing::Leaf;
use crate::repo::proofs;
use crate::repo::seal as repo;
use crate::repo::seal::Staged;

/// The lease under which it is done.
pub const LEASE: &str = "sealer:ledger";
/// About as many postings are sealed in one transaction.
const BATCH_POSTINGS: usize = 4_096;
/// How many staged rows are looked at for them.
const BATCH_ROWS: i64 = 4_096;
/// Where it waits.
const STAGING: &str = "ledger_staging";
/// How long what is booked in this process waits for more.
const GATHER: Duration = Duration::from_millis(20);
/// How often what other processes book is looked for.
const POLL_PERIOD: Duration = Duration::from_millis(100);
/// How often the floor is moved.
const FLOOR_PERIOD: Duration = Duration::from_secs(1);
/// How often a log that has grown gets a checkpoint.
const CHECKPOINT_PERIOD: Duration = Duration::from_secs(1);

/// Changes when something was staged in this process.
static STAGED: LazyLock<watch::Sender<()>> = LazyLock::new(|| watch::Sender::new(()));

/// Wakes a sealer of this process: something was staged, in a transaction that will soon commit.
pub(crate) fn announce_staged() {
    STAGED.send_replace(());
}

/// Why nothing was sealed. What waits, waits.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The lease is another's.
    #[error("sealing: {0}")]
    Lease(#[from] LeaseError),
    /// What the logs are called.
    #[error("the name of the logs: {0}")]
    Name(#[from] KeyFault),
    /// A checkpoint that cannot be made.
    #[error("signing: {0}")]
    Checkpoint(#[from] CheckpointFault),
    /// The database's.
    #[error("sealing: {0}")]
    Database(#[from] sqlx::Error),
}

/// Why a batch was not sealed.
enum Unsealed {
    /// Something is wrong with one log.
    One { tenant_id: Uuid, what: String },
    /// Something is wrong with one of these.
    OneOf(Vec<Uuid>, sqlx::Error),
    /// Nothing can be sealed now.
    All(SealError),
}

impl<E: Into<SealError>> From<E> for Unsealed {
    fn from(error: E) -> Self {
        Self::All(error.into())
    }
}

impl Unsealed {
    /// Whether it is about rows that these tenants have: its data (class 22), or what it refers to or breaks (23).
    fn of_some(error: sqlx::Error, tenants: &[Uuid]) -> Self {
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
        if !code.is_some_and(|code| code.starts_with("22") || code.starts_with("23")) {
            return Self::All(error.into());
        }
        match tenants {
            [tenant_id] => Self::One { tenant_id: *tenant_id, what: error.to_string() },
            _ => Self::OneOf(tenants.to_vec(), error),
        }
    }
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
#[derive(Debug)]
pub struct Sealer {
    db: Db,
    leases: Leases,
    /// What the logs are named after.
    name: String,
    signer: Arc<NoteSigner>,
    state: Mutex<State>,
}

/// What it has learned since it has the lease.
#[derive(Debug, Default)]
struct State {
    /// From where it looks.
    floor: Floor,
    /// The tenants whose logs are broken.
    halted: BTreeSet<Uuid>,
}

impl Sealer {
    /// `name`: what its logs are called, before `/<tenant_id>`; another after a restore.
    #[must_use]
    pub fn new(db: Db, leases: Leases, name: &str, signer: impl Into<Arc<NoteSigner>>) -> Self {
        Self { db, leases, name: name.into(), signer: signer.into(), state: Mutex::default() }
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
        *self.state() = State::default();
        let mut staged = STAGED.subscribe();
        let [mut checkpoints, mut floors] = [CHECKPOINT_PERIOD, FLOOR_PERIOD].map(tokio::time::interval);
        for tick in [&mut checkpoints, &mut floors] {
            tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        }
        while !cancel.is_cancelled() && !lease.lost().is_cancelled() {
            staged.mark_unchanged();
            let sealed = self.seal(lease).await?;
            tokio::select! {
                biased;
                _ = checkpoints.tick() => self.checkpoint(lease).await?,
                _ = floors.tick() => self.raise_floor().await?,
                () = std::future::ready(()), if sealed.has_more => {}
                () = cancel.cancelled() => {}
                () = lease.lost().cancelled() => {}
                () = woken(&mut staged) => {}
                () = tokio::time::sleep(POLL_PERIOD) => {}
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

    /// Takes what was staged first into the logs: one transaction of it, but for the logs that are broken.
    ///
    /// # Errors
    /// [`SealError`]; but not for one log's sake.
    pub async fn seal(&self, lease: &Lease) -> Result<Sealed, SealError> {
        match self.seal_batch(lease, None).await {
            Ok(sealed) => Ok(sealed),
            Err(Unsealed::One { tenant_id, what }) => {
                self.halt(tenant_id, &what);
                Ok(Sealed { postings: 0, has_more: true })
            }
            Err(Unsealed::OneOf(tenants, error)) => {
                tracing::warn!(%error, tenants = tenants.len(), "a batch could not be sealed; its logs are sealed one by one");
                let mut postings = 0;
                for tenant_id in tenants {
                    match self.seal_batch(lease, Some(tenant_id)).await {
                        Ok(sealed) => postings += sealed.postings,
                        Err(Unsealed::One { tenant_id, what }) => self.halt(tenant_id, &what),
                        Err(Unsealed::OneOf(_, error)) => self.halt(tenant_id, &error.to_string()),
                        Err(Unsealed::All(error)) => return Err(error),
                    }
                }
                Ok(Sealed { postings, has_more: true })
            }
            Err(Unsealed::All(error)) => Err(error),
        }
    }

    /// One transaction of what was staged first; of one tenant, where it is given.
    async fn seal_batch(&self, lease: &Lease, of: Option<Uuid>) -> Result<Sealed, Unsealed> {
        const NOTHING: Sealed = Sealed { postings: 0, has_more: false };
        let (from, halted) = {
            let state = self.state();
            (state.floor.id(), state.halted.iter().copied().collect::<Vec<_>>())
        };
        let seen = repo::look(self.db.worker(), from, &halted).await?;
        if self.state().floor.is_of_another_server(seen.server_started_at) {
            self.state().floor.forget();
            return Ok(Sealed { postings: 0, has_more: true });
        }
        if !seen.has_rows {
            if halted.is_empty() {
                self.state().floor.seen_empty();
            }
            return Ok(NOTHING);
        }
        let mut tx = self.db.begin_worker().await?;
        lease.guard(&mut tx).await?;
        let queued = repo::oldest(&mut tx, from, of, &halted, BATCH_ROWS).await?;
        let waiting = queued.len();
        let staged = first_of(queued, BATCH_POSTINGS);
        let Some(newest) = staged.last().map(|row| row.staging_id) else {
            tx.rollback().await?;
            return Ok(NOTHING);
        };
        let tenants: Vec<_> =
            staged.iter().map(|row| row.tenant_id).collect::<BTreeSet<_>>().into_iter().collect();
        let mut logs: BTreeMap<Uuid, Growing> = repo::lock_logs(&mut tx, &tenants)
            .await?
            .into_iter()
            .map(|log| {
                let tenant_id = log.tenant_id;
                let growing =
                    Growing::of(log).map_err(|fault| Unsealed::One { tenant_id, what: fault.to_string() })?;
                Ok((tenant_id, growing))
            })
            .collect::<Result<_, Unsealed>>()?;
        for row in &staged {
            let log = logs.get_mut(&row.tenant_id).ok_or_else(|| Unsealed::One {
                tenant_id: row.tenant_id,
                what: "it has postings, and no log".into(),
            })?;
            log.append(row);
        }
        let leaves: Vec<_> = logs.values().flat_map(Growing::leaves).collect();
        let postings = leaves.len();
        let of_some = |error| Unsealed::of_some(error, &tenants);
        repo::insert_leaves(&mut tx, &leaves).await.map_err(of_some)?;
        for log in logs.values() {
            log.keep_tiles(&mut tx).await?;
            repo::move_log(&mut tx, &log.moved()).await.map_err(of_some)?;
        }
        let ids: Vec<_> = staged.iter().map(|row| row.staging_id).collect();
        repo::remove(&mut tx, &ids).await?;
        tx.commit().await?;
        if let Some(oldest) = staged.iter().map(|row| row.staged_for_s).reduce(f64::max) {
            metrics::histogram!("ledger_seal_lag_seconds").record(oldest);
        }
        metrics::counter!("ledger_sealed_postings_total").increment(postings as u64);
        let has_more = staged.len() < waiting || i64::try_from(waiting) == Ok(BATCH_ROWS);
        if of.is_none() && halted.is_empty() {
            self.state().floor.drained(newest, has_more);
        }
        Ok(Sealed { postings, has_more })
    }

    /// Looks who writes to the queue, so that the next looks need not walk over its dead rows. It only saves work.
    ///
    /// # Errors
    /// The database's.
    pub async fn raise_floor(&self) -> Result<(), SealError> {
        let now = writers(self.db.worker(), STAGING).await?;
        self.state().floor.observe(now);
        Ok(())
    }

    /// Puts down where each log that has grown stands, and signs what is put down.
    ///
    /// # Errors
    /// [`SealError`]; but not for one log's sake.
    pub async fn checkpoint(&self, lease: &Lease) -> Result<(), SealError> {
        let mut tx = self.db.begin_worker().await?;
        lease.guard(&mut tx).await?;
        for log in repo::grown_logs(&mut tx).await? {
            let tenant_id = log.tenant_id;
            if self.state().halted.contains(&tenant_id) {
                continue;
            }
            let root = match Growing::of(log) {
                Ok(log) => log.frontier.root(),
                Err(fault) => {
                    self.halt(tenant_id, &fault.to_string());
                    continue;
                }
            };
            let origin = checkpoint::origin(&self.name, tenant_id)?;
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

    /// Seals nothing more of a tenant.
    fn halt(&self, tenant_id: Uuid, what: &str) {
        tracing::error!(%tenant_id, what, "a tenant's log is broken; nothing more is sealed in it: run `plimsoll verify ledger`, and start the sealer anew once it is whole");
        let mut state = self.state();
        state.halted.insert(tenant_id);
        // What waits of it is below whatever is taken from now on.
        state.floor.forget();
        metrics::gauge!("ledger_logs_halted").set(state.halted.len() as f64);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each critical section leaves it as it should be.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns once something was staged in this process, and others had a moment to share the transaction.
async fn woken(staged: &mut watch::Receiver<()>) {
    // An error says that the sender is gone, and it is static.
    staged.changed().await.ok();
    tokio::time::sleep(GATHER).await;
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
