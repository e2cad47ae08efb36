//! The laws of a journal, checked against its rows in Postgres.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;
use std::str::FromStr;

use alloy_primitives::B256;
use plimsoll_proof::BlocksRoot;
use plimsoll_store::Tx;
use plimsoll_types::BlockState;
use sqlx::{PgConnection, PgPool};

use super::repo::{self, BodyRow};
use super::{BlockBody, Body, Journal, Row};

/// Checks them all, and that what was proven is the journal's blocks.
///
/// # Errors
///
/// Which record breaks which law, or that the database does not answer.
pub async fn check(pool: &PgPool, chain_id: u64) -> Result<(), String> {
    // One snapshot: the node may be at work meanwhile.
    let mut tx = Tx::snapshot(pool).await.map_err(|error| error.to_string())?;
    check_on(&mut tx, chain_id).await
}

/// As [`check`], as this session sees it.
///
/// # Errors
///
/// As [`check`].
pub async fn check_on(conn: &mut PgConnection, chain_id: u64) -> Result<(), String> {
    let journal = read(conn, chain_id.cast_signed()).await.map_err(|error| error.to_string())?;
    journal.check().map_err(|broken| format!("chain {chain_id}, {broken}"))?;
    let certified =
        certified(conn, chain_id.cast_signed(), &journal).await.map_err(|error| error.to_string())?;
    certified.map_err(|broken| format!("chain {chain_id}, certificates: {broken}"))
}

/// What was proven when it was brought in is the journal's blocks, each once, up to its head, and by the sum of their hashes.
async fn certified(
    conn: &mut PgConnection,
    chain: i64,
    journal: &Journal,
) -> Result<Result<(), String>, sqlx::Error> {
    let ranges = repo::ranges(conn, chain).await?;
    let head = repo::head(conn, chain).await?;
    let canonical: BTreeMap<i64, B256> = journal
        .blocks
        .values()
        .filter(|block| block.state != BlockState::Orphaned)
        .map(|block| (block.body.number, block.body.hash))
        .collect();
    let mut covered = None;
    for range in ranges {
        let (from, to, hash, root) = (range.from_number, range.to_number, range.to_hash, range.blocks_root);
        let (source, endpoints) = (range.source, range.endpoints);
        let range = format!("{source} {from} to {to}");
        if covered.is_some_and(|covered| covered + 1 != from) {
            return Ok(Err(format!("{range} begins elsewhere than after {covered:?}")));
        }
        if canonical.get(&to).map(B256::as_slice) != Some(&hash[..]) || endpoints == 0 {
            return Ok(Err(format!(
                "{range} ends with a block that is not the journal's, or is nobody's word"
            )));
        }
        if source == "head" {
            let hashes: Vec<_> = (from..=to).filter_map(|number| canonical.get(&number)).collect();
            let sum = hashes.iter().copied().collect::<BlocksRoot>().root();
            if root.as_deref() != Some(sum.as_slice()) || i64::try_from(hashes.len()) != Ok(to - from + 1) {
                return Ok(Err(format!("{range} is of other blocks")));
            }
        }
        covered = Some(to);
    }
    Ok(if covered == head {
        Ok(())
    } else {
        Err(format!("they end with {covered:?}, the journal with {head:?}"))
    })
}

/// The journal as this session sees it.
///
/// # Errors
///
/// The database does not answer, or has a row that Plimsoll cannot have meant.
pub async fn read(conn: &mut PgConnection, chain: i64) -> Result<Journal, sqlx::Error> {
    let mut journal = Journal::default();
    for record in repo::records(conn, chain).await? {
        let (seq, number, reference) = (record.seq, record.block_number, record.reference);
        journal.rows.push(Row { seq, kind: parse(&record.kind)?, number, reference });
    }
    for block in repo::blocks(conn, chain).await? {
        let body = Body { number: block.number, hash: hash(&block.hash)?, index: 0 };
        let (parent, state) = (hash(&block.parent_hash)?, parse(&block.state)?);
        journal.blocks.insert(block.id, BlockBody { body, parent, state });
    }
    journal.events = bodies(repo::events(conn, chain).await?)?;
    journal.transactions = bodies(repo::transactions(conn, chain).await?)?;
    Ok(journal)
}

fn bodies(rows: Vec<BodyRow>) -> Result<HashMap<i64, Body>, sqlx::Error> {
    rows.into_iter()
        .map(|row| {
            let (number, hash) = (row.block_number, hash(&row.block_hash)?);
            Ok((row.id, Body { number, hash, index: row.index }))
        })
        .collect()
}

fn hash(bytes: &[u8]) -> Result<B256, sqlx::Error> {
    B256::try_from(bytes).map_err(|error| sqlx::Error::Decode(error.into()))
}

fn parse<T: FromStr<Err: Display>>(text: &str) -> Result<T, sqlx::Error> {
    text.parse().map_err(|error: T::Err| sqlx::Error::Decode(format!("`{text}`: {error}").into()))
}
