//! Reports over all of a tenant's books: trial balance, balance sheet, income.
//!
//! A posting balances within its domain and in each currency, and its lines have their times from it. So at whatever time is asked for, the balances of a domain in a currency sum to nothing; a report
//! shows both sides of that sum and hides nothing if they differ.
//!
//! Income and expense accounts run on from period to period: nobody books them to zero. What they came to is equity that is not booked as such, which the balance sheet calls the result.

use alloy_primitives::U512;
use alloy_primitives::aliases::I512;
use plimsoll_types::Balance;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::account::{AccountClass, AccountType};
use crate::repo::reports as repo;

/// The most accounts of a page.
pub const REPORT_ACCOUNTS_MAX: u16 = 1_000;

/// Which lines count: those that lie within all that is given; all, if nothing is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// What had happened by then.
    pub effective_at: Option<OffsetDateTime>,
    /// What counts in the periods up to then. Once these are closed, this does not change any more.
    pub booked_at: Option<OffsetDateTime>,
    /// What was on record by then.
    pub recorded_at: Option<OffsetDateTime>,
}

/// Which accounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Whose.
    pub tenant_id: Uuid,
    /// Of these books; none: of all.
    pub domain: Option<String>,
    /// In this currency; none: in each.
    pub currency: Option<String>,
}

/// Where a page goes on: after this account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct After {
    /// Its domain.
    pub domain: String,
    /// Its name.
    pub name: String,
    /// Its currency.
    pub currency: String,
}

/// An account in a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountBalance {
    /// The account.
    pub account_id: Uuid,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub account_type: AccountType,
    /// Where it stands.
    pub class: AccountClass,
    /// Its books.
    pub domain: String,
    /// What it is kept in.
    pub currency: String,
    /// Debits less credits.
    pub balance: Balance,
}

/// The accounts of a class and type in a domain and a currency, together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassTotal {
    /// Their books.
    pub domain: String,
    /// What they are kept in.
    pub currency: String,
    /// Where they stand.
    pub class: AccountClass,
    /// What they are for.
    pub account_type: AccountType,
    /// How many there are.
    pub accounts: u64,
    /// The sum of the debit balances among them. Wider than a balance: many of these fit into it.
    pub debits: U512,
    /// The sum of the credit balances.
    pub credits: U512,
}

/// A domain's balance sheet in a currency. Each is positive on its normal side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BalanceSheet {
    /// The books.
    pub domain: String,
    /// The currency.
    pub currency: String,
    /// What is had.
    pub assets: I512,
    /// What is owed.
    pub liabilities: I512,
    /// What is one's own, as it was booked.
    pub equity: I512,
    /// Income less expenses, from the beginning.
    pub result: I512,
}

impl BalanceSheet {
    /// Assets less all that they stand against: nothing, unless the books are broken.
    #[must_use]
    pub fn difference(&self) -> I512 {
        self.assets - self.liabilities - self.equity - self.result
    }
}

/// A page of at most `limit` accounts (and [`REPORT_ACCOUNTS_MAX`]) with what they held, by domain, name and currency. Pages of one snapshot ([`plimsoll_store::Db::tenant_snapshot`]) agree.
///
/// # Errors
/// The database's.
pub async fn trial_balance(
    conn: &mut PgConnection,
    scope: &Scope,
    moment: Moment,
    after: Option<&After>,
    limit: u16,
) -> Result<Vec<AccountBalance>, sqlx::Error> {
    repo::accounts(conn, scope, moment, after, limit.min(REPORT_ACCOUNTS_MAX)).await
}

/// What all accounts held, by domain, currency, class and type. Debits and credits of a domain in a currency are the same.
///
/// # Errors
/// The database's.
pub async fn totals(
    conn: &mut PgConnection,
    scope: &Scope,
    moment: Moment,
) -> Result<Vec<ClassTotal>, sqlx::Error> {
    repo::totals(conn, scope, moment).await
}

/// The balance sheets that these totals are, by domain and currency.
#[must_use]
pub fn balance_sheets(totals: &[ClassTotal]) -> Vec<BalanceSheet> {
    let mut sheets: Vec<BalanceSheet> = Vec::new();
    for total in totals {
        let place = sheets.iter().position(|it| it.domain == total.domain && it.currency == total.currency);
        let place = place.unwrap_or_else(|| {
            let (domain, currency) = (total.domain.clone(), total.currency.clone());
            let [assets, liabilities, equity, result] = [I512::ZERO; 4];
            sheets.push(BalanceSheet { domain, currency, assets, liabilities, equity, result });
            sheets.len() - 1
        });
        let sheet = &mut sheets[place];
        // Sums of balances of 255 bits, of which there are fewer than 2^64.
        let (debits, credits) = (I512::from_raw(total.debits), I512::from_raw(total.credits));
        match total.class {
            AccountClass::Asset => sheet.assets += debits - credits,
            AccountClass::Liability => sheet.liabilities += credits - debits,
            AccountClass::Equity => sheet.equity += credits - debits,
            AccountClass::Income | AccountClass::Expense => sheet.result += credits - debits,
        }
    }
    sheets
}

/// A page of at most `limit` income and expense accounts (and [`REPORT_ACCOUNTS_MAX`]) with what came to them after the one moment and up to the other, by domain, name and currency: of a period that
/// was closed by the `booked_at` of the closing before it and of its own.
///
/// # Errors
/// The database's.
pub async fn income(
    conn: &mut PgConnection,
    scope: &Scope,
    from: Moment,
    through: Moment,
    after: Option<&After>,
    limit: u16,
) -> Result<Vec<AccountBalance>, sqlx::Error> {
    repo::income(conn, scope, from, through, after, limit.min(REPORT_ACCOUNTS_MAX)).await
}

/// When a block of a chain was, as it is canonical: the `effective_at` of a report at it. What is of several blocks of that same time counts together.
///
/// # Errors
/// The database's.
pub async fn time_of_block(
    conn: &mut PgConnection,
    chain_id: u64,
    block_number: u64,
) -> Result<Option<OffsetDateTime>, sqlx::Error> {
    repo::time_of_block(conn, chain_id, block_number).await
}
