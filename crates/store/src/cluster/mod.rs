//! A Postgres of one's own, for whoever has no `DATABASE_URL`.
//!
//! # The promise
//! [`Cluster::start`] returns a server that accepts connections, whatever the last process left behind: nothing, a clean stop, a
//! half-made directory, a dead server's files, a live server whose parent was killed. Nobody but root and the user that the server
//! runs as can reach it. What was committed is on the disk (`fsync`, `full_page_writes` and `synchronous_commit` stay on).
//!
//! # Why it holds
//! - One process works on a data directory: it holds `flock` on `plimsoll.lock`, which the kernel releases with the process.
//! - `initdb` fills `postgres.new`, which is renamed when it is complete: a directory called `postgres` is a whole cluster.
//! - Under the lock, a server that still runs in the directory is an orphan. It is recognised by its working directory, not by a
//!   process id that may have been given to somebody else, and stopped cleanly; then ours is started with our settings.
//! - The server listens on a Unix socket alone, in a directory of mode 0700, so `trust` trusts just those two users. Run as root, the
//!   server becomes `postgres` (else `nobody`), and root keeps the directory above.
//! - Settings are arguments of the server, not edits of its files: an upgrade of Plimsoll brings its own, and the directory may be moved.
//! - The server has a process group of its own: a Ctrl-C in the terminal is ours to handle, and the server goes last.
//! - A supervisor starts a server that died again. Sessions are lost with it, and everything that writes is safe against that.
//!
//! # Why not an existing crate
//! `postgresql_embedded` is the well-kept one. It would have to be talked out of downloading an archive, starts the server through
//! `pg_ctl` as the caller's own user (which fails as root), always passes `-F` (no fsync: a power cut may cost the books), binds a TCP
//! port beside the socket, and does not notice a server that dies. What is left, finding binaries and calling `initdb`, is the small part.
//!
//! # Traps
//! - A socket's path must fit in 108 bytes: a deep data directory gets its socket in the runtime directory.
//! - As root, every directory above the data directory must let the server's user pass; `/root` does not.
//! - The data belongs to a major version of Postgres. The binaries of that version are looked for first.

mod binaries;
mod error;
mod layout;
mod postmaster;
mod settings;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{ConnectOptions, Connection};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) use self::binaries::Binaries;
pub use self::error::ClusterError;
pub(crate) use self::layout::{DataDirLock, Layout};
use self::postmaster::{Postmaster, Server};
use crate::fence::{Fence, FenceError, fence_status};
use crate::repo::roles as repo;
use crate::urls::DatabaseUrls;

/// The database in the cluster.
pub const DATABASE: &str = "plimsoll";
/// The cluster's superuser: the owner connection of a private cluster.
pub(crate) const SUPERUSER: &str = "postgres";
/// Only names the socket: there is no TCP port.
pub(crate) const PORT: u16 = 5432;

const MIN_RESTART_DELAY: Duration = Duration::from_millis(100);
const MAX_RESTART_DELAY: Duration = Duration::from_secs(5);

/// A running private cluster. Stop it with [`Cluster::stop`]; dropping it asks the server to stop and does not wait.
#[derive(Debug)]
pub struct Cluster {
    server: Arc<Server>,
    urls: DatabaseUrls,
    stopping: CancellationToken,
    supervisor: Option<JoinHandle<Result<(), ClusterError>>>,
    _lock: DataDirLock,
}

impl Cluster {
    /// Starts the cluster in `data_dir`, and makes it first if there is none. Returns when it accepts connections and has an empty
    /// database `plimsoll` at least; roles and schema are for [`crate::prepare_roles`] and [`crate::migrate`].
    ///
    /// # Errors
    /// [`ClusterError`]: each says what is wrong and what to do.
    pub async fn start(data_dir: &Path) -> Result<Self, ClusterError> {
        let layout = Layout::of(data_dir)?;
        layout.prepare()?;
        let lock = DataDirLock::take(&layout)?;
        let binaries = Binaries::find(&layout.root, layout.data_major()?)?;
        let server = Arc::new(Server::new(layout, binaries));
        server.initialize().await?;
        server.stop_leftover().await?;
        let postmaster = server.launch().await?;
        let stopping = CancellationToken::new();
        let mut cluster = Self {
            urls: DatabaseUrls::from_options(&connect_options(server.socket_dir(), DATABASE), None, None),
            supervisor: None,
            _lock: lock,
            stopping: stopping.clone(),
            server: Arc::clone(&server),
        };
        cluster.supervisor = Some(tokio::spawn(supervise(server, postmaster, stopping)));
        cluster.create_database().await?;
        Ok(cluster)
    }

    /// How to reach it.
    #[must_use]
    pub fn urls(&self) -> DatabaseUrls {
        self.urls.clone()
    }

    /// How to reach the cluster in `data_dir` that another process runs (see [`ClusterError::InUse`]). It is not checked that it does.
    ///
    /// # Errors
    /// When there is no cluster in `data_dir`.
    pub fn urls_of(data_dir: &Path) -> Result<DatabaseUrls, ClusterError> {
        let layout = Layout::of(data_dir)?;
        if layout.data_major()?.is_none() {
            return Err(ClusterError::Missing { data_dir: layout.root });
        }
        Ok(DatabaseUrls::from_options(&connect_options(&layout.socket_dir(), DATABASE), None, None))
    }

    /// Where it lives.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.server.layout().root
    }

    /// The directory of the server's programs.
    pub(crate) fn binaries(&self) -> &Binaries {
        self.server.binaries()
    }

    /// The directory of the socket.
    #[must_use]
    pub fn socket_dir(&self) -> PathBuf {
        self.server.socket_dir().to_owned()
    }

    /// The last lines of the server's log: why it ended, when it did.
    #[must_use]
    pub fn log_tail(&self) -> String {
        self.server.log_tail()
    }

    /// The server's process, `None` while it is being restarted.
    #[must_use]
    pub fn pid(&self) -> Option<i32> {
        self.server.pid()
    }

    /// Whether this is a restored cluster that no operator has looked at: then nothing may be sent.
    ///
    /// # Errors
    /// When the marker cannot be read: treat that as fenced.
    pub fn fence(&self) -> Result<Option<Fence>, FenceError> {
        fence_status(self.data_dir())
    }

    /// Stops the server: it ends its sessions and writes everything out; if that takes too long it is cut off, and recovers from its log at
    /// the next start. Close the pools first.
    ///
    /// # Errors
    /// When the server would not stop.
    pub async fn stop(mut self) -> Result<(), ClusterError> {
        self.stopping.cancel();
        match self.supervisor.take() {
            Some(supervisor) => {
                supervisor.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
            }
            None => Ok(()),
        }
    }

    /// Stops what runs in a directory that was never put to use, and removes it. A directory that is not ours stays.
    pub(crate) async fn discard(data_dir: &Path) -> Result<(), ClusterError> {
        let layout = Layout::of(data_dir)?;
        if !layout.lock().exists() {
            return Err(ClusterError::NotOurs { data_dir: layout.root });
        }
        let _lock = DataDirLock::take(&layout)?;
        if let Some(data_major) = layout.data_major()? {
            let binaries = Binaries::find(&layout.root, Some(data_major))?;
            Server::new(layout.clone(), binaries).stop_leftover().await?;
        }
        std::fs::remove_dir_all(&layout.root)
            .map_err(layout::file_error("removing the unfinished", &layout.root))
    }

    async fn create_database(&self) -> Result<(), ClusterError> {
        let mut conn = connect_options(self.server.socket_dir(), "postgres").connect().await?;
        if !repo::database_exists(&mut conn, DATABASE).await? {
            repo::execute(&mut conn, &format!("CREATE DATABASE {DATABASE}")).await?;
        }
        conn.close().await?;
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.supervisor.is_some() {
            // The supervisor may be gone with its runtime, so the signal is sent from here as well; twice does no harm.
            self.stopping.cancel();
            self.server.ask_to_stop();
        }
    }
}

pub(crate) fn connect_options(socket_dir: &Path, database: &str) -> PgConnectOptions {
    PgConnectOptions::new_without_pgpass()
        .socket(socket_dir)
        .port(PORT)
        .username(SUPERUSER)
        .database(database)
        .ssl_mode(PgSslMode::Disable)
}

/// Ends when told to, with the server stopped.
async fn supervise(
    server: Arc<Server>,
    mut postmaster: Postmaster,
    stopping: CancellationToken,
) -> Result<(), ClusterError> {
    loop {
        let Some(status) = stopping.run_until_cancelled(postmaster.wait()).await else {
            return postmaster.stop().await;
        };
        if stopping.is_cancelled() {
            return Ok(());
        }
        metrics::counter!("cluster_restarts_total").increment(1);
        tracing::error!(%status, log = %server.layout().log().display(), "the private Postgres ended by itself; starting it again");
        match relaunch(&server, &stopping).await {
            Some(next) => postmaster = next,
            // Told to stop while a server may just have been starting.
            None => return server.stop_leftover().await,
        }
    }
}

/// Tries until it works or is told to stop: a full disk may be made room on.
async fn relaunch(server: &Arc<Server>, stopping: &CancellationToken) -> Option<Postmaster> {
    let mut delay = MIN_RESTART_DELAY;
    loop {
        let attempt = async {
            server.stop_leftover().await?;
            server.launch().await
        };
        match stopping.run_until_cancelled(attempt).await? {
            Ok(postmaster) => {
                tracing::info!("the private Postgres runs again");
                return Some(postmaster);
            }
            Err(error) => {
                tracing::error!(%error, retry_ms = delay.as_millis(), "the private Postgres does not start");
            }
        }
        stopping.run_until_cancelled(tokio::time::sleep(delay)).await?;
        delay = (delay * 2).min(MAX_RESTART_DELAY);
    }
}
