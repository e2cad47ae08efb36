//! Rows as ingest and the folds write them.

use alloy_primitives::{Address, B256, keccak256};
use plimsoll_types::address_text;
use serde_json::json;
use sqlx::PgPool;
use uuid::Uuid;

/// Writes rows of one chain.
pub(super) struct Seed<'a> {
    pub(super) pool: &'a PgPool,
    pub(super) chain_id: i64,
}

/// The hash of the canonical block of a height.
pub(super) fn hash_of(number: i64) -> B256 {
    keccak256(number.to_be_bytes())
}

pub(super) fn address(n: u64) -> Address {
    Address::left_padding_from(&(0xa000_0000 + n).to_be_bytes())
}

pub(super) fn text(n: u64) -> String {
    address_text(&address(n))
}

/// A log, with what a test does not care about filled in.
#[derive(Clone)]
pub(super) struct EventSeed {
    pub(super) block_number: i64,
    pub(super) block_hash: B256,
    pub(super) log_index: i32,
    pub(super) tx_hash: B256,
    pub(super) contract: String,
    /// `None`: no ABI knows it.
    pub(super) event_name: Option<&'static str>,
    pub(super) user: String,
    pub(super) request_id: Option<Uuid>,
    pub(super) is_canonical: bool,
}

impl EventSeed {
    pub(super) fn at(block_number: i64, log_index: i32) -> Self {
        Self {
            block_number,
            block_hash: hash_of(block_number),
            log_index,
            tx_hash: keccak256([block_number.to_be_bytes().as_slice(), b"tx"].concat()),
            contract: text(1),
            event_name: Some("UserPositionCachedV2"),
            user: text(7),
            request_id: None,
            is_canonical: true,
        }
    }
}

impl Seed<'_> {
    /// The chain's row: journal sequence = 10 × head, heads seen just now.
    pub(super) async fn chain(&self, head: i64, confirmed: i64, last_final: i64) {
        sqlx::query(
            "INSERT INTO chains (chain_id, name, genesis_hash, start_block, confirmations, finality, next_seq, head_number, head_hash,
                                 confirmed_number, final_number, rpc_head_number, rpc_head_at)
             VALUES ($1, 'test', $2, 0, 5, '10 blocks', $3 * 10 + 1, $3, $4, $5, $6, $3, now())
             ON CONFLICT (chain_id) DO UPDATE SET next_seq = EXCLUDED.next_seq, head_number = EXCLUDED.head_number,
                 head_hash = EXCLUDED.head_hash, confirmed_number = EXCLUDED.confirmed_number, final_number = EXCLUDED.final_number,
                 rpc_head_number = EXCLUDED.rpc_head_number, rpc_head_at = now()",
        )
        .bind(self.chain_id)
        .bind(hash_of(0).to_vec())
        .bind(head)
        .bind(hash_of(head).to_vec())
        .bind(confirmed)
        .bind(last_final)
        .execute(self.pool)
        .await
        .unwrap();
        for table in ["chain_blocks", "chain_events", "journal"] {
            sqlx::query("SELECT ensure_partition($1, $2, 0)")
                .bind(table)
                .bind(self.chain_id)
                .execute(self.pool)
                .await
                .unwrap();
        }
    }

    /// A fold's cursor with its watermark at a block, journal sequence = 10 × block.
    pub(super) async fn fold(&self, fold: &str, block_number: i64) {
        sqlx::query(
            "INSERT INTO fold_cursors (fold, chain_id, seq, block_number, block_hash) VALUES ($1, $2, $3 * 10, $3, $4)
             ON CONFLICT (fold, chain_id) DO UPDATE SET seq = EXCLUDED.seq, block_number = EXCLUDED.block_number,
                 block_hash = EXCLUDED.block_hash",
        )
        .bind(fold)
        .bind(self.chain_id)
        .bind(block_number)
        .bind(hash_of(block_number).to_vec())
        .execute(self.pool)
        .await
        .unwrap();
    }

    /// Any statement about this chain, whose id is `$1`.
    pub(super) async fn run(&self, statement: &'static str) {
        sqlx::query(statement).bind(self.chain_id).execute(self.pool).await.unwrap();
    }

    /// A journal record that was written so many seconds ago.
    pub(super) async fn record(&self, seq: i64, seconds_ago: i64) {
        sqlx::query(
            "INSERT INTO journal (chain_id, seq, block_number, ref, kind, recorded_at)
             VALUES ($1, $2, $2 / 10, 1, 'block', now() - $3 * interval '1 second')",
        )
        .bind(self.chain_id)
        .bind(seq)
        .bind(seconds_ago)
        .execute(self.pool)
        .await
        .unwrap();
    }

    pub(super) async fn block(&self, number: i64, hash: B256, state: &str) {
        sqlx::query(
            "INSERT INTO chain_blocks (chain_id, number, hash, id, parent_hash, time, state)
             VALUES ($1, $2, $3, $2, $4, now(), $5::block_state)",
        )
        .bind(self.chain_id)
        .bind(number)
        .bind(hash.to_vec())
        .bind(hash_of(number - 1).to_vec())
        .bind(state)
        .execute(self.pool)
        .await
        .unwrap();
    }

    pub(super) async fn position(&self, user: u64, asset: u64, version: i64, block_number: i64) {
        sqlx::query(
            "INSERT INTO position_cache_mirror (chain_id, contract, \"user\", asset, collateral, debt, version, last_request_id, last_seq,
                                                last_chain_block, last_chain_block_hash, last_chain_tx, last_log_index, last_journal_seq)
             VALUES ($1, $2, $3, $4, 1000, 250, $5, NULL, NULL, $6, $7, $8, 3, 1)",
        )
        .bind(self.chain_id)
        .bind(text(1))
        .bind(text(user))
        .bind(text(asset))
        .bind(version)
        .bind(block_number)
        .bind(hash_of(block_number).to_vec())
        .bind(hash_of(-block_number).to_vec())
        .execute(self.pool)
        .await
        .unwrap();
    }

    pub(super) async fn event(&self, event: &EventSeed) {
        let payload =
            event.event_name.map(|_| json!({ "user": event.user, "asset": text(9), "collateral": "1000" }));
        let id = event.block_number * 1_000
            + i64::from(event.log_index)
            + if event.is_canonical { 0 } else { 500 };
        sqlx::query(
            "INSERT INTO chain_events (chain_id, block_number, block_hash, log_index, id, tx_hash, tx_index, contract_address, event_name,
                                       topic0, topics, data, payload, request_id, seq)
             VALUES ($1, $2, $3, $4, $5, $6, 0, $7, $8, $9, $10, '\\xbeef', $11, $12, 18446744073709551615)",
        )
        .bind(self.chain_id)
        .bind(event.block_number)
        .bind(event.block_hash.to_vec())
        .bind(event.log_index)
        .bind(id)
        .bind(event.tx_hash.to_vec())
        .bind(&event.contract)
        .bind(event.event_name)
        .bind(B256::repeat_byte(0x11).to_vec())
        .bind([[0x22u8; 32], [0x33; 32]].concat())
        .bind(payload)
        .bind(event.request_id.map(|id| id.to_string()))
        .execute(self.pool)
        .await
        .unwrap();
        if event.is_canonical {
            sqlx::query("INSERT INTO chain_live (chain_id, tx_hash, log_index, event_id, block_number) VALUES ($1, $2, $3, $4, $5)")
                .bind(self.chain_id)
                .bind(event.tx_hash.to_vec())
                .bind(event.log_index)
                .bind(id)
                .bind(event.block_number)
                .execute(self.pool)
                .await
                .unwrap();
        }
    }
}
