//! Keeps the roles running, and ends them in time.
//!
//! A role is a future that runs until it is cancelled. One that ends with an error is judged by its own crate: what may
//! pass (a node or a database that is away) is tried again with a growing pause, for ever; what a person must change ends
//! the whole process with the reason, because a process that does half its work and looks alive is worse than one that is
//! down. A panic is a defect and ends the process too. A chain that halts at a reorganisation below finality is neither:
//! its role waits for an operator, `/readyz` says so, and everything else goes on.
//!
//! *Why the end is bounded*: the roles get [`ROLES_LIMIT`] after the signal and are then dropped, which is safe since they
//! commit effects and cursors together; the private server gets what is left of [`SHUTDOWN_LIMIT`].

use std::future::Future;
use std::time::Duration;

use plimsoll_api::Roles;
use plimsoll_types::api::RoleState;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;

/// From the signal to the end of the process.
pub(crate) const SHUTDOWN_LIMIT: Duration = Duration::from_secs(5);
/// From the signal to the end of the roles.
pub(crate) const ROLES_LIMIT: Duration = Duration::from_secs(2);

/// How long a role rests between its attempts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pauses {
    /// After the first failure; each next one doubles it.
    first: Duration,
    longest: Duration,
    /// A role that ran for so long was well: its next pause is the first again.
    well_after: Duration,
}

impl Default for Pauses {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(250),
            longest: Duration::from_secs(30),
            well_after: Duration::from_secs(60),
        }
    }
}

impl Pauses {
    /// The pause after an attempt that lasted `ran` and followed on a pause of `previous`.
    fn next(&self, previous: Option<Duration>, ran: Duration) -> Duration {
        match previous {
            Some(previous) if ran < self.well_after => (previous * 2).min(self.longest),
            _ => self.first,
        }
    }
}

/// Why a role ended before it was told to.
#[derive(Debug)]
pub(crate) enum End {
    /// It may pass: try again.
    MayPass(String),
    /// A person must change something.
    Fatal(Failure),
}

/// The role's name, and the chain that it works on.
#[derive(Clone, Debug)]
pub(crate) struct Name {
    pub(crate) role: &'static str,
    pub(crate) chain_id: Option<u64>,
}

/// The running roles of this process.
#[derive(Debug)]
pub(crate) struct Supervisor {
    board: Roles,
    cancel: CancellationToken,
    pauses: Pauses,
    tasks: JoinSet<Result<(), Failure>>,
    names: Vec<(Id, Name)>,
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.chain_id {
            Some(chain_id) => write!(f, "{} of chain {chain_id}", self.role),
            None => f.write_str(self.role),
        }
    }
}

impl Supervisor {
    pub(crate) fn new(board: Roles, cancel: CancellationToken) -> Self {
        Self { board, cancel, pauses: Pauses::default(), tasks: JoinSet::new(), names: Vec::new() }
    }

    /// Starts a role. `run` is called for each attempt, and should return `Ok` only when it was cancelled.
    pub(crate) fn spawn<R, F>(&mut self, role: &'static str, chain_id: Option<u64>, run: R)
    where
        R: FnMut(CancellationToken) -> F + Send + 'static,
        F: Future<Output = Result<(), End>> + Send + 'static,
    {
        let name = Name { role, chain_id };
        self.board.report(role, chain_id, RoleState::Starting, None);
        let handle = self.tasks.spawn(keep_running(
            name.clone(),
            self.board.clone(),
            self.pauses,
            self.cancel.clone(),
            run,
        ));
        self.names.push((handle.id(), name));
    }

    /// Starts a role that works only while this process holds `lease`, and stands by while another does.
    pub(crate) fn spawn_leased<R, F>(
        &mut self,
        role: &'static str,
        chain_id: Option<u64>,
        lease: String,
        run: R,
    ) where
        R: FnMut(CancellationToken) -> F + Send + 'static,
        F: Future<Output = Result<(), End>> + Send + 'static,
    {
        self.board.needs_lease(role, chain_id, lease);
        self.spawn(role, chain_id, run);
    }

    /// Waits until a role ends for good: with its failure, or because everything was cancelled.
    pub(crate) async fn watch(&mut self) -> Result<(), Failure> {
        while let Some(ended) = self.tasks.join_next_with_id().await {
            self.judge(ended)?;
        }
        Ok(())
    }

    /// Tells every role to end, and drops those that do not in time. Returns the first failure among them.
    pub(crate) async fn end(&mut self, deadline: Instant) -> Result<(), Failure> {
        self.cancel.cancel();
        let mut first = Ok(());
        loop {
            match tokio::time::timeout_at(deadline, self.tasks.join_next_with_id()).await {
                Ok(Some(ended)) => first = first.and(self.judge(ended)),
                Ok(None) => return first,
                Err(_) => break,
            }
        }
        let late: Vec<String> = self.names.iter().map(|(_, name)| name.to_string()).collect();
        tracing::warn!(
            roles = late.join(", "),
            limit_ms = ROLES_LIMIT.as_millis(),
            "did not end in time and were cut off; what they had not committed did not happen"
        );
        self.tasks.abort_all();
        first
    }

    fn judge(&mut self, ended: Result<(Id, Result<(), Failure>), JoinError>) -> Result<(), Failure> {
        let id = match &ended {
            Ok((id, _)) => *id,
            Err(error) => error.id(),
        };
        let name =
            self.names.iter().position(|(known, _)| *known == id).map(|at| self.names.swap_remove(at).1);
        match ended {
            Ok((_, outcome)) => outcome,
            Err(error) if error.is_panic() => {
                let name = name.map_or_else(|| "a role".into(), |name| format!("the role {name}"));
                Err(Failure::new(format!("{name} panicked"))
                    .remedy("this is a defect of Plimsoll: please report it with the log line above; a restart goes on from what was committed"))
            }
            Err(_) => Ok(()),
        }
    }
}

async fn keep_running<R, F>(
    name: Name,
    board: Roles,
    pauses: Pauses,
    cancel: CancellationToken,
    mut run: R,
) -> Result<(), Failure>
where
    R: FnMut(CancellationToken) -> F + Send,
    F: Future<Output = Result<(), End>> + Send,
{
    let report = |state, detail| board.report(name.role, name.chain_id, state, detail);
    let mut pause = None;
    loop {
        report(RoleState::Running, None);
        let started = Instant::now();
        let outcome = run(cancel.clone()).await;
        if cancel.is_cancelled() {
            report(RoleState::Stopped, None);
            return Ok(());
        }
        let next = pauses.next(pause, started.elapsed());
        match outcome {
            Ok(()) => tracing::debug!(
                role = name.role,
                chain_id = name.chain_id,
                "the role gave way; it starts again"
            ),
            Err(End::Fatal(failure)) => {
                report(RoleState::Stopped, Some(failure.to_string()));
                return Err(failure);
            }
            Err(End::MayPass(error)) => {
                tracing::warn!(
                    role = name.role,
                    chain_id = name.chain_id,
                    error,
                    retry_ms = next.as_millis(),
                    "failed; trying again"
                );
                metrics::counter!("role_restarts_total", "role" => name.role).increment(1);
                report(RoleState::Retrying, Some(error));
            }
        }
        if cancel.run_until_cancelled(tokio::time::sleep(next)).await.is_none() {
            report(RoleState::Stopped, None);
            return Ok(());
        }
        pause = Some(next);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn supervisor() -> Supervisor {
        let pauses = Pauses {
            first: Duration::from_millis(1),
            longest: Duration::from_millis(2),
            ..Pauses::default()
        };
        Supervisor { pauses, ..Supervisor::new(Roles::default(), CancellationToken::new()) }
    }

    #[test]
    fn pauses_grow_to_a_limit_and_begin_again_after_a_good_run() {
        let pauses = Pauses::default();
        let mut pause = None;
        let mut seen = Vec::new();
        for _ in 0..9 {
            pause = Some(pauses.next(pause, Duration::ZERO));
            seen.extend(pause.map(|p| p.as_millis()));
        }
        assert_eq!(seen, [250, 500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]);
        assert_eq!(pauses.next(pause, Duration::from_secs(60)).as_millis(), 250);
    }

    #[tokio::test]
    async fn what_may_pass_is_tried_again_until_something_fatal_ends_it() {
        let mut supervisor = supervisor();
        let attempts = Arc::new(AtomicU32::new(0));
        let count = attempts.clone();
        supervisor.spawn("ingest", Some(1), move |_| {
            let attempt = count.fetch_add(1, Ordering::Relaxed);
            async move {
                match attempt {
                    0..4 => Err(End::MayPass("the node is away".into())),
                    4 => Ok(()),
                    _ => Err(End::Fatal(Failure::new("enough"))),
                }
            }
        });
        assert_eq!(supervisor.watch().await.unwrap_err().to_string(), "error: enough");
        assert_eq!(attempts.load(Ordering::Relaxed), 6);
    }

    #[tokio::test]
    async fn a_panic_ends_with_the_roles_name() {
        let mut supervisor = supervisor();
        supervisor.spawn("views", Some(7), |_| async { panic!("a defect") });
        let failure = supervisor.watch().await.unwrap_err().to_string();
        assert!(failure.contains("the role views of chain 7 panicked"), "{failure}");
    }

    #[tokio::test]
    async fn a_role_that_does_not_listen_is_cut_off() {
        let mut supervisor = supervisor();
        let (held, dropped) = tokio::sync::oneshot::channel::<()>();
        let mut held = Some(held);
        supervisor.spawn("verify", None, move |_| {
            let held = held.take();
            async move {
                std::future::pending::<()>().await;
                drop(held);
                Ok(())
            }
        });
        tokio::task::yield_now().await;
        supervisor.end(Instant::now()).await.unwrap();
        assert!(dropped.await.is_err(), "the role's future was dropped");
    }

    #[tokio::test]
    async fn roles_that_listen_end_at_once_and_the_board_says_so() {
        let mut supervisor = supervisor();
        let board = supervisor.board.clone();
        supervisor.spawn("api", None, |cancel| async move {
            cancel.cancelled().await;
            Ok(())
        });
        supervisor.end(Instant::now() + ROLES_LIMIT).await.unwrap();
        assert_eq!(board.snapshot()[0].state, RoleState::Stopped);
    }
}
