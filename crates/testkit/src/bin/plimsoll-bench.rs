//! `cargo xtask bench`: runs a benchmark and prints its figures as JSON.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use plimsoll_testkit::bench::{api, ingest, ledger, outage, relayer};
use plimsoll_testkit::demo::Span;

/// What runs in this process runs as it does in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures Plimsoll on this machine.
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Subcommand)]
enum Bench {
    /// A backfill from the endpoint to the mirror, and the delay at the head.
    Ingest {
        /// Events of the backfill.
        #[arg(long, default_value_t = 200_000)]
        events: u64,
        /// Blocks at the head whose delay is measured.
        #[arg(long, default_value_t = 200)]
        head_blocks: usize,
        /// Blocks of the chain with few logs.
        #[arg(long, default_value_t = 20_000)]
        sparse_blocks: u64,
        /// How long a head with a block each 100 ms is followed: `60s`, `10m`.
        #[arg(long, value_name = "DURATION", default_value = "60s")]
        head_for: Span,
        /// Where databases and the recording go while it runs.
        #[arg(long, default_value = "target")]
        directory: PathBuf,
        /// Also write the figures to this file.
        #[arg(long)]
        json: Option<PathBuf>,
    },
    /// Reads over HTTP, and the ground under every write: idempotency, authentication, the sequencer.
    Api {
        /// How long each of the two loads lasts, in seconds.
        #[arg(long, default_value_t = 15)]
        seconds: u64,
        /// Rows of the stream that is numbered.
        #[arg(long, default_value_t = 200_000)]
        rows: i64,
        /// Where the database goes while it runs.
        #[arg(long, default_value = "target")]
        directory: PathBuf,
        /// Also write the figures to this file.
        #[arg(long)]
        json: Option<PathBuf>,
    },
    /// Writes and reads at full load while Postgres is killed twice. Ends with 1 if a write is lost or doubled, or an answer dishonest.
    Outage {
        /// How long the load lasts: `60s`, `5m`.
        #[arg(long = "for", value_name = "DURATION", default_value = "60s")]
        duration: Span,
        /// Connections of the client.
        #[arg(long, default_value_t = 64)]
        connections: usize,
        /// Where the database goes while it runs.
        #[arg(long, default_value = "target")]
        directory: PathBuf,
        /// Also write the figures to this file.
        #[arg(long)]
        json: Option<PathBuf>,
    },
    /// Requests to a signer: accepted and given nonces, and the whole way to their inclusion.
    Relayer {
        /// Requests of each part.
        #[arg(long, default_value_t = 20_000)]
        requests: usize,
        /// Where the database goes while it runs.
        #[arg(long, default_value = "target")]
        directory: PathBuf,
        /// Also write the figures to this file.
        #[arg(long)]
        json: Option<PathBuf>,
    },
    /// Postings: over many accounts and on one pair, at a rate and one at a time, sealed and signed.
    Ledger {
        /// Postings of each part.
        #[arg(long, default_value_t = 200_000)]
        postings: usize,
        /// Where the database goes while it runs.
        #[arg(long, default_value = "target")]
        directory: PathBuf,
        /// Also write the figures to this file.
        #[arg(long)]
        json: Option<PathBuf>,
    },
}

#[tokio::main]
async fn main() -> Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    match Args::parse().bench {
        Bench::Ingest { events, head_blocks, sparse_blocks, head_for, directory, json } => {
            let head_for = head_for.0;
            let options = ingest::Options { events, head_blocks, sparse_blocks, head_for, directory };
            report(&Box::pin(ingest::run(&options)).await?, json)
        }
        Bench::Api { seconds, rows, directory, json } => {
            let options = api::Options { duration: Duration::from_secs(seconds), rows, directory };
            report(&Box::pin(api::run(&options)).await?, json)
        }
        Bench::Relayer { requests, directory, json } => {
            let options = relayer::Options { requests, directory };
            report(&Box::pin(relayer::run(&options)).await?, json)
        }
        Bench::Ledger { postings, directory, json } => {
            let options = ledger::Options { postings, directory };
            report(&Box::pin(ledger::run(&options)).await?, json)
        }
        Bench::Outage { duration, connections, directory, json } => {
            let options = outage::Options { duration: duration.0, connections, directory };
            let figures = Box::pin(outage::run(&options)).await?;
            report(&figures, json)?;
            figures.judge()
        }
    }
}

fn report(report: &impl serde::Serialize, json: Option<PathBuf>) -> Result<()> {
    let text = serde_json::to_string_pretty(report)?;
    println!("{text}");
    if let Some(path) = json {
        std::fs::write(&path, format!("{text}\n"))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
