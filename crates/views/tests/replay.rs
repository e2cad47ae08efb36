//! Replay and equivalence: however the records came, in whatever batches and over whatever reorgs, the tables end the same.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use common::{Log, Scene, asset, cached, contracts, failed, log, pushed, replayed, uint, user, word};
use plimsoll_views::replay::replay;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use sqlx::{AssertSqlSafe, ConnectOptions as _};

/// Logs of a block, from few users and assets so that they meet.
fn logs() -> impl Strategy<Value = Vec<Log>> {
    let one = (0u8..7, 0u8..3, 1u8..3, 1u8..3, 0u64..6, 0u64..4).prop_map(|(kind, tx, who, what, a, b)| {
        let request = u8::try_from(a).unwrap();
        match kind {
            0 | 1 => cached(tx, who, what, a, b, a),
            2 => pushed(tx, who, what, a, b, request, b),
            3 => replayed(tx, who, what, request, b),
            4 => failed(tx, who, what, &[request; 3]),
            5 => log(tx, "HealthView", "HealthFactorCached", &[user(who).into(), uint(a), uint(b)]),
            _ => log(
                tx,
                "EventHistoryManager",
                "HistoryRecorded",
                &[
                    word(1),
                    user(who).into(),
                    asset(what).into(),
                    uint(a),
                    alloy_dyn_abi::DynSolValue::Bytes(vec![1]),
                    uint(b),
                ],
            ),
        }
    });
    proptest::collection::vec(one, 0..6).prop_map(|mut logs| {
        logs.sort_by_key(|log| log.tx);
        logs
    })
}

fn blocks(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Vec<Log>>> {
    proptest::collection::vec(logs(), count)
}

#[test]
fn whatever_is_applied_and_taken_back_leaves_the_tables_as_they_were() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let db = runtime.block_on(plimsoll_store::testing::db());
    let mut runner = TestRunner::new(Config { cases: 24, failure_persistence: None, ..Config::default() });
    let next_chain = std::cell::Cell::new(1);
    let strategy = (blocks(1..4), blocks(1..4), blocks(0..4), 1usize..40);
    runner
        .run(&strategy, |(kept, lost, found, max_records)| {
            runtime.block_on(async {
                let chain_id = next_chain.replace(next_chain.get() + 2);
                let mut scene = Scene::on(db.clone(), chain_id).await;
                scene.extend(&kept).await;
                scene.fold_by(max_records).await;
                let before = scene.mirrors().await;
                scene.extend(&lost).await;
                scene.fold_by(max_records).await;
                scene.switch(lost.len(), &[vec![]], 9, None).await;
                scene.fold_by(max_records).await;
                prop_assert_eq!(&scene.mirrors().await, &before);

                // On to another branch; a chain that never left it must have the same.
                scene.switch(1, &[vec![vec![]], found.clone()].concat(), 7, None).await;
                scene.fold_by(max_records).await;
                let replayed = replay(&db, chain_id, &contracts(), |_| {}).await.unwrap();
                prop_assert!(replayed.equal, "{}", replayed);

                let mut fresh = Scene::on(db.clone(), chain_id + 1).await;
                fresh.extend(&kept).await;
                fresh.switch(0, &[vec![vec![]], found].concat(), 7, None).await;
                fresh.fold().await;
                let same_hashes = |rows: Vec<String>| -> Vec<serde_json::Value> {
                    let mut rows: Vec<_> = rows.iter().map(|row| without_hashes(row)).collect();
                    rows.sort_by_key(ToString::to_string);
                    rows
                };
                prop_assert_eq!(same_hashes(scene.projection().await), same_hashes(fresh.projection().await));
                Ok(())
            })
        })
        .unwrap();
}

/// The two scenes have chain ids of their own, and so hashes of their own.
fn without_hashes(row: &str) -> serde_json::Value {
    let mut row: serde_json::Value = serde_json::from_str(row).unwrap();
    let columns = row.as_object_mut().unwrap();
    columns.retain(|name, _| {
        !matches!(name.as_str(), "last_chain_block_hash" | "last_chain_tx" | "block_hash" | "tx_hash")
    });
    row
}

#[tokio::test]
async fn a_replay_looks_at_every_column_of_what_it_compares() {
    let mut scene = Scene::new().await;
    scene.extend(&[vec![pushed(0, 1, 1, 20, 0, 1, 1), cached(0, 1, 1, 20, 0, 1)]]).await;
    scene.fold().await;
    let mut owner = scene.db.urls().owner.connect().await.unwrap();
    for (table, column, other) in [
        ("position_cache_mirror", "tenant_id", "NULL"),
        ("position_cache_mirror", "collateral", "21"),
        ("position_cache_mirror", "debt", "1"),
        ("position_cache_mirror", "version", "2"),
        ("position_cache_mirror", "last_request_id", "NULL"),
        ("position_cache_mirror", "last_seq", "2"),
        ("position_cache_mirror", "last_chain_block", "9"),
        ("position_cache_mirror", "last_chain_block_hash", "decode(repeat('aa', 32), 'hex')"),
        ("position_cache_mirror", "last_chain_tx", "decode(repeat('aa', 32), 'hex')"),
        ("position_cache_mirror", "last_log_index", "9"),
        ("position_cache_mirror", "last_journal_seq", "1"),
        ("position_push_links", "version", "2"),
        ("view_apply_entries", "apply_status", "'duplicate'"),
        ("view_apply_entries", "reject_code", "'other'"),
    ] {
        let mut change = async |text: String| {
            sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut owner).await.unwrap();
        };
        let condition = if table == "view_apply_entries" { "WHERE apply_status = 'applied'" } else { "" };
        change(format!("CREATE TEMP TABLE kept AS TABLE {table}")).await;
        change(format!("UPDATE {table} SET {column} = {other} {condition}")).await;
        let report = replay(&scene.db, scene.chain_id, &contracts(), |_| {}).await.unwrap();
        let different = report.tables.iter().find(|compared| compared.table == table).unwrap();
        assert_eq!(different.different_rows, 1, "{table}.{column}: {report}");
        change(format!("DELETE FROM {table}; INSERT INTO {table} SELECT * FROM kept; DROP TABLE kept")).await;
        let report = replay(&scene.db, scene.chain_id, &contracts(), |_| {}).await.unwrap();
        assert!(report.equal, "{table}.{column}: {report}");
    }
}

#[tokio::test]
async fn a_replay_finds_what_somebody_changed_by_hand() {
    let mut scene = Scene::new().await;
    scene
        .extend(&[
            vec![cached(0, 1, 1, 10, 0, 1), cached(0, 2, 1, 10, 0, 1)],
            vec![pushed(0, 1, 1, 20, 0, 1, 1), cached(0, 1, 1, 20, 0, 2)],
        ])
        .await;
    scene.fold().await;
    let mut seen = Vec::new();
    let report =
        replay(&scene.db, scene.chain_id, &contracts(), |progress| seen.push(progress.seq)).await.unwrap();
    assert!(report.equal, "{report}");
    assert_eq!((report.at_seq, report.records), (6, 6));
    assert_eq!(seen.last(), Some(&6));
    let applied = report.apply_log.iter().find(|count| count.apply_status == "applied").unwrap();
    assert_eq!((applied.live_rows, applied.replayed_rows), (3, 3));

    sqlx::query("UPDATE position_cache_mirror SET debt = 1 WHERE version = 2")
        .execute(scene.db.worker())
        .await
        .unwrap();
    sqlx::query("DELETE FROM position_push_links").execute(scene.db.worker()).await.unwrap();
    let report = replay(&scene.db, scene.chain_id, &contracts(), |_| {}).await.unwrap();
    assert!(!report.equal);
    let different: Vec<_> = report.tables.iter().map(|table| (table.table, table.different_rows)).collect();
    assert_eq!(
        different,
        [
            ("position_cache_mirror", 1),
            ("view_mirror", 0),
            ("view_trail", 0),
            ("position_push_links", 1),
            ("view_apply_entries", 0)
        ]
    );
    assert_eq!(report.differences[0].live.as_ref().unwrap()["debt"], 1);
    assert_eq!(report.differences[0].replayed.as_ref().unwrap()["debt"], 0);
    assert_eq!(report.differences[1].live, None);
    assert!(report.to_string().contains("DIFFERENT"), "{report}");
}
