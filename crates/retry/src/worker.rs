//! Tries what is due, under its chain's lease.
//!
//! Whatever a worker does that leaves the building was committed first, under its token: a job is `submitted` before its order is handed in. Whoever finds it so hands the same order in again,
//! under the same request, so that it does not matter where a worker died, or whether one that was frozen goes on: of an attempt there is one transaction. The next attempt begins
//! only when this one has ended for good, by the word of whoever sent it *and* by the journal, read at least as far as the block in which it is.

use std::time::Duration;

use alloy_primitives::Address;
use plimsoll_chain::abi::Contracts;
use plimsoll_chain::{Pool, Reverts};
use plimsoll_store::{Db, Lease, LeaseError, Leases, Tx};
use plimsoll_types::address_text;
use sqlx::PgConnection;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::job::Job;
use crate::preflight::{self, Expired, Finding};
use crate::repo::{fold, steps, worker as repo};
use crate::schedule::{self, Backoff as Waiting};
use crate::state::{
    Accepted, AwaitingEvent, Backoff, Change, Deadletter, EndedNeedless, Exhausted, Failed, Leased, Needless,
    Queued, Ready, Status, Step, Submitted, Superseded, Taken,
};
use crate::submit::{self, Order, Standing, Submit, SubmitError};

/// How many jobs of a status a round looks at.
const ROUND_JOBS: u32 = 64;

/// The lease under which a chain's jobs are tried.
#[must_use]
pub fn lease_name(chain_id: u64) -> String {
    format!("retry:{chain_id}")
}

/// How jobs are tried.
#[derive(Clone, Debug)]
pub struct WorkerOptions {
    /// Who signs: an account that the views let retry.
    pub signer: Address,
    /// After how many attempts a job becomes a dead letter.
    pub max_attempts: u32,
    /// How long it waits after each.
    pub backoff: Waiting,
    /// How many attempts an hour are made unasked.
    pub automatic_per_hour: u32,
    /// How often it looks.
    pub interval: Duration,
}

/// Why a round was not finished.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The authority is gone, or is not to be had.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// Postgres.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
}

/// Tries one chain's jobs.
pub struct Worker<S> {
    chain_id: u64,
    contracts: Contracts,
    reverts: Reverts,
    pool: Pool,
    db: Db,
    leases: Leases,
    sender: S,
    options: WorkerOptions,
    actor: String,
    /// Where the next look at what is under way begins.
    looked_up_to: Uuid,
}

impl<S: Submit> Worker<S> {
    /// A worker of this chain, which sends through `sender`. `node`: in whose name it acts.
    pub fn new(
        chain_id: u64,
        contracts: Contracts,
        pool: Pool,
        (db, leases): (Db, Leases),
        sender: S,
        (node, options): (&str, WorkerOptions),
    ) -> Self {
        let reverts = Reverts::new(&contracts);
        let actor = format!("retry:{node}");
        Self {
            chain_id,
            contracts,
            reverts,
            pool,
            db,
            leases,
            sender,
            options,
            actor,
            looked_up_to: Uuid::nil(),
        }
    }

    /// Runs until `cancel`, whenever this process has the right to.
    ///
    /// # Errors
    /// What a restart may heal.
    pub async fn run(&mut self, cancel: &CancellationToken) -> Result<(), WorkerError> {
        while !cancel.is_cancelled() {
            let lease = match self.leases.acquire_wait(&lease_name(self.chain_id), cancel).await {
                Ok(lease) => lease,
                Err(LeaseError::Cancelled { .. }) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let outcome = self.work(&lease, cancel).await;
            if let Err(error) = lease.release().await {
                tracing::warn!(chain_id = self.chain_id, %error, "the lease could not be given back; it expires by itself");
            }
            match outcome {
                Err(WorkerError::Lease(LeaseError::Fenced { .. })) => {}
                other => return other,
            }
        }
        Ok(())
    }

    async fn work(&mut self, lease: &Lease, cancel: &CancellationToken) -> Result<(), WorkerError> {
        while !cancel.is_cancelled() {
            self.round(lease).await?;
            tokio::select! {
                () = tokio::time::sleep(self.options.interval) => {}
                () = cancel.cancelled() => {}
                () = lease.lost().cancelled() => return Ok(()),
            }
        }
        Ok(())
    }

    /// Looks once at everything: what is due is taken, what was taken is looked into and handed in, what is under way is asked after.
    ///
    /// # Errors
    /// What a restart may heal. Whatever was done is on record.
    pub async fn round(&mut self, lease: &Lease) -> Result<(), WorkerError> {
        self.take_due(lease).await?;
        let mut after = Uuid::nil();
        while let Some(jobs) = self.page(Status::Leased, &mut after).await? {
            for job in jobs {
                self.look_into(lease, &job).await?;
            }
        }
        after = Uuid::nil();
        while let Some(jobs) = self.page(Status::Submitted, &mut after).await? {
            for job in jobs {
                self.hand_in(lease, &job).await?;
            }
        }
        self.ask_after(lease).await
    }

    /// The next jobs of a status after the last one of those before; none: there are no more. Ids rise, so it ends.
    async fn page(&self, status: Status, after: &mut Uuid) -> Result<Option<Vec<Job>>, sqlx::Error> {
        let jobs = self.these(status, *after).await?;
        let Some(last) = jobs.last() else { return Ok(None) };
        *after = last.id;
        Ok(Some(jobs))
    }

    async fn these(&self, status: Status, after: Uuid) -> Result<Vec<Job>, sqlx::Error> {
        let mut conn = self.db.worker().acquire().await?;
        repo::in_status(&mut conn, self.chain_id, status, after, ROUND_JOBS.into()).await
    }

    async fn begin(&self, lease: &Lease) -> Result<Tx, WorkerError> {
        let mut tx = self.db.begin_worker_by_keys().await?;
        lease.guard(&mut tx).await?;
        Ok(tx)
    }

    async fn take_due(&self, lease: &Lease) -> Result<(), WorkerError> {
        let mut tx = self.begin(lease).await?;
        for job in repo::due(&mut tx, self.chain_id, false, ROUND_JOBS.into()).await? {
            self.take(&mut tx, lease, &job).await?;
        }
        let unasked = repo::due(&mut tx, self.chain_id, true, ROUND_JOBS.into()).await?;
        if !unasked.is_empty() {
            let spent = repo::spent(&mut tx, self.chain_id).await?;
            let left = self.options.automatic_per_hour.saturating_sub(spent);
            for (job, n) in unasked.iter().zip(0..) {
                if n == left {
                    break;
                }
                self.take(&mut tx, lease, job).await?;
                repo::spend(&mut tx, self.chain_id).await?;
            }
        }
        Ok(tx.commit().await?)
    }

    async fn take(&self, conn: &mut PgConnection, lease: &Lease, job: &Job) -> Result<(), sqlx::Error> {
        let attempt = job.attempts + 1;
        let taken = Taken {
            attempt,
            request_id: schedule::request_id(job.id, attempt),
            signer: self.options.signer,
            fencing_token: lease.token(),
        };
        let step: Step = match job.status {
            Status::Backoff => Change::<Backoff, Leased>::new(job.id, taken).into(),
            _ => Change::<Queued, Leased>::new(job.id, taken).into(),
        };
        steps::take(conn, &self.actor, step).await?;
        Ok(())
    }

    /// Has it sent, where nothing stands in its way.
    async fn look_into(&self, lease: &Lease, job: &Job) -> Result<(), WorkerError> {
        let Some(order) = self.order(job) else { return Ok(()) };
        let order = match order {
            Ok(order) => order,
            Err(why) => return self.fail(lease, job, &why).await,
        };
        let asked = (order.signer, &order.data);
        let found = preflight::look(&self.pool, &self.contracts, &self.reverts, &job.key, asked).await;
        match found {
            // Unknown is neither: it is looked into again in the next round.
            Err(error) => {
                tracing::warn!(chain_id = self.chain_id, job_id = %job.id, %error, "a retry could not be looked into");
                Ok(())
            }
            Ok(Finding::Broken(why)) => self.fail(lease, job, &why).await,
            Ok(Finding::Expired(expired)) => self.refresh(lease, job, &order, &expired).await,
            Ok(Finding::Ready { block_number }) => {
                let mut tx = self.begin(lease).await?;
                let ready = Ready { block_number };
                // Not taken: others healed it meanwhile, and nothing is sent.
                let step = Change::<Leased, Submitted>::new(job.id, ready);
                steps::take(&mut tx, &self.actor, step).await?;
                Ok(tx.commit().await?)
            }
        }
    }

    /// Has the expired caches refreshed, and the job tried later.
    async fn refresh(
        &self,
        lease: &Lease,
        job: &Job,
        order: &Order,
        expired: &[Expired],
    ) -> Result<(), WorkerError> {
        let mut why = String::from("module caches are expired, and refreshed first:");
        for one in expired {
            let request_id = one.request_id(self.chain_id);
            let mut context = job.effect_context(&self.actor);
            context.request_id = request_id;
            let (operation, data) = (submit::REFRESH, Expired::call());
            let refresh = Order { context, operation, to: one.contract, data, ..order.clone() };
            let outcome = match self.sender.submit(refresh).await {
                Ok(transaction_id) => format!("transaction {transaction_id}"),
                Err(error) => error.to_string(),
            };
            why.push_str(&format!(" {} ({outcome})", address_text(&one.contract)));
        }
        self.fail(lease, job, &why).await
    }

    /// Hands it in, again where it may have been before.
    async fn hand_in(&self, lease: &Lease, job: &Job) -> Result<(), WorkerError> {
        let Some(order) = self.order(job) else { return Ok(()) };
        let order = match order {
            Ok(order) => order,
            // The configuration has changed since. The journal tells what became of it, if it was handed in.
            Err(why) => {
                tracing::error!(chain_id = self.chain_id, job_id = %job.id, why, "a retry that may have been handed in cannot be asked after");
                return Ok(());
            }
        };
        match self.sender.submit(order).await {
            Ok(transaction_id) => {
                let mut tx = self.begin(lease).await?;
                let accepted = Accepted { transaction_id };
                let step = Change::<Submitted, AwaitingEvent>::new(job.id, accepted);
                if steps::take(&mut tx, &self.actor, step).await?.is_some() {
                    metrics::counter!("cache_retry_attempts_total", "chain" => self.chain_id.to_string(), "view" => address_text(&job.key.view))
                        .increment(1);
                }
                Ok(tx.commit().await?)
            }
            Err(SubmitError::Refused(why)) => self.fail(lease, job, &why).await,
            Err(SubmitError::Unknown(why)) => {
                tracing::warn!(chain_id = self.chain_id, job_id = %job.id, why, "it is not known whether a retry is on record");
                Ok(())
            }
        }
    }

    /// The order of a job's attempt, or why there is none.
    fn order(&self, job: &Job) -> Option<Result<Order, String>> {
        let (request_id, signer) = (job.request_id?, job.signer?);
        let data = preflight::call(&self.contracts, &job.key, request_id);
        Some(data.map(|data| Order {
            context: job.effect_context(&self.actor),
            operation: submit::RETRY,
            chain_id: self.chain_id,
            signer,
            to: job.key.view,
            data,
        }))
    }

    /// Asks what became of some of what is under way; the next round goes on behind them.
    async fn ask_after(&mut self, lease: &Lease) -> Result<(), WorkerError> {
        let jobs = self.these(Status::AwaitingEvent, self.looked_up_to).await?;
        let is_last = jobs.len() < ROUND_JOBS as usize;
        self.looked_up_to = if is_last { Uuid::nil() } else { jobs.last().map_or(Uuid::nil(), |job| job.id) };
        let named: Vec<_> =
            jobs.iter().filter_map(|job| Some((job.key.tenant_id, job.transaction_id?))).collect();
        if named.is_empty() {
            return Ok(());
        }
        let standings = match self.sender.standings(&named).await {
            Ok(standings) => standings,
            Err(error) => {
                tracing::warn!(chain_id = self.chain_id, %error, "what became of retries cannot be asked");
                return Ok(());
            }
        };
        for (job, standing) in jobs.iter().zip(standings) {
            match standing {
                Standing::Open => {}
                Standing::Failed { why } => self.fail(lease, job, &why).await?,
                // The journal has that very block, and with it whatever its transaction emitted: no healing.
                Standing::Confirmed { block_hash } => {
                    if job.inclusion.is_some_and(|own| own.block_hash == block_hash) {
                        let why =
                            format!("its transaction is confirmed, and did not heal: {}", job.reason_text);
                        self.fail(lease, job, &why).await?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Ends an attempt that failed for good. What was looked at may have changed since: it is looked at again, locked.
    async fn fail(&self, lease: &Lease, seen: &Job, why: &str) -> Result<(), WorkerError> {
        let mut tx = self.begin(lease).await?;
        let job = fold::lock(&mut tx, seen.id).await?;
        let is_same = |job: &Job| {
            (job.status, job.request_id, job.inclusion) == (seen.status, seen.request_id, seen.inclusion)
        };
        let Some(job) = job.filter(is_same) else { return Ok(tx.rollback().await?) };
        let has_failures = fold::newest_reason(&mut tx, job.id).await?.is_some();
        let step = self.after_failure(&job, has_failures, why.to_owned());
        if let Some(step) = step {
            let to = step.to;
            steps::take(&mut tx, &self.actor, step).await?;
            if to == Status::Deadletter {
                tracing::error!(chain_id = self.chain_id, job_id = %job.id, attempts = job.attempts, why, "a retry is given up: somebody has to look");
                metrics::counter!("cache_retry_deadletter_total", "chain" => self.chain_id.to_string())
                    .increment(1);
            }
        }
        Ok(tx.commit().await?)
    }

    fn after_failure(&self, job: &Job, has_failures: bool, why: String) -> Option<Step> {
        let needless = match job.healed_seq {
            Some(seq) => Some(Needless::healed(seq)),
            None => (!has_failures).then(Needless::without_failure),
        };
        if let Some(needless) = needless {
            let ended = EndedNeedless { needless: needless.clone(), failure: why };
            return match job.status {
                Status::Leased => Some(Change::<Leased, Superseded>::new(job.id, needless).into()),
                Status::Submitted => Some(Change::<Submitted, Superseded>::new(job.id, ended).into()),
                Status::AwaitingEvent => Some(Change::<AwaitingEvent, Superseded>::new(job.id, ended).into()),
                _ => None,
            };
        }
        if job.attempts >= self.options.max_attempts {
            let exhausted = Exhausted { why };
            return match job.status {
                Status::Leased => Some(Change::<Leased, Deadletter>::new(job.id, exhausted).into()),
                Status::Submitted => Some(Change::<Submitted, Deadletter>::new(job.id, exhausted).into()),
                Status::AwaitingEvent => {
                    Some(Change::<AwaitingEvent, Deadletter>::new(job.id, exhausted).into())
                }
                _ => None,
            };
        }
        let failed = Failed { why, retry_in: self.options.backoff.after(job.id, job.attempts) };
        match job.status {
            Status::Leased => Some(Change::<Leased, Backoff>::new(job.id, failed).into()),
            Status::Submitted => Some(Change::<Submitted, Backoff>::new(job.id, failed).into()),
            Status::AwaitingEvent => Some(Change::<AwaitingEvent, Backoff>::new(job.id, failed).into()),
            _ => None,
        }
    }
}
