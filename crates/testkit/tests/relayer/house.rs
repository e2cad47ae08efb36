//! A node, a database, the ingest, the relayer's fold, and any number of desks.

use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{Address, B256, Bytes, FixedBytes, U256};
use plimsoll_chain::abi::Contracts;
use plimsoll_chain::interval::IntervalPolicy;
use plimsoll_chain::transport::{FaultHandle, Faulty, open};
use plimsoll_chain::{EndpointConfig, Pool, Rpc};
use plimsoll_ingest::{Finality, Ingest, IngestConfig};
use plimsoll_journal::{FoldError, FoldRunner, Tail};
use plimsoll_relayer::attempt::Attempt;
use plimsoll_relayer::book::PgBook;
use plimsoll_relayer::desk::{Desk, DeskOptions, Market};
use plimsoll_relayer::envelope::Unsigned;
use plimsoll_relayer::fees::Fees;
use plimsoll_relayer::fold::VerdictFold;
use plimsoll_relayer::grant::{ForeignUse, Grant, SignerPolicy};
use plimsoll_relayer::keys::Secret;
use plimsoll_relayer::keys::{Key, LocalKey};
use plimsoll_relayer::request::{Call, Request, SignerId, Validity};
use plimsoll_relayer::{Bell, Intake, signers};
use plimsoll_store::{DEFAULT_TERM, DatabaseUrls, Db, Leases};
use plimsoll_testkit::anvil::{Anvil, AnvilOptions, Mining};
use plimsoll_testkit::deploy::artifacts::artifact;
use plimsoll_testkit::node;
use plimsoll_types::{AttemptPurpose, Completeness, Context, TransactionState};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// What has not come to pass by then never will.
pub(crate) const HANGS_AFTER: Duration = Duration::from_secs(60);
pub(crate) const CONFIRMATIONS: u64 = 2;
pub(crate) const FINALITY: u64 = 6;
/// Anvil's first account, whose key everybody knows.
const KEY: [u8; 32] =
    alloy_primitives::hex!("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80");
/// Its second one.
pub(crate) const SECOND_KEY: [u8; 32] =
    alloy_primitives::hex!("59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d");

pub(crate) struct House {
    pub(crate) anvil: Anvil,
    pub(crate) db: Db,
    pub(crate) urls: DatabaseUrls,
    pub(crate) tail: Tail,
    pub(crate) counter: Address,
    pub(crate) signer: SignerId,
    pub(crate) tenant: Uuid,
    pub(crate) acceptor: Intake,
    pub(crate) key: Arc<dyn Key>,
    pub(crate) bell: Bell,
    background: Vec<(CancellationToken, JoinHandle<()>)>,
}

/// A desk, until it is stopped or killed.
pub(crate) struct Working {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Working {
    /// Stops it as a process does that ends.
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

impl House {
    /// A house whose chain, signer and contract are there. Blocks are made when asked for, or as often as this.
    pub(crate) async fn new(mining: Mining) -> Self {
        Self::after(0, mining).await
    }

    /// The same, and its signer had sent so many transactions before anybody followed it.
    pub(crate) async fn after(sent: u64, mining: Mining) -> Self {
        Self::on(sent, AnvilOptions { mining, ..AnvilOptions::default() }).await
    }

    /// The same, on such a chain.
    pub(crate) async fn on(sent: u64, options: AnvilOptions) -> Self {
        let options = AnvilOptions { accounts: 4, ..options };
        let mining = options.mining;
        let anvil = Anvil::start(&options).await.unwrap();
        let chain_id = anvil.chain_id().await.unwrap();
        let urls = plimsoll_store::testing::database().await;
        let db = Db::connect(&urls).await.unwrap();
        let tenant = Uuid::new_v4();
        sqlx::query("INSERT INTO tenants (tenant_id, name) VALUES ($1, $2)")
            .bind(tenant)
            .bind(tenant.to_string())
            .execute(db.worker())
            .await
            .unwrap();

        let deployer = anvil.accounts().await.unwrap()[3];
        let code = artifact("RequestCounter").bytecode.clone();
        let mut create = node::Call { from: deployer, to: None, data: code }.to_json();
        // Said, as every chain takes it: Anvil's own choice is none that an old one does.
        create["gasPrice"] = "0x77359400".into();
        let created: B256 = anvil.request("eth_sendTransaction", serde_json::json!([create])).await.unwrap();
        if mining == Mining::OnDemand {
            anvil.mine(1).await.unwrap();
        }
        let receipt = anvil.wait_receipt(created).await.unwrap();
        let counter: Address = receipt["contractAddress"].as_str().unwrap().parse().unwrap();

        let key: Arc<dyn Key> = Arc::new(LocalKey::new(Secret::new(&KEY).unwrap()));
        let signer = SignerId { chain_id, address: key.address() };
        for _ in 0..sent {
            let from = signer.address;
            anvil.send(&node::Call { from, to: Some(from), data: Bytes::new() }).await.unwrap();
        }
        if sent > 0 {
            anvil.mine(1).await.unwrap();
        }
        let bell = Bell::default();
        let acceptor = Intake::start(db.clone(), "node-0", [policy_of(signer, Vec::new())], bell.clone());
        let mut house = Self {
            anvil,
            db,
            urls,
            tail: Tail::default(),
            counter,
            signer,
            tenant,
            acceptor,
            key,
            bell,
            background: Vec::new(),
        };
        house.follow().await;
        house
    }

    /// Starts the ingest and the fold, and makes the signer known.
    async fn follow(&mut self) {
        let chain_id = self.signer.chain_id;
        let leases = Leases::connect(&self.db, "ingest", DEFAULT_TERM).await.unwrap();
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
        let pool = self.pool();
        let mut ingest = Ingest::new(
            config,
            pool,
            Contracts::default(),
            self.db.clone(),
            leases.clone(),
            self.tail.clone(),
        );
        self.spawn(async move |stop| {
            while let Err(error) = ingest.run(&stop).await {
                assert!(!error.is_fatal(), "{error}");
            }
        });
        let mut end = self.tail.subscribe(chain_id);
        tokio::time::timeout(HANGS_AFTER, end.wait_for(|end| end.block_number >= 1)).await.unwrap().unwrap();
        signers::register(&self.db, &[policy_of(self.signer, Vec::new())]).await.unwrap();
        let second = LocalKey::new(Secret::new(&SECOND_KEY).unwrap()).address();
        let fold = VerdictFold::new(chain_id, [self.signer.address, second], Some(self.bell.clone()));
        let mut runner = FoldRunner::new(fold, chain_id, self.db.clone(), leases, self.tail.clone());
        self.spawn(async move |stop| {
            while let Err(error) = runner.run(&stop).await {
                assert!(matches!(error, FoldError::Database(_) | FoldError::Lease(_)), "{error}");
            }
        });
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

    /// The same node, behind faults.
    pub(crate) fn faulty(&self) -> (Rpc, FaultHandle) {
        let endpoint = EndpointConfig {
            name: Some("faulty".into()),
            max_retries: 0,
            ..EndpointConfig::new(self.anvil.url())
        };
        let (transport, faults) = Faulty::new(open(&endpoint).unwrap());
        (Rpc::over(transport.boxed(), &endpoint), faults)
    }

    /// A first attempt for this request at this nonce.
    pub(crate) async fn attempt(&self, id: Uuid, request: &Request, nonce: u64) -> Attempt {
        let fees = Fees { max_fee_per_gas: 10_000_000_000, max_priority_fee_per_gas: Some(1_000_000_000) };
        let (chain_id, call) = (self.signer.chain_id, request.call.clone());
        let unsigned = Unsigned { chain_id, nonce, fees, gas_limit: 100_000, call };
        let signed = unsigned.signed(&self.key.sign(&unsigned.payload()).await.unwrap());
        Attempt {
            transaction_id: id,
            tenant_id: Some(self.tenant),
            nonce,
            number: 1,
            purpose: AttemptPurpose::Send,
            fees,
            gas_limit: 100_000,
            raw: signed.raw,
            tx_hash: signed.tx_hash,
            why: "a test".into(),
        }
    }

    /// Begins to work the signer, over these endpoints.
    pub(crate) async fn work(&self, node: &str, pool: Pool, options: DeskOptions) -> Working {
        let leases = Leases::connect(&self.db, node, Duration::from_secs(2)).await.unwrap();
        let book = PgBook::new(self.db.clone(), leases, node.into());
        let desk = Desk::new(
            self.signer.chain_id,
            Arc::clone(&self.key),
            options,
            Market::new(pool),
            book,
            self.bell.clone(),
        );
        let stop = CancellationToken::new();
        let until = stop.clone();
        Working { stop, task: tokio::spawn(async move { desk.run(&until).await }) }
    }

    /// Where tenants hand requests in, with these grants.
    pub(crate) fn intake(&self, grants: Vec<Grant>) -> Intake {
        Intake::start(self.db.clone(), "node-0", [policy_of(self.signer, grants)], self.bell.clone())
    }

    /// A request to count its id.
    pub(crate) fn request(&self) -> Request {
        let request_id = Uuid::new_v4();
        let mut context = Context::new(request_id, "test");
        context.tenant_id = Some(self.tenant);
        Request {
            context,
            operation_type: "count".into(),
            signer: self.signer,
            call: Call { to: Some(self.counter), value: U256::ZERO, data: calldata("perform", request_id) },
            gas_limit: Some(100_000),
            max_fee_limit: None,
            priority: 0,
            validity: Validity::default(),
            simulate: None,
        }
    }

    /// How often this request took effect, as the contract counted.
    pub(crate) async fn effects(&self, request_id: Uuid) -> u64 {
        let answer = self
            .anvil
            .call(self.counter, &calldata("performed", request_id), serde_json::json!("latest"))
            .await
            .unwrap();
        u64::try_from(U256::from_be_slice(&answer)).unwrap()
    }

    /// Refuses, or no longer.
    pub(crate) async fn refuse(&self, on: bool) {
        let from = self.anvil.accounts().await.unwrap()[3];
        let selector = &alloy_primitives::keccak256("setRefuses(bool)")[..4];
        let data = [selector, &B256::with_last_byte(u8::from(on))[..]].concat();
        let sent =
            self.anvil.send(&node::Call { from, to: Some(self.counter), data: data.into() }).await.unwrap();
        self.anvil.mine(1).await.unwrap();
        self.anvil.wait_receipt(sent).await.unwrap();
    }

    pub(crate) async fn state(&self, id: Uuid) -> TransactionState {
        sqlx::query_scalar("SELECT state FROM managed_transactions WHERE id = $1")
            .bind(id)
            .fetch_one(self.db.worker())
            .await
            .unwrap()
    }

    /// Waits until this is true of the database, and makes blocks meanwhile if told to.
    pub(crate) async fn until(&self, what: &str, mines: bool, statement: &'static str, id: Uuid) {
        let come = async {
            let mut looks = tokio::time::interval(Duration::from_millis(25));
            loop {
                let is_true: bool =
                    sqlx::query_scalar(statement).bind(id).fetch_one(self.db.worker()).await.unwrap();
                if is_true {
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
                sqlx::query_scalar("SELECT to_jsonb(t)::text FROM managed_transactions t WHERE id = $1")
                    .bind(id)
                    .fetch_one(self.db.worker())
                    .await
                    .unwrap();
            panic!("{what} does not come to pass: {row}");
        }
    }

    pub(crate) async fn until_state(&self, id: Uuid, state: TransactionState, mines: bool) {
        let statement = match state {
            TransactionState::Tracking => "SELECT state = 'tracking' FROM managed_transactions WHERE id = $1",
            TransactionState::Mined => "SELECT state = 'mined' FROM managed_transactions WHERE id = $1",
            TransactionState::Confirmed => {
                "SELECT state = 'confirmed' FROM managed_transactions WHERE id = $1"
            }
            TransactionState::Failed => "SELECT state = 'failed' FROM managed_transactions WHERE id = $1",
            TransactionState::Cancelled => {
                "SELECT state = 'cancelled' FROM managed_transactions WHERE id = $1"
            }
            TransactionState::Expired => "SELECT state = 'expired' FROM managed_transactions WHERE id = $1",
            TransactionState::Pending | TransactionState::Replaced => panic!("nobody waits for {state}"),
        };
        self.until(state.as_str(), mines, statement, id).await;
    }

    /// Waits until a node has its bytes.
    pub(crate) async fn until_taken(&self, id: Uuid) {
        let statement = "SELECT count(*) > 0 FROM transaction_broadcasts b JOIN transaction_attempts a USING (chain_id, tx_hash)
                         WHERE a.transaction_id = $1 AND b.answer IN ('accepted', 'already_known')";
        self.until("a node has it", false, statement, id).await;
    }

    /// A request whose inclusion is in the head, as the database knows.
    pub(crate) async fn mined_at_the_head(&self) -> (Request, Uuid) {
        let request = self.request();
        let id = self.acceptor.accept(request.clone()).await.unwrap().id;
        self.until_taken(id).await;
        self.anvil.mine(1).await.unwrap();
        self.until_state(id, TransactionState::Mined, false).await;
        (request, id)
    }

    /// The states that a transaction's history names, oldest first.
    pub(crate) async fn history(&self, id: Uuid) -> Vec<String> {
        sqlx::query_scalar(
            "SELECT payload ->> 'to' FROM (SELECT payload, target_id, version FROM events UNION ALL SELECT payload, target_id, version FROM events_staging) e
             WHERE target_id = $1::text ORDER BY version",
        )
        .bind(id)
        .fetch_all(self.db.worker())
        .await
        .unwrap()
    }

    pub(crate) async fn end(self) {
        for (stop, task) in self.background {
            stop.cancel();
            task.await.unwrap();
        }
        self.anvil.stop().await.unwrap();
    }
}

/// A call of the counter with a request's id.
pub(crate) fn calldata(function: &str, request_id: Uuid) -> Bytes {
    let signature = format!("{function}(bytes32)");
    let selector = &alloy_primitives::keccak256(signature)[..4];
    let id = FixedBytes::<16>::from_slice(request_id.as_bytes());
    [selector, &[0; 16], id.as_slice()].concat().into()
}

pub(crate) fn policy_of(signer: SignerId, grants: Vec<Grant>) -> SignerPolicy {
    SignerPolicy {
        name: "ops".into(),
        chain_id: signer.chain_id,
        address: signer.address,
        window: std::num::NonZeroU32::new(64).unwrap(),
        max_fee_per_gas_wei: None,
        on_foreign_use: ForeignUse::Requeue,
        grants,
    }
}
