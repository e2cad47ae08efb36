//! What endpoints do that they should not: one effect each, and nothing waits for ever.

use std::sync::Arc;

use futures::future::join_all;
use plimsoll_chain::transport::{Fault, open};
use plimsoll_chain::{EndpointConfig, Pool, Rpc};
use plimsoll_relayer::desk::DeskOptions;
use plimsoll_relayer::request::Request;
use plimsoll_testkit::anvil::Mining;
use plimsoll_types::TransactionState;
use uuid::Uuid;

use crate::house::House;

const SEND: &str = "eth_sendRawTransaction";

fn says(message: &str) -> Fault {
    Fault::Answer { code: -32_000, message: message.to_owned() }
}

/// Offers no more for the sake of time: what is offered again here is what an answer asks for, however slow the machine is.
fn unhurried() -> DeskOptions {
    DeskOptions { bump_after_blocks: 1_000_000, ..DeskOptions::default() }
}

async fn accept(house: &House, request: &Request) -> Uuid {
    house.acceptor.accept(request.clone()).await.unwrap().id
}

/// How often these were confirmed: each once, with so many attempts.
async fn attempts_until_confirmed(house: &House, id: Uuid, request: &Request) -> i64 {
    house.until_state(id, TransactionState::Confirmed, true).await;
    assert_eq!(house.effects(request.context.request_id).await, 1);
    sqlx::query_scalar("SELECT count(*) FROM transaction_attempts WHERE transaction_id = $1")
        .bind(id)
        .fetch_one(house.db.worker())
        .await
        .unwrap()
}

/// One request, whose first sendings suffer this; how many attempts it took.
async fn suffers(fault: Fault, times: u64) -> i64 {
    let house = House::new(Mining::OnDemand).await;
    let (endpoint, faults) = house.faulty();
    faults.next(SEND, times, fault);
    let desk = house.work("node-1", endpoint.into(), unhurried()).await;
    let request = house.request();
    let id = accept(&house, &request).await;
    house.until_taken(id).await;
    let attempts = attempts_until_confirmed(&house, id, &request).await;
    desk.stop().await;
    house.end().await;
    attempts
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_endpoints_a_dead_one_stops_nothing() {
    let house = House::new(Mining::OnDemand).await;
    let dead = EndpointConfig {
        name: Some("dead".into()),
        max_retries: 0,
        ..EndpointConfig::new("http://127.0.0.1:9")
    };
    let dead = Rpc::over(open(&dead).unwrap(), &dead);
    let (alive, _) = house.faulty();
    let desk = house.work("node-1", Pool::new(vec![dead, alive]).unwrap(), unhurried()).await;
    let request = house.request();
    let id = accept(&house, &request).await;
    assert_eq!(attempts_until_confirmed(&house, id, &request).await, 1);
    desk.stop().await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_of_another_chain_ends_nothing() {
    assert_eq!(suffers(says("invalid chain id for signer"), 4).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_refusal_for_good_ends_nothing() {
    assert_eq!(suffers(says("exceeds block gas limit"), 1).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_false_word_of_a_nonce_ends_nothing() {
    assert_eq!(suffers(says("nonce too low"), 2).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_wants_more_for_is_offered_more_for_whatever_the_market_says() {
    assert!(suffers(says("transaction underpriced"), 1).await > 1);
    assert!(suffers(says("replacement transaction underpriced"), 5).await > 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_its_own_pool_calls_a_poor_replacement_once_is_not_outbid() {
    assert_eq!(suffers(says("replacement transaction underpriced"), 1).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sending_that_is_lost_in_this_process_is_made_again() {
    let lost = Fault::Rewrite(Arc::new(|_| panic!("a fault of our own")));
    assert_eq!(suffers(lost, 1).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_refuses_for_good_again_and_again_is_believed_and_the_queue_goes_on() {
    let house = House::new(Mining::OnDemand).await;
    let (endpoint, faults) = house.faulty();
    faults.next(SEND, 3, says("exceeds block gas limit"));
    let desk = house.work("node-1", endpoint.into(), unhurried()).await;
    let refused = house.request();
    let id = accept(&house, &refused).await;
    house.until_state(id, TransactionState::Failed, true).await;
    assert_eq!(house.effects(refused.context.request_id).await, 0);
    let next = house.request();
    let id = accept(&house, &next).await;
    assert_eq!(attempts_until_confirmed(&house, id, &next).await, 1);
    desk.stop().await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_before_the_connection_broke_takes_effect_once() {
    let house = House::new(Mining::OnDemand).await;
    let (endpoint, faults) = house.faulty();
    faults.next(SEND, 2, Fault::Disconnect);
    faults.next(SEND, 1, Fault::Truncate(20));
    faults.next(SEND, 1, Fault::Reverse);
    faults.next("eth_getTransactionCount", 1, Fault::Disconnect);
    faults.next("eth_getBalance", 1, Fault::Disconnect);
    let desk = house.work("node-1", endpoint.into(), unhurried()).await;
    let requests: Vec<_> = (0..40).map(|_| house.request()).collect();
    let ids = join_all(requests.iter().map(|request| accept(&house, request))).await;
    for (id, request) in ids.into_iter().zip(&requests) {
        assert_eq!(attempts_until_confirmed(&house, id, request).await, 1);
    }
    desk.stop().await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_enter_does_not_starve_what_can() {
    let house = House::new(Mining::OnDemand).await;
    let poor = |_| {
        let mut request = house.request();
        request.max_fee_limit = Some(1);
        request
    };
    let poor: Vec<_> = (0..1_500).map(poor).collect();
    join_all(poor.iter().map(|request| accept(&house, request))).await;
    let request = house.request();
    let id = accept(&house, &request).await;
    let options = DeskOptions { window: 8, ..unhurried() };
    let desk = house.work("node-1", house.pool(), options).await;
    house.until_state(id, TransactionState::Tracking, false).await;
    assert_eq!(attempts_until_confirmed(&house, id, &request).await, 1);
    desk.stop().await;
    house.end().await;
}
