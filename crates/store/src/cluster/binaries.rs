//! Which installed Postgres to run.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::ClusterError;

/// NULLS NOT DISTINCT, `security_invoker` views and the tightened `public` schema begin here.
pub(crate) const MIN_MAJOR: u32 = 15;
/// Names the directory of the binaries, before all search.
pub(crate) const BIN_VARIABLE: &str = "PLIMSOLL_PG_BIN";
/// What we run: the server, and what makes, backs up and restores a cluster.
const PROGRAMS: [&str; 4] = ["postgres", "initdb", "pg_dump", "pg_restore"];
const DEBIAN_ROOT: &str = "/usr/lib/postgresql";

/// One installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Binaries {
    pub(crate) dir: PathBuf,
    pub(crate) major: u32,
}

impl Binaries {
    pub(crate) fn path(&self, program: &str) -> PathBuf {
        self.dir.join(program)
    }

    /// The version that made `data_dir` if it has one, else the newest.
    pub(crate) fn find(data_dir: &Path, data_major: Option<u32>) -> Result<Self, ClusterError> {
        let dirs = candidate_dirs();
        let mut found: Vec<Self> =
            dirs.iter().filter_map(|dir| Self::probe(dir)).filter(|found| found.major >= MIN_MAJOR).collect();
        if std::env::var_os(BIN_VARIABLE).is_none() {
            // Stable: among equal versions the search order stands.
            found.sort_by_key(|found| std::cmp::Reverse(found.major));
        }
        let Some(newest) = found.first().cloned() else {
            let searched = dirs.iter().map(|dir| dir.display().to_string()).collect::<Vec<_>>().join(", ");
            return Err(ClusterError::NoBinaries { min_major: MIN_MAJOR, searched });
        };
        let Some(data_major) = data_major else { return Ok(newest) };
        let versions = found.iter().map(|found| found.major.to_string()).collect::<Vec<_>>().join(", ");
        found.into_iter().find(|found| found.major == data_major).ok_or_else(|| ClusterError::OtherVersion {
            data_dir: data_dir.to_owned(),
            data_major,
            found: versions,
        })
    }

    fn probe(dir: &Path) -> Option<Self> {
        // A client-only installation, or a directory with a link to one of them, is no use to us.
        if !PROGRAMS.iter().all(|program| dir.join(program).is_file()) {
            return None;
        }
        let output = Command::new(dir.join("postgres")).arg("--version").output().ok()?;
        let major = parse_major(&String::from_utf8_lossy(&output.stdout))?;
        Some(Self { dir: dir.to_owned(), major })
    }
}

fn candidate_dirs() -> Vec<PathBuf> {
    if let Some(dir) = std::env::var_os(BIN_VARIABLE) {
        return vec![PathBuf::from(dir)];
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut dirs: Vec<PathBuf> = std::env::split_paths(&path).filter(|dir| dir.is_absolute()).collect();
    let debian =
        std::fs::read_dir(DEBIAN_ROOT).into_iter().flatten().flatten().map(|entry| entry.path().join("bin"));
    dirs.extend(debian);
    dirs
}

/// `postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)`.
fn parse_major(version: &str) -> Option<u32> {
    let number = version.split_once("(PostgreSQL) ")?.1;
    number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::parse_major;

    #[test]
    fn the_major_version_is_read_from_what_the_server_prints() {
        assert_eq!(parse_major("postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)"), Some(15));
        assert_eq!(parse_major("postgres (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(parse_major("something else"), None);
    }
}
