//! A signer being worked, by one process at a time.
//!
//! # The only way out of the building
//! Requests are priced, given predicted nonces, and signed; then [`Book::enter`] commits every attempt with its bytes, in one transaction that holds the lease's guard and the
//! signer's row; only then is anything sent. So whatever a node has ever seen is in the database: a process that dies anywhere leaves either nothing, or attempts that the next
//! holder sends again, byte for byte. A process that was frozen and wakes may send what it had committed, which its successor counts on, and is refused when it tries to commit more.
//!
//! # What memory is for
//! Haste alone. The next nonce, the requests under way and the answers to them are read from the book when a desk is taken, and whenever it is not certain that
//! they are right: after a failed transaction (which may have been committed), after the chain went back, and when an end is asked for.
//!
//! # Why it does not stand still
//! The front is the lowest nonce that no block has consumed. Every nonce from there up to the next one has a committed attempt, or is found not to have one when the desk is taken,
//! and is filled. The front's bytes are sent until a block consumes its nonce, with better offers as long as they help and are allowed; so the front moves, or says why it does not.

mod broadcast;
mod care;
mod counts;
mod look;
mod market;
pub(crate) mod nonces;
mod options;
mod policy;
mod prepare;
mod round;
mod trial;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::broadcast::{Reach, Sent};
pub use self::market::Market;
pub(crate) use self::market::Prices;
pub use self::options::DeskOptions;
pub(crate) use self::policy::Live;
use self::round::Round;
use crate::attempt::{Attempt, Flight};
use crate::bell::Bell;
use crate::book::{Book, BookError, Entered, Queued};
use crate::keys::Key;
use crate::measure;
use crate::request::SignerId;

/// The most attempts of one transaction, and of one sending.
const BATCH_MAX: usize = 256;
/// Sendings of one signer that are under way at once.
const SENDINGS_MAX: usize = 4;
/// The chain is asked for nonces and balance so often, and at once when there is doubt.
const NONCES_PERIOD: Duration = Duration::from_secs(10);
/// And so often while nonces are not given.
const DOUBT_PERIOD: Duration = Duration::from_secs(1);
/// Nobody is waited for longer than this when it is asked for nonces and balance.
const NONCES_PATIENCE: Duration = Duration::from_secs(3);
/// The most nonces between what the chain has consumed and the next one. More can only come of a lie: they are not filled, and no more are given.
pub(crate) const SPAN_MAX: u64 = 100_000;
/// After the database or the chain failed.
const TROUBLE_PAUSE: Duration = Duration::from_millis(500);

/// Works one signer whenever this process has the right to.
#[derive(Debug)]
pub struct Desk<B> {
    signer: SignerId,
    key: Arc<dyn Key>,
    options: DeskOptions,
    market: Market,
    book: B,
    bell: Bell,
}

impl<B: Book> Desk<B> {
    /// A desk for the address that the key signs for.
    #[must_use]
    pub fn new(
        chain_id: u64,
        key: Arc<dyn Key>,
        options: DeskOptions,
        market: Market,
        book: B,
        bell: Bell,
    ) -> Self {
        let signer = SignerId { chain_id, address: key.address() };
        Self { signer, key, options, market, book, bell }
    }

    /// Works the signer until `stop`, whenever the right to it is to be had.
    // Boxed here, where only the trait's promises are known of the book: the compiler cannot follow the lifetimes in its concrete futures to a spawned task.
    pub fn run<'a>(&'a self, stop: &'a CancellationToken) -> BoxFuture<'a, ()> {
        Box::pin(self.work(stop))
    }

    async fn work(&self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            let authority = match self.book.acquire(self.signer, stop).await {
                Ok(authority) => authority,
                Err(BookError::Fenced(_)) if stop.is_cancelled() => return,
                Err(error) => {
                    self.trouble("the right to work it cannot be had", &error);
                    pause(TROUBLE_PAUSE, stop).await;
                    continue;
                }
            };
            tracing::info!(signer = %self.signer, "working the signer");
            let lost = self.book.lost(&authority).clone();
            while !stop.is_cancelled() && !lost.is_cancelled() {
                let work = async {
                    let mut shift = Shift::begin(self, &authority).await?;
                    shift.work().await
                };
                let error = tokio::select! {
                    biased;
                    () = stop.cancelled() => return,
                    () = lost.cancelled() => break,
                    () = self.book.elsewhere(&authority) => {
                        tracing::info!(signer = %self.signer, "the signer is another node's: handing it over");
                        break;
                    }
                    ended = work => match ended { Ok(never) => match never {}, Err(error) => error },
                };
                self.trouble("its work is begun anew", &error);
                if matches!(error, BookError::Fenced(_)) {
                    break;
                }
                pause(TROUBLE_PAUSE, stop).await;
            }
        }
    }

    fn trouble(&self, what: &str, error: &BookError) {
        metrics::counter!("relayer_troubles_total", "signer" => self.signer.to_string()).increment(1);
        tracing::warn!(signer = %self.signer, %error, "{what}");
    }
}

async fn pause(time: Duration, stop: &CancellationToken) {
    let _ = tokio::time::timeout(time, stop.cancelled()).await;
}

/// Nothing comes of work but an error.
enum Never {}

/// The time during which memory and book agree.
struct Shift<'a, B: Book> {
    desk: &'a Desk<B>,
    authority: &'a B::Authority,
    /// What is under way, by nonce.
    live: BTreeMap<u64, Live>,
    /// The next nonce, as far as is known.
    next: u64,
    /// The first nonce that no block has consumed, as the journal says.
    front: u64,
    /// The chain's part in the next nonce; none: nonces are not given.
    floor: Option<u64>,
    nonces_asked: Option<Instant>,
    ahead_since: Option<Instant>,
    stranger_since: Option<Instant>,
    unproven_since: Option<Instant>,
    /// None: nobody tells it, and nothing can be promised from it.
    balance: Option<alloy_primitives::U256>,
    asked: counts::Asked,
    round: Round,
    /// Committed, and not sent yet.
    unsent: VecDeque<Attempt>,
    sendings: JoinSet<Vec<Sent>>,
    rung: watch::Receiver<()>,
    /// How often it had been asked to look again, when that was read last.
    looked: Option<u64>,
}

impl<'a, B: Book> Shift<'a, B> {
    async fn begin(desk: &'a Desk<B>, authority: &'a B::Authority) -> Result<Self, BookError> {
        let mut shift = Self {
            desk,
            authority,
            live: BTreeMap::new(),
            next: 0,
            front: 0,
            floor: None,
            nonces_asked: None,
            ahead_since: None,
            stranger_since: None,
            unproven_since: None,
            balance: None,
            asked: counts::Asked::of(desk),
            round: Round::default(),
            unsent: VecDeque::new(),
            sendings: JoinSet::new(),
            rung: desk.bell.listener(),
            looked: None,
        };
        measure::window(desk.signer, desk.options.window);
        shift.read_again().await?;
        Ok(shift)
    }

    /// Takes everything from the book.
    async fn read_again(&mut self) -> Result<(), BookError> {
        let progress = self.desk.book.progress(self.desk.signer).await?;
        let flights = self.desk.book.flights(self.desk.signer, progress.consumed_next).await?;
        let mut before = std::mem::take(&mut self.live);
        for flight in flights {
            let nonce = flight.latest.nonce;
            // What is known of the same attempt stays known.
            let live = match before.remove(&nonce) {
                Some(live) if live.flight.latest == flight.latest => Live { flight, ..live },
                _ => Live::new(flight),
            };
            self.live.insert(nonce, live);
        }
        self.next = progress.next_nonce;
        self.front = progress.consumed_next;
        Ok(())
    }

    async fn work(&mut self) -> Result<Never, BookError> {
        loop {
            let progress = self.desk.book.progress(self.desk.signer).await?;
            self.look_if_asked(progress.looks_wanted).await?;
            if progress.consumed_next < self.front || progress.has_wishes {
                self.read_again().await?;
            }
            self.front = progress.consumed_next;
            self.live = self.live.split_off(&self.front);
            self.next = self.next.max(progress.next_nonce);

            let prices = match self.desk.market.look().await {
                Ok(prices) => Some(prices),
                Err(error) => {
                    tracing::warn!(signer = %self.desk.signer, %error, "the chain does not tell its fees");
                    None
                }
            };
            self.ask_nonces().await?;
            let mut has_more = false;
            if let Some(prices) = &prices {
                if progress.has_queue && progress.is_watched {
                    has_more = self.admit(prices).await?;
                }
                self.care(prices).await?;
                self.send_first(prices.head);
            }
            self.wait(has_more).await?;
        }
    }

    /// Until a sending is answered, somebody rings, or it is time to look; which it is where there is more to do. Takes what was answered.
    async fn wait(&mut self, has_more: bool) -> Result<(), BookError> {
        let mut sent = if has_more {
            self.sendings.try_join_next()
        } else {
            tokio::select! {
                biased;
                Some(sent) = self.sendings.join_next() => Some(sent),
                _ = self.rung.changed() => self.sendings.try_join_next(),
                () = tokio::time::sleep(self.desk.options.poll) => None,
            }
        };
        while let Some(answers) = sent {
            // What became of its bytes is not known, nor which they were: the book has them all.
            self.note(answers.map_err(BookError::Lost)?);
            sent = self.sendings.try_join_next();
        }
        Ok(())
    }

    /// The lowest nonce under way: what waits behind it cannot be included. Of a signer that sent before it was ours the journal may not know what it consumed.
    fn front(&self) -> u64 {
        self.live.keys().next().copied().unwrap_or(self.front)
    }

    fn note(&mut self, answers: Vec<Sent>) {
        let now = Instant::now();
        for Sent { nonce, number, reading } in answers {
            let Some(live) = self.live.get_mut(&nonce).filter(|live| live.flight.latest.number == number)
            else {
                continue;
            };
            if reading.answer.asks_the_chain() {
                self.nonces_asked = None;
            }
            measure::answered(self.desk.signer, live, &reading);
            live.note(reading.answer, reading.detail, now);
        }
    }

    /// Lets what waits into the window. Whether there may be more that could enter at once.
    async fn admit(&mut self, prices: &Prices) -> Result<bool, BookError> {
        let (Some(floor), Some(balance)) = (self.floor, self.balance) else { return Ok(false) };
        // Somebody may have used up more since the endpoints were asked.
        let floor = floor.max(self.front);
        let room = self.desk.options.window.saturating_sub(self.live.len()).min(BATCH_MAX);
        if room == 0 {
            return Ok(false);
        }
        // What is passed over needs no room.
        let limit = if self.round.at.is_some() { BATCH_MAX } else { room };
        let queued = self.desk.book.queue(self.desk.signer, self.round.at, limit).await?;
        let is_full = queued.len() >= limit;
        let last = queued.last().map(Queued::place);
        let mut prepared = self.prepare(prices, balance, queued).await;
        let last_with_room = prepared.keep(room);
        if !prepared.endings.is_empty() {
            self.desk.book.end(self.authority, &prepared.endings).await?;
        }
        let first = self.next.max(floor);
        let (flights, unsigned) = self.sign(first, prepared.ready).await;
        let looked_at =
            match (unsigned.or(last_with_room), !prepared.passed.is_empty() || self.round.began.is_some()) {
                (Some(last), _) => Some(last),
                (None, true) => last.or(self.round.at),
                (None, false) => None,
            };
        if flights.is_empty() {
            self.go_round(looked_at, is_full);
            return Ok(is_full);
        }
        let attempts: Vec<_> = flights.iter().map(|flight| flight.latest.clone()).collect();
        match self.desk.book.enter(self.authority, self.desk.signer, floor, &attempts).await? {
            Entered::Committed => {}
            Entered::Mispredicted { next } => {
                self.next = next;
                return Ok(true);
            }
            Entered::Overtaken => {
                self.read_again().await?;
                return Ok(true);
            }
        }
        self.go_round(looked_at, is_full);
        self.next = first + attempts.len() as u64;
        measure::committed(self.desk.signer, &attempts);
        let in_hand = |flight: Flight| (flight.latest.nonce, Live { is_in_hand: true, ..Live::new(flight) });
        self.live.extend(flights.into_iter().map(in_hand));
        self.unsent.extend(attempts);
        self.send_first(prices.head);
        Ok(is_full)
    }

    /// Sends what was not sent yet, as far as nodes keep up: what waits here is committed, and keeps nothing from being committed.
    fn send_first(&mut self, head: u64) {
        while !self.unsent.is_empty() && self.sendings.len() < SENDINGS_MAX {
            let batch = self.unsent.drain(..self.unsent.len().min(BATCH_MAX)).collect();
            self.send(batch, head, Reach::Fittest);
        }
    }

    /// Sends committed bytes, in the background.
    fn send(&mut self, attempts: Vec<Attempt>, head: u64, reach: Reach) {
        let now = Instant::now();
        for attempt in &attempts {
            if let Some(live) = self.live.get_mut(&attempt.nonce) {
                live.is_in_hand = true;
                live.sends = live.sends.saturating_add(1);
                live.first_sent = live.first_sent.or(Some(head));
                live.sent = Some((now, head));
            }
        }
        let (pool, book) = (self.desk.market.pool().clone(), self.desk.book.clone());
        // A task of its own: it goes on while the desk is at the database.
        self.sendings.spawn(broadcast::send(pool, book, self.desk.signer.chain_id, attempts, reach));
    }
}
