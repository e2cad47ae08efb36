//! The process's one session that holds and renews leases. Its statements are short; whatever may wait runs on another connection.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sqlx::{ConnectOptions, Connection, PgConnection};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{LeaseError, LeaseState, TAKEOVER_PATIENCE};
use crate::db::Db;
use crate::repo::leases as repo;

/// The keeper's session waits no longer for any lock.
const LOCK_TIMEOUT_MS: u64 = 1_000;
const MIN_RETRY_DELAY: Duration = Duration::from_millis(50);
const MAX_RETRY_DELAY: Duration = Duration::from_secs(1);
/// A server that does not answer for this long is given up, and connected to anew.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Keeper {
    db: Db,
    holder: String,
    term: Duration,
    session: tokio::sync::Mutex<Session>,
    held: Mutex<HashMap<String, Arc<LeaseState>>>,
    wake: Notify,
}

/// Numbered, so that a lease knows whether its advisory lock is in the session that now lives.
#[derive(Debug, Default)]
struct Session {
    conn: Option<PgConnection>,
    number: u64,
}

impl Keeper {
    pub(super) async fn connect(db: Db, holder: String, term: Duration) -> Result<Self, LeaseError> {
        let keeper = Self {
            db,
            holder,
            term,
            session: tokio::sync::Mutex::default(),
            held: Mutex::default(),
            wake: Notify::new(),
        };
        keeper.session.lock().await.open(&keeper.db).await?;
        Ok(keeper)
    }

    pub(super) fn term(&self) -> Duration {
        self.term
    }

    /// Something was given back.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    fn term_ms(&self) -> i64 {
        i64::try_from(self.term.as_millis()).unwrap_or(i64::MAX)
    }

    /// Runs until `stop`. A failure shortens the wait, with backoff, so that a restart of the server costs far less than a term.
    pub(super) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut retry_delay = MIN_RETRY_DELAY;
        let mut wait = self.term / 3;
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.wake.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
            let round = async {
                self.give_back_lost().await?;
                self.renew().await?;
                self.give_back_lost().await
            };
            match round.await {
                Ok(()) => {
                    retry_delay = MIN_RETRY_DELAY;
                    wait = self.term / 3;
                }
                Err(error) => {
                    metrics::counter!("lease_renewal_failures_total").increment(1);
                    tracing::warn!(%error, retry_ms = retry_delay.as_millis(), "renewing leases failed");
                    wait = retry_delay;
                    retry_delay = (retry_delay * 2).min(MAX_RETRY_DELAY);
                }
            }
        }
        self.give_up().await;
    }

    async fn give_up(&self) {
        for state in locked(&self.held).values() {
            state.lost.cancel();
        }
        if let Err(error) = self.give_back_lost().await {
            tracing::warn!(%error, "leases were not given back, and expire by themselves");
        }
        if let Some(conn) = self.session.lock().await.conn.take()
            && let Err(error) = conn.close().await
        {
            tracing::debug!(%error, "closing the lease keeper's session");
        }
    }

    pub(super) async fn acquire(&self, name: &str) -> Result<Option<Arc<LeaseState>>, LeaseError> {
        // A lease of ours that is being given back goes first, or we would take our own old lock for a living holder's.
        self.give_back_lost().await?;
        let mut session = self.session.lock().await;
        session.open(&self.db).await?;
        if locked(&self.held).contains_key(name) {
            return Ok(None);
        }
        let claim = session.run(async |conn| claim(conn, name).await).await?;
        let claimed_in = session.number;
        drop(session);
        let Some((seen, next)) = claim else { return Ok(None) };

        let sent = Instant::now();
        let taken = self.take(name, seen).await;
        if matches!(taken, Ok(true)) {
            return Ok(Some(self.register(name, next, sent, claimed_in)));
        }
        let mut session = self.session.lock().await;
        if session.number == claimed_in && session.conn.is_some() {
            session.run(async |conn| repo::unlock(conn, name, next).await).await?;
        }
        taken.map(|_| None)
    }

    /// The taking itself, on a connection that may wait while the keeper's session goes on renewing.
    async fn take(&self, name: &str, seen: Option<repo::Standing>) -> Result<bool, LeaseError> {
        let mut conn = self.db.worker().acquire().await?;
        let Some(seen) = seen else {
            return Ok(repo::create(&mut conn, name, &self.holder, self.term_ms()).await?);
        };
        let pid = repo::backend_pid(&mut conn).await?;
        let taking = repo::take(&mut conn, name, seen, &self.holder, self.term_ms());
        tokio::pin!(taking);
        loop {
            tokio::select! {
                taken = &mut taking => return Ok(taken?),
                () = tokio::time::sleep(TAKEOVER_PATIENCE) => {
                    let mut other = self.db.worker().acquire().await?;
                    let ended = repo::terminate_blockers(&mut other, pid).await?;
                    if ended > 0 {
                        tracing::warn!(lease = name, token = seen.token, ended, "ended the sessions that held up a takeover");
                    }
                }
            }
        }
    }

    fn register(&self, name: &str, token: i64, sent: Instant, locked_in: u64) -> Arc<LeaseState> {
        let state = Arc::new(LeaseState {
            name: name.to_owned(),
            token,
            lost: CancellationToken::new(),
            expires: Mutex::new(sent + self.term),
            locked_in: AtomicU64::new(locked_in),
        });
        locked(&self.held).insert(name.to_owned(), Arc::clone(&state));
        metrics::gauge!("lease_held", "lease" => name.to_owned()).set(1.0);
        tracing::info!(lease = name, token, holder = self.holder, "lease acquired");
        state
    }

    /// Expires and unlocks what was released, dropped or found taken.
    pub(super) async fn give_back_lost(&self) -> Result<(), LeaseError> {
        let mut session = self.session.lock().await;
        let lost: Vec<Arc<LeaseState>> = locked(&self.held)
            .extract_if(|_, state| state.lost.is_cancelled())
            .map(|(_, state)| state)
            .collect();
        for state in lost {
            let (name, token) = (state.name.as_str(), state.token);
            metrics::gauge!("lease_held", "lease" => name.to_owned()).set(0.0);
            tracing::info!(lease = name, token, "lease given up");
            if session.conn.is_none() {
                continue; // The lock went with the session; the row expires by itself.
            }
            let is_locked_here = state.locked_in.load(Ordering::Relaxed) == session.number;
            let give_back = async |conn: &mut PgConnection| {
                repo::expire(conn, name, token).await?;
                if is_locked_here { repo::unlock(conn, name, token).await } else { Ok(()) }
            };
            session.run(give_back).await?;
        }
        Ok(())
    }

    /// Renews everything that is held, and cancels what turns out to be another's.
    async fn renew(&self) -> Result<(), LeaseError> {
        let mut session = self.session.lock().await;
        session.open(&self.db).await?;
        let held: Vec<Arc<LeaseState>> =
            locked(&self.held).values().filter(|state| !state.lost.is_cancelled()).map(Arc::clone).collect();
        if held.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = held.iter().map(|state| state.name.clone()).collect();
        let tokens: Vec<i64> = held.iter().map(|state| state.token).collect();
        let number = session.number;
        let sent = Instant::now();
        let renew = async |conn: &mut PgConnection| {
            for state in held.iter().filter(|state| state.locked_in.load(Ordering::Relaxed) != number) {
                // Not had when somebody is just looking, or while the server has not noticed that our last session is dead:
                // the next renewal tries again.
                if repo::try_lock(conn, &state.name, state.token).await? {
                    state.locked_in.store(number, Ordering::Relaxed);
                }
            }
            repo::renew(conn, &names, &tokens, self.term_ms()).await
        };
        let renewed = session.run(renew).await?;
        drop(session);
        for state in held {
            if renewed.contains(&state.name) {
                *locked(&state.expires) = sent + self.term;
            } else {
                tracing::warn!(
                    lease = state.name,
                    token = state.token,
                    "the lease was taken by another process"
                );
                state.lost.cancel();
            }
        }
        Ok(())
    }
}

impl Session {
    async fn open(&mut self, db: &Db) -> Result<(), LeaseError> {
        if self.conn.is_some() {
            return Ok(());
        }
        let open = async {
            let mut conn = db.urls().worker.clone().application_name("plimsoll leases").connect().await?;
            repo::prepare_keeper(&mut conn, LOCK_TIMEOUT_MS).await?;
            db.presence().announce(&mut conn).await?;
            Ok(conn)
        };
        self.conn = Some(in_time(open).await?);
        self.number += 1;
        Ok(())
    }

    /// Runs statements on an open session. After any failure but a lock that was not to be had, the session is dropped: its
    /// locks are gone, or unknown.
    async fn run<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, LeaseError> {
        const LOCK_NOT_AVAILABLE: &str = "55P03";
        let Some(conn) = self.conn.as_mut() else {
            return Err(LeaseError::Database(sqlx::Error::PoolClosed));
        };
        let answer = in_time(work(conn)).await;
        if let Err(error) = &answer {
            let is_harmless = matches!(error, LeaseError::Database(error)
                if crate::roles::sql_state(error).as_deref() == Some(LOCK_NOT_AVAILABLE));
            if !is_harmless {
                self.conn = None;
            }
        }
        answer
    }
}

/// Locks the token after the one that stands, when the lease is to be had. Returns what was seen and the token that may now be taken.
async fn claim(
    conn: &mut PgConnection,
    name: &str,
) -> Result<Option<(Option<repo::Standing>, i64)>, sqlx::Error> {
    let seen = repo::standing(conn, name).await?;
    if seen.is_some_and(|seen| !seen.is_expired && !seen.is_deserted) {
        return Ok(None);
    }
    let next = seen.map_or(0, |seen| seen.token) + 1;
    Ok(repo::try_lock(conn, name, next).await?.then_some((seen, next)))
}

async fn in_time<T>(work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, LeaseError> {
    match tokio::time::timeout(ANSWER_TIMEOUT, work).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(LeaseError::Timeout { timeout_ms: ANSWER_TIMEOUT.as_millis() }),
    }
}

/// A panic while one of these is held leaves nothing half done: each critical section is one assignment or one collection call.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
