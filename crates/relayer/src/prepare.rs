//! What a user's wallet is asked to sign: the call with its request's id in it, a nonce, gas, and what is offered for it.
//!
//! Nothing is kept, and nothing is promised: nonce and fees are those of the moment. What makes it one effect is the id in the call, by which the transaction is found again.

use alloy_primitives::{Address, B256, Bytes, U256};
use plimsoll_chain::abi::CannotCarry;
pub use plimsoll_chain::abi::Carried;
use plimsoll_chain::{Reverts, RpcError, UnsignedTransaction};
use plimsoll_types::{RequestId, RevertSource};

use crate::chains::Chain;
use crate::desk::DeskOptions;
use crate::envelope::Unsigned;
use crate::fees::{self, AboveCap, Offer, Terms, Urgency};
use crate::reason::Reason;
use crate::request::Call;

/// What is to be done, and by whom.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Whose wallet signs.
    pub from: Address,
    /// Who is called.
    pub to: Address,
    /// Wei.
    pub value: U256,
    /// Calldata.
    pub data: Bytes,
    /// The request.
    pub request_id: RequestId,
}

/// A transaction that can be signed.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// Everything that is signed.
    pub unsigned: Unsigned,
    /// Where the call carries the request's id.
    pub carried: Carried,
    /// The gas that it needs, as an endpoint estimates it. Its limit is higher.
    pub gas_estimate: u64,
    /// What is offered for a unit of gas, and why.
    pub offer: Offer,
    /// The most wei that it may cost, gas and value.
    pub most_wei: U256,
    /// The newest block when the nonce was the next one.
    pub as_of: (u64, B256),
}

/// Why there is nothing to sign.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PrepareError {
    /// The call cannot carry the request's id.
    #[error(transparent)]
    Data(#[from] CannotCarry),
    /// It would fail, as things stand.
    #[error("it would fail now: {0}")]
    WouldFail(String),
    /// Gas costs more than anybody here offers.
    #[error(transparent)]
    TooDear(#[from] AboveCap),
    /// The chain does not answer.
    #[error("the chain cannot be asked: {0}")]
    Chain(#[from] RpcError),
}

impl Chain {
    /// Makes a transaction of a draft.
    ///
    /// # Errors
    /// [`PrepareError`].
    pub async fn prepare(&self, draft: &Draft) -> Result<Prepared, PrepareError> {
        let (data, carried) = self.contracts.with_request_id(&draft.to, &draft.data, draft.request_id)?;
        let call = Call { to: Some(draft.to), value: draft.value, data };
        let (prices, counts, gas_estimate) =
            futures::try_join!(self.prices(), self.next_nonce(draft.from), self.estimate(draft.from, &call))?;
        let terms = Terms {
            pricing: self.pricing,
            urgency: Urgency::Normal,
            min_priority_fee_per_gas: 0,
            max_fee_per_gas: DeskOptions::default().max_fee_per_gas,
            max_fee_limit: None,
        };
        let offer = fees::offer(&prices.market, &terms)?;
        let minimum = fees::minimum_gas(false, &call.data);
        let most = fees::most_gas(self.chain_id, prices.block_gas_limit);
        let gas_limit = fees::gas_limit(None, gas_estimate, self.pricing.gas_margin_percent(), minimum, most)
            .map_err(|error| PrepareError::WouldFail(error.to_string()))?;
        Ok(Prepared {
            most_wei: fees::max_cost_wei(gas_limit, offer.fees, draft.value),
            unsigned: Unsigned {
                chain_id: self.chain_id,
                nonce: counts.0,
                fees: offer.fees,
                gas_limit,
                call,
            },
            carried,
            gas_estimate,
            offer,
            as_of: counts.1,
        })
    }

    async fn prices(&self) -> Result<std::sync::Arc<crate::desk::Prices>, PrepareError> {
        Ok(self.market.look().await?)
    }

    /// The sender's next nonce, behind what waits in the endpoint's pool; and the endpoint's newest block.
    async fn next_nonce(&self, from: Address) -> Result<(u64, (u64, B256)), PrepareError> {
        let counts = self.counts(from).await?;
        let nonce = counts.value.pending.max(counts.value.latest);
        Ok((nonce, (counts.block_number, counts.block_hash)))
    }

    async fn estimate(&self, from: Address, call: &Call) -> Result<u64, PrepareError> {
        let transaction =
            UnsignedTransaction { from, to: call.to, value: call.value, data: call.data.clone() };
        let asked = self.market.pool().ask(None, |rpc| {
            let transaction = transaction.clone();
            async move { rpc.estimate_gas(&transaction).await }
        });
        asked.await?.map_err(|failed| {
            let reverts = Reverts::new(&self.contracts);
            let reason = Reason::of_call(&reverts, RevertSource::Estimate, failed);
            PrepareError::WouldFail(
                reason.map_or_else(|failed| failed.to_string(), |reason| reason.to_string()),
            )
        })
    }
}
