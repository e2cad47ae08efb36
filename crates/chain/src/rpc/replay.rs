//! Running a transaction without sending it: to see whether it would revert, or why it did.

use alloy_primitives::{B256, Bytes, U256};
use plimsoll_proof::hex::Hex;
use serde::{Deserialize, Serialize};

use super::state::{CALL, CanonicalBlock};
use super::{Rpc, UnsignedTransaction};
use crate::{
    client::OnTimeout,
    error::{CallError, ErrorClass, Method, RpcError},
};

const TRACE: Method = Method::Borrowed("debug_traceTransaction");

/// What a node says of a transaction that reverted, having run it again where it was in its block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TracedRevert {
    /// The revert reason, ABI encoded; empty if there is none.
    pub data: Bytes,
    /// How the node calls the failure: `execution reverted`, `out of gas`.
    pub message: String,
}

#[derive(Serialize)]
struct Run<'a> {
    #[serde(flatten)]
    transaction: &'a UnsignedTransaction,
    #[serde(skip_serializing_if = "Option::is_none")]
    gas: Option<U256>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TraceOptions {
    tracer: &'static str,
    tracer_config: TracerConfig,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TracerConfig {
    only_top_call: bool,
}

#[derive(Deserialize)]
struct WireFrame {
    error: Option<String>,
    output: Option<Hex<Bytes>>,
}

impl Rpc {
    /// Runs a transaction, with this much gas at most, on the state after a block that must be canonical (EIP-1898), or without one after the newest block: what it returns. Or why it does not: it
    /// reverts, with the reason's bytes, or the node would not run it.
    ///
    /// # Errors
    /// See [`RpcError::class`]: the node did not answer the question. `BlockUnknown` if the block is not canonical, `StateUnavailable` if its state was pruned.
    pub async fn run(
        &self,
        transaction: &UnsignedTransaction,
        gas_limit: Option<u64>,
        after: Option<B256>,
    ) -> Result<Result<Bytes, CallError>, RpcError> {
        let run = Run { transaction, gas: gas_limit.map(U256::from) };
        let params = match after {
            Some(hash) => self.client.params(&CALL, &(run, CanonicalBlock::new(hash)))?,
            None => self.client.params(&CALL, &(run, "latest"))?,
        };
        let is_its_own = |class| class == ErrorClass::Rejected;
        let mut one = self.each(&CALL, vec![params], OnTimeout::Retry, is_its_own).await?;
        Ok(one.pop().expect("one answer for one question"))
    }

    /// Why a transaction that is in a block reverted, as the node tells who runs the block's transactions again up to it (`debug_traceTransaction` with geth's `callTracer`). Many public endpoints do
    /// not serve it.
    ///
    /// # Errors
    /// See [`RpcError::class`]; `BlockUnknown` if the node has it in another block or in none, `Protocol` if it says that it did not revert.
    pub async fn trace_revert(&self, tx_hash: B256, block_hash: B256) -> Result<TracedRevert, RpcError> {
        let place = self.transaction_by_hash(tx_hash).await?.and_then(|known| known.place);
        if place.is_none_or(|place| place.block_hash != block_hash) {
            return Err(
                self.unknown_block(&TRACE, format!("the node does not have {tx_hash} in block {block_hash}"))
            );
        }
        let options =
            TraceOptions { tracer: "callTracer", tracer_config: TracerConfig { only_top_call: true } };
        let frame: WireFrame = self.one(&TRACE, &(tx_hash, options)).await?;
        let Some(message) = frame.error else {
            return Err(self.client.malformed(&TRACE, format!("transaction {tx_hash} did not revert"), ""));
        };
        Ok(TracedRevert { data: frame.output.map(|output| output.0).unwrap_or_default(), message })
    }
}
