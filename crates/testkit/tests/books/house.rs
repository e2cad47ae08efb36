//! A chain with the demo's contracts, an ingest that follows it, and the books that are kept from it.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use alloy_dyn_abi::DynSolValue;
use alloy_primitives::{Address, B256, Bytes, U256};
use plimsoll_chain::abi::{Contract, Contracts};
use plimsoll_chain::interval::IntervalPolicy;
use plimsoll_chain::transport::{Fault, Faulty};
use plimsoll_chain::{EndpointConfig, Pool, Rpc, transport};
use plimsoll_ingest::{Finality, Ingest, IngestConfig};
use plimsoll_journal::{FoldError, Step, StepOptions, Tail, step};
use plimsoll_ledger::chain::check::{BalanceReport, check};
use plimsoll_ledger::chain::dry_run::{DryRun, dry_run};
use plimsoll_ledger::chain::{BalanceChecker, Books, BooksFold, lease_name};
use plimsoll_ledger::rules::Rule;
use plimsoll_store::{DEFAULT_TERM, Db, Leases};
use plimsoll_testkit::anvil::{Anvil, AnvilOptions};
use plimsoll_testkit::deploy::Deployment;
use plimsoll_types::{Amount, Completeness, address_text};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// What has not come to pass by then never will.
const HANGS_AFTER: Duration = Duration::from_secs(120);
/// How deep a block lies when it is booked.
pub(crate) const CONFIRMATIONS: u64 = 2;
/// How deep a reorganisation may go.
pub(crate) const FINALITY_DEPTH: u64 = 40;

pub(crate) struct House {
    pub(crate) anvil: Anvil,
    pub(crate) deployment: Arc<Deployment>,
    pub(crate) db: Db,
    pub(crate) leases: Leases,
    contracts: Contracts,
    pub(crate) pool: Pool,
    tail: Tail,
    ingest: Option<AbortOnDropHandle<()>>,
    pub(crate) fold: BooksFold,
}

impl House {
    pub(crate) async fn build() -> Self {
        let (anvil, deployment) = ground().await;
        Self::on(anvil, deployment, Completeness::Bloom, None).await
    }

    /// On a chain that is there; where the node's receipts are to say something else, they are rewritten.
    pub(crate) async fn on(
        anvil: Anvil,
        deployment: Arc<Deployment>,
        backfill_completeness: Completeness,
        receipts: Option<Fault>,
    ) -> Self {
        let db = plimsoll_store::testing::db().await;
        sqlx::query("INSERT INTO tenants (tenant_id, name) VALUES ($1, 'demo')")
            .bind(deployment.tenant_id())
            .execute(db.worker())
            .await
            .unwrap();
        let contracts = Contracts::new(deployment.manifest().map(|(name, address, abi)| {
            Contract::new(name, address, deployment.tenant_id(), deployment.start_block, abi)
        }));
        let endpoint = EndpointConfig::new(anvil.url());
        let (transport, faults) = Faulty::new(transport::open(&endpoint).unwrap());
        if let Some(receipts) = receipts {
            for method in ["eth_getBlockReceipts", "eth_getTransactionReceipt"] {
                faults.next(method, u64::MAX, receipts.clone());
            }
        }
        let rpc = Rpc::over(transport.boxed(), &endpoint);
        let pool = Pool::new(vec![rpc]).unwrap();
        let leases = Leases::connect(&db, "test", DEFAULT_TERM).await.unwrap();
        let tail = Tail::default();
        let config = IngestConfig {
            chain_id: deployment.chain_id,
            name: "anvil".into(),
            confirmations: CONFIRMATIONS,
            finality: Finality::Depth(FINALITY_DEPTH),
            head_completeness: Completeness::Receipts,
            backfill_completeness,
            poll_interval: Duration::from_millis(20),
            watched_senders: [deployment.admin, deployment.keeper]
                .map(|it| (it, deployment.start_block))
                .into(),
            ranges_in_flight: 2,
            range: IntervalPolicy::default(),
        };
        let mut follower =
            Ingest::new(config, pool.clone(), contracts.clone(), db.clone(), leases.clone(), tail.clone());
        let ingest = AbortOnDropHandle::new(tokio::spawn(async move {
            while let Err(error) = follower.run(&CancellationToken::new()).await {
                assert!(!error.is_fatal(), "{error}");
            }
        }));
        let fold = fold(&deployment, &contracts, &pool);
        Self { anvil, deployment, db, leases, contracts, pool, tail, ingest: Some(ingest), fold }
    }

    /// The journal gets nothing more.
    pub(crate) fn stop_following(&mut self) {
        self.ingest = None;
    }

    /// The fold's memory is gone, as after a crash.
    pub(crate) fn restart_fold(&mut self) {
        self.fold = fold(&self.deployment, &self.contracts, &self.pool);
    }

    /// The journal ends with the node's last block.
    pub(crate) async fn followed(&self) {
        let mut end = self.tail.subscribe(self.deployment.chain_id);
        let caught_up = async {
            loop {
                let number = self.anvil.block_number().await.unwrap();
                let hash = self.anvil.block_hash(number).await.unwrap().unwrap();
                let head: Option<Vec<u8>> = sqlx::query_scalar("SELECT head_hash FROM chains")
                    .fetch_optional(self.db.worker())
                    .await
                    .unwrap()
                    .flatten();
                if head.as_deref() == Some(hash.as_slice()) {
                    return;
                }
                end.changed().await.unwrap();
            }
        };
        tokio::time::timeout(HANGS_AFTER, caught_up).await.expect("the ingest follows");
    }

    pub(crate) async fn step(&mut self, max_records: usize) -> Result<Step, FoldError> {
        let options = StepOptions { max_records, up_to_seq: None, tail: None, lease: None };
        step(&mut self.fold, &self.db, self.deployment.chain_id, options).await
    }

    /// The fold has taken all that the journal has.
    pub(crate) async fn folded(&mut self) {
        while self.step(1_000).await.unwrap().records > 0 {}
    }

    /// The fold begins at the journal's first record again.
    pub(crate) async fn refold(&mut self) {
        sqlx::query("DELETE FROM fold_undo").execute(self.db.worker()).await.unwrap();
        sqlx::query(
            "UPDATE fold_cursors SET seq = 0, final_number = -1, block_number = NULL, block_hash = NULL",
        )
        .execute(self.db.worker())
        .await
        .unwrap();
        self.restart_fold();
        self.folded().await;
    }

    pub(crate) async fn compared(&self, tolerance: u64) -> BalanceReport {
        check(&self.db, &self.pool, self.deployment.chain_id, Amount::from(tolerance)).await.unwrap()
    }

    /// One round of the continuous comparison.
    pub(crate) async fn compare_and_settle(&self) -> BalanceReport {
        let chain_id = self.deployment.chain_id;
        let lease = self.leases.acquire(&lease_name(chain_id)).await.unwrap().unwrap();
        let checker = BalanceChecker::new(self.db.clone(), self.pool.clone(), self.leases.clone(), chain_id);
        let report = checker.round(&lease).await.unwrap();
        lease.release().await.unwrap();
        report
    }

    /// What these rules would have booked of all that there is.
    pub(crate) async fn dry_run(&self, rules: &'static [Rule]) -> DryRun {
        let books = books(&self.deployment);
        dry_run(&self.db, books, &self.contracts, rules, 0..=u64::MAX).await.unwrap()
    }

    /// The block that the books stand at.
    pub(crate) async fn stands_at(&self) -> (u64, B256) {
        let (number, hash): (i64, Vec<u8>) =
            sqlx::query_as("SELECT block_number, block_hash FROM chain_books")
                .fetch_one(self.db.worker())
                .await
                .unwrap();
        (number.cast_unsigned(), B256::from_slice(&hash))
    }

    /// What each account with this name holds in the books, on its normal side, by its currency; nothing where it is not open.
    pub(crate) async fn holds(&self, name: &str, currency: &str) -> String {
        let held: Option<String> = sqlx::query_scalar(
            "SELECT (CASE WHEN class IN ('asset', 'expense') THEN raw_balance ELSE -raw_balance END)::text FROM accounts JOIN asset_balances USING (account_id)
             WHERE name = $1 AND currency = $2",
        )
        .bind(name)
        .bind(currency)
        .fetch_optional(self.db.worker())
        .await
        .unwrap();
        held.unwrap_or_else(|| "0".into())
    }

    /// Every balance that the books have is what the node says of the block that they stand at, asked by the test itself.
    pub(crate) async fn agrees_to_the_last_unit(&self) {
        let (_, hash) = self.stands_at().await;
        let at = json!({ "blockHash": hash });
        let chain = self.deployment.chain_id;
        let text = |at: Address| address_text(&at);
        let (manager, engine) =
            (self.deployment.address("CollateralManager"), self.deployment.address("LendingEngineCore"));
        let mut differences = BTreeMap::new();
        for asset in &self.deployment.assets {
            let currency = format!("eip155:{chain}/erc20:{}", text(asset.token));
            for user in &self.deployment.users {
                let key = [DynSolValue::Address(*user), DynSolValue::Address(asset.token)];
                for (name, contract, getter, place) in [
                    ("collateral", "CollateralManager", "getCollateral", manager),
                    ("debt", "LendingEngineCore", "getDebt", engine),
                ] {
                    let said =
                        self.deployment.read(&self.anvil, contract, getter, &key, at.clone()).await.unwrap();
                    let said = said[0].as_uint().unwrap().0;
                    let name = format!("{name} of {} at {}", text(*user), text(place));
                    let held = self.holds(&name, &currency).await;
                    if held != said.to_string() {
                        differences.insert((name, asset.symbol.clone()), (held, said));
                    }
                }
            }
            for holder in [manager, engine] {
                let data: Bytes =
                    [&[0x70, 0xa0, 0x82, 0x31][..], holder.into_word().as_slice()].concat().into();
                let said = self.anvil.call(asset.token, &data, at.clone()).await.unwrap();
                let (name, said) = (format!("held by {}", text(holder)), U256::from_be_slice(&said));
                let held = self.holds(&name, &currency).await;
                if held != said.to_string() && self.is_open(&name, &currency).await {
                    differences.insert((name, asset.symbol.clone()), (held, said));
                }
            }
        }
        for sender in [self.deployment.admin, self.deployment.keeper] {
            let said: U256 = self.anvil.request("eth_getBalance", json!([sender, at])).await.unwrap();
            let name = format!("native coin of {}", text(sender));
            let currency = format!("eip155:{chain}/slip44:60");
            let held = self.holds(&name, &currency).await;
            if held != said.to_string() && self.is_open(&name, &currency).await {
                differences.insert((name, "native".into()), (held, said));
            }
        }
        assert_eq!(differences, BTreeMap::new());
    }

    async fn is_open(&self, name: &str, currency: &str) -> bool {
        self.count(&format!(
            "SELECT count(*) FROM accounts WHERE name = '{name}' AND currency = '{currency}'"
        ))
        .await
            > 0
    }

    /// What must be so whatever happened: sums of nothing, and balances that are the sums of their lines.
    pub(crate) async fn sums_are_zero(&self) {
        for (what, count) in [
            ("unbalanced", "SELECT count(*) FROM (SELECT currency FROM ledger_entries GROUP BY posting_id, currency HAVING sum(debit) <> sum(credit)) it"),
            ("currencies", "SELECT count(*) FROM (SELECT token_address FROM asset_balances GROUP BY tenant_id, token_address HAVING sum(raw_balance) <> 0) it"),
            (
                "drifted",
                "SELECT count(*) FROM asset_balances b LEFT JOIN (SELECT account_id, sum(debit - credit) AS sum, count(*) AS lines FROM ledger_entries GROUP BY account_id) e USING (account_id)
                 WHERE b.raw_balance <> COALESCE(e.sum, 0) OR b.version <> COALESCE(e.lines, 0)",
            ),
        ] {
            assert_eq!(self.count(count).await, 0, "{what}");
        }
    }

    /// One number.
    pub(crate) async fn count(&self, of: &str) -> i64 {
        sqlx::query_scalar(sqlx::AssertSqlSafe(of.to_owned())).fetch_one(self.db.worker()).await.unwrap()
    }

    /// Transactions from these accounts on the way to a block, which is made.
    pub(crate) async fn act(&self, calls: &[plimsoll_testkit::node::Call]) {
        for call in calls {
            self.anvil.send(call).await.unwrap();
        }
        self.anvil.mine(1).await.unwrap();
    }
}

/// A chain with the contracts.
pub(crate) async fn ground() -> (Anvil, Arc<Deployment>) {
    let anvil = Anvil::start(&AnvilOptions { accounts: 6, ..AnvilOptions::default() }).await.unwrap();
    let deployment = Arc::new(Deployment::deploy(&anvil, true).await.unwrap());
    (anvil, deployment)
}

fn books(deployment: &Deployment) -> Books {
    Books {
        chain_id: deployment.chain_id,
        tenant_id: deployment.tenant_id(),
        gas_payers: HashSet::from([deployment.admin, deployment.keeper]),
    }
}

fn fold(deployment: &Deployment, contracts: &Contracts, pool: &Pool) -> BooksFold {
    BooksFold::new(books(deployment), contracts).asking(pool.clone())
}
