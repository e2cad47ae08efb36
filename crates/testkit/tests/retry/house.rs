//! A node with the contracts, a database, the ingest, the relayer, the retry's fold, and any number of its workers.

use std::sync::Arc;
use std::time::Duration;

use alloy_dyn_abi::DynSolValue;
use alloy_primitives::{Address, B256, U256};
use plimsoll_chain::abi::{Contract, Contracts};
use plimsoll_chain::interval::IntervalPolicy;
use plimsoll_chain::transport::open;
use plimsoll_chain::{EndpointConfig, Pool, Rpc};
use plimsoll_ingest::{Finality, Ingest, IngestConfig};
use plimsoll_journal::{FoldError, FoldRunner, Tail};
use plimsoll_relayer::book::PgBook;
use plimsoll_relayer::desk::{Desk, DeskOptions, Market};
use plimsoll_relayer::fold::VerdictFold;
use plimsoll_relayer::grant::{ForeignUse, SignerPolicy};
use plimsoll_relayer::keys::{Key, LocalKey, Secret};
use plimsoll_relayer::{Bell, Intake, signers};
use plimsoll_retry::{Backoff, FoldOptions, RetryFold, Worker, WorkerOptions};
use plimsoll_store::{DEFAULT_TERM, Db, Leases};
use plimsoll_testkit::anvil::{Anvil, AnvilOptions, Mining};
use plimsoll_testkit::deploy::Deployment;
use plimsoll_types::{Completeness, address_text};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::sender::{Pause, Sender};

/// What has not come to pass by then never will.
const HANGS_AFTER: Duration = Duration::from_secs(60);
pub(crate) const CONFIRMATIONS: u64 = 2;
const FINALITY: u64 = 6;
/// Anvil's second account, the deployment's keeper.
const KEEPER: [u8; 32] =
    alloy_primitives::hex!("59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d");

pub(crate) struct House {
    pub(crate) anvil: Anvil,
    pub(crate) db: Db,
    pub(crate) deployment: Deployment,
    pub(crate) intake: Intake,
    tenant: Uuid,
    contracts: Contracts,
    tail: Tail,
    background: Vec<(CancellationToken, JoinHandle<()>)>,
}

/// A worker, until it is stopped or killed.
pub(crate) struct Working {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Working {
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }

    /// Drops it where it is.
    pub(crate) async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

pub(crate) fn options(house: &House) -> WorkerOptions {
    WorkerOptions {
        signer: house.deployment.keeper,
        max_attempts: 50,
        backoff: Backoff { base: Duration::from_millis(20), max: Duration::from_millis(100) },
        automatic_per_hour: 100,
        interval: Duration::from_millis(10),
    }
}

impl House {
    /// A house whose jobs of these reasons are tried unasked.
    pub(crate) async fn new(automatic: &[&str]) -> Self {
        let options = AnvilOptions { mining: Mining::OnDemand, accounts: 5, ..AnvilOptions::default() };
        let anvil = Anvil::start(&options).await.unwrap();
        let deployment = Deployment::deploy(&anvil, true).await.unwrap();
        let db = plimsoll_store::testing::db().await;
        let tenant = Uuid::new_v4();
        sqlx::query("INSERT INTO tenants (tenant_id, name) VALUES ($1, 'acme')")
            .bind(tenant)
            .execute(db.worker())
            .await
            .unwrap();
        let contracts =
            Contracts::new(deployment.manifest().map(|(name, address, abi)| {
                Contract::new(name, address, tenant, deployment.start_block, abi)
            }));
        let (tail, bell) = (Tail::default(), Bell::default());
        let policy = SignerPolicy {
            name: "keeper".into(),
            chain_id: deployment.chain_id,
            address: deployment.keeper,
            window: std::num::NonZeroU32::new(64).unwrap(),
            max_fee_per_gas_wei: None,
            on_foreign_use: ForeignUse::Requeue,
            grants: Vec::new(),
        };
        let intake = Intake::start(db.clone(), "node-0", [policy.clone()], bell.clone());
        let mut house =
            Self { anvil, db, deployment, intake, tenant, contracts, tail, background: Vec::new() };
        house.follow(policy, bell, automatic).await;
        house
    }

    async fn follow(&mut self, policy: SignerPolicy, bell: Bell, automatic: &[&str]) {
        let chain_id = self.deployment.chain_id;
        let leases = Leases::connect(&self.db, "house", DEFAULT_TERM).await.unwrap();
        let config = IngestConfig {
            chain_id,
            name: "anvil".into(),
            confirmations: CONFIRMATIONS,
            finality: Finality::Depth(FINALITY),
            head_completeness: Completeness::Receipts,
            backfill_completeness: Completeness::Bloom,
            poll_interval: Duration::from_millis(5),
            watched_senders: [].into(),
            ranges_in_flight: 1,
            range: IntervalPolicy::default(),
        };
        let (contracts, db, tail) = (self.contracts.clone(), self.db.clone(), self.tail.clone());
        let mut ingest = Ingest::new(config, self.pool(), contracts, db.clone(), leases.clone(), tail);
        self.spawn(async move |stop| {
            while let Err(error) = ingest.run(&stop).await {
                assert!(!error.is_fatal(), "{error}");
            }
        });
        let mut end = self.tail.subscribe(chain_id);
        tokio::time::timeout(HANGS_AFTER, end.wait_for(|end| end.block_number >= 1)).await.unwrap().unwrap();
        signers::register(&self.db, &[policy]).await.unwrap();

        let key: Arc<dyn Key> = Arc::new(LocalKey::new(Secret::new(&KEEPER).unwrap()));
        assert_eq!(key.address(), self.deployment.keeper);
        let verdicts = VerdictFold::new(chain_id, [self.deployment.keeper], Some(bell.clone()));
        let mut runner = FoldRunner::new(verdicts, chain_id, db.clone(), leases.clone(), self.tail.clone());
        self.spawn(async move |stop| {
            while let Err(error) = runner.run(&stop).await {
                assert!(matches!(error, FoldError::Database(_) | FoldError::Lease(_)), "{error}");
            }
        });
        let automatic = automatic.iter().map(|&code| code.to_owned()).collect();
        let fold =
            RetryFold::new(chain_id, &self.contracts, FoldOptions { cool_down: Duration::ZERO, automatic });
        let mut runner = FoldRunner::new(fold, chain_id, db.clone(), leases.clone(), self.tail.clone());
        self.spawn(async move |stop| {
            while let Err(error) = runner.run(&stop).await {
                assert!(matches!(error, FoldError::Database(_) | FoldError::Lease(_)), "{error}");
            }
        });
        let book = PgBook::new(db, leases, "node-0".into());
        let desk = Desk::new(chain_id, key, DeskOptions::default(), Market::new(self.pool()), book, bell);
        self.spawn(async move |stop| desk.run(&stop).await);
    }

    fn spawn<F>(&mut self, work: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let stop = CancellationToken::new();
        let task = tokio::spawn(work(stop.clone()));
        self.background.push((stop, task));
    }

    pub(crate) fn pool(&self) -> Pool {
        let endpoint = EndpointConfig { name: Some("anvil".into()), ..EndpointConfig::new(self.anvil.url()) };
        Rpc::over(open(&endpoint).unwrap(), &endpoint).into()
    }

    pub(crate) async fn leases(&self, node: &str) -> Leases {
        Leases::connect(&self.db, node, Duration::from_secs(2)).await.unwrap()
    }

    pub(crate) fn worker(&self, leases: Leases, pause: Pause, options: WorkerOptions) -> Worker<Sender> {
        let sender = Sender::new(self.intake.clone(), self.db.clone(), pause);
        let (chain_id, contracts) = (self.deployment.chain_id, self.contracts.clone());
        Worker::new(chain_id, contracts, self.pool(), (self.db.clone(), leases), sender, ("test", options))
    }

    /// Begins to try what is due.
    pub(crate) async fn work(&self, node: &str, pause: Pause, options: WorkerOptions) -> Working {
        let mut worker = self.worker(self.leases(node).await, pause, options);
        let stop = CancellationToken::new();
        let until = stop.clone();
        Working { stop, task: tokio::spawn(async move { worker.run(&until).await.unwrap() }) }
    }

    /// Calls a contract, in a block of its own.
    pub(crate) async fn call(&self, from: Address, contract: &str, function: &str, values: &[DynSolValue]) {
        let call = self.deployment.call(from, contract, function, values);
        self.anvil.execute(function, &call, true).await.unwrap();
    }

    /// Calls a contract as its admin.
    pub(crate) async fn admin(&self, contract: &str, function: &str, values: &[DynSolValue]) {
        self.call(self.deployment.admin, contract, function, values).await;
    }

    pub(crate) async fn pause(&self, view: &str, on: bool) {
        self.admin(view, "setPaused", &[DynSolValue::Bool(on)]).await;
    }

    /// A user's deposit of the first asset, which is pushed to the view, or is not.
    pub(crate) async fn deposit(&self, user: usize, amount: u64) {
        let values = [
            self.deployment.assets[0].token.into(),
            DynSolValue::Uint(U256::from(amount), 256),
            DynSolValue::FixedBytes(B256::ZERO, 32),
            DynSolValue::Uint(U256::ZERO, 64),
        ];
        self.call(self.deployment.users[user], "CollateralManager", "deposit", &values).await;
    }

    /// A deposit of which the view knows nothing, since it was out of service; its job.
    pub(crate) async fn lost_deposit(&self, user: usize, amount: u64) -> Uuid {
        self.pause("PositionView", true).await;
        self.deposit(user, amount).await;
        self.pause("PositionView", false).await;
        self.until_job(user).await
    }

    /// What the view says that the user has of the first asset.
    pub(crate) async fn cached(&self, user: usize) -> U256 {
        let key = [self.deployment.users[user].into(), self.deployment.assets[0].token.into()];
        let values = self
            .deployment
            .read(&self.anvil, "PositionView", "getUserPosition", &key, serde_json::json!("latest"))
            .await
            .unwrap();
        values[0].as_uint().unwrap().0
    }

    /// The user's newest job, once there is one.
    pub(crate) async fn until_job(&self, user: usize) -> Uuid {
        let user = address_text(&self.deployment.users[user]);
        let find = async {
            let mut looks = tokio::time::interval(Duration::from_millis(10));
            loop {
                looks.tick().await;
                let job = sqlx::query_scalar("SELECT job_id FROM cache_retry_jobs WHERE \"user\" = $1 AND status NOT IN ('succeeded', 'ignored', 'superseded')")
                    .bind(&user)
                    .fetch_optional(self.db.worker())
                    .await
                    .unwrap();
                if let Some(job) = job {
                    return job;
                }
            }
        };
        tokio::time::timeout(HANGS_AFTER, find).await.expect("no job is opened")
    }

    /// Somebody wants it tried.
    pub(crate) async fn ask(&self, job: Uuid) -> bool {
        let mut conn = self.db.worker().acquire().await.unwrap();
        plimsoll_retry::ask(&mut conn, job, "user:ops", "the view is back").await.unwrap()
    }

    /// Waits until this is true of a job, and makes blocks meanwhile if told to.
    pub(crate) async fn until(&self, what: &str, mines: bool, statement: &'static str, job: Uuid) {
        let come = async {
            let mut looks = tokio::time::interval(Duration::from_millis(25));
            loop {
                if self.ask_of(statement, job).await {
                    return;
                }
                looks.tick().await;
                if mines {
                    self.anvil.mine(1).await.unwrap();
                }
            }
        };
        if tokio::time::timeout(HANGS_AFTER, come).await.is_err() {
            let row: String =
                sqlx::query_scalar("SELECT jsonb_build_object('job', to_jsonb(j), 'audit', (SELECT jsonb_agg(to_jsonb(a) ORDER BY version) FROM cache_retry_audit a WHERE a.job_id = $1))::text FROM cache_retry_jobs j WHERE job_id = $1")
                    .bind(job)
                    .fetch_one(self.db.worker())
                    .await
                    .unwrap();
            panic!("{what} does not come to pass: {row}");
        }
    }

    async fn ask_of(&self, statement: &'static str, job: Uuid) -> bool {
        sqlx::query_scalar(statement).bind(job).fetch_one(self.db.worker()).await.unwrap()
    }

    pub(crate) async fn until_succeeded(&self, job: Uuid, mines: bool) {
        self.until(
            "its success",
            mines,
            "SELECT status = 'succeeded' FROM cache_retry_jobs WHERE job_id = $1",
            job,
        )
        .await;
    }

    pub(crate) async fn until_superseded(&self, job: Uuid) {
        let statement = "SELECT status = 'superseded' FROM cache_retry_jobs WHERE job_id = $1";
        self.until("that it is needless", false, statement, job).await;
    }

    /// How many transactions of this kind were asked for.
    pub(crate) async fn sent(&self, operation: &str) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM managed_transactions WHERE operation_type = $1")
            .bind(operation)
            .fetch_one(self.db.worker())
            .await
            .unwrap()
    }

    pub(crate) async fn jobs(&self) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM cache_retry_jobs").fetch_one(self.db.worker()).await.unwrap()
    }

    pub(crate) async fn status(&self, job: Uuid) -> String {
        sqlx::query_scalar("SELECT status::text FROM cache_retry_jobs WHERE job_id = $1")
            .bind(job)
            .fetch_one(self.db.worker())
            .await
            .unwrap()
    }

    /// What was done of a job, oldest first.
    pub(crate) async fn actions(&self, job: Uuid) -> Vec<String> {
        sqlx::query_scalar("SELECT action FROM cache_retry_audit WHERE job_id = $1 ORDER BY version")
            .bind(job)
            .fetch_all(self.db.worker())
            .await
            .unwrap()
    }

    pub(crate) fn tenant(&self) -> Uuid {
        self.tenant
    }

    pub(crate) async fn end(self) {
        for (stop, task) in self.background {
            stop.cancel();
            task.await.unwrap();
        }
        self.anvil.stop().await.unwrap();
    }
}
