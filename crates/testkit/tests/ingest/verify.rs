//! A second look at final blocks: what differs is found and kept, what is equal is certified, and an endpoint's lie is not taken for a hole.

use std::sync::Arc;

use alloy_transport::{BoxTransport, Transport};
use plimsoll_chain::ErrorClass;
use plimsoll_chain::transport::{Fault, Faulty};
use plimsoll_ingest::verify::{CompletenessReport, DifferenceKind, VerifyError, VerifyOptions, verify};
use plimsoll_journal::certificates;
use plimsoll_store::{Db, Leases};
use plimsoll_types::Completeness;
use serde_json::Value;
use sqlx::ConnectOptions;

use crate::support::follower::{Follower, Settings};
use crate::support::world::{Plan, World, contracts, user};
use crate::{agrees, place, plan, settings};

const WHOLE: VerifyOptions = VerifyOptions { from: None, to: None, level: Completeness::Receipts };

/// A chain of 20 blocks, all but the last final, and a node that has followed it to its end.
async fn followed(db: &Db, leases: &Leases) -> (World, Follower) {
    let mut world = World::new(1, 1);
    world.extend(vec![vec![plan(), plan()]; 1]);
    world.extend(vec![vec![plan(), Plan { sender: 2, ..plan() }]]);
    world.extend(vec![vec![plan(), plan()]; 18]);
    let settings = Settings { watched: vec![user(0)], ..settings(1) };
    let mut node = Follower::new(db, leases, 1, &world.chain, settings).await;
    node.start_ingest();
    let tip = world.visible_head();
    node.settle(|journal| journal.head == Some(tip)).await.unwrap();
    node.end().await;
    agrees(db, 1, &world).await;
    (world, node)
}

async fn look(node: &Follower, options: VerifyOptions) -> Result<CompletenessReport, VerifyError> {
    let contracts = contracts(node.settings.start_block);
    verify(&node.db, &node.pool(), &contracts, &node.config(), options, |_| ()).await
}

/// Changes what no role of the running program may.
async fn tamper(db: &Db, statement: &'static str) {
    let mut owner = db.urls().owner.connect().await.unwrap();
    let changed = sqlx::query(statement).execute(&mut owner).await.unwrap().rows_affected();
    assert!(changed > 0, "{statement}");
}

async fn anomalies(db: &Db) -> Vec<(String, Value)> {
    sqlx::query_as("SELECT kind, detail FROM anomalies WHERE source = 'verify' ORDER BY anomaly_id")
        .fetch_all(db.worker())
        .await
        .unwrap()
}

/// The blocks that a second look has certified, and at which level.
async fn certified(db: &Db) -> Vec<(u64, u64, Completeness)> {
    let all = certificates(db, 1).await.unwrap();
    all.iter().filter(|it| it.source == "verify").map(|it| (it.from, it.to, it.level)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_whole_is_certified_at_the_level_that_was_proven() {
    let (db, leases) = place().await;
    let (world, node) = followed(&db, &leases).await;
    let last = world.visible_head().0 - 1;
    let bloom = VerifyOptions { level: Completeness::Bloom, ..WHOLE };
    let report = look(&node, bloom).await.unwrap();
    assert_eq!((report.from, report.to, report.proven_blocks), (0, last, last + 1));
    assert!(report.cannot_show().is_some(), "{report}");
    assert_eq!(certified(&db).await, [(0, last, Completeness::Bloom)]);

    let report = look(&node, WHOLE).await.unwrap();
    let truth = world.true_events(0).iter().filter(|event| event.block_number <= last).count() as u64;
    assert_eq!((report.different, report.unproven_blocks(), report.events), (0, 0, truth), "{report}");
    assert_eq!(
        report.transactions,
        world.true_inclusions(&[user(0)], 0).iter().filter(|it| it.0 <= last).count() as u64
    );
    assert!(report.uncovered.is_empty() && report.cannot_show().is_none(), "{report}");
    // What showed less is forgotten.
    assert_eq!(certified(&db).await, [(0, last, Completeness::Receipts)]);
    assert_eq!(anomalies(&db).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_did_to_the_raw_store_is_found_and_kept_with_both_sides() {
    let (db, leases) = place().await;
    let (_, node) = followed(&db, &leases).await;
    for statement in [
        "DELETE FROM chain_live WHERE block_number = 3 AND log_index = 0",
        "DELETE FROM chain_events WHERE block_number = 3 AND log_index = 0",
        "UPDATE chain_events SET data = data || '\\x00' WHERE block_number = 6 AND log_index = 1",
        "DELETE FROM chain_live WHERE block_number = 9 AND log_index = 0",
        "UPDATE chain_events SET log_index = 77 WHERE block_number = 12 AND log_index = 1",
        "UPDATE chain_live SET log_index = 77 WHERE block_number = 12 AND log_index = 1",
        "UPDATE chain_tx_meta SET nonce = nonce + 1 WHERE block_number = 15 AND tx_index = 0",
        "DELETE FROM chain_tx_meta WHERE block_number = 17 AND tx_index = 0",
    ] {
        tamper(&db, statement).await;
    }
    for level in [Completeness::Receipts, Completeness::Bloom] {
        let report = look(&node, VerifyOptions { level, ..WHOLE }).await.unwrap();
        let mut found: Vec<_> =
            report.differences.iter().map(|it| (it.block_number, it.of, it.index, it.kind)).collect();
        found.sort_by_key(|it| (it.0, it.2));
        use DifferenceKind::{Altered, Foreign, Missing, NotLive};
        assert_eq!(
            found,
            [
                (3, "event", 0, Missing),
                (6, "event", 1, Altered),
                (9, "event", 0, NotLive),
                (12, "event", 1, Missing),
                (12, "event", 77, Foreign),
                (15, "transaction", 0, Altered),
                (17, "transaction", 0, Missing),
            ],
            "{report}"
        );
        assert_eq!(report.different, 7);
        assert!(report.contradictions.is_empty(), "{report}");
        let altered = report.differences.iter().find(|it| it.block_number == 6).unwrap();
        let data = |side: &Option<Value>| side.as_ref().unwrap()["data"].as_str().unwrap().to_owned();
        assert_eq!(data(&altered.stored), format!("{}00", data(&altered.chain)));
    }
    // Found twice, kept once; and nothing around them is certified.
    let kept = anomalies(&db).await;
    let kinds: Vec<_> = kept.iter().map(|(kind, _)| kind.trim_start_matches("completeness_")).collect();
    assert_eq!(kinds, ["missing", "altered", "not_live", "missing", "foreign", "altered", "missing"]);
    assert!(kept.iter().all(|(_, detail)| detail["endpoint"] == "model-0" && detail["level"] == "receipts"));
    for (from, to, _) in certified(&db).await {
        assert!([3, 6, 9, 12, 15, 17].iter().all(|block| !(from..=to).contains(block)), "{from} to {to}");
    }
}

/// A node that hides the last log of every answer about a range, or of a block's receipts.
fn hiding(world: &World) -> BoxTransport {
    let (liar, faults) = Faulty::new(world.chain.clone().boxed());
    let hide = |mut answer: Value| {
        if let Some(all) = answer.as_array_mut() {
            let is_of_logs = all.first().is_some_and(|one| one.get("logIndex").is_some());
            if is_of_logs {
                all.pop();
            }
            for receipt in all {
                if let Some(logs) = receipt.get_mut("logs").and_then(Value::as_array_mut) {
                    logs.pop();
                }
            }
        }
        answer
    };
    faults.next("eth_getLogs", u64::MAX, Fault::Rewrite(Arc::new(hide)));
    faults.next("eth_getBlockReceipts", u64::MAX, Fault::Rewrite(Arc::new(hide)));
    liar.boxed()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoints_lie_is_not_taken_for_a_hole_in_the_journal() {
    let (db, leases) = place().await;
    let (world, node) = followed(&db, &leases).await;
    let last = world.visible_head().0 - 1;
    for level in [Completeness::Receipts, Completeness::Bloom] {
        // Beside an honest one it is named and passed over, once it is asked: who answers faster is asked more.
        let mut is_named = false;
        for _ in 0..50 {
            let beside = Follower::new(&db, &leases, 1, &world.chain, node.settings.clone())
                .await
                .with_endpoints(vec![hiding(&world), world.chain.clone().boxed()]);
            let report = look(&beside, VerifyOptions { level, ..WHOLE }).await.unwrap();
            assert_eq!((report.different, report.unproven_blocks()), (0, 0), "{level}: {report}");
            assert!(report.contradictions.iter().all(|it| it.endpoint == "model-0"), "{level}: {report}");
            is_named = !report.contradictions.is_empty();
            if is_named {
                break;
            }
        }
        assert!(is_named, "{level}");
        assert_eq!(certified(&db).await.iter().map(|it| it.1).max(), Some(last));

        // Alone it proves nothing, and accuses nobody.
        let alone = Follower::new(&db, &leases, 1, &world.chain, node.settings.clone())
            .await
            .with_endpoints(vec![hiding(&world)]);
        let report = look(&alone, VerifyOptions { level, ..WHOLE }).await.unwrap();
        assert_eq!(report.different, 0, "{level}: {report}");
        assert!(report.unproven_blocks() > 0, "{level}: {report}");
    }
    let kept = anomalies(&db).await;
    assert!(!kept.is_empty());
    assert!(
        kept.iter().all(|(kind, detail)| kind == "endpoint_contradiction" && detail["endpoint"] == "model-0")
    );
    assert!(kept.iter().all(|(_, detail)| detail["header"]["receipts_root"].is_string()), "{kept:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_never_asked_for_is_told_and_its_logs_are_missing() {
    let (db, leases) = place().await;
    let (world, node) = followed(&db, &leases).await;
    let tip = world.visible_head().0;
    // From now on the transactions of another sender are wanted too.
    let settings = Settings { watched: vec![user(0), user(1)], ..node.settings.clone() };
    let wider = Follower::new(&db, &leases, 1, &world.chain, settings).await;
    let part = VerifyOptions { from: Some(0), to: Some(4), ..WHOLE };
    let report = look(&wider, part).await.unwrap();
    let uncovered: Vec<_> = report
        .uncovered
        .iter()
        .map(|it| (it.what.address, it.what.is_sender, it.what.from, it.what.to))
        .collect();
    // Of this one there are none in these blocks: by being proven they are covered.
    assert_eq!((report.different, uncovered), (0, vec![(user(1), true, 5, tip)]), "{report}");

    // Of a third there is one, and nobody kept it.
    let settings = Settings { watched: vec![user(0), user(2)], ..node.settings.clone() };
    let wider = Follower::new(&db, &leases, 1, &world.chain, settings).await;
    let report = look(&wider, part).await.unwrap();
    assert_eq!(
        (report.different, report.uncovered.iter().map(|it| it.missing).sum::<u64>()),
        (0, 1),
        "{report}"
    );
    assert_eq!(anomalies(&db).await, [], "nobody did wrong");
    assert!(report.uncovered.iter().all(|it| it.what.address == user(2)), "{report}");
    // A range in which something is missing is not covered, nor what was not looked at.
    let is_uncovered = |block| report.uncovered.iter().any(|it| it.what.contains(user(2), block));
    assert!(is_uncovered(2) && (5..=tip).all(is_uncovered) && !is_uncovered(0), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_looked_at_is_said() {
    let (db, leases) = place().await;
    let (world, node) = followed(&db, &leases).await;
    let last = world.visible_head().0 - 1;
    let (end, beyond) = (Some(last), Some(last + 1));
    for (from, to, said) in [
        (Some(5), Some(4), "begin with 5 and end with 4, which is below it".to_owned()),
        (None, beyond, format!("block {} cannot be looked at", last + 1)),
        (beyond, None, format!("the last final one {last}")),
        (beyond, end, format!("begin with {} and end with {last}", last + 1)),
    ] {
        let error = look(&node, VerifyOptions { from, to, ..WHOLE }).await.unwrap_err();
        assert!(error.to_string().contains(&said), "{from:?} to {to:?}: {error}");
    }
    let (silent, faults) = Faulty::new(world.chain.clone().boxed());
    let dead = Follower::new(&db, &leases, 1, &world.chain, node.settings.clone())
        .await
        .with_endpoints(vec![silent.boxed()]);
    faults.next_of_any(u64::MAX, Fault::Fail(ErrorClass::Transient));
    assert!(matches!(look(&dead, WHOLE).await, Err(VerifyError::Endpoint { from: 0, .. })));
    assert_eq!(certified(&db).await, []);
    let other = Follower::new(&db, &leases, 2, &world.chain, node.settings.clone()).await;
    assert!(matches!(look(&other, WHOLE).await, Err(VerifyError::NotBegun { chain_id: 2 })));
}
