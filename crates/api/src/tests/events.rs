use std::collections::HashSet;

use plimsoll_types::hash_text;
use serde_json::{Value, json};
use uuid::Uuid;

use super::seed::{EventSeed, hash_of, text};
use super::{Api, CHAIN, codes};
use crate::limits::EVENTS_SCANNED_PER_PAGE;

const EVENTS: &str = "/api/v1/events?chain_id=31337";

fn places(items: &[Value]) -> Vec<(i64, i64)> {
    items
        .iter()
        .map(|item| (item["block"]["number"].as_i64().unwrap(), item["log_index"].as_i64().unwrap()))
        .collect()
}

async fn found(api: &Api, filters: &str) -> Vec<(i64, i64)> {
    places(&api.walk(&format!("{EVENTS}{filters}")).await.0)
}

#[tokio::test]
async fn an_event_has_its_payload_its_block_and_whether_it_is_canonical() {
    let api = Api::followed().await;
    let id = Uuid::from_u128(0x0123_4567_89ab_4cde_8f01_2345_6789_abcd);
    let event = EventSeed { request_id: Some(id), ..EventSeed::at(93, 4) };
    api.seed(CHAIN).event(&event).await;
    let mut page = api.ok(EVENTS).await;
    assert!(page["items"][0]["recorded_at"].take().is_string());
    assert!(page["fresh"]["lag_seconds"].is_number());
    let wanted = json!({
        "chain_id": CHAIN, "contract": text(1), "event_name": "UserPositionCachedV2", "request_id": id.to_string(),
        "seq": "18446744073709551615", "block": { "number": 93, "hash": hash_of(93).to_string(), "state": "confirmed" }, "canonical": true,
        "tx_hash": hash_text(&event.tx_hash), "tx_index": 0, "log_index": 4,
        "payload": { "user": text(7), "asset": text(9), "collateral": "1000" }, "recorded_at": null,
    });
    assert_eq!(page["items"], json!([wanted]));
    let as_of = json!({ "chain_id": CHAIN, "block_number": 100, "block_hash": hash_of(100).to_string(), "journal_seq": 1000 });
    assert_eq!(
        (&page["as_of"], &page["next_cursor"], &page["fresh"]["stale"]),
        (&as_of, &Value::Null, &json!(false))
    );
}

#[tokio::test]
async fn an_event_that_no_abi_knows_comes_raw() {
    let api = Api::followed().await;
    api.seed(CHAIN).event(&EventSeed { event_name: None, ..EventSeed::at(93, 4) }).await;
    let page = api.ok(EVENTS).await;
    let event = &page["items"][0];
    let topic = |byte: &str| format!("0x{}", byte.repeat(32));
    assert_eq!((&event["event_name"], &event["payload"]), (&Value::Null, &Value::Null));
    assert_eq!(
        (&event["topics"], &event["data"]),
        (&json!([topic("11"), topic("22"), topic("33")]), &json!("0xbeef"))
    );
}

#[tokio::test]
async fn every_filter_finds_its_events_by_whichever_index() {
    let api = Api::followed().await;
    let seed = api.seed(CHAIN);
    let id = Uuid::from_u128(42);
    seed.event(&EventSeed::at(10, 0)).await;
    seed.event(&EventSeed { contract: text(2), ..EventSeed::at(20, 0) }).await;
    seed.event(&EventSeed { event_name: Some("HealthFactorCached"), ..EventSeed::at(30, 0) }).await;
    seed.event(&EventSeed { request_id: Some(id), ..EventSeed::at(40, 0) }).await;
    seed.event(&EventSeed { user: text(8), ..EventSeed::at(50, 0) }).await;
    seed.event(&EventSeed { event_name: None, ..EventSeed::at(60, 0) }).await;
    let of_50 = hash_text(&EventSeed::at(50, 0).tx_hash);
    let id_on_chain = format!("0x{:064x}", 42);
    for (filters, blocks) in [
        (String::new(), vec![60, 50, 40, 30, 20, 10]),
        ("&order=asc".into(), vec![10, 20, 30, 40, 50, 60]),
        (format!("&contract={}", text(2)), vec![20]),
        ("&event_name=HealthFactorCached".into(), vec![30]),
        ("&event_name=UserPositionCachedV2&order=asc".into(), vec![10, 20, 40, 50]),
        (format!("&request_id={id}"), vec![40]),
        (format!("&request_id={id_on_chain}"), vec![40]),
        (format!("&tx_hash={of_50}"), vec![50]),
        (format!("&tx_hash={of_50}&include_orphaned=true"), vec![50]),
        (format!("&tx_hash={of_50}&event_name=HealthFactorCached"), vec![]),
        (format!("&user={}", text(8)), vec![50]),
        (format!("&asset={}&user={}", text(9), text(7)), vec![40, 30, 20, 10]),
        ("&from_block=20&to_block=40".into(), vec![40, 30, 20]),
        ("&event_name=UserPositionCachedV2&from_block=15&to_block=45".into(), vec![40, 20]),
    ] {
        let numbers: Vec<i64> = found(&api, &filters).await.into_iter().map(|(number, _)| number).collect();
        assert_eq!(numbers, blocks, "{filters}");
    }
}

#[tokio::test]
async fn orphaned_events_are_left_out_unless_asked_for() {
    let api = Api::followed().await;
    let seed = api.seed(CHAIN);
    for (block_number, state) in [(80, "final"), (92, "confirmed"), (99, "seen")] {
        seed.event(&EventSeed::at(block_number, 0)).await;
        seed.block(block_number, hash_of(block_number), state).await;
    }
    let orphan = EventSeed { block_hash: hash_of(-99), is_canonical: false, ..EventSeed::at(99, 1) };
    seed.event(&orphan).await;
    for (filters, places) in [
        ("", vec![(99, 0), (92, 0), (80, 0)]),
        ("&state=seen", vec![(99, 0)]),
        ("&state=confirmed", vec![(92, 0)]),
        ("&state=final&order=asc", vec![(80, 0)]),
        ("&state=orphaned", vec![(99, 1)]),
    ] {
        assert_eq!(found(&api, filters).await, places, "{filters}");
    }
    let all = api.ok(&format!("{EVENTS}&include_orphaned=true&from_block=99")).await;
    let mut states: Vec<(bool, &str)> = all["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (item["canonical"].as_bool().unwrap(), item["block"]["state"].as_str().unwrap()))
        .collect();
    states.sort_unstable();
    assert_eq!(states, [(false, "orphaned"), (true, "seen")]);
    let of_99 = hash_text(&orphan.tx_hash);
    assert_eq!(found(&api, &format!("&tx_hash={of_99}")).await, [(99, 0)]);
    assert_eq!(
        found(&api, &format!("&tx_hash={of_99}&include_orphaned=true&from_block=99&to_block=99")).await.len(),
        2
    );
}

#[tokio::test]
async fn a_walk_in_either_direction_sees_each_event_once_while_blocks_come_in() {
    let api = Api::followed().await;
    let seed = api.seed(CHAIN);
    for block_number in 10..40 {
        for log_index in 0..3 {
            seed.event(&EventSeed::at(block_number, log_index)).await;
        }
    }
    let mut incoming = 41;
    for order in ["desc", "asc"] {
        for filter in ["", "&event_name=UserPositionCachedV2"] {
            let (mut seen, mut cursor) = (Vec::new(), String::new());
            for _ in 0..1_000 {
                let page = api.ok(&format!("{EVENTS}&order={order}&limit=7{filter}{cursor}")).await;
                seen.extend(places(page["items"].as_array().unwrap()));
                if incoming < 100 {
                    seed.event(&EventSeed::at(incoming, 0)).await;
                    incoming += 1;
                }
                match page["next_cursor"].as_str() {
                    Some(next) => cursor = format!("&cursor={next}"),
                    None => break,
                }
            }
            let unique: HashSet<(i64, i64)> = seen.iter().copied().collect();
            assert_eq!(unique.len(), seen.len(), "{order}{filter}: an event came twice");
            assert!(
                (10..40).all(|block| (0..3).all(|log| unique.contains(&(block, log)))),
                "{order}{filter}: an event was passed over"
            );
            assert!(
                if order == "asc" { seen.is_sorted() } else { seen.iter().rev().is_sorted() },
                "{order}{filter}"
            );
        }
    }
}

#[tokio::test]
async fn a_rare_event_is_found_by_going_on_and_no_page_looks_at_more_than_its_bound() {
    let api = Api::followed().await;
    let seed = api.seed(CHAIN);
    let count = i64::from(EVENTS_SCANNED_PER_PAGE) + 500;
    sqlx::query(
        "INSERT INTO chain_events (chain_id, block_number, block_hash, log_index, id, tx_hash, tx_index, contract_address, topics, data)
         SELECT $1, 10 + n / 200, sha256(int8send(10 + n / 200)), n % 200, n, sha256(int8send(n)), 0, $2, '', ''
         FROM generate_series(0, $3 - 1) n",
    )
    .bind(seed.chain_id)
    .bind(text(3))
    .bind(count)
    .execute(seed.pool)
    .await
    .unwrap();
    seed.run("INSERT INTO chain_live SELECT chain_id, tx_hash, log_index, id, block_number FROM chain_events WHERE chain_id = $1").await;
    seed.event(&EventSeed { contract: text(2), ..EventSeed::at(5, 0) }).await;

    let first = api.ok(&format!("{EVENTS}&contract={}", text(2))).await;
    assert_eq!(first["items"], json!([]), "the first page is full of others");
    assert!(first["next_cursor"].is_string(), "and says where to go on");
    let (items, pages) = api.walk(&format!("{EVENTS}&contract={}", text(2))).await;
    assert_eq!((places(&items), pages), (vec![(5, 0)], 2));

    let (items, _) = api.walk(&format!("{EVENTS}&limit=1000")).await;
    assert_eq!(items.len(), usize::try_from(count).unwrap() + 1, "each event once");
    let (items, pages) = api.walk(&format!("{EVENTS}&state=orphaned&limit=1000")).await;
    assert_eq!((items.len(), pages), (0, 2));
}

#[tokio::test]
async fn a_match_on_the_last_row_that_a_page_looks_at_is_on_it_and_the_walk_goes_on_behind_it() {
    let api = Api::followed().await;
    let seed = api.seed(CHAIN);
    // 9,999 others above the first match, which is therefore the last row of the first page, in either direction.
    sqlx::query(
        "INSERT INTO chain_events (chain_id, block_number, block_hash, log_index, id, tx_hash, tx_index, contract_address, topics, data)
         SELECT $1, 10 + n / 200, sha256(int8send(10 + n / 200)), n % 200, 1000000 + n, sha256(int8send(n)), 0, $2, '', ''
         FROM generate_series(0, $3 - 2) n",
    )
    .bind(seed.chain_id)
    .bind(text(3))
    .bind(i64::from(EVENTS_SCANNED_PER_PAGE))
    .execute(seed.pool)
    .await
    .unwrap();
    seed.run("INSERT INTO chain_live SELECT chain_id, tx_hash, log_index, id, block_number FROM chain_events WHERE chain_id = $1").await;
    for block_number in [1, 5, 90, 95] {
        seed.event(&EventSeed { contract: text(2), ..EventSeed::at(block_number, 0) }).await;
    }
    for (filters, first, second) in [("&order=desc&to_block=89", 5, 1), ("&order=asc&from_block=10", 90, 95)]
    {
        for limit in ["", "&limit=1"] {
            let path = format!("{EVENTS}&contract={}{filters}{limit}", text(2));
            let page = api.ok(&path).await;
            assert_eq!(places(page["items"].as_array().unwrap()), [(first, 0)], "{path}");
            let cursor = page["next_cursor"].as_str().unwrap();
            let page = api.ok(&format!("{path}&cursor={cursor}")).await;
            assert_eq!(places(page["items"].as_array().unwrap()), [(second, 0)], "{path}");
            assert_eq!(page["next_cursor"], Value::Null);
        }
    }
}

#[tokio::test]
async fn before_a_block_is_covered_the_lag_counts_from_the_first_one_of_interest() {
    let api = Api::followed().await;
    let uncovered = "UPDATE chains SET start_block = 90, head_number = NULL, head_hash = NULL, confirmed_number = NULL, final_number = NULL,
                     rpc_head_number = 100 WHERE chain_id = $1";
    api.seed(CHAIN).run(uncovered).await;
    assert_eq!(api.ok(EVENTS).await["fresh"]["lag_blocks"], 11, "90 to 100");
}

#[tokio::test]
async fn a_halted_chain_answers_as_stale() {
    let api = Api::followed().await;
    api.seed(CHAIN).run("UPDATE chains SET state = 'halted', halt = '{\"what\": \"a reorg past finality\"}' WHERE chain_id = $1").await;
    let page = api.ok(EVENTS).await;
    assert_eq!(codes(&page["fresh"]["why"]), ["chain_halted"]);
}

#[tokio::test]
async fn the_chain_may_be_left_out_only_while_there_is_one() {
    let api = Api::start().await;
    api.problem("/api/v1/events", 503, "not-synced").await;
    api.seed(CHAIN).chain(100, 95, 90).await;
    api.ok("/api/v1/events").await;
    api.seed(5).chain(100, 95, 90).await;
    let problem = api.problem("/api/v1/events", 400, "missing-parameter").await;
    assert!(
        problem["detail"].as_str().unwrap().ends_with("several chains are followed: 5, 31337"),
        "{problem}"
    );
    api.problem("/api/v1/events?chain_id=6", 404, "unknown-chain").await;
}

#[tokio::test]
async fn parameters_that_cannot_be_used_are_refused() {
    let api = Api::followed().await;
    for (parameter, slug) in [
        ("limit=0", "invalid-parameter"),
        ("limit=1001", "invalid-parameter"),
        ("order=newest", "invalid-parameter"),
        ("state=maybe", "invalid-parameter"),
        ("include_orphaned=yes", "invalid-parameter"),
        ("tx_hash=0x12", "invalid-parameter"),
        ("request_id=7", "invalid-parameter"),
        ("event_name=drop%20table", "invalid-parameter"),
        ("from_block=9&to_block=8", "invalid-parameter"),
        ("from_block=1&from_block=2", "invalid-parameter"),
        ("txhash=0x12", "unknown-parameter"),
        ("cursor=00", "invalid-cursor"),
    ] {
        api.problem(&format!("{EVENTS}&{parameter}"), 400, slug).await;
    }
    let seed = api.seed(CHAIN);
    for block_number in 1..=2 {
        seed.event(&EventSeed::at(block_number, 0)).await;
    }
    let page = api.ok(&format!("{EVENTS}&limit=1")).await;
    let cursor = page["next_cursor"].as_str().unwrap();
    for other in ["&order=asc", "&include_orphaned=true", "&from_block=1", "&event_name=A"] {
        api.problem(&format!("{EVENTS}{other}&cursor={cursor}"), 400, "invalid-cursor").await;
    }
}
