//! A second look at final blocks: what the journal's raw store has of them, held against what is proven from their headers.
//!
//! The blocks are fetched again as a backfill does it: linked to one another and to the journal's own final block, proven at the level that
//! is asked for, from whichever endpoint can. Every wanted log and transaction is then compared with what is stored, field by field.
//! What is equal gets a certificate. What differs is an anomaly with both sides kept, and no certificate; where the level was the bloom's, which does
//! not cover what a log says, the range is proven by its receipts first, so that an endpoint's lie is not taken for a hole in the journal.

mod compare;
mod repair;
mod report;

use std::sync::Arc;

use alloy_primitives::Address;
use plimsoll_chain::Pool;
use plimsoll_chain::abi::Contracts;
use plimsoll_chain::interval::Interval;
use plimsoll_journal::{
    Certifier, Filter, FoldError, Uncovered, certificates, note_finding, standing, stored,
};
use plimsoll_store::Db;
use plimsoll_types::Completeness;
use serde_json::json;

pub use self::compare::{Difference, DifferenceKind};
pub use self::repair::{MAX_REPAIRS, Repair};
pub use self::report::{Blocks, CompletenessReport, Contradicting, MAX_LISTED, NeverAskedFor, Unproven};
use crate::added_senders;
use crate::config::IngestConfig;
use crate::content::{self, Wanted};
use crate::error::IngestError;
use crate::plan::BlockId;
use crate::range::{Direction, Fetched, NotHad, Ranges};

/// What is looked at.
#[derive(Clone, Copy, Debug)]
pub struct VerifyOptions {
    /// The first block; the first of interest by default.
    pub from: Option<u64>,
    /// The last block; the last final one by default.
    pub to: Option<u64>,
    /// What is to be proven: the bloom's or the receipts'.
    pub level: Completeness,
}

/// How far it is.
#[derive(Clone, Copy, Debug)]
pub struct VerifyProgress {
    /// Blocks looked at.
    pub blocks: u64,
    /// Of how many.
    pub of_blocks: u64,
    /// Events and transactions in which journal and chain differ.
    pub different: u64,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// There is no such journal.
    #[error("chain {chain_id} has no journal yet: `plimsoll run` begins it")]
    NotBegun {
        /// The chain.
        chain_id: u64,
    },
    /// Nothing of it is final.
    #[error(
        "no block of chain {chain_id} is final yet: what is not final was proven when it came, and may still leave"
    )]
    NothingFinal {
        /// The chain.
        chain_id: u64,
    },
    /// The range is the wrong way round.
    #[error(
        "the blocks that are asked for begin with {from} and end with {to}, which is below it: give the lower one first"
    )]
    Backwards {
        /// Asked for.
        from: u64,
        /// Asked for.
        to: u64,
    },
    /// There is nothing to look at there.
    #[error(
        "chain {chain_id}: block {block} cannot be looked at: the first of interest is {first}, the last final one {last}; ask for blocks from \
         the one to the other, or for none to have them all"
    )]
    Range {
        /// The chain.
        chain_id: u64,
        /// Asked for.
        block: u64,
        /// What there is.
        first: u64,
        /// What there is.
        last: u64,
    },
    /// Nobody could be asked. What was proven before is on record.
    #[error("blocks {from} to {to}: {error}")]
    Endpoint {
        /// The first block of the range.
        from: u64,
        /// The last one.
        to: u64,
        /// Why.
        error: IngestError,
    },
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] FoldError),
}

/// Looks at what is stored of final blocks.
///
/// # Errors
/// [`VerifyError`]. What differs, and what could not be proven, is no error: the report has it.
pub async fn verify(
    db: &Db,
    pool: &Pool,
    contracts: &Contracts,
    config: &IngestConfig,
    options: VerifyOptions,
    progress: impl FnMut(VerifyProgress) + Send,
) -> Result<CompletenessReport, VerifyError> {
    let chain_id = config.chain_id;
    if let (Some(from), Some(to)) = (options.from, options.to)
        && from > to
    {
        return Err(VerifyError::Backwards { from, to });
    }
    let standing = standing(db, chain_id).await?.ok_or(VerifyError::NotBegun { chain_id })?;
    let first = standing.start_block.min(contracts.start_block());
    let final_block = standing.final_block.filter(|block| block.number >= first);
    let final_block = final_block.ok_or(VerifyError::NothingFinal { chain_id })?;
    let last = final_block.number;
    let is_there = |block: &u64| (first..=last).contains(block);
    if let Some(block) = options.from.into_iter().chain(options.to).find(|block| !is_there(block)) {
        return Err(VerifyError::Range { chain_id, block, first, last });
    }
    let (from, to) = (options.from.unwrap_or(first), options.to.unwrap_or(last));
    let config = &config.watching(&added_senders(db, chain_id).await?);
    let filter = content::filter(config, contracts);
    let report = CompletenessReport {
        chain_id,
        from,
        to,
        level: options.level,
        proven_blocks: 0,
        events: 0,
        transactions: 0,
        different: 0,
        differences: Vec::new(),
        contradictions: Vec::new(),
        unproven: Vec::new(),
        uncovered: Vec::new(),
        holes: Vec::new(),
    };
    let certifier = Certifier::new(db, chain_id, &filter).await?;
    let on = (final_block.number, final_block.hash);
    let head = standing.head.unwrap_or(last);
    let uncovered = async || -> Result<_, FoldError> {
        Ok(plimsoll_journal::uncovered(&filter, &certificates(db, chain_id).await?, head))
    };
    let gaps = uncovered().await?;
    let filter = &filter;
    let mut look =
        Look { db, pool, contracts, config, filter, on, gaps, not_asked_for: Vec::new(), report, certifier };
    look.over(from, to, progress).await?;
    let Look { mut report, certifier, not_asked_for, .. } = look;
    certifier.finish().await?;
    let never_asked_for = uncovered().await?.into_iter().map(|what| {
        let missing = not_asked_for.iter().filter(|it| what.contains(it.0, it.1)).count() as u64;
        NeverAskedFor { what, missing }
    });
    report.uncovered = never_asked_for.collect();
    Ok(report)
}

struct Look<'a> {
    db: &'a Db,
    pool: &'a Pool,
    contracts: &'a Contracts,
    config: &'a IngestConfig,
    filter: &'a Filter,
    /// The final block that all others are linked to.
    on: BlockId,
    /// What nobody was asked for before.
    gaps: Vec<Uncovered>,
    /// What was found in them: whose, and in which block.
    not_asked_for: Vec<(Address, u64)>,
    report: CompletenessReport,
    certifier: Certifier,
}

impl Look<'_> {
    fn wanted(&self, level: Completeness) -> Arc<Wanted> {
        let config = IngestConfig { backfill_completeness: level, ..self.config.clone() };
        Wanted::new(&config, self.contracts)
    }

    fn intervals(&self) -> Vec<Interval> {
        self.pool.endpoints().iter().map(|_| Interval::new(self.config.range)).collect()
    }

    async fn over(
        &mut self,
        from: u64,
        to: u64,
        mut progress: impl FnMut(VerifyProgress) + Send,
    ) -> Result<(), VerifyError> {
        let (pool, ahead, on) = (self.pool, self.config.ranges_in_flight, self.on);
        let (wanted, mut intervals) = (self.wanted(self.report.level), self.intervals());
        let mut ranges = Ranges::new(pool, &wanted, &mut intervals[..], ahead, Direction::Up, (from, to), on);
        let mut before: Option<BlockId> = None;
        // Ends: each turn takes one of the ranges.
        loop {
            let blocks = match ranges.next().await {
                Ok(None) => return Ok(()),
                Ok(Some(fetched)) => {
                    let end = (fetched.range.end.number, fetched.range.end.hash);
                    let is_linked = before.is_none_or(|(_, hash)| fetched.parent_hash == Some(hash));
                    if is_linked {
                        self.take(fetched).await?;
                    } else {
                        let why = format!("they are not the blocks that follow {before:?}");
                        self.report.unproven.push(Unproven { from: fetched.range.from, to: end.0, why });
                    }
                    before = Some(end);
                    end.0 - from + 1
                }
                Err(range) => {
                    let end = range.to;
                    self.cannot(range).await?;
                    before = None;
                    end - from + 1
                }
            };
            let different = self.report.different;
            progress(VerifyProgress { blocks, of_blocks: to - from + 1, different });
        }
    }

    /// A range was proven.
    async fn take(&mut self, fetched: Fetched) -> Result<(), VerifyError> {
        self.note(&fetched.passed_over).await?;
        let mut range = fetched.range;
        let (from, end, chain_id) = (range.from, range.end.number, self.config.chain_id);
        let stored = stored(self.db, chain_id, from, end).await?;
        let mut differences = compare::compare(self.filter, &range, &stored);
        if !differences.is_empty() && range.evidence.level < Completeness::Receipts {
            // An endpoint may have altered what the bloom does not cover.
            let (wanted, mut intervals) = (self.wanted(Completeness::Receipts), self.intervals());
            let mut again =
                Ranges::new(self.pool, &wanted, &mut intervals[..], 1, Direction::Up, (from, end), self.on);
            differences.clear();
            let mut whole = None;
            loop {
                match again.next().await {
                    Ok(Some(fetched)) => {
                        self.note(&fetched.passed_over).await?;
                        let part = fetched.range;
                        let stored =
                            plimsoll_journal::stored(self.db, chain_id, part.from, part.end.number).await?;
                        differences.extend(compare::compare(self.filter, &part, &stored));
                        whole = Some(part);
                    }
                    Ok(None) => break,
                    Err(range) => return self.cannot(NotHad { from, to: end, ..range }).await,
                }
            }
            range.evidence = whole.map_or(range.evidence, |part| part.evidence);
        }
        let report = &mut self.report;
        report.proven_blocks += end - from + 1;
        report.events += range.events.len() as u64;
        report.transactions += range.transactions.len() as u64;
        if differences.is_empty() {
            self.certifier.certify(&range).await?;
            return Ok(());
        }
        let mut hole: Option<(u64, u64)> = None;
        for difference in differences {
            let (whose, number) = (difference.address, difference.block_number);
            let is_known = difference.kind == DifferenceKind::Missing
                && self.gaps.iter().any(|gap| gap.contains(whose, number));
            if is_known {
                self.not_asked_for.push((whose, number));
                continue;
            }
            let evidence = &range.evidence;
            let detail = json!({ "difference": &difference, "level": evidence.level, "endpoint": &*evidence.endpoint });
            note_finding(self.db, chain_id, difference.kind.anomaly(), &detail).await?;
            report.different += 1;
            if difference.kind.can_be_repaired() {
                let (low, high) = hole.unwrap_or((number, number));
                hole = Some((low.min(number), high.max(number)));
            }
            if report.differences.len() < MAX_LISTED {
                report.differences.push(difference);
            }
        }
        report.holes.extend(hole.map(|(from, to)| Blocks { from, to }));
        Ok(())
    }

    /// A range was not proven: by nobody who was asked, or as nobody could be.
    async fn cannot(&mut self, NotHad { from, to, error }: NotHad) -> Result<(), VerifyError> {
        let is_answered = matches!(
            error,
            IngestError::Contradiction { .. }
                | IngestError::Unproven { .. }
                | IngestError::Inconsistent { .. }
        );
        if !is_answered {
            return Err(VerifyError::Endpoint { from, to, error });
        }
        self.note(std::slice::from_ref(&error)).await?;
        self.report.unproven.push(Unproven { from, to, why: error.to_string() });
        Ok(())
    }

    /// Whoever contradicted himself is named, and the evidence kept.
    async fn note(&mut self, errors: &[IngestError]) -> Result<(), VerifyError> {
        for error in errors {
            let (IngestError::Contradiction { endpoint, what, .. }, Some(detail)) =
                (error, error.contradiction())
            else {
                continue;
            };
            note_finding(self.db, self.config.chain_id, "endpoint_contradiction", &detail).await?;
            if self.report.contradictions.len() < MAX_LISTED {
                self.report
                    .contradictions
                    .push(Contradicting { endpoint: endpoint.clone(), what: what.clone() });
            }
        }
        Ok(())
    }
}
