use std::fs;
use std::path::Path;
use std::time::Duration;

use plimsoll_store::{BackupError, Db, FenceError, Leases, backup, fence_status, lift_fence, restore};

use super::{migrated, scratch, started};

async fn fill(db: &Db) {
    sqlx::query(
        "INSERT INTO chains (chain_id, name, genesis_hash, start_block, confirmations, finality, next_seq, head_number)
         VALUES (1, 'one', decode(repeat('00', 32), 'hex'), 0, 1, '2 blocks', 43, 9)",
    )
    .execute(db.worker())
    .await
    .unwrap();
    sqlx::query("SELECT ensure_partition('journal', 1, 1)").execute(db.worker()).await.unwrap();
    sqlx::query("INSERT INTO journal (chain_id, seq, block_number, ref, kind) SELECT 1, n, 9, n, 'append' FROM generate_series(1, 42) n")
        .execute(db.worker())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_restored_cluster_has_everything_and_starts_fenced() {
    let dir = scratch();
    let (from, to, file) = (dir.path().join("from"), dir.path().join("to"), dir.path().join("a.backup"));
    let (cluster, db) = migrated(&from).await;
    fill(&db).await;
    let leases = Leases::connect(&db, "one", Duration::from_secs(600)).await.unwrap();
    let lease = leases.acquire("ingest/1").await.unwrap().unwrap();

    // The cluster runs: the backup is taken beside it.
    let manifest = backup(&from, &file).await.unwrap();
    assert_eq!(manifest.chains[0]["next_seq"], 43);
    assert_eq!(restore(&file, &to).await.unwrap(), manifest);

    let restored = started(&to).await;
    let fence = restored.fence().unwrap().expect("a restored cluster is fenced");
    assert_eq!(fence.backup_made_at, manifest.made_at);
    let restored_db = Db::connect(&restored.urls()).await.unwrap();
    let rows: i64 =
        sqlx::query_scalar("SELECT count(*) FROM journal").fetch_one(restored_db.app()).await.unwrap();
    assert_eq!(rows, 42);
    // Who held the lease before the backup cannot write here, and whoever takes it now is far above any token of the other world.
    lease.guard(&mut db.worker().acquire().await.unwrap()).await.unwrap();
    lease.guard(&mut restored_db.worker().acquire().await.unwrap()).await.unwrap_err();
    let successors = Leases::connect(&restored_db, "two", Duration::from_secs(600)).await.unwrap();
    let successor = successors.acquire("ingest/1").await.unwrap().unwrap();
    assert!(successor.token() > lease.token() + 1_000_000);

    assert!(matches!(lift_fence(&to, " ", "looked"), Err(FenceError::Unsigned)));
    lift_fence(&to, "ada", "nonces and senders compared").unwrap();
    assert_eq!(restored.fence().unwrap(), None);
    assert!(matches!(lift_fence(&to, "ada", "again"), Err(FenceError::NotFenced { .. })));
    let history = fs::read_to_string(to.join("fence-history.jsonl")).unwrap();
    assert!(history.contains("ada") && history.contains("nonces and senders compared"), "{history}");

    assert_eq!(fence_status(&from).unwrap(), None, "the original is as it was");
    restored_db.close().await;
    db.close().await;
    restored.stop().await.unwrap();
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_stopped_cluster_can_be_backed_up_and_an_empty_one_has_nothing_to_back_up() {
    let dir = scratch();
    let (from, file) = (dir.path().join("from"), dir.path().join("a.backup"));
    started(&from).await.stop().await.unwrap();
    assert!(matches!(backup(&from, &file).await, Err(BackupError::Empty { .. })));
    assert!(!file.exists());
    let (cluster, db) = migrated(&from).await;
    fill(&db).await;
    db.close().await;
    cluster.stop().await.unwrap();
    backup(&from, &file).await.unwrap();
    assert_eq!(names(dir.path()), ["a.backup", "from"], "nothing unfinished is left");

    let first = fs::read(&file).unwrap();
    assert!(matches!(backup(&from, &file).await, Err(BackupError::Exists { .. })));
    assert_eq!(fs::read(&file).unwrap(), first, "a backup takes no other's place");
}

#[tokio::test]
async fn a_damaged_backup_and_a_full_target_are_refused_before_anything_is_made() {
    let dir = scratch();
    let (from, to, file) = (dir.path().join("from"), dir.path().join("to"), dir.path().join("a.backup"));
    let (cluster, db) = migrated(&from).await;
    db.close().await;
    backup(&from, &file).await.unwrap();
    cluster.stop().await.unwrap();
    let whole = fs::read(&file).unwrap();

    let mut flipped = whole.clone();
    flipped[whole.len() / 3] ^= 1;
    for (what, bytes) in [
        ("flipped", &flipped[..]),
        ("cut", &whole[..whole.len() - 1]),
        ("short", &whole[..5]),
        ("empty", &[]),
    ] {
        let damaged = dir.path().join("damaged.backup");
        fs::write(&damaged, bytes).unwrap();
        let result = restore(&damaged, &to).await;
        assert!(matches!(result, Err(BackupError::Damaged { .. })), "{what}: {result:?}");
        fs::remove_file(&damaged).unwrap();
    }
    assert!(matches!(restore(&file, &from).await, Err(BackupError::NotEmpty { .. })));
    assert_eq!(names(dir.path()), ["a.backup", "from"]);
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
