//! The models that the HTTP API answers with, shared by the server and its clients.
//!
//! Amounts, versions and on-chain sequences are decimal strings; hashes and addresses lower-case `0x` text; times RFC 3339
//! in UTC; block numbers and journal sequences JSON integers (below 2^53 for as long as chains live).

mod audit;
mod bus;
mod chain;
mod event;
mod identity;
mod identity_auth;
mod identity_keys;
mod identity_proofs;
mod ledger;
mod ledger_accounts;
mod ledger_files;
mod ledger_log;
mod ledger_reports;
mod position;
mod problem;
mod ready;
mod relayer;
mod relayer_operations;
mod relayer_signers;
mod relayer_story;
mod relayer_users;
mod whole;

pub use audit::{AuditEntry, AuditOfRequest, AuditPage};
pub use bus::{CausalityEdge, CausalityGraph, SequenceNumber, StreamEnd};
pub use chain::{BlockMark, BlockMarkKind, Chain, ChainState, Chains, Fold, FoldState, NodeHead};
pub use event::{Event, Events};
#[cfg(feature = "openapi")]
pub use identity::PermissionName;
pub use identity::{
    AddressChange, Approval, Approvals, Decision, Keyed, LinkedAddress, NewApproval, NewDecision, NewRole,
    NewUser, PermissionChange, Plain, RoleChange, TenantRole, TenantRoles, User, UserDetail, UserKind,
    UserStatus, Users,
};
pub use identity_auth::{
    GivenSecurityKey, NewNonce, NewSecurityKey, Nonce, Nothing, Refresh, SecondFactorGiven, Secret, SignIn,
    SignInMethod, SignOut, SignedOut, Tokens, TotpCode, TotpEnrolment, WhoAmI,
};
pub use identity_keys::{
    ApiKey, ApiKeys, IssuedApiKey, NewApiKey, NewTenantConfig, RateLimit, RateLimits, Rotation, Session,
    Sessions, TenantConfig, TenantLimits,
};
pub use identity_proofs::{
    ExternalIdentities, ExternalIdentity, IdentityChange, ProviderOutcome, ProviderRedirect, SecondFactor,
    SecondFactorKind, SecondFactorRemoval, SecondFactors,
};
pub use ledger::{
    ForTenant, LedgerLine, LedgerOutcome, LedgerPosting, LedgerPostings, NewLedgerEntry, NewLedgerPosting,
    NewLedgerPostings, PostedLedgerPosting, PostedLedgerPostings,
};
pub use ledger_accounts::{
    LedgerAccount, LedgerAccountClosing, LedgerAccounts, LedgerBalance, LedgerBalances, LedgerCurrencies,
    LedgerCurrency, LedgerLimits, NewLedgerAccount, NewLedgerCurrency,
};
pub use ledger_files::{LedgerImport, LedgerVoucher, LedgerVouchers};
pub use ledger_log::{LedgerCheckpoint, LedgerConsistency, LedgerInclusion, LedgerKey, LedgerKeys};
pub use ledger_reports::{
    LedgerBalanceSheet, LedgerBalanceSheets, LedgerClosing, LedgerClosingOrder, LedgerClosings,
    LedgerReversal, LedgerStatement, LedgerStatementLine, TrialBalance, TrialBalanceAccount,
};
pub use position::{Position, Positions};
pub use problem::{FieldProblem, Problem};
pub use ready::{ChainReadiness, DatabaseReadiness, Fence, FoldReadiness, Readiness, Role, RoleState};
pub use relayer::{
    Cancellation, EndpointAnswer, Held, Inclusion, NewTransaction, Revert, Transaction, TransactionAttempt,
    Transactions,
};
pub use relayer_operations::{
    KillSwitch, KillSwitchOrder, KillSwitches, SignerRotation, SignerRotationOrder, SignerSwitchOrder,
    TenantSwitchOrder,
};
pub use relayer_signers::{Budget, Halt, Signer, SignerLease, Signers, Spent};
pub use relayer_story::{Explanation, SpeedUp, TransactionChange, TransactionKind, WaitsFor};
pub use relayer_users::{
    Authorization, FeeToken, NewAuthorizedCall, NewPreparation, NewSignedTransaction, Notice,
    PreparedTransaction, RequestIdPlace, SignerBalance, Submission, SubmittedBy,
};

use std::borrow::Cow;

use alloy_primitives::B256;
use serde::{Deserialize, Serialize};

use crate::BlockState;

/// A block, and nothing of how sure it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BlockRef {
    /// Its number.
    #[cfg_attr(feature = "openapi", schema(example = 19_000_000))]
    pub number: u64,
    /// Its hash.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^0x[0-9a-f]{64}$"))]
    pub hash: B256,
}

/// The block that a row comes from, and how sure it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Block {
    /// Its number.
    #[cfg_attr(feature = "openapi", schema(example = 19_000_000))]
    pub number: u64,
    /// Its hash.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^0x[0-9a-f]{64}$"))]
    pub hash: B256,
    /// Seen, confirmed, final, or orphaned by a reorg.
    pub state: BlockState,
}

/// The point of the chain that an answer is true at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AsOf {
    /// The chain.
    #[cfg_attr(feature = "openapi", schema(example = 31_337))]
    pub chain_id: u64,
    /// The fold whose watermark this is; absent where the answer comes from the raw store.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, example = "views"))]
    pub fold: Option<Cow<'static, str>>,
    /// The watermark: everything up to and including this block is in the answer.
    #[cfg_attr(feature = "openapi", schema(example = 19_000_000))]
    pub block_number: u64,
    /// The watermark block's hash.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^0x[0-9a-f]{64}$"))]
    pub block_hash: B256,
    /// The last journal record that is in the answer.
    #[cfg_attr(feature = "openapi", schema(example = 123_456))]
    pub journal_seq: u64,
}

/// How far behind the chain an answer is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Fresh {
    /// Blocks between the node's head, when last seen, and the watermark; null when no head was ever seen.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub lag_blocks: Option<u64>,
    /// Journal records that are not in the answer yet.
    pub lag_records: u64,
    /// Seconds since the oldest of those records was written; 0 when there is none: a quiet chain is not a stalled one.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub lag_seconds: Option<f64>,
    /// Whether to refuse to act on this.
    pub stale: bool,
    /// Why it is stale; empty when it is not.
    pub why: Vec<Reason>,
}

/// Why something is stale or not ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Reason {
    /// The kind of reason: stable, for programs.
    pub code: ReasonCode,
    /// The reason with its numbers, for people.
    #[cfg_attr(feature = "openapi", schema(example = "7 blocks behind the node's head; the limit is 2"))]
    pub text: String,
}

/// The kinds of reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum ReasonCode {
    /// The database does not answer.
    DatabaseUnreachable,
    /// The database's tables are not those that this version knows.
    SchemaMismatch,
    /// A configured chain has not been followed yet, or starts at a block that its node has not reached.
    ChainNotStarted,
    /// The chain is halted until an operator resumes it.
    ChainHalted,
    /// No head has come from the node for longer than the limit.
    NoHead,
    /// The watermark is ahead of the node's head: the node has fallen back.
    AheadOfNode,
    /// More blocks behind than the limit.
    LagBlocks,
    /// The oldest unapplied record waits for longer than the limit.
    LagSeconds,
    /// The fold has not covered a block yet.
    FoldNotStarted,
    /// The fold met a record that it cannot apply.
    FoldStopped,
    /// A role of this process is not doing its work.
    RoleDown,
}
