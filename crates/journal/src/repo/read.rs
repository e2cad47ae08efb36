//! Reading the journal: rows in sequence order, then the raw store's rows that they refer to, one query a kind.

use std::collections::HashMap;
use std::sync::Arc;

use alloy_primitives::B256;
use plimsoll_chain::Topics;
use plimsoll_types::{Amount, JournalKind, RequestId};
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{to_address, to_hash, to_i64, to_u64};
use crate::fold::FoldError;
use crate::record::{Block, Body, Event, Record, Transaction};
use crate::verified::Stored;

/// A journal row, before its body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) seq: i64,
    pub(crate) kind: JournalKind,
    pub(crate) block_number: i64,
    pub(crate) reference: i64,
}

pub(crate) async fn rows_after(
    conn: &mut PgConnection,
    chain_id: u64,
    after: i64,
    limit: i64,
) -> Result<Vec<Row>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        r#"SELECT seq, kind AS "kind: JournalKind", block_number, ref AS reference FROM journal
           WHERE chain_id = $1 AND seq > $2 ORDER BY seq LIMIT $3"#,
        to_i64(chain_id),
        after,
        limit
    )
    .fetch_all(conn)
    .await
}

pub(crate) async fn rows_before(
    conn: &mut PgConnection,
    chain_id: u64,
    before: i64,
    limit: i64,
) -> Result<Vec<Row>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        r#"SELECT seq, kind AS "kind: JournalKind", block_number, ref AS reference FROM journal
           WHERE chain_id = $1 AND seq < $2 ORDER BY seq DESC LIMIT $3"#,
        to_i64(chain_id),
        before,
        limit
    )
    .fetch_all(conn)
    .await
}

pub(super) async fn rows_at(
    conn: &mut PgConnection,
    chain_id: u64,
    seqs: &[i64],
) -> Result<Vec<Row>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        r#"SELECT seq, kind AS "kind: JournalKind", block_number, ref AS reference FROM journal
           WHERE chain_id = $1 AND seq = ANY($2)"#,
        to_i64(chain_id),
        seqs
    )
    .fetch_all(conn)
    .await
}

/// The bodies that a set of rows refers to, by id.
#[derive(Default)]
struct Bodies {
    events: HashMap<i64, Arc<Event>>,
    transactions: HashMap<i64, Arc<Transaction>>,
    blocks: HashMap<i64, Arc<Block>>,
}

/// The block numbers that rows of some kinds span, for the partition-pruned range scans below.
fn span(rows: &[Row], kinds: &[JournalKind]) -> Option<(i64, i64)> {
    let numbers = || rows.iter().filter(|r| kinds.contains(&r.kind)).map(|r| r.block_number);
    numbers().min().zip(numbers().max())
}

impl Bodies {
    async fn load(conn: &mut PgConnection, chain_id: u64, rows: &[Row]) -> Result<Self, FoldError> {
        let mut bodies = Self::default();
        // What comes late is of other blocks than what stands beside it.
        for kind in [JournalKind::Append, JournalKind::LateAppend] {
            if let Some((from, to)) = span(rows, &[kind]) {
                bodies.events.extend(events(conn, chain_id, from, to).await?);
            }
        }
        for kind in [JournalKind::Included, JournalKind::LateIncluded] {
            if let Some((from, to)) = span(rows, &[kind]) {
                bodies.transactions.extend(transactions(conn, chain_id, from, to).await?);
            }
        }
        if let Some((from, to)) =
            span(rows, &[JournalKind::Block, JournalKind::Confirm, JournalKind::Finalize])
        {
            bodies.blocks = blocks(conn, chain_id, from, to).await?;
        }
        Ok(bodies)
    }

    fn body(&self, chain_id: u64, row: &Row) -> Result<Body, FoldError> {
        let dangling = |what| FoldError::Dangling { chain_id, what, reference: row.reference };
        Ok(match row.kind {
            JournalKind::Append | JournalKind::LateAppend => {
                Body::Event(self.events.get(&row.reference).ok_or(dangling("event"))?.clone())
            }
            JournalKind::Included | JournalKind::LateIncluded => Body::Transaction(
                self.transactions.get(&row.reference).ok_or(dangling("transaction"))?.clone(),
            ),
            JournalKind::Block | JournalKind::Confirm | JournalKind::Finalize => {
                Body::Block(self.blocks.get(&row.reference).ok_or(dangling("block"))?.clone())
            }
            JournalKind::Retract => return Err(dangling("a retraction of a retraction,")),
        })
    }

    fn record(&self, chain_id: u64, row: &Row) -> Result<Record, FoldError> {
        Ok(Record {
            seq: row.seq,
            kind: row.kind,
            block_number: to_u64(row.block_number),
            body: self.body(chain_id, row)?,
        })
    }
}

/// The records of these rows, bodies and retracted records included.
pub(crate) async fn records(
    conn: &mut PgConnection,
    chain_id: u64,
    rows: &[Row],
) -> Result<Vec<Record>, FoldError> {
    let retracted: Vec<_> =
        rows.iter().filter(|r| r.kind == JournalKind::Retract).map(|r| r.reference).collect();
    let mut wanted: Vec<_> = rows.iter().filter(|r| r.kind != JournalKind::Retract).copied().collect();
    let mut originals = HashMap::new();
    if !retracted.is_empty() {
        let found = rows_at(conn, chain_id, &retracted).await?;
        wanted.extend_from_slice(&found);
        originals.extend(found.into_iter().map(|row| (row.seq, row)));
    }
    let bodies = Bodies::load(conn, chain_id, &wanted).await?;
    rows.iter()
        .map(|row| {
            if row.kind != JournalKind::Retract {
                return bodies.record(chain_id, row);
            }
            let original = originals.get(&row.reference).ok_or(FoldError::Dangling {
                chain_id,
                what: "record",
                reference: row.reference,
            })?;
            let body = Body::Retract(Box::new(bodies.record(chain_id, original)?));
            Ok(Record { seq: row.seq, kind: row.kind, block_number: to_u64(row.block_number), body })
        })
        .collect()
}

async fn events(
    conn: &mut PgConnection,
    chain_id: u64,
    from: i64,
    to: i64,
) -> Result<HashMap<i64, Arc<Event>>, FoldError> {
    let rows = sqlx::query!(
        "SELECT id, block_number, block_hash, tx_hash, tx_index, log_index, contract_address, topic0, topics, data
         FROM chain_events WHERE chain_id = $1 AND block_number BETWEEN $2 AND $3",
        to_i64(chain_id),
        from,
        to
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let words = row.topic0.iter().map(Vec::as_slice).chain(row.topics.chunks(B256::ZERO.len()));
            let words = words.map(|word| to_hash(chain_id, word)).collect::<Result<Vec<_>, _>>()?;
            let malformed =
                || FoldError::Malformed { chain_id, what: format!("an event with {} topics", words.len()) };
            let event = Event {
                id: row.id,
                block_number: to_u64(row.block_number),
                block_hash: to_hash(chain_id, &row.block_hash)?,
                tx_hash: to_hash(chain_id, &row.tx_hash)?,
                tx_index: row.tx_index.cast_unsigned(),
                log_index: row.log_index.cast_unsigned(),
                contract: to_address(chain_id, &row.contract_address)?,
                topics: Topics::new(&words).ok_or_else(malformed)?,
                data: row.data.into(),
            };
            Ok((row.id, Arc::new(event)))
        })
        .collect()
}

async fn transactions(
    conn: &mut PgConnection,
    chain_id: u64,
    from: i64,
    to: i64,
) -> Result<HashMap<i64, Arc<Transaction>>, FoldError> {
    let rows = sqlx::query!(
        r#"SELECT id, block_number, block_hash, tx_hash, tx_index, sender, to_address, nonce AS "nonce: Amount", succeeded,
                  gas_used AS "gas_used: Amount", effective_gas_price AS "effective_gas_price: Amount",
                  gas_paid_wei AS "gas_paid_wei: Amount", request_id
           FROM chain_tx_meta WHERE chain_id = $1 AND block_number BETWEEN $2 AND $3"#,
        to_i64(chain_id),
        from,
        to
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let transaction = Transaction {
                id: row.id,
                block_number: to_u64(row.block_number),
                block_hash: to_hash(chain_id, &row.block_hash)?,
                tx_hash: to_hash(chain_id, &row.tx_hash)?,
                tx_index: row.tx_index.cast_unsigned(),
                sender: to_address(chain_id, &row.sender)?,
                to: row.to_address.map(|to| to_address(chain_id, &to)).transpose()?,
                nonce: row
                    .nonce
                    .to_u64()
                    .ok_or_else(|| FoldError::Malformed { chain_id, what: "a nonce over 64 bits".into() })?,
                succeeded: row.succeeded,
                gas_used: row.gas_used,
                effective_gas_price: row.effective_gas_price,
                gas_paid_wei: row.gas_paid_wei,
                request_id: row.request_id.as_deref().and_then(request_id),
            };
            Ok((row.id, Arc::new(transaction)))
        })
        .collect()
}

/// Reads back the text of a request id.
fn request_id(text: &str) -> Option<RequestId> {
    match plimsoll_types::parse_hash(text) {
        Ok(bytes) => RequestId::from_chain(bytes),
        Err(_) => text.parse::<Uuid>().ok().map(RequestId::from_uuid),
    }
}

async fn blocks(
    conn: &mut PgConnection,
    chain_id: u64,
    from: i64,
    to: i64,
) -> Result<HashMap<i64, Arc<Block>>, FoldError> {
    let rows = sqlx::query!(
        "SELECT id, number, hash, parent_hash, time FROM chain_blocks WHERE chain_id = $1 AND number BETWEEN $2 AND $3",
        to_i64(chain_id),
        from,
        to
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            block(chain_id, row.id, row.number, &row.hash, &row.parent_hash, row.time)
                .map(|b| (row.id, Arc::new(b)))
        })
        .collect()
}

fn block(
    chain_id: u64,
    id: i64,
    number: i64,
    hash: &[u8],
    parent: &[u8],
    time: OffsetDateTime,
) -> Result<Block, FoldError> {
    Ok(Block {
        id,
        number: to_u64(number),
        hash: to_hash(chain_id, hash)?,
        parent_hash: to_hash(chain_id, parent)?,
        time,
    })
}

/// The block that the chain's last `finalize` marked.
pub(crate) async fn final_block(
    conn: &mut PgConnection,
    chain_id: u64,
    number: u64,
) -> Result<Option<Arc<Block>>, FoldError> {
    let row = sqlx::query!(
        "SELECT id, number, hash, parent_hash, time FROM chain_blocks
         WHERE chain_id = $1 AND number = $2 AND state = 'final'",
        to_i64(chain_id),
        to_i64(number)
    )
    .fetch_optional(conn)
    .await?;
    row.map(|row| block(chain_id, row.id, row.number, &row.hash, &row.parent_hash, row.time).map(Arc::new))
        .transpose()
}

/// Everything that the raw store has of these blocks.
pub(crate) async fn stored(
    conn: &mut PgConnection,
    chain_id: u64,
    from: u64,
    to: u64,
) -> Result<Stored, FoldError> {
    let live = super::write::live_events(conn, chain_id, from, to).await?;
    let (from, to) = (to_i64(from), to_i64(to));
    let events = events(conn, chain_id, from, to).await?;
    let transactions = transactions(conn, chain_id, from, to).await?;
    let mut events: Vec<_> = events.into_values().map(Arc::unwrap_or_clone).collect();
    events.sort_unstable_by_key(|event| (event.block_number, event.block_hash, event.log_index));
    let mut transactions: Vec<_> = transactions.into_values().map(Arc::unwrap_or_clone).collect();
    transactions.sort_unstable_by_key(|tx| (tx.block_number, tx.block_hash, tx.tx_index));
    Ok(Stored { events, live: live.into_iter().collect(), transactions })
}
