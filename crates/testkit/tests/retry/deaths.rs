//! Workers that die, freeze and race: of an attempt there is one transaction.

use alloy_primitives::U256;
use plimsoll_retry::lease_name;

use crate::house::{House, options};
use crate::sender::{Held, Pause};

#[tokio::test(flavor = "multi_thread")]
async fn of_two_workers_that_race_one_sends() {
    let house = House::new(&[]).await;
    let job = house.lost_deposit(0, 5_000_000).await;
    let one = house.work("node-1", Pause::Never, options(&house)).await;
    let other = house.work("node-2", Pause::Never, options(&house)).await;
    assert!(house.ask(job).await);
    house.until_succeeded(job, true).await;
    assert_eq!((house.sent("cache_retry").await, house.cached(0).await), (1, U256::from(5_000_000)));
    one.stop().await;
    other.stop().await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_dies_before_it_notes_what_it_handed_in_leaves_one_transaction() {
    let house = House::new(&[]).await;
    let job = house.lost_deposit(0, 5_000_000).await;
    assert!(house.ask(job).await);
    let held = Held::new();
    let doomed = house.work("node-1", Pause::After(held.clone()), options(&house)).await;
    held.arrived().await;
    assert_eq!((house.status(job).await.as_str(), house.sent("cache_retry").await), ("submitted", 1));
    doomed.kill().await;
    let successor = house.work("node-2", Pause::Never, options(&house)).await;
    house.until_succeeded(job, true).await;
    assert_eq!(house.sent("cache_retry").await, 1);
    assert_eq!(house.actions(job).await.len(), 6, "each step once");
    successor.stop().await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_wakes_after_its_lease_was_taken_sends_nothing_else_and_writes_nothing() {
    let house = House::new(&[]).await;
    let job = house.lost_deposit(0, 5_000_000).await;
    assert!(house.ask(job).await);
    let held = Held::new();
    let leases = house.leases("node-1").await;
    let lease = leases.acquire(&lease_name(house.deployment.chain_id)).await.unwrap().unwrap();
    let mut frozen = house.worker(leases, Pause::Before(held.clone()), options(&house));
    let stale = lease.clone();
    let task = tokio::spawn(async move { frozen.round(&stale).await });
    held.arrived().await;
    // Its lease ends, and its successor does it all.
    lease.release().await.unwrap();
    let successor = house.work("node-2", Pause::Never, options(&house)).await;
    house.until_succeeded(job, true).await;
    let version = "SELECT version FROM cache_retry_jobs WHERE job_id = $1";
    let before: i32 = sqlx::query_scalar(version).bind(job).fetch_one(house.db.worker()).await.unwrap();
    held.let_go();
    let outcome = task.await.unwrap();
    assert!(outcome.is_err(), "it is fenced");
    let after: i32 = sqlx::query_scalar(version).bind(job).fetch_one(house.db.worker()).await.unwrap();
    assert_eq!((after, house.sent("cache_retry").await), (before, 1));
    successor.stop().await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_heal_while_it_is_looked_into_is_not_sent() {
    let house = House::new(&[]).await;
    let job = house.lost_deposit(0, 5_000_000).await;
    assert!(house.ask(job).await);
    let worker = {
        let leases = house.leases("node-1").await;
        let lease = leases.acquire(&lease_name(house.deployment.chain_id)).await.unwrap().unwrap();
        // Taken, and then nothing: the node is away.
        house.anvil.stall().unwrap();
        let mut worker = house.worker(leases, Pause::Never, options(&house));
        tokio::spawn(async move { worker.round(&lease).await })
    };
    let is_taken = "SELECT status = 'leased' FROM cache_retry_jobs WHERE job_id = $1";
    house.until("that it is taken", false, is_taken, job).await;
    worker.abort();
    house.anvil.resume().unwrap();
    house.deposit(0, 1).await;
    house.until_superseded(job).await;
    let successor = house.work("node-2", Pause::Never, options(&house)).await;
    let later = house.lost_deposit(1, 7).await;
    assert!(house.ask(later).await);
    house.until_succeeded(later, true).await;
    assert_eq!((house.sent("cache_retry").await, house.status(job).await.as_str()), (1, "superseded"));
    successor.stop().await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_heal_while_it_is_handed_in_is_no_success_of_it() {
    let house = House::new(&[]).await;
    let job = house.lost_deposit(0, 5_000_000).await;
    assert!(house.ask(job).await);
    let held = Held::new();
    let worker = house.work("node-1", Pause::Before(held.clone()), options(&house)).await;
    held.arrived().await;
    house.deposit(0, 1).await;
    let is_noted = "SELECT healed_seq IS NOT NULL FROM cache_retry_jobs WHERE job_id = $1";
    house.until("that others healed it", false, is_noted, job).await;
    assert_eq!(house.status(job).await, "submitted", "nobody can say that it was not sent");
    held.let_go();
    house.until_succeeded(job, true).await;
    assert_eq!(house.sent("cache_retry").await, 1);
    worker.stop().await;
    house.end().await;
}
