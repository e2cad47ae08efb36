use std::collections::HashSet;

use serde_json::{Value, json};

use super::seed::{hash_of, text};
use super::{Api, CHAIN, codes};
use crate::cursor::{Fingerprint, PositionKey, encode};

fn by_user(user: u64) -> String {
    format!("/api/v1/positions?user={}", text(user))
}

fn by_asset(asset: u64) -> String {
    format!("/api/v1/positions?asset={}", text(asset))
}

#[tokio::test]
async fn a_position_says_what_it_is_where_it_stands_and_how_fresh_that_is() {
    let api = Api::followed().await;
    let seed = api.seed(CHAIN);
    seed.position(7, 9, 42, 97).await;
    seed.run(
        "UPDATE position_cache_mirror SET collateral = 2::numeric ^ 256 - 1, version = 18446744073709551615, last_seq = 12,
                last_request_id = '01234567-89ab-4cde-8f01-23456789abcd' WHERE chain_id = $1",
    )
    .await;
    let mut page = api.ok(&by_user(7)).await;
    assert!(page["items"][0]["last_updated_at"].take().as_str().unwrap().ends_with('Z'));
    let as_of = json!({
        "chain_id": CHAIN, "fold": "views", "block_number": 100, "block_hash": hash_of(100).to_string(), "journal_seq": 1000
    });
    let position = json!({
        "chain_id": CHAIN, "contract": text(1), "user": text(7), "asset": text(9),
        "collateral": "115792089237316195423570985008687907853269984665640564039457584007913129639935", "debt": "250",
        "version": "18446744073709551615", "last_request_id": "01234567-89ab-4cde-8f01-23456789abcd", "last_seq": "12",
        "block": { "number": 97, "hash": hash_of(97).to_string(), "state": "seen" },
        "tx_hash": hash_of(-97).to_string(), "log_index": 3, "last_updated_at": null, "as_of": as_of,
        "fresh": { "lag_blocks": 0, "lag_records": 0, "lag_seconds": 0.0, "stale": false, "why": [] },
    });
    assert_eq!(page, json!({ "items": [position], "next_cursor": null, "as_of": [as_of], "stale": false }));
}

#[tokio::test]
async fn the_state_of_a_rows_block_follows_the_chains_marks_and_a_reorg() {
    let api = Api::followed().await;
    let seed = api.seed(CHAIN);
    for (asset, block_number, state) in
        [(1, 90, "final"), (2, 91, "confirmed"), (3, 96, "seen"), (4, 99, "seen")]
    {
        seed.position(7, asset, 1, block_number).await;
        seed.block(block_number, hash_of(block_number), state).await;
    }
    seed.run("UPDATE chain_blocks SET state = 'orphaned' WHERE chain_id = $1 AND number = 99").await;
    let page = api.ok(&by_user(7)).await;
    let states: Vec<&Value> =
        page["items"].as_array().unwrap().iter().map(|item| &item["block"]["state"]).collect();
    assert_eq!(states, ["final", "confirmed", "seen", "orphaned"]);
}

#[tokio::test]
async fn no_position_is_an_empty_page_that_still_says_what_it_is_true_at() {
    let api = Api::followed().await;
    let page = api.ok(&by_user(7)).await;
    assert_eq!(
        (page["items"].as_array().unwrap().len(), &page["as_of"][0]["block_number"]),
        (0, &json!(100))
    );
}

#[tokio::test]
async fn a_question_that_cannot_be_answered_is_never_an_empty_page() {
    let api = Api::start().await;
    api.problem(&by_user(7), 503, "not-synced").await;
    api.problem(&format!("{}&chain_id={CHAIN}", by_user(7)), 404, "unknown-chain").await;
    api.seed(CHAIN).chain(100, 95, 90).await;
    api.problem(&by_user(7), 503, "not-synced").await;
    let problem = api.problem(&format!("{}&chain_id={CHAIN}", by_user(7)), 503, "not-synced").await;
    assert!(
        problem["detail"].as_str().unwrap().contains("fold views has not covered a block of chain 31337 yet"),
        "{problem}"
    );

    api.seed(CHAIN).fold("views", 100).await;
    api.ok(&by_user(7)).await;
    api.seed(5).chain(100, 95, 90).await;
    let problem = api.problem(&by_user(7), 503, "not-synced").await;
    assert!(problem["remedy"].as_str().unwrap().contains("give `chain_id`"), "{problem}");
    api.ok(&format!("{}&chain_id={CHAIN}", by_user(7))).await;
}

#[tokio::test]
async fn a_fold_that_is_stopped_or_behind_answers_as_stale_and_says_why() {
    let api = Api::followed().await;
    let seed = api.seed(CHAIN);
    seed.position(7, 9, 1, 90).await;
    seed.fold("views", 96).await;
    seed.record(961, 30).await;
    seed.run(
        "UPDATE fold_cursors SET state = 'stopped', stop = '{\"error\": \"record 961 is poison\", \"remedy\": \"skip it\"}' WHERE chain_id = $1",
    )
    .await;
    let page = api.ok(&by_user(7)).await;
    let fresh = &page["items"][0]["fresh"];
    assert_eq!(
        (&page["stale"], &fresh["stale"], &fresh["lag_blocks"], &fresh["lag_records"]),
        (&json!(true), &json!(true), &json!(4), &json!(40))
    );
    assert_eq!(codes(&fresh["why"]), ["fold_stopped", "lag_seconds", "lag_blocks"]);
    assert_eq!(fresh["why"][0]["text"], "fold views is stopped: record 961 is poison (skip it)");
    assert!(fresh["lag_seconds"].as_f64().unwrap() >= 30.0, "{fresh}");
    assert_eq!(page["items"][0]["as_of"]["block_number"], 96);
}

#[tokio::test]
async fn filters_narrow_and_combine() {
    let api = Api::followed().await;
    for (user, asset) in [(7, 1), (7, 2), (8, 1)] {
        api.seed(CHAIN).position(user, asset, 1, 90).await;
    }
    let count = async |path: String| api.ok(&path).await["items"].as_array().unwrap().len();
    assert_eq!(count(by_user(7)).await, 2);
    assert_eq!(count(by_asset(1)).await, 2);
    assert_eq!(count(format!("{}&asset={}", by_user(7), text(1))).await, 1);
    assert_eq!(count(format!("{}&contract={}", by_asset(1), text(1))).await, 2);
    assert_eq!(count(format!("{}&contract={}", by_asset(1), text(2))).await, 0);
    assert_eq!(
        count(by_user(7).to_uppercase().replace("/API/V1/POSITIONS?USER=0X", "/api/v1/positions?user=0x"))
            .await,
        2
    );
}

#[tokio::test]
async fn parameters_that_cannot_be_used_are_refused() {
    let api = Api::followed().await;
    api.problem("/api/v1/positions", 400, "missing-parameter").await;
    for (query, slug) in [
        ("user=0x12", "invalid-parameter"),
        ("user=", "invalid-parameter"),
        ("usr=1", "unknown-parameter"),
        ("asset=0xa&limit=0", "invalid-parameter"),
    ] {
        api.problem(&format!("/api/v1/positions?{query}"), 400, slug).await;
    }
    for (parameter, slug) in [
        ("limit=501", "invalid-parameter"),
        ("limit=ten", "invalid-parameter"),
        ("chain_id=-1", "invalid-parameter"),
        ("chain_id=9223372036854775808", "invalid-parameter"),
        ("cursor=zz", "invalid-cursor"),
        ("chain_id=5", "unknown-chain"),
    ] {
        let status = if slug == "unknown-chain" { 404 } else { 400 };
        api.problem(&format!("{}&{parameter}", by_user(7)), status, slug).await;
    }
}

#[tokio::test]
async fn a_cursor_of_other_filters_is_refused() {
    let api = Api::followed().await;
    for user in 1..=3 {
        api.seed(CHAIN).position(user, 9, 1, 90).await;
    }
    let page = api.ok(&format!("{}&limit=1", by_asset(9))).await;
    let cursor = page["next_cursor"].as_str().unwrap();
    api.ok(&format!("{}&limit=2&cursor={cursor}", by_asset(9))).await;
    api.problem(&format!("{}&cursor={cursor}", by_asset(8)), 400, "invalid-cursor").await;
    let forged = PositionKey {
        chain_id: 1,
        contract: super::seed::address(1),
        user: super::seed::address(1),
        asset: super::seed::address(1),
    };
    api.problem(
        &format!("{}&cursor={}", by_asset(9), encode(Fingerprint::of(&[]), &forged)),
        400,
        "invalid-cursor",
    )
    .await;
}

#[tokio::test]
async fn a_walk_sees_each_row_once_while_rows_are_added() {
    let api = Api::followed().await;
    let seed = api.seed(CHAIN);
    for user in (0..100).step_by(2) {
        seed.position(user, 9, 1, 90).await;
    }
    let (mut seen, mut cursor, mut odd) = (Vec::new(), String::new(), 1);
    loop {
        let page = api.ok(&format!("{}&limit=7{cursor}", by_asset(9))).await;
        seen.extend(
            page["items"].as_array().unwrap().iter().map(|item| item["user"].as_str().unwrap().to_owned()),
        );
        for _ in 0..3 {
            seed.position(odd, 9, 1, 90).await;
            odd += 2;
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let unique: HashSet<&String> = seen.iter().collect();
    assert_eq!(unique.len(), seen.len(), "a row came twice");
    for user in (0..100).step_by(2) {
        assert!(unique.contains(&text(user)), "user {user} was passed over");
    }
    assert!(seen.is_sorted());
}

#[tokio::test]
async fn rows_and_watermark_are_of_one_snapshot_while_the_fold_writes() {
    const BLOCKS: i64 = 300;
    let api = Api::followed().await;
    let seed = api.seed(CHAIN);
    seed.position(7, 9, 100, 100).await;
    let writer = async {
        for block_number in 101..=100 + BLOCKS {
            let mut tx = api.db.worker().begin().await.unwrap();
            sqlx::query("UPDATE position_cache_mirror SET version = $1, last_chain_block = $1")
                .bind(block_number)
                .execute(&mut *tx)
                .await
                .unwrap();
            sqlx::query("UPDATE fold_cursors SET block_number = $1, seq = $1 * 10")
                .bind(block_number)
                .execute(&mut *tx)
                .await
                .unwrap();
            sqlx::query("UPDATE chains SET head_number = $1, next_seq = $1 * 10 + 1, rpc_head_number = $1")
                .bind(block_number)
                .execute(&mut *tx)
                .await
                .unwrap();
            tx.commit().await.unwrap();
        }
    };
    let reader = async {
        let mut versions = HashSet::new();
        loop {
            let page = api.ok(&by_user(7)).await;
            let item = &page["items"][0];
            let watermark = item["as_of"]["block_number"].as_i64().unwrap();
            assert_eq!(item["version"], watermark.to_string(), "{item}");
            assert_eq!(
                (&item["as_of"]["journal_seq"], &item["fresh"]["lag_records"]),
                (&json!(watermark * 10), &json!(0))
            );
            versions.insert(watermark);
            if watermark == 100 + BLOCKS {
                return versions.len();
            }
        }
    };
    let ((), seen) = tokio::join!(writer, reader);
    assert!(seen > 1, "the reader must have met the writer at work");
}
