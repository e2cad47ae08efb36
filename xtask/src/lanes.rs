//! The lanes of checks: each runs alone, says how long it took, and fails for one reason.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::ValueEnum;

use crate::workspace::Workspace;
use crate::{architecture, contracts, disk, fuzz, prepare, process, setup};

/// A lane of checks, cheapest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Lane {
    /// Formatting (`cargo fmt --check`)
    Fmt,
    /// Arrows between crates point down, and what is said to be absent is absent
    Architecture,
    /// Committed ABI and bytecode are what the Solidity sources compile to
    Contracts,
    /// The committed `.sqlx` is what a freshly migrated Postgres says (comes before other compilations: it touches sources)
    Sqlx,
    /// Clippy and compiler warnings, all denied
    Clippy,
    /// Documentation builds without a warning
    Doc,
    /// Tests inside the crates, and in their documentation
    Unit,
    /// Tests against real servers: Postgres, Anvil, whole processes
    Integration,
    /// Every fuzz target, from its committed corpus, with a fixed seed and number of inputs
    Fuzz,
    /// Licences, banned crates, sources of crates (`cargo deny`)
    Deny,
}

/// How lanes are run.
pub(crate) struct Options {
    pub(crate) fail_fast: bool,
    pub(crate) advisories: bool,
}

/// Every lane with its one line.
pub(crate) fn print_list() {
    for lane in Lane::value_variants() {
        let value = lane.to_possible_value();
        let help = value.as_ref().and_then(|value| value.get_help()).map(ToString::to_string);
        println!("{:<14}{}", lane.to_string(), help.unwrap_or_default());
    }
}

/// Runs `chosen`, or every lane, and sums up; an error when one failed.
pub(crate) fn run(workspace: &Workspace, chosen: &[Lane], options: &Options) -> Result<()> {
    let lanes = if chosen.is_empty() { Lane::value_variants() } else { chosen };
    let mut ended: Vec<(Lane, Duration, bool)> = Vec::new();
    let disks = [workspace.target.clone(), std::env::temp_dir()];
    disks.iter().for_each(|place| disk::warn_when_short(place));
    for &lane in lanes {
        println!("\n=== {lane}");
        let began = Instant::now();
        let outcome = lane.check(workspace, options);
        if let Err(error) = &outcome {
            println!("{lane}: {error:#}");
        }
        ended.push((lane, began.elapsed(), outcome.is_ok()));
        if outcome.is_err() && options.fail_fast {
            break;
        }
    }
    println!();
    for (lane, took, passed) in &ended {
        println!(
            "{:<14}{:<8}{:>8.1} s",
            lane.to_string(),
            if *passed { "passed" } else { "FAILED" },
            took.as_secs_f64()
        );
    }
    let failed = ended.iter().filter(|(.., passed)| !passed).count();
    println!("\n{} passed, {failed} failed", ended.len() - failed);
    if failed > 0 {
        // A lane that found no room rarely says so itself.
        disks.iter().for_each(|place| disk::warn_when_short(place));
        bail!("{failed} of {} lanes failed", ended.len());
    }
    Ok(())
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        f.write_str(value.as_ref().map_or("", |value| value.get_name()))
    }
}

impl Lane {
    fn check(self, workspace: &Workspace, options: &Options) -> Result<()> {
        let cargo = |args: &[&str]| {
            let mut cargo = workspace.cargo();
            cargo.args(args);
            cargo
        };
        match self {
            Self::Fmt => process::run(&mut cargo(&["fmt", "--all", "--check"])),
            Self::Architecture => architecture::check(workspace),
            Self::Contracts => contracts::build(workspace, true),
            Self::Sqlx => prepare::check(workspace),
            Self::Clippy => process::run(&mut cargo(&[
                "clippy",
                "--quiet",
                "--workspace",
                "--all-targets",
                "--",
                "-D",
                "warnings",
            ])),
            Self::Doc => {
                let mut doc = cargo(&["doc", "--quiet", "--workspace", "--no-deps"]);
                process::run(doc.env("RUSTDOCFLAGS", "-D warnings"))
            }
            Self::Unit => {
                let anvil = setup::for_tests(workspace)?;
                let modules = setup::node::modules(workspace)?;
                for what in [&["--lib", "--bins"][..], &["--doc"]] {
                    let mut test = cargo(&["test", "--workspace", "--no-fail-fast"]);
                    test.args(what).env("PLIMSOLL_ANVIL", &anvil).env("PLIMSOLL_NODE_MODULES", &modules);
                    process::run(&mut test)?;
                }
                Ok(())
            }
            Self::Integration => {
                let anvil = setup::for_tests(workspace)?;
                let modules = setup::node::modules(workspace)?;
                let schemathesis = setup::python::schemathesis(workspace)?;
                process::run(
                    cargo(&["test", "--workspace", "--no-fail-fast", "--test", "*"])
                        .env("PLIMSOLL_ANVIL", &anvil)
                        .env("PLIMSOLL_NODE_MODULES", &modules)
                        .env("PLIMSOLL_SCHEMATHESIS", &schemathesis),
                )
            }
            Self::Fuzz => fuzz::run(workspace),
            Self::Deny => deny(workspace, options.advisories),
        }
    }
}

fn deny(workspace: &Workspace, advisories: bool) -> Result<()> {
    let deny = || -> Result<_> {
        let mut deny = std::process::Command::new(setup::deny::find_or_install(workspace)?);
        deny.current_dir(&workspace.root).args(["--workspace", "check"]);
        Ok(deny)
    };
    process::run(deny()?.args(["licenses", "bans", "sources"]))?;
    if advisories {
        return process::run(deny()?.arg("advisories"));
    }
    println!(
        "security advisories were not looked at: their database is fetched from the network; add --advisories to do it"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_lane_has_a_name_of_its_own_and_says_what_it_checks() {
        let mut names: Vec<_> = Lane::value_variants().iter().map(ToString::to_string).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), Lane::value_variants().len());
        for lane in Lane::value_variants() {
            assert!(lane.to_possible_value().unwrap().get_help().is_some(), "{lane} has no description");
        }
    }
}
