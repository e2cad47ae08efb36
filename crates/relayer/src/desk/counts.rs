//! What is asked of the chain about the signer: its nonces, its balance; and what is filled where nothing has a nonce.

use std::time::Duration;

use plimsoll_chain::{Pool, TransactionCounts};
use tokio::time::Instant;
use uuid::Uuid;

use super::nonces::{self, Readings, Ruling};
use super::{BATCH_MAX, DOUBT_PERIOD, NONCES_PATIENCE, NONCES_PERIOD, SPAN_MAX, Shift};
use crate::book::{Book, BookError};

impl<B: Book> Shift<'_, B> {
    /// Asks the endpoints for nonces and balance, when it is time to; and fills what nothing has.
    pub(super) async fn ask_nonces(&mut self) -> Result<(), BookError> {
        let period = if self.floor.is_some() { NONCES_PERIOD } else { DOUBT_PERIOD };
        if self.nonces_asked.is_some_and(|asked| asked.elapsed() < period) {
            return Ok(());
        }
        self.nonces_asked = Some(Instant::now());
        let pool: &Pool = self.desk.market.pool();
        let address = self.desk.signer.address;
        // Each for itself: who does not tell the balance may still tell the nonces.
        let asked = pool.endpoints().iter().map(|rpc| async move {
            let counts = tokio::time::timeout(NONCES_PATIENCE, rpc.transaction_counts(address));
            let balance = tokio::time::timeout(NONCES_PATIENCE, rpc.balance(address));
            let (counts, balance) = tokio::join!(counts, balance);
            (counts.ok().and_then(Result::ok), balance.ok().and_then(Result::ok))
        });
        let (counts, balances): (Vec<_>, Vec<_>) = futures::future::join_all(asked).await.into_iter().unzip();
        let counts: Vec<TransactionCounts> =
            counts.into_iter().flatten().map(|counts| counts.value).collect();
        match balances.into_iter().flatten().max_by_key(|balance| balance.block_number) {
            Some(balance) => self.balance = Some(balance.value),
            None => tracing::warn!(signer = %self.desk.signer, "nobody tells the signer's balance"),
        }

        let endpoints = pool.endpoints().len();
        // What the journal has proven to be consumed needs nobody's word.
        let next = self.next.max(self.front);
        let (latest, pending) =
            nonces::heard(&counts, endpoints).map_or((0, 0), |counts| (counts.latest, counts.pending));
        self.ahead_since = (latest > next).then(|| self.ahead_since.unwrap_or_else(Instant::now));
        self.stranger_since =
            (pending > next.max(latest)).then(|| self.stranger_since.unwrap_or_else(Instant::now));
        let since = |since: Option<Instant>| since.map_or(Duration::ZERO, |since| since.elapsed());
        let readings = Readings {
            counts: &counts,
            endpoints,
            is_new: self.front == 0,
            ahead_for: since(self.ahead_since),
            stranger_for: since(self.stranger_since),
        };
        match nonces::rule(next, readings) {
            Ruling::Give { floor } => {
                if floor > next {
                    metrics::counter!("relayer_foreign_nonces_total", "signer" => self.desk.signer.to_string())
                        .increment(floor - next);
                    tracing::error!(
                        signer = %self.desk.signer, ours = next, chain = floor,
                        "the chain is ahead of us: somebody else sends with this key, or the database is older than the chain"
                    );
                }
                self.floor = Some(floor);
                self.fill_gaps(floor).await?;
                if (self.live.len() as u64) < self.next.saturating_sub(self.front) {
                    // A block that came and went while the book was read may have hidden what it held.
                    self.read_again().await?;
                }
            }
            Ruling::Pause(why) => {
                self.floor = None;
                tracing::warn!(signer = %self.desk.signer, next, latest, pending, "no nonce is given: {why}");
            }
        }
        Ok(())
    }

    /// Nonces from what the chain has consumed up to the next one that no request has: nothing behind them could ever be included.
    async fn fill_gaps(&mut self, floor: u64) -> Result<(), BookError> {
        let from = floor.max(self.front);
        if from >= self.next {
            return Ok(());
        }
        if self.next - from > SPAN_MAX {
            self.floor = None;
            tracing::error!(
                signer = %self.desk.signer, consumed = from, next = self.next,
                "the next nonce lies so far above what the chain has consumed that somebody lied about it: no nonce is given"
            );
            return Ok(());
        }
        let bound = self.desk.book.bound(self.desk.signer, from, self.next).await?;
        let gaps: Vec<_> = (from..self.next).filter(|nonce| bound.binary_search(nonce).is_err()).collect();
        if gaps.is_empty() {
            return Ok(());
        }
        let Ok(prices) = self.desk.market.look().await else { return Ok(()) };
        tracing::error!(signer = %self.desk.signer, ?gaps, "nonces that nothing has: filling them");
        let fills = gaps.into_iter().take(BATCH_MAX).map(|nonce| (Uuid::now_v7(), nonce)).collect::<Vec<_>>();
        let attempts = self.make_fills(&prices, &fills).await;
        self.desk.book.fill(self.authority, self.desk.signer, &attempts).await?;
        self.nonces_asked = None;
        self.read_again().await
    }
}
