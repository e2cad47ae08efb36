//! A restored cluster starts fenced.
//!
//! A backup knows nothing of what was sent after it was made. Until an operator has looked, whatever would send must not. The fence is
//! a file in the data directory, written before the restored directory gets its name, so there is no moment at which a
//! restored cluster exists without it. Lifting it moves the file to the history, with who and why: nothing is deleted.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

const FENCE_FILE: &str = "FENCED.json";
const HISTORY_FILE: &str = "fence-history.jsonl";

/// Why a cluster is fenced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fence {
    /// Since when.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    /// Why, for people.
    pub reason: String,
    /// When the backup was made: what happened after it is not in the database.
    #[serde(with = "time::serde::rfc3339")]
    pub backup_made_at: OffsetDateTime,
}

#[derive(Serialize)]
struct Lifted<'a> {
    #[serde(flatten)]
    fence: &'a Fence,
    #[serde(with = "time::serde::rfc3339")]
    lifted_at: OffsetDateTime,
    lifted_by: &'a str,
    lift_reason: &'a str,
}

/// Why the fence could not be read or lifted.
#[derive(Debug, thiserror::Error)]
pub enum FenceError {
    /// There is none.
    #[error("the data directory {data_dir} is not fenced: there is nothing to lift")]
    NotFenced {
        /// The directory.
        data_dir: PathBuf,
    },
    /// Lifting is on record, so it needs both.
    #[error("lifting the fence is kept on record: give the operator's name and the reason")]
    Unsigned,
    /// A file operation failed.
    #[error(
        "{action} {path}: {source}. The cluster counts as fenced; let the user that runs this read and write the file and its directory"
    )]
    File {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The marker is damaged.
    #[error(
        "the fence {path} cannot be read ({source}). The cluster counts as fenced; look at the file, and remove it by hand once you know why it is there"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// Whether the cluster in `data_dir` is fenced, and why.
///
/// # Errors
/// When the marker exists but cannot be read: treat that as fenced.
pub fn fence_status(data_dir: &Path) -> Result<Option<Fence>, FenceError> {
    let path = data_dir.join(FENCE_FILE);
    match fs::read(&path) {
        Ok(text) => {
            serde_json::from_slice(&text).map(Some).map_err(|source| FenceError::Damaged { path, source })
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(FenceError::File { action: "reading", path, source }),
    }
}

/// Lifts the fence, on record, and returns what it was.
///
/// # Errors
/// When there is none, when `operator` or `reason` is blank, or when the record cannot be written; then the fence stands.
pub fn lift_fence(data_dir: &Path, operator: &str, reason: &str) -> Result<Fence, FenceError> {
    if operator.trim().is_empty() || reason.trim().is_empty() {
        return Err(FenceError::Unsigned);
    }
    let fence =
        fence_status(data_dir)?.ok_or_else(|| FenceError::NotFenced { data_dir: data_dir.to_owned() })?;
    let history = data_dir.join(HISTORY_FILE);
    let lifted = Lifted {
        fence: &fence,
        lifted_at: OffsetDateTime::now_utc(),
        lifted_by: operator,
        lift_reason: reason,
    };
    let record = || -> std::io::Result<()> {
        let mut line = serde_json::to_vec(&lifted)?;
        line.push(b'\n');
        let mut file = OpenOptions::new().create(true).append(true).open(&history)?;
        file.write_all(&line)?;
        file.sync_all()
    };
    record().map_err(|source| FenceError::File {
        action: "recording the lifting in",
        path: history.clone(),
        source,
    })?;
    let path = data_dir.join(FENCE_FILE);
    fs::remove_file(&path)
        .and_then(|()| File::open(data_dir)?.sync_all())
        .map_err(|source| FenceError::File { action: "removing", path, source })?;
    tracing::warn!(operator, reason, "the fence of the restored cluster was lifted");
    Ok(fence)
}

/// Puts a fence up, durably.
pub(crate) fn raise_fence(data_dir: &Path, fence: &Fence) -> Result<(), FenceError> {
    let path = data_dir.join(FENCE_FILE);
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&path)?;
        file.write_all(&serde_json::to_vec_pretty(fence)?)?;
        file.sync_all()?;
        File::open(data_dir)?.sync_all()
    };
    write().map_err(|source| FenceError::File { action: "writing", path: path.clone(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fence() -> Fence {
        let since = OffsetDateTime::UNIX_EPOCH;
        Fence { since, reason: "restored".into(), backup_made_at: since }
    }

    #[test]
    fn a_fence_that_cannot_be_read_is_never_no_fence_and_says_where_it_is_and_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let marker = dir.path().join(FENCE_FILE);
        assert!(matches!(fence_status(dir.path()), Ok(None)));
        raise_fence(dir.path(), &fence()).unwrap();
        let whole = fs::read(&marker).unwrap();
        assert_eq!(fence_status(dir.path()).unwrap(), Some(fence()));

        // Empty or broken off, as a full disk leaves it; something else; not a file; and a data directory that is none.
        for content in [&b""[..], &whole[..whole.len() / 2], b"{}", b"\xff\xfe"] {
            fs::write(&marker, content).unwrap();
            let (error, lifting) =
                (fence_status(dir.path()).unwrap_err(), lift_fence(dir.path(), "ada", "looked"));
            assert!(matches!(error, FenceError::Damaged { .. }), "{error}");
            let told = error.to_string();
            assert!(
                told.contains(FENCE_FILE) && told.contains("counts as fenced") && told.contains("by hand"),
                "{told}"
            );
            assert!(matches!(lifting, Err(FenceError::Damaged { .. })) && marker.is_file());
        }
        fs::remove_file(&marker).unwrap();
        fs::create_dir(&marker).unwrap();
        for data_dir in [dir.path(), Path::new("/dev/null")] {
            let error = fence_status(data_dir).unwrap_err();
            assert!(matches!(error, FenceError::File { action: "reading", .. }), "{error}");
            let told = error.to_string();
            assert!(told.contains(FENCE_FILE) && told.contains("counts as fenced; let the user"), "{told}");
            assert!(lift_fence(data_dir, "ada", "looked").is_err());
        }
        assert!(!dir.path().join(HISTORY_FILE).exists(), "what was not lifted is not on record as lifted");
    }
}
