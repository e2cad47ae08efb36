//! Plimsoll, as a user runs it: a directory, a configuration, a process.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::OnceLock;
use std::time::Duration;

use plimsoll_store::{Cluster, DatabaseUrls, testing};
use plimsoll_testkit::demo::child::{Plimsoll, ask, free_port, tested_program};
use plimsoll_testkit::demo::status::{Api, Status, covers};
use plimsoll_testkit::projection::{JournalCheck, Projection, live_truth};
use plimsoll_testkit::truth;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::world::World;

/// A test that waits for so long hangs.
const WATCHDOG: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(5);

/// One block a request, so that a short chain is a long backfill.
pub(crate) const BLOCK_BY_BLOCK: &str =
    "backfill_initial_blocks = 1\nbackfill_max_blocks = 1\nbackfill_in_flight = 2";

/// Where the records are kept.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Storage {
    /// A database on the tests' own server.
    Shared,
    /// The private cluster that Plimsoll runs.
    Private,
}

/// What differs from test to test.
pub(crate) struct Settings<'a> {
    pub(crate) storage: Storage,
    pub(crate) finality_depth: u64,
    /// More lines of the table `[[chain]]`.
    pub(crate) chain: &'a str,
}

impl Default for Settings<'_> {
    fn default() -> Self {
        Self { storage: Storage::Shared, finality_depth: 16, chain: "" }
    }
}

/// One installation of Plimsoll, running or not.
pub(crate) struct House {
    dir: TempDir,
    address: SocketAddr,
    api: Api,
    chain_id: u64,
    shared: Option<DatabaseUrls>,
    process: Option<Plimsoll>,
}

fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| tested_program().unwrap())
}

impl House {
    /// A configuration that follows this world, with an empty database.
    pub(crate) async fn new(world: &World, settings: Settings<'_>) -> Self {
        // The private server's user must be able to enter it.
        let open = std::fs::Permissions::from_mode(0o755);
        let dir = tempfile::Builder::new().permissions(open).tempdir().unwrap();
        let shared = match settings.storage {
            Storage::Shared => Some(testing::database().await),
            Storage::Private => None,
        };
        let database = match &shared {
            Some(urls) => format!("url = \"{}\"", urls.owner.to_url_lossy()),
            None => "data_dir = \"plimsoll-data\"".into(),
        };
        let (deployment, address) = (world.deployment(), free_port().unwrap());
        deployment.write_abis(dir.path()).unwrap();
        let chain = deployment
            .chain_toml(world.node().url(), 2, settings.finality_depth, 50)
            .replace("name = \"anvil\"\n", &format!("name = \"anvil\"\n{}\n", settings.chain));
        // A test is one address, and in more of a hurry than anybody else.
        let limits = [
            "address_requests_per_second",
            "user_requests_per_second",
            "tenant_requests_per_second",
            "sign_in_requests_per_minute",
        ]
        .map(|limit| format!("{limit} = 0\n"))
        .concat();
        let text = format!("[database]\n{database}\n\n[api]\nlisten = \"{address}\"\n{limits}\n{chain}");
        std::fs::write(dir.path().join("plimsoll.toml"), text).unwrap();
        let chain_id = world.chain_id();
        let api = Api::new(address, chain_id).unwrap();
        Self { dir, address, api, chain_id, shared, process: None }
    }

    /// Another process of this installation, not yet running: the same database, an API of its own.
    pub(crate) fn beside(&self, world: &World) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let address = free_port().unwrap();
        world.deployment().write_abis(dir.path()).unwrap();
        let text = std::fs::read_to_string(self.config()).unwrap();
        let text = text.replace(&self.address.to_string(), &address.to_string());
        std::fs::write(dir.path().join("plimsoll.toml"), text).unwrap();
        let api = Api::new(address, self.chain_id).unwrap();
        Self { dir, address, api, chain_id: self.chain_id, shared: self.shared.clone(), process: None }
    }

    fn config(&self) -> PathBuf {
        self.dir.path().join("plimsoll.toml")
    }

    /// Changes the configuration for the next start.
    pub(crate) fn edit(&self, edit: impl FnOnce(String) -> String) {
        let text = std::fs::read_to_string(self.config()).unwrap();
        std::fs::write(self.config(), edit(text)).unwrap();
    }

    /// The URL of a path of the API.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// All that it logged, over all its starts.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path("plimsoll.log")).unwrap_or_default()
    }

    pub(crate) fn start(&mut self) {
        assert!(self.process.is_none(), "it runs");
        self.process = Some(Plimsoll::start(program(), &self.config(), &self.path("plimsoll.log")).unwrap());
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        self.process.take().expect("it does not run").kill().unwrap();
    }

    /// It stands still, its connections open, until it is thawed.
    pub(crate) fn freeze(&self) {
        self.process.as_ref().expect("it does not run").freeze().unwrap();
    }

    pub(crate) fn thaw(&self) {
        self.process.as_ref().expect("it does not run").thaw().unwrap();
    }

    /// How its database is reached as its owner.
    pub(crate) fn owner(&self) -> &PgConnectOptions {
        &self.shared.as_ref().expect("a database on the tests' own server").owner
    }

    /// kill -9 of the private server.
    pub(crate) fn kill_postgres(&self) {
        let file = std::fs::read_to_string(self.path("plimsoll-data/postgres/postmaster.pid")).unwrap();
        let pid = file.lines().next().and_then(|line| line.trim().parse().ok()).and_then(Pid::from_raw);
        kill_process(pid.expect("a process id"), Signal::KILL).unwrap();
    }

    /// SIGTERM, after which it ends by itself with exit code 0, or the test fails.
    pub(crate) async fn stop(&mut self) {
        let process = self.process.take().expect("it does not run");
        if let Err(error) = process.stop().await {
            panic!("{error:#}");
        }
    }

    /// Waits until it ends by itself; its exit code.
    pub(crate) async fn ends(&mut self) -> Option<i32> {
        let mut process = self.process.take().expect("it does not run");
        let deadline = Instant::now() + WATCHDOG;
        loop {
            if let Some(status) = process.ended().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "it does not end; its log ends:\n{}", process.log_tail());
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits for something that must come to pass while Plimsoll runs.
    pub(crate) async fn until<T>(&mut self, what: &str, mut check: impl AsyncFnMut(&Self) -> Option<T>) -> T {
        let deadline = Instant::now() + WATCHDOG;
        loop {
            if let Some(found) = check(self).await {
                return found;
            }
            if let Some(process) = &mut self.process
                && let Err(error) = process.check()
            {
                panic!("waiting for {what}: {error:#}");
            }
            let log = || self.process.as_ref().map_or_else(String::new, Plimsoll::log_tail);
            assert!(Instant::now() < deadline, "waiting for {what}; its log ends:\n{}", log());
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until journal and folds cover the node's head.
    pub(crate) async fn catches_up(&mut self, world: &World) {
        let head = world.head().await;
        let hash = world.node().block_hash(head).await.unwrap().unwrap();
        let what = format!("Plimsoll to cover block {head} ({hash})");
        self.until(&what, async |house| {
            house.api.chain().await.is_ok_and(|chain| covers(&chain, hash)).then_some(())
        })
        .await;
    }

    /// The API's answer, whatever its status; null when it is not JSON.
    pub(crate) async fn get(&self, path: &str) -> Option<(u16, Value)> {
        let client = reqwest::Client::builder().timeout(Duration::from_secs(5)).build().unwrap();
        let response = client.get(format!("http://{}{path}", self.address)).send().await.ok()?;
        let status = response.status().as_u16();
        let body = response.bytes().await.ok()?;
        Some((status, serde_json::from_slice(&body).unwrap_or_default()))
    }

    /// Chain and metrics.
    pub(crate) async fn status(&self) -> Status {
        self.api.status().await.unwrap()
    }

    /// A connection that sees every tenant; none while the server is away.
    pub(crate) async fn connect(&self) -> Option<PgConnection> {
        let urls = match &self.shared {
            Some(urls) => urls.clone(),
            None => Cluster::urls_of(&self.path("plimsoll-data")).ok()?,
        };
        PgConnection::connect_with(&urls.worker).await.ok()
    }

    async fn conn(&self) -> PgConnection {
        self.connect().await.expect("the database answers")
    }

    /// The journal's last record; 0 without one.
    pub(crate) async fn journal_seq(&self) -> i64 {
        JournalCheck::read(&mut self.conn().await, self.chain_id).await.unwrap().last_seq
    }

    /// Waits until the journal has this record. Asks as fast as it can: what follows is meant to fall into the midst of things.
    pub(crate) async fn reaches(&mut self, seq: i64) {
        let mut conn = None;
        let deadline = Instant::now() + WATCHDOG;
        loop {
            if conn.is_none() {
                conn = self.connect().await;
            }
            if let Some(connected) = &mut conn {
                match last_seq(connected, self.chain_id).await {
                    Ok(last) if last >= seq => return,
                    Ok(_) => {}
                    Err(_) => conn = None,
                }
            }
            if let Some(process) = &mut self.process
                && let Err(error) = process.check()
            {
                panic!("waiting for journal record {seq}: {error:#}");
            }
            assert!(Instant::now() < deadline, "waiting for journal record {seq}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// The journal's head and the last final block.
    pub(crate) async fn progress(&self) -> (u64, u64) {
        let row: Option<(Option<i64>, Option<i64>)> =
            sqlx::query_as("SELECT head_number, final_number FROM chains WHERE chain_id = $1")
                .bind(self.chain_id.cast_signed())
                .fetch_optional(&mut self.conn().await)
                .await
                .unwrap();
        let (head, last_final) = row.unwrap_or_default();
        (head.unwrap_or(0).cast_unsigned(), last_final.unwrap_or(0).cast_unsigned())
    }

    /// What must be equal between two runs over one chain.
    pub(crate) async fn projection(&self) -> Projection {
        Projection::read(&mut self.conn().await, self.chain_id).await.unwrap()
    }

    /// Runs a command of `plimsoll` to its end.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Output {
        let mut command = tokio::process::Command::new(program());
        command.args(arguments).arg("--config").arg(self.config());
        command.env_remove("DATABASE_URL").stdin(std::process::Stdio::null()).kill_on_drop(true);
        let ended = tokio::time::timeout(WATCHDOG, command.output()).await;
        ended.unwrap_or_else(|_| panic!("`plimsoll {}` does not end", arguments.join(" "))).unwrap()
    }

    async fn report(&self, arguments: &[&str]) -> Value {
        let mut reports = ask(program(), &self.config(), arguments).await.unwrap();
        let reports = reports.as_array_mut().expect("a report for each chain");
        assert_eq!(reports.len(), 1);
        reports.remove(0)
    }

    /// The contracts' getters say what the mirrors say.
    pub(crate) async fn mirrors_are_true(&self) {
        let report = self.report(&["verify", "views"]).await;
        assert_eq!(
            (&report["mismatched_rows"], &report["unverified_rows"]),
            (&0.into(), &0.into()),
            "{report:#}"
        );
        assert!(report["equal"].as_u64().unwrap() > 0, "{report:#}");
    }

    /// The ledger is what it says, and what users have and owe is what the contracts say. What nothing has explained yet is of the platform's own accounts alone: what the contracts held before
    /// their first event.
    pub(crate) async fn books_are_true(&self) {
        let ledger = self.run(&["verify", "ledger"]).await;
        assert!(ledger.status.success(), "{}", String::from_utf8_lossy(&ledger.stdout));
        let report = self.report(&["verify", "balances"]).await;
        let is_of_user = |found: &&Value| {
            let name = found["name"].as_str().unwrap_or_default();
            name.starts_with("collateral of") || name.starts_with("debt of")
        };
        let breaks = report["breaks"].as_array().unwrap();
        assert_eq!(breaks.iter().find(is_of_user), None, "{report:#}");
        assert_eq!(report["unverified"], json!([]), "{report:#}");
    }

    /// Once Plimsoll has caught up: the events are the node's, the journal is dense and says what is live, the mirrors are the
    /// contracts', so are the books, and a replay of the journal gives them again.
    pub(crate) async fn agrees(&mut self, world: &World) {
        self.catches_up(world).await;
        let truth = truth::read(world.node(), &world.deployment().followed(), 0).await.unwrap();
        let mut conn = self.conn().await;
        let kept = live_truth(&mut conn, self.chain_id).await.unwrap();
        let differences = truth::differences(&truth.events, &kept);
        assert!(differences.is_empty(), "{differences:#?}");
        let journal = JournalCheck::read(&mut conn, self.chain_id).await.unwrap();
        assert!(journal.is_sound(), "{journal:?}");
        let is_final: Option<i64> =
            sqlx::query_scalar("SELECT max(final_number) FROM chains").fetch_one(&mut conn).await.unwrap();
        if is_final.is_some() {
            let report = self.report(&["verify", "completeness"]).await;
            let is_whole = report["different"] == 0
                && report["unproven"] == json!([])
                && report["uncovered"] == json!([]);
            assert!(is_whole, "{report:#}");
        }
        self.mirrors_are_true().await;
        self.books_are_true().await;
        let replay = self.report(&["replay", "views"]).await;
        assert_eq!(replay["equal"], true, "{replay:#}");
    }

    /// Another installation that follows the same chain from its beginning, undisturbed, comes to the same.
    pub(crate) async fn equals_an_undisturbed_run(&self, world: &World, settings: Settings<'_>) {
        let mut undisturbed = Self::new(world, settings).await;
        undisturbed.start();
        undisturbed.agrees(world).await;
        let differences = self.projection().await.differences(&undisturbed.projection().await);
        assert!(differences.is_empty(), "first: this run, second: the undisturbed one\n{differences:#?}");
        undisturbed.stop().await;
    }
}

async fn last_seq(conn: &mut PgConnection, chain_id: u64) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT coalesce(max(next_seq) - 1, 0) FROM chains WHERE chain_id = $1")
        .bind(chain_id.cast_signed())
        .fetch_one(conn)
        .await
}

/// What `plimsoll admin` prints as JSON.
pub(crate) async fn admin(house: &House, arguments: &[&str]) -> Value {
    let output = house.run(&[&["admin"], arguments, &["--json"]].concat()).await;
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}
