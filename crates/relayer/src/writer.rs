//! The writer: commits what waits to be accepted, many requests in one transaction.
//!
//! Requests that come while a transaction is being committed share the next one: when nobody else is there, a batch is one request and nobody waits for it. What is wrong with a request is
//! found before it is queued; what only the database finds, such as a tenant that it does not know, is isolated by halving the batch. So nothing in a batch fails its neighbours; and a
//! natural key that is taken is an answer, not an error.
//!
//! # The order of locks
//! The entries of idempotency keys, by key; then what a day's spending is counted under, by tenant and signer; then the requests, all together, by their natural keys.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use plimsoll_bus::PublishError;
use plimsoll_bus::audit::{self, RecordError};
use plimsoll_store::idempotency::{self, Claim, IdempotencyError};
use plimsoll_store::{Db, Tx};
use plimsoll_types::api::Transaction;
use sqlx::PgConnection;
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::accept::{self, AcceptError, Accepted};
use crate::allowance::Granted;
use crate::bell::Bell;
use crate::grant::SignerPolicy;
use crate::intake::{Kept, SubmitError, Told, Under, Waiting};
use crate::read;
use crate::repo::read::Row;
use crate::request::SignerId;

/// The most requests of one transaction: what follows from it is at most as many events as one statement takes.
const BATCH_MAX: usize = 512;

/// Commits what waits.
pub(crate) struct Writer {
    db: Db,
    node: Arc<str>,
    policies: Arc<HashMap<SignerId, SignerPolicy>>,
    woken: Bell,
}

/// Why a batch was not committed.
enum Failure {
    /// The database's word over all of it.
    Whole(PublishError),
    /// One of them cannot be committed.
    OfOne { place: usize, error: SubmitError },
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Whole(error.into())
    }
}

impl From<PublishError> for Failure {
    fn from(error: PublishError) -> Self {
        Self::Whole(error)
    }
}

/// What came of each, by its place. None: not known yet.
type Outcomes = Vec<Option<Result<Accepted, SubmitError>>>;

impl Writer {
    pub(crate) fn new(
        db: Db,
        node: &str,
        policies: Arc<HashMap<SignerId, SignerPolicy>>,
        woken: Bell,
    ) -> Self {
        Self { db, node: node.into(), policies, woken }
    }

    /// Commits what waits, batch after batch. Ends when the last [`crate::Intake`] is gone and nothing waits.
    pub(crate) async fn run(self, mut queue: mpsc::Receiver<Waiting>) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        while queue.recv_many(&mut batch, BATCH_MAX).await > 0 {
            metrics::histogram!("relayer_accept_batch_requests").record(batch.len() as f64);
            self.write(std::mem::take(&mut batch)).await;
            self.woken.ring();
        }
    }

    /// Commits all of them together; or, where one of them cannot be, without it; or, where it is not known which, in halves, until it is alone. It ends: each round has an answer for
    /// one at least, or makes the parts smaller.
    async fn write(&self, batch: Vec<Waiting>) {
        let mut parts = vec![batch];
        while let Some(mut part) = parts.pop() {
            match self.commit(&part).await {
                Ok(ends) => part.into_iter().zip(ends).for_each(|(waiting, end)| end.tell(waiting)),
                Err(Failure::OfOne { place, error }) => {
                    End::Not(error).tell(part.remove(place));
                    if !part.is_empty() {
                        parts.push(part);
                    }
                }
                Err(Failure::Whole(error)) if part.len() > 1 && may_be_of_one(&error) => {
                    let rest = part.split_off(part.len() / 2);
                    parts.extend([rest, part]);
                }
                Err(Failure::Whole(error)) => {
                    tracing::warn!(%error, requests = part.len(), "requests could not be accepted");
                    let error = Arc::new(error);
                    for waiting in part {
                        End::Not(AcceptError::Database(Arc::clone(&error)).into()).tell(waiting);
                    }
                }
            }
        }
    }

    /// One transaction as the app's role, confined to the tenants of its requests.
    async fn commit(&self, batch: &[Waiting]) -> Result<Vec<End>, Failure> {
        let tenants: HashSet<_> = batch.iter().filter_map(|waiting| waiting.request.tenant_id()).collect();
        let tenants: Vec<_> = tenants.into_iter().collect();
        let mut tx = self.db.tenant_tx_by_keys(&tenants).await?;
        let mut outcomes: Outcomes = batch.iter().map(|_| None).collect();
        hold_claims(&mut tx, batch, &mut outcomes).await?;
        self.judge_granted(&mut tx, batch, &mut outcomes).await?;
        let rest: Vec<_> = (0..batch.len()).filter(|place| outcomes[*place].is_none()).collect();
        let requests: Vec<_> = rest.iter().map(|place| &batch[*place].request).collect();
        let mut new = Vec::new();
        if !requests.is_empty() {
            let put = accept::put(&mut tx, &self.node, &requests).await?;
            for (place, outcome) in rest.into_iter().zip(put.outcomes) {
                outcomes[place] = Some(outcome.map_err(SubmitError::from));
            }
            new = put.new;
        }
        // All were put, or have their answer.
        let mut outcomes: Vec<_> =
            outcomes.into_iter().map(|outcome| outcome.unwrap_or(Err(AcceptError::Stopped.into()))).collect();
        for accepted in outcomes.iter_mut().flatten() {
            accepted.batch = batch.len();
        }
        let kept = keep_answers(&mut tx, &tenants, batch, &outcomes, new).await?;
        tx.commit().await?;
        let ends = outcomes.into_iter().zip(kept).map(|(outcome, kept)| match (outcome, kept) {
            (_, Some(kept)) => End::Kept(kept),
            (Ok(accepted), None) => End::Accepted(accepted),
            (Err(error), None) => End::Not(error),
        });
        Ok(ends.collect())
    }

    /// Says what is not granted of what needs a grant, unless it is on record already; the rest is to be put.
    async fn judge_granted(
        &self,
        conn: &mut PgConnection,
        batch: &[Waiting],
        outcomes: &mut Outcomes,
    ) -> Result<(), Failure> {
        let open: Vec<_> = (0..batch.len())
            .filter(|place| outcomes[*place].is_none() && batch[*place].needs_grant)
            .collect();
        if open.is_empty() {
            return Ok(());
        }
        let (mut refused, mut limited) = (Vec::new(), BTreeMap::<_, Vec<_>>::new());
        for place in open {
            let request = &batch[place].request;
            match Granted::of(&self.policies, request) {
                Ok(granted) if granted.counts(request) => {
                    let day = (granted.tenant_id, granted.signer());
                    limited.entry(day).or_default().push((place, granted));
                }
                Ok(_) => {}
                Err(error) => refused.push((place, error)),
            }
        }
        if !refused.is_empty() {
            let requests: Vec<_> = refused.iter().map(|(place, _)| &batch[*place].request).collect();
            let found = accept::found(conn, &requests).await?;
            for ((place, error), known) in refused.into_iter().zip(found) {
                outcomes[place] = Some(known.map_or(Err(error), |known| known.map_err(SubmitError::from)));
            }
        }
        for of_day in limited.into_values() {
            let Some((_, granted)) = of_day.first() else { continue };
            let mut day = granted.day(conn).await?;
            // Some may be there already, put by whoever counted before too: they count already.
            let requests: Vec<_> = of_day.iter().map(|(place, _)| &batch[*place].request).collect();
            let found = accept::found(conn, &requests).await?;
            for ((place, granted), known) in of_day.into_iter().zip(found) {
                outcomes[place] = match known {
                    Some(known) => Some(known.map_err(SubmitError::from)),
                    None => granted.give(&mut day, &batch[place].request).err().map(Err),
                };
            }
        }
        Ok(())
    }
}

/// Proves the claims of those that came under a key: what belongs to another now is left out.
async fn hold_claims(
    conn: &mut PgConnection,
    batch: &[Waiting],
    outcomes: &mut Outcomes,
) -> Result<(), Failure> {
    let keyed: Vec<(usize, &Claim)> = batch
        .iter()
        .enumerate()
        .filter_map(|(place, waiting)| Some((place, &waiting.under.as_ref()?.claim)))
        .collect();
    if keyed.is_empty() {
        return Ok(());
    }
    let claims: Vec<_> = keyed.iter().map(|(_, claim)| *claim).collect();
    let held = idempotency::lock_all(conn, &claims).await.map_err(of_all)?;
    for ((place, claim), is_held) in keyed.into_iter().zip(held) {
        if !is_held {
            outcomes[place] = Some(Err(claim.fenced().into()));
        }
    }
    Ok(())
}

/// Writes the answers to those that came under a key, and what the audit is to say; and tells what was kept.
async fn keep_answers(
    tx: &mut Tx,
    tenants: &[Uuid],
    batch: &[Waiting],
    outcomes: &[Result<Accepted, SubmitError>],
    new: Vec<Row>,
) -> Result<Vec<Option<idempotency::Response>>, Failure> {
    let mut kept: Vec<Option<idempotency::Response>> = batch.iter().map(|_| None).collect();
    let is_old = |(waiting, outcome): &(&Waiting, &Result<Accepted, SubmitError>)| {
        waiting.under.is_some() && outcome.as_ref().is_ok_and(|accepted| accepted.is_replay)
    };
    let old: Vec<Uuid> = batch
        .iter()
        .zip(outcomes)
        .filter(is_old)
        .filter_map(|(_, outcome)| outcome.as_ref().ok().map(|accepted| accepted.id))
        .collect();
    let mut told = read::new(tx, tenants, new).await?;
    told.extend(read::these(tx, tenants, &old).await?);
    let transactions: HashMap<Uuid, Transaction> =
        told.into_iter().map(|transaction| (transaction.transaction_id, transaction)).collect();
    let mut entries = Vec::new();
    for (place, (waiting, outcome)) in batch.iter().zip(outcomes).enumerate() {
        let Some(Under { answer, .. }) = &waiting.under else { continue };
        let told = match outcome {
            // A claim that is not held can answer nothing.
            Err(SubmitError::Key(_)) => continue,
            Err(error) => answer(Err(error)),
            Ok(accepted) => match transactions.get(&accepted.id) {
                Some(transaction) => answer(Ok((accepted, transaction))),
                None => {
                    let missing = format!("transaction {} was put and is not there", accepted.id);
                    return Err(sqlx::Error::Decode(missing.into()).into());
                }
            },
        };
        match told {
            Ok(Some(Kept { response, entry })) => {
                kept[place] = Some(response);
                if let Some(entry) = entry {
                    entries.push((place, entry.in_context(waiting.request.context.clone())));
                }
            }
            // What is on record has an answer.
            Ok(None) if outcome.is_ok() => {
                return Err(Failure::OfOne { place, error: AcceptError::Stopped.into() });
            }
            Ok(None) => {}
            Err(error) => return Err(Failure::OfOne { place, error }),
        }
    }
    let places: Vec<_> = entries.iter().map(|(place, _)| *place).collect();
    match audit::record_all(tx, entries.into_iter().map(|(_, entry)| entry).collect()).await {
        Ok(()) => {}
        Err(RecordError::Database(error)) => return Err(error.into()),
        // It does not say whose entry it is: each is tried alone.
        Err(error) => match places.as_slice() {
            [place] => return Err(Failure::OfOne { place: *place, error: error.into() }),
            _ => return Err(Failure::Whole(sqlx::Error::Encode(error.to_string().into()).into())),
        },
    }
    let answers: Vec<_> = batch
        .iter()
        .zip(&kept)
        .filter_map(|(waiting, response)| Some((&waiting.under.as_ref()?.claim, response.as_ref()?)))
        .collect();
    if !answers.is_empty() {
        idempotency::write_all(tx, &answers).await.map_err(of_all)?;
    }
    Ok(kept)
}

/// How it ended for one.
enum End {
    Accepted(Accepted),
    /// Its answer is committed with its key.
    Kept(idempotency::Response),
    Not(SubmitError),
}

impl End {
    /// Tells whoever waits, who may be gone: what is on record is so all the same. A claim that was not kept is given up.
    fn tell(self, waiting: Waiting) {
        let told = match (self, waiting.under) {
            (Self::Kept(response), Some(under)) => Ok(Told::Settled(under.claim.committed(response))),
            (Self::Accepted(accepted), _) => Ok(Told::Accepted(accepted)),
            (Self::Not(error), _) => Err(error),
            (Self::Kept(_), None) => Err(AcceptError::Stopped.into()),
        };
        let _ = waiting.asker.send(told);
    }
}

/// What keeps a whole batch from being committed.
fn of_all(error: IdempotencyError) -> Failure {
    match error {
        IdempotencyError::Database(error) => error.into(),
        // Their rows are locked under their claims.
        other => sqlx::Error::Protocol(other.to_string()).into(),
    }
}

/// Whether it may be said of one request alone: its data (class 22) or its references (class 23), a deadlock with another transaction (class 40), or that it cannot be put into words.
fn may_be_of_one(error: &PublishError) -> bool {
    match error {
        PublishError::Database(sqlx::Error::Database(refused)) => {
            refused.code().is_some_and(|code| ["22", "23", "40"].iter().any(|class| code.starts_with(class)))
        }
        PublishError::Database(sqlx::Error::Encode(_)) => true,
        PublishError::Database(_) => false,
        _ => true,
    }
}
