//! The private cluster, through everything that may happen to it. Each test has a cluster of its own.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod backup;
mod child;
mod life;

use std::path::Path;

use plimsoll_store::{Cluster, Db, RolePasswords, migrate, prepare_roles};
use sqlx::ConnectOptions;

/// A directory that an unprivileged server can reach when the tests run as root.
fn scratch() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

async fn started(data_dir: &Path) -> Cluster {
    Cluster::start(data_dir).await.unwrap_or_else(|error| panic!("{error}"))
}

async fn migrated(data_dir: &Path) -> (Cluster, Db) {
    let cluster = started(data_dir).await;
    let urls = cluster.urls();
    prepare_roles(&urls.owner, &RolePasswords::default()).await.unwrap();
    migrate(&urls).await.unwrap();
    let db = Db::connect(&urls).await.unwrap();
    (cluster, db)
}

async fn answers(cluster: &Cluster) -> Result<i32, sqlx::Error> {
    let mut conn = cluster.urls().owner.connect().await?;
    sqlx::query_scalar("SELECT 1").fetch_one(&mut conn).await
}

/// Asks until the answer is yes. The test runner's own limit ends a wait that has no end.
async fn until(mut ask: impl AsyncFnMut() -> bool) {
    while !ask().await {
        tokio::task::yield_now().await;
    }
}
