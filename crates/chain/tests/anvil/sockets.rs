//! WebSocket: heads arrive, and a socket that breaks or falls silent is replaced.

use std::time::Duration;

use plimsoll_chain::{EndpointConfig, HeadHint, HeadStream, Rpc};
use serde_json::json;

use crate::{
    proxy::Proxy,
    support::{Anvil, Store, patient},
};

/// A poll interval that no test outlives, so that a hint by the clock cannot stand in for an announcement.
const NEVER: Duration = Duration::from_secs(3_600);

/// The next announced height, beyond hints by the clock.
async fn next_announced(heads: &mut HeadStream) -> u64 {
    loop {
        if let HeadHint::Announced { number, .. } = heads.next_head_hint().await {
            return number;
        }
    }
}

async fn mine(rpc: &Rpc) {
    rpc.raw_request("evm_mine", json!([])).await.expect("anvil mines");
}

/// A stream that is subscribed for certain: it has announced a block.
async fn subscribed(rpc: &Rpc, miner: &Rpc) -> HeadStream {
    let mut heads = rpc.heads().poll_every(NEVER);
    assert_eq!(heads.next_head_hint().await, HeadHint::Due, "the first hint is to look at once");
    mine(miner).await;
    next_announced(&mut heads).await;
    heads
}

#[tokio::test]
async fn heads_are_announced_over_a_websocket() {
    let anvil = Anvil::start().await;
    let rpc = Rpc::connect(&anvil.ws()).await.unwrap();
    let mut heads = subscribed(&rpc, &rpc).await;
    for number in 2..5 {
        mine(&rpc).await;
        let hint = heads.next_head_hint().await;
        let head = rpc.head().await.unwrap();
        assert_eq!(hint, HeadHint::Announced { number, hash: head.hash });
    }
}

#[tokio::test]
async fn without_a_websocket_hints_come_by_the_clock() {
    let anvil = Anvil::start().await;
    let rpc = anvil.rpc().await;
    let mut heads = rpc.heads().poll_every(Duration::from_millis(1));
    for _ in 0..3 {
        assert_eq!(heads.next_head_hint().await, HeadHint::Due);
    }
}

#[tokio::test]
async fn every_question_works_over_a_websocket_too() {
    let anvil = Anvil::start().await;
    let http = anvil.rpc().await;
    let ws = Rpc::connect(&anvil.ws()).await.unwrap();
    let store = Store::deploy(&ws).await;
    let hash = store.block_of(&[1, 2, 3]).await;
    assert_eq!(
        ws.logs_of_block(hash, &store.filter()).await.unwrap(),
        http.logs_of_block(hash, &store.filter()).await.unwrap()
    );
    assert_eq!(ws.headers_by_number(0, 9).await.unwrap(), http.headers_by_number(0, 9).await.unwrap());
    assert_eq!(ws.receipts_of_block(hash).await.unwrap(), http.receipts_of_block(hash).await.unwrap());
}

#[tokio::test]
async fn a_socket_that_falls_silent_is_a_timeout_and_is_replaced() {
    let anvil = Anvil::start().await;
    let miner = anvil.rpc().await;
    let proxy = Proxy::before(anvil.port).await;
    let config = EndpointConfig {
        request_timeout: Duration::from_secs(2),
        max_retries: 0,
        ..EndpointConfig::new(format!("ws://127.0.0.1:{}", proxy.port))
    };
    let rpc = Rpc::connect(&config).await.unwrap();
    let mut heads = subscribed(&rpc, &miner).await;
    assert_eq!(proxy.opened(), 1);

    proxy.freeze();
    let error = rpc.chain_id().await.unwrap_err();
    assert!(error.is_timeout(), "{error}");

    assert_eq!(rpc.chain_id().await.unwrap(), 31_337, "the next request has a new socket");
    assert_eq!(proxy.opened(), 2);
    assert_eq!(heads.next_head_hint().await, HeadHint::Due, "heads may have been missed");
    let announced = tokio::spawn(async move { next_announced(&mut heads).await });
    mine_until(&miner, announced).await;
}

#[tokio::test]
async fn a_cut_socket_is_opened_again_and_heads_go_on() {
    let anvil = Anvil::start().await;
    let miner = anvil.rpc().await;
    let proxy = Proxy::before(anvil.port).await;
    let rpc = Rpc::connect(&patient(format!("ws://127.0.0.1:{}", proxy.port))).await.unwrap();
    let mut heads = subscribed(&rpc, &miner).await;

    proxy.cut();
    assert_eq!(rpc.chain_id().await.unwrap(), 31_337);
    assert!(proxy.opened() >= 2);
    let announced = tokio::spawn(async move { next_announced(&mut heads).await });
    mine_until(&miner, announced).await;
}

/// Mines until the task is done: when a subscription is in place again cannot be seen from outside.
async fn mine_until(miner: &Rpc, mut task: tokio::task::JoinHandle<u64>) {
    loop {
        mine(miner).await;
        tokio::select! {
            number = &mut task => {
                assert!(number.expect("no panic") > 1);
                return;
            }
            head = miner.head() => {
                head.expect("the miner's node answers");
            }
        }
    }
}
