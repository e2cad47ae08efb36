//! What a reorganisation takes back.

use plimsoll_testkit::anvil::Replacement;

use crate::house::{House, options};
use crate::sender::Pause;

#[tokio::test(flavor = "multi_thread")]
async fn success_is_taken_back_with_its_block_and_comes_again_by_the_same_transaction() {
    let house = House::new(&[]).await;
    let job = house.lost_deposit(0, 5_000_000).await;
    assert!(house.ask(job).await);
    let worker = house.work("node-1", Pause::Never, options(&house)).await;
    let is_broadcast = "SELECT EXISTS (SELECT FROM cache_retry_jobs j JOIN transaction_attempts a USING (transaction_id) JOIN transaction_broadcasts b ON b.tx_hash = a.tx_hash
                                       WHERE j.job_id = $1 AND b.answer IN ('accepted', 'already_known'))";
    house.until("a node has it", false, is_broadcast, job).await;
    house.anvil.mine(1).await.unwrap();
    house.until_succeeded(job, false).await;
    house.anvil.reorg(1, &[]).await.unwrap();
    let is_back =
        "SELECT status = 'awaiting_event' AND block_number IS NULL FROM cache_retry_jobs WHERE job_id = $1";
    house.until("its success is taken back", false, is_back, job).await;
    house.until_succeeded(job, true).await;
    assert_eq!((house.sent("cache_retry").await, house.jobs().await), (1, 1));
    let ended: Vec<_> = house.actions(job).await.into_iter().skip(5).collect();
    assert_eq!(ended, ["succeed", "taken_back", "succeed"]);
    worker.stop().await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_failure_left_the_chain_is_needless() {
    let house = House::new(&[]).await;
    house.pause("PositionView", true).await;
    house.deposit(0, 5_000_000).await;
    let job = house.until_job(0).await;
    let other = house.deployment.call(
        house.deployment.admin,
        "PositionView",
        "setPaused",
        &[alloy_dyn_abi::DynSolValue::Bool(false)],
    );
    house.anvil.reorg(1, &[(Replacement::Other(other), 0)]).await.unwrap();
    house.until_superseded(job).await;
    assert!(!house.ask(job).await);
    let left: bool = sqlx::query_scalar("SELECT bool_and(is_retracted) FROM cache_retry_occurrences")
        .fetch_one(house.db.worker())
        .await
        .unwrap();
    assert!(left);
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_healed_in_a_block_that_left_waits_again() {
    let house = House::new(&[]).await;
    let job = house.lost_deposit(0, 5_000_000).await;
    house.deposit(0, 1).await;
    house.until_superseded(job).await;
    let unrelated = house.deployment.call(
        house.deployment.admin,
        "PositionView",
        "setPaused",
        &[alloy_dyn_abi::DynSolValue::Bool(false)],
    );
    house.anvil.reorg(1, &[(Replacement::Other(unrelated), 0)]).await.unwrap();
    let waits = "SELECT status = 'queued' FROM cache_retry_jobs WHERE job_id = $1";
    house.until("that it waits again", false, waits, job).await;
    assert!(house.ask(job).await);
    let worker = house.work("node-1", Pause::Never, options(&house)).await;
    house.until_succeeded(job, true).await;
    assert_eq!(house.sent("cache_retry").await, 1);
    worker.stop().await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_whose_healing_left_is_of_the_job_that_its_key_has_by_then() {
    let house = House::new(&[]).await;
    let first = house.lost_deposit(0, 5_000_000).await;
    house.deposit(0, 1).await;
    house.until_superseded(first).await;
    let second = house.lost_deposit(0, 1).await;
    assert!(house.ask(second).await);
    let worker = house.work("node-1", Pause::Never, options(&house)).await;
    let is_under_way = "SELECT status = 'awaiting_event' FROM cache_retry_jobs WHERE job_id = $1";
    house.until("that it is under way", false, is_under_way, second).await;
    let unrelated = house.deployment.call(
        house.deployment.admin,
        "PositionView",
        "setPaused",
        &[alloy_dyn_abi::DynSolValue::Bool(false)],
    );
    // The healing, and the three blocks of the second failure.
    house.anvil.reorg(4, &[(Replacement::Other(unrelated), 0)]).await.unwrap();
    let has_it = "SELECT count(*) FILTER (WHERE is_retracted) = 1 AND count(*) FILTER (WHERE NOT is_retracted) = 1 FROM cache_retry_occurrences WHERE job_id = $1";
    house.until("that it has the first failure", false, has_it, second).await;
    house.until_succeeded(second, true).await;
    assert_eq!((house.status(first).await.as_str(), house.jobs().await), ("superseded", 2));
    worker.stop().await;
    house.end().await;
}
