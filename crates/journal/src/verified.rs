//! What a second look at final blocks needs: what is stored of them, and where its outcome is kept.

use std::collections::HashSet;

use alloy_primitives::B256;
use plimsoll_store::Db;

use crate::filter::Filter;
use crate::fold::FoldError;
use crate::record::{Block, Event, Transaction};
use crate::repo::certificate::{self, Source};
use crate::repo::{cursor, read, write};
use crate::writer::{Certified, OpenRange, Range, certify};

/// What the raw store has of some blocks, orphaned ones among them.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    /// Events, by block and place.
    pub events: Vec<Event>,
    /// The ids of those that are on the canonical chain.
    pub live: HashSet<i64>,
    /// Transactions of watched senders, by block and place.
    pub transactions: Vec<Transaction>,
}

/// How far a journal has come.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The first block of interest when the journal was begun.
    pub start_block: u64,
    /// The last block that it covers.
    pub head: Option<u64>,
    /// The last final block, as far as the journal covers it.
    pub final_block: Option<Block>,
}

/// How far the journal has come; none where it was not begun.
///
/// # Errors
/// When the database fails, or has what this version cannot read.
pub async fn standing(db: &Db, chain_id: u64) -> Result<Option<Standing>, FoldError> {
    let mut conn = db.worker().acquire().await?;
    let Some(marks) = cursor::marks(&mut conn, chain_id).await? else { return Ok(None) };
    let covered = marks.final_number.min(marks.head);
    let final_block = match covered {
        Some(number) => read::final_block(&mut conn, chain_id, number).await?,
        None => None,
    };
    Ok(Some(Standing {
        start_block: marks.start_block,
        head: marks.head,
        final_block: final_block.map(|block| Block::clone(&block)),
    }))
}

/// What is stored of these blocks.
///
/// # Errors
/// As [`standing`].
pub async fn stored(db: &Db, chain_id: u64, from: u64, to: u64) -> Result<Stored, FoldError> {
    let mut conn = db.worker().acquire().await?;
    read::stored(&mut conn, chain_id, from, to).await
}

/// Keeps the evidence of what a second look should not have found; the same is kept once.
///
/// # Errors
/// When the database fails.
pub async fn note_finding(
    db: &Db,
    chain_id: u64,
    kind: &str,
    detail: &serde_json::Value,
) -> Result<(), FoldError> {
    let mut conn = db.worker().acquire().await?;
    Ok(write::add_anomaly(&mut conn, chain_id, "verify", kind, detail).await?)
}

/// Keeps what was proven again, range by range.
#[derive(Debug)]
pub struct Certifier {
    db: Db,
    chain_id: u64,
    filter: B256,
    /// What was kept, in the order of blocks.
    kept: Vec<OpenRange>,
}

impl Certifier {
    /// For what is proven to be all of `filter`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn new(db: &Db, chain_id: u64, filter: &Filter) -> Result<Self, FoldError> {
        let mut conn = db.worker().acquire().await?;
        let filter = certificate::register(&mut conn, chain_id, filter).await?;
        Ok(Self { db: db.clone(), chain_id, filter, kept: Vec::new() })
    }

    /// Everything of this range is stored.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn certify(&mut self, range: &Range) -> Result<(), FoldError> {
        let Range { from, end, hashes, evidence, .. } = range;
        let certified =
            Certified { source: Source::Verify, from: *from, to: (end.number, end.hash), hashes, evidence };
        let mut last = self.kept.last().cloned();
        let mut conn = self.db.worker().acquire().await?;
        certify(&mut conn, self.chain_id, self.filter, &mut last, certified).await?;
        let is_grown = |grown: &OpenRange| self.kept.last().is_some_and(|kept| kept.id == grown.id);
        if last.as_ref().is_some_and(is_grown) {
            self.kept.pop();
        }
        self.kept.extend(last);
        Ok(())
    }

    /// Forgets what earlier looks have kept of these blocks, where they showed no more.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn finish(self) -> Result<(), FoldError> {
        let Some(first) = self.kept.first().map(|range| range.id) else { return Ok(()) };
        let mut conn = self.db.worker().acquire().await?;
        for alike in self.kept.chunk_by(|a, b| a.to + 1 == b.from && a.level == b.level) {
            let (from, to) = (alike[0].from, alike[alike.len() - 1].to);
            certificate::supersede(&mut conn, self.chain_id, self.filter, (from, to), alike[0].level, first)
                .await?;
        }
        Ok(())
    }
}
