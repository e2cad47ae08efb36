//! The demo: a chain, its contracts, realistic traffic with reorganisations, and Plimsoll with all roles beside it.
//!
//! Everything that it starts ends with it, in order: the traffic, then Plimsoll, then the node, whose chain is written to a file, so that the
//! next start goes on with the same chain and database. What an earlier run left behind is ended or set aside first
//! (`home`). The blocks are made by the demo's own loop, one act at a time, so that a reorganisation never races with a block.

mod chain;
pub mod child;
mod home;
mod options;
mod repo;
pub mod status;
mod verdict;

use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::io::{IsTerminal as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::B256;
use anyhow::{Context, Result, bail};
use plimsoll_store::Cluster;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt as _, SeedableRng as _};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at};

use crate::anvil::Anvil;
use crate::node::{Call, Node};
use crate::traffic::Traffic;
use crate::traffic::drive::drain_pool;
use chain::{last_block, start_chain};
use child::{Plimsoll, free_port};
use home::{Home, Manifest};
pub use options::{Options, Span};
use status::{Api, Scene, Status, line, screen};
pub use verdict::Summary;
use verdict::{Run, judge};

/// One transaction each.
const SEND_PERIOD: Duration = Duration::from_millis(60);
const SCREEN_PERIOD: Duration = Duration::from_millis(500);
const LINE_PERIOD: Duration = Duration::from_secs(5);
/// The first reorganisation comes no later than this, so that a short run has one.
const FIRST_REORG: Duration = Duration::from_secs(10);
const MAX_REORG_BLOCKS: u64 = 8;
/// A private Postgres that is made for the first time takes some seconds; more than this is a failure.
const START_TIMEOUT: Duration = Duration::from_secs(120);
/// From the last transaction until journal and folds cover the head.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);
const CONFIRMATIONS: u64 = 4;
/// As many as Anvil takes with epochs of 16 slots.
const FINALITY_DEPTH: u64 = 32;
const POLL_INTERVAL_MS: u64 = 100;

/// Runs the demo; an unattended run that disagrees with the chain returns its summary all the same.
pub async fn run(options: &Options) -> Result<Option<Summary>> {
    let home = Home::open(&options.data_dir)?;
    let resumed = home.resume()?;
    let (node, mut manifest, resumes) = start_chain(options, &home, resumed).await?;
    manifest.under_way = true;
    manifest.node_pid = Some(node.pid().cast_signed());
    manifest.runs += 1;
    home.note(&manifest)?;

    let outcome = run_plimsoll(options, &home, &node, &mut manifest, resumes).await;
    println!("ending the node");
    let head = last_block(&node).await.context("cannot ask the node for its last block");
    let stopped = node.stop().await.context("the chain may not have been written");
    // The node's chain is on disk only now: a note before it would promise too much.
    if let (Ok(head), Ok(())) = (&head, &stopped) {
        (manifest.under_way, manifest.node_pid, manifest.plimsoll_pid) = (false, None, None);
        manifest.head = *head;
        home.note(&manifest)?;
    }
    let summary = outcome?;
    stopped?;
    head?;
    if let (Some(summary), Some(file)) = (&summary, &options.json) {
        if let Some(directory) = file.parent() {
            std::fs::create_dir_all(directory)
                .with_context(|| format!("cannot make {}", directory.display()))?;
        }
        std::fs::write(file, serde_json::to_vec_pretty(summary)?)
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(summary)
}

/// The key that signs the demo's ledger, in its home: made once, and kept as long as its books.
const LEDGER_KEY: &str = "ledger-key";

fn make_ledger_key(path: &Path) -> std::io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(file, "{}", alloy_primitives::hex::encode(rand::random::<[u8; 32]>()))?;
    file.sync_all()
}

async fn run_plimsoll(
    options: &Options,
    home: &Home,
    node: &Anvil,
    manifest: &mut Manifest,
    resumes: bool,
) -> Result<Option<Summary>> {
    let deployment = Arc::new(manifest.deployment.clone());
    let address = free_port()?;
    deployment.write_abis(home.root()).context("cannot write the ABI files")?;
    let config = format!(
        "# Written by the demo at each start.\n\n[database]\ndata_dir = \"plimsoll-data\"\n\n[api]\nlisten = \"{address}\"\n\n[ledger]\nlog_name = \"demo.plimsoll\"\nsigning_key_file = \"{LEDGER_KEY}\"\n\n{}",
        deployment.chain_toml(node.url(), CONFIRMATIONS, FINALITY_DEPTH, POLL_INTERVAL_MS)
    );
    make_ledger_key(&home.root().join(LEDGER_KEY)).context("cannot make the key that signs the ledger")?;
    std::fs::write(home.config(), config)
        .with_context(|| format!("cannot write {}", home.config().display()))?;

    println!("starting Plimsoll with all roles (log: {})", home.log().display());
    let mut plimsoll = Plimsoll::start(&options.plimsoll, &home.config(), &home.log())?;
    manifest.plimsoll_pid = Some(plimsoll.pid().cast_signed());
    home.note(manifest)?;
    let api = Api::new(address, deployment.chain_id)?;
    let outcome = async {
        wait_for_start(&api, &mut plimsoll).await?;
        println!("the API is at {}", api.url());
        let mut traffic = Traffic::new(deployment.clone(), options.seed.wrapping_add(manifest.runs - 1));
        if resumes {
            traffic.read_book(node).await?;
        }
        // A pool, not a connection: one that the server has lost is looked at and replaced before it is used.
        let worker = Cluster::urls_of(&home.database())?.worker;
        let pool = PgPoolOptions::new().max_connections(1).connect_with(worker).await?;
        let mut show = Show {
            options,
            node,
            api: &api,
            pool,
            traffic,
            waiting: VecDeque::new(),
            rng: Xoshiro256PlusPlus::seed_from_u64(options.seed ^ 0x5eed),
            scene: Scene::default(),
            run: Run { seed: options.seed, ..Run::default() },
            events: (Instant::now(), 0.0),
            drawn_lines: 0,
            home: home.root(),
        };
        let unattended = show.play(&mut plimsoll).await?;
        if unattended { show.judge(&mut plimsoll, home).await.map(Some) } else { Ok(None) }
    }
    .await;
    println!("ending Plimsoll");
    let stopped = plimsoll.stop().await;
    let summary = outcome?;
    println!("Plimsoll ended in {} ms", stopped?.as_millis());
    Ok(summary)
}

async fn wait_for_start(api: &Api, plimsoll: &mut Plimsoll) -> Result<()> {
    let deadline = Instant::now() + START_TIMEOUT;
    loop {
        plimsoll.check()?;
        match api.status().await {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > deadline => {
                let log = plimsoll.log_tail();
                return Err(error.context(format!("Plimsoll does not start; the end of its log:\n{log}")));
            }
            Err(_) => tokio::time::sleep(POLL).await,
        }
    }
}

/// Everything that one run of the show works with.
struct Show<'a> {
    options: &'a Options,
    node: &'a Node,
    api: &'a Api,
    pool: PgPool,
    traffic: Traffic,
    /// Transactions of the step under way.
    waiting: VecDeque<Call>,
    rng: Xoshiro256PlusPlus,
    scene: Scene,
    run: Run,
    /// When events were last counted, and how many there were.
    events: (Instant, f64),
    drawn_lines: usize,
    home: &'a Path,
}

impl Show<'_> {
    /// Makes traffic until the time is over (true) or a signal comes (false).
    async fn play(&mut self, plimsoll: &mut Plimsoll) -> Result<bool> {
        let began = Instant::now();
        let on_screen = !self.options.plain && std::io::stdout().is_terminal();
        let deadline = self.options.duration.map(|span| began + span.0);
        let every = self.options.reorg_every.0;
        let first = FIRST_REORG.min(every).min(self.options.duration.map_or(FIRST_REORG, |span| span.0 / 3));
        let mut sends = interval(SEND_PERIOD);
        let mut blocks = interval(self.options.block_time.0);
        let mut reorgs = interval_at(began + first, every);
        let mut shows = interval(if on_screen { SCREEN_PERIOD } else { LINE_PERIOD });
        for ticks in [&mut sends, &mut blocks, &mut reorgs, &mut shows] {
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        let mut interrupt = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        let unattended = loop {
            tokio::select! {
                _ = interrupt.recv() => break false,
                _ = terminate.recv() => break false,
                () = until(deadline) => break true,
                _ = reorgs.tick() => self.reorg().await?,
                _ = blocks.tick() => self.node.mine(1).await?,
                _ = shows.tick() => {
                    plimsoll.check()?;
                    self.scene.elapsed = began.elapsed();
                    self.scene.remaining = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
                    self.show(on_screen).await?;
                }
                _ = sends.tick() => self.send().await?,
            }
        };
        println!("\nending the traffic");
        while !self.waiting.is_empty() {
            self.send().await?;
        }
        drain_pool(self.node).await?;
        self.run.duration_s = began.elapsed().as_secs_f64();
        self.run.transactions = self.scene.transactions;
        Ok(unattended)
    }

    async fn send(&mut self) -> Result<()> {
        if self.waiting.is_empty() {
            let step = self.traffic.next_step();
            self.scene.last_scenario = format!("{:?}", step.scenario);
            self.waiting = step.calls.into();
        }
        if let Some(call) = self.waiting.pop_front() {
            self.node.send(&call).await?;
            self.scene.transactions += 1;
        }
        Ok(())
    }

    async fn reorg(&mut self) -> Result<()> {
        // What is left of the step under way belongs to the old branch.
        self.waiting.clear();
        let depth = self.rng.random_range(1..=MAX_REORG_BLOCKS);
        let reorg = self.traffic.reorg(self.node, depth).await?;
        if reorg.depth == 0 {
            return Ok(());
        }
        self.scene.reorgs += 1;
        self.scene.last_reorg = Some(format!(
            "{} blocks above {}, {} kinds of events replaced",
            reorg.depth, reorg.ancestor, reorg.orphaned_event_kinds
        ));
        self.run.reorgs_made = self.scene.reorgs;
        self.run.deepest_reorg_blocks = self.run.deepest_reorg_blocks.max(reorg.depth);
        self.run.reorged_event_kinds = self.run.reorged_event_kinds.max(reorg.orphaned_event_kinds);
        // Two reorganisations must not fall into one: the next waits until this one has been followed.
        self.wait_until_followed().await
    }

    /// Until the journal's head is the node's. A Plimsoll that does not follow is for the end of the run to tell.
    async fn wait_until_followed(&mut self) -> Result<()> {
        let head = self.node_head().await?;
        let deadline = Instant::now() + self.options.reorg_every.0.min(CATCH_UP_TIMEOUT);
        while Instant::now() < deadline {
            if self
                .api
                .chain()
                .await
                .is_ok_and(|chain| chain.head.is_some_and(|followed| followed.hash == head))
            {
                break;
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    async fn node_head(&mut self) -> Result<B256> {
        self.scene.node_head = self.node.block_number().await?;
        self.node.block_hash(self.scene.node_head).await?.context("the node has no block at its own head")
    }

    async fn show(&mut self, on_screen: bool) -> Result<()> {
        self.scene.node_head = self.node.block_number().await?;
        let status: Result<Status> = self.api.status().await;
        if let Ok(status) = &status {
            self.count(status);
            let chain_id = status.chain.chain_id.cast_signed();
            let rows = async { repo::mirror_rows(&mut *self.pool.acquire().await?, chain_id).await };
            self.scene.mirror_rows = rows.await.unwrap_or(self.scene.mirror_rows);
        }
        let mut out = std::io::stdout().lock();
        if on_screen {
            let text = screen(self.api, &self.scene, status.as_ref(), &self.home.display().to_string());
            if self.drawn_lines > 0 {
                write!(out, "\x1b[{}A\x1b[J", self.drawn_lines)?;
            }
            self.drawn_lines = text.lines().count();
            out.write_all(text.as_bytes())?;
        } else {
            writeln!(out, "{}", line(&self.scene, status.as_ref()))?;
        }
        out.flush()?;
        Ok(())
    }

    fn count(&mut self, status: &Status) {
        let (then, before) = self.events;
        let events = status.metric("ingest_events_total");
        let seconds = then.elapsed().as_secs_f64();
        if seconds > 0.0 {
            self.scene.events_per_s = (events - before).max(0.0) / seconds;
        }
        self.events = (Instant::now(), events);
    }

    /// Waits until everything covers the node's head, then compares.
    async fn judge(&mut self, plimsoll: &mut Plimsoll, home: &Home) -> Result<Summary> {
        let head = self.node_head().await?;
        println!("waiting until Plimsoll covers block {}", self.scene.node_head);
        let deadline = Instant::now() + CATCH_UP_TIMEOUT;
        let status = loop {
            plimsoll.check()?;
            let status = self.api.status().await?;
            if status.covers(head) {
                break status;
            }
            if Instant::now() > deadline {
                bail!(
                    "Plimsoll does not reach block {} ({head}) within {} s: {}",
                    self.scene.node_head,
                    CATCH_UP_TIMEOUT.as_secs(),
                    serde_json::to_string(&status.chain)?
                );
            }
            tokio::time::sleep(POLL).await;
        };
        self.run.reorgs_seen = whole(status.metric("reorgs_total"));
        judge(
            &self.run,
            self.node,
            self.traffic.deployment(),
            &mut *self.pool.acquire().await?,
            &self.options.plimsoll,
            &home.config(),
        )
        .await
    }
}

/// A counter's value: a whole number, below 2^53.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a counter is whole and not negative"
)]
fn whole(value: f64) -> u64 {
    value.round() as u64
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
