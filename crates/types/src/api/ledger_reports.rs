//! Corrections of the ledger, its periods, and what is reported of it.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use super::identity::keyed;
use crate::{AccountClass, AccountType, Amount, Balance};

keyed! {
    /// That a posting is taken back, all of it.
    pub struct LedgerReversal {
        /// Why: the reversal and the audit say so.
        #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 500, example = "booked on the wrong account"))]
        pub reason: String,
    }
}

keyed! {
    /// That the books are closed through a time.
    pub struct LedgerClosingOrder {
        /// What is booked at it or before counts in the closed period; what comes late counts in the open one.
        #[cfg_attr(feature = "openapi", schema(format = DateTime, example = "2026-01-31T23:59:59.999999Z"))]
        pub through: String,
        /// Why: the closing and the audit say so.
        #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 500, example = "January 2026"))]
        pub reason: String,
    }
}

/// A period that was closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LedgerClosing {
    /// Its end.
    #[serde(with = "time::serde::rfc3339")]
    pub closed_through: OffsetDateTime,
    /// A log of so many entries has all that was booked by then.
    pub log_size: u64,
    /// Why.
    pub reason: String,
    /// The request that closed it.
    pub request_id: Uuid,
    /// Who closed it.
    pub created_by: String,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

/// The periods that were closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LedgerClosings {
    /// The latest first.
    pub items: Vec<LedgerClosing>,
    /// Where the next page begins; null on the last.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub next_cursor: Option<String>,
}

/// An account in a trial balance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TrialBalanceAccount {
    /// The account.
    pub account_id: Uuid,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub account_type: AccountType,
    /// Where it stands.
    pub class: AccountClass,
    /// Its books.
    #[cfg_attr(feature = "openapi", schema(example = "cash"))]
    pub domain: String,
    /// What it is kept in.
    #[cfg_attr(feature = "openapi", schema(example = "USDC"))]
    pub currency: String,
    /// What it held, debits less credits.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^-?[0-9]{1,78}$", example = "12345"))]
    pub raw_balance: Balance,
}

/// A page of a trial balance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TrialBalance {
    /// The accounts, by domain, name and currency.
    pub items: Vec<TrialBalanceAccount>,
    /// Where the next page begins; null on the last.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub next_cursor: Option<String>,
}

/// A domain's balance sheet in a currency. Each figure is positive on its normal side, in the currency's smallest unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LedgerBalanceSheet {
    /// The books.
    #[cfg_attr(feature = "openapi", schema(example = "cash"))]
    pub domain: String,
    /// The currency.
    #[cfg_attr(feature = "openapi", schema(example = "USDC"))]
    pub currency: String,
    /// What is had.
    #[cfg_attr(feature = "openapi", schema(pattern = "^-?[0-9]+$"))]
    pub assets: String,
    /// What is owed.
    #[cfg_attr(feature = "openapi", schema(pattern = "^-?[0-9]+$"))]
    pub liabilities: String,
    /// What is one's own, as it was booked.
    #[cfg_attr(feature = "openapi", schema(pattern = "^-?[0-9]+$"))]
    pub equity: String,
    /// Income less expenses, from the beginning.
    #[cfg_attr(feature = "openapi", schema(pattern = "^-?[0-9]+$"))]
    pub result: String,
    /// Assets less all that they stand against: 0, unless the books are broken.
    #[cfg_attr(feature = "openapi", schema(pattern = "^-?[0-9]+$", example = "0"))]
    pub difference: String,
}

/// The balance sheets of a tenant's books.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LedgerBalanceSheets {
    /// One for each domain and currency.
    pub items: Vec<LedgerBalanceSheet>,
}

/// A line of a statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LedgerStatementLine {
    /// Its posting.
    pub posting_id: Uuid,
    /// Its place in that, from 1.
    pub sequence: u16,
    /// The posting's operation.
    pub operation_type: String,
    /// The posting's request.
    pub request_id: Uuid,
    /// What kind of line.
    pub entry_type: String,
    /// How much; 0 in a credit.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^[0-9]{1,78}$"))]
    pub debit: Amount,
    /// The same of a credit.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^[0-9]{1,78}$"))]
    pub credit: Amount,
    /// What the account held with it, of what the statement counts: debits less credits.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^-?[0-9]{1,78}$"))]
    pub raw_balance: Balance,
    /// When it happened.
    #[serde(with = "time::serde::rfc3339")]
    pub effective_at: OffsetDateTime,
    /// In which period it counts.
    #[serde(with = "time::serde::rfc3339")]
    pub booked_at: OffsetDateTime,
    /// When it was written.
    #[serde(with = "time::serde::rfc3339")]
    pub recorded_at: OffsetDateTime,
}

/// A page of an account's statement. Balances are debits less credits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LedgerStatement {
    /// The account.
    pub account_id: Uuid,
    /// Its name.
    pub name: String,
    /// What it is kept in.
    #[cfg_attr(feature = "openapi", schema(example = "USDC"))]
    pub currency: String,
    /// What it held when the time begins.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^-?[0-9]{1,78}$"))]
    pub opening: Balance,
    /// What it held with everything before this page.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^-?[0-9]{1,78}$"))]
    pub brought_forward: Balance,
    /// What it held when the time ends.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^-?[0-9]{1,78}$"))]
    pub closing: Balance,
    /// The lines, in the order in which they were booked.
    pub items: Vec<LedgerStatementLine>,
    /// Where the next page begins; null on the last.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub next_cursor: Option<String>,
}
