//! What the relayer stands on while it is measured.

use std::sync::Arc;
use std::time::Duration;

use alloy_json_rpc::{RequestPacket, Response, ResponsePacket, ResponsePayload};
use alloy_primitives::{Address, B256, Bytes, U256, hex, keccak256};
use anyhow::{Context as _, Result, ensure};
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
use tokio_util::task::TaskTracker;
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

/// So many keys, the first of which is [`key`].
fn keys(count: u8) -> Vec<Arc<dyn Key>> {
    let made = |byte| -> Arc<dyn Key> { Arc::new(LocalKey::new(Secret::new(&[byte; 32]).expect("a key"))) };
    std::iter::once(key()).chain((1..count).map(made)).collect()
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
    keys: Vec<Arc<dyn Key>>,
    counter: Address,
    pool: Pool,
    bell: Bell,
    anvil: Option<Anvil>,
    background: Vec<(CancellationToken, JoinHandle<Result<()>>)>,
}

/// Desks that work.
pub(super) struct Working {
    stop: CancellationToken,
    desks: TaskTracker,
}

impl Working {
    pub(super) async fn stop(self) {
        self.stop.cancel();
        self.desks.close();
        self.desks.wait().await;
    }
}

impl Ground {
    /// With so many signers over a node that takes everything. Its chain has a journal, and each signer is followed in it and has been seen, by our word.
    pub(super) async fn without_a_chain(store: &Store, signers: u8) -> Result<Self> {
        let db = store.db.clone();
        sqlx::query("INSERT INTO chains (chain_id, name, genesis_hash, start_block, confirmations, finality) VALUES ($1, 'none', $2, 0, 1, '64 blocks')")
            .bind(CHAIN_ID.cast_signed())
            .bind(B256::ZERO.to_vec())
            .execute(db.worker())
            .await?;
        let ground = Self::over(store, sink(), Address::repeat_byte(1), signers).await?;
        for seen in [
            "UPDATE watched_senders SET watched_from = 0",
            "UPDATE signers SET next_nonce = 1",
            "UPDATE signer_progress SET consumed_next = 1",
        ] {
            sqlx::query(seen).execute(db.worker()).await?;
        }
        Ok(ground)
    }

    /// On Anvil, followed by the ingest and the fold.
    pub(super) async fn on_anvil(store: &Store, signers: u8) -> Result<Self> {
        let anvil = anvil().await?;
        let counter = counter(&anvil).await?;
        for key in keys(signers) {
            anvil.raw("anvil_setBalance", json!([key.address(), U256::MAX >> 1_usize])).await?;
        }
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
        let mut ground = Self::over(store, pool, counter, signers).await?;
        ground.background.push((stop, following));
        let fold = VerdictFold::new(CHAIN_ID, ground.addresses(), Some(ground.bell.clone()));
        let mut runner = FoldRunner::new(fold, CHAIN_ID, db, leases, tail);
        let stop = CancellationToken::new();
        let until = stop.clone();
        let folding = tokio::spawn(async move { runner.run(&until).await.context("the verdicts") });
        ground.background.push((stop, folding));
        ground.anvil = Some(anvil);
        Ok(ground)
    }

    async fn over(store: &Store, pool: Pool, counter: Address, signers: u8) -> Result<Self> {
        let db = store.db.clone();
        let tenant = Uuid::new_v4();
        sqlx::query("INSERT INTO tenants (tenant_id, name) VALUES ($1, 'bench')")
            .bind(tenant)
            .execute(db.worker())
            .await?;
        let keys = keys(signers);
        let policy = |key: &Arc<dyn Key>| SignerPolicy {
            name: key.address().to_string(),
            chain_id: CHAIN_ID,
            address: key.address(),
            window: std::num::NonZeroU32::MIN,
            max_fee_per_gas_wei: None,
            on_foreign_use: ForeignUse::Requeue,
            grants: Vec::new(),
        };
        let policies: Vec<_> = keys.iter().map(policy).collect();
        signers::register(&db, &policies).await?;
        let bell = Bell::default();
        let intake = Intake::start(db.clone(), "bench", policies, bell.clone());
        Ok(Self { intake, db, tenant, keys, counter, pool, bell, anvil: None, background: Vec::new() })
    }

    fn addresses(&self) -> Vec<Address> {
        self.keys.iter().map(|key| key.address()).collect()
    }

    /// Begins to work the signers, with so many under way of each at most.
    pub(super) async fn desks(&self, window: usize) -> Result<Working> {
        let leases = Leases::connect(&self.db, "desk", DEFAULT_TERM).await?;
        let book = PgBook::new(self.db.clone(), leases, "bench".into());
        let options = DeskOptions { window, ..DeskOptions::default() };
        let market = Market::new(self.pool.clone());
        let (stop, desks) = (CancellationToken::new(), TaskTracker::new());
        for key in &self.keys {
            let (key, options, market) = (Arc::clone(key), options.clone(), market.clone());
            let desk = Desk::new(CHAIN_ID, key, options, market, book.clone(), self.bell.clone());
            let until = stop.clone();
            desks.spawn(async move { desk.run(&until).await });
        }
        Ok(Working { stop, desks })
    }

    /// So many requests, to the signers in turn.
    pub(super) fn requests(&self, count: usize) -> Vec<Request> {
        let request = |(_, key): (usize, &Arc<dyn Key>)| {
            let request_id = Uuid::new_v4();
            let mut context = Context::new(request_id, "bench");
            context.tenant_id = Some(self.tenant);
            Request {
                context,
                operation_type: "count".into(),
                signer: SignerId { chain_id: CHAIN_ID, address: key.address() },
                call: Call { to: Some(self.counter), value: U256::ZERO, data: calldata(request_id) },
                gas_limit: Some(GAS_LIMIT),
                max_fee_limit: None,
                priority: 0,
                validity: Validity::default(),
                simulate: None,
            }
        };
        (0..count).zip(self.keys.iter().cycle()).map(request).collect()
    }

    /// Until so many have a nonce, and an attempt that is committed.
    pub(super) async fn until_tracked(&self, count: usize) -> Result<()> {
        let tracked = "SELECT sum(next_nonce - 1)::bigint FROM signers";
        while sqlx::query_scalar::<_, i64>(tracked).fetch_one(self.db.worker()).await? < i64::try_from(count)?
        {
            tokio::time::sleep(LOOKS_EACH).await;
        }
        Ok(())
    }

    /// Until the chain has included so many.
    pub(super) async fn until_included(&self, count: usize) -> Result<()> {
        let anvil = self.anvil.as_ref().context("a chain")?;
        loop {
            let mut included = 0;
            for address in self.addresses() {
                included += anvil.quantity("eth_getTransactionCount", json!([address, "latest"])).await?;
            }
            if included >= count as u64 {
                break;
            }
            self.ensure_followed()?;
            tokio::time::sleep(LOOKS_EACH).await;
        }
        Ok(())
    }

    /// Until the database knows so.
    pub(super) async fn until_mined(&self, count: usize) -> Result<()> {
        let mined = "SELECT count(*) FROM managed_transactions WHERE state IN ('mined', 'confirmed')";
        while sqlx::query_scalar::<_, i64>(mined).fetch_one(self.db.worker()).await? < i64::try_from(count)? {
            self.ensure_followed()?;
            tokio::time::sleep(LOOKS_EACH).await;
        }
        Ok(())
    }

    /// What nobody follows any more would be waited for for ever.
    fn ensure_followed(&self) -> Result<()> {
        ensure!(
            self.background.iter().all(|(_, task)| !task.is_finished()),
            "the chain is not followed any more: the ingest or the verdicts ended"
        );
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
