//! Events of the raw store.
//!
//! **Order and cursors.** (block number, block hash, log index): the table's key, so that a page is a walk along the index, a cursor is
//! the last key, and the logs of two blocks of one height (one orphaned) do not mix.
//!
//! **Bounded work.** `contract`, `user`, `asset` and the liveness have no index. A page therefore looks at the next 10,000 rows that its
//! access path offers (`limits::EVENTS_SCANNED_PER_PAGE`) and checks the filters on them, stopping at `limit` matches. The row
//! with number 10,000 always comes back, match or not, and is then where the next page begins. So a page may be short, even empty, with a
//! cursor: a client that goes on until the cursor is null has seen every match, and no page costs more than its bound.
//!
//! **Access paths.** `tx_hash` through `chain_live`'s key, `request_id` and `event_name` through their indexes, else the key itself.
//! `chain_live` knows canonical events alone: for a `tx_hash` with orphaned ones the walk is along the key, within the given blocks.
//!
//! **Traps.** The liveness is a scalar subquery, not EXISTS or a join: those may be planned as a hash of all of `chain_live`. The innermost
//! LIMIT and the window function stream only because they share the index's order.

use alloy_primitives::{B256, Bytes};
use plimsoll_types::api::{AsOf, Block, Event, Fresh};
use plimsoll_types::{Amount, BlockState};
use serde_json::Value;
use serde_json::value::RawValue;
use sqlx::PgPool;
use sqlx::types::Json;
use time::OffsetDateTime;

use super::{RepoError, block_state, cause, hash, index, unsigned, unsigned_or_none};
use crate::cursor::EventKey;
use crate::fresh::{ChainMarks, FreshnessLimits, fresh, seconds};

/// Which events.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) chain_id: i64,
    pub(crate) contract: Option<String>,
    pub(crate) event_name: Option<String>,
    pub(crate) request_id: Option<String>,
    pub(crate) tx_hash: Option<B256>,
    pub(crate) user: Option<String>,
    pub(crate) asset: Option<String>,
    pub(crate) from_block: i64,
    pub(crate) to_block: i64,
    pub(crate) state: Option<BlockState>,
    pub(crate) include_orphaned: bool,
    pub(crate) order: Order,
    pub(crate) after: Option<EventKey>,
    pub(crate) limit: u32,
}

/// Which end comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    NewestFirst,
    OldestFirst,
}

/// A page of events, and where their chain stands.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) events: Vec<Event>,
    /// The key to go on from; `None` on the last page.
    pub(crate) next: Option<EventKey>,
    pub(crate) as_of: Option<AsOf>,
    pub(crate) fresh: Fresh,
}

struct Row {
    next_seq: i64,
    start_block: i64,
    head_number: Option<i64>,
    head_hash: Option<Vec<u8>>,
    confirmed_number: Option<i64>,
    final_number: Option<i64>,
    rpc_head_number: Option<i64>,
    rpc_head_age_seconds: Option<f64>,
    is_halted: bool,
    halt: Option<Value>,
    is_match: Option<bool>,
    is_canonical: Option<bool>,
    is_last_scanned: Option<bool>,
    block_number: Option<i64>,
    block_hash: Option<Vec<u8>>,
    log_index: Option<i32>,
    tx_hash: Option<Vec<u8>>,
    tx_index: Option<i32>,
    contract: Option<String>,
    event_name: Option<String>,
    request_id: Option<String>,
    seq: Option<Amount>,
    payload: Option<Json<Box<RawValue>>>,
    topic0: Option<Vec<u8>>,
    topics: Option<Vec<u8>>,
    data: Option<Vec<u8>>,
    created_at: Option<OffsetDateTime>,
}

/// The statement around an access path and a direction. `$1` the chain, `$2` from block, `$3` to block, `$4` the state, `$5`–`$7` the key to begin
/// after, `$8` event name, `$9` request id, `$10` transaction, `$11` contract, `$12` user, `$13` asset, `$14` liveness, `$15` the limit.
macro_rules! page_of_events {
    ($pool:expr, $from:literal, $path:literal, $beyond:literal, $order:literal, $wanted:ident, $start:ident) => {
        sqlx::query_as!(
            Row,
            r#"
            SELECT m.next_seq AS "next_seq!", m.start_block AS "start_block!", m.head_number, m.head_hash, m.confirmed_number, m.final_number, m.rpc_head_number,
                   EXTRACT(EPOCH FROM clock_timestamp() - m.rpc_head_at)::float8 AS rpc_head_age_seconds,
                   m.state = 'halted' AS "is_halted!", m.halt,
                   e.is_match AS "is_match?", e.is_canonical AS "is_canonical?", e.row_number = 10000 AS is_last_scanned,
                   e.block_number AS "block_number?", e.block_hash AS "block_hash?", e.log_index AS "log_index?",
                   e.tx_hash AS "tx_hash?", e.tx_index AS "tx_index?", e.contract_address AS "contract?", e.event_name AS "event_name?",
                   e.request_id AS "request_id?", e.seq AS "seq?: Amount", e.payload AS "payload?: Json<Box<RawValue>>",
                   CASE WHEN e.event_name IS NULL THEN e.topic0 END AS "topic0?",
                   CASE WHEN e.event_name IS NULL THEN e.topics END AS "topics?",
                   CASE WHEN e.event_name IS NULL THEN e.data END AS "data?",
                   e.created_at AS "created_at?"
            FROM (
                SELECT c.*,
                       GREATEST($2::bigint, CASE $4::text WHEN 'seen' THEN COALESCE(c.confirmed_number, c.final_number, -1) + 1
                                                          WHEN 'confirmed' THEN COALESCE(c.final_number, -1) + 1 END) AS low,
                       LEAST($3::bigint, CASE $4::text WHEN 'confirmed' THEN COALESCE(c.confirmed_number, -1)
                                                       WHEN 'final' THEN COALESCE(c.final_number, -1) END) AS high
                FROM chains c WHERE c.chain_id = $1
            ) m
            LEFT JOIN LATERAL (
                SELECT judged.*
                FROM (
                    SELECT scanned.*,
                           COALESCE((SELECT l.event_id FROM chain_live l WHERE l.chain_id = scanned.chain_id
                                     AND l.tx_hash = scanned.tx_hash AND l.log_index = scanned.log_index) = scanned.id, false) AS is_canonical
                    FROM (
                        SELECT e.*, row_number() OVER (ORDER BY "# + $order + r#") AS row_number,
                               ($8::text IS NULL OR e.event_name = $8) AND ($9::text IS NULL OR e.request_id = $9)
                               AND ($10::bytea IS NULL OR e.tx_hash = $10) AND ($11::text IS NULL OR e.contract_address = $11)
                               AND ($12::text IS NULL OR COALESCE(e.payload ->> 'user' = $12, false))
                               AND ($13::text IS NULL OR COALESCE(e.payload ->> 'asset' = $13, false)) AS is_match
                        FROM "# + $from + r#"
                        WHERE e.chain_id = $1 AND e.block_number BETWEEN m.low AND m.high AND "# + $path + r#"
                          AND (e.block_number, e.block_hash, e.log_index) "# + $beyond + r#" ($5::bigint, $6::bytea, $7::int)
                        ORDER BY "# + $order + r#"
                        LIMIT 10000
                    ) scanned
                    WHERE scanned.is_match OR scanned.row_number = 10000
                    OFFSET 0
                ) judged
                WHERE (judged.is_match AND ($14::bool IS NULL OR judged.is_canonical = $14)) OR judged.row_number = 10000
                LIMIT $15
            ) e ON true
            ORDER BY e.row_number"#,
            $wanted.chain_id,
            $wanted.from_block,
            $wanted.to_block,
            $wanted.state.map(BlockState::as_str),
            $start.0,
            $start.1,
            $start.2,
            $wanted.event_name,
            $wanted.request_id,
            $wanted.tx_hash.as_ref().map(|hash| hash.as_slice()),
            $wanted.contract,
            $wanted.user,
            $wanted.asset,
            $wanted.liveness(),
            i64::from($wanted.limit) + 1
        )
        .fetch_all($pool)
        .await?
    };
}

macro_rules! in_order {
    ($pool:expr, $from:literal, $path:literal, $wanted:ident, $start:ident) => {
        match $wanted.order {
            Order::NewestFirst => page_of_events!(
                $pool,
                $from,
                $path,
                "<",
                "e.block_number DESC, e.block_hash DESC, e.log_index DESC",
                $wanted,
                $start
            ),
            Order::OldestFirst => {
                page_of_events!(
                    $pool,
                    $from,
                    $path,
                    ">",
                    "e.block_number, e.block_hash, e.log_index",
                    $wanted,
                    $start
                )
            }
        }
    };
}

/// Reads a page; `None` when the chain is not followed.
pub(crate) async fn page(
    pool: &PgPool,
    wanted: &Wanted,
    limits: &FreshnessLimits,
) -> Result<Option<Found>, RepoError> {
    let start: (i64, Vec<u8>, i32) = match (wanted.after, wanted.order) {
        (Some(key), _) => (key.block_number, key.block_hash.to_vec(), key.log_index),
        (None, Order::NewestFirst) => (i64::MAX, Vec::new(), 0),
        (None, Order::OldestFirst) => (-1, Vec::new(), 0),
    };
    let rows = match wanted.path() {
        Path::Key => in_order!(pool, "chain_events e", "true", wanted, start),
        Path::EventName => in_order!(pool, "chain_events e", "e.event_name = $8", wanted, start),
        Path::RequestId => in_order!(pool, "chain_events e", "e.request_id = $9", wanted, start),
        Path::Transaction => in_order!(
            pool,
            "chain_live t JOIN chain_events e ON e.chain_id = t.chain_id AND e.block_number = t.block_number AND e.id = t.event_id",
            "t.chain_id = $1 AND t.tx_hash = $10",
            wanted,
            start
        ),
    };
    collect(rows, wanted, limits)
}

/// The index that is walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Path {
    Key,
    EventName,
    RequestId,
    Transaction,
}

impl Wanted {
    fn path(&self) -> Path {
        if self.request_id.is_some() {
            Path::RequestId
        } else if self.tx_hash.is_some() && self.liveness() == Some(true) {
            Path::Transaction
        } else if self.event_name.is_some() && self.tx_hash.is_none() {
            Path::EventName
        } else {
            Path::Key
        }
    }

    /// Canonical events alone, orphaned ones alone, or (`None`) both.
    fn liveness(&self) -> Option<bool> {
        match (self.state, self.include_orphaned) {
            (Some(BlockState::Orphaned), _) => Some(false),
            (Some(_), _) | (None, false) => Some(true),
            (None, true) => None,
        }
    }
}

fn collect(rows: Vec<Row>, wanted: &Wanted, limits: &FreshnessLimits) -> Result<Option<Found>, RepoError> {
    let Some(first) = rows.first() else { return Ok(None) };
    let marks = first.marks(unsigned("chain id", wanted.chain_id)?)?;
    let as_of = match (marks.head_number, &first.head_hash) {
        (Some(block_number), Some(head_hash)) => Some(AsOf {
            chain_id: marks.chain_id,
            fold: None,
            block_number,
            block_hash: hash("head hash", head_hash)?,
            journal_seq: marks.last_seq,
        }),
        _ => None,
    };
    let limit = wanted.limit as usize;
    let mut found = Found {
        events: Vec::with_capacity(rows.len().min(limit)),
        next: None,
        as_of,
        fresh: fresh(&marks, None, limits.of(marks.chain_id)),
    };
    let mut last_match = None;
    for row in rows {
        let Some(key) = row.key()? else { continue };
        if row.is_wanted(wanted.liveness()) {
            if found.events.len() == limit {
                found.next = last_match;
                break;
            }
            last_match = Some(key);
            if row.is_last_scanned == Some(true) {
                found.next = Some(key);
            }
            found.events.extend(row.event(&marks)?);
        } else {
            found.next = Some(key);
        }
    }
    Ok(Some(found))
}

impl Row {
    fn marks(&self, chain_id: u64) -> Result<ChainMarks, RepoError> {
        Ok(ChainMarks {
            chain_id,
            start_block: unsigned("start block", self.start_block)?,
            head_number: unsigned_or_none("head number", self.head_number)?,
            confirmed_number: unsigned_or_none("confirmed number", self.confirmed_number)?,
            final_number: unsigned_or_none("final number", self.final_number)?,
            node_head_number: unsigned_or_none("node head", self.rpc_head_number)?,
            node_head_age_seconds: self.rpc_head_age_seconds.map(seconds),
            last_seq: unsigned("journal sequence", self.next_seq - 1)?,
            halt: cause(self.is_halted, self.halt.clone()),
        })
    }

    /// `None`: the row carries the chain's marks alone.
    fn key(&self) -> Result<Option<EventKey>, RepoError> {
        let (Some(block_number), Some(block_hash), Some(log_index)) =
            (self.block_number, &self.block_hash, self.log_index)
        else {
            return Ok(None);
        };
        Ok(Some(EventKey { block_number, block_hash: hash("block hash", block_hash)?, log_index }))
    }

    /// Whether it passes the filters; the last row that was looked at comes back even when it does not.
    fn is_wanted(&self, liveness: Option<bool>) -> bool {
        self.is_match == Some(true) && (liveness.is_none() || liveness == self.is_canonical)
    }

    fn event(self, marks: &ChainMarks) -> Result<Option<Event>, RepoError> {
        let Self {
            block_number: Some(block_number),
            block_hash: Some(block_hash),
            log_index: Some(log_index),
            tx_hash: Some(tx_hash),
            tx_index: Some(tx_index),
            contract: Some(contract),
            is_canonical: Some(canonical),
            created_at: Some(recorded_at),
            ..
        } = self
        else {
            return Ok(None);
        };
        let number = unsigned("block number", block_number)?;
        let is_raw = self.event_name.is_none();
        Ok(Some(Event {
            chain_id: marks.chain_id,
            contract,
            request_id: self.request_id,
            seq: self.seq,
            block: Block {
                number,
                hash: hash("block hash", &block_hash)?,
                state: block_state(marks, number, !canonical),
            },
            canonical,
            tx_hash: hash("transaction hash", &tx_hash)?,
            tx_index: index("transaction index", tx_index)?,
            log_index: index("log index", log_index)?,
            payload: self.payload.map(|Json(payload)| payload),
            topics: is_raw.then(|| topics(self.topic0.as_deref(), self.topics.as_deref())).transpose()?,
            data: is_raw.then(|| Bytes::from(self.data.unwrap_or_default())),
            event_name: self.event_name,
            recorded_at,
        }))
    }
}

/// All topics, topic0 first. An anonymous log has none.
fn topics(topic0: Option<&[u8]>, others: Option<&[u8]>) -> Result<Vec<B256>, RepoError> {
    topic0
        .into_iter()
        .chain(others.unwrap_or_default().chunks(B256::len_bytes()))
        .map(|topic| hash("topic", topic))
        .collect()
}
