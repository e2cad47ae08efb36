//! An Anvil node in a process of its own, ended with its owner.

mod control;
mod state;

use std::io::{BufRead, BufReader};
use std::ops::Deref;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::sync::oneshot;

pub use control::{RECEIPT_TIMEOUT, Replacement};
pub use state::check_state;

use crate::node::{Node, NodeError};

/// Where `cargo xtask setup` puts Anvil, from the workspace's root.
const INSTALLED: &str = "target/tools/node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil";
/// Loading a long state takes a while; more than this is a hang.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Dumping a long state takes a while; more than this is a hang.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);
/// The last lines of output that an error shows.
const OUTPUT_LINES: usize = 20;

/// When blocks are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mining {
    /// One block for each transaction, at once.
    Automatic,
    /// Only when asked: [`Node::mine`].
    OnDemand,
    /// One each interval, empty or not.
    Every(Duration),
}

/// How the node is started.
#[derive(Clone, Debug)]
pub struct AnvilOptions {
    /// The program; none: [`find`].
    pub binary: Option<PathBuf>,
    /// Chain id.
    pub chain_id: u64,
    /// TCP port on 127.0.0.1; 0: a free one.
    pub port: u16,
    /// When blocks are made.
    pub mining: Mining,
    /// Accounts that the node signs for, with 1,000,000 ether each.
    pub accounts: u16,
    /// Block gas limit; none: Anvil's own.
    pub gas_limit: Option<u64>,
    /// A file that the chain is loaded from, where it exists, and written to by [`Anvil::stop`].
    pub state: Option<PathBuf>,
    /// Time of the genesis block, in seconds since 1970; none: now. With `state`, give the same at every start: Anvil makes a genesis
    /// block before it loads one, keeps both if they differ, and after the next load may show either.
    pub genesis_time: Option<u64>,
    /// How many older states are kept; none: all of them, which a long chain with much state pays for dearly.
    pub states: Option<u32>,
    /// The node calls a block final two epochs below its head.
    pub slots_in_an_epoch: u64,
    /// Ethereum's fork, as Anvil names it; none: the newest that it runs by default.
    pub hardfork: Option<&'static str>,
}

impl Default for AnvilOptions {
    fn default() -> Self {
        Self {
            binary: None,
            chain_id: 31_337,
            port: 0,
            mining: Mining::OnDemand,
            accounts: 20,
            gas_limit: Some(200_000_000),
            state: None,
            states: None,
            genesis_time: None,
            slots_in_an_epoch: 16,
            hardfork: None,
        }
    }
}

/// Why there is no node.
#[derive(Debug, thiserror::Error)]
pub enum AnvilError {
    /// The program is nowhere.
    #[error("Anvil was not found ({looked}); run `cargo xtask setup`, or name the program in PLIMSOLL_ANVIL")]
    NotFound {
        /// Where it was looked for.
        looked: String,
    },
    /// The program could not be started.
    #[error("could not start {binary}: {source}")]
    Spawn {
        /// The program.
        binary: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The program ended, or said nothing, before it listened.
    #[error("Anvil did not start listening ({why}); its last words:\n{output}")]
    NotListening {
        /// What happened instead.
        why: &'static str,
        /// The end of its output.
        output: String,
    },
    /// The program did not end when asked.
    #[error("Anvil did not end within {} s of SIGINT; its state file may be incomplete", STOP_TIMEOUT.as_secs())]
    NotEnding,
    /// The chain's file is not there, or not whole.
    #[error(
        "the chain's file {path} is not whole ({why}): the node could not write it to its end, as on a full disk. \
         What it holds cannot be gone on with: make room, and begin a chain in another file"
    )]
    StateNotWhole {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A signal could not be sent, or the process not be waited for.
    #[error("Anvil's process: {0}")]
    Process(#[from] std::io::Error),
    /// The node refused a request.
    #[error(transparent)]
    Node(#[from] NodeError),
}

/// A running node. Dropped, it is killed; [`Anvil::stop`] ends it in order. It derefs to its [`Node`].
#[derive(Debug)]
pub struct Anvil {
    node: Node,
    child: Child,
    output: Output,
    state: Option<PathBuf>,
}

/// The end of the program's output.
#[derive(Clone, Debug, Default)]
struct Output(Arc<Mutex<std::collections::VecDeque<String>>>);

impl Output {
    fn push(&self, line: String) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == OUTPUT_LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    fn tail(&self) -> String {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }
}

/// The Anvil program: PLIMSOLL_ANVIL, else where `cargo xtask setup` puts it, else on the PATH.
pub fn find() -> Result<PathBuf, AnvilError> {
    if let Some(named) = std::env::var_os("PLIMSOLL_ANVIL").filter(|value| !value.is_empty()) {
        let named = PathBuf::from(named);
        return if named.is_file() {
            Ok(named)
        } else {
            Err(AnvilError::NotFound {
                looked: format!("PLIMSOLL_ANVIL is {}, which is not a file", named.display()),
            })
        };
    }
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(INSTALLED);
    if installed.is_file() {
        return Ok(installed);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|directory| directory.join("anvil"))
        .find(|file| file.is_file())
        .ok_or_else(|| AnvilError::NotFound {
            looked: format!("neither at {INSTALLED} in the workspace nor on the PATH"),
        })
}

impl Anvil {
    /// Starts a node and waits until it answers.
    pub async fn start(options: &AnvilOptions) -> Result<Self, AnvilError> {
        let binary = match &options.binary {
            Some(binary) => binary.clone(),
            None => find()?,
        };
        if let Some(state) = options.state.as_deref().filter(|state| state.exists()) {
            check_state(state)?;
        }
        let mut command = Command::new(&binary);
        command
            .args(["--host", "127.0.0.1", "--order", "fifo", "--balance", "1000000", "--disable-console-log"])
            .args(["--port", &options.port.to_string()])
            .args(["--chain-id", &options.chain_id.to_string()])
            .args(["--accounts", &options.accounts.to_string()])
            .args(["--slots-in-an-epoch", &options.slots_in_an_epoch.to_string()]);
        match options.mining {
            Mining::Automatic => {}
            Mining::OnDemand => {
                command.arg("--no-mining");
            }
            Mining::Every(interval) => {
                command.args(["--block-time", &interval.as_secs_f64().to_string()]);
            }
        }
        if let Some(hardfork) = options.hardfork {
            command.args(["--hardfork", hardfork]);
        }
        if let Some(gas_limit) = options.gas_limit {
            command.args(["--gas-limit", &gas_limit.to_string()]);
        }
        if let Some(state) = &options.state {
            // Older states too, so that a call at an older block is still answered after a reload.
            command.arg("--state").arg(state).arg("--preserve-historical-states");
        }
        if let Some(states) = options.states {
            command.args(["--prune-history", &states.to_string()]);
        }
        if let Some(genesis_time) = options.genesis_time {
            command.args(["--timestamp", &genesis_time.to_string()]);
        }
        let mut child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|source| AnvilError::Spawn { binary, source })?;

        // Both pipes are read to their end: a full pipe would stop the node.
        let output = Output::default();
        let (listening, address) = oneshot::channel();
        let mut listening = Some(listening);
        let (stdout, lines) = (child.stdout.take(), output.clone());
        std::thread::spawn(move || {
            for line in stdout.into_iter().flat_map(|pipe| BufReader::new(pipe).lines()).map_while(Result::ok)
            {
                if let Some(address) = line.strip_prefix("Listening on ")
                    && let Some(listening) = listening.take()
                {
                    // The receiver is gone when the start timed out; that is told there.
                    _ = listening.send(address.trim().to_owned());
                }
                lines.push(line);
            }
        });
        let (stderr, lines) = (child.stderr.take(), output.clone());
        std::thread::spawn(move || {
            for line in stderr.into_iter().flat_map(|pipe| BufReader::new(pipe).lines()).map_while(Result::ok)
            {
                lines.push(line);
            }
        });

        // From here the child is killed on every way out.
        let mut anvil = Self { node: Node::new(""), child, output, state: options.state.clone() };
        let why = match tokio::time::timeout(START_TIMEOUT, address).await {
            Ok(Ok(address)) => {
                anvil.node = Node::new(&format!("http://{address}"));
                anvil.node.chain_id().await?;
                if options.genesis_time.is_some() {
                    // The node's clock starts at its genesis; back to ours.
                    anvil.node.raw("evm_setTime", json!([unix_time()])).await?;
                }
                return Ok(anvil);
            }
            Ok(Err(_)) => "it ended",
            Err(_) => "it was waited for long enough",
        };
        Err(AnvilError::NotListening { why, output: anvil.output.tail() })
    }

    /// The node's client, for whoever outlives this borrow.
    #[must_use]
    pub fn node(&self) -> Node {
        self.node.clone()
    }

    /// The process's id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends the node in order: it writes its state file, where it has one, and that file is whole, or this is an error.
    pub async fn stop(mut self) -> Result<(), AnvilError> {
        self.signal(Signal::CONT)?;
        self.signal(Signal::INT)?;
        let deadline = tokio::time::Instant::now() + STOP_TIMEOUT;
        while self.child.try_wait()?.is_none() {
            if tokio::time::Instant::now() > deadline {
                return Err(AnvilError::NotEnding);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.state.as_deref().map_or(Ok(()), check_state)
    }

    /// Freezes the process: connections are accepted by the kernel and nothing is answered.
    pub fn stall(&self) -> Result<(), AnvilError> {
        self.signal(Signal::STOP)
    }

    /// Lets a frozen process go on.
    pub fn resume(&self) -> Result<(), AnvilError> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<(), AnvilError> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).map_err(|errno| AnvilError::Process(errno.into()))
    }
}

impl Deref for Anvil {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.node
    }
}

impl Drop for Anvil {
    fn drop(&mut self) {
        // Fails only when it has ended already; waiting then reaps it all the same.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// Seconds since 1970.
#[must_use]
pub fn unix_time() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{Address, Bytes};

    use super::*;
    use crate::node::Call;

    fn transfer(from: Address) -> Call {
        Call { from, to: Some(Address::repeat_byte(1)), data: Bytes::new() }
    }

    #[tokio::test]
    async fn a_stopped_node_resumes_its_chain_with_its_older_states_as_often_as_one_likes() {
        let directory = tempfile::tempdir().unwrap();
        let options = AnvilOptions {
            state: Some(directory.path().join("state.json")),
            genesis_time: Some(unix_time() - 100),
            ..AnvilOptions::default()
        };
        let anvil = Anvil::start(&options).await.unwrap();
        let accounts = anvil.accounts().await.unwrap();
        anvil.send(&transfer(accounts[0])).await.unwrap();
        anvil.mine(5).await.unwrap();
        let hashes = (anvil.block_hash(0).await.unwrap(), anvil.block_hash(1).await.unwrap());
        anvil.stop().await.unwrap();

        for run in 1..=6 {
            let anvil = Anvil::start(&options).await.unwrap();
            assert_eq!(anvil.block_number().await.unwrap(), 4 + run);
            assert_eq!(
                (anvil.block_hash(0).await.unwrap(), anvil.block_hash(1).await.unwrap()),
                hashes,
                "run {run}"
            );
            let at = json!({ "blockHash": hashes.1 });
            assert_eq!(anvil.call(Address::repeat_byte(1), &Bytes::new(), at).await.unwrap(), Bytes::new());
            anvil.mine(1).await.unwrap();
            anvil.stop().await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_says_what_to_do() {
        let options = AnvilOptions { binary: Some("/nonexistent/anvil".into()), ..AnvilOptions::default() };
        let error = Anvil::start(&options).await.unwrap_err().to_string();
        assert!(error.contains("/nonexistent/anvil"), "{error}");
        assert!(AnvilError::NotFound { looked: "nowhere".into() }.to_string().contains("cargo xtask setup"));
    }
}
