//! Who may have a job tried: people, and the machine within its budget.

use plimsoll_retry::WorkerOptions;

use crate::house::{House, options};
use crate::sender::Pause;

#[tokio::test(flavor = "multi_thread")]
async fn nobody_asked_and_so_nothing_is_tried_beyond_the_budget() {
    let house = House::new(&["Paused"]).await;
    let (first, second) = (house.lost_deposit(0, 5).await, house.lost_deposit(1, 6).await);
    let worker =
        house.work("node-1", Pause::Never, WorkerOptions { automatic_per_hour: 1, ..options(&house) }).await;
    house.until_succeeded(first, true).await;
    assert_eq!(house.status(second).await, "queued");
    // What a person asks for is not of the budget.
    assert!(house.ask(second).await);
    house.until_succeeded(second, true).await;
    worker.stop().await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_ignored_is_left_and_a_later_failure_is_another_job() {
    let house = House::new(&[]).await;
    let job = house.lost_deposit(0, 5).await;
    let mut conn = house.db.worker().acquire().await.unwrap();
    assert!(plimsoll_retry::ignore(&mut conn, job, "user:ops", "a test account").await.unwrap());
    assert!(!plimsoll_retry::ignore(&mut conn, job, "user:ops", "again").await.unwrap());
    assert!(!house.ask(job).await);
    let later = house.lost_deposit(0, 5).await;
    assert_ne!(later, job);
    assert_eq!(house.status(job).await, "ignored");
    let told: (String, String) =
        sqlx::query_as("SELECT actor, note FROM cache_retry_audit WHERE job_id = $1 AND action = 'ignore'")
            .bind(job)
            .fetch_one(&mut *conn)
            .await
            .unwrap();
    assert_eq!(told, ("user:ops".into(), "a test account".into()));
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_sees_its_own_jobs_without_the_raw_reason_and_nobody_rewrites_the_audit() {
    let house = House::new(&[]).await;
    house.lost_deposit(0, 5).await;
    let count = "SELECT count(*) FROM cache_retry_jobs";
    for (tenant, expected) in [(house.tenant(), 1_i64), (uuid::Uuid::new_v4(), 0)] {
        let mut tx = house.db.tenant_tx(&[tenant]).await.unwrap();
        let seen: i64 = sqlx::query_scalar(count).fetch_one(&mut *tx).await.unwrap();
        assert_eq!(seen, expected);
        tx.rollback().await.unwrap();
    }
    let mut tx = house.db.tenant_tx(&[house.tenant()]).await.unwrap();
    sqlx::query("SELECT reason_raw FROM cache_retry_occurrences").execute(&mut *tx).await.unwrap_err();
    tx.rollback().await.unwrap();
    for statement in [
        "UPDATE cache_retry_audit SET note = 'nothing happened'",
        "DELETE FROM cache_retry_audit",
        "DELETE FROM cache_retry_jobs",
        "DELETE FROM cache_retry_occurrences",
    ] {
        sqlx::query(statement).execute(house.db.worker()).await.unwrap_err();
    }
    house.end().await;
}
