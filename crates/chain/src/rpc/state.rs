//! The state after a block: calls, balances, code. The block is named by its hash and must be canonical (EIP-1898).

use alloy_primitives::{Address, B256, Bytes, U256};
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use plimsoll_proof::hex::{FromHexDigits, Hex};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{BATCHES_IN_FLIGHT, BLOCK_BY_HASH, BLOCK_BY_NUMBER, Rpc};
use crate::{
    Header,
    checks::revert_data,
    classify,
    client::{BATCH_REQUESTS, OnTimeout, Refusal},
    error::{CallError, ErrorClass, Method, RpcError},
};

pub(super) const BALANCE: Method = Method::Borrowed("eth_getBalance");
pub(super) const CALL: Method = Method::Borrowed("eth_call");
const CODE: Method = Method::Borrowed("eth_getCode");

/// What each of several questions gave.
type Each<T> = Vec<Result<T, CallError>>;

/// A block by its hash, which must be on the node's canonical chain (EIP-1898).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CanonicalBlock {
    block_hash: B256,
    require_canonical: bool,
}

impl CanonicalBlock {
    pub(super) fn new(block_hash: B256) -> Self {
        Self { block_hash, require_canonical: true }
    }
}

#[derive(Serialize)]
struct CallRequest<'a> {
    to: &'a Address,
    data: &'a Bytes,
}

impl Rpc {
    /// Calls contracts on the state after a block that must be canonical (EIP-1898), in batches. The results
    /// are in the order of the calls; one that reverts does not disturb the others.
    ///
    /// # Errors
    /// See [`RpcError::class`]; `BlockUnknown` if the block is not canonical any more, `StateUnavailable` if the
    /// node has pruned its state. Then no result is given, for none would be of that block.
    pub async fn call_many_at(
        &self,
        block_hash: B256,
        calls: &[(Address, Bytes)],
    ) -> Result<Vec<Result<Bytes, CallError>>, RpcError> {
        let chunks = stream::iter(calls.chunks(BATCH_REQUESTS)).map(|calls| async move {
            let params = self.call_params(block_hash, calls)?;
            let is_its_own = |class| class == ErrorClass::Rejected;
            self.each(&CALL, params, OnTimeout::Retry, is_its_own).await
        });
        // Boxed: else the compiler cannot prove a caller's task to be `Send`.
        chunks.buffered(BATCHES_IN_FLIGHT).try_concat().boxed().await
    }

    /// As [`Rpc::call_many_at`], at most [`BATCH_REQUESTS`] calls in one batch, for a caller who can ask for less: a timeout is returned at
    /// once, and what the node says of one call alone (too large an answer, too long a run) is that call's.
    ///
    /// # Errors
    /// As [`Rpc::call_many_at`].
    pub(crate) async fn try_calls_at(
        &self,
        block_hash: B256,
        calls: &[(Address, Bytes)],
    ) -> Result<Vec<Result<Bytes, CallError>>, RpcError> {
        let params = self.call_params(block_hash, calls)?;
        self.each(&CALL, params, OnTimeout::Return, is_its_own).await
    }

    /// Native balances, in wei, as [`Rpc::try_calls_at`].
    ///
    /// # Errors
    /// As [`Rpc::call_many_at`].
    pub(crate) async fn try_balances_at(
        &self,
        block_hash: B256,
        addresses: &[Address],
    ) -> Result<Each<U256>, RpcError> {
        let at = CanonicalBlock::new(block_hash);
        let params = addresses.iter().map(|address| self.client.params(&BALANCE, &(address, &at)));
        let params = params.collect::<Result<_, _>>()?;
        self.each(&BALANCE, params, OnTimeout::Return, is_its_own).await
    }

    /// The code of a contract after a block that must be canonical; empty if there is no contract.
    ///
    /// # Errors
    /// As [`Rpc::call_many_at`].
    pub async fn code_at(&self, address: Address, block_hash: B256) -> Result<Bytes, RpcError> {
        self.one::<Hex<Bytes>>(&CODE, &(address, CanonicalBlock::new(block_hash))).await.map(|code| code.0)
    }

    /// The header of a block that the node must have.
    ///
    /// # Errors
    /// See [`RpcError::class`]; `BlockUnknown` if it does not.
    pub(crate) async fn header_of(&self, block_hash: B256) -> Result<Header, RpcError> {
        let header = self.header_by_hash(block_hash).await?;
        header.ok_or_else(|| {
            self.unknown_block(&BLOCK_BY_HASH, format!("the node does not have block {block_hash}"))
        })
    }

    /// That the block is on the node's canonical chain now: not every node heeds `requireCanonical`.
    ///
    /// # Errors
    /// See [`RpcError::class`]; `BlockUnknown` if it is not.
    pub(crate) async fn expect_canonical(&self, number: u64, hash: B256) -> Result<(), RpcError> {
        let at_height = self.header_by_number(number).await?.map(|header| header.hash);
        if at_height == Some(hash) {
            return Ok(());
        }
        let instead = at_height.map_or_else(|| "none".to_owned(), |hash| hash.to_string());
        let what = format!("block {hash} is not canonical: at height {number} the node has {instead}");
        Err(self.unknown_block(&BLOCK_BY_NUMBER, what))
    }

    /// The error for a call's answer that cannot be believed.
    pub(crate) fn disbelieved(&self, what: String) -> RpcError {
        self.client.malformed(&CALL, what, "")
    }

    fn call_params(&self, at: B256, calls: &[(Address, Bytes)]) -> Result<Vec<Box<RawValue>>, RpcError> {
        let at = CanonicalBlock::new(at);
        calls.iter().map(|(to, data)| self.client.params(&CALL, &(CallRequest { to, data }, &at))).collect()
    }

    /// Asks in one batch. `is_its_own` says which class of refusal concerns its member alone; any other fails them all.
    pub(super) async fn each<T>(
        &self,
        method: &Method,
        params: Vec<Box<RawValue>>,
        on_timeout: OnTimeout,
        is_its_own: impl Fn(ErrorClass) -> bool,
    ) -> Result<Each<T>, RpcError>
    where
        T: FromHexDigits + Send + 'static,
    {
        let mut results = Vec::with_capacity(params.len());
        for member in self.client.ask_batch(method, params, on_timeout).await? {
            results.push(match member {
                Ok(raw) => Ok(self.client.decode::<Hex<T>>(method, raw).await?.0),
                Err(refusal) => Err(self.call_error(method, refusal, &is_its_own)?),
            });
        }
        Ok(results)
    }

    fn call_error(
        &self,
        method: &Method,
        refusal: Refusal,
        is_its_own: impl Fn(ErrorClass) -> bool,
    ) -> Result<CallError, RpcError> {
        let Refusal { class, error } = &refusal;
        if classify::is_revert(error.code, &error.message) {
            let data = revert_data(error);
            return Ok(CallError::Reverted { message: refusal.error.message.into_owned(), data });
        }
        if is_its_own(*class) {
            return Ok(CallError::Failed { code: error.code, message: refusal.error.message.into_owned() });
        }
        Err(self.client.refused(method, &refusal))
    }
}

/// Whether a refusal concerns one question alone, where the node answers the others.
fn is_its_own(class: ErrorClass) -> bool {
    matches!(class, ErrorClass::Rejected | ErrorClass::Transient | ErrorClass::RangeTooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_asked_for_by_its_hash_and_must_be_canonical() {
        let text = serde_json::to_value(CanonicalBlock::new(B256::repeat_byte(7))).unwrap();
        assert_eq!(text, serde_json::json!({ "blockHash": B256::repeat_byte(7), "requireCanonical": true }));
    }
}
