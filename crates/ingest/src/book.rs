//! What an ingest writes into.

use std::future::ready;

use alloy_primitives::B256;
use plimsoll_journal::backfills::{Advanced, Backfill, Progress};
use plimsoll_journal::{Content, Filter, NewBlock, Range, Uncovered, WriteError, Writer};
use serde_json::Value;
use uuid::Uuid;

use crate::plan::BlockId;

/// A chain's journal as its one writer has it: [`Writer`], or a model of it, so that the decisions of an ingest can be run through faults and
/// crashes in simulated time.
pub trait Book: Send {
    /// The last block that the journal covers.
    fn head(&self) -> Option<BlockId>;

    /// The last final block.
    fn final_block(&self) -> Option<BlockId>;

    /// The canonical blocks above it, oldest first.
    fn unfinal(&self) -> Vec<BlockId>;

    /// Notes the node's own head; the next commit writes it down.
    fn saw_rpc_head(&mut self, number: u64);

    /// Writes the node's own head down now.
    fn note_rpc_head(&self) -> impl Future<Output = Result<(), WriteError>> + Send;

    /// Keeps the evidence of what should not have happened: the same only once.
    fn note_anomaly(
        &self,
        kind: &'static str,
        detail: &Value,
    ) -> impl Future<Output = Result<(), WriteError>> + Send;

    /// See [`Writer::finalize`].
    fn finalize(&mut self, block: &NewBlock) -> impl Future<Output = Result<(), WriteError>> + Send;

    /// See [`Writer::append_range`].
    fn append_range(&mut self, range: Range) -> impl Future<Output = Result<(), WriteError>> + Send;

    /// See [`Writer::append_late`].
    fn append_late(
        &mut self,
        filter: &Filter,
        range: Range,
    ) -> impl Future<Output = Result<usize, WriteError>> + Send;

    /// See [`Writer::take_backfill`]. A book of which nobody can ask anything has none.
    fn take_backfill(&self) -> impl Future<Output = Result<Option<Backfill>, WriteError>> + Send {
        ready(Ok(None))
    }

    /// See [`Writer::append_asked`]. A book that has no backfills appends nothing for one.
    fn append_asked(
        &mut self,
        _: Progress,
        _: &Filter,
        _: Range,
    ) -> impl Future<Output = Result<Option<Advanced>, WriteError>> + Send {
        ready(Ok(None))
    }

    /// See [`Writer::fail_backfill`].
    fn fail_backfill(&self, _: Uuid, _: &str) -> impl Future<Output = Result<(), WriteError>> + Send {
        ready(Ok(()))
    }

    /// See [`Writer::note_backfill_trouble`].
    fn note_backfill_trouble(&self, _: Uuid, _: &str) -> impl Future<Output = Result<(), WriteError>> + Send {
        ready(Ok(()))
    }

    /// What of `wanted` nobody was asked for, up to the head: see [`plimsoll_journal::uncovered`].
    fn uncovered(&self, wanted: &Filter) -> impl Future<Output = Result<Vec<Uncovered>, WriteError>> + Send;

    /// See [`Writer::replace_above`].
    fn replace_above(
        &mut self,
        ancestor: Option<(u64, B256)>,
        contents: Vec<Content>,
        confirm: Option<u64>,
        finalize: Option<u64>,
    ) -> impl Future<Output = Result<usize, WriteError>> + Send;
}

impl Book for Writer {
    fn head(&self) -> Option<BlockId> {
        self.head()
    }

    fn final_block(&self) -> Option<BlockId> {
        self.final_block().map(|block| (block.number, block.hash))
    }

    fn unfinal(&self) -> Vec<BlockId> {
        self.unfinal()
    }

    fn saw_rpc_head(&mut self, number: u64) {
        self.saw_rpc_head(number);
    }

    async fn note_rpc_head(&self) -> Result<(), WriteError> {
        self.note_rpc_head().await
    }

    async fn note_anomaly(&self, kind: &'static str, detail: &Value) -> Result<(), WriteError> {
        self.note_anomaly(kind, detail).await
    }

    async fn finalize(&mut self, block: &NewBlock) -> Result<(), WriteError> {
        self.finalize(block).await
    }

    async fn append_range(&mut self, range: Range) -> Result<(), WriteError> {
        self.append_range(range).await
    }

    async fn append_late(&mut self, filter: &Filter, range: Range) -> Result<usize, WriteError> {
        self.append_late(filter, range).await
    }

    async fn take_backfill(&self) -> Result<Option<Backfill>, WriteError> {
        self.take_backfill().await
    }

    async fn append_asked(
        &mut self,
        progress: Progress,
        filter: &Filter,
        range: Range,
    ) -> Result<Option<Advanced>, WriteError> {
        self.append_asked(progress, filter, range).await
    }

    async fn fail_backfill(&self, request_id: Uuid, why: &str) -> Result<(), WriteError> {
        self.fail_backfill(request_id, why).await
    }

    async fn note_backfill_trouble(&self, request_id: Uuid, why: &str) -> Result<(), WriteError> {
        self.note_backfill_trouble(request_id, why).await
    }

    async fn uncovered(&self, wanted: &Filter) -> Result<Vec<Uncovered>, WriteError> {
        self.uncovered(wanted).await
    }

    async fn replace_above(
        &mut self,
        ancestor: Option<(u64, B256)>,
        contents: Vec<Content>,
        confirm: Option<u64>,
        finalize: Option<u64>,
    ) -> Result<usize, WriteError> {
        self.replace_above(ancestor, contents, confirm, finalize).await
    }
}
