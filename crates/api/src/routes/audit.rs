//! The audit log of the caller's tenant: `GET /admin/audit/{request_id}`, `GET /api/v1/audit`, `GET /api/v1/audit/export`.

use std::io;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use futures::stream::unfold;
use plimsoll_bus::audit::{self, Filter, Recorded};
use plimsoll_bus::context;
use plimsoll_identity::Permission::AuditRead;
use plimsoll_types::api::{AuditEntry, AuditOfRequest, AuditPage};
use time::OffsetDateTime;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::events::{Direction, direction};
use super::streams::Slot;
use crate::cursor::{AuditKey, Fingerprint, decode, encode};
use crate::gateway::Access::Needs;
use crate::gateway::{Caller, Declaration, Listener, Presented, Routes, request_uuid};
use crate::limits::{AUDIT_PAGE_DEFAULT, AUDIT_PAGE_MAX, REQUEST_ID_MAX_BYTES};
use crate::openapi::{DataProblems, ListProblems};
use crate::problem::{Problem, ProblemKind};
use crate::query::{Fields, NoParameters, Parameters, Query, bigint, instant, shown, text, whole_number};
use crate::repo::RepoError;
use crate::state::ApiState;

/// Entries that an export reads at a time: each may have a state of 256 KiB before and after.
const EXPORT_PAGE_ROWS: i64 = 100;
/// Pages of an export on their way to a client.
const EXPORT_PAGES: usize = 1;

pub(super) fn routes() -> Routes<ApiState> {
    let read = |path| Declaration::read(path, Needs(AuditRead));
    Routes::default()
        .read(read("/admin/audit/{request_id}"), by_request)
        .read(read("/api/v1/audit"), page)
        .read(read("/api/v1/audit/export").costly().stream(), export)
}

/// Which entries are asked for.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct AuditFilter {
    /// Who did it.
    #[param(value_type = Option<String>, max_length = 255, pattern = "^[^\\u0000]+$", example = "user:0b9c1d1e-6f4a-4d0e-9b1a-2f3c4d5e6f70")]
    actor: Option<String>,
    /// What was done: an action, or with a full stop at its end all whose names begin so.
    #[param(value_type = Option<String>, max_length = 255, pattern = "^[^\\u0000]+$", example = "identity.user.")]
    action: Option<String>,
    /// The kind of thing that it was done to.
    #[param(max_length = 255, pattern = "^[^\\u0000]+$")]
    target_type: Option<String>,
    /// Which of them.
    #[param(max_length = 255, pattern = "^[^\\u0000]+$")]
    target_id: Option<String>,
    /// For which of the tenant's users.
    user_id: Option<Uuid>,
    /// Recorded at or after this, by the writers' clocks.
    #[param(value_type = Option<String>, format = DateTime, example = "2026-01-01T00:00:00Z")]
    since: Option<OffsetDateTime>,
    /// Recorded before this.
    #[param(value_type = Option<String>, format = DateTime)]
    until: Option<OffsetDateTime>,
    /// The first number.
    #[param(value_type = Option<u64>)]
    from: Option<i64>,
    /// The last number.
    #[param(value_type = Option<u64>)]
    to: Option<i64>,
}

impl AuditFilter {
    fn take(fields: &mut Fields) -> Self {
        Self {
            actor: fields.take("actor", text),
            action: fields.take("action", text),
            target_type: fields.take("target_type", text),
            target_id: fields.take("target_id", text),
            user_id: fields
                .take("user_id", |text| text.parse().map_err(|_| format!("`{}` is not a UUID", shown(text)))),
            since: fields.take("since", instant),
            until: fields.take("until", instant),
            from: fields.take("from", bigint),
            to: fields.take("to", bigint),
        }
    }

    fn of_tenant(self, tenant_id: Uuid) -> Filter {
        Filter {
            tenant_id: Some(tenant_id),
            user_id: self.user_id,
            actor: self.actor,
            action: self.action,
            target_type: self.target_type,
            target_id: self.target_id,
            from: self.from,
            to: self.to,
            since: self.since,
            until: self.until,
        }
    }
}

impl Parameters for AuditFilter {
    const KNOWN: &'static [&'static str] =
        &["actor", "action", "target_type", "target_id", "user_id", "since", "until", "from", "to"];

    fn read(mut fields: Fields) -> Result<Self, Problem> {
        let filter = Self::take(&mut fields);
        fields.finish()?;
        Ok(filter)
    }
}

/// How a page of the audit is asked for.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct AuditPageQuery {
    #[param(ignore)]
    filter: AuditFilter,
    /// `desc`, as when it is not given: newest first; `asc`: oldest first.
    #[param(value_type = Option<Direction>, inline)]
    order: Direction,
    /// Entries on a page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 500, default = 50)]
    limit: u32,
    /// The `next_cursor` of the page before, under the same filters and order.
    #[param(value_type = Option<String>)]
    cursor: Option<String>,
}

impl Parameters for AuditPageQuery {
    const KNOWN: &'static [&'static str] = &[
        "actor",
        "action",
        "target_type",
        "target_id",
        "user_id",
        "since",
        "until",
        "from",
        "to",
        "order",
        "limit",
        "cursor",
    ];

    fn read(mut fields: Fields) -> Result<Self, Problem> {
        let limit = |text: &str| {
            whole_number(text, 1, AUDIT_PAGE_MAX.into())
                .map(|limit| u32::try_from(limit).unwrap_or(AUDIT_PAGE_MAX))
        };
        let query = Self {
            filter: AuditFilter::take(&mut fields),
            order: fields.take("order", direction).unwrap_or(Direction::Desc),
            limit: fields.take("limit", limit).unwrap_or(AUDIT_PAGE_DEFAULT),
            cursor: fields.take("cursor", |text| Ok::<_, String>(text.to_owned())),
        };
        fields.finish()?;
        Ok(query)
    }
}

impl AuditPageQuery {
    fn fingerprint(&self) -> Fingerprint {
        let filter = &self.filter;
        let number = |number: Option<i64>| number.map(|number| number.to_string());
        let at = |at: Option<OffsetDateTime>| at.map(|at| at.unix_timestamp_nanos().to_string());
        Fingerprint::of(&[
            filter.actor.clone(),
            filter.action.clone(),
            filter.target_type.clone(),
            filter.target_id.clone(),
            filter.user_id.map(|id| id.to_string()),
            at(filter.since),
            at(filter.until),
            number(filter.from),
            number(filter.to),
            Some(format!("{:?}", self.order)),
        ])
    }
}

/// What a request did
///
/// Every entry that the request put on record in your tenant (spec 4 §4), with the state before and after. An entry that waits for its number has none yet, and no hash. Give the request's
/// `X-Request-Id`, whether it is a UUID or not.
#[utoipa::path(
    get,
    path = "/admin/audit/{request_id}",
    tag = "audit",
    params(("request_id" = String, Path, description = "The request's id", max_length = 128, example = "5f0c7f0e-6a54-4d0b-9f2c-6f7a1d2b3c4d")),
    responses((status = 200, description = "Its entries", body = AuditOfRequest), DataProblems)
)]
pub(crate) async fn by_request(
    State(state): State<ApiState>,
    caller: Caller,
    Path(request_id): Path<String>,
    _: Query<NoParameters>,
) -> Result<Json<AuditOfRequest>, Problem> {
    let nothing = || {
        Problem::new(ProblemKind::NotFound, "nothing of this request is on record here")
            .with_remedy("give the `X-Request-Id` of a request that changed something")
    };
    if request_id.len() > REQUEST_ID_MAX_BYTES {
        return Err(nothing());
    }
    let request_id = request_uuid(&request_id);
    let entries = of_request(&state, caller.tenant_id, request_id).await?;
    if entries.is_empty() {
        return Err(nothing());
    }
    Ok(Json(AuditOfRequest { request_id, items: entries.into_iter().map(entry).collect() }))
}

async fn of_request(state: &ApiState, tenant_id: Uuid, request_id: Uuid) -> Result<Vec<Recorded>, RepoError> {
    let mut tx = state.db().tenant_tx(&[tenant_id]).await?;
    let entries = audit::by_request(&mut tx, Some(tenant_id), request_id).await?;
    tx.commit().await?;
    Ok(entries)
}

/// The audit log
///
/// Your tenant's entries, newest first, or oldest first with `order=asc`. Numbers are of the log of all tenants, so yours have gaps. Go on until `next_cursor` is null: a page looks at no
/// more than 50,000 numbers, and may be short, or empty, before the last one. What waits for its number is on no page yet, and is found by its request.
#[utoipa::path(
    get,
    path = "/api/v1/audit",
    tag = "audit",
    params(AuditFilter, AuditPageQuery),
    responses((status = 200, description = "A page of entries", body = AuditPage), ListProblems)
)]
pub(crate) async fn page(
    State(state): State<ApiState>,
    caller: Caller,
    Query(query): Query<AuditPageQuery>,
) -> Result<Json<AuditPage>, Problem> {
    let filters = query.fingerprint();
    let AuditPageQuery { filter, order, limit, cursor } = query;
    let cursor = cursor.map(|cursor| decode::<AuditKey>(filters, &cursor)).transpose()?;
    let at = cursor.map(|AuditKey(sequence)| sequence);
    let found = read(&state, &filter.of_tenant(caller.tenant_id), order, at, limit.into()).await?;
    let next_cursor = found.next.map(|next| encode(filters, &AuditKey(next)));
    Ok(Json(AuditPage { items: found.entries.into_iter().map(entry).collect(), next_cursor }))
}

async fn read(
    state: &ApiState,
    filter: &Filter,
    order: Direction,
    at: Option<i64>,
    limit: i64,
) -> Result<audit::Page, RepoError> {
    let tenants = filter.tenant_id.as_slice();
    let mut tx = state.db().tenant_tx(tenants).await?;
    let page = match order {
        Direction::Desc => audit::page_back(&mut tx, filter, at, limit).await?,
        Direction::Asc => audit::page(&mut tx, filter, at.unwrap_or(0), limit).await?,
    };
    tx.commit().await?;
    Ok(page)
}

/// The audit log as a file
///
/// Your tenant's entries that pass the filter, oldest first, one JSON object a line, up to where the log stood when you asked. Each line has its number, its digest, its hash and the hash
/// before it, so that somebody who trusts nobody here can verify it; `docs/audit.md` says how. An answer that breaks off is not whole, and your client
/// says so; go on with `from`.
#[utoipa::path(
    get,
    path = "/api/v1/audit/export",
    tag = "audit",
    params(AuditFilter),
    responses((status = 200, description = "Entries, one a line", content_type = "application/jsonl", body = AuditEntry), DataProblems)
)]
pub(crate) async fn export(
    State(state): State<ApiState>,
    caller: Caller,
    presented: Presented,
    Query(filter): Query<AuditFilter>,
) -> Result<Response, Problem> {
    let slot = state.streams().enter(Some(caller.tenant_id))?;
    let listener = presented.admit(&state, AuditRead).await?;
    let mut filter = filter.of_tenant(caller.tenant_id);
    let newest = read(&state, &filter, Direction::Desc, None, 1).await?;
    // The end stays where it is: an export ends, also while entries are added. A page that found none has looked below its `next`.
    let last = newest.entries.first().and_then(|entry| entry.sequence).or(newest.next).unwrap_or(0);
    filter.to = Some(last);
    let (sender, receiver) = mpsc::channel(EXPORT_PAGES);
    context::spawn(write(state, listener, slot, filter, sender));
    let pages = unfold(receiver, async |mut receiver: mpsc::Receiver<io::Result<Bytes>>| {
        receiver.recv().await.map(|page| (page, receiver))
    });
    let mut response = Response::new(Body::from_stream(pages));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/jsonl"));
    headers.insert(
        header::CONTENT_DISPOSITION,
        HeaderValue::from_static("attachment; filename=\"audit.jsonl\""),
    );
    Ok(response)
}

/// Page by page, in transactions of their own: numbered entries do not change. What goes wrong breaks the answer off, so that nobody takes a part for the whole.
async fn write(
    state: ApiState,
    listener: Listener,
    _slot: Slot,
    filter: Filter,
    sender: mpsc::Sender<io::Result<Bytes>>,
) {
    let mut next = Some(0);
    // Ends: each page goes on beyond the one before, up to the end that was read.
    while let Some(after) = next {
        let page = match lines(&state, &listener, &filter, after).await {
            Ok((lines, beyond)) => {
                next = beyond;
                Ok(lines)
            }
            Err(problem) => {
                tracing::warn!(after, detail = problem.detail, "an export of the audit log is broken off");
                next = None;
                Err(io::Error::other(problem.detail))
            }
        };
        if page.as_ref().is_ok_and(Bytes::is_empty) {
            continue;
        }
        if sender.send(page).await.is_err() {
            tracing::debug!(after, "the client of an export left, or took nothing for too long");
            return;
        }
    }
}

async fn lines(
    state: &ApiState,
    listener: &Listener,
    filter: &Filter,
    after: i64,
) -> Result<(Bytes, Option<i64>), Problem> {
    listener.check(state).await?;
    let page = read(state, filter, Direction::Asc, Some(after), EXPORT_PAGE_ROWS).await?;
    let mut lines = Vec::new();
    for recorded in page.entries {
        serde_json::to_writer(&mut lines, &entry(recorded))?;
        lines.push(b'\n');
    }
    Ok((lines.into(), page.next))
}

fn entry(recorded: Recorded) -> AuditEntry {
    AuditEntry {
        sequence: recorded.sequence,
        recorded_at: recorded.recorded_at,
        tenant_id: recorded.tenant_id,
        request_id: recorded.request_id,
        user_id: recorded.user_id,
        actor: recorded.actor,
        action: recorded.action,
        target_type: recorded.target_type,
        target_id: recorded.target_id,
        before: recorded.before,
        after: recorded.after,
        tx_id: recorded.tx_id,
        reason: recorded.reason,
        correlation_id: recorded.correlation_id,
        digest: recorded.digest,
        prev_hash: recorded.prev_hash,
        hash: recorded.hash,
    }
}
