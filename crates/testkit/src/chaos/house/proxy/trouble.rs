//! How an endpoint treats what it is asked, for a while.

use std::time::Duration;

use crate::chaos::dice::Dice;

/// Requests that an endpoint allows each second while it is limited.
pub(super) const ALLOWED_PER_SECOND: u32 = 5;

/// What is done to one request or its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It takes its time.
    Slow(Duration),
    /// The connection breaks before the node has the question.
    Lost,
    /// The node has executed it, and the connection breaks before the answer.
    AnswerLost,
    /// Nothing is heard of it for as long as the trouble lasts.
    Silent,
    /// This status, with HTML.
    Html(u16),
    /// 429, with how long to wait in seconds or without.
    TooMany(Option<u64>),
    /// The body breaks off in its midst, and the connection with it.
    Truncated,
    /// The body is whole by its length, and its second half is missing.
    Halved,
    /// What was answered to the very same question before.
    Repeated,
    /// The node has executed it, and nothing is heard of that for as long as the trouble lasts.
    Withheld,
    /// Transactions that are sent reach the node the last one first.
    Reversed,
    /// They are answered as taken, and the node never sees them.
    Dropped,
    /// They are called known already, and the node never sees them.
    Known,
    /// Their nonces are called too low, and the node never sees them.
    Low,
}

impl Fault {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Slow(_) => "slow",
            Self::Lost => "lost",
            Self::AnswerLost => "answer_lost",
            Self::Silent => "silent",
            Self::Html(_) => "html",
            Self::TooMany(_) => "too_many",
            Self::Truncated => "truncated",
            Self::Halved => "halved",
            Self::Repeated => "repeated",
            Self::Withheld => "withheld",
            Self::Reversed => "reversed",
            Self::Dropped => "dropped",
            Self::Known => "already_known",
            Self::Low => "nonce_too_low",
        }
    }

    /// Whether only transactions that are sent can meet it.
    pub(super) const fn is_about_sends(self) -> bool {
        matches!(self, Self::Reversed | Self::Dropped | Self::Known | Self::Low)
    }
}

/// A way to be in trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// A little of everything.
    Flaky,
    /// No connection lives long enough.
    Down,
    /// Connections, and no answers.
    Mute,
    /// Server errors in HTML.
    Failing,
    /// Asked more often than it allows.
    Limited,
    /// What arrives is not all that was sent.
    Garbled,
    /// Everything takes long.
    Slow,
    /// What was answered before is answered again: its head stands still.
    Stale,
    /// It takes what it is asked, and says nothing.
    Withholding,
    /// Transactions arrive in another order than they were sent in.
    Shuffling,
    /// It says that it has transactions, or that their nonces are used, and drops them.
    Deceiving,
}

impl Trouble {
    pub(crate) const ALL: [Self; 8] = [
        Self::Flaky,
        Self::Down,
        Self::Mute,
        Self::Failing,
        Self::Limited,
        Self::Garbled,
        Self::Slow,
        Self::Stale,
    ];

    /// Those that are about transactions which are sent.
    pub(crate) const OF_SENDS: [Self; 3] = [Self::Withholding, Self::Shuffling, Self::Deceiving];

    /// What happens to a request, if anything does. In this second `asked` were asked, with this one.
    pub(super) fn fault(self, asked: u32, dice: &mut Dice) -> Option<Fault> {
        let slow = Fault::Slow(Duration::from_millis(dice.within(50, 800)));
        let html = Fault::Html(dice.pick(&[500, 502, 502, 503]));
        let too_many = Fault::TooMany(dice.pick(&[None, Some(1), Some(1), Some(2)]));
        let cut = dice.pick(&[Fault::Truncated, Fault::Halved]);
        let lost = dice.pick(&[Fault::Lost, Fault::AnswerLost]);
        let flaky = [slow, lost, html, cut, Fault::Repeated];
        let flaky = if dice.permille(30) { too_many } else { flaky[dice.index(flaky.len())] };
        let flaky = dice.permille(400).then_some(flaky);
        match self {
            Self::Flaky => flaky,
            Self::Down => Some(lost),
            Self::Mute => Some(Fault::Silent),
            Self::Failing => Some(html),
            Self::Limited => (asked > ALLOWED_PER_SECOND).then_some(too_many),
            Self::Garbled => Some(cut),
            Self::Slow => Some(slow),
            Self::Stale => Some(Fault::Repeated),
            Self::Withholding => Some(Fault::Withheld),
            Self::Shuffling => Some(dice.pick(&[Fault::Reversed, slow])),
            Self::Deceiving => {
                Some(dice.pick(&[Fault::Dropped, Fault::Dropped, Fault::Known, Fault::Known, Fault::Low]))
            }
        }
    }
}
