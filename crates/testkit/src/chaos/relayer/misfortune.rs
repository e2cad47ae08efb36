//! What may happen on the way to the database and back.

use std::time::Duration;

use tokio::time::Instant;

use crate::chaos::dice::Dice;

/// How the database fares.
#[derive(Debug)]
pub(super) struct Misfortune {
    pub(super) dice: Dice,
    /// Of a thousand transactions, so many do not come through.
    pub(super) lost_permille: u32,
    /// Of a thousand, so many come through, and their answer does not.
    pub(super) answer_lost_permille: u32,
    /// How long the way there and back takes at most, in milliseconds.
    pub(super) slowest_ms: u64,
    /// How much longer a transaction waits there for others at most, in milliseconds.
    pub(super) busy_ms: u64,
    /// Until when it cannot be reached at all.
    pub(super) down_until: Option<Instant>,
    pub(super) lost: u64,
    pub(super) answers_lost: u64,
}

/// What chance has in store for a transaction.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fate {
    pub(super) there: Duration,
    pub(super) back: Duration,
    pub(super) is_lost: bool,
    pub(super) is_unanswered: bool,
}

impl Misfortune {
    /// What happens to the next transaction.
    pub(super) fn draw(&mut self) -> Fate {
        let is_down = self.down_until.is_some_and(|until| until > Instant::now());
        let dice = &mut self.dice;
        let there = Duration::from_millis(dice.up_to(self.slowest_ms + self.busy_ms));
        let back = Duration::from_millis(dice.up_to(self.slowest_ms));
        let is_lost = dice.permille(self.lost_permille) || is_down;
        let is_unanswered = !is_lost && dice.permille(self.answer_lost_permille);
        self.lost += u64::from(is_lost);
        self.answers_lost += u64::from(is_unanswered);
        Fate { there, back, is_lost, is_unanswered }
    }
}
