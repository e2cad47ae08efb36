//! Everything that one run needs, real: a node with the contracts, endpoints before it, a database server, and the processes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use plimsoll_store::DatabaseUrls;
use sqlx::ConnectOptions as _;

use super::counts::Counts;
use super::story::Settings;
use crate::anvil::{Anvil, AnvilOptions, Mining};
use crate::chaos::house::{self, House, Process, Proxy};
use crate::deploy::Deployment;
use crate::traffic::Traffic;

/// The processes, the first of which leads at first.
const NAMES: [&str; 2] = ["first", "second"];
/// Accounts of the node: an admin, a keeper, and users.
const ACCOUNTS: u16 = 8;

/// A run under way.
pub(super) struct Stage {
    pub(super) house: House,
    pub(super) traffic: Traffic,
    pub(super) settings: Settings,
    pub(super) counts: Counts,
}

impl Stage {
    /// A chain with its history, endpoints that are well, an empty database, and processes that do not run yet.
    pub(super) async fn set(seed: u64, settings: &Settings, program: &Path) -> Result<Self> {
        let home = house::home()?;
        let (ground, database) = tokio::join!(ground(seed, settings), house::database(&home));
        let ((node, traffic), database) = (ground?, database?);
        let mut house = House::new(seed, settings.lies_permille.len(), home, node, database).await?;
        for (proxy, permille) in house.proxies.iter().zip(&settings.lies_permille) {
            proxy.lie(*permille);
        }
        let configuration = configuration(settings, &house.urls, traffic.deployment(), &house.proxies);
        let chain_id = traffic.deployment().chain_id;
        for name in NAMES.into_iter().take(settings.processes) {
            let process = Process::new(name, house.path(), program, &configuration, chain_id)?;
            traffic.deployment().write_abis(process.directory())?;
            house.processes.push(process);
        }
        Ok(Self { house, traffic, settings: settings.clone(), counts: Counts::default() })
    }

    pub(super) fn chain_id(&self) -> u64 {
        self.traffic.deployment().chain_id
    }

    pub(super) fn deployment(&self) -> Arc<Deployment> {
        self.traffic.deployment().clone()
    }

    pub(super) fn urls(&self) -> &DatabaseUrls {
        &self.house.urls
    }

    /// What was counted so far.
    fn counted(&self) -> Counts {
        Counts { blows: self.house.blows.clone(), ..self.counts.clone() }
    }

    /// Ends everything in order: each process ends by itself, and so does the server.
    pub(super) async fn end(self) -> Result<Counts> {
        let counts = self.counted();
        self.house.end().await.map(|()| counts)
    }

    /// Ends everything at once, and keeps the directory.
    pub(super) async fn keep(self) -> (PathBuf, Vec<String>, Counts) {
        let counts = self.counted();
        let (kept, lines) = self.house.keep().await;
        (kept, lines, counts)
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
