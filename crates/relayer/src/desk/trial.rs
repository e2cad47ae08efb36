//! Trying out what waits: how much gas it needs, and whether it would revert.
//!
//! An endpoint that does not answer must not hold up its signer's other requests, let alone other signers. So each trial is a task of its own, for which the desk waits a moment; whoever is not answered by then
//! is passed over, and its answer is used when it is there. While endpoints are silent, the desk does not even wait for that moment.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use plimsoll_chain::{Pool, Reverts, UnsignedTransaction};
use plimsoll_types::RevertSource;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use uuid::Uuid;

use crate::bell::Bell;
use crate::reason::Reason;

/// Trials that are asked for at once.
const ASKED_AT_ONCE: usize = 16;
/// Trials that are open at once: those beyond come up in a later round.
const OPEN_MAX: usize = 512;
/// The desk waits no longer than this for those that it needs.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long an answer is good: after that the state is another.
const GOOD_FOR: Duration = Duration::from_secs(10);

/// What is tried out.
#[derive(Clone, Debug)]
pub(super) struct Trial {
    pub(super) transaction: UnsignedTransaction,
    /// Run with this much gas; without it, the gas is estimated.
    pub(super) gas_limit: Option<u64>,
}

/// What came of it.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    /// It needs this much gas, or runs with what it was given.
    Gas(u64),
    /// It reverts.
    Reverts(Box<Reason>),
    /// Nobody can tell now.
    Unknown(String),
}

/// The trials of one signer. What is still asked for is dropped with them.
pub(super) struct Trials {
    pool: Pool,
    reverts: Arc<Reverts>,
    bell: Bell,
    tasks: JoinSet<(Uuid, Outcome)>,
    open: HashSet<Uuid>,
    known: HashMap<Uuid, (Instant, Outcome)>,
    permits: Arc<Semaphore>,
    /// The desk waits for answers: it need not be woken.
    is_awaited: Arc<AtomicBool>,
    /// Nothing was answered in the moment for which the desk waited last.
    is_silent: bool,
}

impl Trials {
    pub(super) fn new(pool: Pool, reverts: Arc<Reverts>, bell: Bell) -> Self {
        Self {
            pool,
            reverts,
            bell,
            tasks: JoinSet::new(),
            open: HashSet::new(),
            known: HashMap::new(),
            permits: Arc::new(Semaphore::new(ASKED_AT_ONCE)),
            is_awaited: Arc::default(),
            is_silent: false,
        }
    }

    /// Takes what was answered since; whether anything was.
    pub(super) fn take_in(&mut self) -> bool {
        let mut has_news = false;
        while let Some(answered) = self.tasks.try_join_next() {
            has_news |= self.note(answered);
        }
        self.known.retain(|_, (at, _)| at.elapsed() < GOOD_FOR);
        has_news
    }

    /// What came of these, as far as it is known in time. Each is asked for unless it is asked for already, and told once.
    pub(super) async fn of(&mut self, wanted: Vec<(Uuid, Trial)>) -> HashMap<Uuid, Outcome> {
        self.take_in();
        let ids: Vec<_> = wanted.iter().map(|(id, _)| *id).collect();
        for (id, trial) in wanted {
            if !self.known.contains_key(&id) && self.open.len() < OPEN_MAX && self.open.insert(id) {
                self.begin(id, trial);
            }
        }
        if !self.is_silent {
            self.is_awaited.store(true, Ordering::Release);
            let until = Instant::now() + PATIENCE;
            while ids.iter().any(|id| self.open.contains(id)) {
                match tokio::time::timeout_at(until, self.tasks.join_next()).await {
                    Ok(Some(answered)) => _ = self.note(answered),
                    Ok(None) => break,
                    Err(_) => {
                        self.is_silent = true;
                        break;
                    }
                }
            }
            self.is_awaited.store(false, Ordering::Release);
        }
        ids.into_iter().filter_map(|id| Some((id, self.known.remove(&id)?.1))).collect()
    }

    fn note(&mut self, answered: Result<(Uuid, Outcome), tokio::task::JoinError>) -> bool {
        match answered {
            Ok((id, outcome)) => {
                self.open.remove(&id);
                self.known.insert(id, (Instant::now(), outcome));
                self.is_silent = false;
                true
            }
            // Whose it was is not known, so all are asked for again.
            Err(error) => {
                tracing::warn!(%error, "a trial was lost");
                self.tasks.abort_all();
                self.open.clear();
                false
            }
        }
    }

    fn begin(&mut self, id: Uuid, trial: Trial) {
        let (pool, reverts, bell) = (self.pool.clone(), Arc::clone(&self.reverts), self.bell.clone());
        let (permits, is_awaited) = (Arc::clone(&self.permits), Arc::clone(&self.is_awaited));
        self.tasks.spawn(async move {
            let permit = permits.acquire_owned().await;
            let outcome = run(&pool, &reverts, trial).await;
            drop(permit);
            if !is_awaited.load(Ordering::Acquire) {
                bell.ring();
            }
            (id, outcome)
        });
    }
}

async fn run(pool: &Pool, reverts: &Reverts, Trial { transaction, gas_limit }: Trial) -> Outcome {
    let transaction = &transaction;
    let (source, asked) =
        match gas_limit {
            None => {
                let asked = pool.ask(None, |rpc| async move { rpc.estimate_gas(transaction).await }).await;
                (RevertSource::Estimate, asked)
            }
            Some(gas) => {
                let asked = pool.ask(None, |rpc| async move {
                    Ok(rpc.run(transaction, Some(gas), None).await?.map(|_| gas))
                });
                (RevertSource::Simulation, asked.await)
            }
        };
    match asked {
        Ok(Ok(gas)) => Outcome::Gas(gas),
        Ok(Err(error)) => match Reason::of_call(reverts, source, error) {
            Ok(reason) => Outcome::Reverts(Box::new(reason)),
            Err(failed) => Outcome::Unknown(failed.to_string()),
        },
        Err(error) => Outcome::Unknown(error.to_string()),
    }
}
