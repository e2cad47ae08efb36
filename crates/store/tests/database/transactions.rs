//! What is dropped half way stays without effect, on what it did and on whoever has the connection next.

use std::sync::atomic::{AtomicBool, Ordering};

use plimsoll_store::testing::{self, Polling, drop_after};
use plimsoll_store::{CopyBuffer, Db, PoolSizes, Tx};
use sqlx::{Connection, PgConnection};

use crate::run;

const COPY: &str = "COPY story (attempt, what, filling) FROM STDIN (FORMAT binary)";
const SMALL_ROWS: usize = 3;
/// Far more than the sockets hold, so that sending waits for the server many times.
const LARGE_ROWS: usize = 300;
const LARGE_ROW_BYTES: usize = 10_000;
const DROPS: u32 = 40;

/// Two sets of pools on one database: one with a single connection, and one that looks at what is committed.
async fn places() -> (Db, Db) {
    let urls = testing::database().await;
    let one = Db::connect_with(&urls, PoolSizes { app: 1, worker: 1 }).await.unwrap();
    let other = Db::connect(&urls).await.unwrap();
    let table =
        "CREATE TABLE story (attempt bigint, what text, filling text); GRANT ALL ON story TO plimsoll_worker";
    run(&urls.owner, table).await.unwrap();
    (one, other)
}

async fn put(conn: &mut PgConnection, attempt: i64, what: &str) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO story (attempt, what) VALUES ($1, $2)")
        .bind(attempt)
        .bind(what)
        .execute(conn)
        .await
        .map(drop)
}

fn rows(attempt: i64, count: usize, bytes: usize) -> CopyBuffer {
    let mut buffer = CopyBuffer::new();
    for _ in 0..count {
        buffer.row(3);
        buffer.put_i64(attempt);
        buffer.put_text("copied");
        buffer.put_text(&"x".repeat(bytes));
    }
    buffer
}

/// How many rows of a kind the pool sees.
async fn count(db: &Db, attempt: i64, what: &[&str]) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM story WHERE attempt = $1 AND what = ANY ($2)")
        .bind(attempt)
        .bind(what)
        .fetch_one(db.worker())
        .await
        .unwrap()
}

const ITS_OWN: &[&str] = &["begun", "copied", "asked"];

/// Of everything that a transaction may be dropped in: BEGIN, a statement, a COPY that fits into one message, a query whose answer is read in
/// part, a COPY that waits for the server, COMMIT.
async fn story(db: &Db, attempt: i64, commits: &AtomicBool) -> Result<(), sqlx::Error> {
    let mut tx = db.begin_worker().await?;
    put(&mut tx, attempt, "begun").await?;
    rows(attempt, SMALL_ROWS, 1).write(&mut tx, COPY).await?;
    sqlx::query("SELECT repeat('x', 1000) FROM generate_series(1, 1000)").fetch_all(&mut *tx).await?;
    {
        let mut nested = tx.begin().await?;
        put(&mut nested, attempt, "taken back").await?;
        nested.rollback().await?;
    }
    put(&mut tx, attempt, "asked").await?;
    rows(attempt, LARGE_ROWS, LARGE_ROW_BYTES).write(&mut tx, COPY).await?;
    commits.store(true, Ordering::Relaxed);
    tx.commit().await
}

#[tokio::test]
async fn a_transaction_that_is_dropped_at_any_point_harms_neither_the_next_one_nor_a_statement_without_one() {
    let (one, other) = places().await;
    let (mut polls, mut attempt, mut dropped_before_its_commit) = (0, 0, 0);
    // How often a story is polled depends on how soon the server answers. Ends: each round drops one before its first poll.
    while dropped_before_its_commit < DROPS {
        attempt += 1;
        let commits = AtomicBool::new(false);
        let ended = drop_after(polls, Polling::WhenWoken, story(&one, attempt, &commits)).await;
        let (is_over, commits) = (ended.is_some(), commits.into_inner());
        if let Some(ended) = ended {
            ended.unwrap();
        }
        let went_on = goes_on(&one, attempt).await;
        went_on.unwrap_or_else(|error| panic!("attempt {attempt}, after {polls} polls: {error}"));

        assert_eq!(count(&other, attempt, &["next"]).await, 1, "after {polls} polls");
        assert_eq!(count(&other, attempt, &["alone"]).await, 1, "after {polls} polls");
        assert_eq!(count(&other, attempt, &["taken back"]).await, 0, "after {polls} polls");
        let all = i64::try_from(SMALL_ROWS + LARGE_ROWS + 2).unwrap();
        let found = count(&other, attempt, ITS_OWN).await;
        let sound = match (is_over, commits) {
            (true, _) => found == all,
            (false, true) => found == 0 || found == all,
            (false, false) => found == 0,
        };
        assert!(sound, "after {polls} polls: {found} rows of {all}");
        dropped_before_its_commit += u32::from(!commits);
        polls = if is_over { 0 } else { polls + 1 };
    }
}

/// The next transaction on the one connection, and then a statement without one.
async fn goes_on(db: &Db, attempt: i64) -> Result<(), sqlx::Error> {
    let mut next = db.begin_worker().await?;
    put(&mut next, attempt, "next").await?;
    next.commit().await?;
    let alone = sqlx::query("INSERT INTO story (attempt, what) VALUES ($1, 'alone')").bind(attempt);
    alone.execute(db.worker()).await.map(drop)
}

async fn session(db: &Db) -> i32 {
    sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(db.worker()).await.unwrap()
}

#[tokio::test]
async fn a_transaction_that_is_dropped_between_two_statements_is_rolled_back_and_its_session_goes_on() {
    let (one, other) = places().await;
    let before = session(&one).await;
    let mut tx = one.begin_worker().await.unwrap();
    put(&mut tx, 1, "begun").await.unwrap();
    let mut nested = tx.begin().await.unwrap();
    put(&mut nested, 1, "begun").await.unwrap();
    drop(nested);
    drop(tx);
    assert_eq!(session(&one).await, before);
    assert_eq!(count(&other, 1, &["begun"]).await, 0);

    let mut tx = one.begin_worker().await.unwrap();
    sqlx::query("SELECT 1/0").execute(&mut *tx).await.unwrap_err();
    drop(tx);
    assert_eq!(session(&one).await, before);
}

#[tokio::test]
async fn a_transaction_that_is_dropped_outside_of_its_runtime_is_rolled_back_all_the_same() {
    let (one, other) = places().await;
    let mut tx = one.begin_worker().await.unwrap();
    put(&mut tx, 1, "begun").await.unwrap();
    std::thread::spawn(move || drop(tx)).join().unwrap();
    put(&mut one.worker().acquire().await.unwrap(), 1, "alone").await.unwrap();
    assert_eq!(count(&other, 1, &["begun"]).await, 0);
    assert_eq!(count(&other, 1, &["alone"]).await, 1);
}

#[tokio::test]
async fn a_snapshot_sees_one_moment_and_writes_nothing() {
    let (one, other) = places().await;
    let mut snapshot = Tx::snapshot(one.worker()).await.unwrap();
    let seen = "SELECT count(*) FROM story";
    let before: i64 = sqlx::query_scalar(seen).fetch_one(&mut *snapshot).await.unwrap();
    put(&mut other.worker().acquire().await.unwrap(), 1, "alone").await.unwrap();
    let after: i64 = sqlx::query_scalar(seen).fetch_one(&mut *snapshot).await.unwrap();
    assert_eq!((before, after), (0, 0));
    put(&mut snapshot, 1, "begun").await.unwrap_err();
    snapshot.rollback().await.unwrap();
    assert_eq!(count(&one, 1, &["alone"]).await, 1);
}

#[tokio::test]
async fn a_copy_outside_of_a_transaction_is_refused() {
    let (one, _other) = places().await;
    let mut conn = one.worker().acquire().await.unwrap();
    let refused = rows(1, 1, 1).write(&mut conn, COPY).await.unwrap_err();
    assert!(refused.to_string().contains("outside of a transaction"), "{refused}");
    drop(conn);
    assert_eq!(count(&one, 1, &["copied"]).await, 0);
}
