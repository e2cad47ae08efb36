//! Positions, with the marks that they are true at.
//!
//! Two statements, one for each access path, since one with every filter optional could use no index once it is planned for any
//! parameters: by user (the table's key begins with it; a user's rows are few), or by asset alone (its index has the page's order).
//! The other filters are checked row by row. The order is a key, so a page's last row is where the next one begins, whatever was added
//! meanwhile.

use std::borrow::Cow;

use alloy_primitives::Address;
use plimsoll_types::api::{AsOf, Block, Fresh, Position};
use plimsoll_types::{Amount, address_text, parse_address};
use serde_json::Value;
use sqlx::PgPool;
use time::OffsetDateTime;

use super::{RepoError, block_state, cause, hash, index, unsigned, unsigned_or_none};
use crate::cursor::PositionKey;
use crate::fresh::{ChainMarks, FoldMarks, FreshnessLimits, fresh, seconds};

/// The fold that keeps the mirror.
pub(crate) const POSITIONS_FOLD: &str = "views";

/// Which positions.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) by: By,
    pub(crate) chain_id: Option<i64>,
    pub(crate) contract: Option<Address>,
    pub(crate) after: Option<PositionKey>,
    pub(crate) limit: u32,
}

/// What is always given: the user, or the asset.
#[derive(Clone, Copy, Debug)]
pub(crate) enum By {
    User { user: Address, asset: Option<Address> },
    Asset(Address),
}

/// A page of positions, and where every chain stands that was asked.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) positions: Vec<Position>,
    /// The key to go on from; `None` on the last page.
    pub(crate) next: Option<PositionKey>,
    pub(crate) chains: Vec<Standing>,
}

/// Where the fold stands on one chain.
#[derive(Debug)]
pub(crate) struct Standing {
    pub(crate) chain_id: u64,
    /// `None`: the fold never covered a block, so there is nothing to answer from.
    pub(crate) as_of: Option<AsOf>,
    pub(crate) fresh: Fresh,
    marks: ChainMarks,
}

struct Row {
    chain_id: i64,
    next_seq: i64,
    start_block: i64,
    head_number: Option<i64>,
    confirmed_number: Option<i64>,
    final_number: Option<i64>,
    rpc_head_number: Option<i64>,
    rpc_head_age_seconds: Option<f64>,
    is_halted: bool,
    halt: Option<Value>,
    fold_seq: Option<i64>,
    fold_block_number: Option<i64>,
    fold_block_hash: Option<Vec<u8>>,
    is_stopped: Option<bool>,
    stop: Option<Value>,
    unapplied_seconds: Option<f64>,
    contract: Option<String>,
    user: Option<String>,
    asset: Option<String>,
    collateral: Option<Amount>,
    debt: Option<Amount>,
    version: Option<Amount>,
    last_request_id: Option<String>,
    last_seq: Option<Amount>,
    block_number: Option<i64>,
    block_hash: Option<Vec<u8>>,
    is_orphaned: Option<bool>,
    tx_hash: Option<Vec<u8>>,
    log_index: Option<i32>,
    last_updated_at: Option<OffsetDateTime>,
}

/// The statement around an access path: the page's own condition is all that differs. `$1` the fold, `$2` the chain, `$3` user or asset,
/// `$4` the asset of a user, `$5` the contract, `$6`–`$9` the key to begin after, `$10` the limit.
///
/// A block at or below finality cannot be orphaned, so `chain_blocks` is asked only about those above it.
macro_rules! page_of_positions {
    ($pool:expr, $path:literal, $wanted:ident, $first:ident, $second:ident, $after:ident, $limit:ident) => {
        sqlx::query_as!(
            Row,
            r#"
            WITH marks AS (
                SELECT c.chain_id, c.next_seq, c.start_block, c.head_number, c.confirmed_number, c.final_number, c.rpc_head_number,
                       EXTRACT(EPOCH FROM clock_timestamp() - c.rpc_head_at)::float8 AS rpc_head_age_seconds,
                       c.state = 'halted' AS is_halted, c.halt,
                       f.seq AS fold_seq, f.block_number AS fold_block_number, f.block_hash AS fold_block_hash,
                       f.state = 'stopped' AS is_stopped, f.stop,
                       (SELECT EXTRACT(EPOCH FROM clock_timestamp() - j.recorded_at)::float8
                        FROM journal j WHERE j.chain_id = f.chain_id AND j.seq = f.seq + 1) AS unapplied_seconds
                FROM chains c
                LEFT JOIN fold_cursors f ON f.chain_id = c.chain_id AND f.fold = $1
                WHERE $2::bigint IS NULL OR c.chain_id = $2
            ), page AS (
                SELECT p.* FROM position_cache_mirror p
                WHERE "# + $path + r#"
                  AND ($2::bigint IS NULL OR p.chain_id = $2) AND ($5::text IS NULL OR p.contract = $5)
                  AND (p.chain_id, p.contract, p."user", p.asset) > ($6::bigint, $7::text, $8::text, $9::text)
                ORDER BY p.chain_id, p.contract, p."user", p.asset
                LIMIT $10
            )
            SELECT m.chain_id AS "chain_id!", m.next_seq AS "next_seq!", m.start_block AS "start_block!", m.head_number, m.confirmed_number, m.final_number,
                   m.rpc_head_number, m.rpc_head_age_seconds, m.is_halted AS "is_halted!", m.halt,
                   m.fold_seq AS "fold_seq?", m.fold_block_number AS "fold_block_number?", m.fold_block_hash AS "fold_block_hash?",
                   m.is_stopped, m.stop AS "stop?", m.unapplied_seconds,
                   p.contract AS "contract?", p."user" AS "user?", p.asset AS "asset?",
                   p.collateral AS "collateral?: Amount", p.debt AS "debt?: Amount", p.version AS "version?: Amount",
                   p.last_request_id AS "last_request_id?", p.last_seq AS "last_seq?: Amount",
                   p.last_chain_block AS "block_number?", p.last_chain_block_hash AS "block_hash?",
                   CASE WHEN p.last_chain_block > COALESCE(m.final_number, -1)
                        THEN (SELECT b.state = 'orphaned' FROM chain_blocks b
                              WHERE b.chain_id = p.chain_id AND b.number = p.last_chain_block AND b.hash = p.last_chain_block_hash)
                   END AS is_orphaned,
                   p.last_chain_tx AS "tx_hash?", p.last_log_index AS "log_index?", p.last_updated_at AS "last_updated_at?"
            FROM marks m
            LEFT JOIN page p ON p.chain_id = m.chain_id
            ORDER BY m.chain_id, p.contract, p."user", p.asset"#,
            POSITIONS_FOLD,
            $wanted.chain_id,
            $first,
            $second,
            $wanted.contract.as_ref().map(address_text),
            $after.0,
            $after.1,
            $after.2,
            $after.3,
            $limit
        )
        .fetch_all($pool)
        .await?
    };
}

/// Reads a page. No chain in the answer: none is followed, or not the one that was asked for.
pub(crate) async fn page(
    pool: &PgPool,
    wanted: &Wanted,
    limits: &FreshnessLimits,
) -> Result<Found, RepoError> {
    let after = wanted.after.map_or_else(
        || (-1, String::new(), String::new(), String::new()),
        |key| (key.chain_id, address_text(&key.contract), address_text(&key.user), address_text(&key.asset)),
    );
    let limit = i64::from(wanted.limit) + 1;
    let rows = match wanted.by {
        By::User { user, asset } => {
            let (user, asset) = (address_text(&user), asset.as_ref().map(address_text));
            page_of_positions!(
                pool,
                r#"p."user" = $3 AND ($4::text IS NULL OR p.asset = $4)"#,
                wanted,
                user,
                asset,
                after,
                limit
            )
        }
        By::Asset(asset) => {
            let (asset, user) = (address_text(&asset), None::<String>);
            page_of_positions!(
                pool,
                r#"p.asset = $3 AND ($4::text IS NULL OR p."user" = $4)"#,
                wanted,
                asset,
                user,
                after,
                limit
            )
        }
    };
    collect(rows, wanted.limit as usize, limits)
}

fn collect(rows: Vec<Row>, limit: usize, limits: &FreshnessLimits) -> Result<Found, RepoError> {
    let mut found = Found { positions: Vec::with_capacity(rows.len().min(limit)), ..Found::default() };
    for mut row in rows {
        let chain_id = unsigned("chain id", row.chain_id)?;
        if found.chains.last().is_none_or(|last| last.chain_id != chain_id) {
            found.chains.push(row.take_standing(chain_id, limits)?);
        }
        let standing = found.chains.last().expect("it was pushed when there was none");
        let Some(as_of) = &standing.as_of else { continue };
        if found.positions.len() < limit {
            found.positions.extend(row.position(standing, as_of)?);
        } else if row.contract.is_some() && found.next.is_none() {
            found.next = found.positions.last().map(key_of).transpose()?;
        }
    }
    Ok(found)
}

fn key_of(position: &Position) -> Result<PositionKey, RepoError> {
    let address = |what: &'static str, text: &str| {
        parse_address(text).map_err(|_| RepoError::Malformed { what, value: text.to_owned() })
    };
    Ok(PositionKey {
        chain_id: i64::try_from(position.chain_id)
            .map_err(|_| RepoError::Malformed { what: "chain id", value: position.chain_id.to_string() })?,
        contract: address("contract address", &position.contract)?,
        user: address("user address", &position.user)?,
        asset: address("asset address", &position.asset)?,
    })
}

impl Row {
    fn take_standing(&mut self, chain_id: u64, limits: &FreshnessLimits) -> Result<Standing, RepoError> {
        let marks = ChainMarks {
            chain_id,
            start_block: unsigned("start block", self.start_block)?,
            head_number: unsigned_or_none("head number", self.head_number)?,
            confirmed_number: unsigned_or_none("confirmed number", self.confirmed_number)?,
            final_number: unsigned_or_none("final number", self.final_number)?,
            node_head_number: unsigned_or_none("node head", self.rpc_head_number)?,
            node_head_age_seconds: self.rpc_head_age_seconds.map(seconds),
            last_seq: unsigned("journal sequence", self.next_seq - 1)?,
            halt: cause(self.is_halted, self.halt.take()),
        };
        let fold = FoldMarks {
            name: POSITIONS_FOLD.to_owned(),
            seq: unsigned_or_none("fold cursor", self.fold_seq)?.unwrap_or(0),
            watermark: unsigned_or_none("watermark", self.fold_block_number)?,
            stop: cause(self.is_stopped.unwrap_or(false), self.stop.take()),
            unapplied_seconds: self.unapplied_seconds,
        };
        let as_of = match (fold.watermark, &self.fold_block_hash) {
            (Some(block_number), Some(block_hash)) => Some(AsOf {
                chain_id,
                fold: Some(Cow::Borrowed(POSITIONS_FOLD)),
                block_number,
                block_hash: hash("watermark hash", block_hash)?,
                journal_seq: fold.seq,
            }),
            _ => None,
        };
        let fresh = fresh(&marks, Some(&fold), limits.of(chain_id));
        Ok(Standing { chain_id, as_of, fresh, marks })
    }

    /// `None`: the row carries the chain's marks alone.
    fn position(self, standing: &Standing, as_of: &AsOf) -> Result<Option<Position>, RepoError> {
        let Self {
            contract: Some(contract),
            user: Some(user),
            asset: Some(asset),
            collateral: Some(collateral),
            debt: Some(debt),
            version: Some(version),
            block_number: Some(block_number),
            block_hash: Some(block_hash),
            tx_hash: Some(tx_hash),
            log_index: Some(log_index),
            last_updated_at: Some(last_updated_at),
            ..
        } = self
        else {
            return Ok(None);
        };
        let number = unsigned("block number", block_number)?;
        Ok(Some(Position {
            chain_id: standing.chain_id,
            contract,
            user,
            asset,
            collateral,
            debt,
            version,
            last_request_id: self.last_request_id,
            last_seq: self.last_seq,
            block: Block {
                number,
                hash: hash("block hash", &block_hash)?,
                state: block_state(&standing.marks, number, self.is_orphaned.unwrap_or(false)),
            },
            tx_hash: hash("transaction hash", &tx_hash)?,
            log_index: index("log index", log_index)?,
            last_updated_at,
            as_of: as_of.clone(),
            fresh: standing.fresh.clone(),
        }))
    }
}
