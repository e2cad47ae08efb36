//! Why a transaction that reverted in a block did: found out beside the verdict, which waits for nobody.
//!
//! The chain keeps no reason. A node that serves traces tells it of that very run (`debug_traceTransaction`). Any other can run the same call on the state after the parent block, which is
//! what it was unless something before it in its own block mattered; a run that does not revert there shows that something did. Where neither can be had, that is what is told. What is told is
//! one endpoint's word, for people: no verdict, no nonce and no state depends on it.
//!
//! *It ends.* A case is open until its reason is kept, which takes an answer, or three rounds in which every endpoint gave an answer that will not change. While an endpoint is only silent, or
//! behind, a case waits for it, asked for more and more rarely.

use std::collections::HashMap;
use std::time::Duration;

use alloy_primitives::{Address, B256};
use futures::StreamExt;
use plimsoll_chain::{ErrorClass, Pool, Reverts, Rpc, RpcError, UnsignedTransaction};
use plimsoll_store::{Db, LeaseError, Leases};
use plimsoll_types::{Amount, RevertSource};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::bell::Bell;
use crate::book::BookError;
use crate::history;
use crate::reason::Reason;
use crate::repo::reasons as repo;
use crate::request::Call;

/// In whose name it publishes.
const ACTOR: &str = "relayer:inquest";
/// Cases that are open at once.
const CASES_MAX: i64 = 256;
/// Cases that are asked about at once.
const ASKED_AT_ONCE: usize = 4;
/// After so many rounds in which no endpoint could tell, and none may later, nobody knows.
const TRIES: u32 = 3;
/// The first pause between two rounds; it doubles up to the longest.
const PAUSE: Duration = Duration::from_millis(250);
const MAX_PAUSE: Duration = Duration::from_secs(60);
/// How often it is looked for new cases while nothing rings.
const PERIOD: Duration = Duration::from_secs(1);

/// A transaction of ours that reverted in a block.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) id: Uuid,
    pub(crate) tenant_id: Option<Uuid>,
    pub(crate) sender: Address,
    pub(crate) call: Call,
    pub(crate) gas_limit: u64,
    pub(crate) gas_used: Option<Amount>,
    pub(crate) tx_hash: B256,
    pub(crate) block_number: u64,
    pub(crate) block_hash: B256,
}

/// What a round of asking came to.
enum Finding {
    Told(Reason),
    /// Every endpoint that was asked gave an answer that will not change.
    Nobody(String),
    /// An endpoint may tell later.
    Open,
}

/// What is known of a case.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    rounds: u32,
    /// Rounds in which nobody could tell.
    in_vain: u32,
    not_before: Option<Instant>,
}

/// Finds out why transactions of one chain reverted.
pub struct Inquest {
    chain_id: u64,
    pool: Pool,
    reverts: Reverts,
    db: Db,
    leases: Leases,
    bell: Bell,
}

impl std::fmt::Debug for Inquest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Inquest").field(&self.chain_id).finish()
    }
}

/// The lease of whoever asks, of a chain.
#[must_use]
pub fn lease_name(chain_id: u64) -> String {
    format!("inquest/{chain_id}")
}

impl Inquest {
    /// Of this chain, over these endpoints, by these errors. `bell` rings when the chain's verdicts have moved.
    #[must_use]
    pub fn new(chain_id: u64, pool: Pool, reverts: Reverts, db: Db, leases: Leases, bell: Bell) -> Self {
        Self { chain_id, pool, reverts, db, leases, bell }
    }

    /// Finds out until `stop`, in one process at a time.
    ///
    /// # Errors
    /// The database's; or the lease was lost, or `stop` came while it was waited for.
    pub async fn run(&self, stop: &CancellationToken) -> Result<(), BookError> {
        let lease = self.leases.acquire_wait(&lease_name(self.chain_id), stop).await?;
        let mut rung = self.bell.listener();
        let mut known: HashMap<Uuid, Progress> = HashMap::new();
        while !stop.is_cancelled() {
            if lease.lost().is_cancelled() {
                return Err(BookError::Fenced(LeaseError::Fenced {
                    name: lease_name(self.chain_id),
                    token: lease.token(),
                }));
            }
            let mut conn = self.db.worker().acquire().await?;
            let cases = repo::unexplained(&mut conn, self.chain_id, CASES_MAX).await?;
            drop(conn);
            known.retain(|id, _| cases.iter().any(|case| case.id == *id));
            let now = Instant::now();
            let due: Vec<_> = cases
                .iter()
                .filter(|case| {
                    known.get(&case.id).and_then(|known| known.not_before).is_none_or(|at| at <= now)
                })
                .collect();
            let asked: Vec<_> = due.into_iter().map(|case| self.ask(case)).collect();
            let mut found = futures::stream::iter(asked).buffer_unordered(ASKED_AT_ONCE);
            while let Some((case, finding)) = stop.run_until_cancelled(found.next()).await.flatten() {
                let progress = known.entry(case.id).or_default();
                progress.rounds += 1;
                let reason = match finding {
                    Finding::Told(reason) => Some(reason),
                    Finding::Nobody(why) => {
                        progress.in_vain += 1;
                        (progress.in_vain >= TRIES).then(|| nobody_knows(case, &why))
                    }
                    Finding::Open => None,
                };
                let pause = PAUSE.saturating_mul(1 << progress.rounds.min(10)).min(MAX_PAUSE);
                progress.not_before = Some(Instant::now() + pause);
                if let Some(reason) = reason {
                    self.keep(&lease, case, &reason).await?;
                }
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = lease.lost().cancelled() => {}
                _ = rung.changed() => {}
                () = tokio::time::sleep(PERIOD) => {}
            }
        }
        Ok(())
    }

    async fn keep(
        &self,
        lease: &plimsoll_store::Lease,
        case: &Case,
        reason: &Reason,
    ) -> Result<(), BookError> {
        let mut tx = self.db.begin_worker().await?;
        lease.guard(&mut tx).await?;
        let changed = repo::explain(&mut tx, case, reason).await?;
        if let Some(changed) = &changed {
            history::publish_reason(&mut tx, ACTOR, changed, reason).await?;
        }
        tx.commit().await?;
        if changed.is_some() {
            metrics::counter!("relayer_reverts_total", "chain" => self.chain_id.to_string(), "source" => reason.source.as_str())
                .increment(1);
        }
        Ok(())
    }

    async fn ask<'a>(&self, case: &'a Case) -> (&'a Case, Finding) {
        (case, self.find_out(case).await)
    }

    /// Asks the endpoints, the fittest first: each for a trace, then each for a run on the state before.
    async fn find_out(&self, case: &Case) -> Finding {
        let (mut may_tell, mut last) = (false, String::new());
        let places = self.pool.fittest(Some(case.block_number));
        for place in &places {
            match self.trace(&self.pool.endpoints()[*place], case).await {
                Ok(reason) => return Finding::Told(reason),
                Err(error) => {
                    may_tell |= may_pass(&error);
                    last = error.to_string();
                }
            }
        }
        for place in places {
            match self.replay(&self.pool.endpoints()[place], case).await {
                Ok(Ok(reason)) => return Finding::Told(reason),
                Ok(Err(why)) => last = why,
                Err(error) => {
                    may_tell |= may_pass(&error);
                    last = error.to_string();
                }
            }
        }
        tracing::debug!(chain_id = self.chain_id, transaction_id = %case.id, why = last, "why it reverted is not told");
        if may_tell { Finding::Open } else { Finding::Nobody(last) }
    }

    async fn trace(&self, rpc: &Rpc, case: &Case) -> Result<Reason, RpcError> {
        Ok(Reason::of_trace(&self.reverts, rpc.trace_revert(case.tx_hash, case.block_hash).await?))
    }

    /// What the same call comes to on the state before its block; or why that says nothing.
    async fn replay(&self, rpc: &Rpc, case: &Case) -> Result<Result<Reason, String>, RpcError> {
        let transaction = UnsignedTransaction {
            from: case.sender,
            to: case.call.to,
            value: case.call.value,
            data: case.call.data.clone(),
        };
        let Some(header) = rpc.header_by_hash(case.block_hash).await? else {
            return Ok(Err(format!("an endpoint does not have block {}", case.block_hash)));
        };
        let answer = rpc.run(&transaction, Some(case.gas_limit), Some(header.parent_hash)).await?;
        Ok(match answer {
            Ok(_) => Err(
                "it does not revert on the state before its block: what came before it in that block mattered"
                    .to_owned(),
            ),
            Err(error) => Reason::of_call(&self.reverts, RevertSource::Replay, error)
                .map_err(|failed| failed.to_string()),
        })
    }
}

/// Whether the endpoint may tell later.
fn may_pass(error: &RpcError) -> bool {
    matches!(error.class(), ErrorClass::Transient | ErrorClass::RateLimited { .. } | ErrorClass::BlockUnknown)
}

fn nobody_knows(case: &Case, why: &str) -> Reason {
    let used_all = case.gas_used.is_some_and(|used| used >= Amount::from(u128::from(case.gas_limit)));
    let text = if used_all {
        format!("no endpoint could tell; it used all of its gas, {}", case.gas_limit)
    } else {
        "no endpoint could tell".to_owned()
    };
    Reason::unknown(&text, why)
}
