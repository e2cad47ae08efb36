//! What heals, by whom, and by how many transactions.

use alloy_dyn_abi::DynSolValue;
use alloy_primitives::U256;
use plimsoll_retry::WorkerOptions;

use crate::house::{House, options};
use crate::sender::Pause;

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_heals_by_one_transaction_that_the_view_answers() {
    let house = House::new(&[]).await;
    let job = house.lost_deposit(0, 5_000_000).await;
    assert_eq!(house.cached(0).await, U256::ZERO);
    assert!(house.ask(job).await);
    let worker = house.work("node-1", Pause::Never, options(&house)).await;
    house.until_succeeded(job, true).await;
    assert_eq!(house.cached(0).await, U256::from(5_000_000));
    assert_eq!((house.sent("cache_retry").await, house.sent("cache_refresh").await), (1, 0));
    assert_eq!(house.actions(job).await, ["enqueue", "ask", "retry", "submit", "accepted", "succeed"]);
    // The story is one, each event caused by the one before: from the failure to the transaction, which the relayer may tell of later.
    let story =
        "WITH told AS (SELECT event_id, causation_id FROM events UNION ALL SELECT event_id, causation_id FROM events_staging)
         SELECT (SELECT count(*) FROM told WHERE causation_id IN (SELECT event_id FROM told)) >= 8
                AND (SELECT count(*) FROM managed_transactions WHERE correlation_id = $1::text AND causation_id IN (SELECT event_id FROM told)) = 1";
    house.until("the whole story", true, story, job).await;
    worker.stop().await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_healed_before_anything_was_sent_sends_nothing() {
    let house = House::new(&[]).await;
    let job = house.lost_deposit(0, 5_000_000).await;
    house.deposit(0, 1).await;
    house.until_superseded(job).await;
    assert!(!house.ask(job).await, "there is nothing to try");
    let worker = house.work("node-1", Pause::Never, options(&house)).await;
    // Of a later job it is known that the worker has looked.
    let later = house.lost_deposit(1, 7).await;
    assert!(house.ask(later).await);
    house.until_succeeded(later, true).await;
    assert_eq!((house.sent("cache_retry").await, house.jobs().await), (1, 2));
    assert_eq!(house.actions(job).await, ["enqueue", "superseded"]);
    worker.stop().await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_that_fails_again_is_one_more_failure_of_the_same_job() {
    let house = House::new(&["Paused"]).await;
    house.pause("PositionView", true).await;
    house.deposit(0, 5_000_000).await;
    let job = house.until_job(0).await;
    let worker = house.work("node-1", Pause::Never, options(&house)).await;
    let again = "SELECT count(*) >= 3 FROM cache_retry_occurrences WHERE job_id = $1";
    house.until("a second retry that fails", true, again, job).await;
    house.pause("PositionView", false).await;
    house.until_succeeded(job, true).await;
    assert_eq!(house.jobs().await, 1);
    assert_eq!(house.cached(0).await, U256::from(5_000_000));
    let attempts: i32 = sqlx::query_scalar("SELECT attempts FROM cache_retry_jobs")
        .fetch_one(house.db.worker())
        .await
        .unwrap();
    assert_eq!(i64::from(attempts), house.sent("cache_retry").await, "each attempt is a transaction");
    worker.stop().await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_as_often_as_it_may_is_a_dead_letter() {
    let house = House::new(&["Paused"]).await;
    house.pause("PositionView", true).await;
    house.deposit(0, 5_000_000).await;
    let job = house.until_job(0).await;
    let worker =
        house.work("node-1", Pause::Never, WorkerOptions { max_attempts: 2, ..options(&house) }).await;
    let is_dead = "SELECT status = 'deadletter' FROM cache_retry_jobs WHERE job_id = $1";
    house.until("the dead letter", true, is_dead, job).await;
    assert_eq!(house.sent("cache_retry").await, 2);
    // It is its key's job still, until the view has it.
    house.deposit(0, 1).await;
    house.pause("PositionView", false).await;
    house.deposit(0, 1).await;
    house.until_superseded(job).await;
    assert_eq!((house.jobs().await, house.sent("cache_retry").await), (1, 2));
    worker.stop().await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_users_health_heals_by_its_own_event() {
    let house = House::new(&[]).await;
    house.deposit(0, 5_000_000).await;
    house.pause("HealthView", true).await;
    house.deposit(0, 1).await;
    let borrowed = [
        house.deployment.assets[0].token.into(),
        DynSolValue::Uint(U256::from(1_000_000), 256),
        DynSolValue::FixedBytes(alloy_primitives::B256::ZERO, 32),
        DynSolValue::Uint(U256::ZERO, 64),
    ];
    house.call(house.deployment.users[0], "LendingEngineCore", "borrow", &borrowed).await;
    house.pause("HealthView", false).await;
    let job = house.until_job(0).await;
    assert!(house.ask(job).await);
    let worker = house.work("node-1", Pause::Never, options(&house)).await;
    house.until_succeeded(job, true).await;
    assert_eq!((house.jobs().await, house.sent("cache_retry").await), (1, 1));
    worker.stop().await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_module_cache_is_refreshed_once_and_then_what_waited_is_retried() {
    let house = House::new(&["ModuleCacheExpired"]).await;
    let ttl = DynSolValue::Uint(U256::from(10_000), 64);
    house.admin("VaultRouter", "setModuleCacheTtl", &[ttl]).await;
    house.anvil.increase_time(20_000).await.unwrap();
    house.deposit(0, 5_000_000).await;
    house.deposit(1, 6_000_000).await;
    let (one, other) = (house.until_job(0).await, house.until_job(1).await);
    let worker = house.work("node-1", Pause::Never, options(&house)).await;
    house.until_succeeded(one, true).await;
    house.until_succeeded(other, true).await;
    assert_eq!(
        (house.cached(0).await, house.cached(1).await),
        (U256::from(5_000_000), U256::from(6_000_000))
    );
    assert_eq!((house.sent("cache_refresh").await, house.sent("cache_retry").await), (1, 2));
    worker.stop().await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_revert_is_not_sent() {
    let house = House::new(&["Paused"]).await;
    house.lost_deposit(0, 5_000_000).await;
    let job = house.until_job(0).await;
    let keeper = house.deployment.keeper;
    house.admin("Registry", "setAdmin", &[keeper.into(), DynSolValue::Bool(false)]).await;
    let worker = house.work("node-1", Pause::Never, options(&house)).await;
    let refused = "SELECT attempts > 1 AND why LIKE '%NotAdmin%' FROM cache_retry_jobs WHERE job_id = $1";
    house.until("the refusal", false, refused, job).await;
    assert_eq!(house.sent("cache_retry").await, 0);
    house.admin("Registry", "setAdmin", &[keeper.into(), DynSolValue::Bool(true)]).await;
    house.until_succeeded(job, true).await;
    assert_eq!(house.sent("cache_retry").await, 1);
    worker.stop().await;
    house.end().await;
}
