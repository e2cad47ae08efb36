//! One effect each: whatever is asked twice, refused, called off or killed.

use futures::future::join_all;
use plimsoll_relayer::book::{Book, Entered, PgBook};
use plimsoll_relayer::desk::DeskOptions;
use plimsoll_relayer::{AcceptError, call_off};
use plimsoll_store::{DEFAULT_TERM, Leases};
use plimsoll_testkit::anvil::Mining;
use plimsoll_types::TransactionState;
use tokio_util::sync::CancellationToken;

use crate::house::House;

#[tokio::test(flavor = "multi_thread")]
async fn many_requests_at_once_each_take_effect_once_and_are_told_confirmed() {
    let house = House::new(Mining::OnDemand).await;
    let desk = house.work("node-1", house.pool(), DeskOptions::default()).await;
    let requests: Vec<_> = (0..100).map(|_| house.request()).collect();
    // Each twice, as whoever lost the first answer does.
    let asked = requests.iter().chain(&requests).map(|request| house.acceptor.accept(request.clone()));
    let accepted: Vec<_> = join_all(asked).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(accepted.iter().filter(|accepted| accepted.is_replay).count(), 100);
    assert!(accepted[..100].iter().zip(&accepted[100..]).all(|(one, again)| one.id == again.id));

    for accepted in &accepted[..100] {
        house.until_state(accepted.id, TransactionState::Confirmed, true).await;
    }
    for request in &requests {
        assert_eq!(house.effects(request.context.request_id).await, 1);
    }
    let expected = ["pending", "tracking", "mined", "confirmed"];
    assert_eq!(house.history(accepted[0].id).await, expected);
    let nonces: Vec<i64> = sqlx::query_scalar("SELECT nonce FROM managed_transactions ORDER BY nonce")
        .fetch_all(house.db.worker())
        .await
        .unwrap();
    assert_eq!(nonces, (0..100).collect::<Vec<_>>());
    desk.stop().await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_used_for_something_else_is_a_conflict_and_changes_nothing() {
    let house = House::new(Mining::OnDemand).await;
    let request = house.request();
    let first = house.acceptor.accept(request.clone()).await.unwrap();
    let mut other = request.clone();
    other.gas_limit = Some(100_001);
    let refused = house.acceptor.accept(other).await.unwrap_err();
    assert!(matches!(refused, AcceptError::Conflict { id, .. } if id == first.id), "{refused}");
    assert_eq!(house.state(first.id).await, TransactionState::Pending);
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_killed_at_any_moment_leaves_what_the_next_one_finishes() {
    let house = House::new(Mining::OnDemand).await;
    let mut requests = Vec::new();
    for round in 0..6 {
        let desk = house.work(&format!("node-{round}"), house.pool(), DeskOptions::default()).await;
        let batch: Vec<_> = (0..20).map(|_| house.request()).collect();
        join_all(batch.iter().map(|request| house.acceptor.accept(request.clone()))).await;
        // Somewhere in its work: after so many of its requests have a nonce.
        let first = house.acceptor.accept(batch[round].clone()).await.unwrap();
        if round % 2 == 0 {
            let has_left = "SELECT nonce IS NOT NULL FROM managed_transactions WHERE id = $1";
            house.until("it has a nonce", true, has_left, first.id).await;
        }
        desk.kill().await;
        requests.extend(batch);
    }
    let desk = house.work("the last", house.pool(), DeskOptions::default()).await;
    for request in &requests {
        let id = house.acceptor.accept(request.clone()).await.unwrap().id;
        house.until_state(id, TransactionState::Confirmed, true).await;
        assert_eq!(house.effects(request.context.request_id).await, 1);
    }
    desk.stop().await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_reverts_on_the_chain_fails_only_in_a_final_block() {
    let house = House::new(Mining::OnDemand).await;
    house.refuse(true).await;
    let desk = house.work("node-1", house.pool(), DeskOptions::default()).await;
    let request = house.request();
    let accepted = house.acceptor.accept(request.clone()).await.unwrap();
    house.until_state(accepted.id, TransactionState::Failed, true).await;
    assert_eq!(house.effects(request.context.request_id).await, 0);
    assert_eq!(house.history(accepted.id).await, ["pending", "tracking", "mined", "failed"]);

    // Without a limit of its own the gas is estimated, which tells before a nonce is given.
    let mut estimated = house.request();
    estimated.gas_limit = None;
    let accepted = house.acceptor.accept(estimated).await.unwrap();
    house.until_state(accepted.id, TransactionState::Failed, false).await;
    assert_eq!(house.history(accepted.id).await, ["pending", "failed"]);
    desk.stop().await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_called_off_before_an_attempt_ends_and_after_one_the_chain_decides() {
    let house = House::new(Mining::OnDemand).await;
    let early = house.acceptor.accept(house.request()).await.unwrap();
    assert!(call_off(&house.db, house.tenant, early.id, "not needed").await.unwrap());
    let desk = house.work("node-1", house.pool(), DeskOptions::default()).await;
    house.until_state(early.id, TransactionState::Cancelled, false).await;
    assert_eq!(house.history(early.id).await, ["pending", "cancelled"]);

    // No block is made meanwhile, so nothing of the first attempt can be included before the other takes its nonce.
    let request = house.request();
    let late = house.acceptor.accept(request.clone()).await.unwrap();
    house.until_state(late.id, TransactionState::Tracking, false).await;
    assert!(call_off(&house.db, house.tenant, late.id, "too dear").await.unwrap());
    let competes = "SELECT count(*) = 2 FROM transaction_attempts WHERE transaction_id = $1";
    house.until("an attempt that does nothing", false, competes, late.id).await;
    let is_told = "SELECT count(*) > 0 FROM transaction_broadcasts b JOIN transaction_attempts a USING (chain_id, tx_hash)
                   WHERE a.transaction_id = $1 AND a.purpose = 'cancel' AND b.answer = 'accepted'";
    house.until("the node has it", false, is_told, late.id).await;
    house.until_state(late.id, TransactionState::Cancelled, true).await;
    assert_eq!(house.effects(request.context.request_id).await, 0);
    assert_eq!(house.history(late.id).await, ["pending", "tracking", "mined", "cancelled"]);
    desk.stop().await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_switched_off_gets_no_nonce_and_can_still_be_called_off() {
    let house = House::new(Mining::OnDemand).await;
    let (held, unwanted) = (house.request(), house.request());
    let held_id = house.acceptor.accept(held.clone()).await.unwrap().id;
    let unwanted_id = house.acceptor.accept(unwanted).await.unwrap().id;
    let throw = "INSERT INTO kill_switches (tenant_id, thrown_by, reason) VALUES ($1, 'test', 'test')";
    sqlx::query(throw).bind(house.tenant).execute(house.db.worker()).await.unwrap();

    // Whoever looked at the queue just before cannot let it in any more.
    let leases = Leases::connect(&house.db, "node-0", DEFAULT_TERM).await.unwrap();
    let book = PgBook::new(house.db.clone(), leases, "node-0".into());
    let authority = book.acquire(house.signer, &CancellationToken::new()).await.unwrap();
    let attempt = house.attempt(held_id, &held, 0).await;
    assert_eq!(book.enter(&authority, house.signer, 0, &[attempt]).await.unwrap(), Entered::Overtaken);
    drop(authority);

    let desk = house.work("node-1", house.pool(), DeskOptions::default()).await;
    assert!(call_off(&house.db, house.tenant, unwanted_id, "not needed").await.unwrap());
    house.until_state(unwanted_id, TransactionState::Cancelled, false).await;
    assert_eq!(house.state(held_id).await, TransactionState::Pending);
    sqlx::query("DELETE FROM kill_switches").execute(house.db.worker()).await.unwrap();
    house.until_state(held_id, TransactionState::Confirmed, true).await;
    assert_eq!(house.effects(held.context.request_id).await, 1);
    desk.stop().await;
    house.end().await;
}
