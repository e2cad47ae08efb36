use std::path::PathBuf;

/// Why the private cluster does not run. Nothing that exists is changed by any of them.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// No usable server binaries.
    #[error(
        "no Postgres {min_major} or later was found (looked in {searched}). Install it (Debian: apt-get install postgresql), name its directory in PLIMSOLL_PG_BIN, or set DATABASE_URL to a server of your own"
    )]
    NoBinaries {
        /// The oldest version that will do.
        min_major: u32,
        /// Where we looked.
        searched: String,
    },
    /// The data was made by another major version.
    #[error(
        "the data in {data_dir} was made by Postgres {data_major}, and only version {found} is installed. Install postgresql-{data_major}; or, to move on, `plimsoll backup` with the old version and `plimsoll restore` with the new one"
    )]
    OtherVersion {
        /// The data directory.
        data_dir: PathBuf,
        /// What made it.
        data_major: u32,
        /// What there is.
        found: String,
    },
    /// Another process works on the data directory.
    #[error(
        "the data directory {data_dir} is in use by process {pid}. Stop that process, or give this one a data directory of its own"
    )]
    InUse {
        /// The data directory.
        data_dir: PathBuf,
        /// Who holds it, as far as the lock file says.
        pid: String,
    },
    /// The directory holds other things.
    #[error(
        "{data_dir} is not empty and was not made by Plimsoll. Name an empty or new directory as the data directory"
    )]
    NotOurs {
        /// The directory.
        data_dir: PathBuf,
    },
    /// There is no cluster to attach to.
    #[error(
        "there is no private cluster in {data_dir}. Check the data directory's path, or run `plimsoll run` once to make it"
    )]
    Missing {
        /// The directory.
        data_dir: PathBuf,
    },
    /// The user that Postgres runs as cannot get to the directory.
    #[error(
        "Postgres does not run as root, and the user {user} cannot enter {blocked}. Put the data directory where others may pass (for example /var/lib/plimsoll), or run Plimsoll as an ordinary user"
    )]
    Unreachable {
        /// Who Postgres runs as.
        user: String,
        /// The directory in the way.
        blocked: PathBuf,
    },
    /// Running as root, and there is nobody to become.
    #[error(
        "Postgres does not run as root, and there is neither a user `postgres` nor `nobody` to run it as. Create one, or run Plimsoll as an ordinary user"
    )]
    NoUser,
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
    /// `initdb` or the server gave up.
    #[error("{what} failed ({status}){}. The last lines of its log ({log_path}):\n{log}", log_hint(.log))]
    Server {
        /// Which program.
        what: &'static str,
        /// How it ended.
        status: String,
        /// Where its log is.
        log_path: PathBuf,
        /// The last lines.
        log: String,
    },
    /// It did not accept connections in time.
    #[error(
        "the private Postgres did not accept connections within {limit_s} s ({last}). Its log is {log_path}"
    )]
    NotReady {
        /// The limit.
        limit_s: u64,
        /// The last answer.
        last: String,
        /// Where its log is.
        log_path: PathBuf,
    },
    /// A server that an earlier process left behind could not be stopped.
    #[error(
        "a Postgres server (process {pid}) left running in {data_dir} does not stop within {limit_s} s. Look at what it does, and end it with: kill -QUIT {pid}"
    )]
    WillNotStop {
        /// Its process.
        pid: i32,
        /// The data directory.
        data_dir: PathBuf,
        /// How long was waited.
        limit_s: u64,
    },
    /// Creating the database failed.
    #[error("setting up the private cluster's database: {0}")]
    Database(#[from] sqlx::Error),
}

fn hint(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::StorageFull => ". The disk is full: make room, nothing was damaged",
        std::io::ErrorKind::PermissionDenied => {
            ". Give this user write access to the data directory, or name another one"
        }
        std::io::ErrorKind::ReadOnlyFilesystem => {
            ". The file system is read-only: name a data directory elsewhere"
        }
        _ => "",
    }
}

fn log_hint(log: &str) -> &'static str {
    if log.contains("No space left on device") || log.contains("Check free disk space") {
        ": the disk is full; make room and start again, nothing was damaged"
    } else if log.contains("Permission denied") {
        ": it lacks access to its files; check who owns the data directory"
    } else if log.contains("could not create shared memory") || log.contains("Cannot allocate memory") {
        ": not enough memory"
    } else {
        ""
    }
}
