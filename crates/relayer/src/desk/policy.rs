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
/// So often in a row must all who answered have called these bytes hopeless, before they are given up: one of them may be misled, or mislead.
const GIVE_UP_AFTER: u32 = 3;
/// So often must bytes have been called a poor replacement before they are outbid: some nodes say so of the very same bytes.
const OUTBID_AFTER: u32 = 3;
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
    /// How often in a row nobody who answered would ever take these bytes.
    pub(crate) refusals: u32,
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
            refusals: 0,
            first_sent: None,
            sent: None,
            answer: None,
            trouble: None,
            not_before: None,
        }
    }

    /// What is known after another attempt was made, because of what was answered to this one. So that whoever refuses everything is asked more and more rarely, and not for ever.
    pub(crate) fn succeeded_by(&self, flight: Flight) -> Self {
        Self { sends: self.sends, refusals: self.refusals, ..Self::new(flight) }
    }

    /// Takes an answer to its latest attempt.
    pub(crate) fn note(&mut self, answer: SendAnswer, detail: Option<String>, now: Instant) {
        self.is_in_hand = false;
        self.answer = Some(answer);
        if answer.is_taken() {
            (self.trouble, self.not_before, self.refusals) = (None, None, 0);
            return;
        }
        if is_hopeless(answer) {
            self.refusals = self.refusals.saturating_add(1);
        }
        self.trouble = Some(detail.unwrap_or_else(|| answer.as_str().to_owned()));
        self.not_before = Some(now + self.pause());
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
    /// The lowest nonce that most endpoints do not call consumed; 0: they are not believed now.
    pub(crate) floor: u64,
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
    /// Another attempt is made, if that helps, else the same is sent once more.
    Replace(Replacement),
    /// These bytes will never be included: its end is asked for.
    GiveUp,
}

/// What another attempt is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Replacement {
    /// A better offer, if the market asks for one.
    Bump,
    /// A better offer, whatever the market says: nobody takes this one for what it offers, or somebody asks for it.
    Outbid,
    /// More gas, if it is estimated to need more now.
    Gas,
    /// A transaction that does nothing takes its nonce, if it can.
    Cancel,
}

/// Whether whoever says so will never take these bytes, or runs them before it takes them and they fail. An endpoint of another chain says nothing of this one.
fn is_hopeless(answer: SendAnswer) -> bool {
    answer == SendAnswer::Reverted || answer.needs_other_bytes() && answer != SendAnswer::WrongChain
}

/// Decides.
pub(crate) fn next(live: &Live, view: View) -> Next {
    let waits = live.not_before.is_some_and(|until| view.now < until);
    if live.is_in_hand || live.flight.latest.nonce < view.front {
        return Next::Wait;
    }
    // Its endpoint says what most say: the journal, which lags, tells whose it was.
    let is_refused_as_consumed = matches!(live.answer, Some(SendAnswer::NonceTooLow { .. }));
    if is_refused_as_consumed && live.flight.latest.nonce < view.floor {
        return Next::Wait;
    }
    let does_something = matches!(live.flight.latest.purpose, AttemptPurpose::Send | AttemptPurpose::Bump);
    if live.flight.end_wanted.is_some() && does_something {
        return if waits { Next::Wait } else { Next::Replace(Replacement::Cancel) };
    }
    if live.flight.speed_up.is_some() && does_something {
        return if waits { Next::Wait } else { Next::Replace(Replacement::Outbid) };
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
            true if is_overdue && wants_more => Next::Replace(Replacement::Bump),
            true if is_overdue => Next::Send,
            false if waited >= view.resend_after * BEHIND => Next::Send,
            _ => Next::Wait,
        };
    }
    if is_hopeless(answer) && does_something {
        let is_estimated = live.flight.gas_asked.is_none();
        return match answer {
            _ if live.refusals >= GIVE_UP_AFTER => Next::GiveUp,
            // Where gas pays for the parent chain's calldata, what it needs rises and falls.
            SendAnswer::IntrinsicGasTooLow if is_estimated => Next::Replace(Replacement::Gas),
            _ => Next::Send,
        };
    }
    match answer {
        SendAnswer::ReplacementUnderpriced if live.sends < OUTBID_AFTER => Next::Replace(Replacement::Bump),
        _ if answer.is_about_fees() => Next::Replace(Replacement::Outbid),
        _ => Next::Send,
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{Address, B256, Bytes, U256};
    use plimsoll_types::TransactionState;
    use time::OffsetDateTime;
    use uuid::Uuid;

    use super::*;
    use crate::attempt::Attempt;
    use crate::fees::Fees;
    use crate::request::Call;

    const NONCE: u64 = 7;

    fn live(purpose: AttemptPurpose) -> Live {
        Live::new(Flight {
            call: Call { to: Some(Address::ZERO), value: U256::ZERO, data: Bytes::new() },
            gas_asked: None,
            max_fee_limit: None,
            priority: 0,
            end_wanted: None,
            speed_up: None,
            is_fill: false,
            committed_at: OffsetDateTime::UNIX_EPOCH,
            latest: Attempt {
                transaction_id: Uuid::nil(),
                tenant_id: None,
                nonce: NONCE,
                number: 1,
                purpose,
                fees: Fees { max_fee_per_gas: 2, max_priority_fee_per_gas: Some(1) },
                gas_limit: 21_000,
                raw: Bytes::new(),
                tx_hash: B256::ZERO,
                why: String::new(),
            },
        })
    }

    fn view(now: Instant) -> View {
        View {
            now,
            head: 100,
            front: NONCE,
            floor: 0,
            resend_after_blocks: 3,
            bump_after_blocks: 6,
            resend_after: Duration::from_secs(30),
        }
    }

    /// What comes next, answer after answer, once each pause is over.
    fn after(mut live: Live, answers: &[SendAnswer]) -> Next {
        let mut now = Instant::now();
        for answer in answers {
            live.sends += 1;
            live.sent = Some((now, 100));
            live.note(*answer, None, now);
            assert_eq!(next(&live, view(now)), Next::Wait, "{answer:?} is not paused after");
            now += MAX_PAUSE;
        }
        next(&live, view(now))
    }

    #[test]
    fn each_answer_has_its_consequence() {
        use AttemptPurpose::{Cancel, Fill, Send};
        use Next::{GiveUp, Replace};
        use SendAnswer as A;
        let too_low = A::NonceTooLow { next: None };
        for (purpose, answers, expected) in [
            (Send, &[][..], Next::Send),
            (Send, &[A::Unknown], Next::Send),
            (Send, &[too_low, too_low, too_low, too_low], Next::Send),
            // Another chain's endpoint says nothing of this one, however often.
            (Send, &[A::WrongChain; 20], Next::Send),
            (Send, &[A::TooLarge; 2], Next::Send),
            (Send, &[A::TooLarge, A::Unknown, A::TooLarge, A::Malformed], GiveUp),
            (Send, &[A::Reverted; 3], GiveUp),
            // What does nothing must come through.
            (Cancel, &[A::TooLarge; 20], Next::Send),
            (Fill, &[A::Reverted; 20], Next::Send),
            (Send, &[A::IntrinsicGasTooLow; 2], Replace(Replacement::Gas)),
            (Send, &[A::IntrinsicGasTooLow; 3], GiveUp),
            (Send, &[A::Underpriced], Replace(Replacement::Outbid)),
            (Cancel, &[A::FeeBelowBase], Replace(Replacement::Outbid)),
            (Send, &[A::ReplacementUnderpriced; 2], Replace(Replacement::Bump)),
            (Send, &[A::ReplacementUnderpriced; 3], Replace(Replacement::Outbid)),
            (Send, &[A::InsufficientFunds; 20], Next::Send),
        ] {
            assert_eq!(after(live(purpose), answers), expected, "{purpose:?} {answers:?}");
        }
    }

    #[test]
    fn what_most_endpoints_call_consumed_is_not_sent_to_who_refuses_it_as_that() {
        let now = Instant::now();
        let mut refused = live(AttemptPurpose::Send);
        (refused.sends, refused.sent) = (1, Some((now, 100)));
        refused.note(SendAnswer::NonceTooLow { next: None }, None, now);
        let later = View { floor: NONCE + 1, ..view(now + MAX_PAUSE) };
        assert_eq!(next(&refused, later), Next::Wait);
        // Not on one's word alone, nor once they have taken it back; and another trouble is none of that.
        assert_eq!(next(&refused, View { floor: NONCE, ..later }), Next::Send);
        refused.note(SendAnswer::Unknown, None, now);
        assert_eq!(next(&refused, later), Next::Send);
    }

    #[test]
    fn gas_that_was_asked_for_is_not_estimated_anew() {
        let mut asked = live(AttemptPurpose::Send);
        asked.flight.gas_asked = Some(21_000);
        assert_eq!(after(asked, &[SendAnswer::IntrinsicGasTooLow]), Next::Send);
    }

    #[test]
    fn a_yes_forgets_the_refusals_and_another_attempt_does_not() {
        let mut once = live(AttemptPurpose::Send);
        let now = Instant::now();
        once.note(SendAnswer::TooLarge, None, now);
        assert_eq!(once.succeeded_by(once.flight.clone()).refusals, 1);
        once.note(SendAnswer::Accepted, None, now);
        assert_eq!((once.refusals, once.not_before), (0, None));
    }

    #[test]
    fn an_end_that_is_asked_for_is_competed_for_at_once() {
        let mut wished = live(AttemptPurpose::Send);
        wished.flight.end_wanted = Some((TransactionState::Cancelled, String::new()));
        let now = Instant::now();
        assert_eq!(next(&wished, view(now)), Next::Replace(Replacement::Cancel));
        wished.is_in_hand = true;
        assert_eq!(next(&wished, view(now)), Next::Wait);
    }

    #[test]
    fn more_is_offered_at_once_where_it_is_asked_for_and_an_end_comes_before_it() {
        let mut wished = live(AttemptPurpose::Send);
        let now = Instant::now();
        (wished.sends, wished.sent) = (1, Some((now, 100)));
        wished.note(SendAnswer::Accepted, None, now);
        assert_eq!(next(&wished, view(now)), Next::Wait);
        wished.flight.speed_up = Some("user:1 asks for it: a deadline".into());
        assert_eq!(next(&wished, view(now)), Next::Replace(Replacement::Outbid));
        // What could not be had a moment ago is not asked for again at once.
        wished.not_before = Some(now + PAUSE);
        assert_eq!(next(&wished, view(now)), Next::Wait);
        wished.not_before = None;
        wished.flight.end_wanted = Some((TransactionState::Cancelled, String::new()));
        assert_eq!(next(&wished, view(now)), Next::Replace(Replacement::Cancel));
        let mut cancelling = live(AttemptPurpose::Cancel);
        cancelling.flight.speed_up = Some("user:1 asks for it: a deadline".into());
        assert_eq!(next(&cancelling, view(now)), Next::Send, "what does nothing is for the desk to price");
    }
}
