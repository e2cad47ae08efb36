//! What every run of real processes needs, whatever it is that they do: a directory, a node, endpoints before it, a database server, the processes, and hands to
//! disturb them with.

mod blows;
mod process;
mod proxy;
mod repo;

use std::fmt;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use plimsoll_store::{Cluster, DatabaseUrls, RolePasswords, migrate, prepare_roles};
use sqlx::{ConnectOptions as _, PgConnection};
use tempfile::TempDir;
use tokio::sync::RwLock;
use tokio::time::Instant;

pub(crate) use self::blows::Blows;
pub(crate) use self::blows::{Due, LOOK};
pub(crate) use self::process::Process;
pub(crate) use self::proxy::{Proxy, Trouble};
use crate::anvil::Anvil;

/// A server that was ended is back within this, or something is wrong.
const POSTGRES_BACK_WITHIN: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

/// A run's ground and processes.
pub(crate) struct House {
    pub(crate) home: TempDir,
    pub(crate) node: Anvil,
    pub(crate) cluster: Cluster,
    pub(crate) urls: DatabaseUrls,
    pub(crate) proxies: Vec<Proxy>,
    /// Held shared while a contract is called through an endpoint, and alone while blocks are made: a node such as this answers a call at its head with
    /// what the next block left, if that is made meanwhile.
    pub(crate) calls: Arc<RwLock<()>>,
    pub(crate) processes: Vec<Process>,
    /// When what comes.
    due: Vec<(Instant, Due)>,
    /// When the database was disturbed last.
    pub(crate) disturbed: Option<Instant>,
    pub(crate) blows: Blows,
    began: Instant,
    lines: Vec<String>,
}

/// A directory for a run, which the server's own user can enter.
pub(crate) fn home() -> Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("plimsoll-chaos-").permissions(Permissions::from_mode(0o755));
    builder.tempdir().context("no directory for a run")
}

/// An empty database in a server of its own.
pub(crate) async fn database(home: &TempDir) -> Result<(Cluster, DatabaseUrls)> {
    let cluster = Cluster::start(&home.path().join("postgres")).await?;
    let urls = cluster.urls();
    prepare_roles(&urls.owner, &RolePasswords::default()).await?;
    migrate(&urls).await?;
    Ok((cluster, urls))
}

impl House {
    /// With so many endpoints, which are well, and no process yet.
    pub(crate) async fn new(
        seed: u64,
        endpoints: usize,
        home: TempDir,
        node: Anvil,
        (cluster, urls): (Cluster, DatabaseUrls),
    ) -> Result<Self> {
        let (mut proxies, calls) = (Vec::new(), Arc::default());
        for place in (0..).take(endpoints) {
            proxies.push(Proxy::start(seed, place, node.url(), Arc::clone(&calls)).await?);
        }
        Ok(Self {
            home,
            node,
            cluster,
            urls,
            proxies,
            calls,
            processes: Vec::new(),
            due: Vec::new(),
            disturbed: None,
            blows: Blows::default(),
            began: Instant::now(),
            lines: Vec::new(),
        })
    }

    /// This happened.
    pub(crate) fn note(&mut self, what: impl fmt::Display) {
        self.lines.push(format!("{:>8.3} {what}", self.began.elapsed().as_secs_f64()));
    }

    pub(crate) fn lines(&self) -> &[String] {
        &self.lines
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.home.path()
    }

    /// A session of the database's superuser, as soon as the server takes one.
    pub(crate) async fn connect(&self) -> Result<PgConnection> {
        let deadline = Instant::now() + POSTGRES_BACK_WITHIN;
        loop {
            match self.urls.owner.connect().await {
                Ok(conn) => return Ok(conn),
                Err(error) if Instant::now() > deadline => {
                    bail!("waited {POSTGRES_BACK_WITHIN:?} for the database server: {error}")
                }
                Err(_) => tokio::time::sleep(POLL).await,
            }
        }
    }

    /// Makes blocks while no contract is called.
    pub(crate) async fn mine(&self, blocks: u64) -> Result<()> {
        let _none = self.calls.write().await;
        Ok(self.node.mine(blocks).await?)
    }

    /// Ends everything in order: each process ends by itself, and so does the server.
    pub(crate) async fn end(mut self) -> Result<()> {
        for process in &mut self.processes {
            process.stop().await?;
        }
        self.cluster.stop().await?;
        self.node.stop().await?;
        Ok(())
    }

    /// Ends everything at once, and keeps the directory; what happened.
    pub(crate) async fn keep(mut self) -> (PathBuf, Vec<String>) {
        // Dropped, it is killed.
        self.processes.clear();
        if let Err(error) = self.cluster.stop().await {
            tracing::warn!(%error, "the database server of a failed run does not end");
        }
        (self.home.keep(), self.lines)
    }
}
