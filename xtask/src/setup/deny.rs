//! `cargo-deny`, compiled at a pinned version into `target/tools`.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::{first_line, found};
use crate::process;
use crate::workspace::Workspace;

const VERSION: &str = "0.20.2";

/// The pinned `cargo-deny`; compiled on first use, which takes minutes.
pub(crate) fn find_or_install(workspace: &Workspace) -> Result<PathBuf> {
    let tools = workspace.tools();
    let program = tools.join("bin/cargo-deny");
    let pinned = format!("cargo-deny {VERSION}");
    let current = || first_line(&mut Command::new(&program), "--version").is_ok_and(|line| line == pinned);
    if !process::is_executable(&program) || !current() {
        println!("compiling {pinned} into {} (once, takes minutes)", tools.display());
        let mut install = workspace.cargo();
        install
            .args(["install", "--locked", "--quiet", "--version", VERSION, "--root"])
            .arg(&tools)
            .arg("cargo-deny");
        process::run(&mut install)
            .context("cargo-deny could not be installed; is the crate registry reachable?")?;
    }
    found("cargo-deny", VERSION, &program.display().to_string());
    Ok(program)
}
