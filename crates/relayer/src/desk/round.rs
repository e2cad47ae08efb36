//! Rounds through the queue.

use std::time::Duration;

use tokio::time::Instant;

use super::Shift;
use crate::book::{Book, Place};

/// A round through a queue in which something cannot enter takes so long at least.
const ROUND: Duration = Duration::from_secs(2);

/// A walk through the queue. What cannot enter is passed over, and comes up again in the next round: so it keeps nothing from entering, however much of it there is.
#[derive(Default)]
pub(super) struct Round {
    /// When something was passed over first.
    pub(super) began: Option<Instant>,
    /// What was looked at last.
    pub(super) at: Option<Place>,
}

impl<B: Book> Shift<'_, B> {
    /// Notes how far the queue was looked at; none: nothing of it was passed over. At its end the next round begins, though not at once.
    pub(super) fn go_round(&mut self, looked_at: Option<Place>, has_more: bool) {
        let Some(at) = looked_at else { return };
        let began = *self.round.began.get_or_insert_with(Instant::now);
        self.round.at = Some(at);
        if !has_more && began.elapsed() >= ROUND {
            self.round = Round::default();
        }
    }
}
