//! Everything that one run needs, real: a node with the contracts, an endpoint before it, a database server, the processes, and the clients.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use alloy_dyn_abi::DynSolValue;
use alloy_primitives::U256;
use anyhow::{Context as _, Result};
use plimsoll_ledger::{AccountClass, AccountType, Currency, NewAccount, open};
use plimsoll_store::{DatabaseUrls, Db};
use plimsoll_types::{RequestId, address_text};
use sqlx::ConnectOptions as _;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::clients::{Book, CURRENCY, Client};
use super::counts::Counts;
use super::story::{Act, Settings, Story};
use crate::anvil::{Anvil, AnvilOptions, Mining};
use crate::chaos::dice::Dice;
use crate::chaos::house::{self, House, LOOK, Process, Proxy};
use crate::chaos::people::{self, PUBLIC_URL, TENANTS, tenant_id};
use crate::deploy::Deployment;
use crate::traffic::{Scenario, Traffic};

const NAMES: [&str; 2] = ["first", "second"];
/// Accounts of the node: an admin, a keeper, and users.
const ACCOUNTS: u16 = 6;
/// Accounts of each tenant.
const BOOKS: usize = 12;
/// The server has 80 connections.
const APP_CONNECTIONS: u32 = 6;
const WORKER_CONNECTIONS: u32 = 14;
/// What happens on the chain, round and round, with a reward at the end.
const SCENARIOS: [Scenario; 8] = [
    Scenario::Deposit,
    Scenario::Borrow,
    Scenario::Deposit,
    Scenario::Repay,
    Scenario::Withdraw,
    Scenario::Replay,
    Scenario::Overdraw,
    Scenario::Liquidation,
];

/// A run under way.
pub(super) struct Stage {
    pub(super) house: House,
    pub(super) settings: Settings,
    pub(super) traffic: Traffic,
    pub(super) counts: Counts,
    clients: JoinSet<Result<Book>>,
    /// What the clients kept, once they ended.
    pub(super) book: Book,
    ends: CancellationToken,
    /// When the next block comes.
    next_block: Instant,
    /// Steps on the chain.
    steps: usize,
}

impl Stage {
    /// A chain with the contracts, a database with two tenants and their accounts, processes and clients, all of which run.
    pub(super) async fn set(seed: u64, story: &Story, program: &Path) -> Result<Self> {
        let settings = story.settings.clone();
        let home = house::home()?;
        let (ground, database) = tokio::join!(ground(seed), house::database(&home));
        let ((node, traffic), database) = (ground?, database?);
        let house = House::new(seed, 1, home, node, database).await?;
        let mut stage = Self {
            house,
            settings,
            traffic,
            counts: Counts::default(),
            clients: JoinSet::new(),
            book: Book::default(),
            ends: CancellationToken::new(),
            next_block: Instant::now(),
            steps: 0,
        };
        stage.begin(seed, program).await?;
        Ok(stage)
    }

    async fn begin(&mut self, seed: u64, program: &Path) -> Result<()> {
        let home = self.house.path().to_owned();
        std::fs::write(home.join("ledger.key"), "07".repeat(32))?;
        let configuration = self.configuration();
        let deployment = self.traffic.deployment().clone();
        for name in NAMES.into_iter().take(self.settings.processes) {
            let process = Process::new(name, &home, program, &configuration, deployment.chain_id)?;
            deployment.write_abis(process.directory())?;
            self.house.processes.push(process);
        }
        let people = people::settle(&self.house.urls, &home.join("keys")).await?;
        let accounts = accounts(&self.house.urls).await?;
        for process in &mut self.house.processes {
            process.start()?;
        }
        let bases: Vec<_> = self.house.processes.iter().map(Process::url).collect();
        let http = reqwest::Client::builder().no_proxy().build()?;
        for number in 0..self.settings.clients {
            let mut dice = Dice::new(seed, 100 + number);
            let tenant = dice.index(people.len());
            let client = Client {
                http: http.clone(),
                bases: bases.clone(),
                person: people[tenant].clone(),
                accounts: accounts[tenant].clone(),
                dice,
                book: Book::default(),
                reversed: HashSet::new(),
            };
            self.clients.spawn(client.live(self.ends.clone()));
        }
        Ok(())
    }

    /// What all processes are configured with, but for the API's address.
    fn configuration(&self) -> String {
        let Settings { confirmations, finality_depth, poll_ms, lease_term_ms, .. } = self.settings;
        let (deployment, home) = (self.traffic.deployment(), self.house.path());
        let limits = ["address", "user", "tenant"]
            .map(|who| format!("{who}_requests_per_second = 0\n{who}_burst = 100000\n"))
            .concat();
        let tenants: String = (0..)
            .zip(TENANTS)
            .map(|(place, name)| format!("[[tenant]]\nid = \"{}\"\nname = \"{name}\"\n\n", tenant_id(place)))
            .collect();
        let rpc = self.house.proxies.first().map(Proxy::url).unwrap_or_default();
        let keeper = address_text(&deployment.keeper);
        let payers = format!("{keeper}\", \"{}", address_text(&deployment.admin));
        let chain = deployment.chain_toml(&rpc, confirmations, finality_depth, poll_ms).replace(
            &format!("watched_senders = [\"{keeper}\"]"),
            &format!("watched_senders = [\"{payers}\"]"),
        );
        format!(
            "[database]\nurl = \"{}\"\napp_connections = {APP_CONNECTIONS}\nworker_connections = {WORKER_CONNECTIONS}\n\n\
             [api]\nlisten = \"{{listen}}\"\nnode_url = \"http://{{listen}}\"\npublic_url = \"{PUBLIC_URL}\"\n{limits}\n\
             [leases]\nterm_ms = {lease_term_ms}\n\n[identity]\nkeys_dir = {:?}\n\n\
             [ledger]\nlog_name = \"chaos.example/ledger\"\nsigning_key_file = {:?}\n\n{tenants}{chain}",
            self.house.urls.owner.to_url_lossy(),
            home.join("keys"),
            home.join("ledger.key"),
        )
    }

    /// From the first act to the last.
    pub(super) async fn tell(&mut self, story: &Story) -> Result<()> {
        for (number, (pause_ms, act)) in story.acts.iter().enumerate() {
            self.pause(Duration::from_millis(*pause_ms)).await?;
            self.house.note(format_args!("{number}. {act:?}"));
            self.perform(*act).await.with_context(|| format!("in act {number}, {act:?}"))?;
        }
        Ok(())
    }

    async fn perform(&mut self, act: Act) -> Result<()> {
        match act {
            Act::Kill { process, down_ms } => {
                while self.house.processes[process].pid().is_none() {
                    self.pause(LOOK).await?;
                }
                self.house.kill(process, down_ms)?;
            }
            Act::Freeze { process, ms } => self.house.freeze(process, ms)?,
            Act::RestartPostgres { crash } => self.house.restart_postgres(crash)?,
            Act::EndSessions { all } => self.house.end_sessions(all).await?,
            Act::Reorganise { depth } => {
                let calls = Arc::clone(&self.house.calls);
                let _none = calls.write().await;
                let reorg = self.traffic.reorg(&self.house.node, depth).await?;
                self.counts.reorgs += u64::from(reorg.depth > 0);
                self.counts.blocks_orphaned += reorg.depth;
            }
        }
        self.attend().await
    }

    /// Lets so much time go by.
    pub(super) async fn pause(&mut self, time: Duration) -> Result<()> {
        let until = Instant::now() + time;
        loop {
            self.attend().await?;
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            tokio::time::sleep(left.min(LOOK)).await;
        }
    }

    /// Does what is due, makes the block whose time has come, and sees that no client has failed.
    async fn attend(&mut self) -> Result<()> {
        self.house.attend().await?;
        if Instant::now() >= self.next_block && !self.ends.is_cancelled() {
            self.step().await?;
            self.next_block = Instant::now() + Duration::from_millis(self.settings.block_ms);
        }
        while let Some(ended) = self.clients.try_join_next() {
            self.book.take(ended.context("a client panicked")??);
        }
        Ok(())
    }

    /// Something happens on the chain, and a block of it is made.
    async fn step(&mut self) -> Result<()> {
        let place = self.steps % (SCENARIOS.len() + 1);
        self.steps += 1;
        let calls = match SCENARIOS.get(place) {
            Some(scenario) => self.traffic.step(*scenario).calls,
            None => vec![self.reward()],
        };
        let lock = Arc::clone(&self.house.calls);
        let _none = lock.write().await;
        for call in &calls {
            self.house.node.send(call).await?;
        }
        self.house.node.mine(1).await?;
        Ok(())
    }

    /// The first user is paid a reward.
    fn reward(&self) -> crate::node::Call {
        let deployment = self.traffic.deployment();
        let request = RequestId::from_uuid(Uuid::from_u128(self.steps as u128)).to_chain();
        let arguments = [
            DynSolValue::Address(deployment.users[0]),
            DynSolValue::Address(deployment.assets[0].token),
            DynSolValue::Uint(U256::from(1_000 + self.steps), 256),
            DynSolValue::FixedBytes(request, 32),
        ];
        deployment.call(deployment.admin, "LendingEngineCore", "payReward", &arguments)
    }

    /// Nothing new is offered, and nothing new happens on the chain.
    pub(super) fn quieten(&self) {
        self.ends.cancel();
    }

    /// How many clients have not got their last answer.
    pub(super) fn asking(&self) -> usize {
        self.clients.len()
    }

    /// What was counted so far.
    pub(super) fn counted(&self) -> Counts {
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

/// The node with the contracts, and whoever acts on them.
async fn ground(seed: u64) -> Result<(Anvil, Traffic)> {
    let options = AnvilOptions { mining: Mining::OnDemand, accounts: ACCOUNTS, ..AnvilOptions::default() };
    let node = Anvil::start(&options).await?;
    let deployment = Deployment::deploy(&node, true).await?;
    Ok((node, Traffic::new(Arc::new(deployment), seed)))
}

/// Opens each tenant's books: assets and liabilities by turns, in one currency.
async fn accounts(urls: &DatabaseUrls) -> Result<Vec<Vec<Uuid>>> {
    let db = Db::connect(urls).await?;
    let currency = Currency {
        currency: CURRENCY.into(),
        chain_id: None,
        token_address: None,
        decimals: 6,
        name: "USD Coin".into(),
    };
    let mut all = Vec::new();
    for place in 0..TENANTS.len() {
        let account = |number: usize| NewAccount {
            account_id: Uuid::new_v4(),
            name: format!("account {number}"),
            account_type: AccountType::User,
            class: if number.is_multiple_of(2) { AccountClass::Asset } else { AccountClass::Liability },
            domain: "cash".into(),
            currency: CURRENCY.into(),
            user_id: None,
            chain_id: None,
            address: None,
            min_balance: None,
            max_balance: None,
        };
        let accounts: Vec<_> = (0..BOOKS).map(account).collect();
        open(&db, tenant_id(place), std::slice::from_ref(&currency), &accounts).await?;
        all.push(accounts.into_iter().map(|account| account.account_id).collect());
    }
    db.close().await;
    Ok(all)
}
