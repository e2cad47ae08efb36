//! The server process: made, started, waited for, stopped.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use sqlx::{ConnectOptions, Connection};
use tokio::process::{Child, Command};

use super::layout::{Layout, file_error};
use super::settings::settings;
use super::{Binaries, ClusterError, PORT, SUPERUSER, connect_options};

/// Crash recovery replays the log first; it says so in its own log meanwhile.
const READY_LIMIT: Duration = Duration::from_secs(300);
const READY_POLL: Duration = Duration::from_millis(20);
/// The whole of Plimsoll stops within 5 s: after this the server is cut off and will recover at the next start.
const FAST_STOP_LIMIT: Duration = Duration::from_secs(3);
/// A server that was cut off kills its own children after 5 s.
const CUT_OFF_LIMIT: Duration = Duration::from_secs(10);
/// For an orphan there is no such hurry.
const LEFTOVER_FAST_LIMIT: Duration = Duration::from_secs(30);
/// Sessions of a server that was killed notice it within moments; until then their memory bars the way.
const ORPHAN_SESSIONS_LIMIT: Duration = Duration::from_secs(20);
const LOG_TAIL_BYTES: u64 = 4 * 1024;
const MAX_LOG_BYTES: u64 = 16 * 1024 * 1024;

/// Everything that is needed to start the server, again and again.
#[derive(Debug)]
pub(super) struct Server {
    layout: Layout,
    binaries: Binaries,
    socket_dir: PathBuf,
    /// 0: none.
    pid: AtomicI32,
}

/// The running server.
#[derive(Debug)]
pub(super) struct Postmaster {
    child: Child,
    server: Arc<Server>,
}

impl Server {
    pub(super) fn new(layout: Layout, binaries: Binaries) -> Self {
        Self { socket_dir: layout.socket_dir(), layout, binaries, pid: AtomicI32::new(0) }
    }

    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    pub(super) fn binaries(&self) -> &Binaries {
        &self.binaries
    }

    pub(super) fn socket_dir(&self) -> &Path {
        &self.socket_dir
    }

    pub(super) fn pid(&self) -> Option<i32> {
        Some(self.pid.load(Ordering::Acquire)).filter(|pid| *pid > 0)
    }

    pub(super) fn ask_to_stop(&self) {
        if let Some(pid) = self.pid() {
            signal(pid, Signal::INT);
        }
    }

    /// Runs `initdb` where there is no cluster.
    pub(super) async fn initialize(&self) -> Result<(), ClusterError> {
        if self.layout.data_major()?.is_some() {
            return Ok(());
        }
        let fresh = self.layout.root.join("postgres.new");
        if fresh.exists() {
            fs::remove_dir_all(&fresh).map_err(file_error("removing the unfinished", &fresh))?;
        }
        self.layout.private_dir(&fresh)?;
        tracing::info!(dir = %self.layout.root.display(), version = self.binaries.major, "creating the private Postgres cluster");
        let output = self
            .command("initdb")
            .args([
                "--locale=C",
                "--encoding=UTF8",
                "--auth-local=trust",
                "--auth-host=reject",
                "--data-checksums",
                "--no-instructions",
            ])
            .arg(format!("--username={SUPERUSER}"))
            .arg("--pgdata")
            .arg(&fresh)
            .stdin(Stdio::null())
            .output()
            .await
            .map_err(file_error("running", &self.binaries.path("initdb")))?;
        if !output.status.success() {
            return Err(ClusterError::Server {
                what: "initdb",
                status: output.status.to_string(),
                log_path: fresh,
                log: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            });
        }
        let pgdata = self.layout.pgdata();
        fs::rename(&fresh, &pgdata).map_err(file_error("renaming the new cluster to", &pgdata))?;
        sync_dir(&self.layout.root)
    }

    /// Stops a server that an earlier process left behind in this directory. The caller holds the directory's lock.
    pub(super) async fn stop_leftover(&self) -> Result<(), ClusterError> {
        let Some(pid) = self.leftover()? else { return Ok(()) };
        tracing::warn!(pid, "stopping the Postgres server that an earlier process left behind");
        for (how, limit) in [(Signal::INT, LEFTOVER_FAST_LIMIT), (Signal::QUIT, CUT_OFF_LIMIT)] {
            signal(pid, how);
            let deadline = Instant::now() + limit;
            while Instant::now() < deadline {
                if self.leftover()? != Some(pid) {
                    return Ok(());
                }
                tokio::time::sleep(READY_POLL).await;
            }
        }
        let limit_s = (LEFTOVER_FAST_LIMIT + CUT_OFF_LIMIT).as_secs();
        Err(ClusterError::WillNotStop { pid, data_dir: self.layout.root.clone(), limit_s })
    }

    /// The server that runs in our directory, if any. A pid file that names some other process is stale, and would keep the server
    /// from starting: it is removed.
    fn leftover(&self) -> Result<Option<i32>, ClusterError> {
        let pid_file = self.layout.pgdata().join("postmaster.pid");
        let text = match fs::read_to_string(&pid_file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(ClusterError::File { action: "reading", path: pid_file, source }),
        };
        let Some(pid) =
            text.lines().next().and_then(|line| line.trim().parse::<i32>().ok()).and_then(Pid::from_raw)
        else {
            return Ok(None); // Being written, or cut short: the server itself judges it.
        };
        if rustix::process::test_kill_process(pid) == Err(rustix::io::Errno::SRCH) {
            return Ok(None); // The server clears it away, and checks for surviving sessions as it does.
        }
        if runs_in(pid, &self.layout.pgdata()) {
            return Ok(Some(pid.as_raw_nonzero().get()));
        }
        tracing::warn!(
            pid = pid.as_raw_nonzero().get(),
            "removing a stale postmaster.pid: that process is no Postgres of ours"
        );
        match fs::remove_file(&pid_file) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(ClusterError::File { action: "removing", path: pid_file, source })
            }
            _ => Ok(None),
        }
    }

    /// Starts the server and returns when it accepts connections.
    pub(super) async fn launch(self: &Arc<Self>) -> Result<Postmaster, ClusterError> {
        self.layout.private_dir(&self.socket_dir)?;
        let started = Instant::now();
        loop {
            let log_start = self.rotate_log()?;
            let mut postmaster = self.spawn()?;
            match postmaster.wait_ready(log_start).await {
                Ok(()) => return Ok(postmaster),
                Err(ClusterError::Server { log, .. })
                    if log.contains("pre-existing shared memory block")
                        && started.elapsed() < ORPHAN_SESSIONS_LIMIT =>
                {
                    tokio::time::sleep(READY_POLL).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn spawn(self: &Arc<Self>) -> Result<Postmaster, ClusterError> {
        let log = self.layout.log();
        let open = || {
            OpenOptions::new()
                .create(true)
                .append(true)
                .mode(0o600)
                .open(&log)
                .map_err(file_error("opening", &log))
        };
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.layout.pgdata()).arg("-p").arg(PORT.to_string());
        for (name, value) in settings(&self.socket_dir) {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(open()?)
            .stderr(open()?)
            .spawn()
            .map_err(file_error("running", &self.binaries.path("postgres")))?;
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).unwrap_or(0);
        self.pid.store(pid, Ordering::Release);
        Ok(Postmaster { child, server: Arc::clone(self) })
    }

    /// A program of the server, as the server's user, out of the terminal's process group, with an environment that decides nothing.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.binaries.path(program));
        command
            .env_clear()
            .env("LC_ALL", "C")
            .env("PATH", &self.binaries.dir)
            .current_dir("/")
            .process_group(0);
        if let Some(user) = &self.layout.user {
            command.uid(user.uid).gid(user.gid);
        }
        command
    }

    /// The last lines of the log.
    pub(super) fn log_tail(&self) -> String {
        tail(&self.layout.log(), 0)
    }

    /// Returns where the log ends now. One old log is kept.
    fn rotate_log(&self) -> Result<u64, ClusterError> {
        let log = self.layout.log();
        let length = fs::metadata(&log).map_or(0, |meta| meta.len());
        if length <= MAX_LOG_BYTES {
            return Ok(length);
        }
        let old = log.with_extension("log.1");
        fs::rename(&log, &old).map_err(file_error("keeping the old log as", &old))?;
        Ok(0)
    }
}

impl Postmaster {
    /// Waits for the end of the server, and says how it ended.
    pub(super) async fn wait(&mut self) -> String {
        let status = self.child.wait().await;
        self.server.pid.store(0, Ordering::Release);
        status.map_or_else(|error| error.to_string(), |status: ExitStatus| status.to_string())
    }

    async fn wait_ready(&mut self, log_start: u64) -> Result<(), ClusterError> {
        let options = connect_options(&self.server.socket_dir, "postgres");
        let log_path = self.server.layout.log();
        let started = Instant::now();
        loop {
            let last = match options.connect().await {
                Ok(conn) => return Ok(conn.close().await?),
                Err(error) => error.to_string(),
            };
            if let Some(status) = self
                .child
                .try_wait()
                .map_err(file_error("waiting for", &self.server.binaries.path("postgres")))?
            {
                self.server.pid.store(0, Ordering::Release);
                let log = tail(&log_path, log_start);
                return Err(ClusterError::Server {
                    what: "the private Postgres",
                    status: status.to_string(),
                    log_path,
                    log,
                });
            }
            if started.elapsed() > READY_LIMIT {
                self.server.ask_to_stop();
                return Err(ClusterError::NotReady { limit_s: READY_LIMIT.as_secs(), last, log_path });
            }
            tokio::time::sleep(READY_POLL).await;
        }
    }

    /// Fast (sessions are ended, everything is written out), then at once.
    pub(super) async fn stop(mut self) -> Result<(), ClusterError> {
        for (how, limit) in [(Signal::INT, FAST_STOP_LIMIT), (Signal::QUIT, CUT_OFF_LIMIT)] {
            let Some(pid) = self.server.pid() else { return Ok(()) };
            signal(pid, how);
            if tokio::time::timeout(limit, self.wait()).await.is_ok() {
                return Ok(());
            }
            tracing::warn!(pid, limit_ms = limit.as_millis(), "the private Postgres takes long to stop");
        }
        let pid = self.server.pid().unwrap_or(0);
        let limit_s = (FAST_STOP_LIMIT + CUT_OFF_LIMIT).as_secs();
        Err(ClusterError::WillNotStop { pid, data_dir: self.server.layout.root.clone(), limit_s })
    }
}

fn signal(pid: i32, signal: Signal) {
    let Some(pid) = Pid::from_raw(pid) else { return };
    match kill_process(pid, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => {}
        Err(error) => {
            tracing::warn!(pid = pid.as_raw_nonzero().get(), %error, "cannot signal the private Postgres");
        }
    }
}

/// A postmaster's working directory is its data directory.
#[cfg(target_os = "linux")]
fn runs_in(pid: Pid, pgdata: &Path) -> bool {
    let cwd = fs::read_link(format!("/proc/{}/cwd", pid.as_raw_nonzero()));
    matches!((cwd, fs::canonicalize(pgdata)), (Ok(cwd), Ok(pgdata)) if cwd == pgdata)
}

/// Without /proc the pid file is believed, as `pg_ctl` does.
#[cfg(not(target_os = "linux"))]
fn runs_in(_pid: Pid, _pgdata: &Path) -> bool {
    true
}

/// The end of what the log got since `start`.
fn tail(log: &Path, start: u64) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = File::open(log)?;
        let from = start.max(file.metadata()?.len().saturating_sub(LOG_TAIL_BYTES));
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.take(LOG_TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
    };
    read().unwrap_or_else(|error| format!("(the log cannot be read: {error})"))
}

pub(super) fn sync_dir(dir: &Path) -> Result<(), ClusterError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(file_error("syncing", dir))
}
