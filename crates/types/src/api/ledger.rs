//! Postings of the ledger: asked for, and on record.

use alloy_primitives::B256;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{Amount, Balance};

/// A body that says for which tenant it is, and may say for which of its users: whoever asks need not be that user.
pub trait ForTenant {
    /// The request, as its caller names it.
    fn request_id(&self) -> Uuid;
    /// For whom.
    fn tenant_id(&self) -> Uuid;
    /// Who asks, as the audit names them.
    fn created_by(&self) -> Option<&str>;
}

macro_rules! for_tenant {
    ($name:ident) => {
        impl ForTenant for $name {
            fn request_id(&self) -> Uuid {
                self.request_id
            }

            fn tenant_id(&self) -> Uuid {
                self.tenant_id
            }

            fn created_by(&self) -> Option<&str> {
                self.created_by.as_deref()
            }
        }
    };
}

/// A posting that is asked for (spec 2 §5.4). `(tenant_id, user_id, request_id, operation_type)` is its natural key: asked for again under it, it is the same posting.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewLedgerPosting {
    /// New for each new posting.
    #[cfg_attr(feature = "openapi", schema(example = "0198c5a1-7d2e-7c3a-9a55-3f1f0c6d2b11"))]
    pub request_id: Uuid,
    /// The caller's tenant, whose books these are.
    #[cfg_attr(feature = "openapi", schema(example = "0198c5a1-7d2e-7c3a-9a55-3f1f0c6d2b10"))]
    pub tenant_id: Uuid,
    /// The user for whom it is; an operation of the platform's own where it is left out.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(example = "0198c5a1-8a01-7b1e-b7a4-5f0d3c2b1a00"))]
    pub user_id: Option<Uuid>,
    /// The caller, as the audit names it (`user:<uuid>`, `key:<id>`).
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(example = json!(null)))]
    pub created_by: Option<String>,
    /// What it is, as the tenant names it; `ledger.post` where it is left out.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(pattern = "^[!-~]{1,64}$", example = "deposit"))]
    pub operation_type: Option<String>,
    /// Which books: `cash` where it is left out. Its accounts are of the same.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(pattern = "^[a-z][a-z0-9_]{0,31}$", example = "cash"))]
    pub domain: Option<String>,
    /// When it happened; when it is booked where it is left out.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(format = DateTime, example = "2026-01-02T03:04:05Z"))]
    pub effective_at: Option<String>,
    /// The relayer's transaction that caused it.
    #[serde(default)]
    pub internal_tx_id: Option<Uuid>,
    /// The trace that it belongs to.
    #[serde(default)]
    pub trace_id: Option<Uuid>,
    /// The chain that it is about (EIP-155).
    #[serde(default, deserialize_with = "crate::api::whole::whole_or_none")]
    #[cfg_attr(
        feature = "openapi",
        schema(minimum = 1, maximum = 9_223_372_036_854_775_807_u64, example = 31_337)
    )]
    pub chain_id: Option<u64>,
    /// The transaction on that chain.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(pattern = "^0x[0-9a-fA-F]{64}$", example = json!(null)))]
    pub chain_tx_hash: Option<String>,
    /// The block that it is in, with its hash.
    #[serde(default, deserialize_with = "crate::api::whole::whole_or_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 0, maximum = 9_223_372_036_854_775_807_u64, example = json!(null)))]
    pub chain_block_number: Option<u64>,
    /// That block's hash.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(pattern = "^0x[0-9a-fA-F]{64}$", example = json!(null)))]
    pub chain_block_hash: Option<String>,
    /// Whatever else is to be kept with it.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Object, example = json!({ "simulation_id": "s-17" })))]
    pub metadata: Map<String, Value>,
    /// Its lines, in order: debits and credits are equal in each currency.
    #[cfg_attr(feature = "openapi", schema(min_items = 2, max_items = 512))]
    pub entries: Vec<NewLedgerEntry>,
}

/// A line of a posting that is asked for: a debit, or a credit.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewLedgerEntry {
    /// The account.
    #[cfg_attr(feature = "openapi", schema(example = "0198c5a1-8a01-7b1e-b7a4-5f0d3c2b1a01"))]
    pub account_id: Uuid,
    /// How much, in the currency's smallest unit: a decimal string, or an integer below 2^53; 0 or left out in a credit.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, pattern = "^[0-9]{1,78}$", example = "12345"))]
    pub debit: Option<Amount>,
    /// The same of a credit.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, pattern = "^[0-9]{1,78}$", example = "0"))]
    pub credit: Option<Amount>,
    /// Of what: the account's currency.
    #[cfg_attr(feature = "openapi", schema(pattern = "^[!-~]{1,128}$", example = "USDC"))]
    pub currency: String,
    /// What kind of line, as `TRADE`, `GAS_FEE`, `REWARD`; `POSTING` where it is left out.
    #[serde(default)]
    #[cfg_attr(
        feature = "openapi",
        schema(
            min_length = 1,
            max_length = 32,
            pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]+$",
            example = "TRADE"
        )
    )]
    pub entry_type: Option<String>,
}

for_tenant!(NewLedgerPosting);

/// Several postings in one request: they are booked together, and each has an outcome of its own.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewLedgerPostings {
    /// New for each new batch: the audit knows it by this.
    #[cfg_attr(feature = "openapi", schema(example = "0198c5a1-7d2e-7c3a-9a55-3f1f0c6d2b12"))]
    pub request_id: Uuid,
    /// The caller's tenant: each posting's too.
    #[cfg_attr(feature = "openapi", schema(example = "0198c5a1-7d2e-7c3a-9a55-3f1f0c6d2b10"))]
    pub tenant_id: Uuid,
    /// The caller, as the audit names it.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(example = json!(null)))]
    pub created_by: Option<String>,
    /// The postings, each with a `request_id` of its own.
    #[cfg_attr(feature = "openapi", schema(min_items = 1, max_items = 200))]
    pub postings: Vec<NewLedgerPosting>,
}

for_tenant!(NewLedgerPostings);

/// That a posting is on record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PostedLedgerPosting {
    /// Its id.
    #[cfg_attr(feature = "openapi", schema(example = "0198c5a1-9b01-7c1e-a7a4-5f0d3c2b1a00"))]
    pub posting_id: Uuid,
    /// The request that asked for it.
    pub request_id: Uuid,
    /// For which user.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub user_id: Option<Uuid>,
    /// What it is.
    #[cfg_attr(feature = "openapi", schema(example = "deposit"))]
    pub operation_type: String,
    /// SHA-256 of what was asked for in canonical form: the same request has the same, any other another.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^0x[0-9a-f]{64}$"))]
    pub checksum: B256,
}

/// What came of each posting of a batch, in its order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PostedLedgerPostings {
    /// One for each.
    pub items: Vec<LedgerOutcome>,
}

/// What came of a posting of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LedgerOutcome {
    /// The request that asked for it.
    pub request_id: Uuid,
    /// The status that it would have had alone: 201 where it is on record.
    #[cfg_attr(feature = "openapi", schema(example = 201))]
    pub status: u16,
    /// The posting, where it is on record.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub posting: Option<PostedLedgerPosting>,
    /// Why it is not.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub detail: Option<String>,
}

/// A posting on record, with its lines.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LedgerPosting {
    /// Its id, by age.
    #[cfg_attr(feature = "openapi", schema(example = "0198c5a1-9b01-7c1e-a7a4-5f0d3c2b1a00"))]
    pub posting_id: Uuid,
    /// The request that asked for it.
    pub request_id: Uuid,
    /// For which user; null for the platform's own.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub user_id: Option<Uuid>,
    /// What it is.
    #[cfg_attr(feature = "openapi", schema(example = "deposit"))]
    pub operation_type: String,
    /// SHA-256 of what was asked for in canonical form.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^0x[0-9a-f]{64}$"))]
    pub checksum: B256,
    /// Which books.
    #[cfg_attr(feature = "openapi", schema(example = "cash"))]
    pub domain: String,
    /// When it happened.
    #[serde(with = "time::serde::rfc3339")]
    pub effective_at: OffsetDateTime,
    /// When it counts in the books: the same, unless that period was closed.
    #[serde(with = "time::serde::rfc3339")]
    pub booked_at: OffsetDateTime,
    /// When it was written.
    #[serde(with = "time::serde::rfc3339")]
    pub recorded_at: OffsetDateTime,
    /// The relayer's transaction that caused it.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub internal_tx_id: Option<Uuid>,
    /// The trace that it belongs to.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub trace_id: Option<Uuid>,
    /// The chain that it is about.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub chain_id: Option<u64>,
    /// The transaction on that chain.
    #[cfg_attr(feature = "openapi", schema(required = true, value_type = Option<String>, pattern = "^0x[0-9a-f]{64}$"))]
    pub chain_tx_hash: Option<B256>,
    /// The block that it is true at.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub chain_block_number: Option<u64>,
    /// That block's hash.
    #[cfg_attr(feature = "openapi", schema(required = true, value_type = Option<String>, pattern = "^0x[0-9a-f]{64}$"))]
    pub chain_block_hash: Option<B256>,
    /// How many blocks confirm it, itself counted, by what is followed now; null where the block is not in the chain that is followed.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub chain_confirmations: Option<u64>,
    /// The posting that it takes back.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub reverses: Option<Uuid>,
    /// The posting that takes it back.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub reversed_by: Option<Uuid>,
    /// The posting that it makes good.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub compensates: Option<Uuid>,
    /// The postings that make good something of it, by age.
    pub compensated_by: Vec<Uuid>,
    /// Why, where it corrects another.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub reason: Option<String>,
    /// Who asked.
    #[cfg_attr(feature = "openapi", schema(example = "user:0198c5a1-8a01-7b1e-b7a4-5f0d3c2b1a00"))]
    pub created_by: String,
    /// The story that it is part of.
    pub correlation_id: String,
    /// The event that directly caused it.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub causation_id: Option<String>,
    /// Whatever else was kept with it.
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub metadata: Value,
    /// Its lines, in order.
    pub lines: Vec<LedgerLine>,
    /// Its place in the tenant's log, once it is sealed.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub leaf_index: Option<u64>,
}

/// A line of a posting on record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LedgerLine {
    /// Its place in the posting, from 1.
    pub sequence: u16,
    /// The account.
    pub account_id: Uuid,
    /// How much, in the currency's smallest unit; 0 in a credit.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^[0-9]{1,78}$", example = "12345"))]
    pub debit: Amount,
    /// The same of a credit.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^[0-9]{1,78}$", example = "0"))]
    pub credit: Amount,
    /// Of what.
    #[cfg_attr(feature = "openapi", schema(example = "USDC"))]
    pub currency: String,
    /// What kind of line.
    #[cfg_attr(feature = "openapi", schema(example = "TRADE"))]
    pub entry_type: String,
    /// The account's version after it: 1 after its first line.
    pub account_version: u64,
    /// What the account holds after it, debits less credits.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^-?[0-9]{1,78}$", example = "12345"))]
    pub balance_after: Balance,
    /// The line's checksum, as `docs/ledger.md` has it.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^0x[0-9a-f]{64}$"))]
    pub checksum: B256,
}

/// A page of postings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LedgerPostings {
    /// The postings, the newest first.
    pub items: Vec<LedgerPosting>,
    /// Where the next page begins; null on the last.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub next_cursor: Option<String>,
}
