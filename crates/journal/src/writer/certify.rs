//! What is on record of how complete the journal is: for each range, what was proven, of which blocks, by whose answers.
//!
//! A range grows while what is added continues it in kind, so that a quiet chain with a block every 100 ms is a row in a quarter of an hour and not
//! ten a second. What is taken back leaves its range in the same transaction; the head's blocks are all on record, so that what is
//! left of the range can be summed again.

use alloy_primitives::B256;
use plimsoll_proof::BlocksRoot;
use plimsoll_types::Completeness;
use sqlx::PgConnection;

use super::WriteError;
use super::input::Evidence;
use super::open::State;
use crate::repo::certificate::{self as repo, Source};

/// So many blocks a range has at most, unless a single step of a backfill has more.
const MAX_RANGE_BLOCKS: u64 = 10_000;

/// A range that what comes next may continue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OpenRange {
    pub(crate) id: i64,
    pub(crate) source: Source,
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) root: Option<BlocksRoot>,
    pub(crate) level: Completeness,
    pub(crate) endpoints: Vec<String>,
}

/// Blocks that continue the journal, and how it is known that everything wanted of them is there.
pub(crate) struct Certified<'a> {
    pub(crate) source: Source,
    pub(crate) from: u64,
    pub(crate) to: (u64, B256),
    /// Of every block, or none where only the last was looked at.
    pub(crate) hashes: &'a [B256],
    pub(crate) evidence: &'a Evidence,
}

/// Puts blocks on record, as part of the `last` range where they continue it in kind.
pub(crate) async fn certify(
    conn: &mut PgConnection,
    chain_id: u64,
    filter: B256,
    last: &mut Option<OpenRange>,
    blocks: Certified<'_>,
) -> Result<(), sqlx::Error> {
    let Certified { source, from, to: (to, to_hash), hashes, evidence } = blocks;
    let open = last.take().filter(|open| {
        open.source == source
            && open.to + 1 == from
            && open.level == evidence.level
            && open.root.is_some() != hashes.is_empty()
            && to - open.from < MAX_RANGE_BLOCKS
    });
    let is_new = open.is_none();
    let mut range = open.unwrap_or_else(|| OpenRange {
        id: 0,
        source,
        from,
        to,
        root: (!hashes.is_empty()).then(BlocksRoot::default),
        level: evidence.level,
        endpoints: Vec::new(),
    });
    range.to = to;
    if let Some(root) = &mut range.root {
        hashes.iter().for_each(|hash| root.push(hash));
    }
    if !range.endpoints.iter().any(|name| **name == *evidence.endpoint) {
        range.endpoints.push(evidence.endpoint.to_string());
    }
    if is_new {
        range.id = repo::insert(conn, chain_id, filter, &range, to_hash).await?;
    } else {
        repo::grow(conn, &range, to_hash).await?;
    }
    *last = Some(range);
    Ok(())
}

/// Takes out of the ranges what is above `ancestor`: those blocks left the chain. What comes in their place may continue the range that ends there now.
pub(super) async fn withdraw(
    conn: &mut PgConnection,
    chain_id: u64,
    filter: B256,
    next: &mut State,
    ancestor: Option<(u64, B256)>,
) -> Result<(), WriteError> {
    next.certified = None;
    repo::delete_above(conn, chain_id, ancestor.map(|(number, _)| number)).await?;
    let Some(ancestor) = ancestor else { return Ok(()) };
    for id in repo::reaching_above(conn, chain_id, ancestor.0).await? {
        repo::shorten(conn, chain_id, id, ancestor.0).await?;
    }
    next.certified = repo::ending_with(conn, chain_id, filter, ancestor).await?;
    Ok(())
}
