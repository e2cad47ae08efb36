//! What a stream says, however it is written down.

use std::fmt::Display;
use std::time::Duration;

use plimsoll_bus::{BufferChannel, ChannelError, Sight, StoredEvent};
use plimsoll_store::{SequencerError, feed};
use plimsoll_types::api::{SequenceNumber, StreamEnd};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::{Slot, Wanted};
use crate::gateway::Listener;
use crate::problem::{Problem, ProblemKind};
use crate::repo::RepoError;
use crate::state::ApiState;

/// After so many pulses without a word a stream says that it lives.
const HEARTBEAT_PULSES: u32 = 10;

/// Why a stream ends, other than by its client's wish.
#[derive(Debug)]
pub(super) enum End {
    /// The process ends.
    Closing,
    /// The listener may not listen any more, or what follows cannot be read.
    Problem(Problem),
}

impl End {
    /// As a client is told.
    pub(super) fn tell(&self, after: i64) -> StreamEnd {
        let (code, detail) = match self {
            Self::Closing => ("shutting-down", "the server ends; connect again"),
            Self::Problem(problem) => (problem.kind.slug(), &*problem.detail),
        };
        StreamEnd { code: code.to_owned(), detail: detail.to_owned(), after: SequenceNumber(after) }
    }
}

impl From<Problem> for End {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl End {
    /// Of a channel; `unread`: what to say of one that cannot be read.
    pub(super) fn of<E: Display>(error: feed::ChannelError<E>, unread: impl FnOnce(E) -> Problem) -> Self {
        match error {
            feed::ChannelError::Closed => Self::Closing,
            feed::ChannelError::BeyondEnd { .. } | feed::ChannelError::Gone { .. } => {
                Problem::new(ProblemKind::InvalidCursor, error.to_string()).into()
            }
            feed::ChannelError::Source(error) => unread(error).into(),
        }
    }

    /// Before a stream has begun.
    pub(super) fn refuse(self) -> Problem {
        match self {
            Self::Problem(problem) => problem,
            Self::Closing => Problem::new(ProblemKind::Overloaded, "the server ends"),
        }
    }
}

impl From<ChannelError> for End {
    fn from(error: ChannelError) -> Self {
        Self::of(error, |error| match error {
            SequencerError::Database(error) => RepoError::from(error).into(),
            error => {
                tracing::error!(%error, "the stream of events cannot be read");
                Problem::new(ProblemKind::Internal, "the stream of events cannot be read")
            }
        })
    }
}

/// What a stream says.
#[derive(Debug)]
pub(super) enum Said {
    /// Something that is asked for: its number, and itself in JSON, which has no line breaks.
    Event { number: i64, json: String },
    /// Nothing new, for a while.
    Alive,
}

/// What a stream listens to.
pub(super) trait Heard: Send + 'static {
    /// What comes next, waiting for it; `None`: something that is not asked for. To drop the future is safe: nothing is lost.
    fn next(&mut self) -> impl Future<Output = Result<Option<Said>, End>> + Send;

    /// Everything up to this number was heard, or is not asked for.
    fn cursor(&self) -> i64;
}

/// The events of a tenant that pass a filter.
#[derive(Debug)]
pub(super) struct Events<Q> {
    query: Q,
    channel: BufferChannel,
}

impl<Q: Wanted> Events<Q> {
    /// Of the listener's tenant, as asked for.
    pub(super) async fn open(state: &ApiState, listener: &Listener, mut query: Q) -> Result<Self, Problem> {
        let sight = Sight::Tenants(vec![listener.principal().tenant_id]);
        let opened = state.feed().subscribe(sight, *query.after()).await;
        let channel = opened.map_err(|error| End::from(error).refuse())?;
        Ok(Self { query, channel })
    }
}

impl<Q: Wanted> Heard for Events<Q> {
    async fn next(&mut self) -> Result<Option<Said>, End> {
        let event = self.channel.next().await?;
        if self.query.wants(&event) { Q::said(&event).map(Some) } else { Ok(None) }
    }

    fn cursor(&self) -> i64 {
        self.channel.cursor()
    }
}

/// One client's stream.
#[derive(Debug)]
pub(super) struct Subscription<H> {
    state: ApiState,
    listener: Listener,
    heard: H,
    pulse: Interval,
    quiet_pulses: u32,
    _slot: Slot,
}

impl<H: Heard> Subscription<H> {
    /// For `listener`, in `slot`.
    pub(super) fn open(state: &ApiState, listener: Listener, slot: Slot, heard: H) -> Self {
        let period = Duration::from_millis(state.options().streams.pulse_ms);
        let mut pulse = interval_at(Instant::now() + period, period);
        pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { state: state.clone(), listener, heard, pulse, quiet_pulses: 0, _slot: slot }
    }

    /// Everything up to this number was said, or is not asked for.
    pub(super) fn after(&self) -> i64 {
        self.heard.cursor()
    }

    /// What comes next; waits for it. Once it has ended, it stays so.
    pub(super) async fn next(&mut self) -> Result<Said, End> {
        loop {
            // The pulse first: a stream that always has something to say is looked at too.
            let said = tokio::select! {
                biased;
                _ = self.pulse.tick() => {
                    self.listener.check(&self.state).await?;
                    self.quiet_pulses += 1;
                    if self.quiet_pulses >= HEARTBEAT_PULSES {
                        self.quiet_pulses = 0;
                        return Ok(Said::Alive);
                    }
                    continue;
                }
                // What is heard may outlast the server: other roles of the process listen too.
                () = self.state.feed().closed() => return Err(End::Closing),
                said = self.heard.next() => said?,
            };
            if let Some(said) = said {
                self.quiet_pulses = 0;
                return Ok(said);
            }
        }
    }
}

pub(super) fn envelope(event: &StoredEvent) -> Result<Said, End> {
    let broken = || Problem::new(ProblemKind::Internal, "an event has no envelope");
    let envelope = event.to_cloud_event().ok_or_else(broken)?;
    let json = serde_json::to_string(&envelope).map_err(|error| {
        tracing::error!(%error, sequence = event.sequence, "an event has no JSON form");
        broken()
    })?;
    Ok(Said::Event { number: envelope.sequence, json })
}
