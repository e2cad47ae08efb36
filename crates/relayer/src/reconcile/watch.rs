//! The task that looks at a chain's signers all the time, in one process, and tells what it finds: on the bus, in metrics, and to whoever holds the signer.

use std::collections::HashMap;
use std::time::Duration;

use plimsoll_bus::{Context, Event, Keys, PublishError, publish_all};
use plimsoll_chain::Pool;
use plimsoll_store::{Db, Lease, LeaseError, Leases};
use serde_json::json;
use sqlx::PgConnection;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Finding, Summary, lasting, look};
use crate::bell::Bell;
use crate::overview::Sighting;
use crate::repo::reconcile as repo;
use crate::request::SignerId;
use crate::rotation::{self, RotateError};

/// In whose name it publishes.
const ACTOR: &str = "relayer:reconcile";
const SOURCE: &str = "/plimsoll/relayer/reconcile";
/// What its events are about.
const TARGET: &str = "signer";
/// How often what came back to a signer that hands over is moved.
const MOVE_PERIOD: Duration = Duration::from_secs(2);
/// How often database and chain are compared.
pub(crate) const LOOK_PERIOD: Duration = Duration::from_secs(30);
/// A holder is asked no more often to look again: what it does takes its time, and a block.
const ASK_PERIOD: Duration = Duration::from_secs(90);

/// Why it ended.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// Another process does it now, or it was told to stop.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// Something could not be published.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// What waits could not be moved.
    #[error(transparent)]
    Rotation(#[from] RotateError),
    /// The database's.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// The name of the lease under which a chain's signers are compared.
#[must_use]
pub fn lease_name(chain_id: u64) -> String {
    format!("relayer/reconcile/{chain_id}")
}

/// Asks whoever holds the signer to read everything again, and to send again what is under way; in the caller's transaction, as the worker.
///
/// # Errors
/// The database's.
pub async fn ask_to_look(conn: &mut PgConnection, signer: SignerId) -> Result<(), sqlx::Error> {
    repo::ask_to_look(conn, signer).await
}

/// Compares a chain's signers with the chain.
pub struct Reconciler {
    chain_id: u64,
    db: Db,
    leases: Leases,
    pool: Pool,
    bell: Bell,
    look_period: Duration,
    /// What was found the last time, lasting or not.
    seen: HashMap<SignerId, Vec<Finding>>,
    asked: HashMap<SignerId, Instant>,
}

impl std::fmt::Debug for Reconciler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reconciler").field("chain_id", &self.chain_id).finish_non_exhaustive()
    }
}

impl Reconciler {
    /// For the signers of this chain, over these endpoints. `woken`: who works signers in this process.
    #[must_use]
    pub fn new(chain_id: u64, db: Db, leases: Leases, pool: Pool, woken: Bell) -> Self {
        let (seen, asked) = (HashMap::new(), HashMap::new());
        Self { chain_id, db, leases, pool, bell: woken, look_period: LOOK_PERIOD, seen, asked }
    }

    /// The same, looking so often.
    #[must_use]
    pub fn every(self, look_period: Duration) -> Self {
        Self { look_period, ..self }
    }

    /// Waits for the lease, and compares until `cancel`, or until the lease is lost.
    ///
    /// # Errors
    /// [`WatchError`]; begin again then.
    pub async fn run(&mut self, cancel: &CancellationToken) -> Result<(), WatchError> {
        let lease = match self.leases.acquire_wait(&lease_name(self.chain_id), cancel).await {
            Err(LeaseError::Cancelled { .. }) => return Ok(()),
            other => other?,
        };
        let mut looked: Option<Instant> = None;
        let mut ticks = tokio::time::interval(MOVE_PERIOD.min(self.look_period));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = cancel.cancelled() => break,
                () = lease.lost().cancelled() => break,
                _ = ticks.tick() => {}
            }
            self.hand_over(&lease).await?;
            if looked.is_none_or(|at| at.elapsed() >= self.look_period) {
                looked = Some(Instant::now());
                self.look_at_all(&lease).await?;
            }
        }
        Ok(lease.release().await?)
    }

    /// Moves what waits for signers that hand over: what was being accepted when they were told to, and what came back.
    async fn hand_over(&self, lease: &Lease) -> Result<(), WatchError> {
        let mut conn = self.db.worker().acquire().await?;
        let unfinished = rotation::unfinished(&mut conn, self.chain_id).await?;
        drop(conn);
        for signer in unfinished {
            let mut tx = self.db.begin_worker().await?;
            lease.guard(&mut tx).await?;
            let moved = rotation::hand_over(&mut tx, signer).await?;
            tx.commit().await?;
            tracing::info!(%signer, moved, "requests were handed over to its successor");
            self.bell.ring();
        }
        Ok(())
    }

    async fn look_at_all(&mut self, lease: &Lease) -> Result<(), WatchError> {
        let mut conn = self.db.worker().acquire().await?;
        let signers = repo::signers(&mut conn, self.chain_id).await?;
        drop(conn);
        for signer in signers {
            let Some(seen) = look(&self.db, &self.pool, signer).await? else { continue };
            let before = self.seen.insert(signer, seen.findings.clone()).unwrap_or_default();
            let findings = lasting(&before, seen.findings);
            self.keep(lease, signer, Sighting { findings, ..seen }).await?;
        }
        Ok(())
    }

    async fn keep(&mut self, lease: &Lease, signer: SignerId, seen: Sighting) -> Result<(), WatchError> {
        let mut tx = self.db.begin_worker().await?;
        lease.guard(&mut tx).await?;
        let known = repo::findings(&mut tx, signer).await?;
        repo::keep(&mut tx, signer, &seen).await?;
        let is_new = |finding: &&Finding| !known.contains(finding);
        let raised: Vec<_> = seen.findings.iter().filter(is_new).collect();
        let settled: Vec<_> = known.iter().filter(|finding| !seen.findings.contains(finding)).collect();
        let events = raised.iter().map(|finding| event(signer, "raised", finding));
        let events: Vec<_> =
            events.chain(settled.iter().map(|finding| event(signer, "settled", finding))).collect();
        for part in events.chunks(plimsoll_bus::MAX_EVENTS) {
            publish_all(&mut tx, part.to_vec()).await?;
        }
        let is_due = self.asked.get(&signer).is_none_or(|at| at.elapsed() >= ASK_PERIOD);
        let asks = is_due && Summary::of(&seen.findings).has_repairs();
        if asks {
            repo::ask_to_look(&mut tx, signer).await?;
        }
        tx.commit().await?;
        for finding in raised {
            metrics::counter!("relayer_findings_total", "signer" => signer.to_string(), "kind" => finding.kind.as_str())
                .increment(1);
            tracing::error!(%signer, "database and chain do not agree: {finding}");
        }
        if asks {
            self.asked.insert(signer, Instant::now());
            self.bell.ring();
        }
        Ok(())
    }
}

fn event(signer: SignerId, what: &str, finding: &Finding) -> Event {
    let payload = json!({
        "chain_id": signer.chain_id,
        "signer": plimsoll_types::address_text(&signer.address),
        "kind": finding.kind,
        "nonce": finding.nonce,
        "until": finding.until,
        "transaction_id": finding.transaction_id,
        "words": finding.kind.words(),
    });
    Event {
        context: Some(Context::new(Uuid::now_v7(), ACTOR)),
        ..Event::new(SOURCE, format!("relayer.finding.{what}"), payload)
            .with_target(TARGET, signer.to_string())
            .demanding(Keys::Platform)
    }
}
