//! A `plimsoll run` with its directory: started, killed, frozen, and started again, as whoever operates it would.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context as _, Result};
use plimsoll_types::api::Chain;
use serde_json::Value;
use tokio::time::Instant;

use crate::demo::child::{Plimsoll, ask_with_status, free_port};
use crate::demo::status::Api;

/// A process that does not say whether it is ready within this is asked again.
const READY_TIMEOUT: Duration = Duration::from_secs(5);

/// One installation of Plimsoll, running or not.
#[derive(Debug)]
pub(crate) struct Process {
    name: &'static str,
    program: PathBuf,
    directory: PathBuf,
    /// As for `--roles`; none: all of them.
    roles: Option<&'static str>,
    address: SocketAddr,
    api: Api,
    child: Option<Plimsoll>,
    is_frozen: bool,
    /// When it was started last.
    started: Option<Instant>,
    /// How long its log was when it was started last, in bytes.
    log_before: usize,
}

impl Process {
    /// In a directory of its own, not yet running. `configuration` lacks the API's address, which is put in the place of `{listen}`.
    pub(crate) fn new(
        name: &'static str,
        home: &Path,
        program: &Path,
        configuration: &str,
        chain_id: u64,
    ) -> Result<Self> {
        let (directory, address) = (home.join(name), free_port()?);
        std::fs::create_dir_all(&directory)?;
        let text = configuration.replace("{listen}", &address.to_string());
        let process = Self {
            name,
            program: program.to_owned(),
            api: Api::new(address, chain_id)?,
            directory,
            roles: None,
            address,
            child: None,
            is_frozen: false,
            started: None,
            log_before: 0,
        };
        std::fs::write(process.config(), text).context("cannot write a configuration")?;
        Ok(process)
    }

    /// With these roles alone.
    pub(crate) fn doing(mut self, roles: &'static str) -> Self {
        self.roles = Some(roles);
        self
    }

    /// Where its API is.
    pub(crate) fn url(&self) -> String {
        self.api.url()
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    fn config(&self) -> PathBuf {
        self.directory.join("plimsoll.toml")
    }

    fn log_path(&self) -> PathBuf {
        self.directory.join("plimsoll.log")
    }

    /// All that it logged, over all its starts.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    pub(crate) fn start(&mut self) -> Result<()> {
        self.log_before = self.log().len();
        self.started = Some(Instant::now());
        let roles: Vec<_> = self.roles.iter().flat_map(|roles| ["--roles", *roles]).collect();
        self.child = Some(Plimsoll::start_with(&self.program, &self.config(), &self.log_path(), &roles)?);
        self.is_frozen = false;
        Ok(())
    }

    /// Its process's id, while it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Plimsoll::pid)
    }

    /// When it was started last.
    pub(crate) fn started(&self) -> Option<Instant> {
        self.started
    }

    /// SIGKILL; false when it does not run.
    pub(crate) fn kill(&mut self) -> Result<bool> {
        self.child.take().map_or(Ok(false), |child| child.kill().map(|()| true))
    }

    /// SIGSTOP; false when it does not run, or stands still already.
    pub(crate) fn freeze(&mut self) -> Result<bool> {
        match &self.child {
            Some(child) if !self.is_frozen => child.freeze()?,
            _ => return Ok(false),
        }
        self.is_frozen = true;
        Ok(true)
    }

    /// SIGCONT, if it stands still.
    pub(crate) fn thaw(&mut self) -> Result<()> {
        match &self.child {
            Some(child) if self.is_frozen => child.thaw()?,
            _ => return Ok(()),
        }
        self.is_frozen = false;
        Ok(())
    }

    /// How it ended by itself, with all that it logged since it was started, if it did. It no longer counts as running then.
    pub(crate) fn ended(&mut self) -> Result<Option<(ExitStatus, String)>> {
        let Some(status) = self.child.as_mut().map(Plimsoll::ended).transpose()?.flatten() else {
            return Ok(None);
        };
        self.child = None;
        let log = self.log();
        Ok(Some((status, log.get(self.log_before..).unwrap_or_default().to_owned())))
    }

    /// SIGTERM; it ends by itself with 0, or this is an error.
    pub(crate) async fn stop(&mut self) -> Result<()> {
        self.thaw()?;
        match self.child.take() {
            Some(child) => child.stop().await.map(drop).with_context(|| format!("the {} process", self.name)),
            None => Ok(()),
        }
    }

    /// What its API says of the chain.
    pub(crate) async fn chain(&self) -> Result<Chain> {
        self.api.chain().await
    }

    /// Whether it calls itself ready, and what it says of it.
    pub(crate) async fn readiness(&self) -> Result<(bool, Value)> {
        let client = reqwest::Client::builder().timeout(READY_TIMEOUT).build()?;
        let response = client.get(format!("http://{}/readyz", self.address)).send().await?;
        let is_ready = response.status().is_success();
        Ok((is_ready, serde_json::from_slice(&response.bytes().await?)?))
    }

    /// Runs a command beside it: its exit code, and its report about the chain.
    pub(crate) async fn command(&self, arguments: &[&str]) -> Result<(Option<i32>, Value)> {
        let (status, mut answer) = ask_with_status(&self.program, &self.config(), arguments).await?;
        let report = match answer.as_array_mut() {
            Some(reports) if reports.len() == 1 => reports.remove(0),
            _ => answer,
        };
        Ok((status.code(), report))
    }
}
