//! The story told: one act after the other, while what is due comes to pass.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::Instant;

use super::proxy::Proxy;
use super::repo;
use super::stage::{Due, Stage};
use super::story::{Act, Story};

/// How often it is looked whether something is due, or a process has ended.
const LOOK: Duration = Duration::from_millis(20);
/// A process that could not start without its database is started again after this.
const RESTART_PAUSE_MS: u64 = 500;
/// What a process logs once it serves.
const SERVES: &str = "the API listens";
/// Lines of a log that are shown.
const LOG_LINES: usize = 20;

impl Stage {
    /// From the first start of the processes to the last act.
    pub(super) async fn tell(&mut self, story: &Story) -> Result<()> {
        for process in &mut self.processes {
            process.start()?;
        }
        for (number, (pause_ms, act)) in story.acts.iter().enumerate() {
            self.pause(Duration::from_millis(*pause_ms)).await?;
            self.note(format_args!("{number}. {act:?}"));
            self.perform(act).await.with_context(|| format!("in act {number}, {act:?}"))?;
        }
        Ok(())
    }

    async fn perform(&mut self, act: &Act) -> Result<()> {
        match act {
            Act::Grow { steps, every_ms } => {
                for _ in 0..*steps {
                    self.step().await?;
                    self.pause(Duration::from_millis(*every_ms)).await?;
                }
            }
            Act::Burst { steps, blocks } => {
                let calls = Arc::clone(&self.calls);
                let _none = calls.write().await;
                for _ in 0..*steps {
                    self.traffic.send_next(&self.node).await?;
                }
                self.node.mine(*blocks).await?;
            }
            Act::Reorganise { depth } => {
                let calls = Arc::clone(&self.calls);
                let _none = calls.write().await;
                let reorg = self.traffic.reorg(&self.node, *depth).await?;
                self.counts.reorgs += u64::from(reorg.depth > 0);
                self.counts.blocks_orphaned += reorg.depth;
                self.note(format_args!("   {} blocks above {} replaced", reorg.depth, reorg.ancestor));
            }
            Act::Trouble { place, trouble, permille, ms } => {
                let places = 0..self.proxies.len();
                for place in places.filter(|at| place.is_none_or(|place| place == *at)) {
                    self.proxies[place].trouble(*trouble, *permille);
                    // It is this trouble's end that counts.
                    self.due.retain(|(_, what)| *what != Due::Calm(place));
                    self.later(*ms, Due::Calm(place));
                }
            }
            Act::Kill { process, down_ms } => {
                // What was due of it is over: it is another process that is started.
                self.due.retain(|(_, what)| ![Due::Start(*process), Due::Thaw(*process)].contains(what));
                self.counts.kills += u64::from(self.processes[*process].kill()?);
                self.later(*down_ms, Due::Start(*process));
            }
            Act::Freeze { process, ms } => {
                if self.processes[*process].freeze()? {
                    self.counts.freezes += 1;
                    self.later(*ms, Due::Thaw(*process));
                }
            }
            Act::EndSessions { all } => {
                self.disturbed = Some(Instant::now());
                let ended = repo::end_sessions(&mut self.connect().await?, *all).await?;
                self.counts.sessions_ended += ended;
                self.note(format_args!("   {ended} sessions ended"));
            }
            Act::RestartPostgres { crash } => {
                // None while it is being started anyway.
                if let Some(pid) = self.cluster.pid().and_then(Pid::from_raw) {
                    self.disturbed = Some(Instant::now());
                    kill_process(pid, if *crash { Signal::KILL } else { Signal::INT })?;
                    self.counts.postgres_restarts += 1;
                }
            }
            Act::Quiet { ms } => self.pause(Duration::from_millis(*ms)).await?,
        }
        self.attend().await
    }

    /// A step of traffic, and a block of it.
    pub(super) async fn step(&mut self) -> Result<()> {
        let calls = Arc::clone(&self.calls);
        let _none = calls.write().await;
        self.traffic.mine_next(&self.node).await?;
        Ok(())
    }

    /// Lets so much time go by.
    pub(super) async fn pause(&mut self, time: Duration) -> Result<()> {
        let until = Instant::now() + time;
        loop {
            self.attend().await?;
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            tokio::time::sleep(left.min(LOOK)).await;
        }
    }

    /// Does what is due, and sees that nobody has ended by himself.
    pub(super) async fn attend(&mut self) -> Result<()> {
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
            self.counts.starts_refused += 1;
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

    /// Everything that is still to come comes, and nothing is wrong with anybody any more.
    pub(super) async fn heal(&mut self) -> Result<()> {
        while !self.due.is_empty() {
            self.pause(LOOK).await?;
        }
        self.proxies.iter().for_each(Proxy::calm);
        Ok(())
    }
}
