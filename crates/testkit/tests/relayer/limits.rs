//! What a request and a signer are held to: what may be offered, what there is to pay with, until when it is wanted, and when no nonce is given.

use std::num::NonZeroU32;
use std::sync::Arc;

use alloy_primitives::Bytes;
use plimsoll_relayer::book::PgBook;
use plimsoll_relayer::desk::{Desk, DeskOptions, Market};
use plimsoll_relayer::grant::{ForeignUse, SignerPolicy};
use plimsoll_relayer::keys::{Key, LocalKey, Secret};
use plimsoll_relayer::request::{Request, SignerId, Validity};
use plimsoll_relayer::{Intake, call_off, signers};
use plimsoll_store::{DEFAULT_TERM, Leases};
use plimsoll_testkit::anvil::Mining;
use plimsoll_testkit::node::Call;
use plimsoll_types::TransactionState;
use sqlx::ConnectOptions as _;
use tokio_util::sync::CancellationToken;

use crate::house::House;
use crate::speed_ups::ask;

const COUNTS: &str = "eth_getTransactionCount";

/// Offers this, and no more.
fn fixed() -> DeskOptions {
    DeskOptions {
        max_fee_per_gas: 2_100_000_000,
        min_priority_fee_per_gas: 1_000_000_000,
        ..DeskOptions::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_requests_own_limit_is_kept_whoever_asks_and_does_not_keep_its_end_from_it() {
    let house = House::new(Mining::OnDemand).await;
    // As a signer's: less than the first offer would be without it.
    let request = Request { max_fee_limit: Some(2_100_000_000), ..house.request() };
    let options = DeskOptions { max_fee_per_gas: 500_000_000_000, ..fixed() };
    let id = house.acceptor.accept(request.clone()).await.unwrap().id;
    let desk = house.work("node-1", house.pool(), options).await;
    house.until_taken(id).await;
    assert!(ask(&house, id).await);
    let sent_again = "SELECT count(*) > 2 FROM transaction_broadcasts b JOIN transaction_attempts a USING (chain_id, tx_hash) WHERE a.transaction_id = $1";
    house.until("the same bytes are sent instead", false, sent_again, id).await;
    let attempts = "SELECT count(*) = 1 AND bool_and(max_fee_per_gas = 2100000000) FROM transaction_attempts WHERE transaction_id = $1";
    house.until("nothing above the limit", false, attempts, id).await;
    assert!(call_off(&house.db, house.tenant, id, "too dear").await.unwrap());
    assert!(!ask(&house, id).await, "its end is asked for");
    let outbid = "SELECT count(*) > 0 FROM transaction_attempts a JOIN transaction_broadcasts b USING (chain_id, tx_hash)
                  WHERE a.transaction_id = $1 AND a.purpose = 'cancel' AND a.max_fee_per_gas >= 2310000000 AND b.answer = 'accepted'";
    house.until("what does nothing takes its place", false, outbid, id).await;
    house.until_state(id, TransactionState::Cancelled, true).await;
    assert_eq!(house.effects(request.context.request_id).await, 0);
    desk.stop().await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_under_way_is_not_to_be_paid_twice() {
    let house = House::new(Mining::OnDemand).await;
    let key: Arc<dyn Key> = Arc::new(LocalKey::new(Secret::new(&[8; 32]).unwrap()));
    let signer = SignerId { chain_id: house.signer.chain_id, address: key.address() };
    let policy = SignerPolicy {
        name: "poor".into(),
        chain_id: signer.chain_id,
        address: signer.address,
        window: NonZeroU32::new(64).unwrap(),
        max_fee_per_gas_wei: None,
        on_foreign_use: ForeignUse::Requeue,
        grants: Vec::new(),
    };
    signers::register(&house.db, std::slice::from_ref(&policy)).await.unwrap();
    // One of 100,000 gas at 2.1 gwei, and not two.
    let balance = serde_json::json!([signer.address, "0x110d9316ec000"]);
    house.anvil.raw("anvil_setBalance", balance).await.unwrap();
    house.anvil.mine(1).await.unwrap();
    let acceptor = Intake::start(house.db.clone(), "node-1", [policy], house.bell.clone());
    let leases = Leases::connect(&house.db, "node-1", DEFAULT_TERM).await.unwrap();
    let book = PgBook::new(house.db.clone(), leases, "node-1".into());
    let desk = Desk::new(signer.chain_id, key, fixed(), Market::new(house.pool()), book, house.bell.clone());
    let stop = CancellationToken::new();
    let until = stop.clone();
    let working = tokio::spawn(async move { desk.run(&until).await });
    let accept = async || {
        let request = Request { signer, ..house.request() };
        acceptor.accept(request).await.unwrap().id
    };
    // What comes together, and what comes when the first is under way.
    let both = [accept().await, accept().await];
    house.until_state(both[0], TransactionState::Tracking, false).await;
    let late = accept().await;
    let is_held =
        "SELECT COALESCE(held_why LIKE '%fund the signer%', false) FROM managed_transactions WHERE id = $1";
    for id in [both[1], late] {
        house.until("it is said that there are no funds", false, is_held, id).await;
        assert_eq!(house.state(id).await, TransactionState::Pending);
    }
    stop.cancel();
    working.await.unwrap();
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_enters_up_to_its_last_block_and_its_time_and_no_later() {
    let house = House::new(Mining::OnDemand).await;
    let head = house.anvil.quantity("eth_blockNumber", serde_json::json!([])).await.unwrap();
    let valid = |until_block| Request {
        validity: Validity { until_block: Some(until_block), ..Validity::default() },
        ..house.request()
    };
    let accept = async |request: Request| house.acceptor.accept(request).await.unwrap().id;
    // The next block is the first that it could be in.
    let (over, next) = (accept(valid(head)).await, accept(valid(head + 1)).await);
    let in_an_hour = time::OffsetDateTime::now_utc() + time::Duration::hours(1);
    let timed = || Request {
        validity: Validity { until: Some(in_an_hour), ..Validity::default() },
        ..house.request()
    };
    let (late, early) = (accept(timed()).await, accept(timed()).await);
    let mut owner = house.urls.owner.connect().await.unwrap();
    let passes = "UPDATE plimsoll.managed_transactions SET valid_until = clock_timestamp() - interval '1 second' WHERE id = $1";
    sqlx::query(passes).bind(late).execute(&mut owner).await.unwrap();
    let desk = house.work("node-1", house.pool(), DeskOptions::default()).await;
    for id in [over, late] {
        house.until_state(id, TransactionState::Expired, false).await;
        assert_eq!(house.history(id).await, ["pending", "expired"]);
    }
    for id in [next, early] {
        house.until_state(id, TransactionState::Confirmed, true).await;
    }
    desk.stop().await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_strangers_transaction_waits_no_nonce_is_given_and_then_the_one_behind_it_is() {
    let house = House::new(Mining::OnDemand).await;
    let (endpoint, faults) = house.faulty();
    let desk = house.work("node-1", endpoint.into(), DeskOptions::default()).await;
    let first = house.acceptor.accept(house.request()).await.unwrap().id;
    house.until_state(first, TransactionState::Confirmed, true).await;
    let from = house.signer.address;
    house.anvil.send(&Call { from, to: Some(from), data: Bytes::new() }).await.unwrap();
    // Two counts a question: what was asked from here on has been heard when it is asked again.
    let heard = async || faults.wait_for_requests(COUNTS, faults.requests(COUNTS) + 4).await;
    heard().await;
    let request = house.request();
    let id = house.acceptor.accept(request.clone()).await.unwrap().id;
    heard().await;
    assert_eq!(house.state(id).await, TransactionState::Pending);
    house.until_state(id, TransactionState::Confirmed, true).await;
    assert_eq!(house.effects(request.context.request_id).await, 1);
    assert_eq!(house.history(id).await, ["pending", "tracking", "mined", "confirmed"]);
    desk.stop().await;
    house.end().await;
}
