//! Packages from apt, as root or through sudo.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process;

/// Installs `packages` for the sake of `what`; where there is no apt, fails with the `remedy`.
pub(super) fn install(what: &str, packages: &[&str], remedy: &str) -> Result<()> {
    println!("{what} is missing");
    if process::on_path("apt-get").is_none() {
        bail!(
            "{what} is missing and this system has no apt-get: {remedy}, then run `cargo xtask setup` again"
        );
    }
    println!("installing {} with apt-get", packages.join(" "));
    let because = || format!("{what} could not be installed: {remedy}, then run `cargo xtask setup` again");
    process::run(&mut as_root("apt-get", &["update", "-qq"])?).with_context(because)?;
    let mut args = vec!["install", "-qq", "-y", "--no-install-recommends"];
    args.extend(packages);
    process::run(&mut as_root("apt-get", &args)?).with_context(because)
}

/// `program args…` with root's rights and no questions asked.
pub(super) fn as_root(program: &str, args: &[&str]) -> Result<Command> {
    let mut command;
    if process::is_root()? {
        command = Command::new(program);
        command.env("DEBIAN_FRONTEND", "noninteractive");
    } else if process::on_path("sudo").is_some() {
        command = Command::new("sudo");
        command.args(["DEBIAN_FRONTEND=noninteractive", program]);
    } else {
        bail!("`{program} {}` needs root, and there is no sudo: run it as root", args.join(" "));
    }
    command.args(args);
    Ok(command)
}
