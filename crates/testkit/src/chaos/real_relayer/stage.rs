//! Everything that one run needs, real: a node with the contract, endpoints before it, a database server, and the processes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use alloy_primitives::{Address, B256};
use anyhow::{Context as _, Result, bail};
use plimsoll_store::DatabaseUrls;
use sqlx::ConnectOptions as _;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::asked::{Asked, Told};
use super::counts::Counts;
use super::keys::{KEYS, PASSWORD};
use super::story::Settings;
use super::{perform, repo};
use crate::anvil::{Anvil, AnvilOptions, Mining};
use crate::chaos::house::{self, House, Process, Proxy};
use crate::chaos::people::{self, PUBLIC_URL, Person, TENANTS, tenant_id};
use crate::deploy::artifacts::artifact;
use crate::node::Call;

/// Processes that follow the chain and send.
const NODES: [&str; 3] = ["first", "second", "third"];
/// What they do.
const NODES_DO: &str = "api,ingest,relayer,sequencer";
/// The server has 80 connections, and there are up to four processes.
const APP_CONNECTIONS: u32 = 4;
const WORKER_CONNECTIONS: u32 = 10;
/// Accounts of the node: the signers, and whoever deploys.
const ACCOUNTS: u16 = 6;
/// Whoever deploys.
pub(super) const DEPLOYER: usize = 5;
/// The signers are made known within this, or something is wrong.
const BEGINS_WITHIN: Duration = Duration::from_secs(60);

/// A run under way.
pub(super) struct Stage {
    pub(super) house: House,
    pub(super) settings: Settings,
    pub(super) counts: Counts,
    pub(super) chain_id: u64,
    pub(super) counter: Address,
    pub(super) people: Vec<Person>,
    /// What was handed in, in order.
    pub(super) asked: Vec<Asked>,
    /// Calls of the API that are not answered for certain yet, with what they are about.
    pub(super) calls: JoinSet<(perform::About, Result<Told>)>,
    /// Transactions that somebody else sent with a signer's key.
    pub(super) strangers: BTreeSet<B256>,
    pub(super) http: reqwest::Client,
    /// When the next block comes.
    pub(super) next_block: Instant,
    /// When the last one was made.
    pub(super) block_made: Instant,
    /// Answers that contradict each other.
    pub(super) contradictions: Vec<String>,
}

impl Stage {
    /// A chain with the contract and blocks that no reorganisation reaches, endpoints that are well, a database with two tenants, and processes that follow and serve.
    pub(super) async fn set(seed: u64, settings: &Settings, program: &Path) -> Result<Self> {
        let home = house::home()?;
        let (ground, database) = tokio::join!(ground(settings), house::database(&home));
        let ((node, counter), database) = (ground?, database?);
        let chain_id = node.chain_id().await?;
        let house = House::new(seed, settings.endpoints, home, node, database).await?;
        let people = people::settle(&house.urls, &house.path().join("keys")).await?;
        for sealed in &KEYS {
            std::fs::write(house.path().join(format!("{}.json", sealed.address)), sealed.keystore())?;
        }
        let mut stage = Self {
            house,
            settings: settings.clone(),
            counts: Counts::default(),
            chain_id,
            counter,
            people,
            asked: Vec::new(),
            calls: JoinSet::new(),
            strangers: BTreeSet::new(),
            http: reqwest::Client::builder().no_proxy().build()?,
            next_block: Instant::now(),
            block_made: Instant::now(),
            contradictions: Vec::new(),
        };
        stage.begin(program).await?;
        Ok(stage)
    }

    /// Starts the processes, and waits until the signers are made known.
    async fn begin(&mut self, program: &Path) -> Result<()> {
        let configuration = self.configuration();
        let api_does = if self.settings.api_sends { "api,relayer" } else { "api" };
        let nodes = NODES.into_iter().take(self.settings.nodes).map(|name| (name, NODES_DO));
        for (name, roles) in nodes.chain([("api", api_does)]) {
            let process = Process::new(name, self.house.path(), program, &configuration, self.chain_id)?;
            self.house.processes.push(process.doing(roles));
        }
        for process in &mut self.house.processes {
            process.start()?;
        }
        let until = Instant::now() + BEGINS_WITHIN;
        let mut conn = self.house.connect().await?;
        while repo::watched(&mut conn, self.chain_id).await? < self.settings.requeues.len() as u64 {
            if Instant::now() > until {
                bail!("the signers were not made known within {BEGINS_WITHIN:?}");
            }
            self.pause(house::LOOK).await?;
        }
        self.house.note("the signers are known");
        Ok(())
    }

    /// What all processes are configured with, but for the API's address.
    fn configuration(&self) -> String {
        let Settings { confirmations, finality_depth, poll_ms, request_timeout_ms, .. } = self.settings;
        let Settings { policy_interval_ms, resend_after_blocks, bump_after_blocks, window, .. } =
            self.settings;
        let home = self.house.path();
        let limits = ["address", "user", "tenant"]
            .map(|who| format!("{who}_requests_per_second = 0\n{who}_burst = 100000\n"))
            .concat();
        let tenants: String = (0..)
            .zip(TENANTS)
            .map(|(place, name)| format!("[[tenant]]\nid = \"{}\"\nname = \"{name}\"\n\n", tenant_id(place)))
            .collect();
        let first = self.house.proxies.first().map(Proxy::url).unwrap_or_default();
        let others = self.house.proxies.iter().skip(1);
        let others: String =
            others.map(|proxy| format!("[[chain.endpoint]]\nrpc = \"{}\"\n\n", proxy.url())).collect();
        let signers = self.settings.requeues.iter().zip(&KEYS).map(|(requeues, sealed)| {
            let (address, on_foreign_use) = (sealed.address, if *requeues { "requeue" } else { "replace" });
            format!(
                "[[signers]]\nname = \"{address}\"\nchain = \"anvil\"\naddress = \"{address}\"\nwindow = {window}\non_foreign_use = \"{on_foreign_use}\"\n\
                 [signers.key]\nkeystore = {:?}\npassword = \"{PASSWORD}\"\n\
                 [[signers.grants]]\ntenant = \"*\"\ntargets = [\"*\"]\nmethods = [\"*\"]\nmax_gas_wei_per_day = \"unlimited\"\n\n",
                home.join(format!("{address}.json")),
            )
        });
        format!(
            "[database]\nurl = \"{}\"\napp_connections = {APP_CONNECTIONS}\nworker_connections = {WORKER_CONNECTIONS}\n\n[api]\nlisten = \"{{listen}}\"\nnode_url = \"http://{{listen}}\"\npublic_url = \"{PUBLIC_URL}\"\n{limits}\n[leases]\nterm_ms = {}\n\n\
             [identity]\nkeys_dir = {:?}\n\n[relayer]\npolicy_interval_ms = {policy_interval_ms}\nresend_after_blocks = {resend_after_blocks}\n\
             bump_after_blocks = {bump_after_blocks}\n\n{tenants}[[chain]]\nchain_id = {}\nname = \"anvil\"\nrpc = \"{first}\"\n\
             confirmations = {confirmations}\nfinality_depth = {finality_depth}\npoll_interval_ms = {poll_ms}\nrequest_timeout_ms = {request_timeout_ms}\n\n\
             {others}{}",
            self.house.urls.owner.to_url_lossy(),
            self.settings.lease_term_ms,
            home.join("keys"),
            self.chain_id,
            signers.collect::<String>(),
        )
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

/// The node, with the contract below everything that a reorganisation can reach.
async fn ground(settings: &Settings) -> Result<(Anvil, Address)> {
    let options = AnvilOptions { mining: Mining::OnDemand, accounts: ACCOUNTS, ..AnvilOptions::default() };
    let node = Anvil::start(&options).await?;
    let from = node.accounts().await?[DEPLOYER];
    let created =
        node.send(&Call { from, to: None, data: artifact("RequestCounter").bytecode.clone() }).await?;
    node.mine(1).await?;
    let receipt = node.wait_receipt(created).await?;
    let counter = receipt["contractAddress"].as_str().context("a creation's receipt has its address")?;
    let counter = counter.parse()?;
    node.mine(settings.finality_depth + 1).await?;
    Ok((node, counter))
}
