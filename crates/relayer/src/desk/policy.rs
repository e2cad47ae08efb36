//! What is done next for a request that is under way. Pure.

use std::time::Duration;

use plimsoll_types::AttemptPurpose;
use tokio::time::Instant;

use crate::answer::SendAnswer;
use crate::attempt::Flight;

/// The first pause after an answer that is none, or not yet a yes. It doubles with each.
const PAUSE: Duration = Duration::from_millis(250);
/// The longest.
const MAX_PAUSE: Duration = Duration::from_secs(15);
/// Those behind the front were taken by a node and wait for others: they are sent again so many times more rarely.
const BEHIND: u32 = 5;

/// A request that is under way, as this process has worked it.
#[derive(Clone, Debug)]
pub(crate) struct Live {
    pub(crate) flight: Flight,
    /// Its latest attempt is being sent, or another is being made.
    pub(crate) is_in_hand: bool,
    /// How often its latest attempt was sent from here.
    pub(crate) sends: u32,
    /// At which head it was sent first.
    pub(crate) first_sent: Option<u64>,
    /// When last, and at which head.
    pub(crate) sent: Option<(Instant, u64)>,
    /// What came of it.
    pub(crate) answer: Option<SendAnswer>,
    /// What keeps it, in words.
    pub(crate) trouble: Option<String>,
    /// Nothing is done about it before.
    pub(crate) not_before: Option<Instant>,
}

impl Live {
    pub(crate) fn new(flight: Flight) -> Self {
        Self {
            flight,
            is_in_hand: false,
            sends: 0,
            first_sent: None,
            sent: None,
            answer: None,
            trouble: None,
            not_before: None,
        }
    }

    /// How long to wait after this many sends that came to nothing.
    pub(crate) fn pause(&self) -> Duration {
        PAUSE.saturating_mul(1 << self.sends.min(10)).min(MAX_PAUSE)
    }
}

/// What everything under way has in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View {
    pub(crate) now: Instant,
    /// The newest block.
    pub(crate) head: u64,
    /// The lowest nonce that no block has consumed: what waits behind it cannot be included.
    pub(crate) front: u64,
    /// After so many blocks without it, what was taken is sent again.
    pub(crate) resend_after_blocks: u64,
    /// After so many since it was first sent, with a better offer where that helps.
    pub(crate) bump_after_blocks: u64,
    /// Or after this time, where no blocks come.
    pub(crate) resend_after: Duration,
}

/// What is done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing now.
    Wait,
    /// Its bytes are sent, once more if need be: whoever has them says so.
    Send,
    /// A better offer is made, if that helps, else the same is sent once more.
    Bump,
    /// A transaction that does nothing takes its nonce, if it can.
    Cancel,
    /// These bytes will never be included: its end is asked for.
    GiveUp,
}

/// Decides.
pub(crate) fn next(live: &Live, view: View) -> Next {
    let waits = live.not_before.is_some_and(|until| view.now < until);
    if live.is_in_hand || live.flight.latest.nonce < view.front {
        return Next::Wait;
    }
    let does_something = matches!(live.flight.latest.purpose, AttemptPurpose::Send | AttemptPurpose::Bump);
    if live.flight.end_wanted.is_some() && does_something {
        return if waits { Next::Wait } else { Next::Cancel };
    }
    let (Some(answer), Some((at, head))) = (live.answer, live.sent) else { return Next::Send };
    if waits {
        return Next::Wait;
    }
    if answer.is_taken() {
        let is_front = live.flight.latest.nonce == view.front;
        let waited = view.now.saturating_duration_since(at);
        let is_overdue = waited >= view.resend_after
            || view.head.saturating_sub(head) >= view.resend_after_blocks && view.resend_after_blocks > 0;
        let since_first = view.head.saturating_sub(live.first_sent.unwrap_or(head));
        let wants_more = since_first >= view.bump_after_blocks || waited >= view.resend_after;
        return match is_front {
            true if is_overdue && wants_more => Next::Bump,
            true if is_overdue => Next::Send,
            false if waited >= view.resend_after * BEHIND => Next::Send,
            _ => Next::Wait,
        };
    }
    if answer.needs_other_bytes() {
        return if does_something { Next::GiveUp } else { Next::Bump };
    }
    if answer.is_about_fees() { Next::Bump } else { Next::Send }
}
