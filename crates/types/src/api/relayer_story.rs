//! What is told of a transaction beside its record: what it waits for, and each change as it happens.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use super::identity::keyed;
use super::{SequenceNumber, SignerLease};
use crate::TransactionState;

keyed! {
    /// That more is offered for a transaction now.
    pub struct SpeedUp {
        /// Why: the attempt and the audit say so.
        #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 500, example = "the auction ends at noon"))]
        pub reason: String,
    }
}

/// Who signs a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum TransactionKind {
    /// A signer of the platform.
    Managed,
    /// A user, outside: the platform sends it, and can change nothing of it.
    UserSigned,
}

/// What something waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum WaitsFor {
    /// An operator, who has stopped it.
    Operator,
    /// A process that works it.
    Holder,
    /// The ingest's word that its sender is followed.
    Acknowledgement,
    /// Others that enter before it.
    Queue,
    /// What held it when it was looked at: fees, funds, data that are stale, an endpoint that does not answer.
    Held,
    /// Room among what its signer has under way.
    Window,
    /// Its turn, which is next.
    Turn,
    /// An endpoint that takes it.
    Endpoint,
    /// A lower nonce of its sender.
    LowerNonce,
    /// A better offer, which somebody asked for.
    Offer,
    /// A block that takes it.
    Block,
    /// Blocks above its own.
    Confirmations,
    /// The finality of a block.
    Finality,
    /// Nothing.
    Nothing,
}

/// What a transaction or a nonce waits for, who holds it, and what happens next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Explanation {
    /// The transaction; null for a nonce that none of the tenant's has.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub transaction_id: Option<Uuid>,
    /// On which chain.
    #[cfg_attr(feature = "openapi", schema(example = 31_337))]
    pub chain_id: u64,
    /// Who signs.
    #[cfg_attr(
        feature = "openapi",
        schema(pattern = "^0x[0-9a-f]{40}$", example = "0x70997970c51812dc3a010c7d01b50e0d17dc79c8")
    )]
    pub signer: String,
    /// The nonce, once there is one.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub nonce: Option<u64>,
    /// Where the transaction stands.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub state: Option<TransactionState>,
    /// What it waits for: stable, for programs.
    pub waits_for: WaitsFor,
    /// The same with its numbers, for people.
    #[cfg_attr(
        feature = "openapi",
        schema(
            example = "nonce 17 of its sender is not used yet, and it has nonce 19: no block takes it before"
        )
    )]
    pub waiting: String,
    /// Which process works it; null while none does.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub held_by: Option<SignerLease>,
    /// What happens next, for people.
    pub next: String,
    /// When, where a time is known.
    #[serde(with = "time::serde::rfc3339::option")]
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub next_at: Option<OffsetDateTime>,
    /// At which block, where one is known.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub next_block: Option<u64>,
    /// What is wrong beside that.
    pub troubles: Vec<String>,
}

/// A change of a transaction's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TransactionChange {
    /// Its number in the stream of events: begin after it to go on.
    pub sequence: SequenceNumber,
    /// The transaction.
    pub transaction_id: Uuid,
    /// The how manieth of its changes.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub version: Option<i64>,
    /// The request that asked for it.
    pub request_id: Uuid,
    /// For whom.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub user_id: Option<Uuid>,
    /// On which chain.
    pub chain_id: u64,
    /// Who signs.
    pub signer: String,
    /// Its nonce, once it has one.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub nonce: Option<u64>,
    /// The hash of what was sent, or used its nonce.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub tx_hash: Option<String>,
    /// The block that it is in.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub block_number: Option<u64>,
    /// Where it stood; null when it is new.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub from: Option<TransactionState>,
    /// Where it stands.
    pub status: TransactionState,
    /// What happened.
    pub because: String,
    /// Why it is to end, or ended.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub why: Option<String>,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub time: OffsetDateTime,
}
