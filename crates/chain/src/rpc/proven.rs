//! What a block's header proves: asked for by the block's hash, given with everything that the proof needs.

use alloy_primitives::{Address, B256};
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use plimsoll_proof::{Account, ReportedAccount, ReportedReceipt, Transaction};
use serde::Deserialize;

use super::{BATCHES_IN_FLIGHT, BLOCK_BY_HASH, BLOCK_RECEIPTS, Rpc, state::CanonicalBlock};
use crate::{
    client::{BATCH_REQUESTS, OnTimeout},
    error::{Method, RpcError},
};

const PROOF: Method = Method::Borrowed("eth_getProof");

/// The body of a block; its header is read elsewhere.
#[derive(Deserialize)]
struct Body {
    transactions: Vec<Transaction>,
}

impl Rpc {
    /// The receipts of a block as its header's `receiptsRoot` covers them, with all logs; none if the node does not have the block.
    ///
    /// # Errors
    /// See [`RpcError::class`]; [`RpcError::is_method_missing`] on a node without `eth_getBlockReceipts`.
    pub async fn reported_receipts(&self, hash: B256) -> Result<Option<Vec<ReportedReceipt>>, RpcError> {
        self.one(&BLOCK_RECEIPTS, &[hash]).await
    }

    /// The same of many blocks, in batches.
    ///
    /// # Errors
    /// As [`Rpc::reported_receipts`]; one bad answer fails them all.
    pub async fn reported_receipts_of(
        &self,
        hashes: &[B256],
    ) -> Result<Vec<Option<Vec<ReportedReceipt>>>, RpcError> {
        // Receipts are large: a tenth of what a batch may have.
        let chunks = stream::iter(hashes.chunks(BATCH_REQUESTS / 10)).map(|hashes| async move {
            let params = hashes.iter().map(|hash| self.client.params(&BLOCK_RECEIPTS, &[hash]));
            self.all(&BLOCK_RECEIPTS, params.collect::<Result<Vec<_>, _>>()?).await
        });
        // Boxed: else the compiler cannot prove a caller's task to be `Send`.
        chunks.buffered(BATCHES_IN_FLIGHT).try_concat().boxed().await
    }

    /// The transactions of a block as its header's `transactionsRoot` covers them; none if the node does not have the block.
    ///
    /// # Errors
    /// See [`RpcError::class`].
    pub async fn reported_transactions(&self, hash: B256) -> Result<Option<Vec<Transaction>>, RpcError> {
        let body: Option<Body> = self.one(&BLOCK_BY_HASH, &(hash, true)).await?;
        Ok(body.map(|body| body.transactions))
    }

    /// Transactions and receipts of a block, asked for together; none if the node does not have the block.
    ///
    /// # Errors
    /// As [`Rpc::reported_receipts`].
    pub async fn reported_content(
        &self,
        hash: B256,
    ) -> Result<Option<(Vec<Transaction>, Vec<ReportedReceipt>)>, RpcError> {
        let body = (&BLOCK_BY_HASH, self.client.params(&BLOCK_BY_HASH, &(hash, true))?);
        let receipts = (&BLOCK_RECEIPTS, self.client.params(&BLOCK_RECEIPTS, &[hash])?);
        let [body, receipts] =
            self.client.ask_together(&BLOCK_RECEIPTS, [body, receipts], OnTimeout::Retry).await?;
        let body: Option<Body> = self.client.decode(&BLOCK_BY_HASH, body).await?;
        let receipts: Option<Vec<ReportedReceipt>> = self.client.decode(&BLOCK_RECEIPTS, receipts).await?;
        Ok(body.map(|body| body.transactions).zip(receipts))
    }

    /// An account after a block, proven by the block's hash: whoever trusts that hash need not trust the node.
    ///
    /// # Errors
    /// See [`RpcError::class`]; `BlockUnknown` where the node does not have the block, `Malformed` where it does not prove what it says.
    pub async fn proven_account(&self, address: Address, block_hash: B256) -> Result<Account, RpcError> {
        let header = self.header_of(block_hash).await?;
        let header =
            header.prove().map_err(|fault| self.client.malformed(&BLOCK_BY_HASH, fault.to_string(), ""))?;
        let params = (address, [(); 0], CanonicalBlock::new(block_hash));
        let reported: ReportedAccount = self.one(&PROOF, &params).await?;
        header
            .prove_account(address, reported)
            .map_err(|fault| self.client.malformed(&PROOF, fault.to_string(), ""))
    }
}
