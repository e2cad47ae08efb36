//! `cargo xtask chaos`: runs seeds of a simulator and prints what came of it as JSON; ends with 1 if a promise was broken.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use plimsoll_testkit::chaos::sim::{self, Run};
use plimsoll_testkit::chaos::{self, Options, seeds};
use tracing_subscriber::EnvFilter;

/// The last lines of what happened that are shown of a failing seed.
const SHOWN_LINES: usize = 150;

/// Lets Plimsoll live through what can happen to it.
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    subject: Subject,
}

#[derive(Subcommand)]
enum Subject {
    /// The follower's decisions, against a simulated chain and its endpoints, in simulated time
    Ingest {
        /// How many seeds; one, if the first is named
        #[arg(long)]
        seeds: Option<u64>,
        /// The first seed; without it, one by chance
        #[arg(long)]
        seed: Option<u64>,
        /// Also write what came of it to this file
        #[arg(long)]
        json: Option<PathBuf>,
        /// Show all that happens, of one seed
        #[arg(long, conflicts_with = "seeds", requires = "seed")]
        trace: bool,
    },
}

fn main() -> Result<ExitCode> {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("off")))
        .with_writer(std::io::stderr)
        .init();
    let Subject::Ingest { seeds, seed, json, trace } = Args::parse().subject;
    if let (Some(seed), true) = (seed, trace) {
        let run = show(seed, usize::MAX);
        return Ok(if run.violation.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS });
    }
    let count = seeds.unwrap_or(if seed.is_some() { 1 } else { 100 });
    // Far from the end, so that the seeds of a run are in a row.
    let first = seed.unwrap_or_else(|| rand::random::<u64>() >> 1);
    let report = chaos::run(&Options { first, count }, |run| {
        eprintln!("seed {} fails: {}", run.seed, run.violation.as_deref().unwrap_or_default());
    });
    for (seed, why) in &report.broken {
        seeds::save(seeds::INGEST, *seed, why)
            .with_context(|| format!("cannot save a seed to {}", seeds::INGEST))?;
    }
    if let Some(seed) = report.failing_seeds.first() {
        show(*seed, SHOWN_LINES);
    }
    let text = serde_json::to_string_pretty(&report)?;
    println!("{text}");
    if let Some(path) = json {
        std::fs::write(&path, format!("{text}\n"))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(if report.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs a seed again, and shows its schedule and what happened.
fn show(seed: u64, lines: usize) -> Run {
    let run = sim::run(seed, true);
    eprintln!("seed {seed}:\n{}", sim::schedule(seed));
    let skipped = run.lines.len().saturating_sub(lines);
    if skipped > 0 {
        eprintln!("… {skipped} lines before (`cargo xtask chaos ingest --seed {seed} --trace` shows all)");
    }
    for line in &run.lines[skipped..] {
        eprintln!("{line}");
    }
    eprintln!("hash {:016x}", run.hash);
    run
}
