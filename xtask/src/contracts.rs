//! The Solidity contracts: compiled, or compared with what is committed.

use std::process::Command;

use anyhow::{Result, bail};

use crate::workspace::Workspace;
use crate::{process, setup};

/// Runs `contracts/build.mjs` with the pinned compiler.
pub(crate) fn build(workspace: &Workspace, check: bool) -> Result<()> {
    let modules = setup::node::modules(workspace)?;
    let script = workspace.root.join("contracts/build.mjs");
    if !script.is_file() {
        bail!("{} is missing", script.display());
    }
    let mut node = Command::new("node");
    // CommonJS resolution finds the one solc of `target/tools` by it; there is no second `npm install`.
    node.arg(script).current_dir(workspace.root.join("contracts")).env("NODE_PATH", modules);
    if check {
        node.arg("--check");
    }
    process::run(&mut node)
}
