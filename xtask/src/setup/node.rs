//! Node, and what npm brings at pinned versions: the Anvil chain, the Solidity compiler, an OpenID Connect provider for tests.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{debian, first_line, found, major, version_number};
use crate::process;
use crate::workspace::Workspace;

/// The oldest Node that the pinned tools run on; Debian 12's.
const OLDEST_NODE_MAJOR: u32 = 18;

/// npm has this binary for Linux on x86_64 only; elsewhere `PLIMSOLL_ANVIL` names one.
const PINNED_ANVIL: &str = "@foundry-rs/anvil-linux-amd64/bin/anvil";

const REMEDY: &str = "install Node 18 or later with npm from https://nodejs.org/";

/// The directory of installed npm packages, for `solc` and the tests' identity provider: the one that `PLIMSOLL_NODE_MODULES` names, else of
/// what is pinned.
pub(crate) fn modules(workspace: &Workspace) -> Result<PathBuf> {
    let modules = match std::env::var_os("PLIMSOLL_NODE_MODULES").filter(|path| !path.is_empty()) {
        Some(path) => std::path::absolute(path)?,
        None => install(workspace)?,
    };
    found("solc", &package_version(&modules, "solc")?, &modules.join("solc").display().to_string());
    Ok(modules)
}

/// Installs the npm packages exactly as `xtask/tools/package-lock.json` pins them, where that is not done yet.
fn install(workspace: &Workspace) -> Result<PathBuf> {
    node()?;
    let pinned = workspace.root.join("xtask/tools");
    let tools = workspace.tools();
    let modules = tools.join("node_modules");
    if !up_to_date(&pinned, &tools)? {
        npm()?;
        println!("installing Anvil, solc and oidc-provider with npm into {}", tools.display());
        std::fs::create_dir_all(&tools).with_context(|| format!("could not create {}", tools.display()))?;
        std::fs::copy(pinned.join("package.json"), tools.join("package.json"))?;
        std::fs::copy(pinned.join("package-lock.json"), tools.join("package-lock.json"))?;
        let mut ci = Command::new("npm");
        ci.current_dir(&tools).args([
            "ci",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--no-progress",
            "--loglevel=error",
        ]);
        process::run(&mut ci)
            .context("npm could not install the pinned tools; is the package registry reachable?")?;
        // Written last: an interrupted installation is not taken for a whole one.
        std::fs::copy(pinned.join("package-lock.json"), tools.join("installed.json"))?;
    }
    Ok(modules)
}

/// The Anvil binary: the one that `PLIMSOLL_ANVIL` names, else the pinned one.
pub(crate) fn anvil(workspace: &Workspace) -> Result<PathBuf> {
    let anvil = match std::env::var_os("PLIMSOLL_ANVIL").filter(|path| !path.is_empty()) {
        Some(path) => std::path::absolute(path)?,
        None => install(workspace)?.join(PINNED_ANVIL),
    };
    if !process::is_executable(&anvil) {
        bail!(
            "there is no Anvil at {}: the pinned one is for Linux on x86_64; elsewhere install Foundry's Anvil and set PLIMSOLL_ANVIL to its path",
            anvil.display()
        );
    }
    let version = first_line(&mut Command::new(&anvil), "--version")?;
    found("Anvil", version.trim_start_matches("anvil Version: "), &anvil.display().to_string());
    Ok(anvil)
}

fn node() -> Result<()> {
    if process::on_path("node").is_none() {
        debian::install("Node", &["nodejs", "npm"], REMEDY)?;
    }
    let version = first_line(&mut Command::new("node"), "--version")?;
    let number = version_number(&version).unwrap_or_default();
    if major(&number) < Some(OLDEST_NODE_MAJOR) {
        bail!("Node {number} is too old: {REMEDY}");
    }
    Ok(())
}

fn npm() -> Result<()> {
    if process::on_path("npm").is_none() {
        debian::install("npm", &["npm"], REMEDY)?;
    }
    Ok(())
}

/// Whether `tools` holds a finished installation of what is pinned now.
fn up_to_date(pinned: &Path, tools: &Path) -> Result<bool> {
    let lock = pinned.join("package-lock.json");
    let want = std::fs::read(&lock).with_context(|| format!("could not read {}", lock.display()))?;
    Ok(std::fs::read(tools.join("installed.json")).is_ok_and(|have| have == want)
        && tools.join("node_modules").is_dir())
}

fn package_version(modules: &Path, package: &str) -> Result<String> {
    let file = modules.join(package).join("package.json");
    let text =
        std::fs::read_to_string(&file).with_context(|| format!("could not read {}", file.display()))?;
    let value: serde_json::Value = serde_json::from_str(&text)?;
    Ok(value["version"].as_str().unwrap_or("unknown").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pinned_package_has_an_exact_version_and_a_digest_and_no_host() {
        let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/package-lock.json");
        let lock: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(lock).unwrap()).unwrap();
        let packages = lock["packages"].as_object().unwrap();
        assert!(packages.len() > 2);
        for (name, package) in packages {
            if name.is_empty() {
                for (dependency, version) in package["dependencies"].as_object().unwrap() {
                    assert!(
                        version.as_str().unwrap().starts_with(|c: char| c.is_ascii_digit()),
                        "{dependency} is a range"
                    );
                }
                continue;
            }
            assert!(
                package["integrity"].as_str().is_some_and(|digest| digest.starts_with("sha512-")),
                "{name} has no digest"
            );
            assert!(package["resolved"].is_null(), "{name} is tied to one registry host");
            // npm leaves out an optional package, without a word, when this Node does not satisfy its `engines`.
            assert!(
                package["optional"] != true || package["engines"].is_null(),
                "{name} is optional and states engines"
            );
        }
    }
}
