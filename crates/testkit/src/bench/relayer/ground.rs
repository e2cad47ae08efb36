//! What the relayer stands on while it is measured.

use std::sync::Arc;
use std::time::Duration;

use alloy_json_rpc::{RequestPacket, Response, ResponsePacket, ResponsePayload};
use alloy_primitives::{Address, B256, Bytes, U256, hex, keccak256};
use anyhow::{Context as _, Result};
use plimsoll_chain::abi::Contracts;
use plimsoll_chain::interval::IntervalPolicy;
use plimsoll_chain::transport::{answering, open};
use plimsoll_chain::{EndpointConfig, Pool, Rpc};
use plimsoll_ingest::{Finality, Ingest, IngestConfig};
use plimsoll_journal::{FoldRunner, Tail};
use plimsoll_relayer::book::PgBook;
use plimsoll_relayer::desk::{Desk, DeskOptions, Market};
use plimsoll_relayer::fold::VerdictFold;
use plimsoll_relayer::grant::{ForeignUse, SignerPolicy};
use plimsoll_relayer::keys::{Key, LocalKey, Secret};
use plimsoll_relayer::request::{Call, Request, SignerId, Validity};
use plimsoll_relayer::{Bell, Intake, signers};
use plimsoll_store::{DEFAULT_TERM, Db, Leases};
use plimsoll_types::{Completeness, Context};
use serde_json::{Value, json, value::to_raw_value};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::super::pipeline::Store;
use crate::anvil::{Anvil, AnvilOptions, Mining};
use crate::deploy::artifacts::artifact;
use crate::node;

/// Enough for a call of the counter.
pub(super) const GAS_LIMIT: u64 = 100_000;
/// Anvil's first account, whose key everybody knows.
const KEY: [u8; 32] = hex!("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80");
const CHAIN_ID: u64 = 31_337;
const LOOKS_EACH: Duration = Duration::from_millis(5);

pub(super) fn key() -> Arc<dyn Key> {
    Arc::new(LocalKey::new(Secret::new(&KEY).expect("it is the key of an account")))
}

/// A call of the counter with this request's id.
pub(super) fn calldata(request_id: Uuid) -> Bytes {
    [&keccak256("perform(bytes32)")[..4], &[0; 16], request_id.as_bytes()].concat().into()
}

/// A node with a block each 250 ms, as Arbitrum has them, and room in it for everything.
pub(super) async fn anvil() -> Result<Anvil> {
    let mining = Mining::Every(Duration::from_millis(250));
    let gas_limit = Some(2_000_000_000);
    Ok(Anvil::start(&AnvilOptions { mining, gas_limit, states: Some(16), ..AnvilOptions::default() }).await?)
}

/// The contract that counts, put there by an account that is not the signer.
pub(super) async fn counter(anvil: &Anvil) -> Result<Address> {
    let from = *anvil.accounts().await?.last().context("a node has accounts")?;
    let data = artifact("RequestCounter").bytecode.clone();
    let created = anvil.send(&node::Call { from, to: None, data }).await?;
    let receipt = anvil.wait_receipt(created).await?;
    Ok(receipt["contractAddress"].as_str().context("a creation's receipt has its address")?.parse()?)
}

/// A node that takes everything and includes nothing.
fn sink() -> Pool {
    let header = header();
    let answer = move |packet: RequestPacket| {
        let header = header.clone();
        async move {
            let one = |request: &alloy_json_rpc::SerializedRequest| {
                let params: Value =
                    request.params().and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default();
                let result = match request.method() {
                    "eth_sendRawTransaction" => {
                        let raw = hex::decode(params[0].as_str().unwrap_or_default()).unwrap_or_default();
                        json!(keccak256(raw))
                    }
                    "eth_getBlockByNumber" => header.clone(),
                    "eth_feeHistory" => json!({
                        "oldestBlock": "0x1", "baseFeePerGas": ["0x1", "0x1"], "gasUsedRatio": [0.5], "reward": [["0x1", "0x1", "0x1"]]
                    }),
                    "eth_getBalance" => json!(U256::MAX >> 1_usize),
                    _ => json!("0x0"),
                };
                let payload = to_raw_value(&result)
                    .map_or_else(|_| ResponsePayload::internal_error(), ResponsePayload::Success);
                Response { id: request.id().clone(), payload }
            };
            Ok(match &packet {
                RequestPacket::Single(request) => ResponsePacket::Single(one(request)),
                RequestPacket::Batch(requests) => ResponsePacket::Batch(requests.iter().map(one).collect()),
            })
        }
    };
    Rpc::over(answering(answer), &EndpointConfig::new("http://sink")).into()
}

/// A block's header, as nodes tell it.
fn header() -> Value {
    let zero = B256::ZERO;
    json!({
        "number": "0x1", "hash": zero, "parentHash": zero, "timestamp": "0x1", "logsBloom": format!("0x{}", "00".repeat(256)),
        "receiptsRoot": zero, "transactionsRoot": zero, "stateRoot": zero, "sha3Uncles": zero, "miner": Address::ZERO,
        "difficulty": "0x0", "gasLimit": "0x77359400", "gasUsed": "0x0", "extraData": "0x", "mixHash": zero, "nonce": "0x0000000000000000",
        "baseFeePerGas": "0x1"
    })
}

/// The relayer's ground: a database, endpoints, and what follows the chain, where there is one.
pub(super) struct Ground {
    pub(super) intake: Intake,
    db: Db,
    tenant: Uuid,
    signer: SignerId,
    counter: Address,
    pool: Pool,
    bell: Bell,
    anvil: Option<Anvil>,
    background: Vec<(CancellationToken, JoinHandle<Result<()>>)>,
}

/// A desk that works.
pub(super) struct Working {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Working {
    pub(super) async fn stop(self) -> Result<()> {
        self.stop.cancel();
        Ok(self.task.await?)
    }
}

impl Ground {
    /// Over a node that takes everything. Its chain has a journal, and the signer is followed in it, by our word.
    pub(super) async fn without_a_chain(store: &Store) -> Result<Self> {
        let db = store.db.clone();
        sqlx::query("INSERT INTO chains (chain_id, name, genesis_hash, start_block, confirmations, finality) VALUES ($1, 'none', $2, 0, 1, '64 blocks')")
            .bind(CHAIN_ID.cast_signed())
            .bind(B256::ZERO.to_vec())
            .execute(db.worker())
            .await?;
        let ground = Self::over(store, sink(), Address::repeat_byte(1)).await?;
        sqlx::query("UPDATE watched_senders SET watched_from = 0").execute(db.worker()).await?;
        Ok(ground)
    }

    /// On Anvil, followed by the ingest and the fold.
    pub(super) async fn on_anvil(store: &Store) -> Result<Self> {
        let anvil = anvil().await?;
        let counter = counter(&anvil).await?;
        let endpoint = EndpointConfig::new(anvil.url());
        let pool: Pool = Rpc::over(open(&endpoint)?, &endpoint).into();
        let (db, tail) = (store.db.clone(), Tail::default());
        let leases = Leases::connect(&db, "bench", DEFAULT_TERM).await?;
        let config = IngestConfig {
            chain_id: CHAIN_ID,
            name: "anvil".into(),
            confirmations: 1,
            finality: Finality::Depth(64),
            head_completeness: Completeness::Receipts,
            backfill_completeness: Completeness::Bloom,
            poll_interval: Duration::from_millis(50),
            watched_senders: [].into(),
            ranges_in_flight: 1,
            range: IntervalPolicy::default(),
        };
        let mut end = tail.subscribe(CHAIN_ID);
        let mut ingest =
            Ingest::new(config, pool.clone(), Contracts::default(), db.clone(), leases.clone(), tail.clone());
        let stop = CancellationToken::new();
        let until = stop.clone();
        let following = tokio::spawn(async move { ingest.run(&until).await.context("ingest") });
        end.wait_for(|end| end.block_number >= 1).await?;
        let mut ground = Self::over(store, pool, counter).await?;
        ground.background.push((stop, following));
        let fold = VerdictFold::new(CHAIN_ID, [ground.signer.address], Some(ground.bell.clone()));
        let mut runner = FoldRunner::new(fold, CHAIN_ID, db, leases, tail);
        let stop = CancellationToken::new();
        let until = stop.clone();
        let folding = tokio::spawn(async move { runner.run(&until).await.context("the verdicts") });
        ground.background.push((stop, folding));
        ground.anvil = Some(anvil);
        Ok(ground)
    }

    async fn over(store: &Store, pool: Pool, counter: Address) -> Result<Self> {
        let db = store.db.clone();
        let tenant = Uuid::new_v4();
        sqlx::query("INSERT INTO tenants (tenant_id, name) VALUES ($1, 'bench')")
            .bind(tenant)
            .execute(db.worker())
            .await?;
        let signer = SignerId { chain_id: CHAIN_ID, address: key().address() };
        let policy = SignerPolicy {
            name: "bench".into(),
            chain_id: CHAIN_ID,
            address: signer.address,
            window: std::num::NonZeroU32::MIN,
            max_fee_per_gas_wei: None,
            on_foreign_use: ForeignUse::Requeue,
            grants: Vec::new(),
        };
        signers::register(&db, std::slice::from_ref(&policy)).await?;
        let bell = Bell::default();
        let intake = Intake::start(db.clone(), "bench", [policy], bell.clone());
        Ok(Self { intake, db, tenant, signer, counter, pool, bell, anvil: None, background: Vec::new() })
    }

    /// Begins to work the signer, with so many under way at most.
    pub(super) async fn desk(&self, window: usize) -> Result<Working> {
        let leases = Leases::connect(&self.db, "desk", DEFAULT_TERM).await?;
        let book = PgBook::new(self.db.clone(), leases, "bench".into());
        let options = DeskOptions { window, ..DeskOptions::default() };
        let market = Market::new(self.pool.clone());
        let desk = Desk::new(CHAIN_ID, key(), options, market, book, self.bell.clone());
        let stop = CancellationToken::new();
        let until = stop.clone();
        Ok(Working { stop, task: tokio::spawn(async move { desk.run(&until).await }) })
    }

    pub(super) fn requests(&self, count: usize) -> Vec<Request> {
        let request = |_| {
            let request_id = Uuid::new_v4();
            let mut context = Context::new(request_id, "bench");
            context.tenant_id = Some(self.tenant);
            Request {
                context,
                operation_type: "count".into(),
                signer: self.signer,
                call: Call { to: Some(self.counter), value: U256::ZERO, data: calldata(request_id) },
                gas_limit: Some(GAS_LIMIT),
                max_fee_limit: None,
                priority: 0,
                validity: Validity::default(),
                simulate: None,
            }
        };
        (0..count).map(request).collect()
    }

    /// Until so many have a nonce, and an attempt that is committed.
    pub(super) async fn until_tracked(&self, count: usize) -> Result<()> {
        let next = "SELECT next_nonce FROM signers";
        while sqlx::query_scalar::<_, i64>(next).fetch_one(self.db.worker()).await? < i64::try_from(count)? {
            tokio::time::sleep(LOOKS_EACH).await;
        }
        Ok(())
    }

    /// Until the chain has included so many.
    pub(super) async fn until_included(&self, count: usize) -> Result<()> {
        let anvil = self.anvil.as_ref().context("a chain")?;
        let latest = json!([self.signer.address, "latest"]);
        while anvil.quantity("eth_getTransactionCount", latest.clone()).await? < count as u64 {
            tokio::time::sleep(LOOKS_EACH).await;
        }
        Ok(())
    }

    /// Until the database knows so.
    pub(super) async fn until_mined(&self, count: usize) -> Result<()> {
        let mined = "SELECT count(*) FROM managed_transactions WHERE state IN ('mined', 'confirmed')";
        while sqlx::query_scalar::<_, i64>(mined).fetch_one(self.db.worker()).await? < i64::try_from(count)? {
            tokio::time::sleep(LOOKS_EACH).await;
        }
        Ok(())
    }

    pub(super) async fn stop(self) -> Result<()> {
        for (stop, task) in self.background {
            stop.cancel();
            task.await??;
        }
        if let Some(anvil) = self.anvil {
            anvil.stop().await?;
        }
        Ok(())
    }
}
