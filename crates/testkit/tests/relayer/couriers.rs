//! What users signed is sent by whoever has the right to: in order, to every endpoint, and by nobody else.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use alloy_json_rpc::{RequestPacket, Response, ResponsePacket, ResponsePayload, SerializedRequest};
use alloy_primitives::{B256, Bytes, keccak256};
use plimsoll_chain::transport::{Fault, Faulty, answering, open};
use plimsoll_chain::{EndpointConfig, ErrorClass, Pool, Rpc};
use plimsoll_testkit::anvil::Mining;
use plimsoll_testkit::node::Call;
use plimsoll_types::TransactionState;
use plimsoll_types::api::WaitsFor;
use serde_json::json;
use serde_json::value::to_raw_value;
use uuid::Uuid;

use crate::house::House;
use crate::users::{
    Working, chain, draft, handed_in, put, request, signed, signed_for, until, until_taken, user, waits_for,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_node_gets_the_lower_nonce_of_a_sender_first_whenever_each_was_handed_in() {
    let house = House::new(Mining::OnDemand).await;
    let chain = chain(&house, house.pool(), None);
    let mut given = Vec::new();
    for nonce in [2, 0, 1] {
        let request_id = Uuid::new_v4();
        let mut prepared = chain.prepare(&draft(&house, request_id)).await.unwrap();
        prepared.unsigned.nonce = nonce;
        let request = request(&house, request_id, signed(&prepared));
        given.push((nonce, request.transaction.tx_hash));
        put(&house, &chain, &request).await.unwrap();
    }
    given.sort_unstable();
    // A node that takes everything, and remembers in which order.
    let heard: Arc<Mutex<Vec<B256>>> = Arc::default();
    let hears = Arc::clone(&heard);
    let answer = move |packet: RequestPacket| {
        let one = |request: &SerializedRequest| {
            let params: (Bytes,) = serde_json::from_str(request.params().unwrap().get()).unwrap();
            assert_eq!(request.method(), "eth_sendRawTransaction");
            let hash = keccak256(&params.0);
            hears.lock().unwrap().push(hash);
            let payload = ResponsePayload::Success(to_raw_value(&json!(hash)).unwrap());
            Response { id: request.id().clone(), payload }
        };
        let answer = match &packet {
            RequestPacket::Single(request) => ResponsePacket::Single(one(request)),
            RequestPacket::Batch(requests) => ResponsePacket::Batch(requests.iter().map(one).collect()),
        };
        async move { Ok(answer) }
    };
    let node = Rpc::over(answering(answer), &EndpointConfig::new("http://listener"));
    let courier = Working::of(&house, "node-1", node.into()).await;
    let all = "SELECT count(*) = 3 FROM user_transaction_answers WHERE answer = 'accepted' AND $1::uuid IS NOT NULL";
    house.until("it has them all", false, all, Uuid::nil()).await;
    let first_heard: Vec<_> = heard.lock().unwrap()[..3].to_vec();
    assert_eq!(first_heard, given.iter().map(|(_, hash)| *hash).collect::<Vec<_>>());
    courier.stop().await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_never_answers_holds_up_nobodys_transaction() {
    let house = House::new(Mining::OnDemand).await;
    let patient = EndpointConfig {
        name: Some("silent".into()),
        max_retries: 0,
        request_timeout: Duration::from_hours(1),
        ..EndpointConfig::new(house.anvil.url())
    };
    let (transport, faults) = Faulty::new(open(&patient).unwrap());
    faults.next("eth_sendRawTransaction", 1_000, Fault::Stall);
    let silent = Rpc::over(transport.boxed(), &patient);
    let (alive, _) = house.faulty();
    let courier = Working::of(&house, "node-1", Pool::new(vec![silent, alive]).unwrap()).await;
    for _ in 0..2 {
        let (request, id) = handed_in(&house).await;
        // What one of them has rests, as far as a resending goes, whoever is silent.
        let rests = "SELECT count(*) = 1 AND bool_and(a.endpoint = 'faulty' AND t.sends < 6 AND t.not_before > a.sent_at + interval '20 seconds')
                     FROM user_transaction_answers a JOIN user_transactions t ON t.id = a.transaction_id WHERE t.id = $1";
        house.until("it is known who has it", false, rests, id).await;
        until(&house, id, TransactionState::Confirmed, true).await;
        assert_eq!(house.effects(request.context.request_id).await, 1);
    }
    // However many it is given, one after the other, and answers none of.
    for _ in 0..20 {
        let (_, id) = handed_in(&house).await;
        house.bell.ring();
        until_taken(&house, id).await;
    }
    faults.release();
    courier.stop().await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_courier_that_lost_its_lease_and_has_not_heard_of_it_sends_nothing() {
    let house = House::new(Mining::OnDemand).await;
    let courier = Working::of(&house, "node-1", house.pool()).await;
    let (_, first) = handed_in(&house).await;
    until_taken(&house, first).await;
    let (chain, request) = signed_for(&house, Uuid::new_v4()).await;
    // Another takes it, and is gone again soon.
    sqlx::query(
        "UPDATE leases SET fencing_token = fencing_token + 1, holder = 'node-2', acquired_at = clock_timestamp(), expires_at = clock_timestamp() + interval '2 seconds'
         WHERE name LIKE 'courier/%'",
    )
    .execute(house.db.worker())
    .await
    .unwrap();
    let (second, _) = put(&house, &chain, &request).await.unwrap();
    house.bell.ring();
    until(&house, second, TransactionState::Confirmed, true).await;
    assert_eq!(house.effects(request.context.request_id).await, 1);
    let is_under_its_next_lease: bool = sqlx::query_scalar(
        "SELECT bool_and(l.holder = 'node-1' AND a.sent_at >= l.acquired_at) FROM user_transaction_answers a, leases l WHERE l.name LIKE 'courier/%' AND a.transaction_id = $1",
    )
    .bind(second)
    .fetch_one(house.db.worker())
    .await
    .unwrap();
    assert!(is_under_its_next_lease, "sent under a token that was none any more");
    courier.stop().await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_ahead_of_its_senders_nonce_waits_for_the_lower_one() {
    let house = House::new(Mining::OnDemand).await;
    let (chain, request_id) = (chain(&house, house.pool(), None), Uuid::new_v4());
    let mut prepared = chain.prepare(&draft(&house, request_id)).await.unwrap();
    prepared.unsigned.nonce = 1;
    let (id, _) = put(&house, &chain, &request(&house, request_id, signed(&prepared))).await.unwrap();
    let courier = Working::of(&house, "node-1", house.pool()).await;
    until_taken(&house, id).await;
    assert_eq!(waits_for(&house, id).await, WaitsFor::LowerNonce);
    let from = user().address();
    house.anvil.send(&Call { from, to: Some(from), data: Bytes::new() }).await.unwrap();
    until(&house, id, TransactionState::Confirmed, true).await;
    assert_eq!(house.effects(request_id).await, 1);
    courier.stop().await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_endpoint_calls_consumed_is_not_pressed_on_it() {
    let house = House::new(Mining::OnDemand).await;
    let (pool, faults) = house.faulty();
    let refusal = |words: &str| Fault::Answer { code: -32_000, message: words.into() };
    let sends = async |id: Uuid| -> i32 {
        sqlx::query_scalar("SELECT sends FROM user_transactions WHERE id = $1")
            .bind(id)
            .fetch_one(house.db.worker())
            .await
            .unwrap()
    };
    let (_, consumed) = handed_in(&house).await;
    faults.next("eth_sendRawTransaction", 1, refusal("nonce too low"));
    let courier = Working::of(&house, "node-1", pool.into()).await;
    let answered = "SELECT count(*) = 1 FROM user_transaction_answers WHERE transaction_id = $1 AND answer = 'nonce_too_low'";
    house.until("it is answered", false, answered, consumed).await;
    // What nobody takes is offered again and again meanwhile.
    faults.next("eth_sendRawTransaction", 1_000, refusal("txpool is full"));
    let (_, refused) = handed_in(&house).await;
    let again = "SELECT sends >= 4 FROM user_transactions WHERE id = $1";
    house.until("it is offered again", false, again, refused).await;
    assert_eq!(sends(consumed).await, 1);
    courier.stop().await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_dies_between_keeping_and_sending_another_sends_it_and_it_takes_effect_once() {
    let house = House::new(Mining::OnDemand).await;
    let (request, id) = handed_in(&house).await;
    // It is marked as under way, and its bytes reach nobody.
    let (deaf, faults) = house.faulty();
    faults.next("eth_sendRawTransaction", 1_000, Fault::Fail(ErrorClass::Transient));
    let first = Working::of(&house, "node-1", deaf.into()).await;
    until(&house, id, TransactionState::Tracking, false).await;
    first.kill().await;
    assert_eq!(house.anvil.pool_size().await.unwrap(), 0);
    let second = Working::of(&house, "node-2", house.pool()).await;
    until_taken(&house, id).await;
    until(&house, id, TransactionState::Confirmed, true).await;
    assert_eq!(house.effects(request.context.request_id).await, 1);
    second.stop().await;
    house.end().await;
}
