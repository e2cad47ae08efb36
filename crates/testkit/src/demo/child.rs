//! The `plimsoll` program as a child process.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Plimsoll promises to end within 5 s; after this it is killed, and that is told.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);
/// How often a child's end is looked for.
const POLL: Duration = Duration::from_millis(10);
/// Lines of the log that an error shows.
const LOG_LINES: usize = 15;

/// A running `plimsoll run`. Dropped, it is killed.
#[derive(Debug)]
pub struct Plimsoll {
    child: Child,
    log: PathBuf,
}

/// The program as the tests use it: beside them, where a test of the whole workspace has put it, else built now.
pub fn tested_program() -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    let profile = test.parent().and_then(Path::parent).context("a test is in a profile's directory")?;
    let program = profile.join("plimsoll");
    if !program.is_file() {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--package", "plimsoll", "--bin", "plimsoll"]);
        if profile.ends_with("release") {
            build.arg("--release");
        }
        let status = build.current_dir(env!("CARGO_MANIFEST_DIR")).status()?;
        ensure!(status.success(), "plimsoll cannot be built: {status}");
    }
    Ok(program)
}

/// A free TCP port on 127.0.0.1. Somebody else may take it before it is used; whoever uses it says so then.
pub fn free_port() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0").context("no free port")?.local_addr()?)
}

impl Plimsoll {
    /// Starts all roles with this configuration; the log is appended to `log`.
    pub fn start(program: &Path, config: &Path, log: &Path) -> Result<Self> {
        Self::start_with(program, config, log, &[])
    }

    /// As [`Plimsoll::start`], with these arguments of `run` besides.
    pub fn start_with(program: &Path, config: &Path, log: &Path, arguments: &[&str]) -> Result<Self> {
        let file = File::options().create(true).append(true).open(log);
        let file = file.with_context(|| format!("cannot write {}", log.display()))?;
        let child = Command::new(program)
            .arg("run")
            .arg("--config")
            .arg(config)
            .args(arguments)
            .env_remove("DATABASE_URL")
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        Ok(Self { child, log: log.to_owned() })
    }

    /// The process's id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// An error when it has ended, with the end of its log.
    pub fn check(&mut self) -> Result<()> {
        if let Some(status) = self.ended()? {
            bail!(
                "plimsoll ended by itself ({status}); the end of {}:\n{}",
                self.log.display(),
                self.log_tail()
            );
        }
        Ok(())
    }

    /// The log's last lines.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }

    /// Makes it stand still, its connections open, until it is thawed.
    pub fn freeze(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on.
    pub fn thaw(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(Pid::from_child(&self.child), signal).context("cannot signal plimsoll")
    }

    /// Ends it in order by SIGTERM; returns how long that took.
    pub async fn stop(mut self) -> Result<Duration> {
        let began = tokio::time::Instant::now();
        self.signal(Signal::TERM)?;
        loop {
            if let Some(status) = self.ended()? {
                if !status.success() {
                    bail!(
                        "plimsoll ended with {status} when told to end; the end of its log:\n{}",
                        self.log_tail()
                    );
                }
                return Ok(began.elapsed());
            }
            if began.elapsed() > STOP_TIMEOUT {
                bail!("plimsoll did not end within {} s of SIGTERM and is killed", STOP_TIMEOUT.as_secs());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Ends it at once by SIGKILL, as a crash would.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Plimsoll {
    fn drop(&mut self) {
        // Fails only when it has ended already; waiting then reaps it all the same.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// Runs a command of `plimsoll` that prints JSON, whatever it exits with, as long as it does print JSON.
pub async fn ask(program: &Path, config: &Path, arguments: &[&str]) -> Result<Value> {
    let (_, answer) = ask_with_status(program, config, arguments).await?;
    Ok(answer)
}

/// As [`ask`], with what it exits with.
pub async fn ask_with_status(
    program: &Path,
    config: &Path,
    arguments: &[&str],
) -> Result<(ExitStatus, Value)> {
    let output = tokio::process::Command::new(program)
        .args(arguments)
        .arg("--json")
        .arg("--config")
        .arg(config)
        .env_remove("DATABASE_URL")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("cannot start {}", program.display()))?;
    let answer = serde_json::from_slice(&output.stdout).with_context(|| {
        format!(
            "`plimsoll {}` ended with {} and printed no JSON:\n{}{}",
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )
    })?;
    Ok((output.status, answer))
}
