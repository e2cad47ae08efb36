//! What a reorganisation takes back comes again, and a verdict that it proves wrong is revised.

use alloy_primitives::Bytes;
use plimsoll_relayer::call_off;
use plimsoll_relayer::desk::DeskOptions;
use plimsoll_testkit::anvil::{Mining, Replacement};
use plimsoll_testkit::node::Call;
use plimsoll_types::TransactionState;

use crate::house::{CONFIRMATIONS, House};

#[tokio::test(flavor = "multi_thread")]
async fn what_left_the_chain_is_tracked_again_and_takes_effect_once() {
    let house = House::new(Mining::OnDemand).await;
    let desk = house.work("node-1", house.pool(), DeskOptions::default()).await;
    let (request, id) = house.mined_at_the_head().await;
    house.anvil.reorg(1, &[]).await.unwrap();
    house.until_state(id, TransactionState::Tracking, false).await;
    house.until_state(id, TransactionState::Confirmed, true).await;
    assert_eq!(house.effects(request.context.request_id).await, 1);
    assert_eq!(house.history(id).await, ["pending", "tracking", "mined", "tracking", "mined", "confirmed"]);
    desk.stop().await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verdict_that_a_deeper_reorganisation_proves_wrong_is_revised() {
    let house = House::new(Mining::OnDemand).await;
    let desk = house.work("node-1", house.pool(), DeskOptions::default()).await;
    let (request, id) = house.mined_at_the_head().await;
    house.anvil.mine(CONFIRMATIONS).await.unwrap();
    house.until_state(id, TransactionState::Confirmed, false).await;
    house.anvil.reorg(CONFIRMATIONS + 1, &[]).await.unwrap();
    house.until_state(id, TransactionState::Tracking, false).await;
    house.until_state(id, TransactionState::Confirmed, true).await;
    assert_eq!(house.effects(request.context.request_id).await, 1);
    let told = house.history(id).await;
    assert_eq!(told[..6], ["pending", "tracking", "mined", "confirmed", "mined", "tracking"]);
    desk.stop().await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_cancellation_leaves_the_chain_and_what_it_cancelled_comes_instead_the_chain_is_believed() {
    let house = House::new(Mining::OnDemand).await;
    let desk = house.work("node-1", house.pool(), DeskOptions::default()).await;
    let request = house.request();
    let id = house.acceptor.accept(request.clone()).await.unwrap().id;
    house.until_taken(id).await;
    assert!(call_off(&house.db, house.tenant, id, "too dear").await.unwrap());
    let has_both = "SELECT count(*) = 1 FROM transaction_broadcasts b JOIN transaction_attempts a USING (chain_id, tx_hash)
                    WHERE a.transaction_id = $1 AND a.purpose = 'cancel' AND b.answer = 'accepted'";
    house.until("the node has the cancellation", false, has_both, id).await;
    house.anvil.mine(1).await.unwrap();
    house.until_state(id, TransactionState::Mined, false).await;
    let first = "SELECT raw FROM transaction_attempts WHERE transaction_id = $1 AND attempt = 1";
    let raw: Vec<u8> = sqlx::query_scalar(first).bind(id).fetch_one(house.db.worker()).await.unwrap();
    house.anvil.reorg(1, &[(Replacement::Same(Bytes::from(raw)), 0)]).await.unwrap();
    house.until_state(id, TransactionState::Confirmed, true).await;
    assert_eq!(house.effects(request.context.request_id).await, 1);
    let expected = ["pending", "tracking", "mined", "tracking", "mined", "confirmed"];
    assert_eq!(house.history(id).await, expected);
    desk.stop().await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nonces_that_a_stranger_used_in_blocks_that_left_the_chain_are_filled() {
    let house = House::new(Mining::OnDemand).await;
    let from = house.signer.address;
    for _ in 0..2 {
        house.anvil.send(&Call { from, to: Some(from), data: Bytes::new() }).await.unwrap();
    }
    house.anvil.mine(1).await.unwrap();
    let desk = house.work("node-1", house.pool(), DeskOptions::default()).await;
    let request = house.request();
    let id = house.acceptor.accept(request.clone()).await.unwrap().id;
    house.until_taken(id).await;
    house.anvil.reorg(1, &[]).await.unwrap();
    house.until_state(id, TransactionState::Confirmed, true).await;
    assert_eq!(house.effects(request.context.request_id).await, 1);
    let fills: Vec<i64> =
        sqlx::query_scalar("SELECT nonce FROM managed_transactions WHERE operation_type = 'fill' ORDER BY 1")
            .fetch_all(house.db.worker())
            .await
            .unwrap();
    assert_eq!(fills, [0, 1]);
    desk.stop().await;
    house.end().await;
}
