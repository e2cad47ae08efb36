//! Trial balance, balance sheets and statements, each of one moment of the database.

use axum::Json;
use axum::extract::State;
use plimsoll_ledger::Direction;
use plimsoll_ledger::report::{self, After, Moment, Scope};
use plimsoll_ledger::statement::{self, By, StatementError, StatementLine, Window};
use plimsoll_types::{Amount, api};
use time::OffsetDateTime;
use uuid::Uuid;

use super::super::paging::{Filter, Listing, Paging, Segment};
use crate::cursor::{Fingerprint, Key, Page, encode};
use crate::gateway::Caller;
use crate::openapi::{DataProblems, ListProblems, StatementProblems};
use crate::problem::{Problem, ProblemKind};
use crate::query::{Fields, Parameters, Query, instant, shown, text};
use crate::repo::RepoError;
use crate::state::ApiState;

/// Which accounts, and which moment: what had happened, counts in periods, and was on record by then, as far as it is given.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ReportFilter {
    /// Those of these books.
    #[param(max_length = 255, pattern = "^[^\\u0000]+$", example = "cash")]
    domain: Option<String>,
    /// Those kept in this.
    #[param(max_length = 255, pattern = "^[^\\u0000]+$", example = "USDC")]
    currency: Option<String>,
    /// What had happened by this time.
    #[param(value_type = Option<String>, format = DateTime, example = "2026-01-31T23:59:59Z")]
    effective_at: Option<OffsetDateTime>,
    /// What counts in the periods up to this time: once these are closed, it does not change any more.
    #[param(value_type = Option<String>, format = DateTime)]
    booked_at: Option<OffsetDateTime>,
    /// What was on record by this time.
    #[param(value_type = Option<String>, format = DateTime)]
    recorded_at: Option<OffsetDateTime>,
}

/// Before anything that is booked.
const BEGINNING: OffsetDateTime = time::macros::datetime!(0001-01-01 0:00 UTC);

fn at(at: Option<OffsetDateTime>) -> Option<String> {
    at.map(|at| at.unix_timestamp_nanos().to_string())
}

impl ReportFilter {
    fn take(fields: &mut Fields) -> Self {
        Self {
            domain: fields.take("domain", text),
            currency: fields.take("currency", text),
            effective_at: fields.take("effective_at", instant),
            booked_at: fields.take("booked_at", instant),
            recorded_at: fields.take("recorded_at", instant),
        }
    }

    fn scope(&self, tenant_id: Uuid) -> Scope {
        Scope { tenant_id, domain: self.domain.clone(), currency: self.currency.clone() }
    }

    fn moment(&self) -> Moment {
        Moment { effective_at: self.effective_at, booked_at: self.booked_at, recorded_at: self.recorded_at }
    }
}

impl Filter for ReportFilter {
    const KNOWN: &'static [&'static str] =
        &["domain", "currency", "effective_at", "booked_at", "recorded_at", "limit", "cursor"];

    fn read(fields: &mut Fields) -> Self {
        Self::take(fields)
    }

    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&[
            self.domain.clone(),
            self.currency.clone(),
            at(self.effective_at),
            at(self.booked_at),
            at(self.recorded_at),
        ])
    }
}

impl Parameters for ReportFilter {
    const KNOWN: &'static [&'static str] =
        &["domain", "currency", "effective_at", "booked_at", "recorded_at"];

    fn read(mut fields: Fields) -> Result<Self, Problem> {
        let filter = Self::take(&mut fields);
        fields.finish()?;
        Ok(filter)
    }
}

/// An account's place in a trial balance. None of its texts has a NUL.
struct TrialKey(After);

impl Key for TrialKey {
    const PAGE: Page = Page::TrialBalance;

    fn write(&self, out: &mut Vec<u8>) {
        let After { domain, name, currency } = &self.0;
        out.extend_from_slice([domain.as_str(), name, currency].join("\0").as_bytes());
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let mut parts = text.split('\0').map(str::to_owned);
        let (domain, name, currency) = (parts.next()?, parts.next()?, parts.next()?);
        parts.next().is_none().then_some(Self(After { domain, name, currency }))
    }
}

/// What all accounts held
///
/// By domain, name and currency.
#[utoipa::path(get, operation_id = "show_trial_balance", path = "/api/v1/ledger/trial-balance", tag = "ledger", params(ReportFilter, Paging),
    responses((status = 200, description = "A page of the trial balance", body = api::TrialBalance), ListProblems))]
pub(crate) async fn trial_balance(
    State(state): State<ApiState>,
    caller: Caller,
    Query(listing): Query<Listing<ReportFilter>>,
) -> Result<Json<api::TrialBalance>, Problem> {
    let after = listing.after::<TrialKey>()?.map(|key| key.0);
    let limit = u16::try_from(listing.rows()).unwrap_or(u16::MAX);
    let (scope, moment) = (listing.filter.scope(caller.tenant_id), listing.filter.moment());
    let mut tx = state.db().tenant_snapshot(&[caller.tenant_id]).await.map_err(RepoError::from)?;
    let found = report::trial_balance(&mut tx, &scope, moment, after.as_ref(), limit).await;
    let (found, next_cursor) = listing.page(found.map_err(RepoError::from)?, |found| {
        TrialKey(After {
            domain: found.domain.clone(),
            name: found.name.clone(),
            currency: found.currency.clone(),
        })
    });
    let items = found.into_iter().map(|found| api::TrialBalanceAccount {
        account_id: found.account_id,
        name: found.name,
        account_type: found.account_type,
        class: found.class,
        domain: found.domain,
        currency: found.currency,
        raw_balance: found.balance,
    });
    Ok(Json(api::TrialBalance { items: items.collect(), next_cursor }))
}

/// The balance sheets
///
/// One for each domain and currency. Assets are liabilities, equity and the result together: the difference is 0.
#[utoipa::path(get, operation_id = "show_balance_sheets", path = "/api/v1/ledger/balance-sheet", tag = "ledger", params(ReportFilter),
    responses((status = 200, description = "The balance sheets", body = api::LedgerBalanceSheets), DataProblems))]
pub(crate) async fn balance_sheet(
    State(state): State<ApiState>,
    caller: Caller,
    Query(filter): Query<ReportFilter>,
) -> Result<Json<api::LedgerBalanceSheets>, Problem> {
    let mut tx = state.db().tenant_snapshot(&[caller.tenant_id]).await.map_err(RepoError::from)?;
    let totals = report::totals(&mut tx, &filter.scope(caller.tenant_id), filter.moment()).await;
    let sheets = report::balance_sheets(&totals.map_err(RepoError::from)?);
    let items = sheets.into_iter().map(|sheet| api::LedgerBalanceSheet {
        difference: sheet.difference().to_string(),
        domain: sheet.domain,
        currency: sheet.currency,
        assets: sheet.assets.to_string(),
        liabilities: sheet.liabilities.to_string(),
        equity: sheet.equity.to_string(),
        result: sheet.result.to_string(),
    });
    Ok(Json(api::LedgerBalanceSheets { items: items.collect() }))
}

/// From when to when.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct StatementFilter {
    /// What lies at it or before is in the opening balance; from the beginning where it is left out.
    #[param(value_type = Option<String>, format = DateTime, example = "2025-12-31T23:59:59.999999Z")]
    after: Option<OffsetDateTime>,
    /// What lies at it is the last that counts; up to now where it is left out.
    #[param(value_type = Option<String>, format = DateTime, example = "2026-01-31T23:59:59.999999Z")]
    through: Option<OffsetDateTime>,
    /// By which times: `effective` (when it happened), `booked` (in which period it counts) or `recorded` (when it was written).
    #[param(value_type = Option<String>, pattern = "^(effective|booked|recorded)$", default = "effective")]
    by: By,
}

impl Filter for StatementFilter {
    const KNOWN: &'static [&'static str] = &["after", "through", "by", "limit", "cursor"];

    fn read(fields: &mut Fields) -> Self {
        let by = |text: &str| match text {
            "effective" => Ok(By::Effective),
            "booked" => Ok(By::Booked),
            "recorded" => Ok(By::Recorded),
            _ => Err(format!("`{}` is not `effective`, `booked` or `recorded`", shown(text))),
        };
        Self {
            after: fields.take("after", instant),
            through: fields.take("through", instant),
            by: fields.take("by", by).unwrap_or(By::Effective),
        }
    }

    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&[at(self.after), at(self.through), Some(format!("{:?}", self.by))])
    }
}

/// A line's place in its account's history.
struct StatementKey(i64);

impl Key for StatementKey {
    const PAGE: Page = Page::LedgerStatement;

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0.to_be_bytes());
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        Some(Self(i64::from_be_bytes(bytes.try_into().ok()?)))
    }
}

/// An account's statement
///
/// What it held before, each line with what it held then, and what it held in the end. Give `through` where there are several pages: they agree then, whatever is booked meanwhile with a later time.
#[utoipa::path(get, operation_id = "show_ledger_statement", path = "/api/v1/ledger/accounts/{account_id}/statement", tag = "ledger",
    params(("account_id" = Uuid, Path, description = "The account's id"), StatementFilter, Paging),
    responses((status = 200, description = "A page of the statement", body = api::LedgerStatement), StatementProblems))]
pub(crate) async fn statement(
    State(state): State<ApiState>,
    caller: Caller,
    account_id: Segment,
    Query(listing): Query<Listing<StatementFilter>>,
) -> Result<Json<api::LedgerStatement>, Problem> {
    let account_id = account_id.id()?;
    let cursor = listing.after::<StatementKey>()?.map(|key| key.0);
    let limit = u16::try_from(listing.rows() - 1).unwrap_or(u16::MAX);
    let StatementFilter { after, through, by } = &listing.filter;
    let window = Window {
        by: *by,
        after: after.unwrap_or(BEGINNING),
        through: through.unwrap_or_else(OffsetDateTime::now_utc),
    };
    let mut tx = state.db().tenant_snapshot(&[caller.tenant_id]).await.map_err(RepoError::from)?;
    let found = statement::statement(&mut tx, caller.tenant_id, account_id, window, cursor, limit).await?;
    let found = found.ok_or_else(|| Problem::new(ProblemKind::NotFound, "the tenant has no such account"))?;
    let next_cursor = found.next.map(|next| encode(listing.filter.fingerprint(), &StatementKey(next)));
    Ok(Json(api::LedgerStatement {
        account_id,
        name: found.name,
        currency: found.currency,
        opening: found.opening,
        brought_forward: found.brought_forward,
        closing: found.closing,
        items: found.lines.into_iter().map(line).collect(),
        next_cursor,
    }))
}

fn line(line: StatementLine) -> api::LedgerStatementLine {
    let (debit, credit) = match line.direction {
        Direction::Debit => (line.amount, Amount::ZERO),
        Direction::Credit => (Amount::ZERO, line.amount),
    };
    api::LedgerStatementLine {
        posting_id: line.posting_id,
        sequence: line.sequence.unsigned_abs(),
        operation_type: line.operation_type,
        request_id: line.request_id,
        entry_type: line.entry_type,
        debit,
        credit,
        raw_balance: line.balance,
        effective_at: line.effective_at,
        booked_at: line.booked_at,
        recorded_at: line.recorded_at,
    }
}

impl From<StatementError> for Problem {
    fn from(error: StatementError) -> Self {
        match error {
            StatementError::Database(error) => RepoError::from(error).into(),
            window @ StatementError::Window { .. } => {
                Self::new(ProblemKind::InvalidParameter, window.to_string())
            }
        }
    }
}
