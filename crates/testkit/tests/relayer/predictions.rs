//! Nonces are predicted when bytes are signed, and given when they are committed.

use plimsoll_relayer::desk::DeskOptions;
use plimsoll_testkit::anvil::Mining;
use plimsoll_types::TransactionState;
use serde_json::{Value, json};
use sqlx::{ConnectOptions as _, Connection as _};
use uuid::Uuid;

use crate::house::House;

/// Every transaction of the signer's that a block has.
async fn included(house: &House) -> Vec<String> {
    let head = house.anvil.block_number().await.unwrap();
    let from = format!("{:#x}", house.signer.address);
    let mut hashes = Vec::new();
    for number in 0..=head {
        let block: Value =
            house.anvil.request("eth_getBlockByNumber", json!([format!("{number:#x}"), true])).await.unwrap();
        let transactions = block["transactions"].as_array().unwrap().iter();
        let ours = transactions.filter(|transaction| transaction["from"].as_str() == Some(&from));
        hashes.extend(ours.map(|transaction| transaction["hash"].as_str().unwrap().to_owned()));
    }
    hashes
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_were_signed_for_a_nonce_that_is_not_given_to_them_are_never_sent() {
    let house = House::new(Mining::OnDemand).await;
    let first = house.acceptor.accept(house.request()).await.unwrap().id;
    let desk = house.work("node-1", house.pool(), DeskOptions::default()).await;
    house.until_state(first, TransactionState::Confirmed, true).await;

    // The next one is signed for nonce 1. While it is to be committed, 1 is given away, and somebody is to look.
    let mut owner = house.urls.owner.connect().await.unwrap();
    let mut holding = owner.begin().await.unwrap();
    sqlx::query("SELECT FROM plimsoll.signers FOR NO KEY UPDATE").execute(&mut *holding).await.unwrap();
    let request = house.request();
    let second = house.acceptor.accept(request.clone()).await.unwrap().id;
    let waits = "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'SELECT next_nonce FROM signers%' AND $1::uuid IS NOT NULL";
    house.until("the desk waits for its nonces", false, waits, second).await;
    sqlx::query("UPDATE plimsoll.signers SET next_nonce = 2, looks_wanted = looks_wanted + 1")
        .execute(&mut *holding)
        .await
        .unwrap();
    holding.commit().await.unwrap();
    owner.close().await.unwrap();

    house.until_state(second, TransactionState::Confirmed, true).await;
    assert_eq!(house.effects(request.context.request_id).await, 1);
    let nonce: i64 = sqlx::query_scalar("SELECT nonce FROM managed_transactions WHERE id = $1")
        .bind(second)
        .fetch_one(house.db.worker())
        .await
        .unwrap();
    assert_eq!(nonce, 2);
    let committed: Vec<String> =
        sqlx::query_scalar("SELECT '0x' || encode(tx_hash, 'hex') FROM transaction_attempts")
            .fetch_all(house.db.worker())
            .await
            .unwrap();
    let sent = included(&house).await;
    assert_eq!(sent.len(), 3, "the two requests, and what filled the nonce between them");
    assert!(sent.iter().all(|hash| committed.contains(hash)), "{sent:?} {committed:?}");
    let unknown = "SELECT NOT EXISTS (SELECT FROM transaction_broadcasts b WHERE NOT EXISTS (SELECT FROM transaction_attempts a WHERE a.tx_hash = b.tx_hash)) AND $1::uuid IS NOT NULL";
    house.until("nothing else was offered to a node", false, unknown, Uuid::nil()).await;
    desk.stop().await;
    house.end().await;
}
