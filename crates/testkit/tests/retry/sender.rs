//! The relayer, as the retry sees it; it may be held up where a process dies.

use std::sync::Arc;

use plimsoll_relayer::request::{Call, Request, SignerId, Validity};
use plimsoll_relayer::{AcceptError, Intake, read};
use plimsoll_retry::{Order, Standing, Submit, SubmitError};
use plimsoll_store::Db;
use plimsoll_types::TransactionState;
use tokio::sync::Semaphore;
use uuid::Uuid;

/// Where a sender is held up.
#[derive(Clone, Debug)]
pub(crate) enum Pause {
    Never,
    /// Before it hands in, and until it is let go on.
    Before(Held),
    /// When it is on record, and nobody was told.
    After(Held),
}

/// Somebody who is held up.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    arrived: Arc<Semaphore>,
    let_go: Arc<Semaphore>,
}

impl Held {
    pub(crate) fn new() -> Self {
        Self { arrived: Arc::new(Semaphore::new(0)), let_go: Arc::new(Semaphore::new(0)) }
    }

    /// Until it is there.
    pub(crate) async fn arrived(&self) {
        self.arrived.acquire().await.unwrap().forget();
    }

    pub(crate) fn let_go(&self) {
        self.let_go.add_permits(1_000);
    }

    async fn hold(&self) {
        self.arrived.add_permits(1);
        self.let_go.acquire().await.unwrap().forget();
    }
}

pub(crate) struct Sender {
    intake: Intake,
    db: Db,
    pause: Pause,
}

impl Sender {
    pub(crate) fn new(intake: Intake, db: Db, pause: Pause) -> Self {
        Self { intake, db, pause }
    }
}

impl Submit for Sender {
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
        if let Pause::Before(held) = &self.pause {
            held.hold().await;
        }
        let accepted = self.intake.accept(request).await.map_err(|error| match error {
            AcceptError::Invalid(_) | AcceptError::UnknownSigner { .. } | AcceptError::Conflict { .. } => {
                SubmitError::Refused(error.to_string())
            }
            other => SubmitError::Unknown(other.to_string()),
        })?;
        if let Pause::After(held) = &self.pause {
            held.hold().await;
        }
        Ok(accepted.id)
    }

    async fn standings(&self, transactions: &[(Uuid, Uuid)]) -> Result<Vec<Standing>, SubmitError> {
        let mut standings = Vec::new();
        for (tenant_id, id) in transactions {
            let mut tx = self.db.tenant_snapshot(&[*tenant_id]).await.unwrap();
            let transaction = read::by_id(&mut tx, *tenant_id, *id).await.unwrap().unwrap();
            standings.push(match (transaction.state, transaction.inclusion) {
                (TransactionState::Confirmed, Some(inclusion)) => {
                    Standing::Confirmed { block_hash: inclusion.block_hash }
                }
                (state, _) if state.is_end() => Standing::Failed { why: state.to_string() },
                _ => Standing::Open,
            });
        }
        Ok(standings)
    }
}
