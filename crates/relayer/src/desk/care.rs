//! Looking after what is under way: it is sent again, offered more for, or called off.

use plimsoll_types::TransactionState;
use tokio::time::Instant;

use super::broadcast::Reach;
use super::market::Prices;
use super::policy::{self, Live, Next, View};
use super::{BATCH_MAX, Shift};
use crate::book::{Book, BookError, Ending};

impl<B: Book> Shift<'_, B> {
    /// Looks after what is under way.
    pub(super) async fn care(&mut self, prices: &Prices) -> Result<(), BookError> {
        let view = View {
            now: Instant::now(),
            head: prices.head,
            front: self.front(),
            floor: self.floor.unwrap_or(0),
            resend_after_blocks: self.desk.options.resend_after_blocks,
            bump_after_blocks: self.desk.options.bump_after_blocks,
            resend_after: self.desk.options.resend_after,
        };
        let mut to_send = Vec::new();
        let mut to_replace = Vec::new();
        let mut to_end = Vec::new();
        for live in self.live.values() {
            match policy::next(live, view) {
                Next::Wait => {}
                Next::Send => to_send.push(live.flight.latest.clone()),
                Next::Replace(how) => to_replace.push((live.flight.clone(), how)),
                Next::GiveUp => to_end.push((live.flight.latest.transaction_id, live.trouble.clone())),
            }
            if to_send.len() >= BATCH_MAX || to_replace.len() >= BATCH_MAX {
                break;
            }
        }
        if !to_end.is_empty() {
            for (id, trouble) in to_end {
                let why = format!("no node takes it: {}", trouble.unwrap_or_default());
                let ending = Ending { id, end: TransactionState::Failed, why, reason: None };
                self.desk.book.want_end(self.authority, &ending).await?;
            }
            self.read_again().await?;
        }
        let mut replacements = Vec::new();
        for (flight, how) in to_replace {
            match self.replace(prices, &flight, how).await {
                Ok(replacement) => replacements.push(replacement),
                // The same bytes once more: they are still the best that can be had.
                Err(kept) => {
                    if let Some(live) = self.live.get_mut(&flight.latest.nonce) {
                        live.trouble = Some(kept);
                        live.not_before = Some(view.now + live.pause());
                    }
                    to_send.push(flight.latest);
                }
            }
        }
        if !replacements.is_empty() {
            let attempts: Vec<_> = replacements.iter().map(|flight| flight.latest.clone()).collect();
            self.desk.book.again(self.authority, self.desk.signer, &attempts).await?;
            for flight in replacements {
                let nonce = flight.latest.nonce;
                let live = match self.live.remove(&nonce) {
                    Some(live) => live.succeeded_by(flight),
                    None => Live::new(flight),
                };
                self.live.insert(nonce, live);
            }
            self.send(attempts, prices.head, Reach::All);
        }
        if !to_send.is_empty() {
            // Sent before and not in a block: whoever had it may have lost it.
            self.send(to_send, prices.head, Reach::All);
        }
        Ok(())
    }
}
