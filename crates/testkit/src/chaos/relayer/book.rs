//! The book in memory: what [`plimsoll_relayer::book::PgBook`] is in Postgres, with leases by a simulated clock and a database that may be lost at any moment.
//!
//! A commit goes its way when it has left the process, whether or not that lives to hear of it. It takes place at one moment, at which its token is
//! looked at: in Postgres too, whoever takes a lease waits for the transactions under the old token, so each of them is wholly before it or refused.

mod lease;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use alloy_primitives::B256;
use plimsoll_relayer::attempt::{Attempt, Flight};
use plimsoll_relayer::book::{Book, BookError, Ending, Entered, Place, Progress, Queued, Told};
use plimsoll_relayer::post::{self, lease_name};
use plimsoll_relayer::request::SignerId;
use plimsoll_store::LeaseError;
use time::OffsetDateTime;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use self::lease::{Lease, stretch};
use super::life::Life;
use super::misfortune::{Fate, Misfortune};
use super::store::{Broken, Store, refused};

/// How often who waits to stand by looks.
const POLL: Duration = Duration::from_millis(200);
/// By the database's clock, a simulation begins here.
const BEGIN_UNIX: i64 = 1_900_000_000;
/// A commit that is answered before it is made is made so much later.
const TOO_LATE: Duration = Duration::from_millis(1_500);

/// Looks at what a transaction did, before anybody else can.
pub(super) trait Witness: Send + Sync {
    /// Something was committed; if by a signer's holder, under this token.
    fn committed(&self, store: &mut Store, under: Option<(SignerId, i64)>, now: OffsetDateTime);
}

/// The database: tables, a clock, and what may happen on the way to it.
pub struct Tables {
    store: Mutex<Store>,
    began: Instant,
    handed_over: AtomicU64,
    misfortune: Mutex<Option<Misfortune>>,
    witness: Mutex<Option<Arc<dyn Witness>>>,
}

impl std::fmt::Debug for Tables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tables").finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tables {
    /// A database in which nothing ever goes wrong. Needs a runtime, whose clock is its own.
    #[must_use]
    pub fn new(store: Store) -> Arc<Self> {
        let (misfortune, witness) = (Mutex::default(), Mutex::default());
        let (store, handed_over) = (Mutex::new(store), AtomicU64::default());
        Arc::new(Self { store, began: Instant::now(), handed_over, misfortune, witness })
    }

    /// The tables.
    pub fn store(&self) -> MutexGuard<'_, Store> {
        lock(&self.store)
    }

    /// The database's clock.
    #[must_use]
    pub fn now(&self) -> OffsetDateTime {
        let begin = OffsetDateTime::from_unix_timestamp(BEGIN_UNIX).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        begin + self.began.elapsed()
    }

    pub(super) fn misfortune(&self) -> MutexGuard<'_, Option<Misfortune>> {
        lock(&self.misfortune)
    }

    pub(super) fn watched_by(&self, witness: Arc<dyn Witness>) {
        *lock(&self.witness) = Some(witness);
    }

    fn handed_over(&self) {
        self.handed_over.fetch_add(1, Ordering::Relaxed);
    }

    /// How often a node handed a signer over to the one to which it is routed.
    pub(super) fn hand_overs(&self) -> u64 {
        self.handed_over.load(Ordering::Relaxed)
    }

    /// Whether it can be reached.
    pub(super) fn is_up(&self) -> bool {
        let down_until = self.misfortune().as_ref().and_then(|misfortune| misfortune.down_until);
        down_until.is_none_or(|until| until <= Instant::now())
    }

    /// A transaction of somebody else than a signer's holder.
    pub(super) fn write<T>(&self, does: impl FnOnce(&mut Store) -> T) -> T {
        let now = self.now();
        let mut store = self.store();
        let told = does(&mut store);
        self.show(&mut store, None, now);
        told
    }

    fn show(&self, store: &mut Store, under: Option<(SignerId, i64)>, now: OffsetDateTime) {
        match &*lock(&self.witness) {
            Some(witness) => witness.committed(store, under, now),
            None => store.changes.clear(),
        }
    }

    fn fate(&self) -> Fate {
        self.misfortune().as_mut().map_or_else(Fate::default, Misfortune::draw)
    }
}

/// The book, as one life of one process has it.
#[derive(Clone, Debug)]
pub struct MemoryBook {
    tables: Arc<Tables>,
    life: Arc<Life>,
    term: Duration,
    node: Arc<str>,
    taken: Arc<Mutex<BTreeSet<(String, i64)>>>,
}

/// The right to work a signer, while its token is in force.
#[derive(Debug)]
pub struct Holding {
    signer: SignerId,
    lease: Lease,
    /// Held beside it, and while it was waited for.
    _standby: Lease,
}

impl Holding {
    /// Its token.
    #[must_use]
    pub fn token(&self) -> i64 {
        self.lease.token()
    }
}

fn lost_on_the_way() -> BookError {
    refused("the connection is gone")
}

impl MemoryBook {
    /// The book in these tables, with leases of this term, as a process of this name has it that never dies.
    #[must_use]
    pub fn new(tables: Arc<Tables>, term: Duration, node: &str) -> Self {
        Self::of(tables, term, Arc::default(), node)
    }

    pub(super) fn of(tables: Arc<Tables>, term: Duration, life: Arc<Life>, node: &str) -> Self {
        Self { tables, life, term, node: node.into(), taken: Arc::default() }
    }

    /// The same, as a process of another name has it.
    #[must_use]
    pub fn named(&self, node: &str) -> Self {
        Self { node: node.into(), ..self.clone() }
    }

    /// The leases that this life took.
    pub(super) fn taken(&self) -> BTreeSet<(String, i64)> {
        lock(&self.taken).clone()
    }

    /// Takes a lease if it is free.
    async fn take(&self, name: &str) -> Result<Option<Lease>, BookError> {
        let (term, asked) = (stretch(self.term), name.to_owned());
        let take = move |store: &mut Store, now| Ok(store.take_lease(&asked, now, term));
        // A taking whose answer was lost is held by nobody until its term is over.
        let Some(token) = self.write(None, Duration::ZERO, take).await? else { return Ok(None) };
        let held = (name.to_owned(), token);
        lock(&self.taken).insert(held.clone());
        Ok(Some(Lease::kept(held, &self.tables, &self.life, self.term)))
    }

    async fn is_mine(&self, signer: SignerId) -> Result<bool, BookError> {
        let node = self.read(|store, now| Ok(store.node_of(signer, now))).await?;
        Ok(node.is_none_or(|node| *node == *self.node))
    }

    async fn read<T>(
        &self,
        does: impl FnOnce(&Store, OffsetDateTime) -> Result<T, BookError>,
    ) -> Result<T, BookError> {
        self.life.goes_on().await;
        let fate = self.tables.fate();
        sleep(fate.there + fate.back).await;
        let told = does(&self.tables.store(), self.tables.now());
        self.life.goes_on().await;
        if fate.is_lost || fate.is_unanswered { Err(lost_on_the_way()) } else { told }
    }

    /// One transaction, under a token if there is one.
    async fn write<T: Send + 'static>(
        &self,
        under: Option<(SignerId, i64)>,
        delay: Duration,
        does: impl FnOnce(&mut Store, OffsetDateTime) -> Result<T, BookError> + Send + 'static,
    ) -> Result<T, BookError> {
        self.life.goes_on().await;
        let fate = self.tables.fate();
        if let Some(held) = under.filter(|_| self.tables.store().broken == Some(Broken::HandedOverInTheMidst))
        {
            self.tables.guard(held)?;
        }
        let (answer, answered) = oneshot::channel();
        let tables = Arc::clone(&self.tables);
        // It is on its way, and whoever sent it may die meanwhile.
        tokio::spawn(async move {
            sleep(fate.there + delay).await;
            let told = if fate.is_lost { Err(lost_on_the_way()) } else { tables.commit(under, does) };
            let _ = answer.send(told);
        });
        let told = answered.await.unwrap_or_else(|_| Err(lost_on_the_way()));
        sleep(fate.back).await;
        self.life.goes_on().await;
        if fate.is_unanswered { Err(lost_on_the_way()) } else { told }
    }
}

impl Tables {
    fn guard(&self, (signer, token): (SignerId, i64)) -> Result<(), BookError> {
        if self.store().is_in_force(signer, token, self.now()) {
            return Ok(());
        }
        Err(LeaseError::Fenced { name: lease_name(signer), token }.into())
    }

    /// One transaction of somebody else, such as whoever compares, on its way there as all others are.
    pub(super) async fn transact<T>(&self, does: impl FnOnce(&mut Store) -> T) -> Result<T, BookError> {
        let fate = self.fate();
        sleep(fate.there).await;
        if fate.is_lost { Err(lost_on_the_way()) } else { self.commit(None, |store, _| Ok(does(store))) }
    }

    fn commit<T>(
        &self,
        under: Option<(SignerId, i64)>,
        does: impl FnOnce(&mut Store, OffsetDateTime) -> Result<T, BookError>,
    ) -> Result<T, BookError> {
        let is_guarded = !matches!(self.store().broken, Some(Broken::NoGuard | Broken::HandedOverInTheMidst));
        if let Some(held) = under.filter(|_| is_guarded) {
            self.guard(held)?;
        }
        let now = self.now();
        let mut store = self.store();
        let told = does(&mut store, now)?;
        self.show(&mut store, under, now);
        Ok(told)
    }
}

impl Book for MemoryBook {
    type Authority = Holding;

    async fn acquire(&self, signer: SignerId, stop: &CancellationToken) -> Result<Holding, BookError> {
        let name = post::standby_name(signer, &self.node);
        let standby = loop {
            let cancelled = || LeaseError::Cancelled { name: name.clone() };
            match stop.run_until_cancelled(self.take(&name)).await.ok_or_else(cancelled)? {
                Ok(Some(standby)) => break standby,
                // It is tried again, whatever it was.
                Ok(None) | Err(_) => stop.run_until_cancelled(sleep(POLL)).await.ok_or_else(cancelled)?,
            }
        };
        let name = lease_name(signer);
        let take = || self.take(&name);
        let lease = post::until_had(signer, stop, || self.is_mine(signer), take).await?;
        Ok(Holding { signer, lease, _standby: standby })
    }

    fn lost<'a>(&self, held: &'a Holding) -> &'a CancellationToken {
        held.lease.lost()
    }

    async fn elsewhere(&self, held: &Holding) {
        post::until_elsewhere(|| self.is_mine(held.signer)).await;
        self.tables.handed_over();
    }

    async fn followed_block(&self, _: SignerId) -> Result<Option<(u64, B256)>, BookError> {
        self.read(|store, _| Ok(store.journal.newest)).await
    }

    async fn progress(&self, signer: SignerId) -> Result<Progress, BookError> {
        let told = self.read(|store, _| store.progress(signer)).await;
        let mut store = self.tables.store();
        if store.broken == Some(Broken::LooksWithoutEnd) && matches!(&told, Ok(told) if told.looks_wanted > 0)
        {
            store.ask_to_look(signer);
        }
        told
    }

    async fn queue(
        &self,
        signer: SignerId,
        behind: Option<Place>,
        limit: usize,
    ) -> Result<Vec<Queued>, BookError> {
        self.read(|store, now| Ok(store.queue(signer, behind, limit, now))).await
    }

    async fn flights(&self, signer: SignerId, from: u64) -> Result<Vec<Flight>, BookError> {
        self.read(|store, _| Ok(store.flights(signer, from))).await
    }

    async fn bound(&self, signer: SignerId, from: u64, to: u64) -> Result<Vec<u64>, BookError> {
        self.read(|store, _| Ok(store.bound(signer, from, to))).await
    }

    async fn enter(
        &self,
        held: &Holding,
        signer: SignerId,
        floor: u64,
        attempts: &[Attempt],
    ) -> Result<Entered, BookError> {
        let (token, attempts) = (held.token(), attempts.to_vec());
        let enter = move |store: &mut Store, now| store.enter(token, signer, floor, &attempts, now);
        if self.tables.store().broken == Some(Broken::SentBeforeCommitted) {
            let book = self.clone();
            let late = async move { book.write(Some((signer, token)), TOO_LATE, enter).await };
            tokio::spawn(late);
            return Ok(Entered::Committed);
        }
        self.write(Some((signer, token)), Duration::ZERO, enter).await
    }

    async fn again(&self, held: &Holding, signer: SignerId, attempts: &[Attempt]) -> Result<(), BookError> {
        let (token, attempts) = (held.token(), attempts.to_vec());
        let again = move |store: &mut Store, now| store.again(token, signer, &attempts, now);
        self.write(Some((signer, token)), Duration::ZERO, again).await
    }

    async fn fill(&self, held: &Holding, signer: SignerId, attempts: &[Attempt]) -> Result<(), BookError> {
        let (token, attempts) = (held.token(), attempts.to_vec());
        let fill = move |store: &mut Store, now| store.fill(token, signer, &attempts, now);
        self.write(Some((signer, token)), Duration::ZERO, fill).await
    }

    async fn end(&self, held: &Holding, endings: &[Ending]) -> Result<(), BookError> {
        let endings = endings.to_vec();
        let end = move |store: &mut Store, _| {
            store.end(&endings);
            Ok(())
        };
        self.write(Some((held.signer, held.token())), Duration::ZERO, end).await
    }

    /// What holds a request is for people, and there are none here.
    async fn hold(&self, _: &[(uuid::Uuid, String)]) -> Result<(), BookError> {
        Ok(())
    }

    async fn want_end(&self, held: &Holding, ending: &Ending) -> Result<(), BookError> {
        let ending = ending.clone();
        let want = move |store: &mut Store, _| {
            store.want_end(&ending);
            Ok(())
        };
        self.write(Some((held.signer, held.token())), Duration::ZERO, want).await
    }

    async fn record(&self, _: u64, told: &[Told]) -> Result<(), BookError> {
        let told = told.to_vec();
        self.write(None, Duration::ZERO, move |store: &mut Store, _| store.record(&told)).await
    }
}
