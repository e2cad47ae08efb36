//! Mirror rows against the contracts' own getters.
//!
//! **Why a comparison is exact.** A page of rows and the fold's watermark are read in one snapshot, and the fold moves both in one
//! transaction. A row whose event lies at or below the watermark is therefore what the contract held at the end of the watermark's
//! block, and the getter is called on the state after the block *of that hash*, demanded canonical. When the node does not
//! know the block (a reorg is under way, or it is behind), a fresh page is read, a bounded number of times.
//!
//! A difference counts when the node gives the same answers again, a moment later: some nodes answer from the state of the next block
//! while they make it, whatever block they were asked for. As long as the block is the node's last, the next one may be in the making, so it is asked
//! again and again, until there is another block on top, whose making no longer concerns it, or for so long that no block takes.
//!
//! **What is never done**: to call a row equal that was not compared. A node that has pruned the state, a getter that reverts, a contract
//! that is not followed any more: the row is unverified, with the reason.

mod getter;
mod report;
mod role;

use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{Address, Bytes};
use plimsoll_chain::abi::Contracts;
use plimsoll_chain::{CallError, ErrorClass, Pool, RpcError};
use plimsoll_store::Db;
use plimsoll_types::{address_text, hash_text};

use self::getter::{Getters, Question};
pub use self::report::{Difference, MAX_LISTED_ROWS, Mismatch, Unverified, VerifyReport};
pub use self::role::{Verifier, VerifierOptions, lease_name};
use crate::declarations::DECLARATIONS;
use crate::repo::read::{self, MirroredRow, Page, Place, Watermark};

/// Fresh pages that are tried before rows are given up as unverified.
const MAX_PAGE_ATTEMPTS: u32 = 8;
/// How long the fold and the node get to come together before the next attempt.
const ATTEMPT_PAUSE: Duration = Duration::from_millis(250);
/// How often it is asked once more while the block is its last: for 2 s, longer than a node is at making a block of transactions that it has.
const MAX_CONFIRMATIONS: u32 = 8;
/// Pages in a row without any answer from the node: then it is not the rows that have a problem.
const MAX_UNANSWERED_PAGES: u32 = 3;

/// How to verify.
#[derive(Clone, Copy, Debug)]
pub struct VerifyOptions {
    /// Rows a page: one snapshot, one batch of calls.
    pub page_rows: u32,
    /// The most rows to compare, the first ones by key; `None` compares all. A verification that leaves rows out is partial,
    /// and [`VerifyReport::is_proven`] is false for it.
    pub max_rows: Option<u64>,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        Self { page_rows: 500, max_rows: None }
    }
}

/// How far a verification is.
#[derive(Clone, Copy, Debug)]
pub struct VerifyProgress {
    /// Rows looked at.
    pub rows: u64,
    /// Rows to look at, counted at the beginning.
    pub of_rows: u64,
    /// Rows that differ.
    pub mismatched_rows: u64,
    /// Rows that could not be compared.
    pub unverified_rows: u64,
}

/// Why a verification ended early.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// Postgres.
    #[error("reading the mirrors: {0}")]
    Database(#[from] sqlx::Error),
    /// The node does not answer.
    #[error("the node did not answer {MAX_UNANSWERED_PAGES} pages in a row: {0}")]
    Rpc(#[from] RpcError),
    /// The lease of the continuous verification.
    #[error(transparent)]
    Lease(#[from] plimsoll_store::LeaseError),
}

/// Compares every row of the chain's mirrors, or the first ones, with its contract.
///
/// The order is that of the keys: positions by user, asset and contract, then the other mirrors by contract, view and key.
///
/// # Errors
/// When the database fails or the node stops answering. Rows that cannot be compared are no error: the report has them.
pub async fn verify(
    db: &Db,
    pool: &Pool,
    chain_id: u64,
    contracts: &Contracts,
    options: VerifyOptions,
    mut progress: impl FnMut(VerifyProgress) + Send,
) -> Result<VerifyReport, VerifyError> {
    let all_rows = read::count(db.app(), chain_id).await?;
    let max_rows = options.max_rows.unwrap_or(u64::MAX);
    let mut walk = Walk::new(db.clone(), pool.clone(), chain_id, contracts);
    let mut report = VerifyReport { chain_id, ..VerifyReport::default() };
    let mut more = true;
    // Ends: a page either compares a row, of which `max_rows` are left at most, or moves the walk towards its last place.
    while more && report.rows < max_rows {
        let room = u32::try_from(max_rows - report.rows).unwrap_or(u32::MAX);
        more = walk.page(options.page_rows.min(room), &mut report).await?;
        progress(VerifyProgress {
            rows: report.rows,
            of_rows: all_rows.min(max_rows),
            mismatched_rows: report.mismatched_rows,
            unverified_rows: report.unverified_rows,
        });
    }
    if more && walk.has_rows_left().await? {
        let now = read::count(db.app(), chain_id).await?;
        // Rows come and go meanwhile: that something is left is certain, how much is as of now.
        report.leave_out(now.saturating_sub(report.rows).max(1));
    }
    Ok(report)
}

/// A walk through the mirrors, page by page.
struct Walk {
    db: Db,
    pool: Pool,
    chain_id: u64,
    contracts: Contracts,
    getters: Arc<Getters>,
    place: Place,
    unanswered_pages: u32,
}

impl Walk {
    fn new(db: Db, pool: Pool, chain_id: u64, contracts: &Contracts) -> Self {
        let getters = Arc::new(Getters::new(contracts, DECLARATIONS));
        Self {
            db,
            pool,
            chain_id,
            contracts: contracts.clone(),
            getters,
            place: Place::Start,
            unanswered_pages: 0,
        }
    }

    /// Whether there are rows after the last one that was looked at.
    async fn has_rows_left(&self) -> Result<bool, VerifyError> {
        let mut place = self.place.clone();
        // Ends: each page without rows is followed by a later place, and `End` is the last.
        while place != Place::End {
            let page = read::page(self.db.app(), self.chain_id, &place, 1).await?;
            if !page.rows.is_empty() {
                return Ok(true);
            }
            place = page.next;
        }
        Ok(false)
    }

    /// Compares the next page; `false` at the end.
    async fn page(&mut self, limit: u32, report: &mut VerifyReport) -> Result<bool, VerifyError> {
        let mut attempt = 1;
        loop {
            let page = read::page(self.db.app(), self.chain_id, &self.place, limit.into()).await?;
            let last_attempt = attempt == MAX_PAGE_ATTEMPTS;
            match self.compare(&page, last_attempt, report).await? {
                Compared::Done => {
                    self.place = page.next;
                    return Ok(self.place != Place::End);
                }
                Compared::Again => {
                    attempt += 1;
                    tokio::time::sleep(ATTEMPT_PAUSE).await;
                }
            }
        }
    }

    async fn compare(
        &mut self,
        page: &Page,
        last_attempt: bool,
        report: &mut VerifyReport,
    ) -> Result<Compared, VerifyError> {
        if page.rows.is_empty() {
            return Ok(Compared::Done);
        }
        let Some(watermark) = page.watermark else {
            page.rows
                .iter()
                .for_each(|row| report.add_unverified(unverified(row, "the fold has no watermark yet")));
            return Ok(Compared::Done);
        };
        let ahead = page.rows.iter().any(|row| row.block_number > watermark.block_number);
        if ahead && !last_attempt {
            return Ok(Compared::Again);
        }

        let getters = Arc::clone(&self.getters);
        let mut calls = Vec::new();
        let asked: Vec<Asked<'_>> = page
            .rows
            .iter()
            .map(|row| {
                if row.block_number > watermark.block_number {
                    return Err("its block is not complete in the mirror yet".to_owned());
                }
                let questions = getters.questions(row)?;
                let first = calls.len();
                calls.extend(questions.iter().map(|question| (question.to, question.data.clone())));
                Ok((questions, first))
            })
            .collect();
        let answers = match self.ask(watermark, &calls, last_attempt).await? {
            Answered::All { answers, .. } => answers,
            Answered::Again => return Ok(Compared::Again),
            Answered::Never(reason) => {
                page.rows.iter().for_each(|row| report.add_unverified(unverified(row, &reason)));
                return Ok(Compared::Done);
            }
        };
        let mut compared: Vec<_> =
            page.rows.iter().zip(&asked).map(|(row, asked)| differences(row, asked, &answers)).collect();
        if compared.iter().flatten().any(|differences| !differences.is_empty()) {
            match self.confirm(watermark, &calls, &answers, last_attempt).await? {
                Confirmed::Yes => {}
                Confirmed::Never(reason) => compared.iter_mut().for_each(|row| *row = Err(reason.clone())),
                Confirmed::No if !last_attempt => return Ok(Compared::Again),
                Confirmed::No => {
                    let reason = "the node has given two answers for one block".to_owned();
                    compared.iter_mut().for_each(|row| *row = Err(reason.clone()));
                }
            }
        }
        report.compared_at(watermark.block_number);
        for (row, differences) in page.rows.iter().zip(compared) {
            match differences {
                Ok(differences) if differences.is_empty() => report.add_equal(),
                Ok(differences) => report.add_mismatch(self.mismatch(row, watermark, differences)),
                Err(reason) => report.add_unverified(unverified(row, &reason)),
            }
        }
        Ok(Compared::Done)
    }

    /// Whether the node stands by its answers.
    async fn confirm(
        &mut self,
        watermark: Watermark,
        calls: &[(Address, Bytes)],
        answers: &[Result<Bytes, CallError>],
        last_attempt: bool,
    ) -> Result<Confirmed, VerifyError> {
        for _ in 0..MAX_CONFIRMATIONS {
            tokio::time::sleep(ATTEMPT_PAUSE).await;
            match self.ask(watermark, calls, last_attempt).await? {
                Answered::All { answers: again, .. } if again != answers => return Ok(Confirmed::No),
                Answered::All { head, .. } if head > watermark.block_number => return Ok(Confirmed::Yes),
                Answered::All { .. } => {}
                Answered::Again => return Ok(Confirmed::No),
                Answered::Never(reason) => return Ok(Confirmed::Never(reason)),
            }
        }
        Ok(Confirmed::Yes)
    }

    /// Asks the state after the watermark's block.
    async fn ask(
        &mut self,
        watermark: Watermark,
        calls: &[(Address, Bytes)],
        last_attempt: bool,
    ) -> Result<Answered, VerifyError> {
        let Watermark { block_number, block_hash, .. } = watermark;
        let asked = self.pool.ask(Some(block_number), |rpc| async move {
            let head = rpc.head().await?.number;
            Ok((head, rpc.call_many_at(block_hash, calls).await?))
        });
        match asked.await {
            Ok((head, answers)) => {
                self.unanswered_pages = 0;
                Ok(Answered::All { head, answers })
            }
            Err(error) if error.class() == ErrorClass::BlockUnknown && !last_attempt => Ok(Answered::Again),
            Err(error) => {
                self.unanswered(&error)?;
                let block_hash = hash_text(&watermark.block_hash);
                Ok(Answered::Never(format!("at block {} ({block_hash}): {error}", watermark.block_number)))
            }
        }
    }

    /// A node that has not the block or its state has answered; one that fails otherwise may be gone.
    fn unanswered(&mut self, error: &RpcError) -> Result<(), VerifyError> {
        if matches!(error.class(), ErrorClass::BlockUnknown | ErrorClass::StateUnavailable) {
            self.unanswered_pages = 0;
            return Ok(());
        }
        self.unanswered_pages += 1;
        if self.unanswered_pages < MAX_UNANSWERED_PAGES { Ok(()) } else { Err(error.clone().into()) }
    }

    fn mismatch(&self, row: &MirroredRow, watermark: Watermark, differences: Vec<Difference>) -> Mismatch {
        let named = self.contracts.iter().find(|contract| address_text(&contract.address) == row.contract);
        Mismatch {
            contract_name: named.map_or_else(|| row.contract.clone(), |contract| contract.name.to_string()),
            contract: row.contract.clone(),
            view: row.view.clone(),
            key: row.key.clone(),
            differences,
            block_number: watermark.block_number,
            block_hash: watermark.block_hash,
            journal_seq: row.journal_seq,
        }
    }
}

enum Compared {
    Done,
    Again,
}

enum Confirmed {
    Yes,
    /// It says something else now.
    No,
    /// It does not answer any more, and why.
    Never(String),
}

enum Answered {
    All {
        /// The node's last block before it was asked.
        head: u64,
        answers: Vec<Result<Bytes, CallError>>,
    },
    Again,
    /// Why not.
    Never(String),
}

/// A row's questions with the place of their first answer, or why there are none.
type Asked<'a> = Result<(Vec<Question<'a>>, usize), String>;

/// Where the answers differ from the row, or why it cannot be told.
fn differences(
    row: &MirroredRow,
    asked: &Asked<'_>,
    answers: &[Result<Bytes, CallError>],
) -> Result<Vec<Difference>, String> {
    let (questions, first) = asked.as_ref().map_err(Clone::clone)?;
    let mut differences = Vec::new();
    for (question, answer) in questions.iter().zip(&answers[*first..]) {
        let answer = answer.as_ref().map_err(ToString::to_string)?;
        differences.extend(question.compare(row, answer)?);
    }
    Ok(differences)
}

fn unverified(row: &MirroredRow, reason: &str) -> Unverified {
    Unverified {
        contract: row.contract.clone(),
        view: row.view.clone(),
        key: row.key.clone(),
        reason: reason.to_owned(),
    }
}
