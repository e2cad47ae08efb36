//! Who sends what users signed: one process a chain, by lease.

use std::sync::Arc;
use std::time::Duration;

use plimsoll_chain::Pool;
use plimsoll_journal::WatchError;
use plimsoll_store::{Db, Lease, LeaseError, Leases};
use tokio::sync::Mutex;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::answer::{self, Reading, SendAnswer};
use crate::bell::Bell;
use crate::desk::Market;
use crate::history;
use crate::repo::users::{self as repo, Answered, Due};

/// The most that are sent at once.
const BATCH_MAX: i64 = 64;
/// Sendings to one endpoint that are under way at once: one that does not answer is given no more, and the others are.
const SENDINGS_MAX: usize = 16;
/// How often it is looked for work while nobody rings.
const POLL: Duration = Duration::from_millis(500);
/// After the database failed.
const TROUBLE_PAUSE: Duration = Duration::from_secs(1);
/// What a node has taken is given to all of them again after this time.
const RESEND: Duration = Duration::from_secs(30);
/// What no node took, after this; twice as long with each time, and [`RESEND`] at most.
const PAUSE: Duration = Duration::from_millis(500);
const ACTOR: &str = "relayer";

/// Sends what users of one chain signed, whenever this process has the right to.
#[derive(Debug)]
pub struct Courier {
    chain_id: u64,
    market: Market,
    db: Db,
    leases: Leases,
    node: String,
    bell: Bell,
}

/// Why work could not go on.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Lease(#[from] LeaseError),
    #[error(transparent)]
    Watch(#[from] WatchError),
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Publish(#[from] plimsoll_bus::PublishError),
    #[error("a sending was lost: {0}")]
    Lost(#[from] JoinError),
}

/// The name of the lease under which users' transactions of a chain are sent.
#[must_use]
pub fn courier_lease(chain_id: u64) -> String {
    format!("courier/{chain_id}")
}

impl Courier {
    /// For this chain, over these endpoints, in the name of this node.
    #[must_use]
    pub fn new(chain_id: u64, market: Market, db: Db, leases: Leases, node: String, bell: Bell) -> Self {
        Self { chain_id, market, db, leases, node, bell }
    }

    /// Works until `stop`.
    pub async fn run(&self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            let lease = match self.leases.acquire_wait(&courier_lease(self.chain_id), stop).await {
                Ok(lease) => lease,
                Err(LeaseError::Cancelled { .. }) => return,
                Err(error) => {
                    self.trouble(&error.into(), stop).await;
                    continue;
                }
            };
            let lost = lease.lost().clone();
            while !stop.is_cancelled() && !lost.is_cancelled() {
                let worked = tokio::select! {
                    biased;
                    () = stop.cancelled() => return,
                    () = lost.cancelled() => break,
                    worked = self.work(&lease) => worked,
                };
                if let Err(error) = worked {
                    let is_fenced = matches!(error, Trouble::Lease(LeaseError::Fenced { .. }));
                    self.trouble(&error, stop).await;
                    if is_fenced {
                        break;
                    }
                }
            }
        }
    }

    async fn trouble(&self, error: &Trouble, stop: &CancellationToken) {
        tracing::warn!(chain_id = self.chain_id, %error, "users' transactions cannot be sent now");
        let _ = tokio::time::timeout(TROUBLE_PAUSE, stop.cancelled()).await;
    }

    /// Looks until there is trouble.
    async fn work(&self, lease: &Lease) -> Result<(), Trouble> {
        let mut rung = self.bell.listener();
        let pool = self.market.pool();
        let (mut sendings, writing) = (JoinSet::new(), Arc::default());
        let mut under_way = vec![0_usize; pool.endpoints().len()];
        loop {
            self.watch(lease).await?;
            while let Some(sent) = sendings.try_join_next() {
                under_way[sent??] -= 1;
            }
            let free: Vec<_> =
                (0..under_way.len()).filter(|place| under_way[*place] < SENDINGS_MAX).collect();
            let mut has_more = false;
            if !free.is_empty() {
                let due: Arc<[_]> = self.take(lease).await?.into();
                has_more = i64::try_from(due.len()).is_ok_and(|due| due >= BATCH_MAX);
                for place in free.into_iter().filter(|_| !due.is_empty()) {
                    under_way[place] += 1;
                    let (pool, db, due, writing) =
                        (pool.clone(), self.db.clone(), Arc::clone(&due), Arc::clone(&writing));
                    sendings
                        .spawn(async move { send(&pool, place, &db, &due, &writing).await.map(|()| place) });
                }
            }
            if !has_more {
                tokio::select! {
                    Some(sent) = sendings.join_next() => under_way[sent??] -= 1,
                    _ = rung.changed() => {}
                    () = tokio::time::sleep(POLL) => {}
                }
            }
        }
    }

    /// Has the senders watched whom nobody watches yet.
    async fn watch(&self, lease: &Lease) -> Result<(), Trouble> {
        let mut conn = self.db.worker().acquire().await?;
        let senders = repo::unwatched(&mut conn, self.chain_id).await?;
        drop(conn);
        if senders.is_empty() {
            return Ok(());
        }
        let mut tx = self.db.begin_worker().await?;
        lease.guard(&mut tx).await?;
        for (sender, from) in senders {
            plimsoll_journal::watch(&mut tx, self.chain_id, sender, Some(from), "courier").await?;
        }
        Ok(tx.commit().await?)
    }

    /// What is to be sent now. That it may have left is on record when this returns.
    async fn take(&self, lease: &Lease) -> Result<Vec<Due>, Trouble> {
        let mut tx = self.db.begin_worker().await?;
        lease.guard(&mut tx).await?;
        let due = repo::take(&mut tx, &self.node, self.chain_id, BATCH_MAX, PAUSE, RESEND).await?;
        let begun: Vec<_> = due.iter().filter(|due| due.is_first).map(|due| due.changed.clone()).collect();
        let pending = Some(plimsoll_types::TransactionState::Pending);
        if !begun.is_empty() {
            history::publish_as(&mut tx, ACTOR, pending, "it is given to the endpoints", &begun).await?;
        }
        tx.commit().await?;
        Ok(due)
    }
}

/// Gives these to one of the endpoints, and keeps what it answers when it does. What it has may rest, whoever is still silent. `writing`: held by whoever writes, since two may write of the same rows.
async fn send(pool: &Pool, place: usize, db: &Db, due: &[Due], writing: &Mutex<()>) -> Result<(), Trouble> {
    let raws: Vec<_> = due.iter().map(|due| due.raw.clone()).collect();
    let endpoint = &pool.endpoints()[place];
    let answered = endpoint.send_raw(&raws).await;
    let (mut answers, mut taken) = (Vec::new(), Vec::new());
    for (due, answer) in due.iter().zip(&answered) {
        let Reading { answer, detail } = answer::read(due.hash, answer);
        metrics::counter!("relayer_user_sends_total", "endpoint" => endpoint.endpoint().to_owned(), "answer" => answer.as_str())
            .increment(1);
        if has_it(answer) {
            taken.push(due.changed.id);
        }
        answers.push(Answered {
            transaction_id: due.changed.id,
            tenant_id: due.changed.tenant_id,
            endpoint: endpoint.endpoint().to_owned(),
            answer: answer.as_str(),
            detail,
        });
    }
    let _writes = writing.lock().await;
    let mut conn = db.worker().acquire().await?;
    repo::keep_answers(&mut conn, &answers).await?;
    Ok(repo::rest(&mut conn, &taken, RESEND).await?)
}

/// Whether an endpoint that says so has it, so that there is no haste to send it again.
fn has_it(answer: SendAnswer) -> bool {
    answer.is_taken() || matches!(answer, SendAnswer::NonceTooLow { .. })
}
