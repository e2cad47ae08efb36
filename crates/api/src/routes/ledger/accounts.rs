//! Currencies and accounts.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use plimsoll_bus::audit::Entry;
use plimsoll_ledger::{Currency, NewAccount, open_in, register};
use plimsoll_types::api::FieldProblem;
use plimsoll_types::{AccountType, Balance, address_text, api, parse_address};
use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

use super::super::paging::{AccountKey, All, CurrencyKey, Filter, Listing, Paging, Segment};
use super::super::transactions::{bounded, invalid, taken};
use super::entries::id;
use crate::cursor::Fingerprint;
use crate::gateway::{Caller, Done, Keyed, finish};
use crate::idempotency::{Answered, Execution, Reply};
use crate::openapi::{ListProblems, RecordProblems, WriteProblems};
use crate::problem::{Problem, ProblemKind};
use crate::query::{Fields, NoParameters, Query, text, yes_or_no};
use crate::repo::RepoError;
use crate::state::ApiState;

const DOMAIN: &str = "cash";
const NAME_MAX_CHARS: usize = 128;

/// Which accounts: those that all that is given is true of.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct AccountFilter {
    /// This one.
    account_id: Option<Uuid>,
    /// Those of these books.
    #[param(max_length = 255, pattern = "^[^\\u0000]+$", example = "cash")]
    domain: Option<String>,
    /// Those kept in this.
    #[param(max_length = 255, pattern = "^[^\\u0000]+$", example = "USDC")]
    currency: Option<String>,
    /// Those for this.
    account_type: Option<AccountType>,
    /// Those of this user.
    owner_id: Option<Uuid>,
    /// Those that are open for requests, or closed.
    open: Option<bool>,
}

impl AccountFilter {
    pub(super) fn take(fields: &mut Fields) -> Self {
        Self {
            account_id: fields.take("account_id", id),
            domain: fields.take("domain", text),
            currency: fields.take("currency", text),
            account_type: fields.take("account_type", str::parse::<AccountType>),
            owner_id: fields.take("owner_id", id),
            open: fields.take("open", yes_or_no),
        }
    }

    pub(super) fn texts(&self) -> [Option<String>; 6] {
        [
            self.account_id.map(|id| id.to_string()),
            self.domain.clone(),
            self.currency.clone(),
            self.account_type.map(|kind| kind.to_string()),
            self.owner_id.map(|id| id.to_string()),
            self.open.map(|is_open| is_open.to_string()),
        ]
    }

    pub(super) fn of_ledger(&self) -> register::Filter {
        register::Filter {
            account_id: self.account_id,
            domain: self.domain.clone(),
            currency: self.currency.clone(),
            account_type: self.account_type,
            owner_id: self.owner_id,
            is_open: self.open,
            ..register::Filter::default()
        }
    }
}

impl Filter for AccountFilter {
    const KNOWN: &'static [&'static str] =
        &["account_id", "domain", "currency", "account_type", "owner_id", "open", "limit", "cursor"];

    fn read(fields: &mut Fields) -> Self {
        Self::take(fields)
    }

    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.texts())
    }
}

/// The currencies of the books
#[utoipa::path(get, operation_id = "list_ledger_currencies", path = "/api/v1/ledger/currencies", tag = "ledger", params(Paging),
    responses((status = 200, description = "A page of currencies", body = api::LedgerCurrencies), ListProblems))]
pub(crate) async fn currencies(
    State(state): State<ApiState>,
    caller: Caller,
    Query(listing): Query<Listing<All>>,
) -> Result<Json<api::LedgerCurrencies>, Problem> {
    let after = listing.after::<CurrencyKey>()?.map(|key| key.0);
    let mut tx = state.db().tenant_tx(&[caller.tenant_id]).await.map_err(RepoError::from)?;
    let found = register::currencies(&mut tx, caller.tenant_id, after.as_deref(), listing.rows()).await;
    let (items, next_cursor) =
        listing.page(found.map_err(RepoError::from)?, |found| CurrencyKey(found.currency.clone()));
    Ok(Json(api::LedgerCurrencies { items, next_cursor }))
}

/// Put a currency into the books
///
/// One that is there stays as it is, which the answer shows.
#[utoipa::path(post, operation_id = "put_ledger_currency", path = "/api/v1/ledger/currencies", tag = "ledger", request_body = api::NewLedgerCurrency,
    responses((status = 201, description = "The currency", body = api::LedgerCurrency), WriteProblems))]
pub(crate) async fn put_currency(
    execution: Execution,
    asked: Keyed<api::NewLedgerCurrency>,
) -> Result<Answered, Problem> {
    let mut wrong = Vec::new();
    let token = taken(&mut wrong, "token_address", asked.body.token_address.as_deref(), parse_address);
    named(&mut wrong, "name", &asked.body.name);
    visible(&mut wrong, "currency", &asked.body.currency);
    of_chain(&mut wrong, asked.body.chain_id, "token_address", asked.body.token_address.is_some());
    if !wrong.is_empty() {
        return Err(invalid(wrong));
    }
    let currency = Currency {
        currency: asked.body.currency.clone(),
        chain_id: asked.body.chain_id,
        token_address: token.as_ref().map(address_text),
        decimals: asked.body.decimals,
        name: asked.body.name.clone(),
    };
    let mut effect = asked.begin(execution).await?;
    let done = put_currency_in(&mut effect, asked.caller.tenant_id, currency).await;
    finish(effect, done).await
}

async fn put_currency_in(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    currency: Currency,
) -> Result<Done, Problem> {
    let name = currency.currency.clone();
    open_in(conn, tenant_id, &[currency], &[])
        .await
        .map_err(|error| refused(error, "another currency is that token already"))?;
    let found = register::currency_by_name(conn, tenant_id, &name).await.map_err(RepoError::from)?;
    let found =
        found.ok_or_else(|| Problem::new(ProblemKind::Internal, "a currency was put and is not there"))?;
    let after = json!({ "chain_id": found.chain_id, "token_address": found.token_address, "decimals": found.decimals });
    let entry = Entry::new("ledger.currency.put", "currency", name).with_change(None, Some(after));
    Ok((entry, Reply::json(StatusCode::CREATED, &found)?))
}

/// The accounts
///
/// By id.
#[utoipa::path(get, operation_id = "list_ledger_accounts", path = "/api/v1/ledger/accounts", tag = "ledger", params(AccountFilter, Paging),
    responses((status = 200, description = "A page of accounts", body = api::LedgerAccounts), ListProblems))]
pub(crate) async fn accounts(
    State(state): State<ApiState>,
    caller: Caller,
    Query(listing): Query<Listing<AccountFilter>>,
) -> Result<Json<api::LedgerAccounts>, Problem> {
    let after = listing.after::<AccountKey>()?.map(|key| key.0);
    let filter = listing.filter.of_ledger();
    let mut tx = state.db().tenant_tx(&[caller.tenant_id]).await.map_err(RepoError::from)?;
    let found = register::accounts(&mut tx, caller.tenant_id, &filter, after, listing.rows()).await;
    let (items, next_cursor) =
        listing.page(found.map_err(RepoError::from)?, |found| AccountKey(found.account_id));
    Ok(Json(api::LedgerAccounts { items, next_cursor }))
}

/// An account
#[utoipa::path(get, operation_id = "show_ledger_account", path = "/api/v1/ledger/accounts/{account_id}", tag = "ledger",
    params(("account_id" = Uuid, Path, description = "The account's id")),
    responses((status = 200, description = "The account", body = api::LedgerAccount), RecordProblems))]
pub(crate) async fn account(
    State(state): State<ApiState>,
    caller: Caller,
    account_id: Segment,
    _: Query<NoParameters>,
) -> Result<Json<api::LedgerAccount>, Problem> {
    let mut tx = state.db().tenant_tx(&[caller.tenant_id]).await.map_err(RepoError::from)?;
    Ok(Json(known(&mut tx, caller.tenant_id, account_id.id()?).await?))
}

/// Open an account
///
/// Also the books, if it is their first. An id that is taken, or a name that is taken in its domain and currency, is a conflict.
#[utoipa::path(post, operation_id = "open_ledger_account", path = "/api/v1/ledger/accounts", tag = "ledger", request_body = api::NewLedgerAccount,
    responses((status = 201, description = "The account", body = api::LedgerAccount), WriteProblems))]
pub(crate) async fn open_account(
    execution: Execution,
    asked: Keyed<api::NewLedgerAccount>,
) -> Result<Answered, Problem> {
    let account = account_of(&asked.body)?;
    let mut effect = asked.begin(execution).await?;
    let done = open_account_in(&mut effect, asked.caller.tenant_id, account).await;
    finish(effect, done).await
}

fn account_of(body: &api::NewLedgerAccount) -> Result<NewAccount, Problem> {
    let mut wrong = Vec::new();
    let address = taken(&mut wrong, "address", body.address.as_deref(), parse_address);
    named(&mut wrong, "name", &body.name);
    visible(&mut wrong, "currency", &body.currency);
    of_chain(&mut wrong, body.chain_id, "address", body.address.is_some());
    ordered(&mut wrong, body.min_balance, body.max_balance);
    let domain = body.domain.clone().unwrap_or_else(|| DOMAIN.into());
    let is_domain = |text: &str| {
        text.len() <= 32
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_')
    };
    if !is_domain(&domain) {
        say(&mut wrong, "domain", "is a lower-case letter and up to 31 of a-z, 0-9 and _");
    }
    if !wrong.is_empty() {
        return Err(invalid(wrong));
    }
    Ok(NewAccount {
        account_id: body.account_id.unwrap_or_else(Uuid::now_v7),
        name: body.name.clone(),
        account_type: body.account_type,
        class: body.class,
        domain,
        currency: body.currency.clone(),
        user_id: body.owner_id,
        chain_id: body.chain_id,
        address: address.as_ref().map(address_text),
        min_balance: body.min_balance,
        max_balance: body.max_balance,
    })
}

async fn open_account_in(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    account: NewAccount,
) -> Result<Done, Problem> {
    let account_id = account.account_id;
    let taken = "the account's id is taken, or its name in that domain and currency";
    open_in(conn, tenant_id, &[], &[account]).await.map_err(|error| refused(error, taken))?;
    let made = known(conn, tenant_id, account_id).await?;
    let entry = Entry::new("ledger.account.open", "account", account_id.to_string())
        .with_change(None, Some(state_of(&made)));
    Ok((entry, Reply::json(StatusCode::CREATED, &made)?))
}

/// Close an account for requests
///
/// Whatever it holds. What the chain does is booked on it all the same.
#[utoipa::path(post, operation_id = "close_ledger_account", path = "/api/v1/ledger/accounts/{account_id}/close", tag = "ledger", request_body = api::LedgerAccountClosing,
    params(("account_id" = Uuid, Path, description = "The account's id")),
    responses((status = 200, description = "The account", body = api::LedgerAccount), WriteProblems))]
pub(crate) async fn close_account(
    execution: Execution,
    (account_id, asked): (Segment, Keyed<api::LedgerAccountClosing>),
) -> Result<Answered, Problem> {
    let account_id = account_id.id()?;
    bounded(&asked.body.reason)?;
    let mut effect = asked.begin(execution).await?;
    let done = close_in(&mut effect, asked.caller.tenant_id, account_id, &asked.body.reason).await;
    finish(effect, done).await
}

async fn close_in(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    account_id: Uuid,
    reason: &str,
) -> Result<Done, Problem> {
    let before = known(conn, tenant_id, account_id).await?;
    if !register::close(conn, tenant_id, account_id).await.map_err(RepoError::from)? {
        return Err(Problem::new(ProblemKind::Conflict, "the account is closed already"));
    }
    let after = known(conn, tenant_id, account_id).await?;
    let entry = Entry::new("ledger.account.close", "account", account_id.to_string())
        .with_change(Some(state_of(&before)), Some(state_of(&after)))
        .with_reason(reason);
    Ok((entry, Reply::json(StatusCode::OK, &after)?))
}

/// Say what an account may hold
///
/// After requests, on its normal side. What the chain does is booked whatever the limits say, and may be brought back within them in steps.
#[utoipa::path(post, operation_id = "limit_ledger_account", path = "/api/v1/ledger/accounts/{account_id}/limits", tag = "ledger", request_body = api::LedgerLimits,
    params(("account_id" = Uuid, Path, description = "The account's id")),
    responses((status = 200, description = "The account", body = api::LedgerAccount), WriteProblems))]
pub(crate) async fn limit_account(
    execution: Execution,
    (account_id, asked): (Segment, Keyed<api::LedgerLimits>),
) -> Result<Answered, Problem> {
    let account_id = account_id.id()?;
    let mut wrong = Vec::new();
    ordered(&mut wrong, asked.body.min_balance, asked.body.max_balance);
    if !wrong.is_empty() {
        return Err(invalid(wrong));
    }
    let mut effect = asked.begin(execution).await?;
    let done = limit_in(&mut effect, asked.caller.tenant_id, account_id, &asked.body).await;
    finish(effect, done).await
}

async fn limit_in(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    account_id: Uuid,
    limits: &api::LedgerLimits,
) -> Result<Done, Problem> {
    let before = known(conn, tenant_id, account_id).await?;
    register::set_limits(conn, tenant_id, account_id, limits.min_balance, limits.max_balance)
        .await
        .map_err(RepoError::from)?;
    let after = known(conn, tenant_id, account_id).await?;
    let entry = Entry::new("ledger.account.limit", "account", account_id.to_string())
        .with_change(Some(state_of(&before)), Some(state_of(&after)));
    Ok((entry, Reply::json(StatusCode::OK, &after)?))
}

async fn known(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    account_id: Uuid,
) -> Result<api::LedgerAccount, Problem> {
    let found = register::by_id(conn, tenant_id, account_id).await.map_err(RepoError::from)?;
    found.ok_or_else(|| {
        Problem::new(ProblemKind::NotFound, "the tenant has no such account")
            .with_remedy("`/api/v1/ledger/accounts` lists those that there are")
    })
}

fn state_of(account: &api::LedgerAccount) -> Value {
    json!({
        "name": account.name,
        "account_type": account.account_type,
        "class": account.class,
        "domain": account.domain,
        "currency": account.currency,
        "owner_id": account.owner_id,
        "min_balance": account.min_balance,
        "max_balance": account.max_balance,
        "is_closed": account.closed_at.is_some(),
    })
}

fn say(wrong: &mut Vec<FieldProblem>, name: &str, reason: impl Into<String>) {
    wrong.push(FieldProblem { name: name.into(), reason: reason.into() });
}

fn named(wrong: &mut Vec<FieldProblem>, field: &str, name: &str) {
    let chars = name.chars().count();
    if !(1..=NAME_MAX_CHARS).contains(&chars) {
        say(wrong, field, format!("has {chars} characters, 1 to {NAME_MAX_CHARS} may be"));
    }
}

fn visible(wrong: &mut Vec<FieldProblem>, field: &str, text: &str) {
    if !(1..=128).contains(&text.len()) || !text.bytes().all(|c| c.is_ascii_graphic()) {
        say(wrong, field, "is 1 to 128 visible ASCII characters without a space");
    }
}

fn of_chain(wrong: &mut Vec<FieldProblem>, chain_id: Option<u64>, field: &str, is_given: bool) {
    if is_given && chain_id.is_none() {
        say(wrong, "chain_id", format!("is missing: `{field}` is of a chain"));
    }
    if chain_id.is_some_and(|id| id == 0 || i64::try_from(id).is_err()) {
        say(wrong, "chain_id", "is none that a chain has");
    }
}

fn ordered(wrong: &mut Vec<FieldProblem>, min: Option<Balance>, max: Option<Balance>) {
    if min.zip(max).is_some_and(|(min, max)| min > max) {
        say(wrong, "min_balance", "is above `max_balance`");
    }
}

/// What the database does not take: something that is there already, or a currency that is not.
fn refused(error: sqlx::Error, taken: &'static str) -> Problem {
    match error.as_database_error() {
        Some(database) if database.is_unique_violation() => Problem::new(ProblemKind::Conflict, taken),
        Some(database) if database.is_foreign_key_violation() => {
            Problem::new(ProblemKind::Conflict, "the books have no such currency")
                .with_remedy("put it into them first: POST /api/v1/ledger/currencies")
        }
        _ => RepoError::from(error).into(),
    }
}
