//! Accepting: durable, once per `(tenant_id, request_id, operation_type)`, and many at once in one transaction.
//!
//! Callers that come while a transaction is being committed share the next one: when nobody else is there, a batch is one request and nobody waits for it. Nobody holds a connection while
//! waiting. What is wrong with a request is found before it is queued; what only the database finds, such as a tenant that it does not know, is isolated by halving the batch. So nothing
//! in a batch fails its neighbours; and a key that is taken is an answer, not an error.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use plimsoll_bus::PublishError;
use plimsoll_store::Db;
use plimsoll_types::{Context, TransactionState};
use sqlx::PgConnection;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use crate::bell::Bell;
use crate::history;
use crate::repo::accept as repo;
use crate::request::{Invalid, Request, SignerId};

/// The most requests of one transaction: what follows from it is at most as many events as one statement takes.
const BATCH_MAX: usize = 512;
/// The most requests that wait. Whoever comes then is told to come again.
const QUEUE_MAX: usize = 8_192;

/// A request that is on record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The transaction's id.
    pub id: Uuid,
    /// Where it stands.
    pub state: TransactionState,
    /// Whether it was there before.
    pub is_replay: bool,
    /// How many requests were committed together with it.
    pub batch: usize,
}

/// Why a request is not on record.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// It is not a request.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// Nobody here signs for that address.
    #[error("no signer {signer} is configured; `plimsoll signers list` shows those that are")]
    UnknownSigner {
        /// Who was asked for.
        signer: SignerId,
    },
    /// Its key is another request's.
    #[error(
        "request_id {request_id} was used for another {operation_type} (transaction {id}): send what is new under a new request_id"
    )]
    Conflict {
        /// The key.
        request_id: Uuid,
        /// The key.
        operation_type: String,
        /// What has the key.
        id: Uuid,
    },
    /// Too many wait already.
    #[error("{QUEUE_MAX} requests wait to be accepted: send it again in a moment, under the same request_id")]
    Overloaded,
    /// The database. Whether the request is on record is not known: send it again under the same request_id.
    #[error("accepting: {0}")]
    Database(Arc<PublishError>),
    /// The process ends. As with the database.
    #[error("the relayer is being stopped: send it again under the same request_id")]
    Stopped,
}

/// Takes requests. Clones share the queue.
#[derive(Clone, Debug)]
pub struct Acceptor {
    queue: mpsc::Sender<Waiting>,
    signers: Arc<HashSet<SignerId>>,
}

#[derive(Debug)]
struct Waiting {
    request: Request,
    answer: oneshot::Sender<Result<Accepted, AcceptError>>,
}

impl Acceptor {
    /// Starts accepting for these signers, in the name of this node. `woken` is told when a request was put.
    #[must_use]
    pub fn start(db: Db, node: String, signers: impl IntoIterator<Item = SignerId>, woken: Bell) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        tokio::spawn(write(db, node, waiting, woken));
        Self { queue, signers: Arc::new(signers.into_iter().collect()) }
    }

    /// Puts a request on record.
    ///
    /// # Errors
    /// [`AcceptError`]. After [`AcceptError::Database`] it may be on record: a repetition tells.
    pub async fn accept(&self, request: Request) -> Result<Accepted, AcceptError> {
        request.check()?;
        if !self.signers.contains(&request.signer) {
            return Err(AcceptError::UnknownSigner { signer: request.signer });
        }
        let (answer, answered) = oneshot::channel();
        self.queue.try_send(Waiting { request, answer }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => AcceptError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => AcceptError::Stopped,
        })?;
        answered.await.map_err(|_| AcceptError::Stopped)?
    }
}

/// Asks for a transaction's end, as its tenant; whether that could still be asked for. What comes of it, its history says: before an attempt the request ends, after one something that
/// does nothing competes for its nonce, and the chain decides.
///
/// # Errors
/// The database's.
pub async fn call_off(db: &Db, tenant_id: Uuid, id: Uuid, why: &str) -> Result<bool, sqlx::Error> {
    let mut tx = db.tenant_tx(&[tenant_id]).await?;
    let could = call_off_in(&mut tx, id, why).await?;
    tx.commit().await?;
    Ok(could)
}

/// [`call_off`] within a transaction that is confined to the tenant.
///
/// # Errors
/// The database's.
pub async fn call_off_in(conn: &mut PgConnection, id: Uuid, why: &str) -> Result<bool, sqlx::Error> {
    repo::call_off(conn, id, why).await
}

/// Commits what waits, batch after batch. Ends when the last [`Acceptor`] is gone and nothing waits.
async fn write(db: Db, node: String, mut waiting: mpsc::Receiver<Waiting>, woken: Bell) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    while waiting.recv_many(&mut batch, BATCH_MAX).await > 0 {
        let (requests, answers): (Vec<_>, Vec<_>) =
            batch.drain(..).map(|Waiting { request, answer }| (request, answer)).unzip();
        metrics::histogram!("relayer_accept_batch_requests").record(requests.len() as f64);
        let outcomes = commit_in_parts(&db, &node, &requests).await;
        woken.ring();
        for (answer, outcome) in answers.into_iter().zip(outcomes) {
            // Whoever asked may be gone: the request is on record all the same.
            let _ = answer.send(outcome);
        }
    }
}

/// Commits all of them together; or, where the database does not take one of them, in halves, until that one is alone. It ends: each part is smaller than the one before.
async fn commit_in_parts(db: &Db, node: &str, requests: &[Request]) -> Vec<Result<Accepted, AcceptError>> {
    let mut outcomes = Vec::with_capacity(requests.len());
    let mut parts = vec![requests];
    while let Some(part) = parts.pop() {
        match commit(db, node, part).await {
            Ok(of_part) => outcomes.extend(of_part),
            Err(error) if part.len() > 1 && is_of_one(&error) => {
                let (first, second) = part.split_at(part.len() / 2);
                parts.extend([second, first]);
            }
            Err(error) => {
                tracing::warn!(%error, requests = part.len(), "requests could not be accepted");
                let error = Arc::new(error);
                outcomes.extend(part.iter().map(|_| Err(AcceptError::Database(Arc::clone(&error)))));
            }
        }
    }
    outcomes
}

/// Whether it may be said of one request alone: its data (class 22) or its references (class 23), or that it cannot be published.
fn is_of_one(error: &PublishError) -> bool {
    match error {
        PublishError::Database(sqlx::Error::Database(refused)) => {
            refused.code().is_some_and(|code| code.starts_with("22") || code.starts_with("23"))
        }
        PublishError::Database(sqlx::Error::Encode(_)) => true,
        PublishError::Database(_) => false,
        _ => true,
    }
}

/// One transaction as the app's role, confined to the tenants of its requests.
async fn commit(
    db: &Db,
    node: &str,
    requests: &[Request],
) -> Result<Vec<Result<Accepted, AcceptError>>, PublishError> {
    let tenants: HashSet<_> = requests.iter().filter_map(Request::tenant_id).collect();
    let tenants: Vec<_> = tenants.into_iter().collect();
    let mut tx = db.tenant_tx(&tenants).await?;
    let outcomes = put(&mut tx, node, requests).await?;
    tx.commit().await?;
    Ok(outcomes)
}

/// Puts requests, in a transaction that is confined to their tenants: what will have come of each once that is committed.
pub(crate) async fn put(
    conn: &mut PgConnection,
    node: &str,
    requests: &[Request],
) -> Result<Vec<Result<Accepted, AcceptError>>, PublishError> {
    // Version 7: their order is that of their making, which the queue goes by.
    let given: Vec<_> = requests.iter().map(|request| (Uuid::now_v7(), request)).collect();
    let changes = repo::insert(conn, node, &given).await?;
    let new: HashMap<_, _> = changes.iter().map(|change| (change.id, change.state)).collect();
    let contexts: HashMap<_, _> = given.iter().map(|(id, request)| (*id, &request.context)).collect();
    let accepted = changes
        .iter()
        .filter_map(|change| Some((Context::clone(contexts.get(&change.id)?), change)))
        .collect();
    history::publish(conn, None, "accepted", accepted).await?;
    let old: Vec<_> = given
        .iter()
        .enumerate()
        .filter(|(_, (id, _))| !new.contains_key(id))
        .map(|(place, _)| place)
        .collect();
    let found = if old.is_empty() {
        Vec::new()
    } else {
        let asked: Vec<_> = old.iter().map(|place| &requests[*place]).collect();
        repo::find(conn, &asked).await?
    };

    let batch = requests.len();
    let mut outcomes: Vec<_> = given
        .iter()
        .map(|(id, _)| {
            let state = *new.get(id)?;
            Some(Ok(Accepted { id: *id, state, is_replay: false, batch }))
        })
        .collect();
    for row in found {
        let place = old[row.place];
        outcomes[place] = Some(outcome(&requests[place], &row, batch));
    }
    // What was neither inserted nor found cannot be: rows are never deleted.
    Ok(outcomes.into_iter().map(|outcome| outcome.unwrap_or(Err(AcceptError::Stopped))).collect())
}

/// What is there under the natural key of this request, and what that means for it.
pub(crate) async fn found(
    conn: &mut PgConnection,
    request: &Request,
) -> Result<Option<Result<Accepted, AcceptError>>, sqlx::Error> {
    let rows = repo::find(conn, &[request]).await?;
    Ok(rows.first().map(|row| outcome(request, row, 1)))
}

fn outcome(request: &Request, row: &repo::Row, batch: usize) -> Result<Accepted, AcceptError> {
    if row.fingerprint == request.fingerprint() {
        return Ok(Accepted { id: row.id, state: row.state, is_replay: true, batch });
    }
    Err(AcceptError::Conflict {
        request_id: request.context.request_id,
        operation_type: request.operation_type.clone(),
        id: row.id,
    })
}
