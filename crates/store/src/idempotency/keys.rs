//! Coming with a key: the first one works, the others wait for its answer.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use sqlx::PgConnection;
use tokio::time::Instant;
use uuid::Uuid;

use super::IdempotencyError;
use super::claim::{Claim, RecoveryPoint};
use super::decision::{Found, Next, State, decide};
use super::fingerprint::Fingerprint;
use super::flights::{Flights, Landing};
use super::key::{Key, Scope};
use super::repo::looks;
use super::response::{Replay, Response};
use super::shared::{self, SharedLooks};
use crate::db::Db;
use crate::tx::Tx;

/// The most items that one batch may bring keys for.
pub const ITEMS_MAX: usize = 1_000;
/// Between two looks at an answer that another process works out: at first, and at most.
const FIRST_LOOK: Duration = Duration::from_millis(10);
const LAST_LOOK: Duration = Duration::from_millis(500);

/// How long things last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyOptions {
    /// For how long an answer is given again, from the first request on.
    pub ttl: Duration,
    /// For how long a duplicate waits for the first one's answer.
    pub wait: Duration,
    /// After how long a claim whose holder is not heard of may be taken over. Above the longest that a request may take.
    pub claim_term: Duration,
}

impl Default for KeyOptions {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(24 * 60 * 60),
            wait: Duration::from_secs(10),
            claim_term: Duration::from_secs(30),
        }
    }
}

/// The idempotency keys, as one process works with them. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Keys {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    db: Db,
    holder: String,
    options: KeyOptions,
    waiting: AtomicUsize,
    shared: SharedLooks,
}

/// [`Keys`] for as long as somebody else has them.
#[derive(Debug)]
pub(super) struct WeakKeys(Weak<Inner>);

impl WeakKeys {
    pub(super) fn upgrade(&self) -> Option<Keys> {
        self.0.upgrade().map(|inner| Keys { inner })
    }
}

/// One more duplicate that waits, until this is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        metrics::gauge!("idempotency_waiting").increment(1.0);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
        metrics::gauge!("idempotency_waiting").decrement(1.0);
    }
}

/// Somebody comes with a key.
#[derive(Clone, Debug)]
pub struct Request {
    /// Where the key counts.
    pub scope: Scope,
    /// The key.
    pub key: Key,
    /// What is asked under it.
    pub fingerprint: Fingerprint,
}

/// An entry that is to be written.
#[derive(Clone, Copy)]
pub(super) struct Deferred<'a> {
    pub(super) scope: &'a Scope,
    pub(super) key: &'a Key,
    pub(super) fingerprint: Fingerprint,
    pub(super) token: Uuid,
}

impl<'a> Deferred<'a> {
    fn of(request: &'a Request, token: Uuid) -> Self {
        Self { scope: &request.scope, key: &request.key, fingerprint: request.fingerprint, token }
    }
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Entered {
    /// It is the caller's to work on.
    Claimed(Claim),
    /// It was done before: this is the answer.
    Replay(Arc<Replay>),
    /// The key was used for something else.
    Mismatch,
    /// Another works on it, and for longer than a duplicate waits.
    InFlight,
}

/// What becomes of an item of a batch.
#[derive(Debug)]
pub enum Item {
    /// As for a request of its own. An item that another works on is not waited for: two batches could wait for each other.
    Entered(Entered),
    /// The same as the item at this index, which is before it: it has that one's answer.
    SameAs(usize),
}

/// Somebody looks at a key.
#[derive(Debug)]
pub(super) struct Asking {
    pub(super) request: Request,
    /// It has seen the key in flight before.
    pub(super) is_waiting: bool,
}

/// What is there.
#[derive(Debug)]
pub(super) enum Look {
    Entered(Entered),
    /// Under this claim.
    Held(Uuid),
    /// It went between two statements.
    Gone,
}

impl Keys {
    /// `holder` names this process to people.
    #[must_use]
    pub fn new(db: Db, holder: impl Into<String>, options: KeyOptions) -> Self {
        let inner = Inner {
            db,
            holder: holder.into(),
            options,
            waiting: AtomicUsize::new(0),
            shared: SharedLooks::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The database.
    #[must_use]
    pub fn db(&self) -> &Db {
        &self.inner.db
    }

    /// How many duplicates wait in this process, just now, for an answer that is being worked out.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.inner.waiting.load(Ordering::Relaxed)
    }

    /// Which does not keep what it refers to.
    pub(super) fn downgrade(&self) -> WeakKeys {
        WeakKeys(Arc::downgrade(&self.inner))
    }

    pub(super) fn flights(&self) -> &Flights {
        self.inner.db.flights()
    }

    pub(super) fn claim_term(&self) -> Duration {
        self.inner.options.claim_term
    }

    pub(super) fn claim_term_ms(&self) -> i64 {
        in_ms(self.claim_term())
    }

    pub(super) fn ttl_ms(&self) -> i64 {
        in_ms(self.inner.options.ttl)
    }

    /// A derived key lives as long as its first request may take, and as long as its duplicates may wait.
    fn ttl_ms_of(&self, key: &Key) -> i64 {
        let KeyOptions { wait, claim_term, .. } = self.inner.options;
        if key.is_automatic() { in_ms(wait + claim_term) } else { self.ttl_ms() }
    }

    /// Claims the key, or finds out why not. A duplicate of what is in flight waits, without a connection, for as long as the options say.
    ///
    /// # Errors
    /// The database's.
    pub async fn enter(&self, request: Request) -> Result<Entered, IdempotencyError> {
        let deadline = Instant::now() + self.inner.options.wait;
        let mut pause = FIRST_LOOK;
        let mut waiting = None;
        loop {
            let asking = Asking { request: request.clone(), is_waiting: waiting.is_some() };
            let landing = match self.inner.shared.look(self, asking).await? {
                Look::Entered(entered) => return Ok(entered),
                Look::Held(claim) => {
                    let landing = self.flights().expect(claim);
                    waiting.get_or_insert_with(|| Waiting::begin(&self.inner.waiting));
                    landing
                }
                Look::Gone => None,
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Entered::InFlight);
            }
            match landing {
                Some(mut landing) => {
                    let landed = async {
                        let landed = landing.wait_for(Option::is_some).await;
                        landed.ok().and_then(|landed| landed.clone())
                    };
                    if let Ok(Some(Landing::Done(replay))) =
                        tokio::time::timeout(left.min(LAST_LOOK), landed).await
                    {
                        return Ok(Entered::Replay(replay));
                    }
                }
                None => {
                    tokio::time::sleep(left.min(pause)).await;
                    pause = (pause * 2).min(LAST_LOOK);
                }
            }
        }
    }

    /// A claim that is written together with its effects, by the transaction that locks it ([`super::lock_all`], [`Claim::lock`]): nothing is asked of the database before, and where
    /// the key is used or at work by then, it is not held. Whoever defers asks [`Keys::enter`] after any refusal, and before telling it: the key may have an answer.
    pub fn defer(&self, request: Request) -> Claim {
        let token = Uuid::new_v4();
        self.flights().take_off(token);
        Claim::deferred(self.clone(), request, token)
    }

    /// Writes the entries of deferred claims whose keys are to be had, in the caller's transaction, and returns their tokens and ids. Of several under one key one is written.
    pub(super) async fn write_deferred(
        &self,
        conn: &mut PgConnection,
        claims: &[Deferred<'_>],
    ) -> Result<HashMap<Uuid, i64>, sqlx::Error> {
        let mut held: HashMap<Uuid, i64> =
            looks::insert(conn, &self.entries(claims)).await?.into_iter().collect();
        if held.len() < claims.len() {
            let rest: Vec<_> =
                claims.iter().filter(|claim| !held.contains_key(&claim.token)).copied().collect();
            held.extend(looks::renew(conn, &self.entries(&rest)).await?);
        }
        Ok(held)
    }

    /// What is written under these keys.
    fn entries(&self, claims: &[Deferred<'_>]) -> looks::New<'_> {
        looks::New {
            places: looks::Places::of(claims.iter().map(|claim| (claim.scope, claim.key))),
            fingerprints: claims.iter().map(|claim| claim.fingerprint.as_bytes().to_vec()).collect(),
            claims: claims.iter().map(|claim| claim.token).collect(),
            ttls_ms: claims.iter().map(|claim| self.ttl_ms_of(claim.key)).collect(),
            claimed_by: &self.inner.holder,
            presence: self.db().presence(),
            claim_term_ms: self.claim_term_ms(),
        }
    }

    /// Claims a key for each item of a batch, in one transaction. Items come back in the order in which they were given.
    ///
    /// # Errors
    /// [`IdempotencyError::TooManyItems`]; else the database's.
    pub async fn enter_all(
        &self,
        scope: &Scope,
        items: &[(Key, Fingerprint)],
    ) -> Result<Vec<Item>, IdempotencyError> {
        if items.len() > ITEMS_MAX {
            return Err(IdempotencyError::TooManyItems { items: items.len() });
        }
        let mut first_at: HashMap<&Key, usize> = HashMap::new();
        let firsts: Vec<usize> =
            items.iter().enumerate().map(|(at, (key, _))| *first_at.entry(key).or_insert(at)).collect();
        let distinct: Vec<usize> =
            firsts.iter().enumerate().filter(|(at, first)| at == *first).map(|(at, _)| at).collect();
        let request =
            |(key, fingerprint): (Key, Fingerprint)| Request { scope: scope.clone(), key, fingerprint };
        let asked =
            distinct.iter().map(|at| Asking { request: request(items[*at].clone()), is_waiting: false });
        let found = shared::look_alone(self, asked.collect()).await?;
        let mut looks: HashMap<usize, Look> = distinct.into_iter().zip(found).collect();
        let item = |(at, (_, fingerprint)): (usize, &(Key, Fingerprint))| match firsts[at] {
            first if first != at && items[first].1 == *fingerprint => Item::SameAs(first),
            first if first != at => Item::Entered(Entered::Mismatch),
            _ => match looks.remove(&at) {
                Some(Look::Entered(entered)) => Item::Entered(entered),
                _ => Item::Entered(Entered::InFlight),
            },
        };
        Ok(items.iter().enumerate().map(item).collect())
    }

    /// What is there under these keys, each taken where it is to be had, in one transaction.
    pub(super) async fn look(&self, asked: &[Asking]) -> Result<Vec<Look>, IdempotencyError> {
        let tenants: BTreeSet<Uuid> = asked.iter().map(|asked| asked.request.scope.tenant()).collect();
        let tenants: Vec<Uuid> = tenants.into_iter().collect();
        let mut tx = looks::begin_claiming(self.db().app(), &tenants).await?;
        let tokens: Vec<Uuid> = asked.iter().map(|_| Uuid::new_v4()).collect();
        let requests = || asked.iter().map(|asked| &asked.request);
        let claims: Vec<_> =
            requests().zip(&tokens).map(|(request, token)| Deferred::of(request, *token)).collect();
        let new = self.entries(&claims);
        let inserted: HashMap<Uuid, i64> = looks::insert(&mut tx, &new).await?.into_iter().collect();
        // A claim is announced before anyone can see it, another item of this look too, and is given up if this goes wrong from here on.
        let mut found: Vec<Look> = requests()
            .zip(&tokens)
            .map(|(request, token)| match inserted.get(token) {
                Some(entry_id) => {
                    Look::Entered(Entered::Claimed(self.claimed(request, *entry_id, *token, None)))
                }
                None => Look::Gone,
            })
            .collect();
        let old: Vec<usize> = (0..asked.len()).filter(|at| !inserted.contains_key(&tokens[*at])).collect();
        if !old.is_empty() {
            let places = looks::Places::of(old.iter().map(|at| {
                let request = &asked[*at].request;
                (&request.scope, &request.key)
            }));
            for row in looks::find(&mut tx, &places, new.presence).await? {
                let at = usize::try_from(row.place - 1).ok().and_then(|place| old.get(place).copied());
                let at = at.ok_or(IdempotencyError::Malformed { entry_id: row.entry_id })?;
                found[at] = self.meet(&mut tx, &asked[at], tokens[at], row).await?;
            }
        }
        tx.commit().await?;
        Ok(found)
    }

    /// There is an entry under the key.
    async fn meet(
        &self,
        tx: &mut Tx,
        asked: &Asking,
        token: Uuid,
        row: looks::Row,
    ) -> Result<Look, IdempotencyError> {
        let Request { scope, key, fingerprint } = &asked.request;
        let malformed = || IdempotencyError::Malformed { entry_id: row.entry_id };
        let presence = self.db().presence();
        // Of this process's claims, those that are not at work could not be given up, or were never known to be had.
        let is_deserted = match row.presence {
            Some(lock) if lock == presence.lock() => !self.flights().has(row.claim),
            _ => row.is_deserted,
        };
        let found = Found {
            state: row.state,
            fingerprint: Fingerprint::from_bytes(
                row.fingerprint.as_slice().try_into().map_err(|_| malformed())?,
            ),
            is_claim_free: row.is_claim_expired || is_deserted,
            is_expired: row.is_expired,
        };
        let next = decide(&found, fingerprint, key.is_automatic(), asked.is_waiting);
        let renews = match next {
            Next::Renew => true,
            Next::Resume => false,
            Next::Wait => return Ok(Look::Held(row.claim)),
            Next::Mismatch => return Ok(Look::Entered(Entered::Mismatch)),
            Next::Replay => {
                let status = row.result_status.ok_or_else(malformed)?;
                let replay = match row.result_headers.clone().zip(row.result.clone()) {
                    Some((headers, body)) => {
                        Replay::Response(Response::from_row(status, headers, body).ok_or_else(malformed)?)
                    }
                    None => Replay::Withheld { status: u16::try_from(status).map_err(|_| malformed())? },
                };
                return Ok(Look::Entered(Entered::Replay(Arc::new(replay))));
            }
        };
        let taking = looks::Taking {
            entry_id: row.entry_id,
            seen_claim: row.claim,
            seen_state: row.state,
            is_deserted,
            renews,
            fingerprint: fingerprint.as_bytes(),
            claim: token,
            claimed_by: &self.inner.holder,
            presence,
            claim_term_ms: self.claim_term_ms(),
            ttl_ms: self.ttl_ms_of(key),
        };
        let Some(point) = looks::take(tx, &taking).await? else {
            return Ok(Look::Held(row.claim));
        };
        if !renews {
            let why = match row.state {
                State::InFlight if is_deserted => "gone",
                State::InFlight => "late",
                State::Recoverable | State::Done => "given_up",
            };
            metrics::counter!("idempotency_takeovers_total", "why" => why).increment(1);
            tracing::info!(key = %key, route = scope.route, why, "an unfinished request is taken over");
        }
        let point = point.map(|(name, data)| RecoveryPoint { name, data });
        Ok(Look::Entered(Entered::Claimed(self.claimed(&asked.request, row.entry_id, token, point))))
    }

    fn claimed(
        &self,
        request: &Request,
        entry_id: i64,
        token: Uuid,
        recovery_point: Option<RecoveryPoint>,
    ) -> Claim {
        self.flights().take_off(token);
        let (scope, key) = (request.scope.clone(), request.key.clone());
        Claim::new(self.clone(), scope, key, entry_id, token, recovery_point)
    }
}

fn in_ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
