//! What is done to processes, endpoints and database, and what comes of it later by itself.

use std::time::Duration;

use anyhow::{Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;
use tokio::time::Instant;

use super::proxy::{Proxy, Trouble};
use super::{House, repo};

/// A process that could not start without its database is started again after this.
const RESTART_PAUSE_MS: u64 = 500;
/// What a process logs once it serves.
const SERVES: &str = "the API listens";
/// Lines of a log that are shown.
const LOG_LINES: usize = 20;
/// How often it is looked whether something is due, or a process has ended.
pub(crate) const LOOK: Duration = Duration::from_millis(20);

/// How often what was done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Blows {
    /// Processes killed with SIGKILL.
    pub kills: u64,
    /// Processes that stood still, most for longer than their lease.
    pub freezes: u64,
    /// Sessions of the database that were ended.
    pub sessions_ended: u64,
    /// Restarts of the database server.
    pub postgres_restarts: u64,
    /// Processes that could not start while the database was away, and were started again.
    pub starts_refused: u64,
}

impl Blows {
    /// Adds another run's.
    pub(crate) fn add(&mut self, other: &Self) {
        let Self { kills, freezes, sessions_ended, postgres_restarts, starts_refused } = other;
        self.kills += kills;
        self.freezes += freezes;
        self.sessions_ended += sessions_ended;
        self.postgres_restarts += postgres_restarts;
        self.starts_refused += starts_refused;
    }
}

/// What comes later by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// This process, which was killed, is started again.
    Start(usize),
    /// This process, which stands still, goes on.
    Thaw(usize),
    /// The endpoint of this place is as good as ever.
    Calm(usize),
}

impl House {
    /// Of a thousand requests to an endpoint, or to each, so many meet this for so long.
    pub(crate) fn trouble(&mut self, place: Option<usize>, trouble: Trouble, permille: u32, ms: u64) {
        let places = 0..self.proxies.len();
        for place in places.filter(|at| place.is_none_or(|place| place == *at)) {
            self.proxies[place].trouble(trouble, permille);
            // It is this trouble's end that counts.
            self.due.retain(|(_, what)| *what != Due::Calm(place));
            self.later(ms, Due::Calm(place));
        }
    }

    /// SIGKILL, and a new process so much later.
    pub(crate) fn kill(&mut self, process: usize, down_ms: u64) -> Result<()> {
        // What was due of it is over: it is another process that is started.
        self.due.retain(|(_, what)| ![Due::Start(process), Due::Thaw(process)].contains(what));
        self.blows.kills += u64::from(self.processes[process].kill()?);
        self.later(down_ms, Due::Start(process));
        Ok(())
    }

    /// SIGSTOP, and SIGCONT so much later.
    pub(crate) fn freeze(&mut self, process: usize, ms: u64) -> Result<()> {
        if self.processes[process].freeze()? {
            self.blows.freezes += 1;
            self.later(ms, Due::Thaw(process));
        }
        Ok(())
    }

    /// Ends sessions of the database: all of them, or those at work.
    pub(crate) async fn end_sessions(&mut self, all: bool) -> Result<()> {
        self.disturbed = Some(Instant::now());
        let ended = repo::end_sessions(&mut self.connect().await?, all).await?;
        self.blows.sessions_ended += ended;
        self.note(format_args!("   {ended} sessions ended"));
        Ok(())
    }

    /// The database server ends, its sessions with it, and is started again: by a crash, or in order.
    pub(crate) fn restart_postgres(&mut self, crash: bool) -> Result<()> {
        // None while it is being started anyway.
        if let Some(pid) = self.cluster.pid().and_then(Pid::from_raw) {
            self.disturbed = Some(Instant::now());
            kill_process(pid, if crash { Signal::KILL } else { Signal::INT })?;
            self.blows.postgres_restarts += 1;
        }
        Ok(())
    }

    /// Does what is due, and sees that nobody has ended by himself.
    pub(crate) async fn attend(&mut self) -> Result<()> {
        let now = Instant::now();
        let (due, later) = self.due.drain(..).partition(|(at, _)| *at <= now);
        self.due = later;
        for (_, what) in due {
            match what {
                Due::Start(process) => {
                    // Whoever operates it starts it once there is a database.
                    drop(self.connect().await?);
                    self.processes[process].start()?;
                }
                Due::Thaw(process) => self.processes[process].thaw()?,
                Due::Calm(place) => self.proxies[place].calm(),
            }
            self.note(format_args!("   {what:?}"));
        }
        self.look_after()
    }

    fn later(&mut self, ms: u64, what: Due) {
        self.due.push((Instant::now() + Duration::from_millis(ms), what));
    }

    fn look_after(&mut self) -> Result<()> {
        for place in 0..self.processes.len() {
            let Some((status, log)) = self.processes[place].ended()? else { continue };
            let name = self.processes[place].name();
            if !self.counts_as_refused(place, &log) {
                let lines: Vec<_> = log.lines().collect();
                let end = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n");
                bail!("the {name} process ended by itself ({status}); the end of its log:\n{end}");
            }
            self.blows.starts_refused += 1;
            self.note(format_args!("   {name}: could not start without its database ({status})"));
            self.later(RESTART_PAUSE_MS, Due::Start(place));
        }
        Ok(())
    }

    /// Whether a process may have ended for want of a database: before it served, and while that was disturbed.
    fn counts_as_refused(&self, process: usize, log: &str) -> bool {
        let started = self.processes[process].started();
        self.disturbed.zip(started).is_some_and(|(disturbed, started)| disturbed >= started)
            && !log.contains(SERVES)
    }

    /// Whether something is still to come.
    pub(crate) fn has_more(&self) -> bool {
        !self.due.is_empty()
    }

    /// Nothing is wrong with any endpoint any more; a liar stays one.
    pub(crate) fn calm(&self) {
        self.proxies.iter().for_each(Proxy::calm);
    }
}
