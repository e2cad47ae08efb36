//! The book: what the database keeps of a signer, as whoever works the signer reads and writes it.
//!
//! [`PgBook`] is Postgres. Everything that changes something is one transaction that begins with the lease's guard, so a holder that was frozen and wakes finds its token
//! refused before it has written anything. The next nonce is where the signer's row says that it is: a prediction is only a prediction until that row is locked.

use std::collections::HashMap;
use std::future::Future;

use alloy_primitives::B256;
use plimsoll_bus::PublishError;
use plimsoll_store::{Db, LeaseError, Leases, Tx};
use plimsoll_types::{TransactionState, address_text};
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::attempt::{Attempt, Flight};
use crate::history;
use crate::post::Post;
use crate::reason::Reason;
pub use crate::repo::queue::{DecidedOn, Place, Queued};
pub use crate::repo::signers::Progress;
use crate::repo::{queue, reasons, signers, speed_up, window};
use crate::request::SignerId;
use crate::state::{CalledOff, Cancelled, Change, Committed, Expired, Failed};

/// In whose name a signer's holder publishes.
const ACTOR: &str = "relayer";

/// Why the book did not do it.
#[derive(Debug, thiserror::Error)]
pub enum BookError {
    /// Somebody else holds the signer now: nothing was written, and nothing may be under the old token.
    #[error(transparent)]
    Fenced(LeaseError),
    /// The database cannot be asked now, or what was asked failed as a whole. Whether a commit came through is not known: read again.
    #[error("the database: {0}")]
    Unavailable(String),
    /// The signer is not known.
    #[error(
        "signer {0} is not in the database: it is made known when a process that is configured with it starts"
    )]
    Unknown(SignerId),
    /// A task of this process ended without an answer.
    #[error("a sending was lost: {0}")]
    Lost(tokio::task::JoinError),
}

impl From<LeaseError> for BookError {
    fn from(error: LeaseError) -> Self {
        match error {
            LeaseError::Fenced { .. } | LeaseError::Cancelled { .. } => Self::Fenced(error),
            other => Self::Unavailable(other.to_string()),
        }
    }
}

impl From<sqlx::Error> for BookError {
    fn from(error: sqlx::Error) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<PublishError> for BookError {
    fn from(error: PublishError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// What came of entering requests into the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entered {
    /// Committed: from now on each may have left the building, and each is bound to its nonce.
    Committed,
    /// The nonces were not the next ones: nothing was written, the bytes are to be thrown away. The next one is this.
    Mispredicted {
        /// The next nonce.
        next: u64,
    },
    /// Some of them may not enter any more: they are not pending, were called off, switched off or handed over to another signer. Nothing was written.
    Overtaken,
}

/// An end that needs no block: nothing of the request can have left the building.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Which.
    pub id: Uuid,
    /// [`TransactionState::Failed`], [`TransactionState::Cancelled`] or [`TransactionState::Expired`].
    pub end: TransactionState,
    /// Why, for people.
    pub why: String,
    /// Why it would have reverted, where that is why.
    pub reason: Option<Reason>,
}

/// What an endpoint answered to the bytes of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Which bytes.
    pub tx_hash: B256,
    /// For whom.
    pub tenant_id: Option<Uuid>,
    /// Which endpoint.
    pub endpoint: String,
    /// The answer's class.
    pub answer: &'static str,
    /// What it said.
    pub detail: Option<String>,
    /// When it was sent.
    pub sent_at: OffsetDateTime,
}

/// What the database keeps of signers.
pub trait Book: Clone + Send + Sync + 'static {
    /// The right to work a signer.
    type Authority: Send + Sync;

    /// Waits for the right to work a signer.
    fn acquire(
        &self,
        signer: SignerId,
        stop: &CancellationToken,
    ) -> impl Future<Output = Result<Self::Authority, BookError>> + Send;

    /// Cancelled when the right is known to be lost. Not being cancelled proves nothing.
    fn lost<'a>(&self, authority: &'a Self::Authority) -> &'a CancellationToken;

    /// Resolves when the signer is to be worked elsewhere, by somebody who stands by for it.
    fn elsewhere(&self, _: &Self::Authority) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    /// How far the signer is.
    fn progress(&self, signer: SignerId) -> impl Future<Output = Result<Progress, BookError>> + Send;

    /// The newest block of the journal, if nothing that the signer sent after it is missed.
    fn followed_block(
        &self,
        signer: SignerId,
    ) -> impl Future<Output = Result<Option<(u64, B256)>, BookError>> + Send;

    /// The next requests, in the order in which they enter the window: from the first on, or from behind this place.
    fn queue(
        &self,
        signer: SignerId,
        behind: Option<Place>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Queued>, BookError>> + Send;

    /// Everything from this nonce on that may still be included, by nonce.
    fn flights(
        &self,
        signer: SignerId,
        from: u64,
    ) -> impl Future<Output = Result<Vec<Flight>, BookError>> + Send;

    /// Which of the nonces from `from` up to and without `to` some request has.
    fn bound(
        &self,
        signer: SignerId,
        from: u64,
        to: u64,
    ) -> impl Future<Output = Result<Vec<u64>, BookError>> + Send;

    /// Gives pending requests their nonces, each with its first attempt: dense, from the higher of the signer's next nonce and `floor` on.
    fn enter(
        &self,
        authority: &Self::Authority,
        signer: SignerId,
        floor: u64,
        attempts: &[Attempt],
    ) -> impl Future<Output = Result<Entered, BookError>> + Send;

    /// Keeps further attempts for nonces that their requests have.
    fn again(
        &self,
        authority: &Self::Authority,
        signer: SignerId,
        attempts: &[Attempt],
    ) -> impl Future<Output = Result<(), BookError>> + Send;

    /// Keeps attempts that fill nonces below the next one which nothing has, each as a transaction of the platform's own.
    fn fill(
        &self,
        authority: &Self::Authority,
        signer: SignerId,
        attempts: &[Attempt],
    ) -> impl Future<Output = Result<(), BookError>> + Send;

    /// Ends pending requests.
    fn end(
        &self,
        authority: &Self::Authority,
        endings: &[Ending],
    ) -> impl Future<Output = Result<(), BookError>> + Send;

    /// Keeps why these pending requests could not enter the window when they were looked at last: for people, so nothing depends on it.
    fn hold(&self, held: &[(Uuid, String)]) -> impl Future<Output = Result<(), BookError>> + Send;

    /// Asks for the end of a request that is under way.
    fn want_end(
        &self,
        authority: &Self::Authority,
        ending: &Ending,
    ) -> impl Future<Output = Result<(), BookError>> + Send;

    /// Keeps what endpoints answered.
    fn record(&self, chain_id: u64, told: &[Told]) -> impl Future<Output = Result<(), BookError>> + Send;
}

/// The book in Postgres.
#[derive(Clone, Debug)]
pub struct PgBook {
    db: Db,
    leases: Leases,
    node: String,
}

impl PgBook {
    /// The book in this database, as this node writes it.
    #[must_use]
    pub fn new(db: Db, leases: Leases, node: String) -> Self {
        Self { db, leases, node }
    }

    /// A transaction under the right to work a signer.
    async fn begin(&self, post: &Post) -> Result<Tx, BookError> {
        let mut tx = self.db.begin_worker_by_keys().await?;
        post.guard(&mut tx).await?;
        Ok(tx)
    }
}

impl Book for PgBook {
    type Authority = Post;

    async fn acquire(&self, signer: SignerId, stop: &CancellationToken) -> Result<Post, BookError> {
        Post::take(&self.db, &self.leases, signer, &self.node, stop).await
    }

    fn lost<'a>(&self, post: &'a Post) -> &'a CancellationToken {
        post.lost()
    }

    async fn elsewhere(&self, post: &Post) {
        post.elsewhere(&self.db, &self.node).await;
    }

    async fn progress(&self, signer: SignerId) -> Result<Progress, BookError> {
        let mut conn = self.db.worker().acquire().await?;
        signers::progress(&mut conn, signer).await?.ok_or(BookError::Unknown(signer))
    }

    async fn followed_block(&self, signer: SignerId) -> Result<Option<(u64, B256)>, BookError> {
        let mut conn = self.db.worker().acquire().await?;
        Ok(signers::followed_block(&mut conn, signer).await?)
    }

    async fn queue(
        &self,
        signer: SignerId,
        behind: Option<Place>,
        limit: usize,
    ) -> Result<Vec<Queued>, BookError> {
        let mut conn = self.db.worker().acquire().await?;
        Ok(queue::queue(&mut conn, signer, behind, limit).await?)
    }

    async fn flights(&self, signer: SignerId, from: u64) -> Result<Vec<Flight>, BookError> {
        let mut conn = self.db.worker().acquire().await?;
        Ok(window::flights(&mut conn, signer, from).await?)
    }

    async fn bound(&self, signer: SignerId, from: u64, to: u64) -> Result<Vec<u64>, BookError> {
        let mut conn = self.db.worker().acquire().await?;
        Ok(window::bound(&mut conn, signer, from, to).await?)
    }

    async fn enter(
        &self,
        post: &Post,
        signer: SignerId,
        floor: u64,
        attempts: &[Attempt],
    ) -> Result<Entered, BookError> {
        let Some(first) = attempts.first() else { return Ok(Entered::Committed) };
        assert!(
            (first.nonce..).zip(attempts).all(|(nonce, attempt)| attempt.nonce == nonce),
            "nonces are given without a gap"
        );
        let mut tx = self.begin(post).await?;
        let next = window::lock(&mut tx, signer).await?.max(floor);
        if next != first.nonce {
            tx.rollback().await?;
            return Ok(Entered::Mispredicted { next });
        }
        let changes: Vec<_> = attempts
            .iter()
            .map(|attempt| Change::new(attempt.transaction_id, Committed { nonce: attempt.nonce }))
            .collect();
        let mut entered = window::enter(&mut tx, &self.node, &changes).await?;
        let is_handed_over = entered.iter().any(|change| change.signer != address_text(&signer.address));
        if entered.len() != attempts.len() || is_handed_over {
            tx.rollback().await?;
            return Ok(Entered::Overtaken);
        }
        window::insert_attempts(&mut tx, signer, post.token(), &self.node, attempts).await?;
        window::advance(&mut tx, signer, next + attempts.len() as u64, post.token()).await?;
        let hashes: HashMap<_, _> =
            attempts.iter().map(|attempt| (attempt.transaction_id, attempt.tx_hash)).collect();
        for change in &mut entered {
            change.tx_hash = hashes.get(&change.id).map(|hash| hash.to_vec());
        }
        let pending = Some(TransactionState::Pending);
        history::publish_as(&mut tx, ACTOR, pending, "an attempt was committed", &entered).await?;
        tx.commit().await?;
        Ok(Entered::Committed)
    }

    async fn again(&self, post: &Post, signer: SignerId, attempts: &[Attempt]) -> Result<(), BookError> {
        let mut tx = self.begin(post).await?;
        window::lock(&mut tx, signer).await?;
        window::insert_attempts(&mut tx, signer, post.token(), &self.node, attempts).await?;
        speed_up::met(&mut tx, attempts).await?;
        Ok(tx.commit().await?)
    }

    async fn fill(&self, post: &Post, signer: SignerId, attempts: &[Attempt]) -> Result<(), BookError> {
        let mut tx = self.begin(post).await?;
        let next = window::lock(&mut tx, signer).await?;
        assert!(
            attempts.iter().all(|attempt| attempt.nonce < next),
            "what is filled lies below the next nonce"
        );
        let fills: Vec<_> = attempts.iter().map(|attempt| (attempt.transaction_id, attempt.nonce)).collect();
        let filled = window::insert_fills(&mut tx, signer, &self.node, &fills).await?;
        window::insert_attempts(&mut tx, signer, post.token(), &self.node, attempts).await?;
        history::publish_as(&mut tx, ACTOR, None, "a nonce that nothing has is filled", &filled).await?;
        Ok(tx.commit().await?)
    }

    async fn end(&self, post: &Post, endings: &[Ending]) -> Result<(), BookError> {
        let mut tx = self.begin(post).await?;
        for end in [TransactionState::Failed, TransactionState::Cancelled, TransactionState::Expired] {
            let of_it = endings.iter().filter(|ending| ending.end == end);
            let of_it: Vec<_> =
                of_it.map(|ending| (ending.id, CalledOff { why: ending.why.clone() })).collect();
            if of_it.is_empty() {
                continue;
            }
            let ended = match end {
                TransactionState::Failed => window::end::<Failed>(&mut tx, &changes(of_it)).await?,
                TransactionState::Cancelled => window::end::<Cancelled>(&mut tx, &changes(of_it)).await?,
                _ => window::end::<Expired>(&mut tx, &changes(of_it)).await?,
            };
            let pending = Some(TransactionState::Pending);
            history::publish_as(&mut tx, ACTOR, pending, "it never had an attempt", &ended).await?;
        }
        let reasons: Vec<_> =
            endings.iter().filter_map(|ending| Some((ending.id, ending.reason.as_ref()?))).collect();
        reasons::keep(&mut tx, &reasons).await?;
        Ok(tx.commit().await?)
    }

    async fn hold(&self, held: &[(Uuid, String)]) -> Result<(), BookError> {
        if held.is_empty() {
            return Ok(());
        }
        let mut conn = self.db.worker().acquire().await?;
        Ok(reasons::hold(&mut conn, held).await?)
    }

    async fn want_end(&self, post: &Post, ending: &Ending) -> Result<(), BookError> {
        let mut tx = self.begin(post).await?;
        window::want_end(&mut tx, ending.id, ending.end, &ending.why).await?;
        Ok(tx.commit().await?)
    }

    async fn record(&self, chain_id: u64, told: &[Told]) -> Result<(), BookError> {
        let mut conn = self.db.worker().acquire().await?;
        Ok(window::insert_broadcasts(&mut conn, chain_id, told).await?)
    }
}

fn changes<To: crate::state::State>(ends: Vec<(Uuid, CalledOff)>) -> Vec<Change<crate::state::Pending, To>>
where
    crate::state::Pending: crate::state::Becomes<To, Because = CalledOff>,
{
    ends.into_iter().map(|(id, why)| Change::new(id, why)).collect()
}
