//! The verdicts: what the journal says became of what we sent.
//!
//! The fold acts on the journal's records alone, under its own lease, and by compare-and-set on the state, so it and the nodes that work the signers never wait for one another. An
//! attempt is committed before its bytes leave, so whoever reads its inclusion finds it; what is found of a signer's nonce and is none of its attempts was made by a
//! stranger with the same key, and consumes the nonce all the same.
//!
//! One moment lies between the two: a stranger's inclusion may be applied just before a nonce that it consumed is given. Whoever has a consumed nonce and no inclusion
//! is looked up when blocks become final, in what the journal keeps of its senders.
//!
//! A missing receipt is no record, and no record changes nothing. Success is told at the chain's confirmation depth; whatever else happens to a request that had an attempt, at finality.

use std::collections::HashSet;
use std::time::Duration;

use alloy_primitives::{Address, B256};
use plimsoll_bus::PublishError;
use plimsoll_journal::{Body, Fold, FoldError, Record, Transaction, Undone};
use plimsoll_types::{Amount, JournalKind, TransactionState};
use serde_json::Value;
use sqlx::PgConnection;

use crate::bell::Bell;
use crate::history;
use crate::measure::{self, Stage};
use crate::repo::{Changed, verdict as repo};
use crate::users::fold as users;

/// The fold's name.
pub const FOLD_NAME: &str = "relayer";
/// In whose name it publishes.
const ACTOR: &str = "fold:relayer";

/// An inclusion, as the journal has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) sender: Address,
    pub(crate) nonce: u64,
    pub(crate) tx_hash: B256,
    pub(crate) block_number: u64,
    pub(crate) block_hash: B256,
    pub(crate) succeeded: bool,
    pub(crate) gas_used: Amount,
    pub(crate) gas_paid_wei: Amount,
}

impl Seen {
    fn of(transaction: &Transaction) -> Self {
        Self {
            sender: transaction.sender,
            nonce: transaction.nonce,
            tx_hash: transaction.tx_hash,
            block_number: transaction.block_number,
            block_hash: transaction.block_hash,
            succeeded: transaction.succeeded,
            gas_used: transaction.gas_used,
            gas_paid_wei: transaction.gas_paid_wei,
        }
    }
}

/// Keeps the states of one chain's managed transactions in step with its journal.
#[derive(Debug)]
pub struct VerdictFold {
    chain_id: u64,
    /// The signers of ours that the fold has met, so that watched strangers cost no statement.
    signers: HashSet<Address>,
    counts: Vec<(TransactionState, usize)>,
    reached: Vec<(Stage, Duration)>,
    moved: Option<Bell>,
}

impl VerdictFold {
    /// The fold of this chain, for these signers. Whoever works one of them here is woken through `moved` when something of it has changed.
    #[must_use]
    pub fn new(chain_id: u64, signers: impl IntoIterator<Item = Address>, moved: Option<Bell>) -> Self {
        Self {
            chain_id,
            signers: signers.into_iter().collect(),
            counts: Vec::new(),
            reached: Vec::new(),
            moved,
        }
    }

    fn seen<'a>(&self, records: impl IntoIterator<Item = &'a Record>) -> Vec<Seen> {
        self.seen_of(records, true)
    }

    /// What our signers sent, or everybody else.
    fn seen_of<'a>(&self, records: impl IntoIterator<Item = &'a Record>, is_ours: bool) -> Vec<Seen> {
        records
            .into_iter()
            .filter_map(|record| match &record.body {
                Body::Transaction(transaction) if self.signers.contains(&transaction.sender) == is_ours => {
                    Some(Seen::of(transaction))
                }
                _ => None,
            })
            .collect()
    }

    /// The same for what users signed, where there is any.
    async fn apply_to_users(
        &mut self,
        conn: &mut PgConnection,
        final_number: Option<u64>,
        records: &[Record],
    ) -> Result<(), FoldError> {
        if users::is_idle(conn, self.chain_id).await? {
            return Ok(());
        }
        let mut known_final = final_number;
        for run in records.chunk_by(|one, next| one.kind == next.kind) {
            let highest = run.iter().map(|record| record.block_number).max().unwrap_or_default();
            match run[0].kind {
                JournalKind::Included | JournalKind::LateIncluded => {
                    users::included(conn, self.chain_id, &self.seen_of(run, false)).await?;
                    if let (JournalKind::LateIncluded, Some(number)) = (run[0].kind, known_final) {
                        users::finalized(conn, self.chain_id, number).await?;
                    }
                }
                JournalKind::Confirm => users::confirmed(conn, self.chain_id, highest).await?,
                JournalKind::Finalize => {
                    users::finalized(conn, self.chain_id, highest).await?;
                    known_final = known_final.max(Some(highest));
                }
                JournalKind::Append | JournalKind::LateAppend | JournalKind::Block | JournalKind::Retract => {
                }
            }
        }
        Ok(())
    }

    async fn tell(
        &mut self,
        conn: &mut PgConnection,
        from: TransactionState,
        because: &str,
        changes: &[Changed],
    ) -> Result<(), FoldError> {
        if changes.is_empty() {
            return Ok(());
        }
        for change in changes {
            match self.counts.iter_mut().find(|(state, _)| *state == change.state) {
                Some((_, count)) => *count += 1,
                None => self.counts.push((change.state, 1)),
            }
        }
        let stage = match (from, changes[0].state) {
            (TransactionState::Tracking, TransactionState::Mined) => Some(Stage::Included),
            (TransactionState::Mined, TransactionState::Confirmed) => Some(Stage::Confirmed),
            _ => None,
        };
        if let Some(stage) = stage {
            let ages = changes.iter().filter_map(|change| measure::age(change.id));
            self.reached.extend(ages.map(|age| (stage, age)));
        }
        history::publish_as(conn, ACTOR, Some(from), because, changes).await.map_err(unpublished)
    }

    async fn included(&mut self, conn: &mut PgConnection, records: &[Record]) -> Result<(), FoldError> {
        let seen = self.seen(records);
        if seen.is_empty() {
            return Ok(());
        }
        let mined = repo::mined(conn, self.chain_id, &seen).await?;
        self.tell(conn, TransactionState::Tracking, "an attempt is in a block", &mined).await?;
        if mined.len() < seen.len() {
            let displaced = repo::displaced(conn, self.chain_id, &seen).await?;
            self.tell_displaced(conn, &displaced).await?;
        }
        repo::consume(conn, self.chain_id, &seen).await?;
        Ok(())
    }

    async fn tell_displaced(
        &mut self,
        conn: &mut PgConnection,
        displaced: &[Changed],
    ) -> Result<(), FoldError> {
        for stranger in displaced {
            tracing::error!(
                chain_id = self.chain_id,
                signer = stranger.signer,
                nonce = stranger.nonce,
                transaction_id = %stranger.id,
                "a transaction that is none of ours consumed a nonce that a request has: somebody else signs with this key"
            );
        }
        metrics::counter!("relayer_displaced_total", "chain" => self.chain_id.to_string())
            .increment(displaced.len() as u64);
        let because = "a transaction that is none of ours is in a block at its nonce";
        self.tell(conn, TransactionState::Tracking, because, displaced).await
    }

    async fn finalized(&mut self, conn: &mut PgConnection, number: u64) -> Result<(), FoldError> {
        // Where the chain calls a block final before it has the depth that was asked for, it is deep enough.
        self.confirmed(conn, number).await?;
        repo::settle(conn, self.chain_id, number).await?;
        let failed = repo::fail(conn, self.chain_id, number).await?;
        self.tell(conn, TransactionState::Mined, "its block is final", &failed).await?;
        let displaced = repo::displaced_before(conn, self.chain_id, number).await?;
        self.tell_displaced(conn, &displaced).await?;
        let released = repo::release(conn, self.chain_id, number).await?;
        self.tell(conn, TransactionState::Tracking, "the block that took its nonce is final", &released).await
    }

    async fn confirmed(&mut self, conn: &mut PgConnection, number: u64) -> Result<(), FoldError> {
        let confirmed = repo::confirm(conn, self.chain_id, number).await?;
        self.tell(conn, TransactionState::Mined, "its block has the confirmations", &confirmed).await
    }
}

fn unpublished(error: PublishError) -> FoldError {
    match error {
        PublishError::Database(error) => FoldError::Database(error),
        // What we write ourselves is bounded and has its keys.
        other => FoldError::Database(sqlx::Error::Encode(other.to_string().into())),
    }
}

impl Fold for VerdictFold {
    fn name(&self) -> &'static str {
        FOLD_NAME
    }

    async fn apply(
        &mut self,
        conn: &mut PgConnection,
        final_number: Option<u64>,
        records: &[Record],
    ) -> Result<Vec<Option<Value>>, FoldError> {
        repo::look_by_keys(conn).await?;
        let mut known_final = final_number;
        for run in records.chunk_by(|one, next| one.kind == next.kind) {
            // A mark speaks for all blocks up to its own.
            let highest = run.iter().map(|record| record.block_number).max().unwrap_or_default();
            match run[0].kind {
                JournalKind::Included => self.included(conn, run).await?,
                JournalKind::LateIncluded => {
                    self.included(conn, run).await?;
                    if let Some(number) = known_final {
                        self.finalized(conn, number).await?;
                    }
                }
                JournalKind::Confirm => self.confirmed(conn, highest).await?,
                JournalKind::Finalize => {
                    self.finalized(conn, highest).await?;
                    known_final = known_final.max(Some(highest));
                }
                JournalKind::Append | JournalKind::LateAppend | JournalKind::Block | JournalKind::Retract => {
                }
            }
        }
        self.apply_to_users(conn, final_number, records).await?;
        Ok(vec![None; records.len()])
    }

    async fn undo(&mut self, conn: &mut PgConnection, undone: Vec<Undone>) -> Result<(), FoldError> {
        // A mark is taken back only together with its own block, and so with every inclusion that it was told of: those say all that there is to do.
        let of_users = self.seen_of(undone.iter().map(|undone| &undone.record), false);
        users::taken_back(conn, self.chain_id, &of_users).await?;
        let seen = self.seen(undone.iter().map(|undone| &undone.record));
        if seen.is_empty() {
            return Ok(());
        }
        let revised = repo::revise(conn, self.chain_id, &seen).await?;
        for transaction in &revised {
            tracing::error!(
                chain_id = self.chain_id,
                transaction_id = %transaction.id,
                "a transaction that was told to be confirmed is not: the chain went back further than its confirmations"
            );
        }
        metrics::counter!("relayer_revised_total", "chain" => self.chain_id.to_string())
            .increment(revised.len() as u64);
        let because = "a reorganisation deeper than the confirmations";
        self.tell(conn, TransactionState::Confirmed, because, &revised).await?;
        for from in [TransactionState::Mined, TransactionState::Tracking] {
            let back = repo::take_back(conn, self.chain_id, from, &seen).await?;
            self.tell(conn, from, "its block left the chain", &back).await?;
        }
        Ok(repo::free(conn, self.chain_id, &seen).await?)
    }

    async fn skip(&mut self, _: &mut PgConnection, record: &Record, reason: &str) -> Result<(), FoldError> {
        tracing::warn!(
            chain_id = self.chain_id,
            seq = record.seq,
            reason,
            "the relayer's fold passed over a record"
        );
        Ok(())
    }

    fn committed(&mut self) {
        for (state, count) in self.counts.drain(..) {
            metrics::counter!("relayer_transactions_total", "chain" => self.chain_id.to_string(), "state" => state.as_str())
                .increment(count as u64);
        }
        for (stage, after) in self.reached.drain(..) {
            measure::reached(self.chain_id, stage, after);
        }
        if let Some(moved) = &self.moved {
            moved.ring();
        }
    }

    fn rolled_back(&mut self) {
        self.counts.clear();
        self.reached.clear();
    }
}
