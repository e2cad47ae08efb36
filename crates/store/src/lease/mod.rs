//! Leases: who may write, proved by a fencing token.
//!
//! # The promise
//! At most one token of a name is in force at a time, tokens only rise, and a transaction that has called [`Lease::guard`] commits only
//! while its token is in force.
//!
//! # Why it holds
//! A lease is one row, `(name, fencing_token, expires_at)`, and everything runs at READ COMMITTED.
//!
//! 1. *Guard* reads the row `FOR KEY SHARE` inside the caller's transaction, asking for the caller's token and an expiry that the
//!    database's own clock has not reached. The lock lasts until that transaction ends.
//! 2. *Taking* writes `fencing_token + 1`. The token is part of a unique key, so that write needs the row's strongest lock and waits
//!    for every guard. Whoever guarded first has committed before the new token exists, and the new holder, which reads after
//!    that, sees all that the old one did. Whoever guards later finds another token, after a wait if need be (Postgres looks at the
//!    condition again when the row it waited for has changed), and gets [`LeaseError::Fenced`] in the very transaction that
//!    would have written.
//! 3. *Taking* is a compare-and-set on the token that was seen, so of two takers one finds no row. Its condition on the expiry is
//!    looked at again after any wait: a holder that renews in time keeps its lease.
//! 4. *Renewing* changes no key column: it neither waits for guards nor makes them wait. It asks for the token, so it can
//!    never revive a lease that was taken. An expired lease that nobody took may be renewed: its token was never anyone else's.
//! 5. The row is never deleted, and a release only lets it expire: tokens never repeat.
//!
//! Nothing above asks a process for its clock, or whether it is alive.
//!
//! # What only makes it quick
//! The holder's session also holds an advisory lock on (name, token). When that session ends (kill -9, a closed socket) Postgres frees
//! the lock at once, and a taker need not sit out the term. A wrong hint costs a holder its lease and never two holders: step 2 does
//! not look at it. The lock of the *next* token is taken before the token is, so a token is never visible without its lock.
//!
//! # Traps
//! - A holder that hangs inside a guarded transaction stops the taker. `statement_timeout` and `idle_in_transaction_session_timeout`
//!   are below the default term; a taker that still waits after [`TAKEOVER_PATIENCE`] ends the sessions in its way.
//! - A guard says nothing about the world outside the database. What leaves the building must have been committed under a guard first.
//! - A pooler that shares sessions between clients (pgbouncer in transaction mode) would break the hint: connect directly.

mod keeper;

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sqlx::PgConnection;
use tokio_util::sync::{CancellationToken, DropGuard};

use self::keeper::{Keeper, locked};
use crate::db::Db;
use crate::repo::leases as repo;

/// Longer than any statement or idle transaction of the pools may last.
pub const DEFAULT_TERM: Duration = Duration::from_secs(15);
/// How long a taker waits for transactions under the old token before it ends their sessions.
pub const TAKEOVER_PATIENCE: Duration = Duration::from_secs(2);
/// How often a waiting taker looks: one indexed read.
const POLL_PERIOD: Duration = Duration::from_millis(200);
/// Why a lease was not had, or no longer is.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// The token is not in force: another holder took over, or the lease expired. Whatever the transaction wrote must be rolled back.
    #[error(
        "the lease {name:?} is no longer held under token {token}: another process has taken over, or renewals failed for longer than the term; acquire it again"
    )]
    Fenced {
        /// Which lease.
        name: String,
        /// The token that was presented.
        token: i64,
    },
    /// The wait was called off.
    #[error("stopped waiting for the lease {name:?}")]
    Cancelled {
        /// Which lease.
        name: String,
    },
    /// A term that the timeouts of the pools could outlive.
    #[error("a lease term of {term_ms} ms is too short: at least 1000 ms are needed to renew it three times")]
    Term {
        /// What was asked for.
        term_ms: u128,
    },
    /// The keeper's session did not answer in time.
    #[error("the database did not answer the lease keeper within {timeout_ms} ms; it reconnects by itself")]
    Timeout {
        /// The limit.
        timeout_ms: u128,
    },
    /// The database's own error.
    #[error("lease: {0}")]
    Database(#[from] sqlx::Error),
}

/// The leases of one process: one session that renews all of them. Cheap to clone; when the last clone is dropped, its leases are given up.
#[derive(Clone, Debug)]
pub struct Leases {
    keeper: Arc<Keeper>,
    _running: Arc<DropGuard>,
}

#[derive(Debug)]
struct LeaseState {
    name: String,
    token: i64,
    lost: CancellationToken,
    /// By this process's clock, counted from before the renewal was sent: never later than the database's.
    expires: Mutex<Instant>,
    /// The keeper's session that holds the advisory lock, 0 for none.
    locked_in: AtomicU64,
}

/// A held lease. Clones are the same lease; it is given back when released, or when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Lease {
    state: Arc<LeaseState>,
    given_back: Arc<GiveBack>,
}

#[derive(Debug)]
struct GiveBack {
    state: Arc<LeaseState>,
    keeper: Arc<Keeper>,
}

impl Drop for GiveBack {
    fn drop(&mut self) {
        self.state.lost.cancel();
        self.keeper.wake();
    }
}

impl Lease {
    fn new(state: Arc<LeaseState>, keeper: Arc<Keeper>) -> Self {
        Self { given_back: Arc::new(GiveBack { state: Arc::clone(&state), keeper }), state }
    }

    /// Which lease.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.state.name
    }

    /// The fencing token: higher than every one before it.
    #[must_use]
    pub fn token(&self) -> i64 {
        self.state.token
    }

    /// Proves, in the caller's transaction and until its end, that the token is in force. Call it before the first write, in each
    /// transaction.
    ///
    /// # Errors
    /// [`LeaseError::Fenced`] when it is not: roll back and stop acting under this lease.
    pub async fn guard(&self, conn: &mut PgConnection) -> Result<(), LeaseError> {
        let state = &self.state;
        if repo::guard(conn, &state.name, state.token).await? {
            return Ok(());
        }
        metrics::counter!("lease_fenced_total", "lease" => state.name.clone()).increment(1);
        Err(LeaseError::Fenced { name: state.name.clone(), token: state.token })
    }

    /// Cancelled when the lease is known to be lost, or was given back. Not being cancelled proves nothing: only [`Lease::guard`] does.
    #[must_use]
    pub fn lost(&self) -> &CancellationToken {
        &self.state.lost
    }

    /// How much of the term is left by the last renewal that was answered; zero when unknown. For deciding whether to *start*
    /// something that takes a while.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        if self.state.lost.is_cancelled() {
            return Duration::ZERO;
        }
        locked(&self.state.expires).saturating_duration_since(Instant::now())
    }

    /// Gives the lease back, for all clones: another process may take it at once.
    ///
    /// # Errors
    /// The database's. The lease is given up in any case, and then expires by itself.
    pub async fn release(self) -> Result<(), LeaseError> {
        self.state.lost.cancel();
        let keeper = Arc::clone(&self.given_back.keeper);
        keeper.give_back_lost().await
    }
}

impl Leases {
    /// Opens the keeper's session as the worker role, and starts to renew. `holder` names this process to people.
    ///
    /// # Errors
    /// When the database cannot be reached now, or the term is below a second.
    pub async fn connect(db: &Db, holder: &str, term: Duration) -> Result<Self, LeaseError> {
        if term < Duration::from_secs(1) {
            return Err(LeaseError::Term { term_ms: term.as_millis() });
        }
        let keeper = Arc::new(Keeper::connect(db.clone(), holder.to_owned(), term).await?);
        let stop = CancellationToken::new();
        tokio::spawn(Arc::clone(&keeper).run(stop.clone()));
        Ok(Self { keeper, _running: Arc::new(stop.drop_guard()) })
    }

    /// Takes the lease if it is to be had: it never was held, has expired, or its holder's session is gone. `None`: somebody else
    /// (or this very process) holds it.
    ///
    /// # Errors
    /// The database's. A taking whose answer was lost is not held by anyone for longer than the term.
    pub async fn acquire(&self, name: &str) -> Result<Option<Lease>, LeaseError> {
        // In a task of its own: a caller that is dropped half way must not leave a lock behind in the keeper's session.
        let (keeper, name) = (Arc::clone(&self.keeper), name.to_owned());
        let acquiring = tokio::spawn(async move {
            keeper.acquire(&name).await.map(|state| state.map(|state| Lease::new(state, keeper)))
        });
        acquiring.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }

    /// Waits until the lease is had. A database that is away is waited for as well.
    ///
    /// # Errors
    /// [`LeaseError::Cancelled`] when `cancel` is.
    pub async fn acquire_wait(&self, name: &str, cancel: &CancellationToken) -> Result<Lease, LeaseError> {
        let cancelled = || LeaseError::Cancelled { name: name.to_owned() };
        let mut is_reported = false;
        loop {
            match cancel.run_until_cancelled(self.acquire(name)).await.ok_or_else(cancelled)? {
                Ok(Some(lease)) => return Ok(lease),
                Ok(None) => is_reported = false,
                Err(error) => {
                    if !std::mem::replace(&mut is_reported, true) {
                        tracing::warn!(lease = name, %error, "cannot acquire the lease; trying again");
                    }
                }
            }
            cancel.run_until_cancelled(tokio::time::sleep(POLL_PERIOD)).await.ok_or_else(cancelled)?;
        }
    }

    /// The term with which leases are taken and renewed.
    #[must_use]
    pub fn term(&self) -> Duration {
        self.keeper.term()
    }
}
