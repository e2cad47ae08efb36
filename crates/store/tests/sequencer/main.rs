//! What a sequencer promises, asked of a real database.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod life;
mod property;

use std::time::Duration;

use plimsoll_store::lease::{Lease, Leases};
use plimsoll_store::sequencer::{LinkCheck, read_after};
use plimsoll_store::{Db, Sequencer, SequencerError, Stream, testing};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, FromRow, PgConnection};

/// Longer than any test: nothing is renewed behind its back.
const LONG: Duration = Duration::from_secs(600);

static NOTES: Stream =
    Stream::new("notes", "notes_staging", &["writer", "place", "recorded_at", "digest"]).linked();

const TABLES: &str = "
    SET search_path = plimsoll;
    CREATE TABLE notes (sequence bigint PRIMARY KEY, writer integer NOT NULL, place integer NOT NULL, recorded_at timestamptz NOT NULL,
        digest bytea NOT NULL, prev_hash bytea NOT NULL, hash bytea NOT NULL) PARTITION BY RANGE (sequence);
    CREATE TABLE notes_staging (staging_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, writer integer NOT NULL, place integer NOT NULL,
        recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(), digest bytea);
    ALTER TABLE notes ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
    ALTER TABLE notes_staging ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
    CREATE POLICY owner_all ON notes TO plimsoll_owner USING (true) WITH CHECK (true);
    GRANT SELECT, INSERT ON notes TO plimsoll_worker;
    GRANT SELECT, INSERT, DELETE ON notes_staging TO plimsoll_worker;
    GRANT SELECT ON SEQUENCE notes_staging_staging_id_seq TO plimsoll_worker;
    INSERT INTO sequences (stream) VALUES ('notes');
    INSERT INTO partition_policies (parent, width, unit) VALUES ('notes', 100000, 'sequence');
    ALTER TABLE notes OWNER TO plimsoll_owner;
    ALTER TABLE notes_staging OWNER TO plimsoll_owner;
    GRANT SELECT ON SEQUENCE notes_staging_staging_id_seq TO plimsoll_worker;";

#[derive(Debug, FromRow)]
struct Note {
    sequence: i64,
    writer: i32,
    place: i32,
    digest: Vec<u8>,
    prev_hash: Vec<u8>,
    hash: Vec<u8>,
}

async fn database() -> Db {
    let urls = testing::database().await;
    run(&urls.owner, TABLES).await;
    Db::connect(&urls).await.unwrap()
}

async fn run(options: &PgConnectOptions, sql: &'static str) {
    let mut conn = options.connect().await.unwrap();
    sqlx::raw_sql(sql).execute(&mut conn).await.unwrap();
    conn.close().await.unwrap();
}

/// A session whose transactions may stay open as long as the test wants.
async fn patient_session(db: &Db) -> PgConnection {
    let mut conn = db.urls().worker.connect().await.unwrap();
    sqlx::raw_sql("SET idle_in_transaction_session_timeout = 0").execute(&mut conn).await.unwrap();
    conn
}

async fn stage(conn: &mut PgConnection, writer: i32, places: std::ops::Range<i32>) {
    for place in places {
        sqlx::query("INSERT INTO notes_staging (writer, place, digest) VALUES ($1, $2, sha256(int4send($1) || int4send($2)))")
            .bind(writer)
            .bind(place)
            .execute(&mut *conn)
            .await
            .unwrap();
    }
}

async fn leases(db: &Db, holder: &str) -> Leases {
    Leases::connect(db, holder, LONG).await.unwrap()
}

async fn take(leases: &Leases) -> Lease {
    leases.acquire(&Sequencer::lease_name(&NOTES)).await.unwrap().expect("the lease is to be had")
}

/// As if the holder's term were over.
async fn expire(db: &Db) {
    sqlx::query("UPDATE leases SET expires_at = clock_timestamp() WHERE name = 'sequencer:notes'")
        .execute(db.worker())
        .await
        .unwrap();
}

async fn drain_all(sequencer: &mut Sequencer, lease: &Lease) -> Result<u64, SequencerError> {
    let mut rows = 0;
    loop {
        let drained = sequencer.drain(lease).await?;
        rows += drained.rows;
        if !drained.has_more {
            return Ok(rows);
        }
    }
}

/// The whole stream, after a look at its density and its links.
async fn stream(db: &Db) -> Vec<Note> {
    let mut conn = db.worker().acquire().await.unwrap();
    let notes: Vec<Note> = read_after(&mut conn, &NOTES, 0, i64::MAX).await.unwrap();
    let mut check = LinkCheck::from("notes", 1);
    for note in &notes {
        let digest = note.digest.as_slice().try_into().unwrap();
        check.next(note.sequence, &digest, &note.prev_hash, &note.hash).unwrap();
    }
    let head = plimsoll_store::sequencer::head(&mut conn, &NOTES).await.unwrap();
    assert_eq!(head.sequence, i64::try_from(notes.len()).unwrap());
    assert_eq!(head.hash, check.head_hash().unwrap());
    notes
}
