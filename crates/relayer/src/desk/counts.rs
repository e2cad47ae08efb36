//! What is asked of the chain about the signer: its nonces, its balance; and what is filled where nothing has a nonce.

use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{Address, B256, U256};
use futures::future::join_all;
use plimsoll_chain::{AtHead, Pool, Rpc, TransactionCounts};
use tokio::task::JoinSet;
use tokio::time::Instant;
use uuid::Uuid;

use super::nonces::{self, Proof, Readings, Ruling};
use super::trial::Trials;
use super::{BATCH_MAX, DOUBT_PERIOD, Desk, NONCES_PATIENCE, NONCES_PERIOD, SPAN_MAX, Shift};
use crate::bell::Bell;
use crate::book::{Book, BookError};

/// What an endpoint told. Each for itself: who does not tell the balance may still tell the nonces.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    counts: Option<AtHead<TransactionCounts>>,
    balance: Option<AtHead<U256>>,
    proof: Shown,
}

/// Whether an endpoint shows how many transactions the signer has sent up to the journal's newest block.
#[derive(Clone, Copy, Debug, Default)]
enum Shown {
    /// So many.
    Proven(u64),
    /// Not this time.
    Later,
    /// It does not serve proofs, or not of such a block.
    #[default]
    Never,
}

/// The endpoints being asked, in the background: the desk goes on with what was told last, which is [`NONCES_PERIOD`] and [`NONCES_PATIENCE`] old at the most. What is not told by then is not known.
#[derive(Debug, Default)]
struct Asking(JoinSet<Vec<Told>>);

impl Asking {
    /// Asks each of them, and rings when all have told, or their time is over.
    fn begin(&mut self, pool: &Pool, address: Address, followed: Option<(u64, B256)>, bell: &Bell) {
        let (pool, bell) = (pool.clone(), bell.clone());
        self.0.spawn(async move {
            let told = join_all(pool.endpoints().iter().map(|rpc| ask(rpc, address, followed))).await;
            bell.ring();
            told
        });
    }

    /// What they told, once that is over.
    fn end(&mut self) -> Option<Vec<Told>> {
        // Of a task that was lost nobody has told anything.
        self.0.try_join_next().map(Result::unwrap_or_default)
    }
}

/// What a desk has endpoints asked in the background.
pub(super) struct Asked {
    nonces: Asking,
    pub(super) trials: Trials,
}

impl Asked {
    pub(super) fn of<B>(desk: &Desk<B>) -> Self {
        let (pool, reverts) = (desk.market.pool().clone(), Arc::clone(&desk.options.entry.reverts));
        Self { nonces: Asking::default(), trials: Trials::new(pool, reverts, desk.bell.clone()) }
    }
}

async fn ask(rpc: &Rpc, address: Address, followed: Option<(u64, B256)>) -> Told {
    let counts = tokio::time::timeout(NONCES_PATIENCE, rpc.transaction_counts(address));
    let balance = tokio::time::timeout(NONCES_PATIENCE, rpc.balance(address));
    let (counts, balance, proof) = tokio::join!(counts, balance, show(rpc, address, followed));
    Told { counts: counts.ok().and_then(Result::ok), balance: balance.ok().and_then(Result::ok), proof }
}

async fn show(rpc: &Rpc, address: Address, followed: Option<(u64, B256)>) -> Shown {
    let at = match followed {
        // Development chains do not hold their state to their genesis.
        Some((0, _)) => return Shown::Never,
        Some((_, hash)) => hash,
        None => return Shown::Later,
    };
    match tokio::time::timeout(NONCES_PATIENCE, rpc.proven_account(address, at)).await {
        Ok(Ok(account)) => Shown::Proven(account.nonce),
        Ok(Err(error)) => {
            tracing::info!(%address, %error, "an endpoint does not prove how many transactions were sent");
            // Any other refusal may be a whim.
            if error.is_method_missing() { Shown::Never } else { Shown::Later }
        }
        Err(_) => Shown::Later,
    }
}

impl<B: Book> Shift<'_, B> {
    /// Has the endpoints asked for nonces and balance, when it is time to; takes what they told; and fills what nothing has.
    pub(super) async fn ask_nonces(&mut self) -> Result<(), BookError> {
        if self.asked.trials.take_in() {
            // Whoever was passed over for want of an answer may enter now.
            self.round = super::Round::default();
        }
        if let Some(told) = self.asked.nonces.end() {
            self.heard(&told).await?;
        }
        // While they are asked, what they told last counts.
        let period = if self.floor.is_some() { NONCES_PERIOD } else { DOUBT_PERIOD };
        if !self.asked.nonces.0.is_empty() || self.nonces_asked.is_some_and(|asked| asked.elapsed() < period)
        {
            return Ok(());
        }
        if self.nonces_asked.is_none() {
            // There is doubt in what was told last: nothing is given on it.
            self.floor = None;
        }
        self.nonces_asked = Some(Instant::now());
        let Desk { signer, book, market, bell, .. } = self.desk;
        let followed = if self.front == 0 { book.followed_block(*signer).await? } else { None };
        self.asked.nonces.begin(market.pool(), signer.address, followed, bell);
        Ok(())
    }

    async fn heard(&mut self, told: &[Told]) -> Result<(), BookError> {
        let counts: Vec<TransactionCounts> =
            told.iter().filter_map(|told| Some(told.counts?.value)).collect();
        match told.iter().filter_map(|told| told.balance).max_by_key(|balance| balance.block_number) {
            Some(balance) => self.balance = Some(balance.value),
            None => tracing::warn!(signer = %self.desk.signer, "nobody tells the signer's balance"),
        }

        let endpoints = self.desk.market.pool().endpoints().len();
        // What the journal has proven to be consumed needs nobody's word.
        let next = self.next.max(self.front);
        let (latest, pending) =
            nonces::heard(&counts, endpoints).map_or((0, 0), |counts| (counts.latest, counts.pending));
        self.ahead_since = (latest > next).then(|| self.ahead_since.unwrap_or_else(Instant::now));
        self.stranger_since =
            (pending > next.max(latest)).then(|| self.stranger_since.unwrap_or_else(Instant::now));
        // Who tells nothing at all is not waited for.
        let shown = || told.iter().filter(|told| told.counts.is_some()).map(|told| told.proof);
        let proven = told.iter().find_map(|told| match told.proof {
            Shown::Proven(nonce) => Some(nonce),
            Shown::Later | Shown::Never => None,
        });
        let is_new = self.front == 0;
        let is_awaited = is_new && proven.is_none() && shown().any(|shown| matches!(shown, Shown::Later));
        self.unproven_since = is_awaited.then(|| self.unproven_since.unwrap_or_else(Instant::now));
        let since = |since: Option<Instant>| since.map_or(Duration::ZERO, |since| since.elapsed());
        let proof = match (proven, self.unproven_since) {
            (Some(proven), _) => Proof::Proven(proven),
            (None, Some(since)) => Proof::Awaited(since.elapsed()),
            (None, None) => Proof::Lacking,
        };
        let readings = Readings {
            counts: &counts,
            endpoints,
            is_new,
            proof,
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
