//! The demo, the benchmarks and chaos: built, then run in our place, so that Ctrl-C and the exit code are theirs.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use crate::workspace::Workspace;
use crate::{process, setup};

/// How the demo is run.
#[derive(Args)]
pub(crate) struct Demo {
    /// Run unattended for this long, verify, and end with 1 if anything disagrees: `60s`, `5m`
    #[arg(long = "for", value_name = "DURATION")]
    duration: Option<String>,
    /// Write the closing summary here, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where the demo keeps its database and chain between runs [default: target/demo]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Build for development instead of release: quicker to compile, slower to run
    #[arg(long)]
    debug: bool,
    /// Handed to the demo as they are
    #[arg(last = true, value_name = "ARGS")]
    rest: Vec<OsString>,
}

/// Sets up, builds and becomes the demo. Returns only on failure.
pub(crate) fn run(workspace: &Workspace, demo: Demo) -> Result<()> {
    setup::everything(workspace)?;
    let anvil = setup::node::anvil(workspace)?;
    let bin = build(workspace, demo.debug)?;
    let mut command = Command::new(bin.join("plimsoll-demo"));
    command.arg("--plimsoll").arg(bin.join("plimsoll")).arg("--anvil").arg(&anvil);
    command.arg("--data-dir").arg(demo.data_dir.unwrap_or_else(|| workspace.target.join("demo")));
    if let Some(duration) = demo.duration {
        command.arg("--for").arg(duration);
    }
    if let Some(json) = demo.json {
        command.arg("--json").arg(json);
    }
    become_it(command.args(demo.rest), &anvil)
}

/// Builds the benchmarks for release and becomes one. Returns only on failure.
pub(crate) fn bench(workspace: &Workspace, name: OsString, args: Vec<OsString>) -> Result<()> {
    let anvil = setup::for_tests(workspace)?;
    let bin = build(workspace, false)?;
    become_it(Command::new(bin.join("plimsoll-bench")).arg(name).args(args), &anvil)
}

/// Builds the simulators for release and becomes one: they need no server. With `--real` among the arguments, and for the ledger always, it is real processes,
/// which need Postgres, Anvil and `plimsoll`. Returns only on failure.
pub(crate) fn chaos(workspace: &Workspace, subject: OsString, args: Vec<OsString>) -> Result<()> {
    const PROGRAM: &str = "plimsoll-chaos";
    if subject == "ledger" || args.iter().any(|arg| arg == "--real") {
        let anvil = setup::for_tests(workspace)?;
        let bin = build(workspace, false)?;
        let mut command = Command::new(bin.join(PROGRAM));
        command.arg(subject).args(args).arg("--plimsoll").arg(bin.join("plimsoll"));
        return become_it(&mut command, &anvil);
    }
    println!("building the simulators (release profile; the first time takes minutes)");
    let build = ["build", "-p", "plimsoll-testkit", "--bin", PROGRAM, "--profile", "release"];
    process::run(workspace.cargo().args(build))?;
    let mut command = Command::new(workspace.target.join("release").join(PROGRAM));
    command.arg(subject).args(args);
    let error = command.exec();
    Err(error).with_context(|| format!("could not start `{}`", process::shown(&command)))
}

/// Builds the programs and returns the directory they are in.
fn build(workspace: &Workspace, debug: bool) -> Result<PathBuf> {
    let (profile, folder) = if debug { ("dev", "debug") } else { ("release", "release") };
    println!("building Plimsoll ({profile} profile; the first time takes minutes)");
    process::run(workspace.cargo().args([
        "build",
        "-p",
        "plimsoll",
        "-p",
        "plimsoll-testkit",
        "--bins",
        "--profile",
        profile,
    ]))?;
    Ok(workspace.target.join(folder))
}

fn become_it(command: &mut Command, anvil: &Path) -> Result<()> {
    let error = command.env("PLIMSOLL_ANVIL", anvil).exec();
    Err(error).with_context(|| format!("could not start `{}`", process::shown(command)))
}
