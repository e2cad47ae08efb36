//! The logs of a block, of a range, and what makes them whole.
//!
//! `eth_getLogs` has no way to say "I am not that far": a node that is behind answers with the logs that it has, and some answer for a block
//! that they do not know with none. One address may have several nodes behind it, of which some are behind. So an answer that could be too small
//! is believed only together with a proof that the node which gave it has the blocks: both are asked in one batch, which goes to one node, and
//! **the proof comes first**, for what a node has then it also has when it comes to the logs. The other way round, a node that
//! learns of the block between the two would prove a list that it made before. What is asked by height is besides of the chain that the node was on at
//! that moment, which may be another from one member of the batch to the next: so the block that tells the chain is asked for first and last.

use alloy_primitives::B256;
use serde_json::value::RawValue;

use super::{BLOCK_BY_HASH, BLOCK_BY_NUMBER, Rpc};
use crate::{
    Header,
    checks::checked_logs,
    client::OnTimeout,
    error::{Method, RpcError},
    wire::{Log, LogFilter},
};

const LOGS: Method = Method::Borrowed("eth_getLogs");

impl Rpc {
    /// The logs of the canonical blocks `from..=to`, sorted by block and log index, as far as the node has these blocks: see [`Rpc::range`].
    ///
    /// A timeout is not retried when the range has more than one block: the caller can ask for less.
    ///
    /// # Errors
    /// See [`RpcError::class`]; `Protocol` if a log is outside the range or the filter, appears twice, or is
    /// pending or removed.
    pub async fn logs_in_range(&self, from: u64, to: u64, filter: &LogFilter) -> Result<Vec<Log>, RpcError> {
        let raw = self.client.ask(&LOGS, &[filter.in_range(from, to)], on_timeout(from, to)).await?;
        let filter = filter.clone();
        let decode =
            move |text: &str| checked_logs(text, &filter, |log| (from..=to).contains(&log.block_number));
        self.client.decode_with(&LOGS, raw, decode).await
    }

    /// The logs of [`Rpc::logs_in_range`], whole, with the header of block `to`, on the chain of the block `on` (number and hash) at or above
    /// `to`. None when the node that was asked does not have block `to`, or has no such block `on` on its canonical chain.
    ///
    /// # Errors
    /// As [`Rpc::logs_in_range`].
    pub async fn range(
        &self,
        from: u64,
        to: u64,
        on: (u64, B256),
        filter: &LogFilter,
    ) -> Result<Option<(Vec<Log>, Header)>, RpcError> {
        let logs = (&LOGS, self.client.params(&LOGS, &[filter.in_range(from, to)])?);
        let above = self.header_question(on.0)?;
        let questions = [above.clone(), self.header_question(to)?, logs, above];
        let [before, end, logs, after] =
            self.client.ask_together(&LOGS, questions, on_timeout(from, to)).await?;
        let Some(end) = self.end_on([before, after], end, to, on).await? else { return Ok(None) };
        let filter = filter.clone();
        let decode =
            move |text: &str| checked_logs(text, &filter, |log| (from..=to).contains(&log.block_number));
        Ok(Some((self.client.decode_with(&LOGS, logs, decode).await?, end)))
    }

    /// The header of block `to` as [`Rpc::range`] gives it, without logs.
    ///
    /// # Errors
    /// See [`RpcError::class`].
    pub async fn header_on(&self, to: u64, on: (u64, B256)) -> Result<Option<Header>, RpcError> {
        let above = self.header_question(on.0)?;
        let questions = [above.clone(), self.header_question(to)?, above];
        let [before, end, after] =
            self.client.ask_together(&BLOCK_BY_NUMBER, questions, OnTimeout::Retry).await?;
        self.end_on([before, after], end, to, on).await
    }

    /// The logs of one block by its hash (EIP-234), sorted by log index. An empty answer is believed only from
    /// a node that has the block.
    ///
    /// # Errors
    /// See [`RpcError::class`]; `BlockUnknown` if the node does not have the block, `Protocol` if a log is of
    /// another block or fails the checks of [`Rpc::logs_in_range`].
    pub async fn logs_of_block(&self, hash: B256, filter: &LogFilter) -> Result<Vec<Log>, RpcError> {
        let raw = self.client.ask(&LOGS, &[filter.of_block(hash)], OnTimeout::Retry).await?;
        let logs = self.checked_logs_of(hash, filter, raw).await?;
        if !logs.is_empty() {
            return Ok(logs);
        }
        let header = (&BLOCK_BY_HASH, self.client.params(&BLOCK_BY_HASH, &(hash, false))?);
        let logs = (&LOGS, self.client.params(&LOGS, &[filter.of_block(hash)])?);
        let [header, logs] = self.client.ask_together(&LOGS, [header, logs], OnTimeout::Retry).await?;
        let header: Option<Header> = self.client.decode(&BLOCK_BY_HASH, header).await?;
        if self.expect_hash(hash, header, |header| header)?.is_none() {
            let what = format!("the node does not have block {hash}");
            return Err(self.unknown_block(&LOGS, what));
        }
        self.checked_logs_of(hash, filter, logs).await
    }

    async fn checked_logs_of(
        &self,
        hash: B256,
        filter: &LogFilter,
        raw: Box<RawValue>,
    ) -> Result<Vec<Log>, RpcError> {
        let filter = filter.clone();
        let decode = move |text: &str| checked_logs(text, &filter, |log| log.block_hash == hash);
        self.client.decode_with(&LOGS, raw, decode).await
    }

    async fn end_on(
        &self,
        above: [Box<RawValue>; 2],
        end: Box<RawValue>,
        to: u64,
        (number, hash): (u64, B256),
    ) -> Result<Option<Header>, RpcError> {
        for above in above {
            let above: Option<Header> = self.client.decode(&BLOCK_BY_NUMBER, above).await?;
            if self.expect_number(number, above)?.is_none_or(|above| above.hash != hash) {
                return Ok(None);
            }
        }
        let end: Option<Header> = self.client.decode(&BLOCK_BY_NUMBER, end).await?;
        self.expect_number(to, end)
    }
}

/// A range of several blocks can be asked for in parts.
fn on_timeout(from: u64, to: u64) -> OnTimeout {
    if from < to { OnTimeout::Return } else { OnTimeout::Retry }
}
