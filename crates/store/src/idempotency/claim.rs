//! The right to answer for a key, held from before the work begins until its answer is committed.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use serde_json::Value;
use sqlx::PgConnection;
use tokio::runtime::Handle;
use uuid::Uuid;

use super::fingerprint::Fingerprint;
use super::flights::Landing;
use super::key::{Key, Scope};
use super::keys::{Deferred, Keys, Request};
use super::response::{Replay, Response};
use super::{IdempotencyError, repo};
use crate::tx::Tx;

/// Between two attempts to give a key up: at first, and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_secs(1);

/// How far the work under a key was committed, and what it needs to go on from there.
#[derive(Clone, Debug, PartialEq)]
pub struct RecoveryPoint {
    /// Its name.
    pub name: String,
    /// What was known then.
    pub data: Value,
}

/// A key that the caller works on, and nobody else.
///
/// Ends in [`Claim::committed`]. Dropped before, it is given up: what was committed under it stays a recovery point, and
/// otherwise the key is as if it had never been used.
#[derive(Debug)]
#[must_use = "a claim that is dropped is given up"]
pub struct Claim {
    /// `None` only once it has ended.
    held: Option<Box<Held>>,
}

#[derive(Debug)]
struct Held {
    keys: Keys,
    scope: Scope,
    key: Key,
    entry: Entry,
    token: Uuid,
    recovery_point: Option<RecoveryPoint>,
    keeps_response: bool,
    /// Where it is given up, wherever it is dropped.
    runtime: Handle,
}

/// Where a claim is.
#[derive(Debug)]
enum Entry {
    /// In the row of this id.
    Written(i64),
    /// In a row that the transaction writes that locks it: of the last one that did, this is the id.
    Deferred { fingerprint: Fingerprint, entry_id: AtomicI64 },
}

impl Entry {
    fn id(&self) -> i64 {
        match self {
            Self::Written(id) => *id,
            Self::Deferred { entry_id, .. } => entry_id.load(Ordering::Relaxed),
        }
    }
}

/// An answer that is committed, together with its key and all its effects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    response: Response,
}

impl Settled {
    /// What to answer.
    #[must_use]
    pub fn into_response(self) -> Response {
        self.response
    }
}

impl Claim {
    pub(super) fn new(
        keys: Keys,
        scope: Scope,
        key: Key,
        entry_id: i64,
        token: Uuid,
        recovery_point: Option<RecoveryPoint>,
    ) -> Self {
        Self::of(keys, (scope, key), Entry::Written(entry_id), token, recovery_point)
    }

    pub(super) fn deferred(keys: Keys, request: Request, token: Uuid) -> Self {
        let Request { scope, key, fingerprint } = request;
        let entry = Entry::Deferred { fingerprint, entry_id: AtomicI64::new(0) };
        Self::of(keys, (scope, key), entry, token, None)
    }

    fn of(
        keys: Keys,
        (scope, key): (Scope, Key),
        entry: Entry,
        token: Uuid,
        recovery_point: Option<RecoveryPoint>,
    ) -> Self {
        let runtime = Handle::current();
        let held = Held { keys, scope, key, entry, token, recovery_point, keeps_response: true, runtime };
        Self { held: Some(Box::new(held)) }
    }

    fn held(&self) -> &Held {
        self.held.as_ref().expect("only a claim that has ended is not held")
    }

    /// Whose key it is, and where it counts. Transactions under the claim name [`Scope::tenant`].
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.held().scope
    }

    /// Which key.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.held().key
    }

    /// Where to go on from: somebody before came so far and no further.
    #[must_use]
    pub fn recovery_point(&self) -> Option<&RecoveryPoint> {
        self.held().recovery_point.as_ref()
    }

    /// Resolves once the claim has ended: its answer is committed, or the key is free for the next one.
    pub fn ended(&self) -> impl Future<Output = ()> + Send + use<> {
        let held = self.held();
        let landing = held.keys.flights().expect(held.token);
        async move {
            if let Some(mut landing) = landing {
                // An error says that the sender is gone, and with it the claim.
                landing.changed().await.ok();
            }
        }
    }

    /// The answer will carry a secret: only its status is kept, and whoever asks again is told so.
    pub fn withhold_response(&mut self) {
        if let Some(held) = &mut self.held {
            held.keeps_response = false;
        }
    }

    /// A transaction for the effects: confined to the tenant, with the claim proved and locked.
    ///
    /// # Errors
    /// [`IdempotencyError::Fenced`] when another has taken over; else the database's.
    pub async fn begin_effects(&self) -> Result<Tx, IdempotencyError> {
        let held = self.held();
        let (db, tenant) = (held.keys.db(), held.scope.tenant());
        match held.entry {
            Entry::Written(id) => {
                let begun = repo::begin_holding(db.app(), tenant, id, held.token).await?;
                begun.ok_or_else(|| self.fenced())
            }
            Entry::Deferred { .. } => {
                let mut tx = db.tenant_tx_by_keys(&[tenant]).await?;
                self.lock(&mut tx).await?;
                Ok(tx)
            }
        }
    }

    /// Proves, in the caller's transaction and until its end, that the claim is held. Before the first write, in each transaction.
    ///
    /// # Errors
    /// As [`Claim::begin_effects`].
    pub async fn lock(&self, conn: &mut PgConnection) -> Result<(), IdempotencyError> {
        let held = self.held();
        let is_held = match held.entry {
            Entry::Written(id) => repo::lock(conn, id, held.token).await?,
            Entry::Deferred { .. } => write_deferred(conn, &[self]).await?.contains(&held.token),
        };
        if is_held { Ok(()) } else { Err(self.fenced()) }
    }

    /// Sets a recovery point in the caller's transaction, and gives the claim its whole term again. Call [`Claim::advanced`] once that
    /// is committed.
    ///
    /// # Errors
    /// As [`Claim::begin_effects`].
    pub async fn advance(
        &self,
        conn: &mut PgConnection,
        point: &RecoveryPoint,
    ) -> Result<(), IdempotencyError> {
        let held = self.held();
        let (term_ms, ttl_ms) = (held.keys.claim_term_ms(), held.keys.ttl_ms());
        let row = (held.entry.id(), held.token);
        if repo::advance(conn, row, (&point.name, &point.data), term_ms, ttl_ms).await? {
            Ok(())
        } else {
            Err(self.fenced())
        }
    }

    /// The recovery point is committed.
    pub fn advanced(&mut self, point: RecoveryPoint) {
        if let Some(held) = &mut self.held {
            held.entry = Entry::Written(held.entry.id());
            held.recovery_point = Some(point);
        }
    }

    /// Writes the answer in the caller's transaction. Call [`Claim::committed`] once that is committed, and only then.
    ///
    /// # Errors
    /// As [`Claim::begin_effects`].
    pub async fn write(&self, conn: &mut PgConnection, response: &Response) -> Result<(), IdempotencyError> {
        let held = self.held();
        let is_kept = held.keeps_response || response.is_refusal();
        let headers = is_kept.then(|| response.headers_json());
        let body = is_kept.then(|| response.body());
        let answer = (response.status_column(), headers.as_ref(), body);
        if repo::complete(conn, (held.entry.id(), held.token), answer).await? {
            Ok(())
        } else {
            Err(self.fenced())
        }
    }

    /// The answer is committed: those who wait in this process get it, and the claim ends.
    pub fn committed(mut self, response: Response) -> Settled {
        if let Some(held) = self.held.take() {
            let replay = if held.keeps_response || response.is_refusal() {
                Replay::Response(response.clone())
            } else {
                Replay::Withheld { status: response.status() }
            };
            held.keys.flights().land(held.token, Landing::Done(Arc::new(replay)));
        }
        Settled { response }
    }

    /// That it is not held any more, counted; or, where it was deferred, that its key is another's, as it is of any duplicate.
    #[must_use]
    pub fn fenced(&self) -> IdempotencyError {
        if matches!(self.held().entry, Entry::Written(_)) {
            metrics::counter!("idempotency_fenced_total").increment(1);
        }
        IdempotencyError::Fenced { key: self.key().to_string() }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            let runtime = held.runtime.clone();
            runtime.spawn(held.release());
        }
    }
}

impl Held {
    /// What is to be written, where it is not yet.
    fn deferred(&self) -> Option<Deferred<'_>> {
        let Entry::Deferred { fingerprint, .. } = self.entry else { return None };
        Some(Deferred { scope: &self.scope, key: &self.key, fingerprint, token: self.token })
    }

    /// Once it was tried, this process's next one may have the key: a claim that is not at work here is nobody's. Other processes wait for it to be
    /// given up, so that is tried until its term is over, after which they take it.
    async fn release(self) {
        let first = self.give_up().await;
        self.keys.flights().land(self.token, Landing::Released);
        let Err(error) = first else { return };
        tracing::warn!(key = %self.key, %error, "a key was not given up; trying again until its claim expires");
        let give_up = async {
            let mut pause = FIRST_PAUSE;
            loop {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LAST_PAUSE);
                if self.give_up().await.is_ok() {
                    return;
                }
            }
        };
        if tokio::time::timeout(self.keys.claim_term(), give_up).await.is_err() {
            tracing::warn!(key = %self.key, "a key was never given up; its claim has expired");
        }
    }

    async fn give_up(&self) -> Result<(), sqlx::Error> {
        // One that was deferred is there with its answer, or not at all.
        let Entry::Written(entry_id) = self.entry else { return Ok(()) };
        let mut tx = self.keys.db().tenant_tx(&[self.scope.tenant()]).await?;
        repo::release(&mut tx, entry_id, self.token).await?;
        tx.commit().await
    }
}

/// Proves several claims in the caller's transaction, until its end, and says which of them are held: those that were deferred are written. A batch leaves out what is
/// not: its effect belongs to another now. The transaction names the tenants of all of them, and looks by keys ([`crate::Db::tenant_tx_by_keys`]).
///
/// # Errors
/// The database's.
pub async fn lock_all(conn: &mut PgConnection, claims: &[&Claim]) -> Result<Vec<bool>, IdempotencyError> {
    let (deferred, written): (Vec<&Claim>, Vec<&Claim>) =
        claims.iter().partition(|claim| matches!(claim.held().entry, Entry::Deferred { .. }));
    let mut held = HashSet::new();
    if !written.is_empty() {
        let entries: Vec<i64> = written.iter().map(|claim| claim.held().entry.id()).collect();
        let tokens: Vec<Uuid> = written.iter().map(|claim| claim.held().token).collect();
        held.extend(repo::lock_all(conn, &entries, &tokens).await?);
    }
    if !deferred.is_empty() {
        held.extend(write_deferred(conn, &deferred).await?);
    }
    Ok(claims.iter().map(|claim| held.contains(&claim.held().token)).collect())
}

/// Writes the entries of deferred claims, as far as their keys are to be had, and returns the tokens of those that are held by that.
async fn write_deferred(conn: &mut PgConnection, claims: &[&Claim]) -> Result<HashSet<Uuid>, sqlx::Error> {
    let Some(first) = claims.first() else { return Ok(HashSet::new()) };
    let entries: Vec<_> = claims.iter().filter_map(|claim| claim.held().deferred()).collect();
    let written = first.held().keys.write_deferred(conn, &entries).await?;
    for claim in claims {
        let held = claim.held();
        if let (Entry::Deferred { entry_id, .. }, Some(id)) = (&held.entry, written.get(&held.token)) {
            entry_id.store(*id, Ordering::Relaxed);
        }
    }
    Ok(written.into_keys().collect())
}

/// Writes several answers in one statement of the caller's transaction, which has locked their claims ([`lock_all`]).
///
/// # Errors
/// [`IdempotencyError::Fenced`] for the first claim that is not held: the transaction must be rolled back. Else the database's.
pub async fn write_all(
    conn: &mut PgConnection,
    answers: &[(&Claim, &Response)],
) -> Result<(), IdempotencyError> {
    let mut rows = repo::Answers::default();
    for (claim, response) in answers {
        let held = claim.held();
        rows.entries.push(held.entry.id());
        rows.claims.push(held.token);
        rows.statuses.push(response.status_column());
        rows.headers.push(held.keeps_response.then(|| response.headers_json()));
        rows.bodies.push(held.keeps_response.then(|| response.body().to_vec()));
    }
    let written = repo::complete_all(conn, &rows).await?;
    match answers.iter().find(|(claim, _)| !written.contains(&claim.held().entry.id())) {
        None => Ok(()),
        Some((claim, _)) => Err(claim.fenced()),
    }
}
