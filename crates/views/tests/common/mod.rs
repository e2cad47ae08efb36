//! A journal that a test writes by hand, on a database of its own, with the views folded over it.

#![allow(dead_code, missing_docs, unreachable_pub, clippy::unwrap_used)]

use std::sync::Arc;

use alloy_dyn_abi::DynSolValue;
use alloy_json_abi::JsonAbi;
use alloy_primitives::{Address, B256, I256, U256, keccak256};
use plimsoll_chain::abi::{Contract, Contracts};
use plimsoll_journal::{
    ChainIdentity, Content, Decoding, Event, Evidence, Filter, NewBlock, NewEvent, Range, StepOptions, Tail,
    Writer, step,
};
use plimsoll_store::{Db, Leases, Partitions};
use plimsoll_types::Completeness;
use plimsoll_views::ViewFold;
use sqlx::AssertSqlSafe;
use uuid::Uuid;

pub const CHAIN_ID: u64 = 31_337;

const ARTIFACTS: &[(&str, &str)] = &[
    ("PositionView", include_str!("../../../../contracts/artifacts/PositionView.json")),
    ("VaultRouter", include_str!("../../../../contracts/artifacts/VaultRouter.json")),
    ("LendingEngineCore", include_str!("../../../../contracts/artifacts/LendingEngineCore.json")),
    ("LiquidationDebtManager", include_str!("../../../../contracts/artifacts/LiquidationDebtManager.json")),
    ("CollateralManager", include_str!("../../../../contracts/artifacts/CollateralManager.json")),
    ("StatisticsView", include_str!("../../../../contracts/artifacts/StatisticsView.json")),
    ("HealthView", include_str!("../../../../contracts/artifacts/HealthView.json")),
    ("ViewCache", include_str!("../../../../contracts/artifacts/ViewCache.json")),
    ("AccessControlView", include_str!("../../../../contracts/artifacts/AccessControlView.json")),
    ("FeeRouterView", include_str!("../../../../contracts/artifacts/FeeRouterView.json")),
    ("ModuleHealthView", include_str!("../../../../contracts/artifacts/ModuleHealthView.json")),
    ("EventHistoryManager", include_str!("../../../../contracts/artifacts/EventHistoryManager.json")),
    ("MockERC20", include_str!("../../../../contracts/artifacts/MockERC20.json")),
];

pub fn contracts() -> Contracts {
    Contracts::new(ARTIFACTS.iter().map(|(name, artifact)| {
        let artifact: serde_json::Value = serde_json::from_str(artifact).unwrap();
        let abi: JsonAbi = serde_json::from_value(artifact["abi"].clone()).unwrap();
        Contract::new(name, address_of(name), Uuid::from_u128(1), 0, Arc::new(abi))
    }))
}

pub fn address_of(contract: &str) -> Address {
    let at = ARTIFACTS.iter().position(|(name, _)| *name == contract).unwrap();
    Address::with_last_byte(0xc0 + u8::try_from(at).unwrap())
}

pub fn user(n: u8) -> Address {
    Address::repeat_byte(n)
}

pub fn asset(n: u8) -> Address {
    Address::repeat_byte(0xa0 + n)
}

pub fn uint(value: u64) -> DynSolValue {
    DynSolValue::Uint(U256::from(value), 256)
}

pub fn int(value: i64) -> DynSolValue {
    DynSolValue::Int(I256::try_from(value).unwrap(), 256)
}

pub fn word(byte: u8) -> DynSolValue {
    DynSolValue::FixedBytes(B256::repeat_byte(byte), 32)
}

/// A log of transaction `tx` of its block.
#[derive(Clone, Debug)]
pub struct Log {
    pub tx: u8,
    pub contract: Address,
    pub topics: Vec<B256>,
    pub data: Vec<u8>,
}

/// A log of a contract's event, encoded by the contract's own ABI.
pub fn log(tx: u8, contract: &str, event: &str, values: &[DynSolValue]) -> Log {
    let contracts = contracts();
    let contract = contracts.get(&address_of(contract)).unwrap();
    let event = contract.abi.events().find(|declared| declared.name == event).unwrap();
    assert_eq!(event.inputs.len(), values.len(), "{}", event.signature());
    let mut topics = vec![event.selector()];
    let mut body = Vec::new();
    for (input, value) in event.inputs.iter().zip(values) {
        if input.indexed {
            topics.push(value.as_word().unwrap());
        } else {
            body.push(value.clone());
        }
    }
    Log { tx, contract: contract.address, topics, data: DynSolValue::Tuple(body).abi_encode_params() }
}

pub fn cached(tx: u8, who: u8, what: u8, collateral: u64, debt: u64, version: u64) -> Log {
    let key = [user(who).into(), asset(what).into()];
    log(
        tx,
        "PositionView",
        "UserPositionCachedV2",
        &[&key[..], &[uint(collateral), uint(debt), uint(version), uint(0)]].concat(),
    )
}

pub fn pushed(tx: u8, who: u8, what: u8, collateral: u64, debt: u64, request: u8, seq: u64) -> Log {
    let key = [user(who).into(), asset(what).into()];
    let rest = [uint(collateral), uint(debt), uint(0), word(request), uint(seq)];
    log(tx, "VaultRouter", "UserPositionPushed", &[&key[..], &rest].concat())
}

pub fn failed(tx: u8, who: u8, what: u8, reason: &[u8]) -> Log {
    let key = [user(who).into(), asset(what).into()];
    let rest = [address_of("PositionView").into(), uint(1), uint(2), DynSolValue::Bytes(reason.to_vec())];
    log(tx, "LendingEngineCore", "CacheUpdateFailed", &[&key[..], &rest].concat())
}

pub fn replayed(tx: u8, who: u8, what: u8, request: u8, seq: u64) -> Log {
    log(
        tx,
        "PositionView",
        "IdempotentRequestIgnored",
        &[user(who).into(), asset(what).into(), word(request), uint(seq)],
    )
}

/// As ingest has it.
fn decoding(event: &Event) -> Option<Decoding> {
    let decoded = contracts()
        .decode(&event.contract, &event.topics, &event.data, &event.tx_hash, event.log_index)
        .expect("the scenes' logs are what their ABI says")?;
    let mut payload = Vec::new();
    decoded.write_json(&mut payload);
    Some(Decoding {
        request_id: decoded.request_id().map(|id| id.to_string()),
        seq: decoded.seq(),
        event_name: decoded.name,
        payload,
    })
}

/// A journal and the fold over it.
pub struct Scene {
    pub db: Db,
    pub fold: ViewFold,
    pub chain_id: u64,
    pub canonical: Vec<NewBlock>,
    /// All that is in the canonical blocks, whatever of it the journal was given.
    chain: Vec<Content>,
    writer: Writer,
    _leases: Leases,
}

impl Scene {
    pub async fn new() -> Self {
        Self::on(plimsoll_store::testing::db().await, CHAIN_ID).await
    }

    pub async fn on(db: Db, chain_id: u64) -> Self {
        let leases = Leases::connect(&db, "test", plimsoll_store::DEFAULT_TERM).await.unwrap();
        let lease = leases.acquire(&format!("ingest:{chain_id}")).await.unwrap().unwrap();
        let identity = ChainIdentity {
            chain_id,
            name: "test".into(),
            genesis_hash: B256::ZERO,
            start_block: 0,
            confirmations: 2,
            finality: "1000 blocks".into(),
            filter: Filter::default(),
        };
        let writer = Writer::open(&db, lease, Tail::default(), &identity).await.unwrap();
        let mut partitions = Partitions::default();
        for table in ["view_apply_entries", "view_trail", "position_push_links"] {
            partitions.ensure(db.worker(), table, chain_id, 0, 1).await.unwrap();
        }
        let fold = ViewFold::new(chain_id, &contracts());
        Self { db, fold, chain_id, canonical: Vec::new(), chain: Vec::new(), writer, _leases: leases }
    }

    fn content(&self, number: u64, parent: B256, logs: &[Log], salt: u8) -> Content {
        let hash = keccak256(format!("{} {number} {salt} {logs:?} {parent}", self.chain_id));
        let events = logs.iter().enumerate().map(|(i, log)| {
            let event = Event {
                id: 0,
                block_number: number,
                block_hash: hash,
                tx_hash: keccak256([hash.as_slice(), &[log.tx]].concat()),
                tx_index: log.tx.into(),
                log_index: u32::try_from(i).unwrap(),
                contract: log.contract,
                topics: plimsoll_chain::Topics::new(&log.topics).unwrap(),
                data: log.data.clone().into(),
            };
            NewEvent { decoding: decoding(&event), event }
        });
        let block = NewBlock { number, hash, parent_hash: parent, timestamp: 1_700_000_000 + number };
        let evidence = Evidence { level: Completeness::Trusted, endpoint: "none".into() };
        Content { block, events: events.collect(), transactions: Vec::new(), evidence }
    }

    /// Takes back the newest `depth` blocks and appends these.
    pub async fn switch(&mut self, depth: usize, blocks: &[Vec<Log>], salt: u8, finalize: Option<u64>) {
        self.switch_keeping(depth, blocks, salt, finalize, |_| true).await;
    }

    /// The same, of which only the logs of some contracts are asked for.
    pub async fn switch_keeping(
        &mut self,
        depth: usize,
        blocks: &[Vec<Log>],
        salt: u8,
        finalize: Option<u64>,
        is_asked_for: impl Fn(Address) -> bool,
    ) {
        self.canonical.truncate(self.canonical.len() - depth);
        self.chain.truncate(self.canonical.len());
        let ancestor = self.canonical.last().map(|block| (block.number, block.hash));
        let mut contents: Vec<Content> = Vec::new();
        for logs in blocks {
            let parent = contents.last().map(|content| &content.block).or(self.canonical.last());
            let (number, parent) = parent.map_or((0, B256::ZERO), |parent| (parent.number + 1, parent.hash));
            contents.push(self.content(number, parent, logs, salt));
        }
        self.canonical.extend(contents.iter().map(|content| content.block.clone()));
        self.chain.extend(contents.iter().cloned());
        contents.iter_mut().for_each(|content| content.events.retain(|new| is_asked_for(new.event.contract)));
        self.writer.replace_above(ancestor, contents, None, finalize).await.unwrap();
    }

    /// All of these canonical blocks is asked for, late. How many records that makes.
    pub async fn late(&mut self, from: usize, to: usize) -> usize {
        let blocks = &self.chain[from..=to];
        let range = Range {
            from: from as u64,
            end: blocks.last().unwrap().block.clone(),
            hashes: blocks.iter().map(|content| content.block.hash).collect(),
            blocks: Vec::new(),
            events: blocks.iter().flat_map(|content| content.events.clone()).collect(),
            transactions: Vec::new(),
            evidence: Evidence { level: Completeness::Trusted, endpoint: "none".into() },
        };
        self.writer.append_late(&Filter::default(), range).await.unwrap()
    }

    /// Appends blocks.
    pub async fn extend(&mut self, blocks: &[Vec<Log>]) {
        self.switch(0, blocks, 0, None).await;
    }

    /// Folds all that the journal has.
    pub async fn fold(&mut self) {
        self.fold_by(10_000).await;
    }

    pub async fn fold_by(&mut self, max_records: usize) {
        let options = StepOptions { max_records, up_to_seq: None, tail: None, lease: None };
        while step(&mut self.fold, &self.db, self.chain_id, options).await.unwrap().records > 0 {}
    }

    /// The rows of a table as JSON text without the given columns, in order.
    pub async fn dump(&self, table: &str, without: &[&str]) -> Vec<String> {
        let row =
            without.iter().fold("to_jsonb(t)".to_owned(), |row, column| format!("({row} - '{column}')"));
        let statement = format!("SELECT {row}::text FROM {table} t WHERE chain_id = $1 ORDER BY 1");
        sqlx::query_scalar(AssertSqlSafe(statement))
            .bind(i64::try_from(self.chain_id).unwrap())
            .fetch_all(self.db.worker())
            .await
            .unwrap()
    }

    /// Everything that a retraction must restore.
    pub async fn mirrors(&self) -> Vec<String> {
        let mut all = Vec::new();
        for table in ["position_cache_mirror", "view_mirror", "view_trail", "position_push_links"] {
            all.extend(self.dump(table, &["last_updated_at", "recorded_at"]).await);
        }
        all
    }

    /// The same without journal sequences: what two journals of one chain must agree on.
    pub async fn projection(&self) -> Vec<String> {
        let mut all = Vec::new();
        for table in ["position_cache_mirror", "view_mirror", "view_trail", "position_push_links"] {
            let without = ["chain_id", "last_updated_at", "recorded_at", "journal_seq", "last_journal_seq"];
            all.extend(self.dump(table, &without).await);
        }
        all
    }

    /// The apply log in journal order: event, kind, status, reject code.
    pub async fn apply_log(&self) -> Vec<(Option<String>, String, String, Option<String>)> {
        sqlx::query_as(
            "SELECT event_name, view_kind::text, apply_status::text, reject_code FROM view_apply_log
             WHERE chain_id = $1 ORDER BY journal_seq",
        )
        .bind(i64::try_from(self.chain_id).unwrap())
        .fetch_all(self.db.worker())
        .await
        .unwrap()
    }

    pub async fn anomalies(&self) -> Vec<String> {
        sqlx::query_scalar("SELECT kind FROM anomalies WHERE chain_id = $1 ORDER BY anomaly_id")
            .bind(i64::try_from(self.chain_id).unwrap())
            .fetch_all(self.db.worker())
            .await
            .unwrap()
    }

    /// A position's collateral, version, last request id and last seq.
    pub async fn position(
        &self,
        who: u8,
        what: u8,
    ) -> Option<(String, String, Option<String>, Option<String>)> {
        sqlx::query_as(
            r#"SELECT collateral::text, version::text, last_request_id, last_seq::text FROM position_cache_mirror
               WHERE chain_id = $1 AND "user" = $2 AND asset = $3"#,
        )
        .bind(i64::try_from(self.chain_id).unwrap())
        .bind(plimsoll_types::address_text(&user(who)))
        .bind(plimsoll_types::address_text(&asset(what)))
        .fetch_optional(self.db.worker())
        .await
        .unwrap()
    }

    /// The links in journal order: outcome, version, reject code, position view.
    pub async fn links(&self) -> Vec<(String, Option<String>, Option<String>, Option<String>)> {
        sqlx::query_as(
            "SELECT outcome::text, version::text, reject_code, position_view FROM position_push_links
             WHERE chain_id = $1 ORDER BY journal_seq",
        )
        .bind(i64::try_from(self.chain_id).unwrap())
        .fetch_all(self.db.worker())
        .await
        .unwrap()
    }
}
