//! A node that follows a model chain: an ingest and the view fold, which can be stopped, killed and started again.
//!
//! Killed means that the task is dropped at one of its `await`s: within a BEGIN, a COPY, a COMMIT. Its pool lives on, so the connections that
//! it had are used by whatever is started next.

use std::time::Duration;

use alloy_primitives::{Address, B256};
use alloy_transport::{BoxTransport, Transport};
use futures::future::select_all;
use plimsoll_chain::interval::IntervalPolicy;
use plimsoll_chain::{EndpointConfig, Pool, Rpc};
use plimsoll_ingest::{Finality, Ingest, IngestConfig};
use plimsoll_journal::{FoldRunner, StepOptions, Tail, step};
use plimsoll_store::{Db, Leases, Partitions};
use plimsoll_testkit::model::ModelChain;
use plimsoll_types::Completeness;
use plimsoll_views::{FOLD_NAME, ViewFold};
use sqlx::Row;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::endpoints::{replaced, two_nodes};
use super::task::{Running, Told};
use super::world::contracts;

/// A node that did not get where it should by then hangs.
const HANGS_AFTER: Duration = Duration::from_secs(60);

/// How a chain is followed.
#[derive(Clone, Debug)]
pub struct Settings {
    pub start_block: u64,
    pub confirmations: u64,
    pub finality_depth: u64,
    pub watched: Vec<Address>,
    pub ranges_in_flight: usize,
    pub range_blocks: u64,
    /// About how many records the fold takes at a time; `None`: the runner's own measure.
    pub step_records: Option<usize>,
}

/// The node.
pub struct Follower {
    pub db: Db,
    pub chain_id: u64,
    pub settings: Settings,
    transports: Vec<BoxTransport>,
    finality: Finality,
    head_completeness: Completeness,
    backfill_completeness: Completeness,
    leases: Leases,
    tail: Tail,
    committed: watch::Sender<()>,
    ingest: Option<Running>,
    fold: Option<Running>,
}

impl Follower {
    pub async fn new(
        db: &Db,
        leases: &Leases,
        chain_id: u64,
        chain: &ModelChain,
        settings: Settings,
    ) -> Self {
        let mut partitions = Partitions::default();
        for table in ["view_apply_entries", "view_trail", "position_push_links"] {
            partitions.ensure(db.worker(), table, chain_id, 0, 1).await.unwrap();
        }
        Self {
            db: db.clone(),
            chain_id,
            finality: Finality::Depth(settings.finality_depth),
            head_completeness: Completeness::Receipts,
            backfill_completeness: Completeness::Bloom,
            settings,
            transports: vec![chain.clone().boxed()],
            leases: leases.clone(),
            tail: Tail::default(),
            committed: watch::Sender::new(()),
            ingest: None,
            fold: None,
        }
    }

    /// Its requests go to either of two nodes, of which one is so many blocks behind.
    pub fn behind_two_nodes(mut self, chain: &ModelChain, lag_blocks: u64) -> Self {
        self.transports = vec![two_nodes(chain, lag_blocks, self.chain_id)];
        self
    }

    /// What is behind its address answers so many more requests, and then another is there.
    pub fn replaced_after(&mut self, requests: u64, first: &ModelChain, then: &ModelChain) {
        self.transports = vec![replaced(requests, first, then)];
    }

    /// What it takes is proven otherwise.
    pub fn with_completeness(mut self, head: Completeness, backfill: Completeness) -> Self {
        (self.head_completeness, self.backfill_completeness) = (head, backfill);
        self
    }

    /// Its blocks are final by another measure than their depth.
    pub fn with_finality(mut self, finality: Finality) -> Self {
        self.finality = finality;
        self
    }

    /// It has these endpoints, named `model-0` and so on.
    pub fn with_endpoints(mut self, endpoints: Vec<BoxTransport>) -> Self {
        self.transports = endpoints;
        self
    }

    /// Its endpoints as they are now.
    pub fn pool(&self) -> Pool {
        // What fails is not tried again within a request: the ingest ends and is started anew, which is the harder case.
        let rpc = |(place, transport): (usize, &BoxTransport)| {
            let name = Some(format!("model-{place}"));
            let endpoint = EndpointConfig { max_retries: 0, name, ..EndpointConfig::new("http://model") };
            Rpc::over(transport.clone(), &endpoint)
        };
        Pool::new(self.transports.iter().enumerate().map(rpc).collect()).expect("it has an endpoint")
    }

    /// How it follows.
    pub fn config(&self) -> IngestConfig {
        let Settings { start_block, confirmations, ranges_in_flight, range_blocks, .. } = self.settings;
        IngestConfig {
            chain_id: self.chain_id,
            name: "model".into(),
            confirmations,
            finality: self.finality,
            head_completeness: self.head_completeness,
            backfill_completeness: self.backfill_completeness,
            poll_interval: Duration::from_millis(1),
            watched_senders: self.settings.watched.iter().map(|it| (*it, start_block)).collect(),
            ranges_in_flight,
            range: IntervalPolicy {
                initial_blocks: range_blocks,
                max_blocks: range_blocks * 4,
                increase_blocks: 1,
                ..IntervalPolicy::default()
            },
        }
    }

    /// An ingest as it would be started now.
    pub fn ingest(&self) -> Ingest {
        let contracts = contracts(self.settings.start_block);
        let (db, leases, tail) = (self.db.clone(), self.leases.clone(), self.tail.clone());
        Ingest::new(self.config(), self.pool(), contracts, db, leases, tail)
    }

    pub fn start_ingest(&mut self) {
        if self.ingest.is_some() {
            return;
        }
        let mut ingest = self.ingest();
        let cancel = CancellationToken::new();
        let stop = cancel.clone();
        let work = async move {
            while let Err(error) = ingest.run(&stop).await {
                assert!(!error.is_fatal(), "{error}");
            }
        };
        self.ingest = Some(Running::start(work, cancel));
    }

    pub fn start_fold(&mut self) {
        if self.fold.is_some() {
            return;
        }
        let chain_id = self.chain_id;
        let view = ViewFold::new(chain_id, &contracts(self.settings.start_block));
        let mut fold = Told { fold: view, committed: self.committed.clone() };
        let (db, leases, tail) = (self.db.clone(), self.leases.clone(), self.tail.clone());
        let cancel = CancellationToken::new();
        let stop = cancel.clone();
        let Some(max_records) = self.settings.step_records else {
            let mut runner = FoldRunner::new(fold, chain_id, db, leases, tail);
            let work = async move { runner.run(&stop).await.unwrap() };
            self.fold = Some(Running::start(work, cancel));
            return;
        };
        let work = async move {
            let Ok(lease) = leases.acquire_wait(&format!("fold:{FOLD_NAME}:{chain_id}"), &stop).await else {
                return;
            };
            let mut end = tail.subscribe(chain_id);
            while !stop.is_cancelled() {
                end.mark_unchanged();
                let options = StepOptions { max_records, up_to_seq: None, tail: None, lease: Some(&lease) };
                if step(&mut fold, &db, chain_id, options).await.unwrap().records == 0 {
                    stop.run_until_cancelled(end.changed()).await;
                }
            }
            lease.release().await.unwrap();
        };
        self.fold = Some(Running::start(work, cancel));
    }

    pub async fn end_ingest(&mut self) {
        if let Some(running) = self.ingest.take() {
            running.end().await;
        }
    }

    pub async fn end_fold(&mut self) {
        if let Some(running) = self.fold.take() {
            running.end().await;
        }
    }

    /// The ingest is dropped after so many polls from now on; [`Follower::ingest_killed`] waits for it.
    pub fn kill_ingest_after(&self, polls: u8) {
        if let Some(running) = &self.ingest {
            running.fuse.light(polls);
        }
    }

    /// As with the ingest.
    pub fn kill_fold_after(&self, polls: u8) {
        if let Some(running) = &self.fold {
            running.fuse.light(polls);
        }
    }

    pub async fn ingest_killed(&mut self) -> Result<(), String> {
        // It looks at its chain again and again, so it is polled.
        let Some(running) = self.ingest.take() else { return Ok(()) };
        let killed = tokio::time::timeout(HANGS_AFTER, running.task).await;
        killed.map_err(|_| "the ingest is polled no more".to_owned())?.map_err(|error| error.to_string())
    }

    /// Also returns when the fold has all that is to come, as it is then polled no more; it is dropped all the same.
    pub async fn fold_killed(&mut self, is_there: impl Fn(&Standing) -> bool) -> Result<(), String> {
        let Some(mut running) = self.fold.take() else { return Ok(()) };
        let folded = async {
            self.wait_for_commits(u32::MAX, is_there).await?;
            let folded = self.folded();
            self.while_it_runs(folded).await
        };
        tokio::select! {
            killed = &mut running.task => return killed.map_err(|error| error.to_string()),
            folded = folded => folded?,
        }
        running.task.abort();
        running
            .task
            .await
            .map_or_else(|error| if error.is_cancelled() { Ok(()) } else { Err(error.to_string()) }, Ok)
    }

    /// Where its journal stands.
    pub async fn standing(&self) -> Standing {
        journal(&self.db, self.chain_id).await
    }

    pub fn ingests(&self) -> bool {
        self.ingest.is_some()
    }

    /// Waits until the journal satisfies `is_there`, then, if the fold runs, until it has all of the journal.
    pub async fn settle(&mut self, is_there: impl Fn(&Standing) -> bool) -> Result<(), String> {
        self.wait_for_commits(u32::MAX, is_there).await?;
        if self.fold.is_none() {
            return Ok(());
        }
        let folded = self.folded();
        self.while_it_runs(folded).await
    }

    /// Until the fold has all of the journal.
    fn folded(&self) -> impl Future<Output = ()> + use<> {
        let (db, chain_id) = (self.db.clone(), self.chain_id);
        let mut committed = self.committed.subscribe();
        async move {
            loop {
                committed.mark_unchanged();
                if cursor(&db, chain_id).await == journal(&db, chain_id).await.end {
                    break;
                }
                committed.changed().await.unwrap();
            }
        }
    }

    /// Waits until so many commits were seen, or the journal satisfies `is_there`.
    pub async fn wait_for_commits(
        &mut self,
        commits: u32,
        is_there: impl Fn(&Standing) -> bool,
    ) -> Result<(), String> {
        let (db, chain_id) = (self.db.clone(), self.chain_id);
        let mut end = self.tail.subscribe(chain_id);
        let grown = async {
            for _ in 0..commits {
                end.mark_unchanged();
                if is_there(&journal(&db, chain_id).await) {
                    break;
                }
                end.changed().await.unwrap();
            }
        };
        self.while_it_runs(grown).await
    }

    async fn while_it_runs(&mut self, done: impl Future<Output = ()>) -> Result<(), String> {
        let (db, chain_id) = (self.db.clone(), self.chain_id);
        let running = self.ingest.iter_mut().chain(&mut self.fold);
        let ended = select_all(running.map(|running| &mut running.task));
        tokio::select! {
            done = tokio::time::timeout(HANGS_AFTER, done) => match done {
                Ok(()) => Ok(()),
                Err(_) => Err(format!("the node hangs at {:?}", journal(&db, chain_id).await)),
            },
            (ended, ..) = ended => Err(format!("the ingest or the fold has ended by itself: {ended:?}")),
        }
    }

    pub async fn end(&mut self) {
        self.end_ingest().await;
        self.end_fold().await;
    }
}

/// Where a journal stands.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    pub end: i64,
    pub head: Option<(u64, B256)>,
    pub final_number: Option<u64>,
}

async fn journal(db: &Db, chain_id: u64) -> Standing {
    let row = sqlx::query(
        "SELECT next_seq - 1 AS \"end\", head_number, head_hash, final_number FROM chains WHERE chain_id = $1",
    )
    .bind(chain_id.cast_signed())
    .fetch_optional(db.worker())
    .await
    .unwrap();
    let Some(row) = row else { return Standing::default() };
    let number = |column| row.get::<Option<i64>, _>(column).map(i64::cast_unsigned);
    let hash = row.get::<Option<Vec<u8>>, _>("head_hash");
    Standing {
        end: row.get("end"),
        head: number("head_number").zip(hash.map(|hash| B256::from_slice(&hash))),
        final_number: number("final_number"),
    }
}

async fn cursor(db: &Db, chain_id: u64) -> i64 {
    let seq: Option<i64> =
        sqlx::query_scalar("SELECT seq FROM fold_cursors WHERE fold = $1 AND chain_id = $2")
            .bind(FOLD_NAME)
            .bind(chain_id.cast_signed())
            .fetch_optional(db.worker())
            .await
            .unwrap();
    seq.unwrap_or(0)
}
