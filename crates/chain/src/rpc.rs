//! The questions that Plimsoll asks a node, and the checks that an answer must pass to be believed.

mod fees;
mod logs;
mod proven;
mod replay;
mod send;
mod sender;
mod state;

use std::{fmt, sync::Arc};

use alloy_json_rpc::ErrorPayload;
use alloy_primitives::{B256, U256};
use alloy_transport::BoxTransport;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use plimsoll_proof::hex::Hex;
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

pub use self::{
    fees::{FeeHistory, FeeMarket},
    replay::TracedRevert,
    send::{Refused, SendError},
    sender::{AtHead, BlockPlace, KnownTransaction, TransactionCounts, UnsignedTransaction},
};
use crate::{
    Header,
    client::{BATCH_REQUESTS, Client, OnTimeout, Refusal},
    endpoint::EndpointConfig,
    error::{Cause, ErrorClass, Method, RpcError},
    heads::HeadStream,
    health::{Reason, Standing},
    transport,
    wire::{Block, Receipt},
};

/// Batches of one bulk question in flight at once.
const BATCHES_IN_FLIGHT: usize = 4;

const BLOCK_BY_HASH: Method = Method::Borrowed("eth_getBlockByHash");
const BLOCK_BY_NUMBER: Method = Method::Borrowed("eth_getBlockByNumber");
const CHAIN_ID: Method = Method::Borrowed("eth_chainId");
const RECEIPT: Method = Method::Borrowed("eth_getTransactionReceipt");
const BLOCK_RECEIPTS: Method = Method::Borrowed("eth_getBlockReceipts");

/// How the chain names the newest block that it will not take back (execution-apis, block tags).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinalityTag {
    /// Taking it back costs a third of the stake; on a rollup, it is in a final block of the chain below.
    Finalized,
    /// Unlikely to be taken back; on a rollup, it is in a block of the chain below.
    Safe,
}

impl FinalityTag {
    /// The tag.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Finalized => "finalized",
            Self::Safe => "safe",
        }
    }
}

/// A chain's node. Clones share the connections, the limit of requests in flight and the WebSocket session.
#[derive(Clone)]
pub struct Rpc {
    client: Arc<Client>,
}

impl fmt::Debug for Rpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Rpc").field(&self.endpoint()).finish()
    }
}

impl Rpc {
    /// Opens an endpoint and asks it for its chain id, so that a wrong URL is noticed here. To hold an endpoint
    /// that may be down for now, use [`Rpc::over`] with [`transport::open`].
    ///
    /// # Errors
    /// The URL is unusable, or the endpoint does not answer.
    pub async fn connect(config: &EndpointConfig) -> Result<Self, RpcError> {
        let transport = transport::open(config).map_err(|error| {
            let endpoint = config.display_name().into();
            RpcError::new(&CHAIN_ID, &endpoint, ErrorClass::Rejected, Cause::Local(error.to_string()))
        })?;
        let rpc = Self::over(transport, config);
        rpc.chain_id().await?;
        Ok(rpc)
    }

    /// Asks through any transport. Of the configuration's URL only the host's name is used, to name the
    /// endpoint in errors.
    #[must_use]
    pub fn over(transport: BoxTransport, config: &EndpointConfig) -> Self {
        Self { client: Arc::new(Client::new(transport, config)) }
    }

    /// The endpoint's name, or its host and port, for messages.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        self.client.endpoint()
    }

    /// What is known of the endpoint from how it answered.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.client.health().standing()
    }

    /// Passes the endpoint over, while there is another, for a time that grows with each repetition.
    pub fn bench(&self, reason: Reason) {
        self.client.health().bench(reason);
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Requests (a batch is one) that are on their way to it.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.client.in_flight()
    }

    /// The chain's id (EIP-695).
    ///
    /// # Errors
    /// See [`RpcError::class`].
    pub async fn chain_id(&self) -> Result<u64, RpcError> {
        self.one::<Hex<u64>>(&CHAIN_ID, &()).await.map(|id| id.0)
    }

    /// The chain's id, and block 0 where the node knows it, of one node: what tells chains apart.
    ///
    /// # Errors
    /// See [`RpcError::class`].
    pub async fn identity(&self) -> Result<(u64, Option<Header>), RpcError> {
        let questions = [(&CHAIN_ID, self.client.params(&CHAIN_ID, &())?), self.header_question(0)?];
        let [id, genesis] = self.client.ask_together(&BLOCK_BY_NUMBER, questions, OnTimeout::Retry).await?;
        let Hex(id): Hex<u64> = self.client.decode(&CHAIN_ID, id).await?;
        let genesis = self.client.decode(&BLOCK_BY_NUMBER, genesis).await?;
        Ok((id, self.expect_number(0, genesis)?))
    }

    /// The newest block.
    ///
    /// # Errors
    /// See [`RpcError::class`].
    pub async fn head(&self) -> Result<Header, RpcError> {
        let head: Option<Header> = self.one(&BLOCK_BY_NUMBER, &("latest", false)).await?;
        let head = head
            .ok_or_else(|| self.client.malformed(&BLOCK_BY_NUMBER, "the node has no latest block", "null"))?;
        self.client.health().saw_head(head.number, head.timestamp);
        Ok(head)
    }

    /// The newest block that the chain calls final; none while there is none yet.
    ///
    /// # Errors
    /// See [`RpcError::class`]; `Rejected` on a chain that knows no finality.
    pub async fn final_head(&self, tag: FinalityTag) -> Result<Option<Header>, RpcError> {
        match self.one(&BLOCK_BY_NUMBER, &(tag.as_str(), false)).await {
            Err(error) if error.class() == ErrorClass::BlockUnknown => Ok(None),
            other => other,
        }
    }

    /// The canonical block at a height; none above the head.
    ///
    /// # Errors
    /// See [`RpcError::class`].
    pub async fn header_by_number(&self, number: u64) -> Result<Option<Header>, RpcError> {
        let header = self.one(&BLOCK_BY_NUMBER, &(U256::from(number), false)).await?;
        self.expect_number(number, header)
    }

    /// The block with this hash, canonical or not; none if the node does not have it.
    ///
    /// # Errors
    /// See [`RpcError::class`].
    pub async fn header_by_hash(&self, hash: B256) -> Result<Option<Header>, RpcError> {
        let header: Option<Header> = self.one(&BLOCK_BY_HASH, &(hash, false)).await?;
        self.expect_hash(hash, header, |header| header)
    }

    /// The canonical blocks `from..=to`, in batches; none for heights above the head. The answers are from
    /// different moments, so whether they link is for the caller to check.
    ///
    /// # Errors
    /// See [`RpcError::class`]; one bad answer fails them all.
    pub async fn headers_by_number(&self, from: u64, to: u64) -> Result<Vec<Option<Header>>, RpcError> {
        let chunks = stream::iter((from..=to).step_by(BATCH_REQUESTS)).map(|first| async move {
            let last = to.min(first.saturating_add(BATCH_REQUESTS as u64 - 1));
            let params = (first..=last)
                .map(|number| self.client.params(&BLOCK_BY_NUMBER, &(U256::from(number), false)))
                .collect::<Result<Vec<_>, _>>()?;
            let headers = self.all(&BLOCK_BY_NUMBER, params).await?;
            (first..=last)
                .zip(headers)
                .map(|(number, header)| self.expect_number(number, header))
                .collect::<Result<Vec<_>, _>>()
        });
        // Boxed: else the compiler cannot prove a caller's task to be `Send`.
        chunks.buffered(BATCHES_IN_FLIGHT).try_concat().boxed().await
    }

    /// A block with its transactions; none if the node does not have it.
    ///
    /// # Errors
    /// See [`RpcError::class`].
    pub async fn block_with_transactions(&self, hash: B256) -> Result<Option<Block>, RpcError> {
        let block: Option<Block> = self.one(&BLOCK_BY_HASH, &(hash, true)).await?;
        self.expect_hash(hash, block, |block| &block.header)
    }

    /// The receipts of transactions, in their order; none for one that is in no block *as far as this node
    /// knows*, which says nothing about whether it ever will be.
    ///
    /// # Errors
    /// See [`RpcError::class`]; one bad answer fails them all.
    pub async fn receipts(&self, hashes: &[B256]) -> Result<Vec<Option<Receipt>>, RpcError> {
        let chunks = stream::iter(hashes.chunks(BATCH_REQUESTS)).map(|hashes| async move {
            let params = hashes
                .iter()
                .map(|hash| self.client.params(&RECEIPT, &[hash]))
                .collect::<Result<Vec<_>, _>>()?;
            let receipts: Vec<Option<Receipt>> = self.all(&RECEIPT, params).await?;
            for (hash, receipt) in hashes.iter().zip(&receipts) {
                if receipt.as_ref().is_some_and(|receipt| receipt.tx_hash != *hash) {
                    return Err(self.client.malformed(
                        &RECEIPT,
                        format!("the receipt of {hash} is another's"),
                        "",
                    ));
                }
            }
            Ok(receipts)
        });
        // Boxed: else the compiler cannot prove a caller's task to be `Send`.
        chunks.buffered(BATCHES_IN_FLIGHT).try_concat().boxed().await
    }

    /// All receipts of one block, in order; none if the node does not have the block.
    ///
    /// # Errors
    /// See [`RpcError::class`]; [`RpcError::is_method_missing`] on a node without `eth_getBlockReceipts`.
    pub async fn receipts_of_block(&self, hash: B256) -> Result<Option<Vec<Receipt>>, RpcError> {
        let receipts: Option<Vec<Receipt>> = self.one(&BLOCK_RECEIPTS, &[hash]).await?;
        for (place, receipt) in receipts.iter().flatten().enumerate() {
            if receipt.block_hash != hash || receipt.tx_index as usize != place {
                let what = format!("receipt {place} of block {hash} is of another block or place");
                return Err(self.client.malformed(&BLOCK_RECEIPTS, what, ""));
            }
        }
        Ok(receipts)
    }

    /// Hints that the head may have moved: announced where the endpoint is a WebSocket, by the clock elsewhere.
    #[must_use]
    pub fn heads(&self) -> HeadStream {
        HeadStream::new(self.client.clone())
    }

    /// Any other question, for tools and tests.
    ///
    /// # Errors
    /// See [`RpcError::class`].
    pub async fn raw_request(&self, method: impl Into<Method>, params: Value) -> Result<Value, RpcError> {
        self.one(&method.into(), &params).await
    }

    async fn one<T>(&self, method: &Method, params: &impl Serialize) -> Result<T, RpcError>
    where
        T: for<'de> Deserialize<'de> + Send + 'static,
    {
        let raw = self.client.ask(method, params, OnTimeout::Retry).await?;
        self.client.decode(method, raw).await
    }

    async fn all<T>(&self, method: &Method, params: Vec<Box<RawValue>>) -> Result<Vec<T>, RpcError>
    where
        T: for<'de> Deserialize<'de> + Send + 'static,
    {
        let mut all = Vec::with_capacity(params.len());
        for member in self.client.ask_batch(method, params, OnTimeout::Retry).await? {
            let raw = member.map_err(|refusal| self.client.refused(method, &refusal))?;
            all.push(self.client.decode(method, raw).await?);
        }
        Ok(all)
    }

    fn unknown_block(&self, method: &Method, what: String) -> RpcError {
        let error = ErrorPayload { code: 0, message: what.into(), data: None };
        self.client.refused(method, &Refusal { class: ErrorClass::BlockUnknown, error })
    }

    fn header_question(&self, number: u64) -> Result<(&'static Method, Box<RawValue>), RpcError> {
        let params = self.client.params(&BLOCK_BY_NUMBER, &(U256::from(number), false))?;
        Ok((&BLOCK_BY_NUMBER, params))
    }

    fn expect_number(&self, number: u64, header: Option<Header>) -> Result<Option<Header>, RpcError> {
        match header {
            Some(other) if other.number != number => {
                let what = format!("asked for block {number}, got block {}", other.number);
                Err(self.client.malformed(&BLOCK_BY_NUMBER, what, ""))
            }
            expected => Ok(expected),
        }
    }

    fn expect_hash<T>(
        &self,
        hash: B256,
        block: Option<T>,
        header: impl Fn(&T) -> &Header,
    ) -> Result<Option<T>, RpcError> {
        match block {
            Some(other) if header(&other).hash != hash => {
                let what = format!("asked for block {hash}, got block {}", header(&other).hash);
                Err(self.client.malformed(&BLOCK_BY_HASH, what, ""))
            }
            expected => Ok(expected),
        }
    }
}
