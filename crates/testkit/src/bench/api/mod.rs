//! What a request costs: reading a position over HTTP from the real program, and the ground under every write.
//!
//! The workload. Five thousand positions, brought in from Anvil by the main job. `plimsoll run --roles api` serves them from its private
//! Postgres; a client in this process asks for one user's position after another over keep-alive connections: first as fast as the answers
//! come (`read_rps`, CPU of server and Postgres together a request), then at half that rate, where a request that had to wait for its turn
//! counts from when it was due. Client, server and Postgres share the machine.
//!
//! Then, in this process and on the same database: a write that leaves one audit row, bare and under an idempotency key in turn (their
//! medians' difference is the overhead); authentications by access token; and a staged stream being numbered, beside the same rows written
//! plainly with the same indexes.

mod ground;
mod load;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use super::pipeline::Store;
use super::positions::fill;
use super::server::{Serve, Server};
use load::Load;

const POSITIONS: u64 = 5_000;
/// Connections of the client; each has one request under way.
const CONNECTIONS: usize = 16;

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long each of the two loads lasts.
    pub duration: Duration,
    /// Rows of the stream that is numbered.
    pub rows: i64,
    /// Where the database goes while it runs.
    pub directory: PathBuf,
}

/// What came out.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Position reads a second, as fast as they come.
    pub read_rps: f64,
    /// CPU of server and Postgres for one of them, ms.
    pub read_cpu_ms: f64,
    /// The same statement on a connection of our own, CPU of Postgres and this process, ms: what no server could save.
    pub read_floor_cpu_ms: f64,
    /// From when a request was due to its answer, at half that rate, 50th percentile.
    pub read_p50_ms_at_half: f64,
    /// The same, 99th percentile.
    pub read_p99_ms_at_half: f64,
    /// A write under an idempotency key, over the bare one: difference of the medians.
    pub idempotency_overhead_ms_p50: f64,
    /// The bare write with its commit, median.
    pub bare_commit_ms_p50: f64,
    /// An authentication by access token, as they come (the session is remembered for seconds), median.
    pub auth_ms_p50: f64,
    /// An authentication for which the database is asked, median.
    pub auth_asked_ms_p50: f64,
    /// Rows of a staged stream numbered a second.
    pub sequencer_rows_per_s: f64,
    /// The same rows numbered by one plain statement.
    pub sequencer_floor_rows_per_s: f64,
    /// Positions that are read.
    pub positions: u64,
    /// Rows that are numbered.
    pub rows: i64,
}

/// Runs the benchmark.
#[allow(clippy::cast_precision_loss)]
pub async fn run(options: &Options) -> Result<Report> {
    let say = |what: &str| eprintln!("bench api: {what}");
    let directory = tempfile::Builder::new().prefix("bench").tempdir_in(&options.directory)?;
    let data = directory.path().join("data");

    say(&format!("{POSITIONS} positions from Anvil"));
    let (users, chain_id) = fill(&data, POSITIONS).await?;

    say("reading positions over HTTP");
    let server =
        Server::start(&Serve { home: directory.path(), data: &data, chain_id, roles: "api", log: None })
            .await?;
    let load = Load::new(server.address(), &users);
    load.at_full(CONNECTIONS, Duration::from_secs(2)).await?; // warm
    let before = server.cpu_ms();
    let full = load.at_full(CONNECTIONS, options.duration).await?;
    let cpu = server.cpu_ms() - before;
    let read_rps = full.len() as f64 / options.duration.as_secs_f64();
    say("the same at half that rate");
    let half = load.at_rate(CONNECTIONS, read_rps / 2.0, options.duration).await?;
    server.stop().await?;

    let store = Store::fresh(&data).await?;
    say("the same statement without a server");
    let read_floor_cpu_ms = ground::read_floor(&store, &users).await?;
    say("writes");
    let (bare, keyed) = ground::writes(&store).await?;
    say("authentications");
    let (auth, auth_asked) = ground::authentications(&store).await?;
    say("numbering a stream");
    let sequencer = ground::numbering(&store, options.rows).await?;
    let sequencer_floor = ground::numbering_floor(&store, options.rows).await?;
    store.stop().await?;

    Ok(Report {
        read_rps,
        read_cpu_ms: cpu as f64 / full.len() as f64,
        read_floor_cpu_ms,
        read_p50_ms_at_half: percentile_ms(&half, 50),
        read_p99_ms_at_half: percentile_ms(&half, 99),
        idempotency_overhead_ms_p50: percentile_ms(&keyed, 50) - percentile_ms(&bare, 50),
        bare_commit_ms_p50: percentile_ms(&bare, 50),
        auth_ms_p50: percentile_ms(&auth, 50),
        auth_asked_ms_p50: percentile_ms(&auth_asked, 50),
        sequencer_rows_per_s: options.rows as f64 / sequencer.as_secs_f64(),
        sequencer_floor_rows_per_s: options.rows as f64 / sequencer_floor.as_secs_f64(),
        positions: POSITIONS,
        rows: options.rows,
    })
}

/// The `percent`-th percentile of `times`, ms.
fn percentile_ms(times: &[Duration], percent: usize) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted
        .get((sorted.len().saturating_sub(1)) * percent / 100)
        .map_or(0.0, |time| time.as_secs_f64() * 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_sorted_times() {
        let times: Vec<Duration> = (1..=101).rev().map(Duration::from_millis).collect();
        assert!((percentile_ms(&times, 50) - 51.0).abs() < 1e-9);
        assert!((percentile_ms(&times, 99) - 100.0).abs() < 1e-9);
        assert!(percentile_ms(&[], 50).abs() < 1e-9);
    }
}
