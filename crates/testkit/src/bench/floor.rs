//! The floor: the rows that a run left, decoded beforehand and held in memory, written to the same tables with the same indexes by plain
//! COPY, in one transaction.

use std::time::{Duration, Instant};

use anyhow::Result;
use bytes::Bytes;
use futures::TryStreamExt as _;
use sqlx::postgres::PgPoolCopyExt as _;

use super::pipeline::Store;

/// What the main job writes, and only that: cursors and leases are a few rows.
const TABLES: [&str; 8] = [
    "chain_blocks",
    "chain_events",
    "chain_live",
    "journal",
    "view_apply_entries",
    "position_cache_mirror",
    "view_mirror",
    "view_trail",
];

/// The rows of a database, table by table.
pub(super) struct Rows(Vec<(&'static str, Vec<Bytes>)>);

impl Rows {
    pub(super) async fn read(store: &Store) -> Result<Self> {
        let mut tables = Vec::new();
        for table in TABLES {
            let statement = format!("COPY (SELECT * FROM {table}) TO STDOUT (FORMAT binary)");
            let chunks = store.db.worker().copy_out_raw(&statement).await?.try_collect().await?;
            tables.push((table, chunks));
        }
        Ok(Self(tables))
    }

    /// Writes them into a fresh database; how long that takes.
    pub(super) async fn write(
        &self,
        store: &Store,
        chain_id: u64,
        last_block: i64,
        last_seq: i64,
    ) -> Result<Duration> {
        let mut partitions = plimsoll_store::Partitions::default();
        for (table, to) in [
            ("chain_blocks", last_block),
            ("chain_events", last_block),
            ("journal", last_seq),
            ("view_apply_entries", last_seq),
            ("view_trail", last_seq),
        ] {
            partitions.ensure(store.db.worker(), table, chain_id, 0, to).await?;
        }
        let started = Instant::now();
        let mut tx = store.db.begin_worker().await?;
        // One COPY of everything may take longer than any statement of ours may.
        sqlx::query!("SELECT set_config('statement_timeout', '0', true) AS timeout")
            .fetch_one(&mut *tx)
            .await?;
        for (table, chunks) in &self.0 {
            let table_started = Instant::now();
            let statement = format!("COPY {table} FROM STDIN (FORMAT binary)");
            let mut copy = tx.copy_in_raw(&statement).await?;
            for chunk in chunks {
                copy.send(chunk.clone()).await?;
            }
            let rows = copy.finish().await?;
            tracing::info!(table, rows, elapsed_ms = table_started.elapsed().as_millis(), "floor");
        }
        tx.commit().await?;
        Ok(started.elapsed())
    }
}
