use std::cell::RefCell;

use alloy_primitives::U256;
use plimsoll_store::{CopyBuffer, testing};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use sqlx::{Connection, PgConnection, Row};
use time::OffsetDateTime;
use uuid::Uuid;

const COPY: &str = "COPY sample (id, small, medium, large, flag, words, bytes, key, document, amount, nonce, at, kind, nothing) FROM STDIN (FORMAT binary)";

#[derive(Clone, Debug)]
struct Sample {
    small: i16,
    medium: i32,
    large: i64,
    flag: bool,
    words: Option<String>,
    bytes: Vec<u8>,
    key: [u8; 16],
    document: serde_json::Value,
    amount: [u8; 32],
    nonce: u64,
    at_micros: i64,
}

/// Uniform 256-bit words are nearly all 78 digits long: shorter ones, and those with zeros inside, are asked for.
fn amount() -> impl Strategy<Value = [u8; 32]> {
    let shifted = (any::<[u8; 32]>(), 0..32_usize).prop_map(|(mut word, zeros)| {
        word[..zeros].fill(0);
        word
    });
    let power = (0..77_u32, 0..10_000_u64).prop_map(|(exponent, factor)| {
        let ten = U256::from(10);
        (0..exponent).fold(U256::from(factor), |word, _| word.checked_mul(ten).unwrap_or(word)).to_be_bytes()
    });
    prop_oneof![Just([0; 32]), Just([255; 32]), shifted, power]
}

fn text() -> impl Strategy<Value = String> {
    any::<String>().prop_map(|text| text.replace('\0', ""))
}

fn document() -> impl Strategy<Value = serde_json::Value> {
    (text(), any::<i64>(), any::<bool>(), proptest::option::of(text()))
        .prop_map(|(name, number, flag, maybe)| serde_json::json!({ "name": name, "number": number, "list": [flag, maybe] }))
}

fn sample() -> impl Strategy<Value = Sample> {
    let numbers = (
        any::<i16>(),
        any::<i32>(),
        any::<i64>(),
        any::<bool>(),
        any::<u64>(),
        -62_000_000_000_000_000..200_000_000_000_000_000_i64,
    );
    let rest = (proptest::option::of(text()), any::<Vec<u8>>(), any::<[u8; 16]>(), document(), amount());
    (numbers, rest).prop_map(
        |((small, medium, large, flag, nonce, at_micros), (words, bytes, key, document, amount))| Sample {
            small,
            medium,
            large,
            flag,
            words,
            bytes,
            key,
            document,
            amount,
            nonce,
            at_micros,
        },
    )
}

fn encode(samples: &[Sample]) -> CopyBuffer {
    let mut rows = CopyBuffer::new();
    for (id, sample) in (0_i64..).zip(samples) {
        rows.row(14);
        rows.put_i64(id);
        rows.put_i16(sample.small);
        rows.put_i32(sample.medium);
        rows.put_i64(sample.large);
        rows.put_bool(sample.flag);
        rows.put_opt(sample.words.as_deref(), CopyBuffer::put_text);
        rows.put_bytea(&sample.bytes);
        rows.put_uuid(Uuid::from_bytes(sample.key));
        rows.put_jsonb(&serde_json::to_vec(&sample.document).unwrap());
        rows.put_numeric_u256_be(&sample.amount);
        rows.put_numeric_u64(sample.nonce);
        rows.put_timestamptz(
            OffsetDateTime::from_unix_timestamp_nanos(i128::from(sample.at_micros) * 1000).unwrap(),
        );
        rows.put_text(if sample.flag { "append" } else { "retract" });
        rows.put_null();
    }
    rows
}

async fn table(conn: &mut PgConnection) {
    sqlx::raw_sql(
        "CREATE TEMP TABLE sample (id bigint, small smallint, medium integer, large bigint, flag boolean, words text, bytes bytea,
                                   key uuid, document jsonb, amount numeric(78,0), nonce numeric(20,0), at timestamptz, kind journal_kind, nothing text)",
    )
    .execute(conn)
    .await
    .unwrap();
}

async fn check(conn: &mut PgConnection, samples: &[Sample]) {
    sqlx::raw_sql("TRUNCATE sample").execute(&mut *conn).await.unwrap();
    let mut tx = conn.begin().await.unwrap();
    let written = encode(samples).write(&mut tx, COPY).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(written, samples.len() as u64);
    let rows = sqlx::query("SELECT *, amount::text AS amount_text, nonce::text AS nonce_text, kind::text AS kind_text FROM sample ORDER BY id")
        .fetch_all(conn)
        .await
        .unwrap();
    for (sample, row) in samples.iter().zip(rows) {
        assert_eq!(row.get::<i16, _>("small"), sample.small);
        assert_eq!(row.get::<i32, _>("medium"), sample.medium);
        assert_eq!(row.get::<i64, _>("large"), sample.large);
        assert_eq!(row.get::<bool, _>("flag"), sample.flag);
        assert_eq!(row.get::<Option<String>, _>("words"), sample.words);
        assert_eq!(row.get::<Vec<u8>, _>("bytes"), sample.bytes);
        assert_eq!(row.get::<Uuid, _>("key").into_bytes(), sample.key);
        assert_eq!(row.get::<serde_json::Value, _>("document"), sample.document);
        assert_eq!(row.get::<String, _>("amount_text"), U256::from_be_bytes(sample.amount).to_string());
        assert_eq!(row.get::<String, _>("nonce_text"), sample.nonce.to_string());
        let at = row.get::<OffsetDateTime, _>("at");
        assert_eq!(at.unix_timestamp_nanos() / 1000, i128::from(sample.at_micros));
        assert_eq!(row.get::<String, _>("kind_text"), if sample.flag { "append" } else { "retract" });
        assert_eq!(row.get::<Option<String>, _>("nothing"), None);
    }
}

#[test]
fn whatever_is_put_in_comes_out_of_postgres_again() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _context = runtime.enter();
    let db = runtime.block_on(testing::db());
    let mut conn = runtime.block_on(db.worker().acquire()).unwrap();
    // The worker may not create anything in the schema; temporary tables are its own.
    runtime.block_on(table(&mut conn));
    let conn = RefCell::new(conn);
    let mut runner = TestRunner::new(Config { cases: 100, failure_persistence: None, ..Config::default() });
    runner
        .run(&proptest::collection::vec(sample(), 1..40), |samples| {
            runtime.block_on(check(&mut conn.borrow_mut(), &samples));
            Ok(())
        })
        .unwrap();
}

#[tokio::test]
async fn a_refused_copy_leaves_the_connection_usable_and_the_table_as_it_was() {
    let db = testing::db().await;
    let mut conn = db.worker().acquire().await.unwrap();
    table(&mut conn).await;
    let mut rows = CopyBuffer::new();
    rows.row(1);
    rows.put_i16(7); // the column is a bigint
    let mut tx = conn.begin().await.unwrap();
    let error = rows.write(&mut tx, "COPY sample (id) FROM STDIN (FORMAT binary)").await.unwrap_err();
    assert!(error.to_string().contains("insufficient data left in message"), "{error}");
    tx.rollback().await.unwrap();
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM sample").fetch_one(&mut *conn).await.unwrap();
    assert_eq!(count, 0);
    conn.ping().await.unwrap();
}

#[tokio::test]
async fn more_than_one_chunk_is_one_copy() {
    let db = testing::db().await;
    let mut conn = db.begin_worker().await.unwrap();
    table(&mut conn).await;
    let mut rows = CopyBuffer::with_capacity(1 << 20);
    for id in 0..100_000 {
        rows.row(2);
        rows.put_i64(id);
        rows.put_hex_text(&id.to_be_bytes());
    }
    assert!(rows.len_bytes() > 1 << 20);
    let written =
        rows.write_and_clear(&mut conn, "COPY sample (id, words) FROM STDIN (FORMAT binary)").await.unwrap();
    assert_eq!(written, 100_000);
    assert!(rows.is_empty());
    let last: String =
        sqlx::query_scalar("SELECT words FROM sample WHERE id = 99999").fetch_one(&mut *conn).await.unwrap();
    assert_eq!(last, "0x000000000001869f");
    assert_eq!(rows.write(&mut conn, "not even looked at").await.unwrap(), 0);
}
