use std::fs;
use std::time::Duration;

use plimsoll_store::{Cluster, ClusterError, Leases};
use sqlx::{ConnectOptions, Connection};

use super::{answers, child, migrated, scratch, started, until};

fn kill(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

async fn run(cluster: &Cluster, sql: &'static str) -> Result<(), sqlx::Error> {
    let mut conn = cluster.urls().owner.connect().await?;
    sqlx::raw_sql(sql).execute(&mut conn).await?;
    conn.close().await
}

#[tokio::test]
async fn what_was_committed_is_there_after_a_stop_and_a_start() {
    let dir = scratch();
    let data_dir = dir.path().join("data");
    let cluster = started(&data_dir).await;
    run(&cluster, "CREATE TABLE public.kept AS SELECT 1").await.unwrap();
    cluster.stop().await.unwrap();
    let cluster = started(&data_dir).await;
    run(&cluster, "SELECT * FROM public.kept").await.unwrap();
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn the_server_is_durable_private_and_not_root() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let dir = scratch();
    let cluster = started(&dir.path().join("data")).await;
    let mut conn = cluster.urls().owner.connect().await.unwrap();
    for (setting, wanted) in [
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("full_page_writes", "on"),
        ("listen_addresses", ""),
        ("data_checksums", "on"),
    ] {
        let value: String = sqlx::query_scalar("SELECT current_setting($1)")
            .bind(setting)
            .fetch_one(&mut conn)
            .await
            .unwrap();
        assert_eq!(value, wanted, "{setting}");
    }
    conn.close().await.unwrap();
    let socket_dir = fs::metadata(cluster.socket_dir()).unwrap();
    assert_eq!(socket_dir.permissions().mode() & 0o777, 0o700);
    assert_ne!(socket_dir.uid(), 0);
    assert_ne!(fs::metadata(format!("/proc/{}", cluster.pid().unwrap())).unwrap().uid(), 0);
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_killed_is_started_again_and_a_lease_survives_it() {
    let dir = scratch();
    let (cluster, db) = migrated(&dir.path().join("data")).await;
    let leases = Leases::connect(&db, "one", Duration::from_secs(60)).await.unwrap();
    let lease = leases.acquire("writer").await.unwrap().unwrap();
    let first = cluster.pid().unwrap();
    kill(first);
    until(async || cluster.pid().is_some_and(|pid| pid != first) && answers(&cluster).await.is_ok()).await;
    // Pools and leases find their own way back.
    let guarded = async || lease.guard(&mut *db.worker().acquire().await?).await;
    until(async || guarded().await.is_ok()).await;
    assert_eq!(lease.token(), 1);
    db.close().await;
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_second_process_on_the_same_directory_is_told_who_has_it() {
    let dir = scratch();
    let data_dir = dir.path().join("data");
    let cluster = started(&data_dir).await;
    let (mut other, said) = child::run(&data_dir, &[]);
    other.wait().unwrap();
    assert!(said.contains(&format!("in use by process {}", std::process::id())), "{said}");
    answers(&cluster).await.unwrap();
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_server_whose_parent_was_killed_is_taken_over_by_the_next_start() {
    let dir = scratch();
    let data_dir = dir.path().join("data");
    for _ in 0..3 {
        let (mut parent, said) = child::run(&data_dir, &[]);
        assert_eq!(said, "ready");
        parent.kill().unwrap();
        parent.wait().unwrap();
        assert!(data_dir.join("postgres/postmaster.pid").exists(), "the server outlived its parent");
    }
    let cluster = started(&data_dir).await;
    answers(&cluster).await.unwrap();
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_pid_file_that_names_a_stranger_is_not_believed() {
    let dir = scratch();
    let data_dir = dir.path().join("data");
    started(&data_dir).await.stop().await.unwrap();
    let stranger = std::process::id();
    fs::write(
        data_dir.join("postgres/postmaster.pid"),
        format!("{stranger}\n{}\n0\n5432\n\n\n\n", data_dir.display()),
    )
    .unwrap();
    let cluster = started(&data_dir).await;
    answers(&cluster).await.unwrap();
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_cluster_that_was_made_half_is_made_again() {
    let dir = scratch();
    let data_dir = dir.path().join("data");
    fs::create_dir_all(data_dir.join("postgres.new/base")).unwrap();
    fs::write(data_dir.join("plimsoll.lock"), "1\n").unwrap();
    let cluster = started(&data_dir).await;
    answers(&cluster).await.unwrap();
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_directory_with_other_things_in_it_is_left_alone() {
    let dir = scratch();
    fs::write(dir.path().join("letter.txt"), "dear").unwrap();
    let error = Cluster::start(dir.path()).await.unwrap_err();
    assert!(matches!(error, ClusterError::NotOurs { .. }), "{error}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn a_data_directory_too_deep_for_a_socket_gets_its_socket_elsewhere() {
    let dir = scratch();
    let cluster = started(&dir.path().join("x".repeat(100))).await;
    assert!(!cluster.socket_dir().starts_with(dir.path()));
    answers(&cluster).await.unwrap();
    let socket_dir = cluster.socket_dir();
    cluster.stop().await.unwrap();
    fs::remove_dir_all(socket_dir).unwrap();
}

#[test]
fn without_postgres_it_says_how_to_get_it() {
    let dir = scratch();
    let (mut other, said) = child::run(&dir.path().join("data"), &[("PLIMSOLL_PG_BIN", "/nonexistent")]);
    other.wait().unwrap();
    assert!(said.contains("apt-get install postgresql") && said.contains("/nonexistent"), "{said}");
}

#[tokio::test]
async fn a_path_that_is_a_file_is_an_error_with_its_name() {
    let dir = scratch();
    let file = dir.path().join("data");
    fs::write(&file, "").unwrap();
    let error = Cluster::start(&file).await.unwrap_err().to_string();
    assert!(error.contains(&file.display().to_string()), "{error}");
}

#[tokio::test]
async fn data_of_another_major_version_is_not_touched() {
    let dir = scratch();
    let data_dir = dir.path().join("data");
    started(&data_dir).await.stop().await.unwrap();
    fs::write(data_dir.join("postgres/PG_VERSION"), "9\n").unwrap();
    let error = Cluster::start(&data_dir).await.unwrap_err().to_string();
    assert!(error.contains("was made by Postgres 9"), "{error}");
}
