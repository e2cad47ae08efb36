//! `cargo xtask chaos`: runs seeds of a simulator, or of real processes, and prints what came of it as JSON; ends with 1 if a promise was broken.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand};
use plimsoll_testkit::chaos::{
    self, Options, RealOptions, RealRun, Report, Tally, real, real_ledger, real_relayer, relayer, seeds, sim,
};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// The last lines of what happened that are shown of a failing seed.
const SHOWN_LINES: usize = 150;

/// Lets Plimsoll live through what can happen to it.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    subject: Subject,
}

#[derive(Subcommand)]
enum Subject {
    /// The follower's decisions, against a simulated chain and its endpoints, in simulated time; or real processes
    Ingest(Asked),
    /// The relayer's decisions, of several processes with strangers beside them, in simulated time; or real processes: one effect of each request, whatever dies
    Relayer(Asked),
    /// The ledger in real processes, which are killed again and again under load: nothing is lost, nothing doubled, and the books agree with the chain
    Ledger(Kills),
}

#[derive(Args)]
struct Kills {
    /// How often a process is killed
    #[arg(long, default_value_t = 100)]
    kills: u64,
    /// The seed; without it, one by chance
    #[arg(long)]
    seed: Option<u64>,
    /// Also write what came of it to this file
    #[arg(long)]
    json: Option<PathBuf>,
    /// Show all that happens
    #[arg(long)]
    trace: bool,
    /// The plimsoll program [default: the one beside this program]
    #[arg(long, value_name = "FILE")]
    plimsoll: Option<PathBuf>,
}

#[derive(Args)]
struct Asked {
    /// How many seeds [default: one if the first is named, else 100, of real processes 30]
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
    /// Real processes: Plimsoll, a node, a database server, and endpoints between them that misbehave
    #[arg(long)]
    real: bool,
    /// The plimsoll program, for real processes [default: the one beside this program]
    #[arg(long, value_name = "FILE", requires = "real")]
    plimsoll: Option<PathBuf>,
}

fn main() -> Result<ExitCode> {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("off")))
        .with_writer(std::io::stderr)
        .init();
    match Cli::parse().subject {
        Subject::Ingest(asked) if asked.real => run_real_ingest(&asked),
        Subject::Ingest(asked) => simulate(&asked, &INGEST),
        Subject::Relayer(asked) if asked.real => run_real_relayer(&asked),
        Subject::Relayer(asked) => simulate(&asked, &RELAYER),
        Subject::Ledger(kills) => run_real_ledger(kills),
    }
}

impl Asked {
    /// The first seed and how many.
    fn range(&self, default: u64) -> (u64, u64) {
        let count = self.seeds.unwrap_or(if self.seed.is_some() { 1 } else { default });
        // Far from the end, so that the seeds of a run are in a row.
        (self.seed.unwrap_or_else(|| rand::random::<u64>() >> 1), count)
    }

    /// Keeps the seeds that failed, and prints the report.
    fn report<C: serde::Serialize>(&self, report: &Report<C>, file: &str) -> Result<ExitCode> {
        for (seed, why) in &report.broken {
            seeds::save(file, *seed, why).with_context(|| format!("cannot save a seed to {file}"))?;
        }
        let text = serde_json::to_string_pretty(report)?;
        println!("{text}");
        if let Some(path) = &self.json {
            std::fs::write(path, format!("{text}\n"))
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(if report.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// A simulator.
struct Simulator<C> {
    name: &'static str,
    /// Where its seeds are kept.
    file: &'static str,
    outcome: fn(u64) -> (C, Option<String>),
    schedule: fn(u64) -> String,
    /// Runs a seed and keeps all that happens.
    told: fn(u64) -> Told,
}

/// A run that was kept.
struct Told {
    hash: u64,
    lines: Vec<String>,
    violation: Option<String>,
}

const INGEST: Simulator<sim::Counts> = Simulator {
    name: "ingest",
    file: seeds::INGEST,
    outcome: sim::outcome,
    schedule: sim::schedule,
    told: |seed| {
        let sim::Run { hash, lines, violation, .. } = sim::run(seed, true);
        Told { hash, lines, violation }
    },
};

const RELAYER: Simulator<relayer::Counts> = Simulator {
    name: "relayer",
    file: seeds::RELAYER,
    outcome: relayer::outcome,
    schedule: relayer::schedule,
    told: |seed| {
        let relayer::Run { hash, lines, violation, .. } = relayer::run(seed, true, None);
        Told { hash, lines, violation }
    },
};

fn simulate<C: Tally + Send + serde::Serialize>(asked: &Asked, simulator: &Simulator<C>) -> Result<ExitCode> {
    if let (Some(seed), true) = (asked.seed, asked.trace) {
        let run = show(simulator, seed, usize::MAX);
        return Ok(if run.violation.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS });
    }
    let (first, count) = asked.range(100);
    let report = chaos::run(&Options { first, count }, simulator.outcome, |seed, broken| {
        eprintln!("seed {seed} fails: {broken}");
    });
    let outcome = asked.report(&report, simulator.file);
    if let Some(seed) = report.failing_seeds.first() {
        show(simulator, *seed, SHOWN_LINES);
    }
    outcome
}

/// Runs a seed again, and shows its schedule and what happened.
fn show<C>(simulator: &Simulator<C>, seed: u64, lines: usize) -> Told {
    let run = (simulator.told)(seed);
    eprintln!("seed {seed}:\n{}", (simulator.schedule)(seed));
    let more = format!("`cargo xtask chaos {} --seed {seed} --trace` shows all", simulator.name);
    tail(&run.lines, lines, &more);
    eprintln!("hash {:016x}", run.hash);
    run
}

/// The last lines of what happened.
fn tail(lines: &[String], shown: usize, more: &str) {
    let skipped = lines.len().saturating_sub(shown);
    if skipped > 0 {
        eprintln!("… {skipped} lines before ({more})");
    }
    lines[skipped..].iter().for_each(|line| eprintln!("{line}"));
}

/// Real processes, seed after seed; what was started ends with what started it.
fn run_real<C: serde::Serialize>(
    asked: &Asked,
    file: &str,
    run_all: impl AsyncFnOnce(&RealOptions) -> Report<C>,
) -> Result<ExitCode> {
    let plimsoll = match &asked.plimsoll {
        Some(plimsoll) => plimsoll.canonicalize(),
        None => std::env::current_exe().map(|program| program.with_file_name("plimsoll")),
    };
    let (first, count) = asked.range(30);
    let options = RealOptions { first, count, plimsoll: plimsoll.context("no plimsoll program")? };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let report = runtime.block_on(async {
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        anyhow::Ok(tokio::select! {
            report = run_all(&options) => Some(report),
            _ = interrupt.recv() => None,
            _ = terminate.recv() => None,
        })
    });
    drop(runtime);
    match report? {
        Some(report) => asked.report(&report, file),
        None => Ok(ExitCode::FAILURE),
    }
}

fn run_real_ingest(asked: &Asked) -> Result<ExitCode> {
    let held = |counts: &real::Counts| {
        let real::Counts { events, retractions, requests, takeovers, lies, rest_ms_max, .. } = counts;
        format!(
            "{events} events, {retractions} retractions, {requests} requests, {takeovers} takeovers, {lies} lies, at rest after {rest_ms_max} ms"
        )
    };
    run_real(asked, seeds::INGEST_REAL, async |options| {
        real::run_all(options, |run| tell(run, asked.trace, held, real::schedule)).await
    })
}

fn run_real_relayer(asked: &Asked) -> Result<ExitCode> {
    let held = |counts: &real_relayer::Counts| {
        let real_relayer::Counts { requests, effects, attempts, requeued, takeovers, rest_ms_max, .. } =
            counts;
        format!(
            "{requests} requests, {effects} effects, {attempts} attempts, {requeued} requeued, {takeovers} takeovers, at rest after {rest_ms_max} ms"
        )
    };
    run_real(asked, seeds::RELAYER_REAL, async |options| {
        real_relayer::run_all(options, |run| tell(run, asked.trace, held, real_relayer::schedule)).await
    })
}

fn run_real_ledger(Kills { kills, seed, json, trace, plimsoll }: Kills) -> Result<ExitCode> {
    let held = |counts: &real_ledger::Counts| {
        let real_ledger::Counts { offered, retries, booked, taken_back, sealed, rest_ms_max, .. } = counts;
        format!(
            "{offered} postings offered, {retries} calls made again, {booked} booked from the chain, {taken_back} taken back, {sealed} sealed, at rest after {rest_ms_max} ms"
        )
    };
    let asked = Asked { seeds: Some(1), seed, json, trace, real: true, plimsoll };
    run_real(&asked, seeds::LEDGER_REAL, async |options| {
        let schedule = |seed| real_ledger::schedule(seed, kills);
        real_ledger::run_all(options, kills, |run| tell(run, trace, held, schedule)).await
    })
}

/// A line of a run that held; of one that failed, its schedule, what happened, and where its logs are.
fn tell<C>(run: &RealRun<C>, trace: bool, held: impl Fn(&C) -> String, schedule: impl Fn(u64) -> String) {
    let Some(violation) = &run.violation else {
        eprintln!("seed {} holds: {}", run.seed, held(&run.counts));
        if trace {
            eprintln!("{}", schedule(run.seed));
            tail(&run.lines, usize::MAX, "");
        }
        return;
    };
    eprintln!("seed {}:\n{}", run.seed, schedule(run.seed));
    tail(&run.lines, SHOWN_LINES, "its schedule is above");
    eprintln!("seed {} fails: {violation}", run.seed);
    if let Some(kept) = &run.kept {
        eprintln!("logs and database are in {}", kept.display());
    }
}
