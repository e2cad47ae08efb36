//! The head: each new branch down to the journal's own chain, everything on it by hash, one commit.

use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::B256;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use plimsoll_chain::abi::Contracts;
use plimsoll_chain::interval::Interval;
use plimsoll_chain::{ErrorClass, Header, Look, Pool, Rpc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::asked::Asked;
use crate::book::Book;
use crate::branch::Branch;
use crate::config::IngestConfig;
use crate::content::Wanted;
use crate::endpoints::Sightings;
use crate::error::IngestError;
use crate::finality::Finalized;
use crate::late::LateHistory;
use crate::plan::{BlockId, CanonicalTail, Relation};
use crate::{metrics, new_block};

/// Blocks of a branch that are fetched at a time.
const BLOCKS_IN_FLIGHT: usize = 8;
/// Blocks of a branch that are committed at a time.
const MAX_COMMIT_BLOCKS: usize = 64;
/// The chain moved while it was being looked at: so often it is looked at again before the next hint is waited for.
const MAX_LOOKS: u32 = 5;
/// The node's head is written down at least this often, so that others can tell a quiet chain from a stalled one.
const RPC_HEAD_NOTE_INTERVAL: Duration = Duration::from_secs(2);

/// What a round came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Round {
    /// The journal is where the endpoint is, or has reason to wait.
    Done,
    /// There is more.
    Again,
}

/// Follows one chain into one journal, as long as it has the authority: the journal's writer, and what was learned of the endpoints.
pub struct Follower<'a, B> {
    pub(crate) config: &'a IngestConfig,
    pub(crate) pool: &'a Pool,
    /// The endpoint that this round is with, and its place in the pool.
    pub(crate) rpc: &'a Rpc,
    pub(crate) place: usize,
    pub(crate) contracts: &'a Contracts,
    pub(crate) genesis_hash: B256,
    pub(crate) book: B,
    /// Of each endpoint.
    pub(crate) intervals: Vec<Interval>,
    /// Of each endpoint.
    pub(crate) sightings: Vec<Sightings>,
    pub(crate) finalized: Finalized,
    rpc_head_noted: Option<Instant>,
}

impl<'a, B: Book> Follower<'a, B> {
    /// A follower that goes on where the journal stands. `genesis_hash`: block 0's, by which the endpoints are known again.
    pub fn new(
        config: &'a IngestConfig,
        pool: &'a Pool,
        contracts: &'a Contracts,
        genesis_hash: B256,
        book: B,
    ) -> Self {
        let endpoints = pool.endpoints();
        Self {
            config,
            pool,
            rpc: &endpoints[0],
            place: 0,
            contracts,
            genesis_hash,
            book,
            intervals: endpoints.iter().map(|_| Interval::new(config.range)).collect(),
            sightings: endpoints.iter().map(|_| Sightings::default()).collect(),
            finalized: Finalized::default(),
            rpc_head_noted: None,
        }
    }

    /// The journal, when it is followed no more.
    pub fn into_book(self) -> B {
        self.book
    }

    /// Follows the head until `cancel`, or until an error. Dropped at any point it leaves the journal as its last commit did.
    ///
    /// # Errors
    /// See [`IngestError`]; [`IngestError::DeepReorg`] is for the caller to halt the chain with.
    pub async fn follow(&mut self, cancel: &CancellationToken) -> Result<(), IngestError> {
        let wanted = Wanted::new(self.config, self.contracts);
        let mut heads = self.pool.watch_heads(self.config.poll_interval);
        let mut late = LateHistory::new(self.config, self.pool, self.contracts);
        let mut asked = Asked::new(self.config, self.pool, self.contracts);
        loop {
            // Boxed: seldom, and large.
            if late.has_news(&self.book) {
                Box::pin(late.look(&self.book)).await?;
            }
            let look = tokio::select! {
                biased;
                () = cancel.cancelled() => return Ok(()),
                look = heads.next_look() => look,
                outcome = late.next() => {
                    Box::pin(late.take(&mut self.book, outcome)).await?;
                    continue;
                }
                news = asked.next(), if late.is_idle() => {
                    Box::pin(asked.take(&mut self.book, news)).await?;
                    continue;
                }
            };
            self.turn_to(look.place);
            if let Err(error) = self.catch_up(&wanted, look, cancel).await {
                self.excuse(error).await?;
            }
        }
    }

    /// Takes in what the endpoint's head leads to, until the journal is where the endpoint is.
    async fn catch_up(
        &mut self,
        wanted: &Arc<Wanted>,
        look: Look,
        cancel: &CancellationToken,
    ) -> Result<(), IngestError> {
        let mut looks = 0;
        let mut seen = Some(look.head);
        while !cancel.is_cancelled() {
            let head = match seen.take() {
                Some(head) => head,
                None => self.rpc.head().await,
            };
            let outcome = match head {
                Ok(head) => {
                    self.note_head(&head).await?;
                    self.round(wanted, &head, cancel).await
                }
                Err(error) => Err(error.into()),
            };
            match outcome {
                Ok(Round::Done) => return Ok(()),
                Ok(Round::Again) => looks = 0,
                Err(error) if looks < MAX_LOOKS && may_have_moved(&error) => {
                    tracing::debug!(chain_id = self.config.chain_id, %error, "the chain moved; looking again");
                    looks += 1;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn note_head(&mut self, head: &Header) -> Result<(), IngestError> {
        self.book.saw_rpc_head(head.number);
        if self.rpc_head_noted.is_none_or(|noted| noted.elapsed() >= RPC_HEAD_NOTE_INTERVAL) {
            self.book.note_rpc_head().await?;
            self.rpc_head_noted = Some(Instant::now());
        }
        Ok(())
    }

    async fn round(
        &mut self,
        wanted: &Arc<Wanted>,
        head: &Header,
        cancel: &CancellationToken,
    ) -> Result<Round, IngestError> {
        let tail = self.tail();
        // What is looked at from here on is reached from this very head, by hash or in one batch with it.
        if !tail.is_linked((head.number, head.hash), head.parent_hash) {
            self.check_chain().await?;
        }
        self.look_at_finality(&tail).await?;
        if let Some((first, last)) = self.unfinished_backfill() {
            return self.finish_backfill(wanted, &tail, first, last, head, cancel).await;
        }
        let relation = tail.relation((head.number, head.hash), head.parent_hash);
        match relation {
            Relation::AtTip | Relation::Lagging => {
                self.sightings().reset();
                self.note_behind(head);
                self.write_final(&tail).await?;
                Ok(Round::Done)
            }
            Relation::Fork { .. } | Relation::Next => self.take_branch(wanted, &tail, head).await,
            Relation::Higher => {
                let first = tail.tip().map_or(self.contracts.start_block(), |(number, _)| number + 1);
                let first = first.max(self.contracts.start_block());
                if head.number < first || !self.knows_finality().await? {
                    return Ok(Round::Done);
                }
                match self.final_below(head).await? {
                    Some(final_to) if final_to >= first => {
                        self.take_final(wanted, &tail, first, final_to, head, cancel).await
                    }
                    _ if self.is_far_ahead(first, head) => Ok(Round::Done),
                    _ => self.take_branch(wanted, &tail, head).await,
                }
            }
        }
    }

    fn tail(&self) -> CanonicalTail {
        CanonicalTail { final_block: self.book.final_block(), unfinal: self.book.unfinal() }
    }

    /// Backfills up to a final block, once the journal's tip is known to be on the endpoint's chain.
    async fn take_final(
        &mut self,
        wanted: &Arc<Wanted>,
        tail: &CanonicalTail,
        first: u64,
        final_to: u64,
        head: &Header,
        cancel: &CancellationToken,
    ) -> Result<Round, IngestError> {
        if let Some((number, hash)) = tail.tip() {
            let there = self.known_header(number, head).await?;
            if there.hash != hash {
                return self.take_branch(wanted, tail, &there).await;
            }
        }
        let end = self.known_header(final_to, head).await?;
        let Some(end) = self.agreed_end(first, end, head).await? else { return Ok(Round::Done) };
        self.book.finalize(&new_block(&end)).await?;
        Box::pin(self.backfill(wanted, first, (end.number, end.hash), cancel)).await?;
        Ok(Round::Again)
    }

    /// The final block that the journal has announced, and the first block below it that it does not cover yet: a backfill was
    /// interrupted, by a failure or by the end of the process.
    fn unfinished_backfill(&self) -> Option<(u64, BlockId)> {
        let last = self.book.final_block()?;
        let first = self.book.head().map_or(0, |(number, _)| number + 1);
        let first = first.max(self.contracts.start_block());
        (first <= last.0).then_some((first, last))
    }

    async fn finish_backfill(
        &mut self,
        wanted: &Arc<Wanted>,
        tail: &CanonicalTail,
        first: u64,
        last: BlockId,
        head: &Header,
        cancel: &CancellationToken,
    ) -> Result<Round, IngestError> {
        if head.number < last.0 {
            return Ok(Round::Done);
        }
        let there = self.known_header(last.0, head).await?;
        if there.hash != last.1 {
            return self.take_branch(wanted, tail, &there).await;
        }
        Box::pin(self.backfill(wanted, first, last, cancel)).await?;
        Ok(Round::Again)
    }

    /// The header of a block that is not above the head that was just shown, on the head's own chain.
    pub(crate) async fn known_header(&self, number: u64, head: &Header) -> Result<Header, IngestError> {
        let header = self.rpc.header_on(number, (head.number, head.hash)).await?;
        header.ok_or_else(|| {
            self.inconsistent(format!(
                "its head was block {} as {}, and now it does not have that, or not block {number} below it",
                head.number, head.hash
            ))
        })
    }

    /// Fetches the branch that ends with `head`, whole, and then makes it the canonical chain.
    async fn take_branch(
        &mut self,
        wanted: &Wanted,
        tail: &CanonicalTail,
        head: &Header,
    ) -> Result<Round, IngestError> {
        let Some(Branch { ancestor, mut headers }) = self.branch(tail, head).await? else {
            return Ok(Round::Done);
        };
        if self.is_drastic(tail, ancestor, head) && !self.sightings().branch.sighted((head.number, head.hash))
        {
            return Ok(Round::Done);
        }
        let more = headers.len() > MAX_COMMIT_BLOCKS;
        headers.truncate(MAX_COMMIT_BLOCKS);
        let contents: Vec<_> = stream::iter(headers.iter().map(|header| wanted.content(self.rpc, header)))
            .buffered(BLOCKS_IN_FLIGHT)
            .try_collect()
            // Boxed: else the compiler cannot prove the caller's task to be `Send`.
            .boxed()
            .await?;
        let first = headers.first().map(|header| (header.number, header.hash));
        if self.takes_back(tail, ancestor) && !self.may_take_back(tail, first, head).await? {
            return Ok(Round::Done);
        }
        self.sightings().reset();
        let (blocks, events) = (contents.len(), contents.iter().map(|c| c.events.len()).sum::<usize>());
        let last = headers.last().map_or(head.number, |h| h.number);
        let confirm = last.checked_sub(self.config.confirmations);
        let finalize = self.final_with(tail, ancestor, &headers);
        let started = Instant::now();
        let retracted = self.book.replace_above(ancestor, contents, confirm, finalize).await?;
        self.forget_final();
        self.report(blocks, events, retracted, ancestor, started);
        Ok(if more { Round::Again } else { Round::Done })
    }

    fn report(
        &self,
        blocks: usize,
        events: usize,
        retracted: usize,
        ancestor: Option<BlockId>,
        started: Instant,
    ) {
        let chain_id = self.config.chain_id;
        metrics::committed(chain_id, blocks as u64, events as u64, started.elapsed());
        if retracted > 0 {
            tracing::warn!(chain_id, depth_blocks = retracted, ?ancestor, blocks, "reorg");
            metrics::reorg(chain_id, retracted);
        }
    }
}

/// Whether the error is what a chain that moves on between two questions looks like.
fn may_have_moved(error: &IngestError) -> bool {
    match error {
        IngestError::Rpc(error) => error.class() == ErrorClass::BlockUnknown,
        IngestError::Inconsistent { .. } => true,
        _ => false,
    }
}
