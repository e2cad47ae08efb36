//! What must be equal between two runs over the same chain, however each got there.
//!
//! The canonical projection is everything but ids, times, journal positions and what was retracted: the live events, the
//! live transactions of watched senders, the mirrors, the trails and the links. A backfill and a head follower write different
//! journals, and a run that lived through reorganisations has more history; the projection of both is the same.

use std::collections::BTreeMap;
use std::fmt;

use alloy_primitives::{Address, B256, Bytes, keccak256};
use sqlx::PgConnection;

use crate::truth::{TruthEvent, TruthTransaction};

mod repo;

/// Rows of one projection that a difference shows.
const SHOWN: usize = 5;

/// The rows, each as JSON text, sorted, by table.
#[derive(Clone, PartialEq, Eq)]
pub struct Projection {
    tables: BTreeMap<&'static str, Vec<String>>,
}

/// Why a projection cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ProjectionError {
    /// The database.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// A row that Plimsoll cannot have meant.
    #[error("the raw store has a row that cannot be read: {0}")]
    Malformed(String),
}

impl Projection {
    /// Reads it, as a role that sees every tenant.
    pub async fn read(conn: &mut PgConnection, chain_id: u64) -> Result<Self, sqlx::Error> {
        let chain_id = chain_id.cast_signed();
        let tables = BTreeMap::from([
            ("chain_events", repo::live_events(conn, chain_id).await?),
            ("chain_tx_meta", repo::live_transactions(conn, chain_id).await?),
            ("position_cache_mirror", repo::positions(conn, chain_id).await?),
            ("view_mirror", repo::mirror(conn, chain_id).await?),
            ("view_trail", repo::trail(conn, chain_id).await?),
            ("position_push_links", repo::links(conn, chain_id).await?),
        ]);
        Ok(Self { tables })
    }

    /// How many rows a table has in it.
    #[must_use]
    pub fn rows(&self, table: &str) -> usize {
        self.tables.get(table).map_or(0, Vec::len)
    }

    /// One hash over all rows.
    #[must_use]
    pub fn digest(&self) -> B256 {
        let mut bytes = Vec::new();
        for (table, rows) in &self.tables {
            bytes.extend_from_slice(table.as_bytes());
            for row in rows {
                bytes.push(b'\n');
                bytes.extend_from_slice(row.as_bytes());
            }
            bytes.push(0);
        }
        keccak256(bytes)
    }

    /// What differs, in words, the first few rows of each table; empty when nothing does.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let mut differences = Vec::new();
        for (table, rows) in &self.tables {
            let theirs = other.tables.get(table).map_or(&[][..], Vec::as_slice);
            let (missing, surplus) = (without(rows, theirs), without(theirs, rows));
            for (what, rows) in [("only in the first", missing), ("only in the second", surplus)] {
                differences.extend(rows.iter().take(SHOWN).map(|row| format!("{table}: {what}: {row}")));
                if rows.len() > SHOWN {
                    differences.push(format!("{table}: {what}: {} rows in all", rows.len()));
                }
            }
        }
        differences
    }
}

/// The rows of one sorted list that another lacks, counting repetitions.
fn without<'a>(rows: &'a [String], others: &[String]) -> Vec<&'a String> {
    let mut others = others.iter().peekable();
    let mut left = Vec::new();
    for row in rows {
        while others.next_if(|other| *other < row).is_some() {}
        if others.next_if(|other| *other == row).is_none() {
            left.push(row);
        }
    }
    left
}

impl fmt::Debug for Projection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.tables.iter().map(|(table, rows)| (table, rows.len()))).finish()
    }
}

/// The live events as Plimsoll keeps them, to compare with the node's own.
pub async fn live_truth(conn: &mut PgConnection, chain_id: u64) -> Result<Vec<TruthEvent>, ProjectionError> {
    let rows = repo::raw_events(conn, chain_id.cast_signed()).await?;
    let mut events = rows.into_iter().map(to_event).collect::<Result<Vec<_>, _>>()?;
    events.sort_unstable();
    Ok(events)
}

fn to_event(row: repo::RawEvent) -> Result<TruthEvent, ProjectionError> {
    let malformed = |what: &str| {
        ProjectionError::Malformed(format!("block {} log {}: {what}", row.block_number, row.log_index))
    };
    let hash = |bytes: &[u8], what: &str| B256::try_from(bytes).map_err(|_| malformed(what));
    let mut topics = Vec::new();
    if let Some(topic0) = &row.topic0 {
        topics.push(hash(topic0, "topic0")?);
    }
    for topic in row.topics.chunks(32) {
        topics.push(hash(topic, "topics")?);
    }
    Ok(TruthEvent {
        block_number: u64::try_from(row.block_number).map_err(|_| malformed("block_number"))?,
        log_index: u32::try_from(row.log_index).map_err(|_| malformed("log_index"))?,
        block_hash: hash(&row.block_hash, "block_hash")?,
        tx_hash: hash(&row.tx_hash, "tx_hash")?,
        tx_index: u32::try_from(row.tx_index).map_err(|_| malformed("tx_index"))?,
        address: row.contract_address.parse::<Address>().map_err(|_| malformed("contract_address"))?,
        topics,
        data: Bytes::from(row.data),
    })
}

/// The live transactions of watched senders as Plimsoll keeps them, to compare with the node's own.
pub async fn live_senders(
    conn: &mut PgConnection,
    chain_id: u64,
) -> Result<Vec<TruthTransaction>, ProjectionError> {
    let rows = repo::raw_transactions(conn, chain_id.cast_signed()).await?;
    let transactions = rows.iter().map(|row| {
        let place = format!("block {} transaction {}", row.block_number, row.tx_index);
        to_transaction(row).ok_or(ProjectionError::Malformed(place))
    });
    let mut transactions = transactions.collect::<Result<Vec<_>, _>>()?;
    transactions.sort_unstable();
    Ok(transactions)
}

fn to_transaction(row: &repo::RawTransaction) -> Option<TruthTransaction> {
    let to = row.to_address.as_deref().map(str::parse).transpose();
    Some(TruthTransaction {
        block_number: u64::try_from(row.block_number).ok()?,
        tx_index: u32::try_from(row.tx_index).ok()?,
        block_hash: B256::try_from(&*row.block_hash).ok()?,
        tx_hash: B256::try_from(&*row.tx_hash).ok()?,
        sender: row.sender.parse().ok()?,
        to: to.ok()?,
        nonce: row.nonce.parse().ok()?,
        succeeded: row.succeeded,
        gas_used: row.gas_used.parse().ok()?,
        effective_gas_price: row.effective_gas_price.parse().ok()?,
    })
}

/// What is true of every journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalCheck {
    /// The last record.
    pub last_seq: i64,
    /// Numbers up to it that no record has.
    pub holes: i64,
    /// Appends that are not retracted.
    pub net_appends: i64,
    /// Rows of `chain_live`.
    pub live: i64,
    /// Appends not retracted whose event `chain_live` lacks, or the other way round.
    pub astray: i64,
}

impl JournalCheck {
    /// Counts.
    pub async fn read(conn: &mut PgConnection, chain_id: u64) -> Result<Self, sqlx::Error> {
        repo::journal_check(conn, chain_id.cast_signed()).await
    }

    /// Whether the journal is dense and says what `chain_live` says.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.holes == 0 && self.astray == 0 && self.net_appends == self.live
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn projection(rows: &[&str]) -> Projection {
        Projection {
            tables: BTreeMap::from([("chain_events", rows.iter().map(ToString::to_string).collect())]),
        }
    }

    #[test]
    fn a_row_too_many_and_a_row_too_few_are_told_apart() {
        let (a, b) = (projection(&["1", "2", "2", "3"]), projection(&["1", "2", "4"]));
        assert_eq!(
            a.differences(&b),
            [
                "chain_events: only in the first: 2",
                "chain_events: only in the first: 3",
                "chain_events: only in the second: 4"
            ]
        );
        assert!(a.differences(&a).is_empty());
        assert_ne!(a.digest(), b.digest());
    }
}
