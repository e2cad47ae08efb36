use plimsoll_store::{Db, Partitions, drop_expired, testing};

use super::run;

async fn partitions_of(db: &Db, parent: &str) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = $1::regclass ORDER BY 1",
    )
    .bind(parent)
    .fetch_all(db.worker())
    .await
    .unwrap()
}

#[tokio::test]
async fn a_range_that_spans_partitions_gets_all_of_them_and_they_are_protected() {
    let urls = testing::database().await;
    run(&urls.owner, "UPDATE plimsoll.partition_policies SET width = 100").await.unwrap();
    let db = Db::connect(&urls).await.unwrap();
    let mut partitions = Partitions::new();
    partitions.ensure(db.worker(), "journal", 7, 150, 350).await.unwrap();
    assert_eq!(partitions_of(&db, "journal").await, ["journal_7_100", "journal_7_200", "journal_7_300"]);
    partitions.ensure(db.worker(), "journal", 7, 0, 399).await.unwrap();
    assert_eq!(partitions_of(&db, "journal").await.len(), 4);
    Db::connect(&urls).await.expect("new partitions have row-level security too");
    let error = partitions.ensure(db.worker(), "leases", 7, 0, 1).await.unwrap_err().to_string();
    assert!(error.contains("no partition policy"), "{error}");
}

#[tokio::test]
async fn two_writers_that_need_the_same_partition_both_get_it() {
    let db = testing::db().await;
    let ensure = async || Partitions::new().ensure(db.worker(), "view_trail", 1, 0, 0).await;
    for result in futures::future::join_all([ensure(), ensure(), ensure(), ensure()]).await {
        result.unwrap();
    }
    assert_eq!(partitions_of(&db, "view_trail").await, ["view_trail_1_0"]);
}

#[tokio::test]
async fn retention_drops_what_is_old_and_done_with_and_nothing_else() {
    let urls = testing::database().await;
    run(&urls.owner, "UPDATE plimsoll.partition_policies SET width = 100").await.unwrap();
    let db = Db::connect(&urls).await.unwrap();
    let mut partitions = Partitions::new();
    partitions.ensure(db.worker(), "journal", 1, 0, 350).await.unwrap();
    run(
        &urls.worker,
        "INSERT INTO chains (chain_id, name, genesis_hash, start_block, confirmations, finality) VALUES (1, 'c', decode(repeat('00', 32), 'hex'), 0, 1, '2 blocks');
         INSERT INTO journal (chain_id, seq, block_number, ref, kind, recorded_at)
             SELECT 1, n, n, 0, 'append', now() - (400 - n) * interval '1 day' FROM generate_series(1, 350) n;
         INSERT INTO fold_cursors (fold, chain_id, seq) VALUES ('views', 1, 250);",
    )
    .await
    .unwrap();
    assert_eq!(drop_expired(&urls.owner).await.unwrap(), [""; 0], "no retention, nothing dropped");

    run(
        &urls.owner,
        "UPDATE plimsoll.partition_policies SET retention = interval '60 days' WHERE parent = 'journal'",
    )
    .await
    .unwrap();
    // Up to record 340 is old. The fold is at 250, so that [200, 300) is still needed.
    assert_eq!(drop_expired(&urls.owner).await.unwrap(), ["journal_1_0", "journal_1_100"]);
    assert_eq!(partitions_of(&db, "journal").await, ["journal_1_200", "journal_1_300"]);
    run(&urls.worker, "UPDATE fold_cursors SET seq = 350").await.unwrap();
    assert_eq!(drop_expired(&urls.owner).await.unwrap(), ["journal_1_200"]);
    assert_eq!(drop_expired(&urls.owner).await.unwrap(), [""; 0], "the partition that is written to stays");
}

#[tokio::test]
async fn a_clock_that_was_set_forward_drops_nothing_that_is_young_by_the_chains_own_time() {
    let urls = testing::database().await;
    run(
        &urls.owner,
        "UPDATE plimsoll.partition_policies SET width = 100, retention = interval '60 days' WHERE parent IN ('journal', 'chain_events', 'events')",
    )
    .await
    .unwrap();
    let db = Db::connect(&urls).await.unwrap();
    let mut partitions = Partitions::new();
    for table in ["journal", "chain_events", "chain_blocks", "events"] {
        partitions.ensure(db.worker(), table, 1, 0, 350).await.unwrap();
    }
    // Our clock says that the oldest of it is 400 days old. By the chain, whose head is 350 days back, it is 50.
    run(
        &urls.worker,
        "INSERT INTO chains (chain_id, name, genesis_hash, start_block, confirmations, finality, head_number, head_hash, final_number)
             VALUES (1, 'c', decode(repeat('00', 32), 'hex'), 0, 1, '2 blocks', 350, sha256(int8send(350)), 340);
         INSERT INTO chain_blocks (chain_id, number, hash, id, parent_hash, time, state)
             SELECT 1, n, sha256(int8send(n)), n, sha256(int8send(n - 1)), now() - (700 - n) * interval '1 day', 'final'
             FROM generate_series(300, 350) n;
         INSERT INTO journal (chain_id, seq, block_number, ref, kind, recorded_at)
             SELECT 1, n, n, 0, 'append', now() - (700 - n) * interval '1 day' FROM generate_series(300, 350) n;
         INSERT INTO fold_cursors (fold, chain_id, seq, block_number) VALUES ('views', 1, 350, 350);",
    )
    .await
    .unwrap();
    let all = async || {
        let mut all = Vec::new();
        for table in ["journal", "chain_events"] {
            all.extend(partitions_of(&db, table).await);
        }
        all
    };
    let before = all().await;
    assert_eq!(drop_expired(&urls.owner).await.unwrap(), [""; 0]);
    assert_eq!(all().await, before);

    // Once the chain itself is so far, they are old.
    run(&urls.owner, "UPDATE plimsoll.chain_blocks SET time = now() WHERE number = 350").await.unwrap();
    let dropped = drop_expired(&urls.owner).await.unwrap();
    assert!(
        dropped.contains(&"journal_1_0".to_owned()) && dropped.contains(&"chain_events_1_0".to_owned()),
        "{dropped:?}"
    );
}
