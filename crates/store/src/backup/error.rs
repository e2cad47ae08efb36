use std::path::{Path, PathBuf};
use std::process::Output;

use crate::cluster::ClusterError;
use crate::fence::FenceError;
use crate::roles::RolesError;

/// Why a backup or a restore did not come about.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The cluster.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// Roles of the new cluster.
    #[error(transparent)]
    Roles(#[from] RolesError),
    /// The fence of the new cluster.
    #[error(transparent)]
    Fence(#[from] FenceError),
    /// The target of a restore holds something.
    #[error(
        "{data_dir} is not empty: a restore never overwrites. Name a new directory, or move the old one away first"
    )]
    NotEmpty {
        /// The directory.
        data_dir: PathBuf,
    },
    /// The target of a backup is there.
    #[error("{target} is there already, and a backup replaces nothing")]
    Exists {
        /// The file.
        target: PathBuf,
    },
    /// Nothing to back up.
    #[error("the cluster in {data_dir} has no Plimsoll schema yet: there is nothing to back up")]
    Empty {
        /// The directory.
        data_dir: PathBuf,
    },
    /// Made by a newer program.
    #[error(
        "the backup {path} has schema version {found}, this program knows versions up to {known}: restore it with the newer program"
    )]
    Newer {
        /// The backup.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// Not one of ours, or cut short.
    #[error("{path} is no complete Plimsoll backup ({reason}). Use another copy")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// What was loaded is not what the manifest says.
    #[error(
        "what was restored from {path} is not what its manifest says; nothing was kept. Use another copy"
    )]
    Differs {
        /// The backup.
        path: PathBuf,
    },
    /// `pg_dump` or `pg_restore` gave up.
    #[error("{what} failed ({status}): {log}")]
    Tool {
        /// Which.
        what: &'static str,
        /// How it ended.
        status: String,
        /// Its words.
        log: String,
    },
    /// A file operation failed.
    #[error("{action} {path}: {source}{}", hint(.source))]
    File {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The database's own error.
    #[error("backup: {0}")]
    Database(#[from] sqlx::Error),
}

fn hint(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::StorageFull => ". The disk is full: make room and try again",
        std::io::ErrorKind::PermissionDenied => ". Check who may write there",
        _ => "",
    }
}

pub(super) fn file(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> BackupError {
    let path = path.to_owned();
    move |source| BackupError::File { action, path, source }
}

pub(super) fn tool(what: &'static str, output: &Output) -> Result<(), BackupError> {
    if output.status.success() {
        return Ok(());
    }
    let log = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(BackupError::Tool { what, status: output.status.to_string(), log })
}
