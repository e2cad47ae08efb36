//! Everything that one run needs, real: a node with the contracts, endpoints before it, a database server, and the processes.

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

use super::counts::Counts;
use super::process::Process;
use super::proxy::Proxy;
use super::story::Settings;
use crate::anvil::{Anvil, AnvilOptions, Mining};
use crate::deploy::Deployment;
use crate::traffic::Traffic;

/// A server that was ended is back within this, or something is wrong.
const POSTGRES_BACK_WITHIN: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);
/// The processes, the first of which leads at first.
const NAMES: [&str; 2] = ["first", "second"];
/// Accounts of the node: an admin, a keeper, and users.
const ACCOUNTS: u16 = 8;

/// What comes later by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// This process, which was killed, is started again.
    Start(usize),
    /// This process, which stands still, goes on.
    Thaw(usize),
    /// The endpoint of this place is as good as ever.
    Calm(usize),
}

/// A run under way.
pub(super) struct Stage {
    pub(super) home: TempDir,
    pub(super) node: Anvil,
    pub(super) traffic: Traffic,
    pub(super) cluster: Cluster,
    urls: DatabaseUrls,
    pub(super) proxies: Vec<Proxy>,
    /// Held shared while a contract is called through an endpoint, and alone while blocks are made: a node such as this answers a call at its head with
    /// what the next block left, if that is made meanwhile.
    pub(super) calls: Arc<RwLock<()>>,
    pub(super) processes: Vec<Process>,
    /// When what comes.
    pub(super) due: Vec<(Instant, Due)>,
    /// When the database was disturbed last.
    pub(super) disturbed: Option<Instant>,
    pub(super) settings: Settings,
    pub(super) counts: Counts,
    began: Instant,
    lines: Vec<String>,
}

impl Stage {
    /// A chain with its history, endpoints that are well, an empty database, and processes that do not run yet.
    pub(super) async fn set(seed: u64, settings: &Settings, program: &Path) -> Result<Self> {
        let began = Instant::now();
        // The server's own user must be able to enter it.
        let home = tempfile::Builder::new()
            .prefix("plimsoll-chaos-")
            .permissions(Permissions::from_mode(0o755))
            .tempdir()
            .context("no directory for a run")?;
        let data = home.path().join("postgres");
        let (ground, database) = tokio::join!(ground(seed, settings), database(&data));
        let ((node, traffic), (cluster, urls)) = (ground?, database?);
        let (mut proxies, calls) = (Vec::new(), Arc::default());
        for (place, permille) in (0..).zip(&settings.lies_permille) {
            let proxy = Proxy::start(seed, place, node.url(), Arc::clone(&calls)).await?;
            proxy.lie(*permille);
            proxies.push(proxy);
        }
        let configuration = configuration(settings, &urls, traffic.deployment(), &proxies);
        let chain_id = traffic.deployment().chain_id;
        let mut processes = Vec::new();
        for name in NAMES.into_iter().take(settings.processes) {
            let process = Process::new(name, home.path(), program, &configuration, chain_id)?;
            traffic.deployment().write_abis(process.directory())?;
            processes.push(process);
        }
        Ok(Self {
            home,
            node,
            traffic,
            cluster,
            urls,
            proxies,
            calls,
            processes,
            due: Vec::new(),
            disturbed: None,
            settings: settings.clone(),
            counts: Counts::default(),
            began,
            lines: Vec::new(),
        })
    }

    /// This happened.
    pub(super) fn note(&mut self, what: impl fmt::Display) {
        self.lines.push(format!("{:>8.3} {what}", self.began.elapsed().as_secs_f64()));
    }

    pub(super) fn lines(&self) -> &[String] {
        &self.lines
    }

    pub(super) fn chain_id(&self) -> u64 {
        self.traffic.deployment().chain_id
    }

    pub(super) fn deployment(&self) -> Arc<Deployment> {
        self.traffic.deployment().clone()
    }

    pub(super) fn urls(&self) -> &DatabaseUrls {
        &self.urls
    }

    /// A session of the database's superuser, as soon as the server takes one.
    pub(super) async fn connect(&self) -> Result<PgConnection> {
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

    /// Ends everything in order: each process ends by itself, and so does the server.
    pub(super) async fn end(mut self) -> Result<Counts> {
        for process in &mut self.processes {
            process.stop().await?;
        }
        self.cluster.stop().await?;
        self.node.stop().await?;
        Ok(self.counts)
    }

    /// Ends everything at once, and keeps the directory.
    pub(super) async fn keep(mut self) -> (PathBuf, Vec<String>, Counts) {
        // Dropped, it is killed.
        self.processes.clear();
        if let Err(error) = self.cluster.stop().await {
            tracing::warn!(%error, "the database server of a failed run does not end");
        }
        (self.home.keep(), self.lines, self.counts)
    }
}

/// The node, with contracts and history.
async fn ground(seed: u64, settings: &Settings) -> Result<(Anvil, Traffic)> {
    let options = AnvilOptions { mining: Mining::OnDemand, accounts: ACCOUNTS, ..AnvilOptions::default() };
    let node = Anvil::start(&options).await?;
    let deployment = Deployment::deploy(&node, true).await?;
    let mut traffic = Traffic::new(Arc::new(deployment), seed);
    for _ in 0..settings.history {
        traffic.mine_next(&node).await?;
    }
    Ok((node, traffic))
}

async fn database(data: &Path) -> Result<(Cluster, DatabaseUrls)> {
    let cluster = Cluster::start(data).await?;
    let urls = cluster.urls();
    prepare_roles(&urls.owner, &RolePasswords::default()).await?;
    migrate(&urls).await?;
    Ok((cluster, urls))
}

/// What both processes are configured with, but for the API's address.
fn configuration(
    settings: &Settings,
    urls: &DatabaseUrls,
    deployment: &Deployment,
    proxies: &[Proxy],
) -> String {
    let Settings { confirmations, finality_depth, poll_ms, request_timeout_ms, range_blocks, .. } = settings;
    let first = proxies.first().map(Proxy::url).unwrap_or_default();
    let more = format!(
        "name = \"anvil\"\nrequest_timeout_ms = {request_timeout_ms}\nbackfill_completeness = \"{}\"\n\
         backfill_initial_blocks = {range_blocks}\nbackfill_max_blocks = {range_blocks}\n",
        settings.backfill
    );
    let chain = deployment
        .chain_toml(&first, *confirmations, *finality_depth, *poll_ms)
        .replace("name = \"anvil\"\n", &more);
    let others =
        proxies.iter().skip(1).map(|proxy| format!("\n[[chain.endpoint]]\nrpc = \"{}\"\n", proxy.url()));
    format!(
        "[database]\nurl = \"{}\"\n\n[api]\nlisten = \"{{listen}}\"\n\n[leases]\nterm_ms = {}\n\n{chain}{}",
        urls.owner.to_url_lossy(),
        settings.lease_term_ms,
        others.collect::<String>()
    )
}
