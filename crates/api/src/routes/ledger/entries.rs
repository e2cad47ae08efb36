//! `GET /api/v1/ledger/entries` and one posting.

use alloy_primitives::B256;
use axum::Json;
use axum::extract::State;
use plimsoll_ledger::read;
use plimsoll_types::{api, parse_hash};
use time::OffsetDateTime;
use uuid::Uuid;

use super::super::paging::{Filter, Listing, Paging, PostingKey, Segment};
use crate::cursor::Fingerprint;
use crate::gateway::Caller;
use crate::openapi::{ListProblems, RecordProblems};
use crate::problem::{Problem, ProblemKind};
use crate::query::{Fields, NoParameters, Query, instant, shown, text};
use crate::repo::RepoError;
use crate::state::ApiState;

/// Which postings: those that all that is given is true of.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct EntryFilter {
    /// Those of this request.
    request_id: Option<Uuid>,
    /// Those for this user.
    user_id: Option<Uuid>,
    /// Those in these books.
    #[param(max_length = 255, pattern = "^[^\\u0000]+$", example = "cash")]
    domain: Option<String>,
    /// Those of this name.
    #[param(max_length = 255, pattern = "^[^\\u0000]+$", example = "deposit")]
    operation_type: Option<String>,
    /// Those with a line on this account.
    account_id: Option<Uuid>,
    /// Those about this transaction of a chain.
    #[param(value_type = Option<String>, pattern = "^0x[0-9a-fA-F]{64}$")]
    chain_tx_hash: Option<B256>,
    /// What happened at or after this.
    #[param(value_type = Option<String>, format = DateTime, example = "2026-01-01T00:00:00Z")]
    since: Option<OffsetDateTime>,
    /// What happened before this.
    #[param(value_type = Option<String>, format = DateTime)]
    until: Option<OffsetDateTime>,
}

/// A UUID of a query.
pub(super) fn id(text: &str) -> Result<Uuid, String> {
    Uuid::try_parse(text).map_err(|_| format!("`{}` is no UUID", shown(text)))
}

impl EntryFilter {
    pub(super) fn take(fields: &mut Fields) -> Self {
        Self {
            request_id: fields.take("request_id", id),
            user_id: fields.take("user_id", id),
            domain: fields.take("domain", text),
            operation_type: fields.take("operation_type", text),
            account_id: fields.take("account_id", id),
            chain_tx_hash: fields.take("chain_tx_hash", parse_hash),
            since: fields.take("since", instant),
            until: fields.take("until", instant),
        }
    }

    pub(super) fn of_ledger(&self) -> read::Filter {
        read::Filter {
            request_id: self.request_id,
            user_id: self.user_id,
            domain: self.domain.clone(),
            operation_type: self.operation_type.clone(),
            account_id: self.account_id,
            chain_tx_hash: self.chain_tx_hash,
            since: self.since,
            until: self.until,
        }
    }
}

impl Filter for EntryFilter {
    const KNOWN: &'static [&'static str] = &[
        "request_id",
        "user_id",
        "domain",
        "operation_type",
        "account_id",
        "chain_tx_hash",
        "since",
        "until",
        "limit",
        "cursor",
    ];

    fn read(fields: &mut Fields) -> Self {
        Self::take(fields)
    }

    fn fingerprint(&self) -> Fingerprint {
        let at = |at: Option<OffsetDateTime>| at.map(|at| at.unix_timestamp_nanos().to_string());
        Fingerprint::of(&[
            self.request_id.map(|id| id.to_string()),
            self.user_id.map(|id| id.to_string()),
            self.domain.clone(),
            self.operation_type.clone(),
            self.account_id.map(|id| id.to_string()),
            self.chain_tx_hash.map(|hash| hash.to_string()),
            at(self.since),
            at(self.until),
        ])
    }
}

/// Postings with their entries
///
/// The newest first; of an account, in the order in which they were booked on it. A posting comes with all of its lines, also where one of them alone passes the filter.
#[utoipa::path(get, operation_id = "list_ledger_entries", path = "/api/v1/ledger/entries", tag = "ledger", params(EntryFilter, Paging),
    responses((status = 200, description = "A page of postings", body = api::LedgerPostings), ListProblems))]
pub(crate) async fn entries(
    State(state): State<ApiState>,
    caller: Caller,
    Query(listing): Query<Listing<EntryFilter>>,
) -> Result<Json<api::LedgerPostings>, Problem> {
    let below = listing.after::<PostingKey>()?.map(|key| key.0);
    let filter = listing.filter.of_ledger();
    let mut tx = state.db().tenant_tx(&[caller.tenant_id]).await.map_err(RepoError::from)?;
    let found = read::page(&mut tx, caller.tenant_id, &filter, below, listing.rows()).await;
    let (items, next_cursor) =
        listing.page(found.map_err(RepoError::from)?, |found| PostingKey(found.posting_id));
    Ok(Json(api::LedgerPostings { items, next_cursor }))
}

/// Postings as vouchers
///
/// An amount that goes from one account to another, as a double-entry voucher has it. The page is of so many postings: one in several currencies has a voucher in each, and one that is divided among
/// more than two accounts in a currency has none there; `/api/v1/ledger/entries` shows it with its lines.
#[utoipa::path(get, operation_id = "list_ledger_vouchers", path = "/api/v1/ledger/vouchers", tag = "ledger", params(EntryFilter, Paging),
    responses((status = 200, description = "The vouchers of a page of postings", body = api::LedgerVouchers), ListProblems))]
pub(crate) async fn vouchers(
    State(state): State<ApiState>,
    caller: Caller,
    Query(listing): Query<Listing<EntryFilter>>,
) -> Result<Json<api::LedgerVouchers>, Problem> {
    let below = listing.after::<PostingKey>()?.map(|key| key.0);
    let filter = listing.filter.of_ledger();
    let mut tx = state.db().tenant_tx(&[caller.tenant_id]).await.map_err(RepoError::from)?;
    let found = read::newest(&mut tx, caller.tenant_id, &filter, below, listing.rows()).await;
    let (postings, next_cursor) = listing.page(found.map_err(RepoError::from)?, |id| PostingKey(*id));
    let items = read::vouchers(&mut tx, caller.tenant_id, &postings).await.map_err(RepoError::from)?;
    Ok(Json(api::LedgerVouchers { items, next_cursor }))
}

/// A posting
///
/// With its lines, what it corrects and what corrects it.
#[utoipa::path(get, operation_id = "show_posting", path = "/api/v1/ledger/postings/{posting_id}", tag = "ledger",
    params(("posting_id" = Uuid, Path, description = "The posting's id")),
    responses((status = 200, description = "The posting", body = api::LedgerPosting), RecordProblems))]
pub(crate) async fn posting(
    State(state): State<ApiState>,
    caller: Caller,
    posting_id: Segment,
    _: Query<NoParameters>,
) -> Result<Json<api::LedgerPosting>, Problem> {
    let mut tx = state.db().tenant_tx(&[caller.tenant_id]).await.map_err(RepoError::from)?;
    let found = read::by_id(&mut tx, caller.tenant_id, posting_id.id()?).await.map_err(RepoError::from)?;
    found.map(Json).ok_or_else(|| {
        Problem::new(ProblemKind::NotFound, "the tenant has no such posting")
            .with_remedy("`/api/v1/ledger/entries` lists those that there are")
    })
}
