//! Chains that are asked on behalf of whoever has a transaction prepared, hands one in or looks at a signer. Nothing is sent from here.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{Address, U256};
use plimsoll_chain::abi::Contracts;
use plimsoll_chain::{AtHead, RpcError, TransactionCounts};

use crate::desk::Market;
use crate::fees::Pricing;

/// Whoever asks for a balance or a count beside other things is not kept longer.
const PATIENCE: Duration = Duration::from_secs(2);

/// A chain that can be asked.
#[derive(Clone, Debug)]
pub struct Chain {
    /// Which.
    pub chain_id: u64,
    /// Its endpoints, and what gas costs there.
    pub market: Market,
    /// How it prices gas.
    pub pricing: Pricing,
    /// Those of its contracts that are known, with their ABIs.
    pub contracts: Contracts,
}

/// The chains that can be asked. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Chains(Arc<HashMap<u64, Chain>>);

impl Chains {
    /// These.
    #[must_use]
    pub fn new(chains: impl IntoIterator<Item = Chain>) -> Self {
        Self(Arc::new(chains.into_iter().map(|chain| (chain.chain_id, chain)).collect()))
    }

    /// The chain of this id, if it can be asked.
    #[must_use]
    pub fn get(&self, chain_id: u64) -> Option<&Chain> {
        self.0.get(&chain_id)
    }
}

impl Chain {
    /// What an address has, and as of which block; `None` where nobody tells soon.
    pub async fn balance(&self, address: Address) -> Option<AtHead<U256>> {
        let asked = self.market.pool().ask(None, |rpc| async move { rpc.balance(address).await });
        self.soon("a balance", asked).await
    }

    /// The first nonce of an address that no block has used; `None` where nobody tells soon.
    pub async fn front(&self, address: Address) -> Option<u64> {
        Some(self.soon("a nonce", self.counts(address)).await?.value.latest)
    }

    async fn soon<T>(&self, what: &str, asked: impl Future<Output = Result<T, RpcError>>) -> Option<T> {
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok(told)) => Some(told),
            Ok(Err(error)) => {
                tracing::warn!(chain_id = self.chain_id, %error, "{what} is not told");
                None
            }
            Err(_) => None,
        }
    }

    /// How many transactions an address has sent.
    ///
    /// # Errors
    /// No endpoint tells.
    pub async fn counts(&self, address: Address) -> Result<AtHead<TransactionCounts>, RpcError> {
        self.market.pool().ask(None, |rpc| async move { rpc.transaction_counts(address).await }).await
    }
}
