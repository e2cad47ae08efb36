//! Stories of the journal's one writer, and of the folds that read it.

#![allow(missing_docs, clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod atomicity;
mod backfills;
mod certificates;
mod confirmations;
mod laws;
mod marks;
mod memory;
mod refusals;
mod skips;
mod steps;
mod writer;

use plimsoll_journal::{Content, NewBlock, Range, StepOptions, step};
use plimsoll_store::Db;
use support::hand::{CHAIN_ID, Probe};

fn last(blocks: &[Content]) -> &NewBlock {
    &blocks.last().unwrap().block
}

/// These blocks as a backfill brings them in.
fn range(blocks: &[Content]) -> Range {
    Range {
        from: blocks[0].block.number,
        end: last(blocks).clone(),
        hashes: blocks.iter().map(|content| content.block.hash).collect(),
        blocks: Vec::new(),
        events: blocks.iter().flat_map(|content| content.events.clone()).collect(),
        transactions: blocks.iter().flat_map(|content| content.transactions.clone()).collect(),
        evidence: blocks[0].evidence.clone(),
    }
}

fn options(max_records: usize) -> StepOptions<'static> {
    StepOptions { max_records, up_to_seq: None, tail: None, lease: None }
}

async fn fold_all(probe: &mut Probe, db: &Db, max_records: usize) -> Vec<usize> {
    let mut steps = Vec::new();
    loop {
        match step(probe, db, CHAIN_ID, options(max_records)).await.unwrap().records {
            0 => return steps,
            records => steps.push(records),
        }
    }
}
