//! Why what reverted on the chain did: found out beside the verdict, and told by whose account.

use std::sync::Arc;

use plimsoll_chain::abi::{Contract, Contracts};
use plimsoll_chain::transport::Fault;
use plimsoll_chain::{Pool, Reverts};
use plimsoll_relayer::desk::DeskOptions;
use plimsoll_relayer::inquest::Inquest;
use plimsoll_relayer::read;
use plimsoll_store::{DEFAULT_TERM, Leases};
use plimsoll_testkit::anvil::Mining;
use plimsoll_testkit::deploy::artifacts::artifact;
use plimsoll_types::{Address, RevertSource, TransactionState, api};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::house::House;

const TRACE: &str = "debug_traceTransaction";
const CALL: &str = "eth_call";

/// The errors of the contract that is called.
pub(crate) fn known_errors() -> Arc<Reverts> {
    let abi = Arc::clone(&artifact("RequestCounter").abi);
    let contract = Contract::new("RequestCounter", Address::ZERO, Uuid::nil(), 0, abi);
    Arc::new(Reverts::new(&Contracts::new([contract])))
}

struct Asking {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Asking {
    /// Asks over these endpoints why what reverted did.
    async fn begin(house: &House, pool: impl Into<Pool>) -> Self {
        let leases = Leases::connect(&house.db, "inquest", DEFAULT_TERM).await.unwrap();
        let reverts = Reverts::clone(&known_errors());
        let chain_id = house.signer.chain_id;
        let inquest =
            Inquest::new(chain_id, pool.into(), reverts, house.db.clone(), leases, house.bell.clone());
        let stop = CancellationToken::new();
        let until = stop.clone();
        Self { stop, task: tokio::spawn(async move { inquest.run(&until).await.unwrap() }) }
    }

    async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

/// A request that reverted in a block, by the time its block is final.
async fn reverted(house: &House) -> Uuid {
    house.refuse(true).await;
    let desk = house.work("node-1", house.pool(), DeskOptions::default()).await;
    let id = house.acceptor.accept(house.request()).await.unwrap().id;
    house.until_state(id, TransactionState::Failed, true).await;
    desk.stop().await;
    id
}

async fn told(house: &House, id: Uuid) -> (api::Revert, String) {
    let is_told = "SELECT revert_code IS NOT NULL FROM managed_transactions WHERE id = $1";
    house.until("its reason is told", false, is_told, id).await;
    let mut tx = house.db.tenant_tx(&[house.tenant]).await.unwrap();
    let told = read::by_id(&mut tx, house.tenant, id).await.unwrap().unwrap();
    (told.revert.unwrap(), told.end_why.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nodes_trace_tells_it_and_the_history_too() {
    let house = House::new(Mining::OnDemand).await;
    let id = reverted(&house).await;
    // The verdict waited for nobody.
    assert_eq!(house.history(id).await, ["pending", "tracking", "mined", "failed"]);
    let (endpoint, faults) = house.faulty();
    let asking = Asking::begin(&house, endpoint).await;
    let (revert, why) = told(&house, id).await;
    assert_eq!((revert.code.as_str(), revert.source), ("Refused", RevertSource::Trace), "{revert:?}");
    assert!(revert.text.starts_with("Refused(requestId: 0x"), "{revert:?}");
    assert_eq!(why, format!("it reverted: {}", revert.text));
    assert_eq!(faults.requests(CALL), 0);
    assert_eq!(house.history(id).await, ["pending", "tracking", "mined", "failed", "failed"]);
    let bytes: Vec<u8> = sqlx::query_scalar(
        "SELECT data FROM transaction_reverts WHERE transaction_id = $1 AND tx_hash IS NOT NULL",
    )
    .bind(id)
    .fetch_one(house.db.worker())
    .await
    .unwrap();
    assert_eq!(bytes.len(), 4 + 32);
    asking.end().await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_trace_the_state_before_the_block_tells_it_and_says_that_it_is_that() {
    let house = House::new(Mining::OnDemand).await;
    let id = reverted(&house).await;
    let (endpoint, faults) = house.faulty();
    let missing = || Fault::Answer { code: -32_601, message: "the method does not exist".into() };
    faults.next(TRACE, 1_000, missing());
    let asking = Asking::begin(&house, endpoint).await;
    let (revert, _) = told(&house, id).await;
    assert_eq!((revert.code.as_str(), revert.source), ("Refused", RevertSource::Replay), "{revert:?}");
    asking.end().await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_can_tell_is_unknown_and_who_is_only_silent_is_waited_for() {
    let house = House::new(Mining::OnDemand).await;
    let id = reverted(&house).await;
    let (endpoint, faults) = house.faulty();
    // Silent first, for more rounds than it takes to give up; and then without any state.
    faults.next("eth_getTransactionByHash", 3, Fault::Fail(plimsoll_chain::ErrorClass::Transient));
    let pruned = Fault::Answer { code: -32_000, message: "missing trie node".into() };
    faults.next(TRACE, 1_000, Fault::Answer { code: -32_601, message: "no such method".into() });
    faults.next(CALL, 1_000, pruned);
    let asking = Asking::begin(&house, endpoint).await;
    let (revert, why) = told(&house, id).await;
    assert_eq!((revert.code.as_str(), revert.source), ("unknown", RevertSource::Nobody));
    assert_eq!(why, "it reverted: no endpoint could tell");
    // Three rounds of silence do not count, and three that say no do.
    assert_eq!(faults.requests(TRACE), 3);
    asking.end().await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_leaves_the_chain_takes_its_reason_with_it() {
    let house = House::new(Mining::OnDemand).await;
    house.refuse(true).await;
    let desk = house.work("node-1", house.pool(), DeskOptions::default()).await;
    let asking = Asking::begin(&house, house.pool()).await;
    let (_, id) = house.mined_at_the_head().await;
    let is_told = "SELECT revert_code IS NOT DISTINCT FROM 'Refused' FROM managed_transactions WHERE id = $1";
    house.until("its reason is told while it is mined", false, is_told, id).await;
    asking.end().await;
    desk.stop().await;
    house.anvil.reorg(1, &[]).await.unwrap();
    house.until_state(id, TransactionState::Tracking, false).await;
    let is_gone =
        "SELECT revert_code IS NULL AND revert_text IS NULL FROM managed_transactions WHERE id = $1";
    house.until("it has no reason", false, is_gone, id).await;
    house.end().await;
}
