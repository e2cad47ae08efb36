//! The way in: whoever has a request hands it in here, and is told when it is on record.
//!
//! Nobody holds a connection while waiting: a writer commits what waits, many requests in one transaction, each with what stands beside it. A tenant's request is
//! put there only as far as its grant goes. One that comes under an idempotency key brings the key's claim with it: request, audit entry, answer and key are there together or not at
//! all, so a process that dies anywhere leaves nothing to recover. Behind the key stands the natural key `(tenant_id, request_id, operation_type)`, which outlives it.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use plimsoll_bus::audit::{Entry, RecordError};
use plimsoll_store::Db;
use plimsoll_store::idempotency::{Claim, IdempotencyError, Response, Settled};
use plimsoll_types::api::Transaction;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use uuid::Uuid;

use crate::accept::{AcceptError, Accepted};
use crate::bell::Bell;
use crate::grant::{Refusal, SignerPolicy};
use crate::request::{Invalid, Request, SignerId};
use crate::writer::Writer;

/// The most requests that wait. Whoever comes then is told to come again.
const QUEUE_MAX: usize = 8_192;
/// The most calldata that waits, in KiB; each request counts as one at least.
const QUEUE_MAX_KIB: usize = 64 * 1024;

/// Why a request of a tenant is not on record.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// Whoever is granted everything would be told the same.
    #[error(transparent)]
    Accept(#[from] AcceptError),
    /// It is not granted.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// What the day's gas may cost is not known, and it has a budget.
    #[error(
        "of {transactions} transactions of the last 24 hours it is not known yet how much gas they may use, and the tenant has a budget: more can be handed in once that is known"
    )]
    Unbounded {
        /// How many.
        transactions: u64,
    },
    /// The key under which it came is another's now, or its answer cannot be kept.
    #[error(transparent)]
    Key(#[from] IdempotencyError),
    /// Its answer cannot be written.
    #[error("an answer that cannot be written: {0}")]
    Answer(#[from] serde_json::Error),
    /// It cannot be put on record who asked for it.
    #[error(transparent)]
    Audit(#[from] RecordError),
}

impl From<Invalid> for SubmitError {
    fn from(invalid: Invalid) -> Self {
        Self::Accept(invalid.into())
    }
}

/// What is committed with a request under its key.
#[derive(Debug)]
pub struct Kept {
    /// The answer.
    pub response: Response,
    /// What the audit is to say.
    pub entry: Option<Entry>,
}

/// What came of a request: where it is on record, it and its transaction.
pub type Outcome<'a> = Result<(&'a Accepted, &'a Transaction), &'a SubmitError>;

/// Makes the answer to a request from what came of it, before that is committed. `None`: nothing is kept, and the key is free again. It may be asked more than once, and
/// has to say the same.
pub type Answer = Box<dyn Fn(Outcome<'_>) -> Result<Option<Kept>, SubmitError> + Send + Sync>;

/// A key's claim, and what is answered under it.
pub(crate) struct Under {
    pub(crate) claim: Claim,
    pub(crate) answer: Answer,
}

impl fmt::Debug for Under {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Under").field("claim", &self.claim).finish_non_exhaustive()
    }
}

/// What whoever waits is told.
#[derive(Debug)]
pub(crate) enum Told {
    Accepted(Accepted),
    Settled(Settled),
}

/// A request that waits for its transaction.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) request: Request,
    /// Only what a tenant was granted is put on record.
    pub(crate) needs_grant: bool,
    pub(crate) under: Option<Under>,
    pub(crate) asker: oneshot::Sender<Result<Told, SubmitError>>,
    /// Its place among what waits.
    _room: OwnedSemaphorePermit,
}

/// Takes requests for some signers. Clones share the queue.
#[derive(Clone, Debug)]
pub struct Intake {
    queue: mpsc::Sender<Waiting>,
    room: Arc<Semaphore>,
    node: Arc<str>,
    policies: Arc<HashMap<SignerId, SignerPolicy>>,
    woken: Bell,
}

impl Intake {
    /// Starts to take requests for these signers, in the name of this node. `woken`: who works them here, if anybody does.
    #[must_use]
    pub fn start(db: Db, node: &str, policies: impl IntoIterator<Item = SignerPolicy>, woken: Bell) -> Self {
        let id = |policy: &SignerPolicy| SignerId { chain_id: policy.chain_id, address: policy.address };
        let policies: Arc<HashMap<_, _>> =
            Arc::new(policies.into_iter().map(|policy| (id(&policy), policy)).collect());
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let writer = Writer::new(db, node, Arc::clone(&policies), woken.clone());
        tokio::spawn(writer.run(waiting));
        Self { queue, room: Arc::new(Semaphore::new(QUEUE_MAX_KIB)), node: node.into(), policies, woken }
    }

    /// The signers that a tenant has a grant from, by chain and name.
    #[must_use]
    pub fn granted_to(&self, tenant_id: Uuid) -> Vec<&SignerPolicy> {
        let mut granted: Vec<_> =
            self.policies.values().filter(|policy| policy.grant_of(tenant_id).is_ok()).collect();
        granted.sort_by_key(|policy| (policy.chain_id, policy.name.as_str()));
        granted
    }

    /// The name of this node.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.node
    }

    /// The policy of a signer.
    #[must_use]
    pub fn policy(&self, signer: SignerId) -> Option<&SignerPolicy> {
        self.policies.get(&signer)
    }

    /// Whether anything is sent on this chain: where a signer of ours is, users' transactions are sent too.
    #[must_use]
    pub fn serves(&self, chain_id: u64) -> bool {
        self.policies.keys().any(|signer| signer.chain_id == chain_id)
    }

    /// Puts a request of the platform's own on record, whatever its tenant is granted.
    ///
    /// # Errors
    /// [`AcceptError`]. After [`AcceptError::Database`] it may be on record: a repetition tells.
    pub async fn accept(&self, request: Request) -> Result<Accepted, AcceptError> {
        match self.hand_in(request, false, None).await {
            Ok(Told::Accepted(accepted)) => Ok(accepted),
            Err(SubmitError::Accept(error)) => Err(error),
            // Without a grant to ask for and a key to keep there is no other error, and no other end.
            Ok(Told::Settled(_)) | Err(_) => Err(AcceptError::Stopped),
        }
    }

    /// Puts a tenant's request on record, as far as that is granted. What is there already under its key is told, whatever is granted now.
    ///
    /// # Errors
    /// [`SubmitError`]; as with [`Intake::accept`].
    pub async fn submit(&self, request: Request) -> Result<Accepted, SubmitError> {
        match self.hand_in(request, true, None).await? {
            Told::Accepted(accepted) => Ok(accepted),
            Told::Settled(_) => Err(AcceptError::Stopped.into()),
        }
    }

    /// The same, with the key under which it came: key, request, audit entry and answer are committed together.
    ///
    /// # Errors
    /// What [`Answer`] keeps nothing of. The claim is given up then.
    pub async fn submit_under(
        &self,
        request: Request,
        claim: Claim,
        answer: Answer,
    ) -> Result<Settled, SubmitError> {
        match self.hand_in(request, true, Some(Under { claim, answer })).await? {
            Told::Settled(settled) => Ok(settled),
            Told::Accepted(_) => Err(AcceptError::Stopped.into()),
        }
    }

    async fn hand_in(
        &self,
        request: Request,
        needs_grant: bool,
        under: Option<Under>,
    ) -> Result<Told, SubmitError> {
        let began = std::time::Instant::now();
        request.check()?;
        // What is on record is told where its signer is not configured any more, too.
        if !needs_grant && !self.policies.contains_key(&request.signer) {
            return Err(AcceptError::UnknownSigner { signer: request.signer }.into());
        }
        let kib = u32::try_from(request.call.data.len() / 1024 + 1).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).try_acquire_many_owned(kib).map_err(|_| AcceptError::Overloaded)?;
        let (asker, told) = oneshot::channel();
        let waiting = Waiting { request, needs_grant, under, asker, _room: room };
        self.queue.try_send(waiting).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => AcceptError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => AcceptError::Stopped,
        })?;
        let told = told.await.map_err(|_| AcceptError::Stopped)?;
        metrics::histogram!("relayer_accept_seconds").record(began.elapsed());
        told
    }

    /// Tells whoever works the signers here that something was committed elsewhere.
    pub fn ring(&self) {
        self.woken.ring();
    }
}
