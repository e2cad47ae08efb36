//! Backup and restore of the private cluster.
//!
//! # The file
//! A `pg_dump` archive in custom format (so that `pg_restore` reads it as it stands), followed by a manifest: schema version, time, each
//! chain's next journal number, length and SHA-256 of the archive. The manifest and the archive are of one snapshot. The file gets its
//! name only when it is complete and on the disk.
//!
//! # A restore
//! builds a new cluster beside the target, under a name of its own, and renames it at the end. Before that it checks the digest,
//! compares what it loaded with the manifest, raises every fencing token far above the backup's, and puts up the fence
//! ([`crate::fence_status`]). So a cluster that was restored half does not exist, nor one that is not fenced.
//!
//! A database of one's own (`DATABASE_URL`) has its own backups; these two are for the private cluster.

mod archive;
mod error;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::{ConnectOptions, Connection, PgConnection};
use time::OffsetDateTime;
use tokio::process::Command;

use self::archive::{ArchiveReader, ArchiveWriter};
pub use self::error::BackupError;
use self::error::{file, tool};
use crate::cluster::{Binaries, Cluster, ClusterError, DATABASE, Layout, PORT, SUPERUSER};
use crate::fence::{Fence, raise_fence};
use crate::migrate::latest_version;
use crate::repo::{catalog, restore as repo};
use crate::roles::{RolePasswords, create_roles};

/// Above every token that was handed out between backup and restore, unless there were four thousand million of them.
const TOKEN_JUMP: i64 = 1 << 32;

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The schema's version.
    pub schema_version: i64,
    /// When the snapshot was taken.
    #[serde(with = "time::serde::rfc3339")]
    pub made_at: OffsetDateTime,
    /// For each chain: `chain_id`, `name`, `next_seq`, `head_number`.
    pub chains: Value,
    /// The program that made it.
    pub plimsoll_version: String,
    /// Length of the archive.
    pub archive_bytes: u64,
    /// SHA-256 of the archive, in hex.
    pub archive_sha256: String,
}

/// Backs up the cluster in `data_dir` into `target`, whether a process runs it or not. An existing `target` is never replaced.
///
/// # Errors
/// [`BackupError`]; `target` is as it was then.
pub async fn backup(data_dir: &Path, target: &Path) -> Result<Manifest, BackupError> {
    match Cluster::start(data_dir).await {
        Ok(cluster) => {
            let result = dump(data_dir, target).await;
            cluster.stop().await?;
            result
        }
        Err(ClusterError::InUse { .. }) => dump(data_dir, target).await,
        Err(error) => Err(error.into()),
    }
}

/// Builds a cluster from `source` in `data_dir`, which must be missing or empty. It starts fenced.
///
/// # Errors
/// [`BackupError`]; `data_dir` is as it was then.
pub async fn restore(source: &Path, data_dir: &Path) -> Result<Manifest, BackupError> {
    let data_dir = std::path::absolute(data_dir).map_err(file("reading", data_dir))?;
    if fs::read_dir(&data_dir).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(BackupError::NotEmpty { data_dir });
    }
    let archive = ArchiveReader::open(source)?;
    let manifest = archive.manifest().clone();
    if manifest.schema_version > latest_version() {
        return Err(BackupError::Newer {
            path: source.to_owned(),
            found: manifest.schema_version,
            known: latest_version(),
        });
    }
    archive.verify()?;

    let name = data_dir.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let building = data_dir.with_file_name(format!("{name}.restoring"));
    // What a restore that was killed left behind. Its lock says whether it is still at work.
    if building.exists() {
        Cluster::discard(&building).await?;
    }
    let result = build(&archive, &manifest, &building).await;
    if result.is_err() && building.exists() {
        Cluster::discard(&building).await?;
    }
    result?;
    if data_dir.exists() {
        fs::remove_dir(&data_dir).map_err(file("replacing the empty", &data_dir))?;
    }
    fs::rename(&building, &data_dir).map_err(file("renaming the restored cluster to", &data_dir))?;
    sync_parent(&data_dir)?;
    Ok(manifest)
}

async fn dump(data_dir: &Path, target: &Path) -> Result<Manifest, BackupError> {
    let layout = Layout::of(data_dir)?;
    let binaries = Binaries::find(data_dir, layout.data_major()?)?;
    let urls = Cluster::urls_of(data_dir)?;
    let mut conn = urls.owner.connect().await?;
    let schema_version = catalog::applied_versions(&mut conn).await?.into_iter().max().unwrap_or(0);
    if schema_version == 0 {
        return Err(BackupError::Empty { data_dir: data_dir.to_owned() });
    }
    let snapshot = repo::export_snapshot(&mut conn).await?;
    let made_at = OffsetDateTime::now_utc();
    let chains = repo::chains(&mut conn).await?;

    let mut writer = ArchiveWriter::create(target)?;
    let mut child = client(&binaries, "pg_dump", &layout.socket_dir())
        .args(["--format=custom", "--schema=plimsoll"])
        .arg(format!("--snapshot={snapshot}"))
        .arg(DATABASE)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(file("running", &binaries.path("pg_dump")))?;
    let output = child.stdout.take().ok_or(BackupError::Tool {
        what: "pg_dump",
        status: "no output".into(),
        log: String::new(),
    })?;
    let (copied, finished) = tokio::join!(writer.copy_from(output), child.wait_with_output());
    let finished = finished.map_err(file("waiting for", &binaries.path("pg_dump")))?;
    copied?;
    tool("pg_dump", &finished)?;
    conn.close().await?;
    writer.finish(|archive_bytes, archive_sha256| Manifest {
        schema_version,
        made_at,
        chains,
        plimsoll_version: env!("CARGO_PKG_VERSION").to_owned(),
        archive_bytes,
        archive_sha256,
    })
}

async fn build(archive: &ArchiveReader, manifest: &Manifest, building: &Path) -> Result<(), BackupError> {
    let cluster = Cluster::start(building).await?;
    let loaded = load(&cluster, archive, manifest).await;
    cluster.stop().await?;
    loaded?;
    let fence = Fence {
        since: OffsetDateTime::now_utc(),
        reason: "restored from a backup: what was sent after the backup is not in this database".to_owned(),
        backup_made_at: manifest.made_at,
    };
    raise_fence(building, &fence)?;
    Ok(())
}

async fn load(cluster: &Cluster, archive: &ArchiveReader, manifest: &Manifest) -> Result<(), BackupError> {
    let owner = cluster.urls().owner;
    let mut conn = owner.connect().await?;
    create_roles(&mut conn, &owner, &RolePasswords::default()).await?;
    let output = client(cluster.binaries(), "pg_restore", &cluster.socket_dir())
        .args(["--exit-on-error", "--single-transaction"])
        .arg(format!("--dbname={DATABASE}"))
        .arg(archive.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(file("running", &cluster.binaries().path("pg_restore")))?;
    tool("pg_restore", &output)?;
    compare(&mut conn, archive.path(), manifest).await?;
    repo::raise_tokens(&mut conn, TOKEN_JUMP).await?;
    conn.close().await?;
    Ok(())
}

async fn compare(conn: &mut PgConnection, path: &Path, manifest: &Manifest) -> Result<(), BackupError> {
    let schema_version = catalog::applied_versions(conn).await?.into_iter().max().unwrap_or(0);
    let chains = repo::chains(conn).await?;
    if schema_version == manifest.schema_version && chains == manifest.chains {
        return Ok(());
    }
    Err(BackupError::Differs { path: path.to_owned() })
}

/// A client program: as ourselves, for root may pass through the socket's directory too.
fn client(binaries: &Binaries, program: &str, socket_dir: &Path) -> Command {
    let mut command = Command::new(binaries.path(program));
    command
        .env_clear()
        .env("LC_ALL", "C")
        .env("PATH", &binaries.dir)
        .arg(format!("--host={}", socket_dir.display()))
        .arg(format!("--port={PORT}"))
        .arg(format!("--username={SUPERUSER}"))
        .arg("--no-password")
        .stdin(Stdio::null());
    command
}

/// A rename is durable when its directory is.
fn sync_parent(path: &Path) -> Result<(), BackupError> {
    let parent: PathBuf = path.parent().map_or_else(|| PathBuf::from("/"), Path::to_owned);
    File::open(&parent).and_then(|dir| dir.sync_all()).map_err(file("syncing", &parent))
}
