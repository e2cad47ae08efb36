//! A better offer that somebody asks for.

use plimsoll_relayer::desk::DeskOptions;
use plimsoll_relayer::speed_up::speed_up_in;
use plimsoll_testkit::anvil::Mining;
use plimsoll_types::TransactionState;
use uuid::Uuid;

use crate::house::House;

pub(crate) async fn ask(house: &House, id: Uuid) -> bool {
    let mut tx = house.db.tenant_tx(&[house.tenant]).await.unwrap();
    let could = speed_up_in(&mut tx, id, "user:ada", "a deadline").await.unwrap();
    tx.commit().await.unwrap();
    house.bell.ring();
    could
}

#[tokio::test(flavor = "multi_thread")]
async fn more_is_offered_at_the_next_look_once_for_each_wish_and_one_of_them_takes_effect() {
    let house = House::new(Mining::OnDemand).await;
    let request = house.request();
    let id = house.acceptor.accept(request.clone()).await.unwrap().id;
    assert!(!ask(&house, id).await, "it has no nonce");
    let desk = house.work("node-1", house.pool(), DeskOptions::default()).await;
    house.until_taken(id).await;
    assert!(ask(&house, id).await);
    let met = "SELECT speed_up_wanted IS NULL AND (SELECT count(*) FROM transaction_attempts WHERE transaction_id = $1) = 2 FROM managed_transactions WHERE id = $1";
    house.until("more is offered", false, met, id).await;
    let offers: Vec<(bool, String)> = sqlx::query_as(
        "SELECT max_fee_per_gas * 10 >= lag(max_fee_per_gas) OVER (ORDER BY attempt) * 11 IS NOT FALSE, why FROM transaction_attempts
         WHERE transaction_id = $1 ORDER BY attempt",
    )
    .bind(id)
    .fetch_all(house.db.worker())
    .await
    .unwrap();
    assert!(offers[1].0, "a tenth more at least");
    assert!(offers[1].1.starts_with("user:ada asks for it: a deadline; "), "{}", offers[1].1);
    assert!(ask(&house, id).await, "once more");
    let thrice = "SELECT count(*) = 3 FROM transaction_attempts WHERE transaction_id = $1";
    house.until("more is offered again", false, thrice, id).await;
    house.until_state(id, TransactionState::Confirmed, true).await;
    assert!(!ask(&house, id).await, "it is in a block");
    assert_eq!(house.effects(request.context.request_id).await, 1);
    desk.stop().await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_is_kept_whoever_asks_and_the_wish_stays() {
    let house = House::new(Mining::OnDemand).await;
    // Less than the first offer would be without it: so that is all of it, and no tenth more is left.
    let options = DeskOptions {
        max_fee_per_gas: 2_100_000_000,
        min_priority_fee_per_gas: 1_000_000_000,
        ..DeskOptions::default()
    };
    let request = house.request();
    let id = house.acceptor.accept(request.clone()).await.unwrap().id;
    let desk = house.work("node-1", house.pool(), options).await;
    house.until_taken(id).await;
    assert!(ask(&house, id).await);
    assert!(!ask(&house, id).await, "it is asked for already");
    let sent_again = "SELECT count(*) > 2 FROM transaction_broadcasts b JOIN transaction_attempts a USING (chain_id, tx_hash) WHERE a.transaction_id = $1";
    house.until("the same bytes are sent instead", false, sent_again, id).await;
    let attempts = "SELECT count(*) = 1 AND bool_and(max_fee_per_gas <= 2100000000) FROM transaction_attempts WHERE transaction_id = $1";
    house.until("nothing above the limit", false, attempts, id).await;
    let waits = "SELECT speed_up_wanted IS NOT NULL FROM managed_transactions WHERE id = $1";
    house.until("the wish stays", false, waits, id).await;
    house.until_state(id, TransactionState::Confirmed, true).await;
    assert_eq!(house.effects(request.context.request_id).await, 1);
    desk.stop().await;
    house.end().await;
}
