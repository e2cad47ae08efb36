//! From the journal to jobs: failures open them, healings end them, and a reorganisation takes both back.
//!
//! The fold says what the chain says, and decides nothing that the chain may still decide otherwise: that an attempt failed, the worker finds out at its transaction's end.
//!
//! Of history that comes late nothing is made: what came after it, which may have healed it, stands before it in the journal. A position that is behind since then is found by comparing the
//! mirrors with the chain.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::Address;
use plimsoll_chain::Reverts;
use plimsoll_chain::abi::Contracts;
use plimsoll_journal::{Body, Event, Fold, FoldError, Record, Transaction, Undone};
use plimsoll_types::{JournalKind, address_text};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::events::{Key, Sign, Signs};
use crate::job::{Inclusion, Job};
use crate::repo::{fold as repo, steps};
use crate::state::{
    AwaitingEvent, Backoff, Change, Deadletter, Healed, Leased, Needless, Queued, Status, Step, Submitted,
    Succeeded, Superseded, TakenBack,
};

/// The fold's name: the key of its cursor, undo stack and lease.
pub const FOLD_NAME: &str = "retry";
/// In whose name it acts.
const ACTOR: &str = "fold:retry";
/// What job ids are named under.
const JOBS: Uuid = Uuid::from_u128(0x0f1d_33a4_6f0b_4d5e_9a53_7f1e_2c84_b60a);

/// What the fold does with a failure.
#[derive(Clone, Debug, Default)]
pub struct FoldOptions {
    /// How long a new job waits before it may be tried: what fails may be healed by the next push.
    pub cool_down: Duration,
    /// The reasons ([`plimsoll_chain::Revert::code`]) whose jobs are tried unasked.
    pub automatic: Vec<String>,
}

/// Keeps one chain's jobs in step with its journal.
#[derive(Debug)]
pub struct RetryFold {
    chain_id: u64,
    signs: Signs,
    reverts: Reverts,
    options: FoldOptions,
    /// By view, not yet committed.
    failures: Vec<String>,
}

/// What a record's undo needs to know: which job it was about, and what that was before.
#[derive(Debug, Serialize, Deserialize)]
struct Undo {
    job: Uuid,
    healed_seq: Option<i64>,
    /// It was in the dead letters.
    was_dead: bool,
}

impl Undo {
    fn of(job: &Job) -> Self {
        Self { job: job.id, healed_seq: job.healed_seq, was_dead: job.status == Status::Deadletter }
    }

    fn to_json(&self) -> Value {
        serde_json::json!({ "job": self.job, "healed_seq": self.healed_seq, "was_dead": self.was_dead })
    }
}

impl RetryFold {
    /// The fold of this chain's followed contracts.
    #[must_use]
    pub fn new(chain_id: u64, contracts: &Contracts, options: FoldOptions) -> Self {
        let (signs, reverts) = (Signs::new(contracts), Reverts::new(contracts));
        Self { chain_id, signs, reverts, options, failures: Vec::new() }
    }

    fn poisoned(&self, seq: i64, reason: String) -> FoldError {
        FoldError::Poisoned { fold: FOLD_NAME, chain_id: self.chain_id, seq, reason }
    }

    fn sign(&self, record: &Record) -> Result<Option<(Arc<Event>, Sign)>, FoldError> {
        let Some(event) = record.event().filter(|_| !record.is_late()) else { return Ok(None) };
        let sign = self.signs.read(event).map_err(|reason| self.poisoned(record.seq, reason))?;
        Ok(sign.map(|sign| (Arc::clone(event), sign)))
    }

    async fn failed(
        &mut self,
        conn: &mut PgConnection,
        open: &mut HashMap<Key, Job>,
        (seq, event): (i64, &Event),
        (key, named, raw): (Key, Address, &[u8]),
    ) -> Result<Undo, FoldError> {
        let revert = self.reverts.read(raw);
        let code = revert.code();
        let occurrence =
            repo::Occurrence { journal_seq: seq, event, named, code: &code, text: &revert.text, raw };
        let is_automatic = self.options.automatic.iter().any(|listed| *listed == code);
        self.failures.push(address_text(&key.view));
        let (undo, job) = if let Some(job) = open.get(&key) {
            (Undo::of(job), repo::add(conn, ACTOR, job, is_automatic, &occurrence).await?)
        } else {
            let name = format!("{FOLD_NAME}:{}:{seq}", self.chain_id);
            let new = (Uuid::new_v5(&JOBS, name.as_bytes()), self.chain_id, &key);
            let terms = (self.options.cool_down, is_automatic);
            let job = repo::open(conn, ACTOR, new, terms, &occurrence).await?;
            (Undo::of(&job), job)
        };
        open.insert(key, job);
        Ok(undo)
    }

    async fn healed(
        conn: &mut PgConnection,
        open: &mut HashMap<Key, Job>,
        (seq, event): (i64, &Event),
        key: Key,
    ) -> Result<Option<Undo>, FoldError> {
        let Some(job) = open.get_mut(&key) else { return Ok(None) };
        let undo = Undo::of(job);
        let healed = Healed { journal_seq: seq };
        let step: Step = match job.status {
            Status::Submitted if is_answered(job.inclusion, event) => {
                Change::<Submitted, Succeeded>::new(job.id, healed).into()
            }
            Status::AwaitingEvent if is_answered(job.inclusion, event) => {
                Change::<AwaitingEvent, Succeeded>::new(job.id, healed).into()
            }
            Status::Submitted | Status::AwaitingEvent => {
                // Others healed it. What is under way goes on: nobody can say that it was not sent.
                repo::note_healing(conn, job.id, Some(seq)).await?;
                job.healed_seq = Some(seq);
                return Ok(Some(undo));
            }
            _ => match needless(job, Needless::healed(seq)) {
                Some(step) => step,
                None => return Ok(None),
            },
        };
        steps::take(conn, ACTOR, step).await?;
        open.remove(&key);
        Ok(Some(undo))
    }

    /// A failure is not on the chain any more.
    async fn undo_failure(conn: &mut PgConnection, undo: &Undo, job: &Job) -> Result<(), FoldError> {
        if let Some((code, text)) = repo::newest_reason(conn, job.id).await? {
            let known = ((code.as_str(), text.as_str()), job.is_automatic, undo.healed_seq);
            let words = ("failure_retracted", "a failure left the chain");
            repo::revise(conn, ACTOR, job, known, words).await?;
        } else if let Some(step) = needless(job, Needless::without_failure()) {
            steps::take(conn, ACTOR, step).await?;
        }
        Ok(())
    }

    /// A healing is not on the chain any more.
    async fn undo_healing(
        conn: &mut PgConnection,
        seq: i64,
        undo: &Undo,
        job: &Job,
    ) -> Result<(), FoldError> {
        let taken_back = TakenBack { journal_seq: seq };
        if job.ended_seq == Some(seq) {
            let other = repo::other_open(conn, job).await?;
            if let Some(other) = other {
                repo::hand_over(conn, job.id, other).await?;
            }
            let step: Option<Step> = match job.status {
                // Its key has another job, which began later and is under way: two of a key are never open.
                Status::Succeeded if other.is_some() => {
                    let why = "what healed it left the chain, and another job of the same key is open".into();
                    let needless = Needless { journal_seq: None, why };
                    Some(Change::<Succeeded, Superseded>::new(job.id, needless).into())
                }
                Status::Succeeded if job.transaction_id.is_none() => {
                    Some(Change::<Succeeded, Submitted>::new(job.id, taken_back).into())
                }
                Status::Succeeded => Some(Change::<Succeeded, AwaitingEvent>::new(job.id, taken_back).into()),
                Status::Superseded if other.is_none() && undo.was_dead => {
                    Some(Change::<Superseded, Deadletter>::new(job.id, taken_back).into())
                }
                Status::Superseded if other.is_none() => {
                    Some(Change::<Superseded, Queued>::new(job.id, taken_back).into())
                }
                _ => None,
            };
            if let Some(step) = step {
                steps::take(conn, ACTOR, step).await?;
            }
        }
        Ok(repo::note_healing(conn, job.id, undo.healed_seq).await?)
    }
}

/// The end of a job of which nothing is under way.
fn needless(job: &Job, why: Needless) -> Option<Step> {
    Some(match job.status {
        Status::Queued => Change::<Queued, Superseded>::new(job.id, why).into(),
        Status::Leased => Change::<Leased, Superseded>::new(job.id, why).into(),
        Status::Backoff => Change::<Backoff, Superseded>::new(job.id, why).into(),
        Status::Deadletter => Change::<Deadletter, Superseded>::new(job.id, why).into(),
        _ => return None,
    })
}

/// Whether the event comes of the job's own transaction, or after it.
fn is_answered(own: Option<Inclusion>, event: &Event) -> bool {
    own.is_some_and(|own| {
        own.succeeded && (event.block_number, event.tx_index) >= (own.block_number, own.tx_index)
    })
}

/// The request that a transaction carries, where it is a UUID, as ours are.
fn carried(transaction: &Transaction) -> Option<Uuid> {
    transaction.request_id.and_then(|id| Uuid::parse_str(&id.to_string()).ok())
}

impl Fold for RetryFold {
    fn name(&self) -> &'static str {
        FOLD_NAME
    }

    async fn apply(
        &mut self,
        conn: &mut PgConnection,
        _: Option<u64>,
        records: &[Record],
    ) -> Result<Vec<Option<Value>>, FoldError> {
        let mut undos = vec![None; records.len()];
        let (mut signs, mut included) = (Vec::new(), Vec::new());
        for (at, record) in records.iter().enumerate() {
            if let Some((event, sign)) = self.sign(record)? {
                signs.push((at, record.seq, event, sign));
            } else if let (JournalKind::Included, Body::Transaction(transaction)) =
                (record.kind, &record.body)
            {
                included.extend(carried(transaction).map(|request_id| (request_id, &**transaction)));
            }
        }
        // All of them before the events: where an attempt is decides which events come after it, in whatever order a block's records stand.
        if !included.is_empty() {
            repo::include(conn, self.chain_id, &included).await?;
        }
        if signs.is_empty() {
            return Ok(undos);
        }
        let mut users: Vec<_> = signs
            .iter()
            .map(|(.., sign)| match sign {
                Sign::Failed { key, .. } | Sign::Healed(key) => address_text(&key.user),
            })
            .collect();
        users.sort_unstable();
        users.dedup();
        let jobs = repo::open_of(conn, self.chain_id, &users).await?;
        let mut open: HashMap<_, _> = jobs.into_iter().map(|job| (job.key, job)).collect();
        for (at, seq, event, sign) in signs {
            let undo = match sign {
                Sign::Failed { key, named, raw } => {
                    Some(self.failed(conn, &mut open, (seq, &event), (key, named, &raw)).await?)
                }
                Sign::Healed(key) => Self::healed(conn, &mut open, (seq, &event), key).await?,
            };
            undos[at] = undo.map(|undo| undo.to_json());
        }
        Ok(undos)
    }

    async fn undo(&mut self, conn: &mut PgConnection, undone: Vec<Undone>) -> Result<(), FoldError> {
        for Undone { record, undo, .. } in undone {
            if let Body::Transaction(transaction) = &record.body
                && let Some(request_id) = carried(transaction)
            {
                repo::exclude(conn, request_id, transaction).await?;
            }
            let (Some((_, sign)), Some(undo)) = (self.sign(&record)?, undo) else { continue };
            let undo: Undo = serde_json::from_value(undo).map_err(|error| {
                self.poisoned(record.seq, format!("its undo entry cannot be read ({error})"))
            })?;
            let job_id = match sign {
                // It may have been handed over since.
                Sign::Failed { .. } => repo::retract(conn, self.chain_id, record.seq).await?,
                Sign::Healed(_) => Some(undo.job),
            };
            let Some(job) = repo::lock(conn, job_id.unwrap_or(undo.job)).await? else {
                return Err(self.poisoned(record.seq, format!("its job {} is gone", undo.job)));
            };
            match sign {
                Sign::Failed { .. } => Self::undo_failure(conn, &undo, &job).await?,
                Sign::Healed(_) => Self::undo_healing(conn, record.seq, &undo, &job).await?,
            }
        }
        Ok(())
    }

    async fn skip(&mut self, _: &mut PgConnection, record: &Record, reason: &str) -> Result<(), FoldError> {
        tracing::warn!(
            chain_id = self.chain_id,
            seq = record.seq,
            reason,
            "the retry's fold passed over a record"
        );
        Ok(())
    }

    fn committed(&mut self) {
        for view in self.failures.drain(..) {
            metrics::counter!("cache_retry_failures_total", "chain" => self.chain_id.to_string(), "view" => view)
                .increment(1);
        }
    }

    fn rolled_back(&mut self) {
        self.failures.clear();
    }
}
