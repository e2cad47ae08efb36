use plimsoll_types::hash_text;
use serde_json::json;

use super::seed::hash_of;
use super::{Api, CHAIN, codes};

#[tokio::test]
async fn a_chain_says_how_far_it_is_followed_and_where_every_fold_stands() {
    let api = Api::followed().await;
    let seed = api.seed(CHAIN);
    seed.fold("slow", 98).await;
    seed.record(981, 3).await;
    let mut chain = api.ok("/api/v1/chains/31337").await;
    assert!(chain["node_head"]["age_seconds"].take().as_f64().is_some_and(|age| age >= 0.0));
    assert!(chain["node_head"]["seen_at"].take().is_string());
    let mut folds = chain["folds"].take();
    assert_eq!(
        chain,
        json!({
            "chain_id": CHAIN, "name": "test", "genesis_hash": hash_text(&hash_of(0)), "start_block": 0, "confirmations": 5, "finality": "10 blocks",
            "state": "following", "halt": null, "head": { "number": 100, "hash": hash_text(&hash_of(100)) }, "confirmed_number": 95,
            "final_number": 90, "node_head": { "number": 100, "seen_at": null, "age_seconds": null }, "lag_blocks": 0, "journal_seq": 1000,
            "stale": false, "why": [], "folds": null,
        })
    );
    let slow = folds[0].take();
    assert!(slow["lag_seconds"].as_f64().unwrap() >= 3.0, "{slow}");
    assert_eq!(
        (&slow["fold"], &slow["lag_blocks"], &slow["lag_records"], &slow["stale"]),
        (&json!("slow"), &json!(2), &json!(20), &json!(false))
    );
    assert_eq!(
        (&folds[1]["fold"], &folds[1]["lag_records"], &folds[1]["lag_seconds"]),
        (&json!("views"), &json!(0), &json!(0.0))
    );
    assert_eq!(folds[1]["watermark"], json!({ "number": 100, "hash": hash_text(&hash_of(100)) }));
}

#[tokio::test]
async fn chains_come_by_id_and_a_new_one_has_no_head_yet() {
    let api = Api::followed().await;
    api.seed(5).chain(1, 0, 0).await;
    api.seed(5).run("UPDATE chains SET head_number = NULL, head_hash = NULL, rpc_head_number = NULL, rpc_head_at = NULL WHERE chain_id = $1").await;
    let chains = api.ok("/api/v1/chains").await;
    assert_eq!(
        (&chains["items"][0]["chain_id"], &chains["items"][1]["chain_id"]),
        (&json!(5), &json!(CHAIN))
    );
    assert_eq!((&chains["items"][0]["head"], &chains["items"][0]["node_head"]), (&json!(null), &json!(null)));
    assert_eq!(codes(&chains["items"][0]["why"]), ["no_head"]);
}

#[tokio::test]
async fn a_chain_that_is_not_followed_is_no_empty_answer() {
    let api = Api::start().await;
    assert_eq!(api.ok("/api/v1/chains").await, json!({ "items": [] }));
    api.problem("/api/v1/chains/5", 404, "unknown-chain").await;
    for id in ["main", "-1", "1.5", "99999999999999999999"] {
        api.problem(&format!("/api/v1/chains/{id}"), 400, "invalid-parameter").await;
    }
    api.problem("/api/v1/chains?limit=1", 400, "unknown-parameter").await;
}
