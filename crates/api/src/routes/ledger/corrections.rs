//! Reversals, and closing periods.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use plimsoll_bus::audit::Entry;
use plimsoll_ledger::period::{self, CloseError, Closing};
use plimsoll_ledger::{Origin, reversal};
use plimsoll_types::{Context, api};
use serde_json::json;
use sqlx::PgConnection;
use time::OffsetDateTime;

use super::super::paging::{All, Listing, Paging, Segment};
use super::super::transactions::{bounded, invalid, taken};
use super::post::hand_in;
use crate::cursor::{Key, Page};
use crate::gateway::{Caller, Done, Keyed, finish};
use crate::idempotency::{Answered, Execution, Reply};
use crate::openapi::{ListProblems, PostingProblems, WriteProblems};
use crate::problem::{Problem, ProblemKind};
use crate::query::{Query, instant};
use crate::repo::RepoError;
use crate::state::ApiState;

/// The end of a period.
struct ClosingKey(OffsetDateTime);

impl Key for ClosingKey {
    const PAGE: Page = Page::LedgerClosings;

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0.unix_timestamp_nanos().to_be_bytes());
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let nanos = i128::from_be_bytes(bytes.try_into().ok()?);
        OffsetDateTime::from_unix_timestamp_nanos(nanos).ok().map(Self)
    }
}

/// Take a posting back
///
/// All of it, by another posting with its sides exchanged, once. What was taken back stays as it was.
#[utoipa::path(post, operation_id = "reverse_posting", path = "/api/v1/ledger/postings/{posting_id}/reverse", tag = "ledger", request_body = api::LedgerReversal,
    params(("posting_id" = Uuid, Path, description = "The posting's id")),
    responses((status = 201, description = "The reversal is on record", body = api::PostedLedgerPosting), PostingProblems))]
pub(crate) async fn reverse(
    execution: Execution,
    (State(state), posting_id, asked): (State<ApiState>, Segment, Keyed<api::LedgerReversal>),
) -> Result<Answered, Problem> {
    let posting_id = posting_id.id()?;
    bounded(&asked.body.reason)?;
    let context = Context { request_id: asked.body.request_id, ..execution.caller().clone() };
    let mut tx = state.db().tenant_tx(&[asked.caller.tenant_id]).await.map_err(RepoError::from)?;
    let made = reversal(&mut tx, posting_id, &asked.body.reason, context.clone(), Origin::Request).await?;
    drop(tx);
    hand_in(&state, execution, context, made, "ledger.reverse", Some(asked.body.reason)).await
}

/// The periods that were closed
#[utoipa::path(get, operation_id = "list_ledger_closings", path = "/api/v1/ledger/closings", tag = "ledger", params(Paging),
    responses((status = 200, description = "A page of closings", body = api::LedgerClosings), ListProblems))]
pub(crate) async fn closings(
    State(state): State<ApiState>,
    caller: Caller,
    Query(listing): Query<Listing<All>>,
) -> Result<Json<api::LedgerClosings>, Problem> {
    let before = listing.after::<ClosingKey>()?.map(|key| key.0);
    let limit = u16::try_from(listing.rows()).unwrap_or(u16::MAX);
    let mut tx = state.db().tenant_tx(&[caller.tenant_id]).await.map_err(RepoError::from)?;
    let found = period::closings(&mut tx, caller.tenant_id, before, limit).await.map_err(RepoError::from)?;
    let (found, next_cursor) = listing.page(found, |found| ClosingKey(found.closed_through));
    Ok(Json(api::LedgerClosings { items: found.into_iter().map(model).collect(), next_cursor }))
}

/// Close the books through a time
///
/// For ever: nothing is booked at or before it any more. What happened then and comes late counts in the open period, with its own time.
#[utoipa::path(post, operation_id = "close_ledger_period", path = "/api/v1/ledger/closings", tag = "ledger", request_body = api::LedgerClosingOrder,
    responses((status = 201, description = "The closing", body = api::LedgerClosing), WriteProblems))]
pub(crate) async fn close_period(
    execution: Execution,
    asked: Keyed<api::LedgerClosingOrder>,
) -> Result<Answered, Problem> {
    let mut wrong = Vec::new();
    let through = taken(&mut wrong, "through", Some(&asked.body.through), instant);
    let Some(through) = through else { return Err(invalid(wrong)) };
    bounded(&asked.body.reason)?;
    let context = Context { request_id: asked.body.request_id, ..execution.caller().clone() };
    let mut effect = asked.begin(execution).await?;
    let done = close_in(&mut effect, through, &asked.body.reason, &context).await;
    finish(effect, done).await
}

async fn close_in(
    conn: &mut PgConnection,
    through: OffsetDateTime,
    reason: &str,
    context: &Context,
) -> Result<Done, Problem> {
    let closing = period::close_in(conn, through, reason, context).await?;
    let made = model(closing);
    let after = json!({ "closed_through": made.closed_through.to_string(), "log_size": made.log_size });
    let entry = Entry::new("ledger.period.close", "books", context.tenant_id.unwrap_or_default().to_string())
        .with_change(None, Some(after))
        .with_reason(reason);
    Ok((entry, Reply::json(StatusCode::CREATED, &made)?))
}

fn model(closing: Closing) -> api::LedgerClosing {
    api::LedgerClosing {
        closed_through: closing.closed_through,
        log_size: closing.log_size,
        reason: closing.reason,
        request_id: closing.request_id,
        created_by: closing.created_by,
        created_at: closing.created_at,
    }
}

impl From<CloseError> for Problem {
    fn from(error: CloseError) -> Self {
        let kind = match error {
            CloseError::Database(error) => return RepoError::from(error).into(),
            CloseError::NoTenant | CloseError::Reason { .. } => ProblemKind::InvalidBody,
            CloseError::NoBooks { .. }
            | CloseError::Future { .. }
            | CloseError::Closed { .. }
            | CloseError::Conflict { .. } => ProblemKind::Conflict,
        };
        Self::new(kind, error.to_string())
    }
}
