//! Endpoints that do not answer: they hold up what needs their answer, and nothing else.

use std::num::NonZeroU32;
use std::sync::Arc;

use alloy_primitives::{Address, Signature};
use futures::future::BoxFuture;
use plimsoll_chain::Pool;
use plimsoll_chain::transport::Fault;
use plimsoll_relayer::book::PgBook;
use plimsoll_relayer::desk::{Desk, DeskOptions, Market};
use plimsoll_relayer::grant::{ForeignUse, SignerPolicy};
use plimsoll_relayer::keys::{Key, KeyError, LocalKey, Secret};
use plimsoll_relayer::request::{Request, SignerId};
use plimsoll_relayer::{Intake, signers};
use plimsoll_store::{DEFAULT_TERM, Leases};
use plimsoll_testkit::anvil::Mining;
use plimsoll_types::TransactionState;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::house::House;

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_for_an_estimate_keeps_nobody_else_waiting() {
    let house = House::new(Mining::OnDemand).await;
    let (endpoint, faults) = house.faulty();
    faults.next("eth_estimateGas", 1_000, Fault::Stall);
    let desk = house.work("node-1", endpoint.into(), DeskOptions::default()).await;
    let estimated = Request { gas_limit: None, priority: 1, ..house.request() };
    let waits = house.acceptor.accept(estimated.clone()).await.unwrap().id;
    for _ in 0..3 {
        let other = house.request();
        let id = house.acceptor.accept(other.clone()).await.unwrap().id;
        house.until_state(id, TransactionState::Confirmed, true).await;
        assert_eq!(house.effects(other.context.request_id).await, 1);
    }
    assert_eq!(house.state(waits).await, TransactionState::Pending);
    faults.clear();
    faults.release();
    house.until_state(waits, TransactionState::Confirmed, true).await;
    assert_eq!(house.effects(estimated.context.request_id).await, 1);
    desk.stop().await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_tells_no_nonces_any_more_stops_nothing_that_another_knows() {
    let house = House::new(Mining::OnDemand).await;
    let (silent, faults) = house.faulty();
    let (alive, _) = house.faulty();
    for method in ["eth_getTransactionCount", "eth_getBalance"] {
        faults.next(method, 1_000, Fault::Stall);
    }
    let pool = Pool::new(vec![silent, alive]).unwrap();
    let desk = house.work("node-1", pool, DeskOptions::default()).await;
    for _ in 0..3 {
        let request = house.request();
        let id = house.acceptor.accept(request.clone()).await.unwrap().id;
        house.until_state(id, TransactionState::Confirmed, true).await;
        assert_eq!(house.effects(request.context.request_id).await, 1);
    }
    faults.release();
    desk.stop().await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_word_that_was_never_heard_gives_no_nonce() {
    let house = House::new(Mining::OnDemand).await;
    let (endpoint, faults) = house.faulty();
    faults.next("eth_getTransactionCount", 1_000, Fault::Stall);
    let desk = house.work("node-1", endpoint.into(), DeskOptions::default()).await;
    let waits = house.acceptor.accept(house.request()).await.unwrap().id;
    // Asked again: nothing was told in the time that there was for it.
    faults.wait_for_requests("eth_getTransactionCount", 4).await;
    assert_eq!(house.state(waits).await, TransactionState::Pending);
    faults.clear();
    faults.release();
    house.until_state(waits, TransactionState::Confirmed, true).await;
    desk.stop().await;
    house.end().await;
}

/// A key that never signs.
#[derive(Debug)]
struct Silent(Address);

impl Key for Silent {
    fn address(&self) -> Address {
        self.0
    }

    fn sign<'a>(&'a self, _: &'a [u8]) -> BoxFuture<'a, Result<Signature, KeyError>> {
        Box::pin(std::future::pending())
    }
}

/// Another signer, worked in the same process over the same endpoint.
struct Another {
    signer: SignerId,
    acceptor: Intake,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Another {
    async fn work(house: &House, key: Arc<dyn Key>) -> Self {
        let signer = SignerId { chain_id: house.signer.chain_id, address: key.address() };
        let policy = SignerPolicy {
            name: key.address().to_string(),
            chain_id: signer.chain_id,
            address: signer.address,
            window: NonZeroU32::new(64).unwrap(),
            max_fee_per_gas_wei: None,
            on_foreign_use: ForeignUse::Requeue,
            grants: Vec::new(),
        };
        signers::register(&house.db, std::slice::from_ref(&policy)).await.unwrap();
        let acceptor = Intake::start(house.db.clone(), "node-1", [policy], house.bell.clone());
        let leases = Leases::connect(&house.db, "node-1", DEFAULT_TERM).await.unwrap();
        let book = PgBook::new(house.db.clone(), leases, "node-1".into());
        let (options, market) = (DeskOptions::default(), Market::new(house.pool()));
        let desk = Desk::new(signer.chain_id, key, options, market, book, house.bell.clone());
        let stop = CancellationToken::new();
        let until = stop.clone();
        Self { signer, acceptor, stop, task: tokio::spawn(async move { desk.run(&until).await }) }
    }

    async fn accept(&self, house: &House) -> Uuid {
        let request = Request { signer: self.signer, ..house.request() };
        self.acceptor.accept(request).await.unwrap().id
    }

    async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

async fn fund(house: &House, address: Address) {
    let balance = serde_json::json!([address, "0xde0b6b3a7640000"]);
    house.anvil.raw("anvil_setBalance", balance).await.unwrap();
    // Else no block's root has it.
    house.anvil.mine(1).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_pay_and_who_cannot_sign_keep_no_other_signer_waiting() {
    let house = House::new(Mining::OnDemand).await;
    let poor = Another::work(&house, Arc::new(LocalKey::new(Secret::new(&[7; 32]).unwrap()))).await;
    let silent = Another::work(&house, Arc::new(Silent(Address::repeat_byte(9)))).await;
    fund(&house, silent.signer.address).await;
    let (unpaid, unsigned) = (poor.accept(&house).await, silent.accept(&house).await);
    let is_held =
        "SELECT COALESCE(held_why LIKE '%fund the signer%', false) FROM managed_transactions WHERE id = $1";
    house.until("it is said that there are no funds", false, is_held, unpaid).await;
    let desk = house.work("node-1", house.pool(), DeskOptions::default()).await;
    for _ in 0..3 {
        let other = house.request();
        let id = house.acceptor.accept(other.clone()).await.unwrap().id;
        house.until_state(id, TransactionState::Confirmed, true).await;
        assert_eq!(house.effects(other.context.request_id).await, 1);
    }
    for waits in [unpaid, unsigned] {
        assert_eq!(house.state(waits).await, TransactionState::Pending);
    }
    fund(&house, poor.signer.address).await;
    house.until_state(unpaid, TransactionState::Tracking, false).await;
    desk.stop().await;
    poor.end().await;
    silent.end().await;
    house.end().await;
}
