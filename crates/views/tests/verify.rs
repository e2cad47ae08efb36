//! Verification against a real node: what it proves, what it finds, and what it does not claim.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use alloy_dyn_abi::DynSolValue;
use alloy_primitives::{Address, B256, U256};
use common::{uint, word};
use plimsoll_chain::abi::{Contract, Contracts};
use plimsoll_chain::transport::{self, Fault, Faulty};
use plimsoll_chain::{EndpointConfig, LogFilter, Rpc};
use plimsoll_journal::{
    ChainIdentity, Content, Event, Evidence, Filter, NewBlock, NewEvent, StepOptions, Tail, Writer, step,
};
use plimsoll_store::{Db, Leases, Partitions};
use plimsoll_testkit::anvil::{Anvil, AnvilOptions};
use plimsoll_testkit::deploy::Deployment;
use plimsoll_types::Completeness;
use plimsoll_views::verify::{VerifierOptions, VerifyError, VerifyOptions, VerifyReport, verify};
use plimsoll_views::{Verifier, ViewFold};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

struct Stage {
    anvil: Anvil,
    rpc: Rpc,
    db: Db,
    leases: Leases,
    writer: Writer,
    contracts: Contracts,
    deployment: Deployment,
    covered: Option<(u64, B256)>,
}

impl Stage {
    async fn new() -> Self {
        let anvil = Anvil::start(&AnvilOptions::default()).await.unwrap();
        let deployment = Deployment::deploy(&anvil, true).await.unwrap();
        let rpc = Rpc::connect(&EndpointConfig { max_retries: 0, ..EndpointConfig::new(anvil.url()) })
            .await
            .unwrap();
        let db = plimsoll_store::testing::db().await;
        let leases = Leases::connect(&db, "test", plimsoll_store::DEFAULT_TERM).await.unwrap();
        let lease = leases.acquire("ingest").await.unwrap().unwrap();
        let identity = ChainIdentity {
            chain_id: deployment.chain_id,
            name: "anvil".into(),
            genesis_hash: deployment.genesis_hash,
            start_block: deployment.start_block,
            confirmations: 2,
            finality: "1000 blocks".into(),
            filter: Filter::default(),
        };
        let writer = Writer::open(&db, lease, Tail::default(), &identity).await.unwrap();
        let mut partitions = Partitions::default();
        for table in ["view_apply_entries", "view_trail", "position_push_links"] {
            partitions.ensure(db.worker(), table, deployment.chain_id, 0, 1).await.unwrap();
        }
        let contracts = Contracts::new(deployment.manifest().map(|(name, address, abi)| {
            Contract::new(name, address, Uuid::nil(), deployment.start_block, abi)
        }));
        Self { anvil, rpc, db, leases, writer, contracts, deployment, covered: None }
    }

    async fn act(&self, from: Address, contract: &str, function: &str, arguments: &[DynSolValue]) {
        let call = self.deployment.call(from, contract, function, arguments);
        self.anvil.execute(function, &call, true).await.unwrap();
    }

    /// A row in every mirror, by way of the contracts themselves.
    async fn act_it_all(&self) {
        let (admin, user) = (self.deployment.admin, self.deployment.users[0]);
        let token = self.deployment.assets[0].token;
        let (who, what) = (DynSolValue::from(user), DynSolValue::from(token));
        for (seq, amount) in [(1, 5_000_000), (2, 1_000_000)] {
            let request = word(u8::try_from(seq).unwrap());
            self.act(user, "CollateralManager", "deposit", &[what.clone(), uint(amount), request, uint(seq)])
                .await;
        }
        self.act(user, "LendingEngineCore", "borrow", &[what.clone(), uint(1_000), word(3), uint(3)]).await;
        self.act(admin, "StatisticsView", "pushDegradation", &[who.clone(), word(4), uint(9), uint(0)]).await;
        self.act(admin, "ViewCache", "updateCache", std::slice::from_ref(&what)).await;
        self.act(
            admin,
            "AccessControlView",
            "pushPermission",
            &[who.clone(), word(5), DynSolValue::Bool(true)],
        )
        .await;
        self.act(
            admin,
            "AccessControlView",
            "pushPermissionLevel",
            &[who, DynSolValue::Uint(U256::from(3), 8)],
        )
        .await;
        let checked = DynSolValue::from(self.deployment.address("VaultRouter"));
        self.act(admin, "ModuleHealthView", "checkModule", &[checked]).await;
    }

    /// Brings what the node has beyond the journal into the journal, and the views in step.
    async fn follow(&mut self) {
        let head = self.rpc.head().await.unwrap().number;
        let filter = LogFilter::of_addresses(self.contracts.addresses());
        let from = self.covered.map_or(0, |(number, _)| number + 1);
        let mut contents = Vec::new();
        for number in from..=head {
            let header = self.rpc.header_by_number(number).await.unwrap().unwrap();
            let logs = self.rpc.logs_of_block(header.hash, &filter).await.unwrap();
            let events = logs.into_iter().map(|log| {
                let event = Event {
                    id: 0,
                    block_number: log.block_number,
                    block_hash: log.block_hash,
                    tx_hash: log.tx_hash,
                    tx_index: log.tx_index,
                    log_index: log.log_index,
                    contract: log.address,
                    topics: log.topics,
                    data: log.data,
                };
                NewEvent { event, decoding: None }
            });
            contents.push(Content {
                events: events.collect(),
                transactions: Vec::new(),
                evidence: Evidence { level: Completeness::Trusted, endpoint: "the node".into() },
                block: NewBlock {
                    number,
                    hash: header.hash,
                    parent_hash: header.parent_hash,
                    timestamp: header.timestamp,
                },
            });
        }
        let last = contents.last().map(|content| (content.block.number, content.block.hash));
        self.writer.replace_above(self.covered, contents, None, None).await.unwrap();
        self.covered = last.or(self.covered);
        let mut fold = ViewFold::new(self.deployment.chain_id, &self.contracts);
        let options = StepOptions { max_records: 1_000, up_to_seq: None, tail: None, lease: None };
        while step(&mut fold, &self.db, self.deployment.chain_id, options).await.unwrap().records > 0 {}
    }

    async fn verify(&self, contracts: &Contracts) -> Result<VerifyReport, VerifyError> {
        let options = VerifyOptions { page_rows: 3, ..VerifyOptions::default() };
        verify(&self.db, &self.rpc.clone().into(), self.deployment.chain_id, contracts, options, |_| {}).await
    }

    async fn spoil(&self) {
        let spoilt = sqlx::query("UPDATE position_cache_mirror SET debt = debt + 7")
            .execute(self.db.worker())
            .await
            .unwrap();
        assert_eq!(spoilt.rows_affected(), 1);
    }
}

#[tokio::test]
async fn every_mirror_of_a_real_chain_is_proved_by_its_contracts_and_a_changed_row_is_found() {
    let mut stage = Stage::new().await;
    stage.act_it_all().await;
    stage.follow().await;
    let views: Vec<String> = sqlx::query_scalar("SELECT DISTINCT view FROM view_mirror ORDER BY view")
        .fetch_all(stage.db.worker())
        .await
        .unwrap();
    assert_eq!(
        views,
        [
            "asset_stats",
            "degradation_stats",
            "health_factor",
            "module_health",
            "module_health_check",
            "permission",
            "permission_level",
            "system_snapshot"
        ]
    );
    // The chain moves on: the proof is of the watermark's block, not of the head.
    let proved = stage.verify(&stage.contracts).await.unwrap();
    assert!(proved.is_proven() && proved.rows == 9, "{proved}");
    stage.act_it_all().await;
    let proved = stage.verify(&stage.contracts).await.unwrap();
    assert!(proved.is_proven(), "{proved}");

    stage.spoil().await;
    let report = stage.verify(&stage.contracts).await.unwrap();
    assert_eq!(
        (report.rows, report.equal, report.mismatched_rows, report.unverified_rows),
        (9, 8, 1, 0),
        "{report}"
    );
    let difference = &report.mismatches[0].differences[..];
    assert_eq!((difference[0].field.as_str(), difference.len()), ("debt", 1));
    assert_eq!((&difference[0].mirror, &difference[0].chain), (&"1007".into(), &"1000".into()));
}

#[tokio::test]
async fn a_node_that_contradicts_itself_proves_no_difference() {
    let mut stage = Stage::new().await;
    stage.act_it_all().await;
    stage.follow().await;
    let config = EndpointConfig { max_retries: 0, ..EndpointConfig::new(stage.anvil.url()) };
    let (transport, faults) = Faulty::new(transport::open(&config).unwrap());
    stage.rpc = Rpc::over(transport.boxed(), &config);
    // By this much another last digit: a digit of its own might be the true one.
    let lie = |text: Value, by: u8| {
        let (rest, last) = text.as_str().unwrap().split_at(text.as_str().unwrap().len() - 1);
        Value::from(format!("{rest}{:x}", u8::from_str_radix(last, 16).unwrap() ^ by))
    };

    // Once, as from a block that is being made: asked again, it tells the truth.
    faults.next("eth_call", 1, Fault::Rewrite(Arc::new(move |text| lie(text, 1))));
    let report = stage.verify(&stage.contracts).await.unwrap();
    assert!(report.is_proven(), "{report}");
    // As from a block whose making takes longer than a moment: as long as it is the next one, that counts for nothing.
    faults.next("eth_call", 3, Fault::Rewrite(Arc::new(move |text| lie(text, 1))));
    let report = stage.verify(&stage.contracts).await.unwrap();
    assert!(report.is_proven(), "{report}");
    // The same each time: that is what the contract says.
    faults.next("eth_call", 1_000, Fault::Rewrite(Arc::new(move |text| lie(text, 1))));
    let report = stage.verify(&stage.contracts).await.unwrap();
    assert_eq!((report.rows, report.equal), (9, 0), "{report}");
    assert!(report.mismatched_rows > 0, "{report}");
    // With a block on top, twice is enough.
    faults.clear();
    stage.anvil.mine(1).await.unwrap();
    faults.next("eth_call", 2, Fault::Rewrite(Arc::new(move |text| lie(text, 1))));
    let report = stage.verify(&stage.contracts).await.unwrap();
    assert_eq!(
        (report.rows, report.equal, report.unverified_rows),
        (9, 9 - report.mismatched_rows, 0),
        "{report}"
    );
    assert!(report.mismatched_rows > 0, "{report}");
    // Another each time: nothing is known.
    let told = AtomicU8::new(0);
    let other = move |text| lie(text, told.fetch_add(1, Ordering::Relaxed) % 15 + 1);
    faults.next("eth_call", 1_000, Fault::Rewrite(Arc::new(other)));
    let pool = stage.rpc.clone().into();
    let report = verify(
        &stage.db,
        &pool,
        stage.deployment.chain_id,
        &stage.contracts,
        VerifyOptions::default(),
        |_| {},
    );
    let report = report.await.unwrap();
    assert_eq!((report.mismatched_rows, report.is_proven()), (0, false), "{report}");
}

#[tokio::test]
async fn a_row_that_lacks_a_field_is_no_equal_row() {
    let mut stage = Stage::new().await;
    stage.act_it_all().await;
    stage.follow().await;
    for (lost, statement) in [
        (1, "UPDATE view_mirror SET value = value - 'failures' WHERE view = 'module_health_check'"),
        (8, "UPDATE view_mirror SET value = '{}'"),
    ] {
        sqlx::query(statement).execute(stage.db.worker()).await.unwrap();
        let report = stage.verify(&stage.contracts).await.unwrap();
        assert_eq!((report.equal, report.mismatched_rows), (9 - lost, lost), "{report}");
        assert!(
            report.mismatches.iter().flat_map(|row| &row.differences).all(|field| field.mirror.is_null())
        );
    }
}

#[tokio::test]
async fn what_cannot_be_compared_is_unverified_and_never_equal() {
    let mut stage = Stage::new().await;
    stage.act_it_all().await;
    stage.follow().await;

    let fewer =
        Contracts::new(stage.contracts.iter().filter(|contract| &*contract.name != "HealthView").cloned());
    let report = stage.verify(&fewer).await.unwrap();
    assert_eq!((report.equal, report.unverified_rows), (7, 2), "{report}");
    assert!(report.unverified[0].reason.contains("not followed"), "{report}");

    let mut abi = (*stage.contracts.get(&stage.deployment.address("PositionView")).unwrap().abi).clone();
    abi.functions.remove("getUserPositionWithVersion");
    let mute = Contracts::new(stage.contracts.iter().map(|contract| {
        let abi = if &*contract.name == "PositionView" { abi.clone().into() } else { contract.abi.clone() };
        Contract::new(&contract.name, contract.address, Uuid::nil(), 0, abi)
    }));
    let report = stage.verify(&mute).await.unwrap();
    assert_eq!((report.equal, report.unverified_rows), (8, 1), "{report}");
    assert!(
        report.unverified[0].reason.contains("no getter getUserPositionWithVersion(address,address)"),
        "{report}"
    );

    // The watermark's block leaves the chain and the fold does not follow: nothing is known of any row.
    stage.anvil.reorg(1, &[]).await.unwrap();
    let report = stage.verify(&stage.contracts).await.unwrap();
    assert_eq!((report.rows, report.equal, report.unverified_rows), (9, 0, 9), "{report}");
}

#[tokio::test]
async fn a_limited_verification_checks_the_first_rows_by_key_and_claims_nothing_of_the_rest() {
    let mut stage = Stage::new().await;
    stage.act_it_all().await;
    stage.follow().await;
    let limited = async |max_rows| {
        let options = VerifyOptions { page_rows: 3, max_rows: Some(max_rows) };
        let chain_id = stage.deployment.chain_id;
        verify(&stage.db, &stage.rpc.clone().into(), chain_id, &stage.contracts, options, |_| {})
            .await
            .unwrap()
    };
    for (max_rows, rows, unchecked) in [(0, 0, 9), (1, 1, 8), (4, 4, 5), (9, 9, 0), (10, 9, 0)] {
        let report = limited(max_rows).await;
        assert_eq!((report.rows, report.equal, report.unchecked_rows), (rows, rows, unchecked), "{report}");
        assert_eq!((report.partial, report.is_proven()), (unchecked > 0, unchecked == 0), "{report}");
    }
    // Positions come first.
    stage.spoil().await;
    assert_eq!(limited(1).await.mismatched_rows, 1);
}

#[tokio::test]
async fn a_node_that_is_gone_ends_the_verification() {
    let mut stage = Stage::new().await;
    stage.act_it_all().await;
    stage.follow().await;
    let Stage { anvil, rpc, db, contracts, deployment, .. } = stage;
    anvil.stop().await.unwrap();
    let options = VerifyOptions { page_rows: 2, ..VerifyOptions::default() };
    let error = verify(&db, &rpc.into(), deployment.chain_id, &contracts, options, |_| {}).await.unwrap_err();
    assert!(matches!(error, VerifyError::Rpc(_)), "{error}");
}

#[tokio::test]
async fn the_continuous_verification_puts_a_mismatch_on_record_once() {
    let mut stage = Stage::new().await;
    stage.act_it_all().await;
    stage.follow().await;
    stage.spoil().await;
    let cancel = CancellationToken::new();
    let options = VerifierOptions { rows_per_s: 10_000, page_rows: 100 };
    let parts = (stage.db.clone(), stage.rpc.clone(), stage.leases.clone());
    let mut verifier =
        Verifier::new(parts.0, parts.1, parts.2, stage.deployment.chain_id, &stage.contracts, options);
    let stop = cancel.clone();
    let running = tokio::spawn(async move { verifier.run(&stop).await });
    let noticed = loop {
        let noticed: Vec<(String, Value)> =
            sqlx::query_as("SELECT kind, detail FROM anomalies WHERE source = 'verify'")
                .fetch_all(stage.db.worker())
                .await
                .unwrap();
        if !noticed.is_empty() {
            break noticed;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!((noticed.len(), noticed[0].0.as_str()), (1, "mirror_mismatch"));
    assert_eq!(noticed[0].1["differences"][0]["field"], "debt");
    cancel.cancel();
    running.await.unwrap().unwrap();
    assert!(
        stage.leases.acquire(&format!("verify:views:{}", stage.deployment.chain_id)).await.unwrap().is_some()
    );
}
