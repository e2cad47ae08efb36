//! What a stream says, however it is written down.

use std::time::Duration;

use plimsoll_bus::{BufferChannel, ChannelError, Sight, StoredEvent};
use plimsoll_store::SequencerError;
use plimsoll_types::api::{SequenceNumber, StreamEnd};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::{Slot, StreamQuery};
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

impl From<ChannelError> for End {
    fn from(error: ChannelError) -> Self {
        match error {
            ChannelError::Closed => Self::Closing,
            ChannelError::BeyondEnd { .. } | ChannelError::Gone { .. } => {
                Problem::new(ProblemKind::InvalidCursor, error.to_string()).into()
            }
            ChannelError::Database(error) | ChannelError::Stream(SequencerError::Database(error)) => {
                Problem::from(RepoError::from(error)).into()
            }
            ChannelError::Stream(error) => {
                tracing::error!(%error, "the stream of events cannot be read");
                Problem::new(ProblemKind::Internal, "the stream of events cannot be read").into()
            }
        }
    }
}

/// What a stream says.
#[derive(Debug)]
pub(super) enum Said {
    /// An event that is asked for: its number, and its envelope in JSON, which has no line breaks.
    Event { number: i64, json: String },
    /// Nothing new, for a while.
    Alive,
}

/// One client's stream of events.
#[derive(Debug)]
pub(super) struct Subscription {
    state: ApiState,
    listener: Listener,
    query: StreamQuery,
    channel: BufferChannel,
    pulse: Interval,
    quiet_pulses: u32,
    _slot: Slot,
}

impl Subscription {
    /// For `listener`, in `slot`, after `after`.
    pub(super) async fn open(
        state: &ApiState,
        listener: Listener,
        slot: Slot,
        query: StreamQuery,
    ) -> Result<Self, Problem> {
        let sight = Sight::Tenants(vec![listener.principal().tenant_id]);
        let opened = state.feed().subscribe(state.db(), sight, query.after).await;
        let channel = opened.map_err(|error| match End::from(error) {
            End::Problem(problem) => problem,
            End::Closing => Problem::new(ProblemKind::Overloaded, "the server ends"),
        })?;
        let period = Duration::from_millis(state.options().streams.pulse_ms);
        let mut pulse = interval_at(Instant::now() + period, period);
        pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self { state: state.clone(), listener, query, channel, pulse, quiet_pulses: 0, _slot: slot })
    }

    /// Everything up to this number was said, or is not asked for.
    pub(super) fn after(&self) -> i64 {
        self.channel.cursor()
    }

    /// What comes next; waits for it. Once it has ended, it stays so.
    pub(super) async fn next(&mut self) -> Result<Said, End> {
        loop {
            // The pulse first: a stream that always has something to say is looked at too.
            let event = tokio::select! {
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
                event = self.channel.next() => event?,
            };
            if self.query.wants(&event) {
                self.quiet_pulses = 0;
                return envelope(&event);
            }
        }
    }
}

fn envelope(event: &StoredEvent) -> Result<Said, End> {
    let broken = || Problem::new(ProblemKind::Internal, "an event has no envelope");
    let envelope = event.to_cloud_event().ok_or_else(broken)?;
    let json = serde_json::to_string(&envelope).map_err(|error| {
        tracing::error!(%error, sequence = event.sequence, "an event has no JSON form");
        broken()
    })?;
    Ok(Said::Event { number: envelope.sequence, json })
}
