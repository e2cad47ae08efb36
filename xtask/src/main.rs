//! Everything that a person or CI runs: `cargo xtask setup | test | demo | bench | chaos | sqlx | contracts`.
//!
//! The promise: on a machine that has nothing but `rustup`'s cargo and a C compiler, each command either does its
//! job or says which one thing is missing and how to get it. That holds because no command assumes a tool: each
//! names what it needs, [`setup`] looks for it, installs it where a package manager can, and hands over the path it
//! found. What is fetched is pinned (`xtask/tools/package-lock.json`, [`setup::deny`]) and lands in `target/tools`;
//! only Postgres, Node and a C compiler come from the distribution.
//!
//! This crate stays small on purpose. It is compiled before anything else, so it knows nothing of the other
//! crates: no async runtime, no database driver. What it needs of Postgres it does through Postgres's own programs.
//!
//! Traps: `sqlx`'s macros do not tell cargo that they read the environment, so a recording has to touch the crates'
//! root files first ([`prepare`]); Postgres will not run as root, so its programs are started as another user
//! ([`postgres`]); npm silently drops an *optional* package whose `engines` do not fit, so the lock file here states
//! none for Anvil's native binary, which needs no Node at all.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

mod architecture;
mod contracts;
mod demo;
mod dependencies;
mod disk;
mod fuzz;
mod lanes;
mod postgres;
mod prepare;
mod process;
mod rules;
mod schema;
mod setup;
mod workspace;

/// Sets up, checks, shows and measures Plimsoll.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Find, and install where missing, what the other commands need: Postgres, a C compiler, Node, Anvil, solc
    Setup,
    /// Run the checks that CI runs: all lanes, or those that are named
    Test {
        /// Lanes to run, in the order given; all of them when none is named
        #[arg(value_name = "LANE")]
        lanes: Vec<lanes::Lane>,
        /// Name the lanes and what each one checks, and run nothing
        #[arg(long)]
        list: bool,
        /// Stop at the first lane that fails
        #[arg(long)]
        fail_fast: bool,
        /// Let the `deny` lane fetch the advisory database too (needs the network beyond the crate registry)
        #[arg(long)]
        advisories: bool,
    },
    /// Start Anvil, a private Postgres and Plimsoll with all roles, and drive traffic through them
    Demo(demo::Demo),
    /// Build the benchmarks for release and run one
    Bench {
        /// Which one: `ingest`, … (`cargo xtask bench help` names them all)
        name: OsString,
        /// Handed to the benchmark as they are: `--events 200000 --json target/bench.json`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
        args: Vec<OsString>,
    },
    /// Let Plimsoll live through what can happen to it, from seeds; ends with 1 if a promise was broken
    Chaos {
        /// What: `ingest`, `relayer`, `ledger`
        subject: OsString,
        /// Handed over as they are: `--seeds 5000 --json target/chaos.json`, `--seed 7 --trace`, `--real --seeds 30`, `--kills 100`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
        args: Vec<OsString>,
    },
    /// Record what the database says about each SQL query into `.sqlx`, from a throw-away Postgres
    Sqlx {
        /// Write nothing; fail when the committed records differ
        #[arg(long)]
        check: bool,
    },
    /// Compile the Solidity contracts with the pinned compiler
    Contracts {
        /// Write nothing; fail when the committed ABI or bytecode differs
        #[arg(long)]
        check: bool,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    let workspace = workspace::Workspace::find()?;
    match command {
        Command::Setup => setup::everything(&workspace),
        Command::Test { list: true, .. } => {
            lanes::print_list();
            Ok(())
        }
        Command::Test { lanes, fail_fast, advisories, .. } => {
            lanes::run(&workspace, &lanes, &lanes::Options { fail_fast, advisories })
        }
        Command::Demo(demo) => demo::run(&workspace, demo),
        Command::Bench { name, args } => demo::bench(&workspace, name, args),
        Command::Chaos { subject, args } => demo::chaos(&workspace, subject, args),
        Command::Sqlx { check: true } => prepare::check(&workspace),
        Command::Sqlx { check: false } => prepare::refresh(&workspace),
        Command::Contracts { check } => contracts::build(&workspace, check),
    }
}
