//! Somebody else signs with the same key, or the node forgets what it had.

use std::sync::Arc;

use plimsoll_chain::Pool;
use plimsoll_chain::transport::Fault;
use plimsoll_relayer::book::{Book, Entered, PgBook};
use plimsoll_relayer::desk::DeskOptions;
use plimsoll_store::{DEFAULT_TERM, Leases};
use plimsoll_testkit::anvil::Mining;
use plimsoll_testkit::node::Call;
use plimsoll_types::TransactionState;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

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
async fn what_a_key_sent_before_it_was_ours_is_proven_whatever_its_only_endpoint_says() {
    let house = House::after(3, Mining::OnDemand).await;
    let (behind, faults) = house.faulty();
    // It tells the counts of a node that is still syncing; of another's blocks it can only show what they hold.
    let fewer = |told: Value| if told == "0x3" { json!("0x0") } else { told };
    faults.next("eth_getTransactionCount", 1_000, Fault::Rewrite(Arc::new(fewer)));
    let desk = house.work("node-1", behind.into(), DeskOptions::default()).await;
    let request = house.request();
    let accepted = house.acceptor.accept(request.clone()).await.unwrap();
    house.until_state(accepted.id, TransactionState::Confirmed, true).await;
    assert_eq!(house.effects(request.context.request_id).await, 1);
    let nonces: Vec<i64> = sqlx::query_scalar("SELECT nonce FROM transaction_attempts")
        .fetch_all(house.db.worker())
        .await
        .unwrap();
    assert_eq!(nonces, [3]);
    desk.stop().await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_proves_anything_endpoints_that_agree_are_believed() {
    let house = House::after(3, Mining::OnDemand).await;
    let (one, faults) = house.faulty();
    let (other, other_faults) = house.faulty();
    for faults in [&faults, &other_faults] {
        let unknown = "the method eth_getProof does not exist";
        faults.next("eth_getProof", 1_000, Fault::Answer { code: -32_601, message: unknown.to_owned() });
    }
    let pool = Pool::new(vec![one, other]).unwrap();
    let desk = house.work("node-1", pool, DeskOptions::default()).await;
    let request = house.request();
    let accepted = house.acceptor.accept(request.clone()).await.unwrap();
    house.until_state(accepted.id, TransactionState::Confirmed, true).await;
    assert_eq!(house.effects(request.context.request_id).await, 1);
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

/// Somebody sends with the signer's key, and the database knows.
async fn is_used_by_a_stranger(house: &House, nonce: u64) {
    let is_watched =
        "SELECT count(*) > 0 FROM watched_senders WHERE watched_from IS NOT NULL AND $1::uuid IS NOT NULL";
    house.until("it is watched", true, is_watched, house.tenant).await;
    let from = house.signer.address;
    house.anvil.send(&Call { from, to: Some(from), data: [].into() }).await.unwrap();
    house.anvil.mine(1).await.unwrap();
    let statement = match nonce {
        0 => "SELECT consumed_next = 1 FROM signer_progress WHERE $1::uuid IS NOT NULL",
        _ => "SELECT consumed_next = 2 FROM signer_progress WHERE $1::uuid IS NOT NULL",
    };
    house.until("the journal knows it", false, statement, house.tenant).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nonce_that_a_stranger_used_is_not_given_whatever_the_chain_said_before() {
    let house = House::new(Mining::OnDemand).await;
    let desk = house.work("node-1", house.pool(), DeskOptions::default()).await;
    let first = house.acceptor.accept(house.request()).await.unwrap();
    house.until_state(first.id, TransactionState::Confirmed, true).await;
    is_used_by_a_stranger(&house, 1).await;
    let request = house.request();
    let accepted = house.acceptor.accept(request.clone()).await.unwrap();
    house.until_state(accepted.id, TransactionState::Confirmed, true).await;
    assert_eq!(house.effects(request.context.request_id).await, 1);
    assert_eq!(house.history(accepted.id).await, ["pending", "tracking", "mined", "confirmed"]);
    desk.stop().await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_got_a_nonce_at_the_moment_that_a_stranger_used_it_is_sent_at_another() {
    let house = House::new(Mining::OnDemand).await;
    is_used_by_a_stranger(&house, 0).await;
    let request = house.request();
    let id = house.acceptor.accept(request.clone()).await.unwrap().id;
    // As a holder does that has not heard of it.
    let leases = Leases::connect(&house.db, "node-0", DEFAULT_TERM).await.unwrap();
    let book = PgBook::new(house.db.clone(), leases, "node-0".into());
    let authority = book.acquire(house.signer, &CancellationToken::new()).await.unwrap();
    let attempt = house.attempt(id, &request, 0).await;
    assert_eq!(book.enter(&authority, house.signer, 0, &[attempt]).await.unwrap(), Entered::Committed);
    drop(authority);

    let desk = house.work("node-1", house.pool(), DeskOptions::default()).await;
    house.until_state(id, TransactionState::Confirmed, true).await;
    assert_eq!(house.effects(request.context.request_id).await, 1);
    let expected = ["pending", "tracking", "tracking", "pending", "tracking", "mined", "confirmed"];
    assert_eq!(house.history(id).await, expected);
    desk.stop().await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_of_a_signer_that_sent_before_it_was_ours_gets_a_better_offer_too() {
    let house = House::after(3, Mining::OnDemand).await;
    let options = DeskOptions { resend_after_blocks: 1, bump_after_blocks: 1, ..DeskOptions::default() };
    let desk = house.work("node-1", house.pool(), options).await;
    let request = house.request();
    let id = house.acceptor.accept(request.clone()).await.unwrap().id;
    house.until_taken(id).await;
    // 20 gwei, ten times what was offered; and no block after that one, or it would fall again.
    house.anvil.raw("anvil_setNextBlockBaseFeePerGas", json!(["0x4a817c800"])).await.unwrap();
    house.anvil.mine(1).await.unwrap();
    let is_offered_more = "SELECT count(*) > 1 FROM transaction_attempts WHERE transaction_id = $1";
    house.until("a better offer", false, is_offered_more, id).await;
    house.until_state(id, TransactionState::Confirmed, true).await;
    assert_eq!(house.effects(request.context.request_id).await, 1);
    desk.stop().await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_that_only_a_lie_can_have_made_is_neither_filled_nor_added_to() {
    let house = House::new(Mining::OnDemand).await;
    let set =
        |next: i64| sqlx::query("UPDATE signers SET next_nonce = $1").bind(next).execute(house.db.worker());
    set(1_000_000).await.unwrap();
    let request = house.request();
    let id = house.acceptor.accept(request.clone()).await.unwrap().id;
    let (endpoint, faults) = house.faulty();
    let desk = house.work("node-1", endpoint.into(), DeskOptions::default()).await;
    // Two counts a question.
    faults.wait_for_requests("eth_getTransactionCount", 6).await;
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM managed_transactions")
        .fetch_one(house.db.worker())
        .await
        .unwrap();
    assert_eq!((rows, house.state(id).await), (1, TransactionState::Pending));
    desk.stop().await;

    set(0).await.unwrap();
    let desk = house.work("node-2", house.pool(), DeskOptions::default()).await;
    house.until_state(id, TransactionState::Confirmed, true).await;
    assert_eq!(house.effects(request.context.request_id).await, 1);
    desk.stop().await;
    house.end().await;
}
