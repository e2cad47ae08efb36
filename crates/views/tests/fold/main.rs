//! Stories of the views' fold on a real Postgres.

#![allow(missing_docs, clippy::unwrap_used)]

mod by_hand;
#[path = "../common/mod.rs"]
mod common;
mod undo;

use alloy_dyn_abi::DynSolValue;
use alloy_primitives::{B256, hex, keccak256};
use common::{Log, Scene, address_of, asset, cached, failed, int, log, pushed, replayed, uint, user, word};
use plimsoll_journal::{StepOptions, step};
use plimsoll_types::address_text;

fn row(
    event: &str,
    kind: &str,
    status: &str,
    code: Option<&str>,
) -> (Option<String>, String, String, Option<String>) {
    (Some(event.to_owned()), kind.to_owned(), status.to_owned(), code.map(str::to_owned))
}

fn link(
    outcome: &str,
    version: Option<u64>,
    code: Option<&str>,
) -> (String, Option<String>, Option<String>, Option<String>) {
    let view = (outcome != "unmatched").then(|| address_text(&address_of("PositionView")));
    (outcome.to_owned(), version.map(|version| version.to_string()), code.map(str::to_owned), view)
}

fn selector(error: &str) -> Vec<u8> {
    keccak256(error)[..4].to_vec()
}

#[tokio::test]
async fn each_version_is_judged_against_the_mirror() {
    let mut scene = Scene::new().await;
    scene
        .extend(&[
            vec![cached(0, 1, 1, 10, 0, 1), cached(1, 1, 1, 20, 5, 2)],
            vec![cached(0, 1, 1, 21, 5, 2)],
            vec![cached(0, 1, 1, 30, 5, 5), cached(1, 1, 1, 15, 5, 4)],
            vec![cached(0, 2, 1, 7, 0, 40)],
        ])
        .await;
    scene.fold().await;
    let version = |status, code| row("UserPositionCachedV2", "position", status, code);
    assert_eq!(
        scene.apply_log().await,
        [
            version("applied", None),
            version("applied", None),
            version("duplicate", None),
            version("applied", None),
            version("rejected", Some("stale_version")),
            version("applied", None),
        ]
    );
    assert_eq!(scene.position(1, 1).await.unwrap().0, "30");
    assert_eq!(scene.position(1, 1).await.unwrap().1, "5");
    assert_eq!(scene.position(2, 1).await.unwrap().1, "40");
    assert_eq!(
        scene.anomalies().await,
        ["version_repeated", "version_jump", "version_back", "history_starts_late"]
    );
}

#[tokio::test]
async fn a_late_start_is_noted_once_a_contract_however_often_the_process_starts() {
    let mut scene = Scene::new().await;
    scene
        .extend(&[vec![cached(0, 1, 1, 1, 0, 9), cached(0, 2, 1, 1, 0, 9)], vec![cached(0, 3, 1, 1, 0, 9)]])
        .await;
    scene.fold_by(1).await;
    scene.fold = plimsoll_views::ViewFold::new(scene.chain_id, &common::contracts());
    scene.extend(&[vec![cached(0, 4, 1, 1, 0, 9)]]).await;
    scene.fold().await;
    assert_eq!(scene.anomalies().await, ["history_starts_late"]);
}

#[tokio::test]
async fn pushes_are_linked_to_what_became_of_them() {
    let mut scene = Scene::new().await;
    let delta = |tx| {
        let rest = [int(-5), int(0), uint(0), word(7), uint(0)];
        log(
            tx,
            "VaultRouter",
            "UserPositionDeltaPushed",
            &[&[user(1).into(), asset(1).into()][..], &rest].concat(),
        )
    };
    scene
        .extend(&[
            vec![pushed(0, 1, 1, 10, 0, 0x11, 5), cached(0, 1, 1, 10, 0, 1)], // the push first
            vec![cached(0, 1, 1, 20, 0, 2), pushed(0, 1, 1, 20, 0, 0x22, 6)], // the version first
            vec![pushed(0, 1, 1, 20, 0, 0x22, 6), replayed(0, 1, 1, 0x22, 6)],
            vec![pushed(0, 1, 1, 30, 0, 0x33, 7), failed(0, 1, 1, &selector("InvalidDelta()"))],
            vec![delta(0), cached(0, 1, 1, 15, 0, 3)],
            vec![pushed(0, 1, 1, 40, 0, 0x44, 8), cached(1, 1, 1, 40, 0, 4)], // of two transactions
            vec![pushed(0, 1, 1, 50, 0, 0x55, 6), cached(0, 1, 1, 50, 0, 5)], // seq does not increase
        ])
        .await;
    scene.fold().await;
    assert_eq!(
        scene.links().await,
        [
            link("applied", Some(1), None),
            link("applied", Some(2), None),
            link("ignored", Some(2), None),
            link("failed", None, Some("invalid_delta")),
            link("applied", Some(3), None),
            link("unmatched", None, None),
            link("applied", Some(5), Some("out_of_order_seq")),
        ]
    );
    let push = |status, code| row("UserPositionPushed", "position", status, code);
    let version = || row("UserPositionCachedV2", "position", "applied", None);
    assert_eq!(
        scene.apply_log().await,
        [
            push("ignored", None),
            version(),
            version(),
            push("ignored", None),
            push("ignored", None),
            row("IdempotentRequestIgnored", "position", "ignored", None),
            push("ignored", None),
            row("CacheUpdateFailed", "position", "rejected", Some("invalid_delta")),
            row("UserPositionDeltaPushed", "position", "ignored", None),
            version(),
            push("ignored", None),
            version(),
            push("rejected", Some("out_of_order_seq")),
            version(),
        ]
    );
    let hex = |byte: u8| Some(hex::encode_prefixed([byte; 32]));
    assert_eq!(scene.position(1, 1).await.unwrap(), ("50".into(), "5".into(), hex(0x55), Some("6".into())));
    assert_eq!(scene.anomalies().await, ["out_of_order_seq"]);
    let asked: Vec<(Option<String>, Option<String>)> = sqlx::query_as(
        "SELECT request_id, seq::text FROM view_apply_log WHERE event_name = 'UserPositionCachedV2' ORDER BY journal_seq LIMIT 2",
    )
    .fetch_all(scene.db.worker())
    .await
    .unwrap();
    assert_eq!(
        asked,
        [(hex(0x11), Some("5".into())), (hex(0x22), Some("6".into()))],
        "an answer is on record with its request"
    );
}

#[tokio::test]
async fn a_version_without_a_push_leaves_the_last_request_and_another_request_is_not_linked_to_it() {
    let mut scene = Scene::new().await;
    scene
        .extend(&[
            vec![pushed(0, 1, 1, 10, 0, 0x11, 5), cached(0, 1, 1, 10, 0, 1)],
            vec![cached(0, 1, 1, 20, 0, 2)],
            vec![pushed(0, 1, 1, 20, 0, 0x99, 9), replayed(0, 1, 1, 0x99, 9)],
        ])
        .await;
    scene.fold().await;
    let request = Some(hex::encode_prefixed([0x11; 32]));
    assert_eq!(scene.position(1, 1).await.unwrap(), ("20".into(), "2".into(), request, Some("5".into())));
    assert_eq!(scene.links().await, [link("applied", Some(1), None), link("ignored", None, None)]);
}

#[tokio::test]
async fn a_mirror_row_that_somebody_removed_is_missed_by_the_fold_that_knows_it() {
    let mut scene = Scene::new().await;
    scene.extend(&[vec![cached(0, 1, 1, 10, 0, 1)]]).await;
    scene.fold().await;
    sqlx::query("DELETE FROM position_cache_mirror").execute(scene.db.worker()).await.unwrap();
    scene.extend(&[vec![cached(0, 1, 1, 20, 0, 2)]]).await;
    let options = StepOptions { max_records: 100, up_to_seq: None, tail: None, lease: None };
    let refused = step(&mut scene.fold, &scene.db, scene.chain_id, options).await.unwrap_err();
    assert!(refused.to_string().contains("something else wrote there"), "{refused}");
    assert_eq!(scene.apply_log().await.len(), 1);
}

#[tokio::test]
async fn a_failure_is_rejected_with_the_code_of_its_reason() {
    let mut scene = Scene::new().await;
    let coded = |error: &str, a: u64, b: u64| {
        [selector(error), DynSolValue::Tuple(vec![uint(a), uint(b)]).abi_encode_params()].concat()
    };
    let text = [
        selector("Error(string)"),
        DynSolValue::Tuple(vec![DynSolValue::String("no\0 way".into())]).abi_encode_params(),
    ]
    .concat();
    let health = [
        user(1).into(),
        address_of("HealthView").into(),
        uint(9),
        uint(8),
        DynSolValue::Bytes(selector("Paused()")),
    ];
    scene
        .extend(&[vec![
            failed(0, 1, 1, &coded("StaleVersion(uint64,uint64)", 3, 9)),
            failed(1, 1, 1, &coded("OutOfOrderSeq(uint64,uint64)", 5, 4)),
            failed(2, 1, 1, &selector("InvalidDelta()")),
            failed(3, 1, 1, &text),
            failed(4, 1, 1, &[]),
            failed(5, 1, 1, &[0xfe; 5000]),
            log(6, "LendingEngineCore", "HealthPushFailed", &health),
        ]])
        .await;
    scene.fold().await;
    let failure = |code| row("CacheUpdateFailed", "position", "rejected", Some(code));
    assert_eq!(
        scene.apply_log().await,
        [
            failure("stale_version"),
            failure("out_of_order_seq"),
            failure("invalid_delta"),
            failure("cache_update_failed"),
            failure("cache_update_failed"),
            failure("cache_update_failed"),
            row("HealthPushFailed", "health", "rejected", Some("cache_update_failed")),
        ]
    );
    let details: Vec<serde_json::Value> =
        sqlx::query_scalar("SELECT reject_detail FROM view_apply_log ORDER BY journal_seq")
            .fetch_all(scene.db.worker())
            .await
            .unwrap();
    assert_eq!(details[0]["reason"], "StaleVersion(current: 3, next: 9)");
    assert_eq!(details[0]["viewAddr"], address_text(&address_of("PositionView")));
    assert_eq!(details[2]["raw"], hex::encode_prefixed(selector("InvalidDelta()")));
    assert_eq!(details[3]["reason"], "no\u{fffd} way");
    assert_eq!(details[5]["raw_bytes"], 5000);
    assert_eq!(details[5]["raw"].as_str().unwrap().len(), 2 + 2 * 4096);
    assert_eq!((&details[6]["reason"], &details[6]["totalDebt"]), (&"Paused()".into(), &"8".into()));
    assert!(scene.anomalies().await.is_empty());
}

fn one_of_each_view() -> Vec<Log> {
    let (flag, text, bytes) =
        (DynSolValue::Bool(true), DynSolValue::String("fees".into()), DynSolValue::Bytes(vec![1, 2]));
    let (who, what) = (DynSolValue::from(user(1)), DynSolValue::from(asset(1)));
    let own = |contract, event, values: &[&DynSolValue]| {
        log(0, contract, event, &values.iter().map(|value| (*value).clone()).collect::<Vec<_>>())
    };
    let (one, two, three) = (&uint(1), &uint(2), &uint(3));
    vec![
        own("VaultRouter", "AssetStatsPushed", &[&what, one, two, three, &uint(4), &word(1), &uint(5)]),
        own(
            "StatisticsView",
            "DegradationStatsCached",
            &[one, two, &who, &word(2), three, three, three, two],
        ),
        own("ViewCache", "CacheUpdated", &[&what, &who, one]),
        own("AccessControlView", "PermissionDataUpdated", &[&who, &word(3), &flag, one]),
        own("AccessControlView", "PermissionLevelUpdated", &[&who, three, one]),
        own("ModuleHealthView", "ModuleHealthChecked", &[&what, &flag, two]),
        own(
            "HealthView",
            "HealthFactorCached",
            &[&who, &DynSolValue::Uint(alloy_primitives::U256::MAX, 256), one],
        ),
        own("HealthView", "ModuleHealthCached", &[&what, &flag, &word(4), two, one]),
        own("FeeRouterView", "DataSynced", &[&who, one]),
        own("FeeRouterView", "UserDataPushed", &[&who, &text, one]),
        own("FeeRouterView", "SystemDataPushed", &[&who, &text, one]),
        own("EventHistoryManager", "HistoryRecorded", &[&word(5), &who, &what, three, &bytes, one]),
        own("PositionView", "UserPositionCached", &[&who, &what, one, two, three]),
        own("VaultRouter", "UserPositionUpdated", &[&who, &what, one, two, three]),
        own("MockERC20", "Transfer", &[&who, &what, one]),
        Log {
            tx: 0,
            contract: address_of("PositionView"),
            topics: vec![B256::repeat_byte(0x99)],
            data: vec![],
        },
        Log { tx: 0, contract: address_of("PositionView"), topics: vec![], data: vec![1] },
    ]
}

#[tokio::test]
async fn every_other_view_event_is_mirrored_trailed_or_on_record_as_ignored() {
    let mut scene = Scene::new().await;
    scene.extend(&[one_of_each_view()]).await;
    scene.fold().await;
    let log = scene.apply_log().await;
    let statuses: Vec<_> = log.iter().map(|(_, kind, status, _)| (kind.as_str(), status.as_str())).collect();
    let (applied, ignored) = ("applied", "ignored");
    assert_eq!(
        statuses,
        [
            ("asset_stats", applied),
            ("statistics", applied),
            ("system", applied),
            ("permission", applied),
            ("permission", applied),
            ("health", applied),
            ("health", applied),
            ("health", applied),
            ("fee", applied),
            ("fee", applied),
            ("fee", applied),
            ("history", applied),
            ("position", ignored),
            ("position", ignored),
            ("unknown", ignored),
            ("unknown", ignored),
            ("unknown", ignored),
        ]
    );
    assert_eq!(log[14].0.as_deref(), Some("Transfer"), "an event that the ABI knows and no declaration does");
    assert_eq!((log[15].0.as_deref(), log[16].0.as_deref()), (None, None));

    let (who, what) = (address_text(&user(1)), address_text(&asset(1)));
    let mirrored: Vec<(String, String, serde_json::Value)> =
        sqlx::query_as("SELECT view, key, value FROM view_mirror ORDER BY view")
            .fetch_all(scene.db.worker())
            .await
            .unwrap();
    let word = |byte: u8| hex::encode_prefixed([byte; 32]);
    let find = |view: &str| {
        mirrored.iter().find(|row| row.0 == view).map(|row| (row.1.clone(), row.2.clone())).unwrap()
    };
    assert_eq!(mirrored.len(), 8);
    assert_eq!(find("permission").0, format!("{who}/{}", word(3)));
    assert_eq!(find("permission").1, serde_json::json!({ "hasPermission": true, "timestamp": "1" }));
    assert_eq!(
        find("system_snapshot"),
        (what.clone(), serde_json::json!({ "updater": who, "timestamp": "1" }))
    );
    assert_eq!(find("degradation_stats").0, "");
    assert_eq!(find("degradation_stats").1["lastDegradedModule"], who.as_str());
    assert_eq!(find("asset_stats").1["requestId"], word(1));
    let factor: String = sqlx::query_scalar("SELECT health_factor::text FROM health_factor_mirror")
        .fetch_one(scene.db.worker())
        .await
        .unwrap();
    assert_eq!(factor, alloy_primitives::U256::MAX.to_string());

    let trailed: Vec<(String, String, serde_json::Value)> =
        sqlx::query_as("SELECT view, key, value FROM view_trail ORDER BY journal_seq")
            .fetch_all(scene.db.worker())
            .await
            .unwrap();
    let views: Vec<_> = trailed.iter().map(|row| row.0.as_str()).collect();
    assert_eq!(views, ["fee_data_synced", "fee_user_data", "fee_system_data", "history"]);
    assert_eq!(trailed[1].2, serde_json::json!({ "dataType": "fees", "timestamp": "1" }));
    assert_eq!(trailed[3].1, format!("{who}/{what}"));
    assert_eq!(trailed[3].2["extraData"], "0x0102");
}
