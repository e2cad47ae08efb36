//! Accounts of the ledger, the currencies that they are kept in, and what they hold.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use super::BlockRef;
use super::identity::keyed;
use crate::{AccountClass, AccountType, Balance};

keyed! {
    /// A currency that the tenant's books are to have.
    pub struct NewLedgerCurrency {
        /// As lines name it: a code, or `eip155:<chain>/erc20:<address>` (CAIP-19).
        #[cfg_attr(feature = "openapi", schema(pattern = "^[!-~]{1,128}$", example = "USDC"))]
        pub currency: String,
        /// The chain that it is of.
        #[serde(default, deserialize_with = "crate::api::whole::whole_or_none")]
        #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 9_223_372_036_854_775_807_u64, example = json!(null)))]
        pub chain_id: Option<u64>,
        /// The token's address on that chain; left out for its native coin.
        #[serde(default)]
        #[cfg_attr(feature = "openapi", schema(pattern = "^0x[0-9a-fA-F]{40}$", example = json!(null)))]
        pub token_address: Option<String>,
        /// For showing amounts; nothing is computed with it.
        #[serde(deserialize_with = "crate::api::whole::whole")]
        #[cfg_attr(feature = "openapi", schema(minimum = 0, maximum = 255, example = 6))]
        pub decimals: u8,
        /// For people.
        #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 128, example = "USD Coin"))]
        pub name: String,
    }
}

keyed! {
    /// An account that is to be opened.
    pub struct NewLedgerAccount {
        /// Its id: a new one where it is left out.
        #[serde(default)]
        #[cfg_attr(feature = "openapi", schema(example = json!(null)))]
        pub account_id: Option<Uuid>,
        /// For people; once in a domain and currency.
        #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 128, example = "Deposits of users"))]
        pub name: String,
        /// What it is for.
        #[cfg_attr(feature = "openapi", schema(example = "USER"))]
        pub account_type: AccountType,
        /// Where it stands in the balance sheet.
        #[cfg_attr(feature = "openapi", schema(example = "liability"))]
        pub class: AccountClass,
        /// Which books; `cash` where it is left out.
        #[serde(default)]
        #[cfg_attr(feature = "openapi", schema(pattern = "^[a-z][a-z0-9_]{0,31}$", example = "cash"))]
        pub domain: Option<String>,
        /// What it is kept in, once and for all: a currency of the books.
        #[cfg_attr(feature = "openapi", schema(pattern = "^[!-~]{1,128}$", example = "USDC"))]
        pub currency: String,
        /// Whose it is; the tenant's own where it is left out.
        #[serde(default)]
        #[cfg_attr(feature = "openapi", schema(example = json!(null)))]
        pub owner_id: Option<Uuid>,
        /// The chain of its address.
        #[serde(default, deserialize_with = "crate::api::whole::whole_or_none")]
        #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 9_223_372_036_854_775_807_u64, example = json!(null)))]
        pub chain_id: Option<u64>,
        /// Its address on that chain.
        #[serde(default)]
        #[cfg_attr(feature = "openapi", schema(pattern = "^0x[0-9a-fA-F]{40}$", example = json!(null)))]
        pub address: Option<String>,
        /// The least that a request may leave on it, on its normal side; none where it is left out.
        #[serde(default)]
        #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, pattern = "^-?[0-9]{1,76}$", example = "0"))]
        pub min_balance: Option<Balance>,
        /// The most.
        #[serde(default)]
        #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, pattern = "^-?[0-9]{1,76}$", example = json!(null)))]
        pub max_balance: Option<Balance>,
    }
}

keyed! {
    /// What requests may leave on an account from now on, on its normal side. What is left out has no limit.
    pub struct LedgerLimits {
        /// The least.
        #[serde(default)]
        #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, pattern = "^-?[0-9]{1,76}$", example = "0"))]
        pub min_balance: Option<Balance>,
        /// The most.
        #[serde(default)]
        #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, pattern = "^-?[0-9]{1,76}$", example = json!(null)))]
        pub max_balance: Option<Balance>,
    }
}

keyed! {
    /// That an account takes no more requests.
    pub struct LedgerAccountClosing {
        /// Why: the audit says so.
        #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 500, example = "the strategy was wound up"))]
        pub reason: String,
    }
}

/// A currency of the tenant's books.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LedgerCurrency {
    /// As lines name it.
    #[cfg_attr(feature = "openapi", schema(example = "USDC"))]
    pub currency: String,
    /// The chain that it is of.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub chain_id: Option<u64>,
    /// The token's address; null for a chain's native coin.
    #[cfg_attr(feature = "openapi", schema(required = true, pattern = "^0x[0-9a-f]{40}$"))]
    pub token_address: Option<String>,
    /// For showing amounts.
    pub decimals: u8,
    /// For people.
    pub name: String,
}

/// A page of currencies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LedgerCurrencies {
    /// The currencies, by name.
    pub items: Vec<LedgerCurrency>,
    /// Where the next page begins; null on the last.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub next_cursor: Option<String>,
}

/// An account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LedgerAccount {
    /// Its id.
    pub account_id: Uuid,
    /// For people.
    pub name: String,
    /// What it is for.
    pub account_type: AccountType,
    /// Where it stands in the balance sheet: assets and expenses are normally debit balances, all others credit balances.
    pub class: AccountClass,
    /// Which books.
    #[cfg_attr(feature = "openapi", schema(example = "cash"))]
    pub domain: String,
    /// What it is kept in.
    #[cfg_attr(feature = "openapi", schema(example = "USDC"))]
    pub currency: String,
    /// Whose it is; null for the tenant's own.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub owner_id: Option<Uuid>,
    /// The chain of its address.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub chain_id: Option<u64>,
    /// Its address.
    #[cfg_attr(feature = "openapi", schema(required = true, pattern = "^0x[0-9a-f]{40}$"))]
    pub address: Option<String>,
    /// The least that a request may leave on it, on its normal side.
    #[cfg_attr(feature = "openapi", schema(required = true, value_type = Option<String>, pattern = "^-?[0-9]{1,78}$"))]
    pub min_balance: Option<Balance>,
    /// The most.
    #[cfg_attr(feature = "openapi", schema(required = true, value_type = Option<String>, pattern = "^-?[0-9]{1,78}$"))]
    pub max_balance: Option<Balance>,
    /// When it was closed for requests.
    #[serde(with = "time::serde::rfc3339::option")]
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub closed_at: Option<OffsetDateTime>,
    /// When it was opened.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

/// A page of accounts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LedgerAccounts {
    /// The accounts, by id.
    pub items: Vec<LedgerAccount>,
    /// Where the next page begins; null on the last.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub next_cursor: Option<String>,
}

/// What an account holds, or held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LedgerBalance {
    /// The account.
    pub account_id: Uuid,
    /// Its name.
    pub name: String,
    /// Which books.
    #[cfg_attr(feature = "openapi", schema(example = "cash"))]
    pub domain: String,
    /// Of what.
    #[cfg_attr(feature = "openapi", schema(example = "USDC"))]
    pub currency: String,
    /// On its normal side, in the currency's smallest unit.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^-?[0-9]{1,78}$", example = "12345"))]
    pub balance: Balance,
    /// The same as debits less credits.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^-?[0-9]{1,78}$", example = "-12345"))]
    pub raw_balance: Balance,
    /// The highest block that a line of it is of, now; null where none is of any.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub last_updated_block: Option<BlockRef>,
}

/// A page of balances.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LedgerBalances {
    /// The balances, by account.
    pub items: Vec<LedgerBalance>,
    /// Where the next page begins; null on the last.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub next_cursor: Option<String>,
}
