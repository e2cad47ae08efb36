//! A request whose process is killed, or frozen, at a known moment; and who gets its key.
//!
//! The moments are made by locks in the database: a gate before the transaction that proves the claim, and the table that the effects go to.

use sqlx::{ConnectOptions as _, Connection as _, PgConnection};

use crate::house::{House, Settings};
use crate::world::{World, seed};
use crate::writer::{Writer, each_is_there_once};

const APPROVALS: &str = "/api/v1/approvals";
/// A claim lasts longer than any test; a duplicate waits less than a request may take.
const LONG_CLAIMS: &str = "\n[idempotency]\nclaim_term_ms = 600000\nwait_ms = 1000\n";
/// Whoever proves a claim passes here first.
const GATE: &str = "ALTER FUNCTION hold_claim(bigint, uuid) RENAME TO hold_claim_behind;
    CREATE FUNCTION hold_claim(entry bigint, token uuid) RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM pg_advisory_xact_lock_shared(77);
        PERFORM hold_claim_behind(entry, token);
    END
    $$;
    GRANT EXECUTE ON FUNCTION hold_claim(bigint, uuid) TO plimsoll_app";

/// How far a request has come.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// Its claim is committed, and the transaction of its effects has not proved it yet.
    Claimed,
    /// It is in the midst of its effects, with the claim locked.
    Writing,
}

impl Moment {
    /// From now on requests stop there.
    async fn stop_here(self, conn: &mut PgConnection) {
        let statement = match self {
            Self::Claimed => "SELECT pg_advisory_lock(77)",
            Self::Writing => "BEGIN; LOCK TABLE approvals IN EXCLUSIVE MODE",
        };
        sqlx::raw_sql(statement).execute(conn).await.unwrap();
    }

    async fn go_on(self, conn: &mut PgConnection) {
        let statement = match self {
            Self::Claimed => "SELECT pg_advisory_unlock(77)",
            Self::Writing => "ROLLBACK",
        };
        sqlx::raw_sql(statement).execute(conn).await.unwrap();
    }

    /// How many sessions of requests stand there.
    async fn stopped(self, conn: &mut PgConnection) -> i64 {
        let which = match self {
            Self::Claimed => "locktype = 'advisory' AND objid = 77",
            Self::Writing => "relation = 'approvals'::regclass",
        };
        let database = "database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        let statement = format!("SELECT count(*) FROM pg_locks WHERE NOT granted AND {database} AND {which}");
        sqlx::query_scalar(sqlx::AssertSqlSafe(statement)).fetch_one(conn).await.unwrap()
    }
}

/// Waits until so many requests stand there.
async fn until_stopped(house: &mut House, conn: &mut PgConnection, moment: Moment, count: i64) {
    let what = format!("{count} requests to stand at {moment:?}");
    house.until(&what, async |_| (moment.stopped(conn).await == count).then_some(())).await;
}

async fn claimed_by(conn: &mut PgConnection) -> String {
    sqlx::query_scalar("SELECT claimed_by FROM idempotency_cache WHERE state = 'in_flight'")
        .fetch_one(conn)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_process_was_killed_is_executed_at_once_by_the_next_one() {
    let world = World::new(seed(904), 10).await;
    let mut house = House::new(&world, Settings::default()).await;
    house.edit(|text| text + LONG_CLAIMS);
    house.start();
    house.catches_up(&world).await;
    let mut owner = house.owner().connect().await.unwrap();
    let mut looker = house.owner().connect().await.unwrap();
    sqlx::raw_sql(GATE).execute(&mut owner).await.unwrap();
    let (writer, url) = (Writer::new(&house).await, house.url(APPROVALS));
    let moments = [Moment::Claimed, Moment::Writing];
    for (number, moment) in (0..).zip(moments) {
        moment.stop_here(&mut owner).await;
        let killed = tokio::spawn({
            let (writer, url) = (writer.clone(), url.clone());
            async move { writer.ask(&url, number).await }
        });
        until_stopped(&mut house, &mut looker, moment, 1).await;
        house.kill();
        assert!(killed.await.unwrap().is_err(), "{moment:?}: nobody is left to answer");
        // The server finds its client gone, though the session waits for a lock.
        until_stopped(&mut house, &mut looker, moment, 0).await;
        moment.go_on(&mut owner).await;
        house.start();
        house.until("the next process to answer", async |house| house.get("/readyz").await).await;
        let answer = writer.ask(&url, number).await.unwrap();
        assert_eq!((answer.told(), answer.is_replayed), ("201".to_owned(), false), "{moment:?}");
        let again = writer.ask(&url, number).await.unwrap();
        assert_eq!((again.text, again.is_replayed), (answer.text, true), "{moment:?}");
    }
    each_is_there_once(&mut owner, u64::try_from(moments.len()).unwrap(), &moments).await;
    looker.close().await.unwrap();
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_living_process_keeps_its_key_and_a_frozen_one_that_lost_it_commits_nothing_when_it_wakes() {
    let world = World::new(seed(905), 10).await;
    let mut frozen = House::new(&world, Settings::default()).await;
    frozen.edit(|text| text + LONG_CLAIMS);
    frozen.start();
    frozen.catches_up(&world).await;
    let mut other = frozen.beside(&world);
    other.start();
    other.until("the other process to answer", async |house| house.get("/readyz").await).await;
    let mut owner = frozen.owner().connect().await.unwrap();
    let mut looker = frozen.owner().connect().await.unwrap();
    sqlx::raw_sql(GATE).execute(&mut owner).await.unwrap();
    let writer = Writer::new(&frozen).await;
    let ask = |url: String| {
        let writer = writer.clone();
        tokio::spawn(async move { writer.ask(&url, 0).await })
    };

    Moment::Claimed.stop_here(&mut owner).await;
    let first = ask(frozen.url(APPROVALS));
    until_stopped(&mut frozen, &mut looker, Moment::Claimed, 1).await;
    let holder = claimed_by(&mut looker).await;
    let in_flight = "409 request-in-flight";
    assert_eq!(ask(other.url(APPROVALS)).await.unwrap().unwrap().told(), in_flight, "its holder lives");
    frozen.freeze();
    assert_eq!(ask(other.url(APPROVALS)).await.unwrap().unwrap().told(), in_flight, "as far as anyone knows");
    assert_eq!(claimed_by(&mut looker).await, holder);

    // As if it had been frozen for the whole term.
    sqlx::raw_sql(
        "UPDATE idempotency_cache SET claim_expires_at = clock_timestamp() WHERE state = 'in_flight'",
    )
    .execute(&mut looker)
    .await
    .unwrap();
    let second = ask(other.url(APPROVALS));
    until_stopped(&mut other, &mut looker, Moment::Claimed, 2).await;
    assert_ne!(claimed_by(&mut looker).await, holder);
    Moment::Claimed.go_on(&mut owner).await;
    let second = second.await.unwrap().unwrap();
    assert_eq!((second.told(), second.is_replayed), ("201".to_owned(), false));
    frozen.thaw();
    assert_eq!(first.await.unwrap().unwrap().told(), in_flight, "it was taken over");
    let again = ask(frozen.url(APPROVALS)).await.unwrap().unwrap();
    assert_eq!((again.text, again.is_replayed), (second.text, true));
    each_is_there_once(&mut owner, 1, &in_flight).await;
    looker.close().await.unwrap();
    frozen.stop().await;
    other.stop().await;
}
