//! What came of a file of postings, and postings as vouchers.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::Amount;

/// What came of a file of postings, or would.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LedgerImport {
    /// The import: each of its postings names it as its cause.
    pub request_id: Uuid,
    /// Whether nothing was booked.
    pub dry_run: bool,
    /// The file's postings.
    pub postings: u64,
    /// Their lines.
    pub lines: u64,
    /// Those that were booked; in a dry run, that would be.
    pub posted: u64,
    /// Those that are on record, or are in the file above.
    pub repeated: u64,
    /// Those that count in the open period because theirs is closed; a repeated one is none.
    pub late: u64,
    /// SHA-256 of the file, in hexadecimal.
    #[cfg_attr(feature = "openapi", schema(pattern = "^[0-9a-f]{64}$"))]
    pub sha256: String,
}

/// An amount that went from one account to another (spec 5 §4.4.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LedgerVoucher {
    /// Its posting, which has a voucher in each of its currencies.
    pub entry_id: Uuid,
    /// The relayer's transaction that caused it.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub internal_tx_id: Option<Uuid>,
    /// The trace that it belongs to.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub trace_id: Option<Uuid>,
    /// The account that was debited.
    pub debit_account_id: Uuid,
    /// The account that was credited.
    pub credit_account_id: Uuid,
    /// How much, in the currency's smallest unit.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^[0-9]{1,78}$"))]
    pub amount: Amount,
    /// Of what.
    pub currency: String,
    /// What kind of entry.
    pub entry_type: String,
    /// The user for whom it is.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub user_id: Option<Uuid>,
    /// The posting's request.
    pub request_id: Uuid,
    /// The posting's operation.
    pub operation_type: String,
    /// The books.
    pub domain: String,
    /// When it happened.
    #[serde(with = "time::serde::rfc3339")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub effective_at: OffsetDateTime,
    /// When it was recorded.
    #[serde(with = "time::serde::rfc3339")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub created_at: OffsetDateTime,
}

/// The vouchers of a page of postings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LedgerVouchers {
    /// The newest posting's first.
    pub items: Vec<LedgerVoucher>,
    /// Where the next page begins; null on the last.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub next_cursor: Option<String>,
}
