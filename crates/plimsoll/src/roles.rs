//! The roles of this process, each given to the supervisor with what its errors mean.

use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics_exporter_prometheus::PrometheusHandle;
use plimsoll_api::{ApiState, Listeners, Roles, Services};
use plimsoll_bus::EVENTS;
use plimsoll_bus::audit::{AUDIT_LOG, Watch};
use plimsoll_chain::Pool;
use plimsoll_chain::abi::Contracts;
use plimsoll_identity::session::{self, SessionError};
use plimsoll_ingest::{Ingest, IngestError};
use plimsoll_journal::{Fold, FoldError, FoldRunner, Marks, Tail};
use plimsoll_ledger::chain::check::CheckError;
use plimsoll_ledger::chain::{BalanceChecker, BooksFold, FOLD_NAME as BOOKS, lease_name as balances_lease};
use plimsoll_ledger::{KeyedIntake, seal};
use plimsoll_relayer::Bell;
use plimsoll_store::idempotency::Keys;
use plimsoll_store::{Db, LeaseError, Leases, Sequencer, drop_expired, idempotency, set_retention};
use plimsoll_views::ViewFold;
use plimsoll_views::verify::{Verifier, VerifierOptions, VerifyError};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::cli::Role;
use crate::config::{Config, Loaded};
use crate::failure::{Failure, chain_of};
use crate::retrying;
use crate::sending;
use crate::supervisor::{End, Supervisor};
use crate::wiring::{self, Addresses};

/// How often expired partitions are looked for.
const RETENTION_INTERVAL: Duration = Duration::from_secs(60 * 60);
/// How often idempotency keys are looked for whose time is over.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);
const RETENTION_LEASE: &str = "retention";

/// What the roles share.
pub(crate) struct Shared<'a> {
    pub(crate) loaded: &'a Loaded,
    pub(crate) config: &'a Config,
    pub(crate) db: Db,
    pub(crate) leases: Leases,
    /// Who holds this process's leases and claims.
    pub(crate) holder: String,
    pub(crate) board: Roles,
    pub(crate) prometheus: PrometheusHandle,
    /// Taken before anything else, where the role `api` is asked for.
    pub(crate) listeners: Option<(Addresses, Listeners)>,
}

/// Starts the roles that were asked for.
pub(crate) fn start(shared: Shared<'_>, roles: &[Role], supervisor: &mut Supervisor) -> Result<(), Failure> {
    let Shared { loaded, config, db, leases, holder, board, prometheus, listeners } = shared;
    // As clients are told where it is.
    let node = &config.api.node_url.clone().unwrap_or_else(|| holder.clone());
    let (tail, bell) = (Tail::default(), Bell::default());
    let has = |role| roles.contains(&role);
    if has(Role::Views) || has(Role::Relayer) || has(Role::Retry) {
        let (db, tail) = (db.clone(), tail.clone());
        supervisor.spawn("listen", None, move |cancel| {
            let (db, tail) = (db.clone(), tail.clone());
            async move { plimsoll_journal::listen(&db, &tail, &cancel).await.map_err(|e| may_pass(&e)) }
        });
    }
    for chain in &config.chains {
        let pool = wiring::pool(loaded, chain)?;
        let contracts = wiring::contracts(chain);
        let on_chain = OnChain {
            chain_id: chain.chain_id,
            pool,
            contracts,
            db: db.clone(),
            leases: leases.clone(),
            tail: tail.clone(),
        };
        let place = loaded.problems.place(&chain.origin);
        if has(Role::Ingest) {
            let (on_chain, options) = (on_chain.clone(), wiring::ingest(chain));
            let lease = plimsoll_ingest::lease_name(chain.chain_id);
            supervisor.spawn_leased("ingest", Some(chain.chain_id), lease, move |cancel| {
                let (on_chain, options, place) = (on_chain.clone(), options.clone(), place.clone());
                async move {
                    let OnChain { pool, contracts, db, leases, tail, .. } = on_chain;
                    let mut ingest = Ingest::new(options, pool, contracts, db, leases, tail);
                    ingest.run(&cancel).await.map_err(|error| of_ingest(&error, &place))
                }
            });
        }
        if has(Role::Views) {
            let on_chain = on_chain.clone();
            let lease = plimsoll_journal::lease_name(plimsoll_views::FOLD_NAME, chain.chain_id);
            supervisor.spawn_leased("views", Some(chain.chain_id), lease, move |cancel| {
                let fold = ViewFold::new(on_chain.chain_id, &on_chain.contracts);
                on_chain.clone().fold(fold, cancel)
            });
        }
        let books = wiring::books(config, chain);
        if let Some(books) = books.clone().filter(|_| has(Role::Views)) {
            let (on_chain, lease) = (on_chain.clone(), plimsoll_journal::lease_name(BOOKS, chain.chain_id));
            supervisor.spawn_leased("books", Some(chain.chain_id), lease, move |cancel| {
                let fold = BooksFold::new(books.clone(), &on_chain.contracts).asking(on_chain.pool.clone());
                on_chain.clone().fold(fold, cancel)
            });
        }
        if books.is_some() && has(Role::Verify) {
            let (on_chain, lease) = (on_chain.clone(), balances_lease(chain.chain_id));
            supervisor.spawn_leased("balances", Some(chain.chain_id), lease, move |cancel| {
                on_chain.clone().balances(cancel)
            });
        }
        if has(Role::Verify) {
            let options =
                VerifierOptions { rows_per_s: config.verify_rows_per_second, ..VerifierOptions::default() };
            let lease = plimsoll_views::verify::lease_name(chain.chain_id);
            supervisor.spawn_leased("verify", Some(chain.chain_id), lease, move |cancel| {
                on_chain.clone().verify(options, cancel)
            });
        }
    }
    if has(Role::Relayer) {
        sending::start(loaded, config, (&db, &leases, &tail, &bell), node, supervisor)?;
    }
    if has(Role::Retry) {
        retrying::start(loaded, config, (&db, &leases, &tail, &bell), node, supervisor)?;
    }
    if has(Role::Ledger)
        && let Some(sealer) = wiring::log_sealer(config, &db, &leases)
    {
        let sealer = Arc::new(sealer);
        supervisor.spawn_leased("ledger", None, seal::LEASE.into(), move |cancel| {
            let sealer = Arc::clone(&sealer);
            async move { sealer.run(&cancel).await.map_err(|error| may_pass(&error)) }
        });
    }
    if has(Role::Sequencer) {
        for (role, stream) in [("sequencer:events", &EVENTS), ("sequencer:audit_log", &AUDIT_LOG)] {
            let (db, leases) = (db.clone(), leases.clone());
            supervisor.spawn_leased(role, None, Sequencer::lease_name(stream), move |cancel| {
                let mut sequencer = Sequencer::new(stream, db.clone(), leases.clone());
                async move { sequencer.run(&cancel).await.map_err(|error| may_pass(&error)) }
            });
        }
    }
    if has(Role::Retention) {
        let (db, leases, audit_days) = (db.clone(), leases.clone(), config.audit_retention_days);
        supervisor.spawn_leased("retention", None, RETENTION_LEASE.into(), move |cancel| {
            retain(db.clone(), leases.clone(), audit_days, cancel)
        });
    }
    if let Some((addresses, listeners)) = listeners {
        let services = Services {
            authenticator: wiring::authenticator(loaded, config, &db)?,
            sign_in: wiring::sign_in(loaded, config)?,
            relayer: wiring::intake(config, &db, node, &bell),
            ledger: KeyedIntake::start(db.clone()),
            chains: wiring::chains(loaded, config)?,
            keys: Keys::new(db.clone(), holder, config.idempotency),
            marks: Marks::new(db.clone(), tail),
            db: db.clone(),
            prometheus,
            roles: board,
        };
        let state = ApiState::new(services, wiring::api(config));
        let first = Arc::new(Mutex::new(Some(listeners)));
        supervisor.spawn("api", None, move |cancel| {
            let (state, first, addresses) = (state.clone(), Arc::clone(&first), addresses.clone());
            async move {
                let listeners = match first.lock().await.take() {
                    Some(listeners) => listeners,
                    None => addresses.take().await.map_err(|e| may_pass(&e))?,
                };
                plimsoll_api::serve(listeners, state, cancel).await.map_err(|e| may_pass(&e))
            }
        });
    }
    Ok(())
}

/// What a role of one chain works with.
#[derive(Clone)]
struct OnChain {
    chain_id: u64,
    pool: Pool,
    contracts: Contracts,
    db: Db,
    leases: Leases,
    tail: Tail,
}

impl OnChain {
    async fn fold(self, fold: impl Fold, cancel: CancellationToken) -> Result<(), End> {
        let mut runner = FoldRunner::new(fold, self.chain_id, self.db, self.leases, self.tail);
        match runner.run(&cancel).await {
            Err(FoldError::Lease(LeaseError::Cancelled { .. })) => Ok(()),
            Err(error @ FoldError::CursorPastEnd { .. }) => Err(End::Fatal(error.into())),
            other => other.map_err(|error| may_pass(&error)),
        }
    }

    async fn balances(self, cancel: CancellationToken) -> Result<(), End> {
        let checker = BalanceChecker::new(self.db, self.pool, self.leases, self.chain_id);
        match checker.run(&cancel).await {
            Err(CheckError::Lease(LeaseError::Cancelled { .. })) => Ok(()),
            other => other.map_err(|error| may_pass(&error)),
        }
    }

    async fn verify(self, options: VerifierOptions, cancel: CancellationToken) -> Result<(), End> {
        let mut verifier =
            Verifier::new(self.db, self.pool, self.leases, self.chain_id, &self.contracts, options);
        match verifier.run(&cancel).await {
            Err(VerifyError::Lease(LeaseError::Cancelled { .. })) => Ok(()),
            other => other.map_err(|error| may_pass(&error)),
        }
    }
}

/// Wrong chain, wrong genesis, wrong ABI, no code: the configuration is wrong, and the reason says what.
fn of_ingest(error: &IngestError, place: &str) -> End {
    if error.is_fatal() {
        return End::Fatal(Failure::new(chain_of(error)).at_place(place));
    }
    may_pass(error)
}

fn may_pass(error: &dyn std::error::Error) -> End {
    End::MayPass(chain_of(error))
}

/// What of identity is over: nonces, sessions, their tokens. A bounded number of rows a transaction, until none is left.
async fn sweep_identity(db: &Db, cancel: &CancellationToken) -> Result<(), SessionError> {
    while !cancel.is_cancelled() {
        let mut tx = db.begin_worker().await?;
        let swept = session::sweep(&mut tx).await?;
        tx.commit().await?;
        if swept == 0 {
            break;
        }
    }
    Ok(())
}

/// Drops what is past its retention, sweeps idempotency keys and what of identity is over, and verifies the audit log, in one process at a time.
async fn retain(db: Db, leases: Leases, audit_days: u32, cancel: CancellationToken) -> Result<(), End> {
    let lease = match leases.acquire_wait(RETENTION_LEASE, &cancel).await {
        Ok(lease) => lease,
        Err(LeaseError::Cancelled { .. }) => return Ok(()),
        Err(error) => return Err(may_pass(&error)),
    };
    let mut dropped: Option<Instant> = None;
    let mut watch = Watch::new(db.clone());
    let outcome = loop {
        if dropped.is_none_or(|at| at.elapsed() >= RETENTION_INTERVAL) {
            if let Err(error) = set_retention(&db.urls().owner, AUDIT_LOG.name(), audit_days).await {
                break Err(may_pass(&error));
            }
            if let Err(error) = drop_expired(&db.urls().owner).await {
                break Err(may_pass(&error));
            }
            dropped = Some(Instant::now());
        }
        if let Err(error) = idempotency::sweep(&db, &lease, &cancel).await {
            break Err(may_pass(&error));
        }
        if let Err(error) = sweep_identity(&db, &cancel).await {
            break Err(may_pass(&error));
        }
        // What it finds is told by the log and by a metric: nothing is repaired here.
        if let Err(error) = watch.look().await {
            break Err(may_pass(&error));
        }
        tokio::select! {
            () = tokio::time::sleep(SWEEP_INTERVAL) => {}
            () = cancel.cancelled() => break Ok(()),
            () = lease.lost().cancelled() => break Ok(()),
        }
    };
    lease.release().await.map_err(|error| may_pass(&error))?;
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_of_identity_is_long_over_is_swept_until_none_is_left() {
        let db = plimsoll_store::testing::db().await;
        sqlx::query("INSERT INTO tenants (tenant_id, name) VALUES (gen_random_uuid(), 'acme')")
            .execute(db.worker())
            .await
            .unwrap();
        // More than one sweep takes, and one that is still good.
        sqlx::query(
            "INSERT INTO sign_in_nonces (nonce, tenant_id, expires_at)
             SELECT 'nonce' || lpad(n::text, 8, '0'), tenant_id, now() + CASE n WHEN 0 THEN interval '1 min' ELSE interval '-31 days' END
             FROM tenants, generate_series(0, 2500) n",
        )
        .execute(db.worker())
        .await
        .unwrap();
        sweep_identity(&db, &CancellationToken::new()).await.unwrap();
        let left: Vec<String> =
            sqlx::query_scalar("SELECT nonce FROM sign_in_nonces").fetch_all(db.worker()).await.unwrap();
        assert_eq!(left, ["nonce00000000"]);
    }
}
