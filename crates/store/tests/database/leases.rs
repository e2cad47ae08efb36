use std::time::Duration;

use plimsoll_store::lease::{Lease, LeaseError, Leases};
use plimsoll_store::{Db, testing};
use sqlx::PgConnection;
use tokio_util::sync::CancellationToken;

use super::until;

const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_secs(1);

/// What a guarded transaction does: one row that says under which token it was written.
async fn write(conn: &mut PgConnection, token: i64) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO anomalies (chain_id, source, kind, detail) VALUES (1, 'test', 'write', to_jsonb($1::bigint))")
        .bind(token)
        .execute(conn)
        .await
        .map(drop)
}

async fn written(db: &Db) -> Vec<i64> {
    sqlx::query_scalar("SELECT detail::bigint FROM anomalies ORDER BY anomaly_id")
        .fetch_all(db.worker())
        .await
        .unwrap()
}

/// As if the term were over.
async fn expire(db: &Db, name: &str) {
    sqlx::query("UPDATE leases SET expires_at = clock_timestamp() WHERE name = $1")
        .bind(name)
        .execute(db.worker())
        .await
        .unwrap();
}

/// Ends the sessions that keep leases in this database, and waits until they are gone.
async fn kill_keepers(db: &Db) {
    sqlx::query(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'plimsoll leases'",
    )
    .execute(db.worker())
    .await
    .unwrap();
}

/// Until a session of this database waits for another's row.
async fn until_somebody_waits(db: &Db) {
    until(async || {
        sqlx::query_scalar(
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
                            AND query ILIKE '%leases%' AND pid <> pg_backend_pid())",
        )
        .fetch_one(db.worker())
        .await
        .unwrap()
    })
    .await;
}

async fn leases(db: &Db, holder: &str, term: Duration) -> Leases {
    Leases::connect(db, holder, term).await.unwrap()
}

async fn taken(leases: &Leases, name: &str) -> Lease {
    leases.acquire(name).await.unwrap().expect("the lease is to be had")
}

#[tokio::test]
async fn of_two_takers_one_wins_and_tokens_only_rise() {
    let db = testing::db().await;
    let (one, two) = (leases(&db, "one", LONG).await, leases(&db, "two", LONG).await);
    let mut last_token = 0;
    for _ in 0..30 {
        let (first, second) = tokio::join!(one.acquire("writer"), two.acquire("writer"));
        let winners: Vec<Lease> = [first.unwrap(), second.unwrap()].into_iter().flatten().collect();
        assert!(winners.len() <= 1, "two holders: {winners:?}");
        for winner in winners {
            assert!(winner.token() > last_token, "{} after {last_token}", winner.token());
            last_token = winner.token();
            winner.release().await.unwrap();
        }
    }
    assert!(last_token >= 10, "each look blocked the other: {last_token}");
}

#[tokio::test]
async fn a_held_lease_is_not_to_be_had_until_it_is_released() {
    let db = testing::db().await;
    let (one, two) = (leases(&db, "one", LONG).await, leases(&db, "two", LONG).await);
    let lease = taken(&one, "writer").await;
    assert!(two.acquire("writer").await.unwrap().is_none());
    assert!(one.acquire("writer").await.unwrap().is_none());
    let other_name = taken(&two, "another").await;
    assert_eq!(other_name.token(), 1);
    let clone = lease.clone();
    lease.release().await.unwrap();
    let next = taken(&two, "writer").await;
    assert_eq!(next.token(), 2);
    assert!(clone.lost().is_cancelled());
    assert!(matches!(
        clone.guard(&mut db.worker().acquire().await.unwrap()).await,
        Err(LeaseError::Fenced { token: 1, .. })
    ));
}

#[tokio::test]
async fn a_dropped_lease_is_given_back() {
    let db = testing::db().await;
    let (one, two) = (leases(&db, "one", LONG).await, leases(&db, "two", LONG).await);
    drop(taken(&one, "writer").await);
    let lease = two.acquire_wait("writer", &CancellationToken::new()).await.unwrap();
    assert_eq!(lease.token(), 2);
    drop(two);
    lease.lost().cancelled().await;
    one.acquire_wait("writer", &CancellationToken::new()).await.unwrap();
}

#[tokio::test]
async fn a_takeover_waits_for_a_guarded_transaction_and_sees_what_it_wrote() {
    let db = testing::db().await;
    let (one, two) = (leases(&db, "one", LONG).await, leases(&db, "two", LONG).await);
    let old = taken(&one, "writer").await;
    let mut tx = db.worker().begin().await.unwrap();
    old.guard(&mut tx).await.unwrap();
    // The holder pauses here, between its guard and its write, and its term ends.
    expire(&db, "writer").await;
    let taking = tokio::spawn(async move { two.acquire("writer").await.map(|lease| (lease, two)) });
    until_somebody_waits(&db).await;
    write(&mut tx, old.token()).await.unwrap();
    tx.commit().await.unwrap();

    let (new, _two) = taking.await.unwrap().unwrap();
    let new = new.expect("the taker got it after the commit");
    assert_eq!(new.token(), old.token() + 1);
    assert_eq!(written(&db).await, [1]);
    let mut tx = db.worker().begin().await.unwrap();
    assert!(matches!(old.guard(&mut tx).await, Err(LeaseError::Fenced { token: 1, .. })));
    new.guard(&mut tx).await.unwrap();
}

#[tokio::test]
async fn a_guard_that_meets_a_takeover_waits_for_it_and_is_fenced_in_its_own_transaction() {
    let db = testing::db().await;
    let one = leases(&db, "one", LONG).await;
    let old = taken(&one, "writer").await;
    let mut takeover = db.worker().begin().await.unwrap();
    sqlx::query("UPDATE leases SET fencing_token = fencing_token + 1, holder = 'two' WHERE name = 'writer'")
        .execute(&mut *takeover)
        .await
        .unwrap();
    let writing = tokio::spawn({
        let (db, old) = (db.clone(), old.clone());
        async move {
            let mut tx = db.worker().begin().await?;
            write(&mut tx, old.token()).await?;
            old.guard(&mut tx).await?;
            tx.commit().await?;
            Ok::<(), LeaseError>(())
        }
    });
    until_somebody_waits(&db).await;
    takeover.commit().await.unwrap();
    assert!(matches!(writing.await.unwrap(), Err(LeaseError::Fenced { token: 1, .. })));
    assert_eq!(written(&db).await, [0_i64; 0]);
}

#[tokio::test]
async fn a_holder_that_hangs_in_a_guarded_transaction_is_cut_off() {
    let db = testing::db().await;
    let (one, two) = (leases(&db, "one", LONG).await, leases(&db, "two", LONG).await);
    let old = taken(&one, "writer").await;
    let mut tx = db.worker().begin().await.unwrap();
    old.guard(&mut tx).await.unwrap();
    write(&mut tx, old.token()).await.unwrap();
    expire(&db, "writer").await;
    let new = taken(&two, "writer").await;
    assert_eq!(new.token(), 2);
    tx.commit().await.expect_err("its session was ended");
    assert_eq!(written(&db).await, [0_i64; 0]);
}

#[tokio::test]
async fn a_lease_whose_holder_has_vanished_is_taken_long_before_its_term_ends() {
    let db = testing::db().await;
    let one = leases(&db, "one", LONG).await;
    let old = taken(&one, "writer").await;
    kill_keepers(&db).await;
    let two = leases(&db, "two", LONG).await;
    let new = taken(&two, "writer").await;
    assert_eq!(new.token(), 2);
    let guarded = old.guard(&mut db.worker().acquire().await.unwrap()).await;
    assert!(matches!(guarded, Err(LeaseError::Fenced { .. })), "{guarded:?}");
}

#[tokio::test]
async fn a_holder_that_was_replaced_is_told_at_its_next_renewal() {
    let db = testing::db().await;
    let one = leases(&db, "one", SHORT).await;
    let lease = taken(&one, "writer").await;
    sqlx::query("UPDATE leases SET fencing_token = fencing_token + 1, holder = 'two'")
        .execute(db.worker())
        .await
        .unwrap();
    lease.lost().cancelled().await;
    assert_eq!(lease.remaining(), Duration::ZERO);
}

#[tokio::test]
async fn a_renewal_does_not_wait_for_a_guard() {
    let db = testing::db().await;
    let one = leases(&db, "one", SHORT).await;
    let lease = taken(&one, "writer").await;
    let mut tx = db.worker().begin().await.unwrap();
    lease.guard(&mut tx).await.unwrap();
    let expiry = async || -> f64 {
        sqlx::query_scalar("SELECT extract(epoch FROM expires_at)::float8 FROM leases")
            .fetch_one(db.worker())
            .await
            .unwrap()
    };
    let before = expiry().await;
    until(async || expiry().await > before).await;
    tx.commit().await.unwrap();
    assert!(!lease.lost().is_cancelled());
}

#[tokio::test]
async fn a_keeper_that_lost_its_session_renews_under_the_same_token() {
    let db = testing::db().await;
    let one = leases(&db, "one", SHORT).await;
    let lease = taken(&one, "writer").await;
    kill_keepers(&db).await;
    // Its advisory lock is back, in a new session: nobody takes it for dead.
    until(async || {
        sqlx::query_scalar("SELECT NOT pg_try_advisory_xact_lock_shared(hashtextextended('writer/1', 0))")
            .fetch_one(db.worker())
            .await
            .unwrap()
    })
    .await;
    lease.guard(&mut db.worker().acquire().await.unwrap()).await.unwrap();
    assert_eq!(lease.token(), 1);
    assert!(!lease.lost().is_cancelled());
}

#[tokio::test]
async fn a_wait_can_be_called_off() {
    let db = testing::db().await;
    let (one, two) = (leases(&db, "one", LONG).await, leases(&db, "two", LONG).await);
    let _lease = taken(&one, "writer").await;
    let cancel = CancellationToken::new();
    cancel.cancel();
    assert!(matches!(two.acquire_wait("writer", &cancel).await, Err(LeaseError::Cancelled { .. })));
}

#[tokio::test]
async fn a_caller_that_stops_asking_half_way_leaves_the_lease_to_others() {
    let db = testing::db().await;
    let (one, two) = (leases(&db, "one", LONG).await, leases(&db, "two", LONG).await);
    for _ in 0..10 {
        let asking = one.acquire("writer");
        tokio::select! {
            biased;
            lease = asking => drop(lease),
            () = tokio::task::yield_now() => {}
        }
    }
    let lease = two.acquire_wait("writer", &CancellationToken::new()).await.unwrap();
    lease.guard(&mut db.worker().acquire().await.unwrap()).await.unwrap();
}
