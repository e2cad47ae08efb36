//! Chains and the folds over them.

use plimsoll_types::api::{BlockRef, Chain, ChainState, Fold, FoldState, NodeHead};
use serde_json::Value;
use sqlx::PgPool;
use time::OffsetDateTime;

use super::{RepoError, cause, hash, unsigned, unsigned_or_none};
use crate::fresh::{ChainMarks, FoldMarks, FreshnessLimits, chain_reasons, fold_reasons, seconds};

struct Row {
    chain_id: i64,
    name: String,
    genesis_hash: Vec<u8>,
    start_block: i64,
    confirmations: i64,
    finality: String,
    next_seq: i64,
    head_number: Option<i64>,
    head_hash: Option<Vec<u8>>,
    confirmed_number: Option<i64>,
    final_number: Option<i64>,
    rpc_head_number: Option<i64>,
    rpc_head_at: Option<OffsetDateTime>,
    rpc_head_age_seconds: Option<f64>,
    is_halted: bool,
    halt: Option<Value>,
    fold: Option<String>,
    seq: Option<i64>,
    block_number: Option<i64>,
    block_hash: Option<Vec<u8>>,
    is_stopped: Option<bool>,
    stop: Option<Value>,
    fold_updated_at: Option<OffsetDateTime>,
    unapplied_seconds: Option<f64>,
}

/// A chain with its folds, and the marks that it was judged by.
pub(crate) struct Standing {
    pub(crate) chain: Chain,
    pub(crate) marks: ChainMarks,
    pub(crate) folds: Vec<FoldMarks>,
}

/// One chain, or all of them when `chain_id` is `None`, by id.
pub(crate) async fn standings(
    pool: &PgPool,
    chain_id: Option<i64>,
    limits: &FreshnessLimits,
) -> Result<Vec<Standing>, RepoError> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT c.chain_id, c.name, c.genesis_hash, c.start_block, c.confirmations, c.finality, c.next_seq,
               c.head_number, c.head_hash, c.confirmed_number, c.final_number, c.rpc_head_number, c.rpc_head_at,
               EXTRACT(EPOCH FROM clock_timestamp() - c.rpc_head_at)::float8 AS rpc_head_age_seconds,
               c.state = 'halted' AS "is_halted!", c.halt,
               f.fold AS "fold?", f.seq AS "seq?", f.block_number AS "block_number?", f.block_hash AS "block_hash?",
               f.state = 'stopped' AS is_stopped, f.stop AS "stop?", f.updated_at AS "fold_updated_at?",
               (SELECT EXTRACT(EPOCH FROM clock_timestamp() - j.recorded_at)::float8
                FROM journal j WHERE j.chain_id = f.chain_id AND j.seq = f.seq + 1) AS unapplied_seconds
        FROM chains c
        LEFT JOIN fold_cursors f ON f.chain_id = c.chain_id
        WHERE $1::bigint IS NULL OR c.chain_id = $1
        ORDER BY c.chain_id, f.fold"#,
        chain_id
    )
    .fetch_all(pool)
    .await?;
    let mut standings: Vec<Standing> = Vec::new();
    for mut row in rows {
        let chain_id = unsigned("chain id", row.chain_id)?;
        let fold = row.take_fold()?;
        if standings.last().is_none_or(|last| last.marks.chain_id != chain_id) {
            standings.push(row.standing(limits)?);
        }
        if let (Some((mut fold, marks)), Some(standing)) = (fold, standings.last_mut()) {
            fold.lag_blocks = marks.lag_blocks(&standing.marks);
            fold.lag_records = marks.lag_records(&standing.marks);
            fold.lag_seconds = marks.lag_seconds(&standing.marks);
            fold.why = fold_reasons(&standing.marks, &marks, limits.of(chain_id));
            fold.stale = !fold.why.is_empty();
            standing.chain.folds.push(fold);
            standing.folds.push(marks);
        }
    }
    Ok(standings)
}

/// The ids of all chains, ascending.
pub(crate) async fn ids(pool: &PgPool) -> Result<Vec<i64>, RepoError> {
    Ok(sqlx::query_scalar!("SELECT chain_id FROM chains ORDER BY chain_id").fetch_all(pool).await?)
}

impl Row {
    /// The fold of this row; its lag and reasons wait for the chain's marks.
    fn take_fold(&mut self) -> Result<Option<(Fold, FoldMarks)>, RepoError> {
        let (Some(name), Some(seq), Some(updated_at)) = (self.fold.take(), self.seq, self.fold_updated_at)
        else {
            return Ok(None);
        };
        let watermark = block_ref("watermark", self.block_number, self.block_hash.as_deref())?;
        let stop = cause(self.is_stopped.unwrap_or(false), self.stop.take());
        let marks = FoldMarks {
            name: name.clone(),
            seq: unsigned("fold cursor", seq)?,
            watermark: watermark.as_ref().map(|block| block.number),
            stop: stop.clone(),
            unapplied_seconds: self.unapplied_seconds,
        };
        let fold = Fold {
            fold: name,
            state: if stop.is_some() { FoldState::Stopped } else { FoldState::Running },
            stop,
            journal_seq: marks.seq,
            watermark,
            lag_blocks: 0,
            lag_records: 0,
            lag_seconds: None,
            stale: false,
            why: Vec::new(),
            updated_at,
        };
        Ok(Some((fold, marks)))
    }

    fn standing(self, limits: &FreshnessLimits) -> Result<Standing, RepoError> {
        let marks = ChainMarks {
            chain_id: unsigned("chain id", self.chain_id)?,
            start_block: unsigned("start block", self.start_block)?,
            head_number: unsigned_or_none("head number", self.head_number)?,
            confirmed_number: unsigned_or_none("confirmed number", self.confirmed_number)?,
            final_number: unsigned_or_none("final number", self.final_number)?,
            node_head_number: unsigned_or_none("node head", self.rpc_head_number)?,
            node_head_age_seconds: self.rpc_head_age_seconds.map(seconds),
            last_seq: unsigned("journal sequence", self.next_seq - 1)?,
            halt: cause(self.is_halted, self.halt),
        };
        let why = chain_reasons(&marks, limits.of(marks.chain_id));
        let chain = Chain {
            chain_id: marks.chain_id,
            name: self.name,
            genesis_hash: hash("genesis hash", &self.genesis_hash)?,
            start_block: marks.start_block,
            confirmations: unsigned("confirmation depth", self.confirmations)?,
            finality: self.finality,
            state: if marks.halt.is_some() { ChainState::Halted } else { ChainState::Following },
            halt: marks.halt.clone(),
            head: block_ref("head", self.head_number, self.head_hash.as_deref())?,
            confirmed_number: marks.confirmed_number,
            final_number: marks.final_number,
            node_head: marks.node_head_number.map(|number| NodeHead {
                number,
                seen_at: self.rpc_head_at,
                age_seconds: marks.node_head_age_seconds,
            }),
            lag_blocks: marks.lag_blocks(),
            journal_seq: marks.last_seq,
            stale: !why.is_empty(),
            why,
            folds: Vec::new(),
        };
        Ok(Standing { chain, marks, folds: Vec::new() })
    }
}

fn block_ref(
    what: &'static str,
    number: Option<i64>,
    block_hash: Option<&[u8]>,
) -> Result<Option<BlockRef>, RepoError> {
    let (Some(number), Some(block_hash)) = (number, block_hash) else { return Ok(None) };
    Ok(Some(BlockRef { number: unsigned(what, number)?, hash: hash(what, block_hash)? }))
}
