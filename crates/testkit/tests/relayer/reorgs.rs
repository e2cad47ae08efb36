//! What a reorganisation takes back comes again, and a verdict that it proves wrong is revised.

use plimsoll_relayer::desk::DeskOptions;
use plimsoll_testkit::anvil::Mining;
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
