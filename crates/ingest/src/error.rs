use std::fmt;

use alloy_primitives::B256;
use plimsoll_chain::RpcError;
use plimsoll_chain::abi::AbiMismatch;
use plimsoll_journal::WriteError;
use plimsoll_store::LeaseError;
use serde_json::{Value, json};

/// Why a chain is not followed.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The endpoint serves another chain.
    #[error(
        "the endpoint serves chain {found}, the configuration says {expected}: correct `chain_id` or the URL of {endpoint}"
    )]
    WrongChain {
        /// The endpoint.
        endpoint: String,
        /// Configured.
        expected: u64,
        /// Served.
        found: u64,
    },
    /// The endpoint does not know block 0.
    #[error(
        "chain {chain_id}: {endpoint} does not know block 0, by which chains are told apart: use an endpoint that has all headers"
    )]
    NoGenesis {
        /// The endpoint.
        endpoint: String,
        /// The chain.
        chain_id: u64,
    },
    /// A configured contract is not there.
    #[error(
        "chain {chain_id}: no contract `{contract}` at {address} as of block {block_number}: correct its address, or set its \
         `start_block` to the block in which it is deployed"
    )]
    NoCode {
        /// The chain.
        chain_id: u64,
        /// The contract's name.
        contract: String,
        /// Its address.
        address: String,
        /// The head that was looked at.
        block_number: u64,
    },
    /// A log contradicts the contract's ABI.
    #[error(transparent)]
    AbiMismatch(#[from] Box<AbiMismatch>),
    /// The chain left the journal below finality. The chain halts; this never leaves the crate's own loop.
    #[error("reorg past finality: {0}")]
    DeepReorg(Box<DeepReorg>),
    /// The endpoint's answers do not fit together.
    #[error(
        "chain {chain_id}: the answers of {endpoint} do not fit together: {what}; nothing was written, it is asked again"
    )]
    Inconsistent {
        /// The endpoint.
        endpoint: String,
        /// The chain.
        chain_id: u64,
        /// What does not fit.
        what: String,
    },
    /// What the endpoint said cannot be true.
    #[error("chain {chain_id}: {endpoint} contradicts itself: {what}; nothing of it was written")]
    Contradiction {
        /// The endpoint.
        endpoint: String,
        /// The chain.
        chain_id: u64,
        /// What contradicts what.
        what: String,
        /// The header that it is held against, for whoever looks into it.
        evidence: Box<Value>,
    },
    /// What the endpoint said may be true, and does not prove what is asked for.
    #[error(
        "chain {chain_id}: {endpoint} does not prove its blocks: {what}; nothing of it was written. Use an endpoint that does, or, where this chain \
         makes its headers or receipts otherwise, lower `head_completeness` or `backfill_completeness`"
    )]
    Unproven {
        /// The endpoint.
        endpoint: String,
        /// The chain.
        chain_id: u64,
        /// What is not proven.
        what: String,
    },
    /// The endpoint.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] WriteError),
    /// The lease.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// A task ended abnormally.
    #[error("a decoding task ended abnormally: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// The evidence of a reorg past finality.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeepReorg {
    /// The chain.
    pub chain_id: u64,
    /// Our last final block.
    pub final_block: (u64, B256),
    /// What the endpoint has at that height.
    pub found: Option<B256>,
    /// The endpoint's head.
    pub head: (u64, B256),
}

impl fmt::Display for DeepReorg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, hash) = self.final_block;
        match self.found {
            Some(found) => write!(f, "block {number} is final here as {hash}, the endpoint has {found}"),
            None => write!(f, "block {number} is final here as {hash}, the endpoint has none on its branch"),
        }
    }
}

impl DeepReorg {
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "kind": "deep_reorg",
            "what": self.to_string(),
            "final_number": self.final_block.0,
            "final_hash": self.final_block.1,
            "endpoint_hash": self.found,
            "endpoint_head_number": self.head.0,
            "endpoint_head_hash": self.head.1,
            "remedy": "if the endpoint is on a wrong fork or still syncing, mend or replace it, then `plimsoll chain resume`; if the chain \
                       itself went back past finality, follow it into a new database and keep this one as the evidence",
        })
    }
}

impl IngestError {
    /// Whether running again cannot help: a person has to change something.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        matches!(
            self,
            Self::WrongChain { .. }
                | Self::NoGenesis { .. }
                | Self::NoCode { .. }
                | Self::AbiMismatch(_)
                | Self::Journal(WriteError::DifferentGenesis { .. })
        )
    }

    /// Whether it is one endpoint's, so that another may do better.
    pub(crate) fn is_of_endpoint(&self) -> bool {
        matches!(
            self,
            Self::WrongChain { .. }
                | Self::NoGenesis { .. }
                | Self::Inconsistent { .. }
                | Self::Contradiction { .. }
                | Self::Unproven { .. }
                | Self::Rpc(_)
                | Self::Journal(WriteError::DifferentGenesis { .. })
        )
    }

    /// What is kept of an endpoint that contradicted itself: which, in what, and what that is held against.
    pub(crate) fn contradiction(&self) -> Option<Value> {
        let Self::Contradiction { endpoint, what, evidence, .. } = self else { return None };
        Some(json!({ "endpoint": endpoint, "what": what, "header": evidence }))
    }

    pub(crate) fn is_lost_authority(&self) -> bool {
        matches!(
            self,
            Self::Journal(WriteError::Stale { .. } | WriteError::Lease(LeaseError::Fenced { .. }))
                | Self::Lease(LeaseError::Fenced { .. })
        )
    }
}
