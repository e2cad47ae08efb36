//! Charts of accounts: which accounts books have from the beginning, and what they held then.
//!
//! A chart is a declaration. To open it is to have its accounts: those that are missing are opened, those that are there stay as they are, so it is opened again after each change. A change raises its
//! version and only adds: an account that has lines cannot become another.

use plimsoll_proof::ledger::encoding::Direction;
use plimsoll_store::Db;
use plimsoll_types::{Amount, Balance, Context};
use serde_json::Map;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::account::{AccountClass, AccountType, Currency, NewAccount};
use crate::book::Refusal;
use crate::error::PostError;
use crate::posting::{Draft, Invalid, Line, OnChain, Origin, Posting};
use crate::repo::{accounts, charts as repo};

/// The account that opening balances stand against, in each domain.
pub const OPENING_BALANCES: &str = "opening balances";
/// The account of what is not explained yet, in each domain.
pub const SUSPENSE: &str = "suspense";
/// The operation that an opening balance is, in its key.
pub const OPENING_BALANCE: &str = "opening_balance";

/// An account of a chart: one in each currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Its books.
    pub domain: &'static str,
    /// Its name; a user's account has the user's id after it.
    pub name: &'static str,
    /// What it is for.
    pub account_type: AccountType,
    /// Where it stands.
    pub class: AccountClass,
    /// Whether no request may leave it below nothing on its normal side.
    pub is_never_negative: bool,
}

/// A chart of accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chart {
    /// Its name.
    pub name: &'static str,
    /// Raised with each change.
    pub version: u16,
    /// What the books have.
    pub accounts: &'static [Slot],
    /// What each user has in them.
    pub users: &'static [Slot],
}

const fn slot(
    domain: &'static str,
    name: &'static str,
    account_type: AccountType,
    class: AccountClass,
) -> Slot {
    Slot { domain, name, account_type, class, is_never_negative: false }
}

const fn users(domain: &'static str, name: &'static str, class: AccountClass) -> Slot {
    Slot { domain, name, account_type: AccountType::User, class, is_never_negative: true }
}

/// The books of a lending business: its money, its rewards, and the platform's own.
pub const LENDING: Chart = {
    use AccountClass::{Asset, Equity, Expense, Income, Liability};
    use AccountType::{Gas, Platform, Protocol, Reward, Strategy, Suspense};
    Chart {
        name: "lending",
        version: 1,
        accounts: &[
            slot("cash", OPENING_BALANCES, Platform, Equity),
            slot("cash", "capital", Platform, Equity),
            slot("cash", "strategy", Strategy, Asset),
            slot("cash", "protocol", Protocol, Asset),
            slot("cash", "protocol debt", Protocol, Liability),
            slot("cash", "gas", Gas, Asset),
            slot("cash", "gas spent", Gas, Expense),
            slot("cash", "interest earned", Platform, Income),
            slot("cash", "interest paid", Platform, Expense),
            slot("cash", "fees", Platform, Income),
            slot("cash", "losses", Platform, Expense),
            slot("cash", SUSPENSE, Suspense, Asset),
            slot("reward", OPENING_BALANCES, Reward, Equity),
            slot("reward", "receivable", Reward, Asset),
            slot("reward", "earned", Reward, Income),
            slot("reward", "granted", Reward, Expense),
            slot("reward", SUSPENSE, Suspense, Asset),
            slot("platform", OPENING_BALANCES, Platform, Equity),
            slot("platform", "treasury", Platform, Asset),
            slot("platform", "fees", Platform, Income),
            slot("platform", "costs", Platform, Expense),
            slot("platform", SUSPENSE, Suspense, Asset),
        ],
        users: &[
            users("cash", "deposits", Liability),
            users("cash", "loans", Asset),
            users("reward", "rewards", Liability),
        ],
    }
};

/// Why a chart is not opened.
#[derive(Debug, thiserror::Error)]
pub enum ChartError {
    /// The books have another account of that name.
    #[error(
        "the account `{name}` of {domain} in {currency} is there and is no {account_type:?} of class {class:?}, as the chart wants it: give that one another name, or the chart"
    )]
    Differs {
        /// Its books.
        domain: String,
        /// Its name.
        name: String,
        /// Its currency.
        currency: String,
        /// What the chart has it for.
        account_type: AccountType,
        /// Where the chart has it.
        class: AccountClass,
    },
    /// The database: a currency that the books do not have, among others.
    #[error("opening a chart of accounts: {0}")]
    Database(#[from] sqlx::Error),
}

/// Every chart that there is.
pub const CHARTS: &[&Chart] = &[&LENDING];

/// Opens a tenant's books, unless they are open, with these currencies and the chart's accounts in each of them. How many accounts are new.
///
/// # Errors
/// [`ChartError`]: nothing is opened.
pub async fn open_chart(
    db: &Db,
    tenant_id: Uuid,
    chart: &Chart,
    currencies: &[Currency],
) -> Result<u64, ChartError> {
    let mut tx = db.tenant_tx(&[tenant_id]).await?;
    let opened = open_chart_in(&mut tx, tenant_id, chart, currencies).await?;
    tx.commit().await?;
    Ok(opened)
}

/// [`open_chart`] within a transaction that is confined to the tenant.
///
/// # Errors
/// As [`open_chart`].
pub async fn open_chart_in(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    chart: &Chart,
    currencies: &[Currency],
) -> Result<u64, ChartError> {
    accounts::open_books(conn, tenant_id).await?;
    for currency in currencies {
        accounts::put_currency(conn, tenant_id, currency).await?;
    }
    let names: Vec<_> = currencies.iter().map(|currency| currency.currency.as_str()).collect();
    let opened = open_slots(conn, tenant_id, chart.accounts, &names, None).await?;
    repo::note(conn, tenant_id, chart).await?;
    Ok(opened)
}

/// Opens the chart's accounts of a user in these currencies, which the books have. How many are new.
///
/// # Errors
/// [`ChartError`]: none is opened.
pub async fn open_user(
    db: &Db,
    tenant_id: Uuid,
    chart: &Chart,
    user_id: Uuid,
    currencies: &[&str],
) -> Result<u64, ChartError> {
    let mut tx = db.tenant_tx(&[tenant_id]).await?;
    let opened = open_user_in(&mut tx, tenant_id, chart, user_id, currencies).await?;
    tx.commit().await?;
    Ok(opened)
}

/// [`open_user`] within a transaction that is confined to the tenant.
///
/// # Errors
/// As [`open_user`].
pub async fn open_user_in(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    chart: &Chart,
    user_id: Uuid,
    currencies: &[&str],
) -> Result<u64, ChartError> {
    open_slots(conn, tenant_id, chart.users, currencies, Some(user_id)).await
}

async fn open_slots(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    slots: &[Slot],
    currencies: &[&str],
    user_id: Option<Uuid>,
) -> Result<u64, ChartError> {
    let account = |slot: &Slot, currency: &str| NewAccount {
        account_id: Uuid::now_v7(),
        name: user_id.map_or_else(|| slot.name.to_owned(), |user_id| format!("{} {user_id}", slot.name)),
        account_type: slot.account_type,
        class: slot.class,
        domain: slot.domain.to_owned(),
        currency: currency.to_owned(),
        user_id,
        chain_id: None,
        address: None,
        min_balance: slot.is_never_negative.then_some(Balance::ZERO),
        max_balance: None,
    };
    let wanted: Vec<_> = currencies
        .iter()
        .flat_map(|currency| slots.iter().map(move |slot| account(slot, currency)))
        .collect();
    let opened = repo::open_missing(conn, tenant_id, &wanted).await?;
    if let Some(place) = repo::differing(conn, tenant_id, &wanted).await? {
        let NewAccount { domain, name, currency, account_type, class, .. } = wanted[place].clone();
        return Err(ChartError::Differs { domain, name, currency, account_type, class });
    }
    Ok(opened)
}

/// A tenant's account by its name.
///
/// # Errors
/// The database's.
pub async fn account_named(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    domain: &str,
    name: &str,
    currency: &str,
) -> Result<Option<Uuid>, sqlx::Error> {
    repo::named(conn, tenant_id, domain, name, currency).await
}

/// The posting that gives an account of the context's tenant what it held (debits less credits) when its books began: against [`OPENING_BALANCES`], at that time, of that block. To be given to
/// [`crate::Intake::post`].
///
/// Its key is the account's: there is one for each. The same again is a replay, and another one a conflict; what was wrong is made good by other postings.
///
/// # Errors
/// [`Refusal::UnknownAccount`], [`Refusal::NoOpeningBalances`]; [`Invalid`] for a balance of nothing; the database's.
pub async fn opening_balance(
    conn: &mut PgConnection,
    account_id: Uuid,
    balance: Balance,
    at: OffsetDateTime,
    on_chain: Option<OnChain>,
    mut context: Context,
) -> Result<Posting, PostError> {
    let tenant_id = context.tenant_id.ok_or(Invalid::NoTenant)?;
    let place = repo::place(conn, tenant_id, account_id).await?;
    let (domain, currency) = place.ok_or(Refusal::UnknownAccount { account_id })?;
    let equity = repo::named(conn, tenant_id, &domain, OPENING_BALANCES, &currency).await?;
    let Some(equity) = equity else {
        return Err(Refusal::NoOpeningBalances { domain, currency }.into());
    };
    context.request_id = Uuid::new_v5(&account_id, OPENING_BALANCE.as_bytes());
    context.user_id = None;
    let (debit, credit) = if balance.0.is_negative() { (equity, account_id) } else { (account_id, equity) };
    let line = |account_id, direction| Line {
        account_id,
        direction,
        amount: Amount(balance.0.unsigned_abs()),
        currency: currency.clone(),
        entry_type: "OPENING".into(),
    };
    let lines = vec![line(debit, Direction::Debit), line(credit, Direction::Credit)];
    Ok(Posting::new(Draft {
        context,
        operation_type: OPENING_BALANCE.into(),
        domain,
        origin: Origin::Request,
        internal_tx_id: None,
        trace_id: None,
        effective_at: Some(at),
        on_chain,
        correction: None,
        metadata: Map::new(),
        lines,
    })?)
}
