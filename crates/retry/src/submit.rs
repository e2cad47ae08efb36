//! Through whom transactions are sent: what the retry needs of whoever does. The binary joins it to the relayer.

use std::future::Future;

use alloy_primitives::{Address, B256, Bytes};
use plimsoll_types::Context;
use uuid::Uuid;

/// The operation of an attempt.
pub(crate) const RETRY: &str = "cache_retry";
/// The operation that has a contract read its modules' addresses again.
pub(crate) const REFRESH: &str = "cache_refresh";

/// A transaction that is to be sent, once for each `(tenant_id, request_id, operation)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The tenant, the request's id, and of which story it is part.
    pub context: Context,
    /// What it is: `cache_retry`, or `cache_refresh`, which has a contract read its modules' addresses again.
    pub operation: &'static str,
    /// The chain.
    pub chain_id: u64,
    /// Who signs.
    pub signer: Address,
    /// Who is called.
    pub to: Address,
    /// Calldata.
    pub data: Bytes,
}

/// Why an order is not on record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// It never will be: nothing of it was or will be sent.
    #[error("{0}")]
    Refused(String),
    /// It may be. The same order again tells.
    #[error("{0}")]
    Unknown(String),
}

/// How a transaction stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It may still change.
    Open,
    /// It succeeded, in this block, which is at the chain's confirmation depth.
    Confirmed {
        /// The block.
        block_hash: B256,
    },
    /// It ended without success, and nothing of it comes any more.
    Failed {
        /// Why, for people.
        why: String,
    },
}

/// Whoever sends transactions.
pub trait Submit: Send + Sync + 'static {
    /// Puts an order on record, durably; again, the same. Its transaction's id.
    fn submit(&self, order: Order) -> impl Future<Output = Result<Uuid, SubmitError>> + Send;

    /// How these transactions of tenants stand, in their order.
    fn standings(
        &self,
        transactions: &[(Uuid, Uuid)],
    ) -> impl Future<Output = Result<Vec<Standing>, SubmitError>> + Send;
}
