//! What clients notice of an outage: Postgres is killed and restarted twice under full load, and every write that was acknowledged is looked for.
//!
//! The workload. `plimsoll run` with the roles `api`, `sequencer` and `retention` serves from its private Postgres, over HTTP, with nothing in between.
//! Each of the client's connections does one thing after another, as fast as answers come: it asks for an approval under a key of its own, with that same key
//! until it is acknowledged, and then for a user's position. After a third of the time, and after two thirds, the server process of Postgres is
//! killed with SIGKILL; Plimsoll starts it again. This program finds out by itself when Postgres takes connections: from then to the first write that is
//! acknowledged is the time until it serves again.
//!
//! What is counted. A write is *lost* when it was acknowledged and is not there, or not on record in the audit; *doubled* when it is there or on record more
//! than once, acknowledged or not. An answer is *dishonest* when it is none of these: 2xx with what was asked for; 409 `request-in-flight`, 429 or 503 as a
//! problem. No answer, or half of one, is dishonest too: the process that serves is not killed.

mod client;
mod repo;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use plimsoll_store::{Cluster, DatabaseUrls};
use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;
use serde_json::Value;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};

use super::positions::fill;
use super::server::{Serve, Server, configuration, postmaster, program};
use crate::demo::child::ask;
use client::{Seen, Work};
use repo::Kept;

const POSITIONS: u64 = 500;
const KILLS: u32 = 2;
/// How often Postgres is tried after it was killed.
const ACCEPT_POLL: Duration = Duration::from_millis(2);
/// A server that was killed is back by then, or something is wrong.
const ACCEPT_LIMIT: Duration = Duration::from_secs(60);
/// Dishonest answers that the report quotes.
const QUOTED_MAX: usize = 10;

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long the load lasts.
    pub duration: Duration,
    /// Connections of the client; each has one request under way.
    pub connections: usize,
    /// Where the database goes while it runs.
    pub directory: PathBuf,
}

/// What came out.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// How long the load lasted, s.
    pub duration_s: f64,
    /// Connections of the client.
    pub connections: usize,
    /// 2xx answers a second, the outages included.
    pub rps: f64,
    /// Positions that were read.
    pub reads_answered: u64,
    /// Writes that were acknowledged.
    pub writes_acknowledged: u64,
    /// Of these, such as are not there, or not on record.
    pub writes_lost: u64,
    /// Writes that are there, or on record, more than once.
    pub writes_doubled: u64,
    /// Answers that are not what a client may be told, and requests without an answer.
    pub dishonest_answers: u64,
    /// The first of them.
    pub dishonest: Vec<String>,
    /// What clients were told instead of an answer, and how often.
    pub refusals: BTreeMap<String, u64>,
    /// How often Postgres was killed.
    pub kills: u32,
    /// From each kill to Postgres accepting connections, ms.
    pub postgres_away_ms: Vec<u64>,
    /// From Postgres accepting connections to the first acknowledged write, after each kill, ms.
    pub serving_again_ms: Vec<u64>,
    /// The longest of these.
    pub serving_again_ms_max: u64,
}

impl Report {
    /// Nothing lost, nothing doubled, nothing said that is not so.
    ///
    /// # Errors
    /// What is not as it must be.
    pub fn judge(&self) -> Result<()> {
        let Self { writes_lost, writes_doubled, dishonest_answers, .. } = self;
        ensure!(
            (writes_lost, writes_doubled, dishonest_answers) == (&0, &0, &0),
            "{writes_lost} writes lost, {writes_doubled} doubled, {dishonest_answers} dishonest answers: {:#?}",
            self.dishonest
        );
        Ok(())
    }
}

/// One outage.
struct Outage {
    killed: Instant,
    accepts: Instant,
}

/// Runs the benchmark.
///
/// # Errors
/// When it could not be run, Postgres did not come back, or no write was acknowledged after that.
#[allow(clippy::cast_precision_loss)]
pub async fn run(options: &Options) -> Result<Report> {
    let say = |what: &str| eprintln!("bench outage: {what}");
    let directory = tempfile::Builder::new().prefix("bench").tempdir_in(&options.directory)?;
    let (home, data) = (directory.path(), directory.path().join("data"));

    say(&format!("{POSITIONS} positions from Anvil"));
    let (users, chain_id) = fill(&data, POSITIONS).await?;
    let log = home.join("plimsoll.log");
    let roles = "api,sequencer,retention";
    let server = Server::start(&Serve { home, data: &data, chain_id, roles, log: Some(&log) }).await?;
    client::until_served(server.address()).await?;
    let urls = Cluster::urls_of(&data)?;

    say(&format!("{} connections write and read for {:?}", options.connections, options.duration));
    let work = Arc::new(writer(home).await?.work(server.address(), &users));
    let began = Instant::now();
    let until = began + options.duration;
    let clients: Vec<_> =
        (0..options.connections).map(|_| tokio::spawn(Arc::clone(&work).run(until))).collect();
    let mut outages = Vec::new();
    for kill in 1..=KILLS {
        tokio::time::sleep_until((began + options.duration * kill / (KILLS + 1)).into()).await;
        let outage = kill_postgres(&data, &urls).await?;
        say(&format!("Postgres was away for {:?}", outage.accepts - outage.killed));
        outages.push(outage);
    }
    let mut seen = Seen::default();
    for client in clients {
        seen.add(client.await?);
    }
    let acknowledged: BTreeSet<i64> = seen.acknowledged.iter().map(|(number, _)| *number).collect();
    let serving_again_ms = serving_again(&outages, &seen)?;

    say(&format!("looking for {} acknowledged writes", acknowledged.len()));
    let mut conn = urls.worker.connect().await?;
    let (lost, doubled) = judge(&repo::kept(&mut conn).await?, &acknowledged);
    let strange = repo::recorded_of_nothing(&mut conn).await?;
    conn.close().await?;
    server.stop().await?;

    let answered = acknowledged.len() as u64 + seen.reads;
    let report = Report {
        duration_s: options.duration.as_secs_f64(),
        connections: options.connections,
        rps: answered as f64 / options.duration.as_secs_f64(),
        reads_answered: seen.reads,
        writes_acknowledged: acknowledged.len() as u64,
        writes_lost: lost,
        writes_doubled: doubled + strange,
        dishonest_answers: seen.dishonest.len() as u64,
        dishonest: seen.dishonest.into_iter().take(QUOTED_MAX).collect(),
        refusals: seen.refusals,
        kills: KILLS,
        postgres_away_ms: outages.iter().map(|outage| in_ms(outage.accepts - outage.killed)).collect(),
        serving_again_ms_max: serving_again_ms.iter().copied().max().unwrap_or(0),
        serving_again_ms,
    };
    if report.judge().is_err() {
        say(&format!("the server's log is kept: {}", directory.keep().join("plimsoll.log").display()));
    }
    Ok(report)
}

/// Who writes: a machine with an API key of its own.
struct Writer {
    tenant_id: Value,
    user_id: Value,
    key: String,
}

async fn writer(home: &Path) -> Result<Writer> {
    let (program, file) = (program()?, configuration(home));
    let admin = async |arguments: &[&str]| ask(&program, &file, &[&["admin"], arguments].concat()).await;
    let user =
        admin(&["users", "create", "--name", "writer", "--kind", "machine", "--role", "operator"]).await?;
    let user_id = user["target_id"].as_str().with_context(|| format!("no user was made: {user}"))?;
    let scopes = "approvals:request,retry:request";
    let issued =
        admin(&["keys", "issue", "--user", user_id, "--label", "writer", "--scopes", scopes]).await?;
    let tenants = admin(&["tenants", "list"]).await?;
    Ok(Writer {
        tenant_id: tenants[0]["tenant_id"].clone(),
        user_id: user_id.into(),
        key: issued["key"].as_str().with_context(|| format!("no key was issued: {issued}"))?.to_owned(),
    })
}

impl Writer {
    fn work(&self, address: std::net::SocketAddr, users: &[String]) -> Work {
        Work::new(address, users, &self.key, &self.tenant_id, &self.user_id)
    }
}

/// SIGKILL, and the wait until somebody has started it again.
async fn kill_postgres(data: &Path, urls: &DatabaseUrls) -> Result<Outage> {
    let pid = postmaster(data)?.and_then(Pid::from_raw).context("Postgres runs")?;
    kill_process(pid, Signal::KILL)?;
    let killed = Instant::now();
    loop {
        if let Ok(session) = urls.worker.connect().await {
            let accepts = Instant::now();
            close(session).await;
            return Ok(Outage { killed, accepts });
        }
        ensure!(killed.elapsed() < ACCEPT_LIMIT, "Postgres is not back after {ACCEPT_LIMIT:?}");
        tokio::time::sleep(ACCEPT_POLL).await;
    }
}

/// It was only to see whether there is one.
async fn close(session: PgConnection) {
    if let Err(error) = session.close().await {
        tracing::debug!(%error, "closing a session");
    }
}

/// From when Postgres took connections to the first write that was acknowledged after that, ms.
fn serving_again(outages: &[Outage], seen: &Seen) -> Result<Vec<u64>> {
    let first_after = |outage: &Outage| {
        let after = seen.acknowledged.iter().map(|(_, at)| *at).filter(|at| *at >= outage.accepts).min();
        Ok(in_ms(after.context("no write was acknowledged after Postgres was back")? - outage.accepts))
    };
    outages.iter().map(first_after).collect()
}

/// How many writes are lost, and how many doubled.
fn judge(kept: &[Kept], acknowledged: &BTreeSet<i64>) -> (u64, u64) {
    let whole: BTreeSet<i64> =
        kept.iter().filter(|kept| kept.recorded >= kept.times).map(|kept| kept.number).collect();
    let lost = acknowledged.difference(&whole).count() as u64;
    let doubled = kept.iter().map(|kept| kept.times.max(kept.recorded).saturating_sub(1)).sum();
    (lost, doubled)
}

fn in_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_is_lost_if_it_or_its_record_is_missing_and_doubled_if_either_is_there_twice() {
        let kept = |number, times, recorded| Kept { number, times, recorded };
        let acknowledged = BTreeSet::from([1, 2, 3]);
        let whole = [kept(1, 1, 1), kept(2, 1, 1), kept(3, 1, 1)];
        for (kept, expected) in [
            (whole.to_vec(), (0, 0)),
            ([&whole[..], &[kept(4, 1, 1)]].concat(), (0, 0)),
            (whole[1..].to_vec(), (1, 0)),
            ([&whole[1..], &[kept(1, 1, 0)]].concat(), (1, 0)),
            ([&whole[1..], &[kept(1, 2, 2)]].concat(), (0, 1)),
            ([&whole[1..], &[kept(1, 1, 3)]].concat(), (0, 2)),
            ([&whole[..], &[kept(4, 2, 2)]].concat(), (0, 1)),
        ] {
            assert_eq!(judge(&kept, &acknowledged), expected, "{kept:?}");
        }
    }

    #[test]
    fn it_serves_again_with_the_first_write_that_is_acknowledged_after_postgres_took_connections() {
        let began = Instant::now();
        let at = |ms| began + Duration::from_millis(ms);
        let outages =
            [Outage { killed: at(100), accepts: at(200) }, Outage { killed: at(300), accepts: at(400) }];
        let acknowledged = vec![(3, at(450)), (1, at(150)), (2, at(230)), (4, at(460))];
        let mut seen = Seen { acknowledged, ..Seen::default() };
        assert_eq!(serving_again(&outages, &seen).unwrap(), [30, 50]);
        seen.acknowledged.retain(|(_, when)| *when < at(400));
        assert!(serving_again(&outages, &seen).is_err());
    }
}
