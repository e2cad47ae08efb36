//! An endpoint that hides or alters what is in a block: caught, named, and nothing of it written.

use std::sync::Arc;

use alloy_primitives::{B256, Bloom};
use alloy_transport::Transport;
use plimsoll_chain::transport::{Fault, Faulty};
use plimsoll_ingest::IngestError;
use plimsoll_types::Completeness;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::follower::Follower;
use crate::support::follower::Settings;
use crate::support::world::{World, user};
use crate::{HANGS_AFTER, agrees, integers, place, plan, settings};

const DEEP: u64 = 64;

/// What an endpoint makes of an answer.
type Lie = fn(&mut Value);

/// The receipts among a batch's answers.
fn of_receipts(answer: &mut Value, lie: impl Fn(&mut Vec<Value>)) {
    if let Some(receipts) =
        answer.as_array_mut().filter(|all| all.iter().any(|one| one.get("cumulativeGasUsed").is_some()))
    {
        lie(receipts);
    }
}

/// The first log of the receipts.
fn of_log(answer: &mut Value, lie: impl Fn(&mut Value)) {
    of_receipts(answer, |receipts| {
        if let Some(log) = receipts.iter_mut().find_map(|receipt| receipt["logs"].get_mut(0)) {
            lie(log);
        }
    });
}

fn of_block(answer: &mut Value, lie: impl Fn(&mut Value)) {
    if answer.get("logsBloom").is_some() && answer.get("parentHash").is_some() && answer["number"] != "0x0" {
        lie(answer);
    }
}

/// What is told at the head, by method.
const AT_THE_HEAD: &[(&str, &str, Lie)] = &[
    ("a log is hidden", "eth_getBlockReceipts", |answer| {
        of_receipts(answer, |receipts| {
            for receipt in receipts {
                receipt["logs"].as_array_mut().unwrap().pop();
            }
        });
    }),
    ("a log's data is altered", "eth_getBlockReceipts", |answer| {
        of_log(answer, |log| log["data"] = json!("0x"));
    }),
    ("a log's topic is altered", "eth_getBlockReceipts", |answer| {
        of_log(answer, |log| log["topics"][0] = json!(B256::repeat_byte(9)));
    }),
    ("a log is another transaction's", "eth_getBlockReceipts", |answer| {
        of_receipts(answer, |receipts| {
            for receipt in receipts {
                receipt["transactionHash"] = json!(B256::repeat_byte(9));
                for log in receipt["logs"].as_array_mut().unwrap() {
                    log["transactionHash"] = json!(B256::repeat_byte(9));
                }
            }
        });
    }),
    ("a receipt is missing", "eth_getBlockReceipts", |answer| {
        of_receipts(answer, |receipts| drop(receipts.pop()));
    }),
    ("a failure is told as success", "eth_getBlockReceipts", |answer| {
        of_receipts(answer, |receipts| receipts[0]["status"] = json!("0x0"));
    }),
    ("a transaction is altered", "eth_getBlockReceipts", |answer| {
        of_block(answer, |block| {
            if let Some(tx) = block["transactions"].get_mut(0).filter(|tx| tx.is_object()) {
                tx["input"] = json!("0x01");
            }
        });
    }),
    ("a transaction has another sender", "eth_getBlockReceipts", |answer| {
        of_block(answer, |block| {
            if let Some(tx) = block["transactions"].get_mut(0).filter(|tx| tx.is_object()) {
                tx["from"] = json!(user(7));
            }
        });
    }),
    ("a transaction's own receipt tells of other gas", "eth_getTransactionReceipt", |answer| {
        if let Some(receipts) = answer.as_array_mut().filter(|all| all.iter().all(Value::is_object)) {
            receipts.iter_mut().for_each(|receipt| receipt["gasUsed"] = json!("0x1"));
        } else if answer.get("gasUsed").is_some() {
            answer["gasUsed"] = json!("0x1");
        }
    }),
    ("the bloom is emptied", "eth_getBlockByNumber", |answer| {
        of_block(answer, |block| block["logsBloom"] = json!(Bloom::ZERO));
    }),
    ("the root of receipts is another", "eth_getBlockByNumber", |answer| {
        of_block(answer, |block| block["receiptsRoot"] = json!(B256::repeat_byte(9)));
    }),
    ("the time is another", "eth_getBlockByNumber", |answer| {
        of_block(answer, |block| block["timestamp"] = json!("0x1"));
    }),
];

/// What is told of a range, and the level that shows it.
const IN_A_RANGE: &[(&str, Completeness, Lie)] = &[
    ("all logs of a block are hidden", Completeness::Bloom, |answer| {
        if let Some(first) = answer[0].get("logIndex").and(answer[0].get("blockHash")).cloned() {
            answer.as_array_mut().unwrap().retain(|log| log["blockHash"] != first);
        }
    }),
    ("a log is another contract's event", Completeness::Bloom, |answer| {
        if answer[0].get("logIndex").is_some() {
            answer[0]["topics"][0] = json!(B256::repeat_byte(9));
        }
    }),
    ("a block's logs are said to be of another block", Completeness::Bloom, |answer| {
        let is_logs = |all: &&mut Vec<Value>| all.first().is_some_and(|log| log.get("logIndex").is_some());
        let Some(logs) = answer.as_array_mut().filter(is_logs) else { return };
        // The hash of a range's last block is asked for beside it.
        let (first, last) = (logs[0]["blockNumber"].clone(), logs[logs.len() - 1]["blockNumber"].clone());
        for log in logs.iter_mut().filter(|log| first != last && log["blockNumber"] == first) {
            log["blockHash"] = json!(B256::repeat_byte(9));
        }
    }),
    ("one of several logs is hidden", Completeness::Receipts, |answer| {
        if answer[0].get("logIndex").is_some() {
            answer.as_array_mut().unwrap().remove(0);
        }
    }),
    ("a log's data is altered", Completeness::Receipts, |answer| {
        if answer[0].get("logIndex").is_some() {
            answer[0]["data"] = json!("0x");
        }
    }),
    ("a log stands elsewhere", Completeness::Receipts, |answer| {
        if answer[0].get("logIndex").is_some() {
            answer[0]["transactionHash"] = json!(B256::repeat_byte(9));
        }
    }),
];

fn lying(lie: Lie) -> Fault {
    Fault::Rewrite(Arc::new(move |mut answer| {
        lie(&mut answer);
        answer
    }))
}

async fn contradiction_of(node: &Follower, what: &str) {
    let (mut ingest, cancel) = (node.ingest(), CancellationToken::new());
    let error = tokio::time::timeout(HANGS_AFTER, ingest.run(&cancel))
        .await
        .unwrap_or_else(|_| panic!("{what}: believed"))
        .expect_err(what);
    assert!(matches!(&error, IngestError::Contradiction { .. }), "{what}: {error}");
    assert!(error.to_string().contains("model-0 contradicts itself"), "{what}: {error}");
}

/// The lie is caught where the endpoint is alone, and costs nothing where there are others.
async fn is_caught(
    what: &str,
    method: &str,
    lie: Lie,
    head: Completeness,
    backfill: Completeness,
    finality: u64,
) {
    for alone in [true, false] {
        let ((db, leases), mut world) = (place().await, World::new(1, finality));
        world.extend(vec![vec![plan(), plan()]; 10]);
        let (liar, faults) = Faulty::new(world.chain.clone().boxed());
        faults.next(method, u64::MAX, lying(lie));
        let mut endpoints = vec![liar.boxed()];
        if !alone {
            endpoints.extend([world.chain.clone().boxed(), world.chain.clone().boxed()]);
        }
        let settings = Settings { watched: vec![user(0)], ..settings(finality) };
        let mut node = Follower::new(&db, &leases, 1, &world.chain, settings)
            .await
            .with_endpoints(endpoints)
            .with_completeness(head, backfill);
        if alone {
            contradiction_of(&node, what).await;
            let kept =
                "SELECT count(*) FROM anomalies WHERE chain_id = $1 AND kind = 'endpoint_contradiction'
                        AND detail->>'endpoint' = 'model-0' AND detail->'header'->>'block_hash' IS NOT NULL";
            assert_eq!(integers(&db, kept, 1).await, 1, "{what}: the evidence is kept");
            faults.clear();
        }
        node.start_ingest();
        for _ in 0..2 {
            let tip = world.visible_head();
            node.settle(|journal| journal.head == Some(tip))
                .await
                .unwrap_or_else(|error| panic!("{what}: {error}"));
            world.extend(vec![vec![plan()]; 3]);
        }
        let tip = world.visible_head();
        node.settle(|journal| journal.head == Some(tip))
            .await
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        node.end().await;
        agrees(&db, 1, &world).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_hides_or_alters_what_is_in_a_block_at_the_head_is_named_and_not_believed() {
    for (what, method, lie) in AT_THE_HEAD {
        is_caught(what, method, *lie, Completeness::Receipts, Completeness::Bloom, DEEP).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_hides_or_alters_logs_of_a_range_is_named_as_far_as_the_level_shows_it() {
    for (what, level, lie) in IN_A_RANGE {
        is_caught(what, "eth_getLogs", *lie, Completeness::Receipts, *level, 1).await;
    }
}
