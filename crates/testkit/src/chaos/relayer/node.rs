//! A process that works signers: the desks of production, on endpoints and a database that are simulated. It dies at any await, is frozen, ends in order,
//! and is started again.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use futures::future::join_all;
use plimsoll_chain::{EndpointConfig, Pool, Rpc};
use plimsoll_relayer::Bell;
use plimsoll_relayer::desk::{Desk, DeskOptions, Market};
use plimsoll_relayer::keys::Key;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::Trace;
use super::book::{MemoryBook, Tables};
use super::endpoint::Endpoint;
use super::journal::Journal;
use super::judge::lock;
use super::life::Life;
use super::story::Settings;
use super::transaction::Pen;
use super::world::CHAIN_ID;
use crate::chaos::dice::Dice;

const NOT_LIT: i64 = i64::MAX;

/// How a process dies.
#[derive(Clone, Copy, Debug, Default)]
struct Death {
    down: Duration,
    /// Its session with the database ends with it, and that is noticed.
    is_noticed: bool,
}

/// A process.
pub(super) struct Node {
    place: usize,
    name: String,
    settings: Settings,
    pens: Vec<Pen>,
    options: DeskOptions,
    endpoints: Vec<Endpoint>,
    tables: Arc<Tables>,
    journal: Arc<Journal>,
    trace: Arc<Trace>,
    life: Mutex<Arc<Life>>,
    /// Once it is lit, it burns down by one with each poll.
    fuse: AtomicI64,
    death: Mutex<Death>,
    end: Mutex<CancellationToken>,
    is_wanted: watch::Sender<bool>,
    dice: Mutex<Dice>,
}

impl Node {
    pub(super) fn new(
        place: usize,
        settings: &Settings,
        pens: &[Pen],
        endpoints: &[Endpoint],
        journal: &Arc<Journal>,
        (tables, trace): (&Arc<Tables>, &Arc<Trace>),
        dice: Dice,
    ) -> Self {
        Self {
            place,
            name: format!("{}-{place}", settings.names),
            settings: settings.clone(),
            pens: pens.to_vec(),
            options: settings.desk(),
            endpoints: endpoints.to_vec(),
            tables: Arc::clone(tables),
            journal: Arc::clone(journal),
            trace: Arc::clone(trace),
            life: Mutex::default(),
            fuse: AtomicI64::new(NOT_LIT),
            death: Mutex::default(),
            end: Mutex::default(),
            is_wanted: watch::Sender::new(true),
            dice: Mutex::new(dice),
        }
    }

    /// It dies after so many polls, and is back so much later.
    pub(super) fn dies(&self, after_polls: u32, down: Duration, is_noticed: bool) {
        *lock(&self.death) = Death { down, is_noticed };
        self.fuse.store(after_polls.into(), Ordering::Relaxed);
        // A frozen one dies, too.
        lock(&self.life).freezes(false);
    }

    /// It stands still, or goes on.
    pub(super) fn freezes(&self, is_frozen: bool) {
        lock(&self.life).freezes(is_frozen);
    }

    /// It ends in order, or is started again.
    pub(super) fn is_wanted(&self, is_wanted: bool) {
        self.is_wanted.send_replace(is_wanted);
        if !is_wanted {
            lock(&self.end).cancel();
        }
    }

    /// Nothing happens to it any more.
    pub(super) fn heals(&self) {
        self.fuse.store(NOT_LIT, Ordering::Relaxed);
        self.freezes(false);
        self.is_wanted(true);
    }

    fn is_burnt_down(&self) -> bool {
        let burn = |left| (left != NOT_LIT).then_some(left - 1);
        self.fuse.fetch_update(Ordering::Relaxed, Ordering::Relaxed, burn).is_ok_and(|left| left <= 0)
    }

    /// The endpoints as a process has them that has just started.
    fn pool(&self, life: &Arc<Life>) -> Pool {
        let rpc = |(place, endpoint): (usize, &Endpoint)| {
            let config = EndpointConfig {
                name: Some(format!("endpoint-{place}")),
                request_timeout: Duration::from_millis(self.settings.request_timeout_ms),
                max_retries: self.settings.max_retries,
                seed: Some(lock(&self.dice).any()),
                ..EndpointConfig::new("http://simulated")
            };
            Rpc::over(endpoint.transport(self.place, life), &config)
        };
        Pool::new(self.endpoints.iter().enumerate().map(rpc).collect()).expect("there is an endpoint")
    }

    /// Lives, again and again. Never ends by itself.
    pub(super) async fn lives(self: Arc<Self>) {
        let mut is_wanted = self.is_wanted.subscribe();
        loop {
            is_wanted.wait_for(|is_wanted| *is_wanted).await.expect("the process has the sender");
            let life = Arc::new(Life::default());
            let end = CancellationToken::new();
            *lock(&self.life) = Arc::clone(&life);
            *lock(&self.end) = end.clone();
            self.trace.note(format_args!("{} starts", self.place));
            self.one_life(&life, &end).await;
        }
    }

    async fn one_life(&self, life: &Arc<Life>, end: &CancellationToken) {
        let bell = Bell::default();
        self.journal.wakes(bell.clone());
        let term = Duration::from_millis(self.settings.term_ms);
        let book = MemoryBook::of(Arc::clone(&self.tables), term, Arc::clone(life), &self.name);
        let market = Market::new(self.pool(life));
        let desk = |pen: &Pen| {
            let key: Arc<dyn Key> = Arc::new(pen.clone());
            Desk::new(CHAIN_ID, key, self.options.clone(), market.clone(), book.clone(), bell.clone())
        };
        let desks: Vec<_> = self.pens.iter().map(desk).collect();
        let has_ended = {
            let mut work = pin!(join_all(desks.iter().map(|desk| desk.run(end))));
            poll_fn(|context| {
                if self.is_burnt_down() {
                    // Before anything of it is dropped, which otherwise would be given back in order.
                    life.ends();
                    return Poll::Ready(false);
                }
                match life.poll(context) {
                    Poll::Pending => Poll::Pending,
                    Poll::Ready(()) => work.as_mut().poll(context).map(|_| true),
                }
            })
            .await
        };
        if has_ended {
            self.trace.note(format_args!("{} ends in order", self.place));
            return;
        }
        let death = *lock(&self.death);
        self.fuse.store(NOT_LIT, Ordering::Relaxed);
        self.trace.note(format_args!("{} dies", self.place));
        self.trace.count(|counts| counts.crashes += 1);
        if death.is_noticed {
            let now = self.tables.now();
            let mut store = self.tables.store();
            for (name, token) in book.taken() {
                store.free_lease(&name, token, now);
            }
        }
        sleep(death.down).await;
    }
}
