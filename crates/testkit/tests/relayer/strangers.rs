//! Somebody else signs with the same key, or the node forgets what it had.

use plimsoll_relayer::desk::DeskOptions;
use plimsoll_testkit::anvil::Mining;
use plimsoll_testkit::node::Call;
use plimsoll_types::TransactionState;

use crate::house::{House, calldata};

#[tokio::test(flavor = "multi_thread")]
async fn nonces_that_a_stranger_used_before_are_passed_over() {
    let house = House::new(Mining::OnDemand).await;
    let from = house.signer.address;
    for _ in 0..3 {
        house.anvil.send(&Call { from, to: Some(from), data: [].into() }).await.unwrap();
    }
    house.anvil.mine(1).await.unwrap();
    let desk = house.work("node-1", house.pool(), DeskOptions::default()).await;
    let request = house.request();
    let accepted = house.acceptor.accept(request.clone()).await.unwrap();
    house.until_state(accepted.id, TransactionState::Confirmed, true).await;
    assert_eq!(house.effects(request.context.request_id).await, 1);
    let nonce: i64 = sqlx::query_scalar("SELECT nonce FROM managed_transactions WHERE id = $1")
        .bind(accepted.id)
        .fetch_one(house.db.worker())
        .await
        .unwrap();
    assert_eq!(nonce, 3);
    desk.stop().await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_nonce_a_stranger_took_is_sent_at_another_once_that_is_final() {
    let house = House::new(Mining::OnDemand).await;
    let desk = house.work("node-1", house.pool(), DeskOptions::default()).await;
    let request = house.request();
    let accepted = house.acceptor.accept(request.clone()).await.unwrap();
    house.until_taken(accepted.id).await;
    desk.kill().await;
    // The node loses it, and somebody else's transaction takes its nonce.
    house.anvil.drop_all_transactions().await.unwrap();
    let from = house.signer.address;
    let theirs = uuid::Uuid::new_v4();
    let call = Call { from, to: Some(house.counter), data: calldata("perform", theirs) };
    house.anvil.send(&call).await.unwrap();
    house.anvil.mine(1).await.unwrap();

    let displaced = "SELECT state = 'tracking' AND attempt IS NULL AND block_hash IS NOT NULL FROM managed_transactions WHERE id = $1";
    house.until("it is known who took it", false, displaced, accepted.id).await;
    let desk = house.work("node-2", house.pool(), DeskOptions::default()).await;
    house.until_state(accepted.id, TransactionState::Confirmed, true).await;
    assert_eq!(house.effects(request.context.request_id).await, 1);
    assert_eq!(
        house.history(accepted.id).await,
        ["pending", "tracking", "tracking", "pending", "tracking", "mined", "confirmed"]
    );
    desk.stop().await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_node_lost_is_sent_again() {
    let house = House::new(Mining::OnDemand).await;
    let options = DeskOptions { resend_after_blocks: 2, ..DeskOptions::default() };
    let desk = house.work("node-1", house.pool(), options).await;
    let request = house.request();
    let accepted = house.acceptor.accept(request.clone()).await.unwrap();
    house.until_taken(accepted.id).await;
    house.anvil.drop_all_transactions().await.unwrap();
    house.until_state(accepted.id, TransactionState::Confirmed, true).await;
    assert_eq!(house.effects(request.context.request_id).await, 1);
    desk.stop().await;
    house.end().await;
}
