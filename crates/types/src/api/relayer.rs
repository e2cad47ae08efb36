//! Transactions of the relayer.

use alloy_primitives::B256;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use super::identity::keyed;
use super::{Halt, TransactionKind};
use crate::{Amount, AttemptPurpose, RevertSource, TransactionState};

keyed! {
    /// A call that a signer of the platform is to make, once. Its `request_id` and `operation_type` are its natural key: asked for again under them, it is the same transaction.
    pub struct NewTransaction {
        /// What it is, as the tenant names it.
        #[cfg_attr(feature = "openapi", schema(pattern = "^[A-Za-z0-9_.:-]{1,64}$", example = "position.push"))]
        pub operation_type: String,
        /// On which chain.
        #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 9_223_372_036_854_775_807_u64, example = 31_337))]
        #[serde(deserialize_with = "crate::api::whole::whole")]
        pub chain_id: u64,
        /// Who signs: an address of `/api/v1/signers`, in any letter case.
        #[cfg_attr(feature = "openapi", schema(pattern = "^0x[0-9a-fA-F]{40}$", example = "0x70997970c51812dc3a010c7d01b50e0d17dc79c8"))]
        pub signer: String,
        /// Who is called, in any letter case; without it a contract is created.
        #[serde(default)]
        #[cfg_attr(feature = "openapi", schema(pattern = "^0x[0-9a-fA-F]{40}$", example = "0x5fbdb2315678afecb367f032d93f642f64180aa3"))]
        pub to: Option<String>,
        /// Wei that go along; 0 where it is left out.
        #[serde(default)]
        #[cfg_attr(feature = "openapi", schema(pattern = "^[0-9]{1,78}$", example = "0"))]
        pub value_wei: Option<String>,
        /// Calldata, or the code of the contract that is created; none where it is left out.
        #[serde(default)]
        #[cfg_attr(feature = "openapi", schema(pattern = "^0x([0-9a-fA-F]{2})*$", example = "0xd09de08a"))]
        pub data: Option<String>,
        /// Gas; estimated where it is left out.
        #[serde(default, deserialize_with = "crate::api::whole::whole_or_none")]
        #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 9_223_372_036_854_775_807_u64, example = 90_000))]
        pub gas_limit: Option<u64>,
        /// Wei that must not be exceeded for a unit of gas, beside the signer's own limit.
        #[serde(default)]
        #[cfg_attr(feature = "openapi", schema(pattern = "^[0-9]{1,39}$", example = "50000000000"))]
        pub max_fee_per_gas_limit: Option<String>,
        /// Those with a higher one are sent first; 0 where it is left out.
        #[serde(default, deserialize_with = "crate::api::whole::whole_or_none")]
        #[cfg_attr(feature = "openapi", schema(minimum = 0, maximum = 32_767, example = 0))]
        pub priority: Option<u16>,
        /// What was not given a nonce by then expires.
        #[serde(default)]
        #[cfg_attr(feature = "openapi", schema(format = DateTime, example = "2030-01-02T03:04:05Z"))]
        pub valid_until: Option<String>,
        /// The same, by a block's number.
        #[serde(default, deserialize_with = "crate::api::whole::whole_or_none")]
        #[cfg_attr(feature = "openapi", schema(minimum = 0, maximum = 9_223_372_036_854_775_807_u64, example = 19_000_000))]
        pub valid_until_block: Option<u64>,
        /// The block that it was decided on: once that is no longer in the chain, it is not sent.
        #[serde(default)]
        #[cfg_attr(feature = "openapi", schema(pattern = "^0x[0-9a-fA-F]{64}$", example = json!(null)))]
        pub as_of_block_hash: Option<String>,
        /// Whether it is run before it is sent, and ends if it would revert; as the signer is set up where it is left out. It is run on the newest block, without what is still under way. Where `gas_limit` is left out it is run in any case.
        #[serde(default)]
        #[cfg_attr(feature = "openapi", schema(example = true))]
        pub simulate: Option<bool>,
    }
}

keyed! {
    /// That a transaction is called off.
    pub struct Cancellation {
        /// Why: the transaction and the audit say so.
        #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 500, example = "the order was withdrawn"))]
        pub reason: String,
    }
}

/// A transaction that a signer of the platform sends, or a user signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Transaction {
    /// Its id, by age.
    #[cfg_attr(feature = "openapi", schema(example = "0198c5a1-9b01-7c1e-a7a4-5f0d3c2b1a00"))]
    pub transaction_id: Uuid,
    /// Who signs it.
    pub kind: TransactionKind,
    /// The request that asked for it.
    pub request_id: Uuid,
    /// What it is, as the tenant names it.
    #[cfg_attr(feature = "openapi", schema(example = "position.push"))]
    pub operation_type: String,
    /// Where it stands.
    pub state: TransactionState,
    /// How often its state has changed, and one.
    pub version: u32,
    /// On which chain.
    #[cfg_attr(feature = "openapi", schema(example = 31_337))]
    pub chain_id: u64,
    /// Who signs.
    #[cfg_attr(
        feature = "openapi",
        schema(pattern = "^0x[0-9a-f]{40}$", example = "0x70997970c51812dc3a010c7d01b50e0d17dc79c8")
    )]
    pub signer: String,
    /// Who is called; null where a contract is created.
    #[cfg_attr(feature = "openapi", schema(required = true, pattern = "^0x[0-9a-f]{40}$"))]
    pub to: Option<String>,
    /// Wei that go along.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^[0-9]{1,78}$", example = "0"))]
    pub value_wei: Amount,
    /// Calldata, or the created contract's code.
    #[cfg_attr(feature = "openapi", schema(pattern = "^0x([0-9a-f]{2})*$", example = "0xd09de08a"))]
    pub data: String,
    /// Gas, as it was asked for; null where it is estimated.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub gas_limit: Option<u64>,
    /// Wei that must not be exceeded for a unit of gas, as it was asked for.
    #[cfg_attr(feature = "openapi", schema(required = true, value_type = Option<String>, pattern = "^[0-9]{1,39}$"))]
    pub max_fee_per_gas_limit: Option<Amount>,
    /// Those with a higher one are sent first.
    pub priority: i16,
    /// What was not given a nonce by then expires.
    #[serde(with = "time::serde::rfc3339::option")]
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub valid_until: Option<OffsetDateTime>,
    /// The same, by a block's number.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub valid_until_block: Option<u64>,
    /// The block that it was decided on.
    #[cfg_attr(feature = "openapi", schema(required = true, value_type = Option<String>, pattern = "^0x[0-9a-f]{64}$"))]
    pub as_of_block_hash: Option<B256>,
    /// Whether it is run before it is sent, as it was asked for; null: as the signer is set up.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub simulate: Option<bool>,
    /// Why it had no nonce yet when it was looked at last, where something holds it.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub held: Option<Held>,
    /// Its nonce, once it has one.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub nonce: Option<u64>,
    /// The end that is to be brought about, where one was asked for.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub end_wanted: Option<TransactionState>,
    /// Why that end is wanted, or came.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub end_why: Option<String>,
    /// Why it is not sent yet, where an operator stopped that; nothing once it has a nonce.
    pub halts: Vec<Halt>,
    /// Why more is to be offered for it, while that was asked for and is not done.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub speed_up_wanted: Option<String>,
    /// What used its nonce in a block.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub inclusion: Option<Inclusion>,
    /// Why it would have reverted, or did; a moment after its inclusion, since nobody waits for it.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub revert: Option<Revert>,
    /// Everything that may be with a node, first to last.
    pub attempts: Vec<TransactionAttempt>,
    /// For whom it was asked.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub user_id: Option<Uuid>,
    /// Who asked.
    #[cfg_attr(feature = "openapi", schema(example = "user:0198c5a1-8a01-7b1e-b7a4-5f0d3c2b1a00"))]
    pub created_by: String,
    /// The story that it is part of.
    pub correlation_id: String,
    /// When it was accepted.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When anything of it changed last, but for its attempts.
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
}

/// What holds a transaction that has no nonce.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Held {
    /// Why.
    #[cfg_attr(feature = "openapi", schema(example = "the chain's data are 7 blocks behind, 2 may be"))]
    pub why: String,
    /// When that was found.
    #[serde(with = "time::serde::rfc3339")]
    pub looked_at: OffsetDateTime,
}

/// Why a transaction would have reverted, or did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Revert {
    /// The name of the contract's error where its ABI is known; else `error` (a message), `panic`, `empty`, `unknown_error`, `malformed`, `out_of_gas`, or `unknown` where nobody could tell.
    #[cfg_attr(feature = "openapi", schema(example = "PositionView__StaleVersion"))]
    pub code: String,
    /// The error for people; what a contract says may be anything.
    #[cfg_attr(
        feature = "openapi",
        schema(example = "PositionView__StaleVersion(currentVersion: 3, nextVersion: 9)")
    )]
    pub text: String,
    /// Who says so.
    pub source: RevertSource,
}

/// What used a transaction's nonce, and in which block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Inclusion {
    /// The block's number.
    #[cfg_attr(feature = "openapi", schema(example = 19_000_000))]
    pub block_number: u64,
    /// The block's hash.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^0x[0-9a-f]{64}$"))]
    pub block_hash: B256,
    /// The transaction's hash.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^0x[0-9a-f]{64}$"))]
    pub tx_hash: B256,
    /// Which of the attempts it was; null: none of them, somebody else used the key.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub attempt: Option<u32>,
    /// What that attempt was for.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub purpose: Option<AttemptPurpose>,
    /// Whether it did what it was to do; else it was reverted.
    pub succeeded: bool,
    /// Gas that was used, once it is known.
    #[cfg_attr(feature = "openapi", schema(required = true, value_type = Option<String>, pattern = "^[0-9]{1,78}$"))]
    pub gas_used: Option<Amount>,
    /// Wei that were paid for it, once it is known.
    #[cfg_attr(feature = "openapi", schema(required = true, value_type = Option<String>, pattern = "^[0-9]{1,78}$"))]
    pub gas_paid_wei: Option<Amount>,
    /// Whether the block is final.
    pub is_final: bool,
}

/// Signed bytes that may be with any node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TransactionAttempt {
    /// At which nonce.
    pub nonce: u64,
    /// The how manieth there.
    #[cfg_attr(feature = "openapi", schema(minimum = 1, example = 1))]
    pub number: u32,
    /// What it is for.
    pub purpose: AttemptPurpose,
    /// Its hash.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^0x[0-9a-f]{64}$"))]
    pub tx_hash: B256,
    /// Gas that it may use.
    pub gas_limit: u64,
    /// The most wei that it offers for a unit of gas.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^[0-9]{1,78}$", example = "30000000000"))]
    pub max_fee_per_gas: Amount,
    /// Of these, for whoever makes the block; null where the chain has one price alone.
    #[cfg_attr(feature = "openapi", schema(required = true, value_type = Option<String>, pattern = "^[0-9]{1,78}$"))]
    pub max_priority_fee_per_gas: Option<Amount>,
    /// The decision for it, in words.
    pub why: String,
    /// When it was put on record; only then it is sent.
    #[serde(with = "time::serde::rfc3339")]
    pub committed_at: OffsetDateTime,
    /// What each endpoint answered when it was sent there last.
    pub answers: Vec<EndpointAnswer>,
}

/// What an endpoint answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EndpointAnswer {
    /// Which.
    pub endpoint: String,
    /// The kind of answer.
    #[cfg_attr(feature = "openapi", schema(example = "accepted"))]
    pub answer: String,
    /// What it said.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub detail: Option<String>,
    /// When it was sent there.
    #[serde(with = "time::serde::rfc3339")]
    pub sent_at: OffsetDateTime,
}

/// A page of transactions, the newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Transactions {
    /// The transactions.
    pub items: Vec<Transaction>,
    /// Where the next page begins; null on the last one.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub next_cursor: Option<String>,
}
