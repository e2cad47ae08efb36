//! The role that retries: each chain's failures become jobs, and where a signer is named for it, they are tried through the relayer.

use plimsoll_chain::Pool;
use plimsoll_chain::abi::Contracts;
use plimsoll_journal::{FoldError, FoldRunner, Tail};
use plimsoll_relayer::request::{Call, Request, SignerId, Validity};
use plimsoll_relayer::{AcceptError, Bell, Intake, read};
use plimsoll_retry::{
    Backoff, FOLD_NAME, FoldOptions, Order, RetryFold, Standing, Submit, SubmitError, Worker, WorkerError,
    WorkerOptions, lease_name,
};
use plimsoll_store::{Db, LeaseError, Leases};
use plimsoll_types::TransactionState;
use plimsoll_types::api::Transaction;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::config::{Config, Loaded};
use crate::failure::{Failure, chain_of};
use crate::supervisor::{End, Supervisor};
use crate::wiring;

/// The relayer, as the retry needs it. What is retried is the platform's own to decide, so no grant is asked for.
#[derive(Clone)]
struct Relayed {
    intake: Intake,
    db: Db,
}

impl Submit for Relayed {
    async fn submit(&self, order: Order) -> Result<Uuid, SubmitError> {
        let Order { context, operation, chain_id, signer, to, data } = order;
        let request = Request {
            context,
            operation_type: operation.into(),
            signer: SignerId { chain_id, address: signer },
            call: Call { to: Some(to), value: alloy_primitives::U256::ZERO, data },
            gas_limit: None,
            max_fee_limit: None,
            priority: 0,
            validity: Validity::default(),
            simulate: None,
        };
        match self.intake.accept(request).await {
            Ok(accepted) => Ok(accepted.id),
            Err(
                error @ (AcceptError::Invalid(_)
                | AcceptError::UnknownSigner { .. }
                | AcceptError::Conflict { .. }),
            ) => Err(SubmitError::Refused(error.to_string())),
            Err(error @ (AcceptError::Overloaded | AcceptError::Database(_) | AcceptError::Stopped)) => {
                Err(SubmitError::Unknown(error.to_string()))
            }
        }
    }

    async fn standings(&self, transactions: &[(Uuid, Uuid)]) -> Result<Vec<Standing>, SubmitError> {
        let unknown = |error: sqlx::Error| SubmitError::Unknown(error.to_string());
        let mut standings = Vec::with_capacity(transactions.len());
        for (tenant_id, id) in transactions {
            let mut tx = self.db.tenant_snapshot(&[*tenant_id]).await.map_err(unknown)?;
            let transaction = read::by_id(&mut tx, *tenant_id, *id).await.map_err(unknown)?;
            tx.rollback().await.map_err(unknown)?;
            let gone = || SubmitError::Unknown(format!("there is no transaction {id}"));
            standings.push(standing(transaction.ok_or_else(gone)?));
        }
        Ok(standings)
    }
}

fn standing(transaction: Transaction) -> Standing {
    match (transaction.state, transaction.inclusion) {
        (TransactionState::Confirmed, Some(inclusion)) => {
            Standing::Confirmed { block_hash: inclusion.block_hash }
        }
        (TransactionState::Failed, _) if transaction.revert.is_some() => {
            let text = transaction.revert.map(|revert| revert.text).unwrap_or_default();
            Standing::Failed { why: format!("its transaction reverted: {text}") }
        }
        (
            state @ (TransactionState::Failed
            | TransactionState::Replaced
            | TransactionState::Cancelled
            | TransactionState::Expired),
            _,
        ) => {
            let why = transaction.end_why.unwrap_or_default();
            Standing::Failed { why: format!("its transaction is {state}: {why}") }
        }
        _ => Standing::Open,
    }
}

/// What a chain's part of the role works with.
#[derive(Clone)]
struct OnChain {
    chain_id: u64,
    contracts: Contracts,
    db: Db,
    leases: Leases,
    tail: Tail,
}

impl OnChain {
    async fn fold(self, options: FoldOptions, cancel: CancellationToken) -> Result<(), End> {
        let fold = RetryFold::new(self.chain_id, &self.contracts, options);
        let mut runner = FoldRunner::new(fold, self.chain_id, self.db, self.leases, self.tail);
        match runner.run(&cancel).await {
            Err(FoldError::Lease(LeaseError::Cancelled { .. })) => Ok(()),
            Err(error @ FoldError::CursorPastEnd { .. }) => Err(End::Fatal(error.into())),
            other => other.map_err(|error| End::MayPass(chain_of(&error))),
        }
    }

    async fn work(
        self,
        pool: Pool,
        sender: Relayed,
        (node, options): (String, WorkerOptions),
        cancel: CancellationToken,
    ) -> Result<(), End> {
        let Self { chain_id, contracts, db, leases, .. } = self;
        let mut worker = Worker::new(chain_id, contracts, pool, (db, leases), sender, (&node, options));
        match worker.run(&cancel).await {
            Err(WorkerError::Lease(LeaseError::Cancelled { .. })) => Ok(()),
            other => other.map_err(|error| End::MayPass(chain_of(&error))),
        }
    }
}

/// Starts the role for each chain.
pub(crate) fn start(
    loaded: &Loaded,
    config: &Config,
    (db, leases, tail, bell): (&Db, &Leases, &Tail, &Bell),
    node: &str,
    supervisor: &mut Supervisor,
) -> Result<(), Failure> {
    let retry = &config.retry;
    let intake = wiring::intake(config, db, node, bell);
    for chain in &config.chains {
        let on_chain = OnChain {
            chain_id: chain.chain_id,
            contracts: wiring::contracts(chain),
            db: db.clone(),
            leases: leases.clone(),
            tail: tail.clone(),
        };
        let signer = retry.signers.get(&chain.chain_id).copied();
        // Where nothing is ever sent, nothing is marked to be.
        let automatic = if signer.is_some() { retry.automatic.clone() } else { Vec::new() };
        let options = FoldOptions { cool_down: retry.cool_down, automatic };
        let lease = plimsoll_journal::lease_name(FOLD_NAME, chain.chain_id);
        let folding = on_chain.clone();
        supervisor.spawn_leased("retry:jobs", Some(chain.chain_id), lease, move |cancel| {
            folding.clone().fold(options.clone(), cancel)
        });
        let (Some(signer), Some(intake)) = (signer, &intake) else { continue };
        let options = WorkerOptions {
            signer,
            max_attempts: retry.max_attempts,
            backoff: Backoff { base: retry.backoff, max: retry.max_backoff },
            automatic_per_hour: retry.automatic_per_hour,
            interval: retry.interval,
        };
        let pool = wiring::pool(loaded, chain)?;
        let sender = Relayed { intake: intake.clone(), db: db.clone() };
        let node = node.to_owned();
        supervisor.spawn_leased("retry", Some(chain.chain_id), lease_name(chain.chain_id), move |cancel| {
            let by = (node.clone(), options.clone());
            on_chain.clone().work(pool.clone(), sender.clone(), by, cancel)
        });
    }
    Ok(())
}
