//! What accounts hold, or held.

use axum::Json;
use axum::extract::State;
use plimsoll_ledger::{AsOf, register};
use plimsoll_types::api;
use time::OffsetDateTime;

use super::super::paging::{AccountKey, Filter, Listing, Paging};
use super::accounts::AccountFilter;
use crate::cursor::Fingerprint;
use crate::gateway::Caller;
use crate::openapi::ListProblems;
use crate::problem::Problem;
use crate::query::{Fields, Query, bigint, instant};
use crate::repo::RepoError;
use crate::state::ApiState;

/// Which moment: what had happened, was on record, and was of a block by then, as far as it is given.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Moment {
    /// What had happened by this time.
    #[param(value_type = Option<String>, format = DateTime, example = "2026-01-31T23:59:59Z")]
    effective_at: Option<OffsetDateTime>,
    /// What was on record by this time.
    #[param(value_type = Option<String>, format = DateTime)]
    recorded_at: Option<OffsetDateTime>,
    /// What was of this block or an earlier one; what is of no block counts from the highest before it on its account.
    #[param(minimum = 0, maximum = 9_223_372_036_854_775_807_u64)]
    block_number: Option<i64>,
}

/// Accounts, and a moment.
#[derive(Debug)]
pub(crate) struct BalanceFilter {
    accounts: AccountFilter,
    moment: Moment,
}

impl Filter for BalanceFilter {
    const KNOWN: &'static [&'static str] = &[
        "account_id",
        "domain",
        "currency",
        "account_type",
        "owner_id",
        "open",
        "effective_at",
        "recorded_at",
        "block_number",
        "limit",
        "cursor",
    ];

    fn read(fields: &mut Fields) -> Self {
        Self {
            accounts: AccountFilter::take(fields),
            moment: Moment {
                effective_at: fields.take("effective_at", instant),
                recorded_at: fields.take("recorded_at", instant),
                block_number: fields.take("block_number", bigint),
            },
        }
    }

    fn fingerprint(&self) -> Fingerprint {
        let at = |at: Option<OffsetDateTime>| at.map(|at| at.unix_timestamp_nanos().to_string());
        let Moment { effective_at, recorded_at, block_number } = &self.moment;
        let moment = [at(*effective_at), at(*recorded_at), block_number.map(|number| number.to_string())];
        Fingerprint::of(&[&self.accounts.texts()[..], &moment[..]].concat())
    }
}

/// What accounts hold, or held
///
/// Now; or at a moment: by when it happened, by when it was on record, by block, or by all that is given of these.
#[utoipa::path(get, operation_id = "list_ledger_balances", path = "/api/v1/ledger/balances", tag = "ledger", params(AccountFilter, Moment, Paging),
    responses((status = 200, description = "A page of balances", body = api::LedgerBalances), ListProblems))]
pub(crate) async fn balances(
    State(state): State<ApiState>,
    caller: Caller,
    Query(listing): Query<Listing<BalanceFilter>>,
) -> Result<Json<api::LedgerBalances>, Problem> {
    let after = listing.after::<AccountKey>()?.map(|key| key.0);
    let BalanceFilter { accounts, moment } = &listing.filter;
    let as_of = AsOf {
        effective_at: moment.effective_at,
        recorded_at: moment.recorded_at,
        block_number: moment.block_number.map(i64::unsigned_abs),
    };
    let filter = accounts.of_ledger();
    let mut tx = state.db().tenant_tx(&[caller.tenant_id]).await.map_err(RepoError::from)?;
    let found = register::balances(&mut tx, caller.tenant_id, &filter, as_of, after, listing.rows()).await;
    let (items, next_cursor) =
        listing.page(found.map_err(RepoError::from)?, |found| AccountKey(found.account_id));
    Ok(Json(api::LedgerBalances { items, next_cursor }))
}
