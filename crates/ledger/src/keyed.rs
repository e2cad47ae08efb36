//! The way in for requests with an idempotency key: postings, what the audit says of them, and the answer are committed with the key, or none of it.
//!
//! A request is a group of postings with one answer. Groups that wait while others are being committed share the next transaction, and no handler holds a connection meanwhile. Nothing of
//! one fails another: what is wrong with a posting is its outcome, and what only the database finds is isolated by halving, down to one group. A process that dies anywhere leaves nothing to recover; behind
//! the key stands each posting's natural key, which outlives it.
//!
//! # The order of locks
//! The claims of idempotency keys, by entry; then what whoever posts locks ([`crate::repo::postings`]).

use std::collections::BTreeSet;
use std::fmt;

use plimsoll_bus::audit::{self, Entry, RecordError};
use plimsoll_store::Db;
use plimsoll_store::idempotency::{self, Claim, IdempotencyError, Response, Settled};
use sqlx::PgConnection;
use tokio::sync::{mpsc, oneshot};

use crate::batch::{self, Outcomes, Posted};
use crate::error::PostError;
use crate::posting::Posting;
use crate::writer::{self, BATCH_MAX};

/// The most postings of one request.
pub const GROUP_MAX: usize = 200;
/// The most requests that wait. Whoever comes then is told to come again.
const WAITING_MAX: usize = 2_048;

/// Why a request has no answer that could be kept. It was not executed, but after [`PostError::Database`], of which a repetition tells.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// What came of its posting, or of all of them.
    #[error(transparent)]
    Post(#[from] PostError),
    /// The key under which it came is another's now, or its answer cannot be kept.
    #[error(transparent)]
    Key(#[from] IdempotencyError),
    /// Its answer cannot be written.
    #[error("an answer that cannot be written: {0}")]
    Answer(#[from] serde_json::Error),
    /// It cannot be put on record who asked for it.
    #[error(transparent)]
    Audit(#[from] RecordError),
    /// More than one request may have, or nothing.
    #[error("a request has from 1 to {GROUP_MAX} postings; this one has {postings}")]
    Group {
        /// How many.
        postings: usize,
    },
}

/// What is committed with postings under their request's key.
#[derive(Debug)]
pub struct Kept {
    /// The answer.
    pub response: Response,
    /// What the audit is to say, each entry in its context.
    pub entries: Vec<Entry>,
}

/// Makes the answer from what came of each posting, by its place, before that is committed. An error: nothing of it is committed, and the key is free again. It may be asked more than once, and has
/// to say the same.
pub type Answer = Box<dyn Fn(&[Result<Posted, PostError>]) -> Result<Kept, SubmitError> + Send + Sync>;

struct Group {
    postings: Vec<Posting>,
    claim: Claim,
    answer: Answer,
    asker: oneshot::Sender<Result<Settled, SubmitError>>,
}

/// Takes postings under keys. Clones share the queue.
#[derive(Clone)]
pub struct KeyedIntake {
    queue: mpsc::Sender<Group>,
}

impl fmt::Debug for KeyedIntake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedIntake").finish_non_exhaustive()
    }
}

impl KeyedIntake {
    /// Starts to take postings.
    #[must_use]
    pub fn start(db: Db) -> Self {
        let (queue, waiting) = mpsc::channel(WAITING_MAX);
        tokio::spawn(Writer { db }.run(waiting));
        Self { queue }
    }

    /// Books postings together, and answers once that is durable. Dropped, they may be booked all the same.
    ///
    /// # Errors
    /// [`SubmitError`], among them what [`Answer`] refused with.
    pub async fn submit(
        &self,
        postings: Vec<Posting>,
        claim: Claim,
        answer: Answer,
    ) -> Result<Settled, SubmitError> {
        if !(1..=GROUP_MAX).contains(&postings.len()) {
            return Err(SubmitError::Group { postings: postings.len() });
        }
        let (asker, told) = oneshot::channel();
        self.queue.try_send(Group { postings, claim, answer, asker }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => PostError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => PostError::Stopped,
        })?;
        told.await.unwrap_or_else(|_| Err(PostError::Stopped.into()))
    }
}

/// Why a batch was not committed.
enum Failure {
    /// The database's word over all of it.
    Whole(sqlx::Error),
    /// One of its groups cannot be committed.
    OfOne { place: usize, error: SubmitError },
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Whole(error)
    }
}

struct Writer {
    db: Db,
}

impl Writer {
    /// Commits what waits, batch after batch. Ends when the last [`KeyedIntake`] is gone and nothing waits.
    async fn run(self, mut queue: mpsc::Receiver<Group>) {
        let mut waiting = Vec::new();
        while queue.recv_many(&mut waiting, BATCH_MAX).await > 0 {
            for batch in batches(std::mem::take(&mut waiting)) {
                self.write(batch).await;
            }
        }
    }

    /// Commits all of them together; or, where one of them cannot be, without it; or, where it is not known which, in halves, until it is alone. It ends: each round has an answer for
    /// one at least, or makes the parts smaller.
    async fn write(&self, batch: Vec<Group>) {
        let mut parts = vec![batch];
        while let Some(mut part) = parts.pop() {
            match self.commit(&part).await {
                Ok(answers) => part.into_iter().zip(answers).for_each(|(group, answer)| tell(group, answer)),
                Err(Failure::OfOne { place, error }) => {
                    tell(part.remove(place), Err(error));
                    if !part.is_empty() {
                        parts.push(part);
                    }
                }
                Err(Failure::Whole(error)) if part.len() > 1 && writer::may_be_of_one(&error) => {
                    let rest = part.split_off(part.len() / 2);
                    parts.extend([rest, part]);
                }
                Err(Failure::Whole(error)) => {
                    tracing::warn!(%error, requests = part.len(), "postings could not be written");
                    let error = PostError::from(error);
                    part.into_iter().for_each(|group| tell(group, Err(error.clone().into())));
                }
            }
        }
    }

    /// One transaction as the app's role, confined to the tenants of its postings; once more where somebody else was in the way.
    async fn commit(&self, batch: &[Group]) -> Result<Vec<Result<Response, SubmitError>>, Failure> {
        let postings = batch.iter().flat_map(|group| &group.postings);
        let tenants: BTreeSet<_> = postings.map(Posting::tenant_id).collect();
        let tenants: Vec<_> = tenants.into_iter().collect();
        let mut tries = 0;
        loop {
            let mut tx = self.db.tenant_tx_by_keys(&tenants).await?;
            match book(&mut tx, batch).await {
                Ok(answers) => {
                    tx.commit().await?;
                    return Ok(answers);
                }
                Err(failure) => {
                    tx.rollback().await?;
                    tries += 1;
                    match failure {
                        Failure::Whole(error)
                            if tries < writer::TRIES_MAX && writer::is_in_the_way(&error) => {}
                        failure => return Err(failure),
                    }
                }
            }
        }
    }
}

/// In parts of about as many postings as a transaction has, which is one group at least.
fn batches(waiting: Vec<Group>) -> Vec<Vec<Group>> {
    let mut batches: Vec<Vec<Group>> = Vec::new();
    let mut postings = 0;
    for group in waiting {
        if batches.is_empty() || postings + group.postings.len() > BATCH_MAX {
            batches.push(Vec::new());
            postings = 0;
        }
        postings += group.postings.len();
        batches.last_mut().expect("one was pushed").push(group);
    }
    batches
}

/// Books the groups whose claims are held, and writes their answers.
async fn book(
    conn: &mut PgConnection,
    batch: &[Group],
) -> Result<Vec<Result<Response, SubmitError>>, Failure> {
    let claims: Vec<_> = batch.iter().map(|group| &group.claim).collect();
    let held = idempotency::lock_all(conn, &claims).await.map_err(of_all)?;
    let ours = batch.iter().zip(&held).filter(|(_, is_held)| **is_held);
    let postings: Vec<_> = ours.flat_map(|(group, _)| &group.postings).collect();
    let mut outcomes =
        if postings.is_empty() { Outcomes::new() } else { batch::post(conn, &postings, None).await? };

    let (mut answers, mut entries) = (Vec::with_capacity(batch.len()), Vec::new());
    for (place, (group, is_held)) in batch.iter().zip(held).enumerate() {
        if !is_held {
            answers.push(Err(group.claim.fenced().into()));
            continue;
        }
        let rest = outcomes.split_off(group.postings.len());
        let is_booked = outcomes.iter().any(|outcome| outcome.as_ref().is_ok_and(|posted| !posted.is_replay));
        answers.push(match (group.answer)(&outcomes) {
            Ok(kept) => {
                entries.extend(kept.entries.into_iter().map(|entry| (place, entry)));
                Ok(kept.response)
            }
            // What is on record has an answer.
            Err(error) if is_booked => return Err(Failure::OfOne { place, error }),
            Err(error) => Err(error),
        });
        outcomes = rest;
    }
    if !entries.is_empty() {
        record(conn, entries).await?;
    }
    let written: Vec<_> = answers
        .iter()
        .zip(&claims)
        .filter_map(|(answer, claim)| Some((*claim, answer.as_ref().ok()?)))
        .collect();
    if !written.is_empty() {
        idempotency::write_all(conn, &written).await.map_err(of_all)?;
    }
    Ok(answers)
}

/// Puts these on record, each of the group at its place.
async fn record(conn: &mut PgConnection, entries: Vec<(usize, Entry)>) -> Result<(), Failure> {
    let places: BTreeSet<_> = entries.iter().map(|(place, _)| *place).collect();
    match audit::record_all(conn, entries.into_iter().map(|(_, entry)| entry).collect()).await {
        Ok(()) => Ok(()),
        Err(RecordError::Database(error)) => Err(error.into()),
        // It does not say whose entry it is: each group is tried alone.
        Err(error) => match places.first() {
            Some(&place) if places.len() == 1 => Err(Failure::OfOne { place, error: error.into() }),
            _ => Err(Failure::Whole(sqlx::Error::Encode(error.to_string().into()))),
        },
    }
}

/// Tells whoever waits, who may be gone: what is on record is so all the same. A claim that was not kept is given up.
fn tell(group: Group, answer: Result<Response, SubmitError>) {
    let _ = group.asker.send(answer.map(|response| group.claim.committed(response)));
}

/// What keeps a whole batch from being committed.
fn of_all(error: IdempotencyError) -> Failure {
    match error {
        IdempotencyError::Database(error) => error.into(),
        // Their rows are locked under their claims.
        other => Failure::Whole(sqlx::Error::Protocol(other.to_string())),
    }
}
