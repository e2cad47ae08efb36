//! The process that follows: it dies at any await, is started again, halts, and is resumed.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use plimsoll_chain::abi::Contracts;
use plimsoll_chain::interval::IntervalPolicy;
use plimsoll_chain::{EndpointConfig, FinalityTag, Pool, Reason, Rpc};
use plimsoll_ingest::{Book as _, Finality, Follower, IngestConfig, IngestError};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Trace;
use super::book::{MemoryBook, MemoryJournal};
use super::dice::Dice;
use super::endpoint::Endpoint;
use super::judge::Judge;
use super::lies::name;
use super::network::{CHAIN_ID, Network};
use super::story::{FinalityBy, Settings};
use crate::world::{contracts, user};

/// How long a supervisor waits before it starts again what has failed.
const SUPERVISOR_PAUSE: Duration = Duration::from_millis(500);
/// How often an operator looks whether a halt may be lifted.
const OPERATOR_LOOKS: Duration = Duration::from_secs(1);
/// Ranges are not longer: see [`super::network`] on the number of logs that one may have.
const MAX_RANGE_BLOCKS: u64 = 3;
/// The model's blocks are so far apart by the chain's own clock.
const BLOCK_SECONDS: u64 = 2;

/// Once it is lit, it burns down by one with each poll of the follower, which is dropped where it then stands.
struct Fuse(AtomicI64);

const NOT_LIT: i64 = i64::MAX;

impl Fuse {
    fn is_burnt_down(&self) -> bool {
        let burn = |left| (left != NOT_LIT).then_some(left - 1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, burn).is_ok_and(|left| left <= 0)
    }
}

/// The process, as those see it who do things to it.
pub(super) struct Process {
    /// What it follows, at first and in later lives.
    narrow: (IngestConfig, Contracts),
    wide: (IngestConfig, Contracts),
    is_narrow: AtomicBool,
    settings: Settings,
    endpoints: Vec<Endpoint>,
    network: Arc<Network>,
    trace: Arc<Trace>,
    judge: Arc<Judge>,
    journal: MemoryJournal,
    fuse: Fuse,
    down_ms: AtomicU64,
    /// Ends the life that it leads now, in order.
    end: Mutex<CancellationToken>,
    is_wanted: watch::Sender<bool>,
    dice: Mutex<Dice>,
    /// Endpoints that were benched for contradicting themselves.
    named: Mutex<BTreeSet<usize>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn config(settings: &Settings) -> IngestConfig {
    let finality = match settings.finality {
        FinalityBy::Depth => Finality::Depth(settings.finality_depth),
        FinalityBy::Tag => Finality::Tag(FinalityTag::Finalized),
        FinalityBy::Age => Finality::Age(Duration::from_secs(settings.finality_depth * BLOCK_SECONDS)),
    };
    IngestConfig {
        chain_id: CHAIN_ID,
        name: "simulated".into(),
        confirmations: settings.confirmations,
        finality,
        poll_interval: Duration::from_millis(settings.poll_ms),
        watched_senders: settings.watched.iter().map(|n| (user(*n), settings.start_block)).collect(),
        ranges_in_flight: settings.ranges_in_flight,
        range: IntervalPolicy {
            initial_blocks: settings.range_blocks,
            max_blocks: MAX_RANGE_BLOCKS,
            increase_blocks: 1,
            ..IntervalPolicy::default()
        },
        head_completeness: settings.head,
        backfill_completeness: settings.backfill,
    }
}

/// An error without the ids of requests, which count through the whole process.
fn shown(error: &IngestError) -> String {
    match error {
        IngestError::Rpc(error) => format!("{} is not answered: {}", error.method(), error.class()),
        error => error.to_string(),
    }
}

impl Process {
    pub(super) fn new(
        settings: &Settings,
        endpoints: Vec<Endpoint>,
        judge: Arc<Judge>,
        journal: MemoryJournal,
        dice: Dice,
    ) -> Self {
        let wide = (config(settings), contracts(settings.start_block));
        let addresses = wide.1.addresses();
        let few = &addresses[..addresses.len() / 2];
        let narrow = (
            IngestConfig { watched_senders: BTreeMap::new(), ..wide.0.clone() },
            Contracts::new(few.iter().filter_map(|address| wide.1.get(address)).cloned()),
        );
        Self {
            narrow,
            wide,
            is_narrow: AtomicBool::new(settings.is_narrow_at_first),
            settings: settings.clone(),
            endpoints,
            network: Arc::clone(&judge.network),
            trace: Arc::clone(&judge.trace),
            judge,
            journal,
            fuse: Fuse(AtomicI64::new(NOT_LIT)),
            down_ms: AtomicU64::new(0),
            end: Mutex::default(),
            is_wanted: watch::Sender::new(true),
            dice: Mutex::new(dice),
            named: Mutex::default(),
        }
    }

    /// The process dies after so many polls of the follower, and is back so much later.
    pub(super) fn dies(&self, after_polls: u32, down_ms: u64) {
        self.down_ms.store(down_ms, Ordering::Relaxed);
        self.fuse.0.store(after_polls.into(), Ordering::Relaxed);
    }

    /// The process does not die any more, and follows all.
    pub(super) fn is_safe(&self) {
        self.fuse.0.store(NOT_LIT, Ordering::Relaxed);
        if self.is_narrow() {
            lock(&self.end).cancel();
        }
    }

    /// Whether it follows less than it will.
    pub(super) fn is_narrow(&self) -> bool {
        self.is_narrow.load(Ordering::Relaxed)
    }

    /// Ends the process in order.
    pub(super) fn leave(&self) {
        self.is_wanted.send_replace(false);
        lock(&self.end).cancel();
    }

    /// Starts it again.
    pub(super) fn come_back(&self) {
        self.is_wanted.send_replace(true);
    }

    /// Endpoints that were benched for contradicting themselves.
    pub(super) fn named(&self) -> BTreeSet<usize> {
        lock(&self.named).clone()
    }

    /// Lives, again and again. Never ends by itself.
    pub(super) async fn live(self: Arc<Self>) {
        let mut is_wanted = self.is_wanted.subscribe();
        loop {
            is_wanted.wait_for(|is_wanted| *is_wanted).await.expect("the process has the sender");
            let pool = self.pool();
            let end = CancellationToken::new();
            *lock(&self.end) = end.clone();
            self.trace.note(format_args!("the process starts"));
            let naming = self.names(&pool);
            tokio::select! {
                biased;
                () = naming => {}
                () = self.one_life(&pool, &end) => {}
            }
            self.name(&pool);
            self.is_narrow.store(false, Ordering::Relaxed);
        }
    }

    /// The endpoints as a process has them that has just started.
    fn pool(&self) -> Pool {
        let rpc = |(place, endpoint): (usize, &Endpoint)| {
            let settings = &self.settings.endpoints[place];
            let config = EndpointConfig {
                name: Some(name(place)),
                request_timeout: Duration::from_millis(self.settings.request_timeout_ms),
                max_concurrent: settings.max_concurrent,
                requests_per_second: settings.requests_per_second.map(f64::from),
                max_retries: self.settings.max_retries,
                seed: Some(lock(&self.dice).any()),
                ..EndpointConfig::new("http://simulated")
            };
            Rpc::over(endpoint.transport(), &config)
        };
        Pool::new(self.endpoints.iter().enumerate().map(rpc).collect()).expect("it has an endpoint")
    }

    /// Until it dies or is ended.
    async fn one_life(&self, pool: &Pool, end: &CancellationToken) {
        while !end.is_cancelled() {
            if self.journal.store().is_halted {
                self.await_operator(end).await;
                continue;
            }
            let genesis = self.network.genesis();
            let (config, contracts) = if self.is_narrow() { &self.narrow } else { &self.wide };
            let filter = plimsoll_ingest::filter(config, contracts);
            self.judge.follows(&filter);
            let mut follower = Follower::new(config, pool, contracts, genesis, self.journal.open_for(filter));
            let followed = {
                let mut follow = pin!(follower.follow(end));
                poll_fn(|context| match follow.as_mut().poll(context) {
                    Poll::Ready(followed) => Poll::Ready(Some(followed)),
                    Poll::Pending if self.fuse.is_burnt_down() => Poll::Ready(None),
                    Poll::Pending => Poll::Pending,
                })
                .await
            };
            match followed {
                None => return self.die().await,
                Some(Ok(())) => {}
                Some(Err(IngestError::DeepReorg(evidence))) => {
                    self.trace.note(format_args!("halts: {evidence}"));
                    self.halt(&follower.into_book());
                }
                Some(Err(error)) => {
                    self.trace.note(format_args!("the follower ends: {}", shown(&error)));
                    self.judge.ended(&error);
                    self.trace.count(|counts| counts.restarts += 1);
                    tokio::time::sleep(SUPERVISOR_PAUSE).await;
                }
            }
        }
    }

    async fn die(&self) {
        self.fuse.0.store(NOT_LIT, Ordering::Relaxed);
        self.trace.note(format_args!("the process dies"));
        self.trace.count(|counts| counts.crashes += 1);
        tokio::time::sleep(Duration::from_millis(self.down_ms.load(Ordering::Relaxed))).await;
    }

    fn halt(&self, book: &MemoryBook) {
        match book.final_block() {
            Some(final_block) => self.judge.halted(final_block, book.round_began()),
            None => self.trace.violated("a reorg past finality, and nothing is final".to_owned()),
        }
        self.journal.store().is_halted = true;
    }

    /// A person lifts the halt when a majority of the endpoints has the journal's final block.
    async fn await_operator(&self, end: &CancellationToken) {
        tokio::select! {
            biased;
            () = end.cancelled() => return,
            () = tokio::time::sleep(OPERATOR_LOOKS) => {}
        }
        let final_block = self.journal.store().final_block;
        let agree = final_block.map_or(0, |block| self.network.stood_by(block, Instant::now()).len());
        if 2 * agree > self.network.places() {
            self.trace.note(format_args!("an operator lifts the halt"));
            self.journal.store().is_halted = false;
        }
    }

    /// Notes who is benched for contradicting himself, for ever.
    async fn names(&self, pool: &Pool) {
        loop {
            self.name(pool);
            tokio::time::sleep(OPERATOR_LOOKS).await;
        }
    }

    fn name(&self, pool: &Pool) {
        for (place, rpc) in pool.endpoints().iter().enumerate() {
            if rpc.standing().bench.is_some_and(|bench| bench.reason == Reason::Contradiction) {
                lock(&self.named).insert(place);
            }
        }
    }
}
