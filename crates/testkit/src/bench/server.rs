//! The real program, serving.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::process::{Child, Command};

use super::usage::cpu_ms_of;
use crate::deploy::artifacts::artifact;

const START_POLL: Duration = Duration::from_millis(50);
const START_POLLS: usize = 600;

/// What is served, and how.
pub(super) struct Serve<'a> {
    /// Where its configuration and its keys go.
    pub(super) home: &'a Path,
    /// The private cluster's directory.
    pub(super) data: &'a Path,
    /// The chain that is in it.
    pub(super) chain_id: u64,
    /// As for `--roles`.
    pub(super) roles: &'a str,
    /// A file for everything that it says; `None`: warnings alone, to this process's own.
    pub(super) log: Option<&'a Path>,
}

/// `plimsoll run` over a private cluster.
pub(super) struct Server {
    child: Child,
    address: SocketAddr,
    postgres: i32,
}

impl Server {
    pub(super) async fn start(serve: &Serve<'_>) -> Result<Self> {
        let Serve { home, data, chain_id, roles, log } = serve;
        let (program, address) = (program()?, free_address()?);
        let (file, abi) = (configuration(home), home.join("PositionLoad.json"));
        std::fs::write(&abi, serde_json::to_string(&artifact("PositionLoad").abi)?)?;
        std::fs::write(
            &file,
            format!(
                "[database]\ndata_dir = {data:?}\n[api]\nlisten = \"{address}\"\n{limits}[identity]\nkeys_dir = {keys:?}\n\
                 [[tenant]]\nid = \"0198c5a1-7d2e-7c3a-9a55-3f1f0c6d2b11\"\nname = \"bench\"\n\
                 [[chain]]\nchain_id = {chain_id}\nname = \"bench\"\nrpc = \"http://127.0.0.1:9\"\n\
                 [[chain.contract]]\nname = \"PositionLoad\"\naddress = \"0x{nowhere}\"\nabi = {abi:?}\nstart_block = 0\ntenant = \"bench\"\n",
                limits = limits(),
                keys = home.join("keys"),
                nowhere = "11".repeat(20),
            ),
        )?;
        let mut child = Command::new(&program)
            .args(["run", "--roles", roles, "--config"])
            .arg(&file)
            .env("RUST_LOG", if log.is_some() { "info" } else { "warn" })
            .env_remove("DATABASE_URL")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.map_or(Ok(Stdio::inherit()), |log| File::create(log).map(Stdio::from))?)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        for _ in 0..START_POLLS {
            if let Some(status) = child.try_wait()? {
                bail!("{} ended with {status} before it served", program.display());
            }
            if tokio::net::TcpStream::connect(address).await.is_ok()
                && let Some(postgres) = postmaster(data)?
            {
                return Ok(Self { child, address, postgres });
            }
            tokio::time::sleep(START_POLL).await;
        }
        bail!("{} does not serve at {address}", program.display())
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it and its Postgres have used so far.
    pub(super) fn cpu_ms(&self) -> u64 {
        cpu_ms_of(self.child.id(), Some(self.postgres))
    }

    pub(super) async fn stop(mut self) -> Result<()> {
        let pid = self.child.id().context("it runs")?;
        let pid = rustix::process::Pid::from_raw(i32::try_from(pid)?).context("it has an id")?;
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        self.child.wait().await?;
        Ok(())
    }
}

/// The real program, which stands beside this one.
pub(super) fn program() -> Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name("plimsoll"))
}

/// The configuration of a server at `home`.
pub(super) fn configuration(home: &Path) -> PathBuf {
    home.join("plimsoll.toml")
}

/// The process id that Postgres wrote into its data directory.
pub(super) fn postmaster(data: &Path) -> Result<Option<i32>> {
    let mut folders = vec![data.to_owned()];
    while let Some(folder) = folders.pop() {
        let file = folder.join("postmaster.pid");
        if let Ok(text) = std::fs::read_to_string(&file) {
            return Ok(text.lines().next().and_then(|line| line.trim().parse().ok()));
        }
        if folder == data {
            folders.extend(
                std::fs::read_dir(data)?.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()),
            );
        }
    }
    Ok(None)
}

fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// Limits that no load reaches: what keeping them costs is part of what is measured.
fn limits() -> String {
    ["address", "user", "tenant"]
        .map(|who| format!("{who}_requests_per_second = 1000000\n{who}_burst = 1000000\n"))
        .concat()
}
