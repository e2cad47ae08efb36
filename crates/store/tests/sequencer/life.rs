use plimsoll_store::sequencer::head;
use plimsoll_store::{DatabaseUrls, Db, Sequencer, drop_expired, testing};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};
use tokio_util::sync::CancellationToken;

use super::{NOTES, TABLES, database, drain_all, leases, patient_session, run, stage, stream, take};

#[tokio::test]
async fn what_is_staged_is_numbered_as_it_comes_until_it_is_told_to_end() {
    let db = database().await;
    let leases = leases(&db, "one").await;
    let cancel = CancellationToken::new();
    let running = tokio::spawn({
        let (db, cancel) = (db.clone(), cancel.clone());
        async move { Sequencer::new(&NOTES, db, leases).run(&cancel).await }
    });
    let mut numbered = NOTES.subscribe_numbered();
    for round in 1..=3 {
        let mut tx = db.begin_worker().await.unwrap();
        stage(&mut tx, 1, round * 10..round * 10 + 5).await;
        tx.commit().await.unwrap();
        NOTES.announce_staged();
        let mut conn = db.worker().acquire().await.unwrap();
        while head(&mut conn, &NOTES).await.unwrap().sequence < i64::from(round) * 5 {
            numbered.changed().await.unwrap();
        }
    }
    cancel.cancel();
    running.await.unwrap().unwrap();
    assert_eq!(stream(&db).await.len(), 15);
}

#[tokio::test]
async fn a_transaction_left_open_and_an_old_snapshot_hold_nobody_back() {
    let db = database().await;
    let leases = leases(&db, "one").await;
    let lease = take(&leases).await;
    let mut sequencer = Sequencer::new(&NOTES, db.clone(), leases).with_max_batch_rows(100);
    let (mut open, mut snapshot, mut other) =
        (patient_session(&db).await, patient_session(&db).await, patient_session(&db).await);
    sqlx::raw_sql("BEGIN").execute(&mut open).await.unwrap();
    stage(&mut open, 1, 0..1).await;
    sqlx::raw_sql("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM notes_staging")
        .execute(&mut snapshot)
        .await
        .unwrap();
    for round in 0..4 {
        stage(&mut other, 2, round * 100..round * 100 + 100).await;
        sequencer.raise_floor().await.unwrap();
        assert_eq!(drain_all(&mut sequencer, &lease).await.unwrap(), 100);
    }
    sqlx::raw_sql("COMMIT").execute(&mut open).await.unwrap();
    sequencer.raise_floor().await.unwrap();
    assert_eq!(drain_all(&mut sequencer, &lease).await.unwrap(), 1, "committed late, under the lowest id");
    assert_eq!(stream(&db).await.last().map(|note| (note.sequence, note.writer)), Some((401, 1)));
    sqlx::raw_sql("COMMIT").execute(&mut snapshot).await.unwrap();
}

/// How often the queue was read as a whole, and by its key: as told by all other sessions, which have ended by then.
async fn scans(conn: &mut PgConnection) -> (i64, i64) {
    let others = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid())";
    while sqlx::query_scalar::<_, bool>(others).fetch_one(&mut *conn).await.unwrap() {
        tokio::task::yield_now().await;
    }
    let read = "SELECT seq_scan, idx_scan FROM pg_stat_user_tables WHERE relname = 'notes_staging'";
    sqlx::query_as(read).fetch_one(conn).await.unwrap()
}

#[tokio::test]
async fn a_queue_is_looked_at_by_its_key_however_small_it_seems() {
    let db = database().await;
    let urls = db.urls().clone();
    let mut conn = urls.owner.connect().await.unwrap();
    db.close().await;
    // To make it, it was read too.
    let before = scans(&mut conn).await;
    let db = Db::connect(&urls).await.unwrap();
    let leases = leases(&db, "one").await;
    let cancel = CancellationToken::new();
    let running = tokio::spawn({
        let (db, cancel) = (db.clone(), cancel.clone());
        async move { Sequencer::new(&NOTES, db, leases).run(&cancel).await }
    });
    let mut numbered = NOTES.subscribe_numbered();
    let mut session = patient_session(&db).await;
    stage(&mut session, 1, 0..20).await;
    NOTES.announce_staged();
    while stream(&db).await.len() < 20 {
        numbered.changed().await.unwrap();
    }
    cancel.cancel();
    running.await.unwrap().unwrap();
    session.close().await.unwrap();
    db.close().await;
    let after = scans(&mut conn).await;
    assert!(after.1 > before.1, "it was looked at");
    assert_eq!(after.0, before.0, "it was read as a whole, over all that had died in it");
}

#[tokio::test]
async fn a_row_without_a_digest_stops_its_linked_stream_with_the_reason() {
    let db = database().await;
    let leases = leases(&db, "one").await;
    let lease = take(&leases).await;
    sqlx::raw_sql("INSERT INTO notes_staging (writer, place) VALUES (1, 1)")
        .execute(db.worker())
        .await
        .unwrap();
    let error = Sequencer::new(&NOTES, db.clone(), leases).drain(&lease).await.unwrap_err().to_string();
    assert!(error.contains("row 1 of notes_staging has no digest"), "{error}");
}

#[tokio::test]
async fn partitions_are_made_ahead_and_dropped_when_old_and_read_by_all() {
    let urls = testing::database().await;
    run(&urls.owner, TABLES).await;
    run(&urls.owner, "UPDATE plimsoll.partition_policies SET width = 20000, retention = interval '30 days' WHERE parent = 'notes'").await;
    let db = Db::connect(&urls).await.unwrap();
    let leases = leases(&db, "one").await;
    let lease = take(&leases).await;
    let mut sequencer = Sequencer::new(&NOTES, db.clone(), leases);
    run(
        &urls.worker,
        "INSERT INTO notes_staging (writer, place, digest, recorded_at)
         SELECT 1, n, sha256(int4send(n)), now() - (50000 - n) * interval '0.0015 days' FROM generate_series(1, 45000) n",
    )
    .await;
    assert_eq!(drain_all(&mut sequencer, &lease).await.unwrap(), 45_000);
    Db::connect(&urls).await.expect("partitions of a stream are protected too");
    assert_eq!(stream(&db).await.len(), 45_000);

    sqlx::query("INSERT INTO outbox_cursors (reader, stream, sequence) VALUES ('slow', 'notes', 10)")
        .execute(db.worker())
        .await
        .unwrap();
    assert_eq!(drop_expired(&urls.owner).await.unwrap(), [""; 0], "a reader has yet to read them");
    sqlx::query("UPDATE outbox_cursors SET sequence = 45000").execute(db.worker()).await.unwrap();
    assert_eq!(drop_expired(&urls.owner).await.unwrap(), ["notes_0"], "the next one is still wanted");
}

#[tokio::test]
async fn a_database_that_was_copied_with_its_queue_goes_on_where_the_copy_was_made() {
    let db = database().await;
    let urls = db.urls().clone();
    let first = leases(&db, "one").await;
    let lease = take(&first).await;
    let mut session = patient_session(&db).await;
    stage(&mut session, 1, 0..5).await;
    drain_all(&mut Sequencer::new(&NOTES, db.clone(), first), &lease).await.unwrap();
    stage(&mut session, 1, 5..9).await;
    // An id that was given out and never committed is a hole in the queue, here and in the copy.
    sqlx::raw_sql("BEGIN").execute(&mut session).await.unwrap();
    stage(&mut session, 1, 9..10).await;
    sqlx::raw_sql("ROLLBACK").execute(&mut session).await.unwrap();
    session.close().await.unwrap();
    drop(lease);
    db.close().await;

    let copied = format!("{}_copy", urls.database());
    let mut conn = urls.owner.clone().database("postgres").connect().await.unwrap();
    let statements = format!(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{0}'; CREATE DATABASE {copied} TEMPLATE {0}",
        urls.database()
    );
    for statement in statements.split("; ") {
        sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut conn).await.unwrap();
    }
    let copy = DatabaseUrls::from_options(&urls.owner.clone().database(&copied), None, None);
    let db = Db::connect(&copy).await.unwrap();
    let second = leases(&db, "two").await;
    let lease = second.acquire_wait("sequencer:notes", &CancellationToken::new()).await.unwrap();
    let mut sequencer = Sequencer::new(&NOTES, db.clone(), second);
    stage(&mut db.worker().acquire().await.unwrap(), 2, 0..3).await;
    assert_eq!(drain_all(&mut sequencer, &lease).await.unwrap(), 7);
    assert_eq!(stream(&db).await.len(), 12);
}
