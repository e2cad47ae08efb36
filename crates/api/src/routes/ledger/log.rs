//! What is sealed: checkpoints, keys and proofs.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use plimsoll_ledger::proofs::{self, ProofError};
use plimsoll_types::api;

use super::super::paging::Segment;
use crate::gateway::Caller;
use crate::openapi::LogProblems;
use crate::problem::{Problem, ProblemKind};
use crate::query::{Fields, NoParameters, Parameters, Query, bigint, shown};
use crate::repo::RepoError;
use crate::state::ApiState;

/// Under which checkpoint.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ProofQuery {
    /// The size of a checkpoint's log; the latest where it is left out.
    #[param(value_type = Option<u64>, minimum = 1, maximum = 9_223_372_036_854_775_807_u64)]
    tree_size: Option<i64>,
}

impl Parameters for ProofQuery {
    const KNOWN: &'static [&'static str] = &["tree_size"];

    fn read(mut fields: Fields) -> Result<Self, Problem> {
        let query = Self { tree_size: fields.take("tree_size", bigint) };
        fields.finish()?;
        Ok(query)
    }
}

/// From which checkpoint to which.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ConsistencyQuery {
    /// The size of the earlier checkpoint's log.
    #[param(value_type = u64, minimum = 1, maximum = 9_223_372_036_854_775_807_u64)]
    from: i64,
    /// That of the later one's; the latest where it is left out.
    #[param(value_type = Option<u64>, minimum = 1, maximum = 9_223_372_036_854_775_807_u64)]
    to: Option<i64>,
}

impl Parameters for ConsistencyQuery {
    const KNOWN: &'static [&'static str] = &["from", "to"];

    fn read(mut fields: Fields) -> Result<Self, Problem> {
        let (from, to) = (fields.take("from", bigint), fields.take("to", bigint));
        fields.finish()?;
        let missing = || {
            Problem::new(ProblemKind::InvalidParameter, "`from` is missing")
                .with_remedy("give the size of the checkpoint that you kept")
        };
        Ok(Self { from: from.ok_or_else(missing)?, to })
    }
}

/// How a checkpoint is written.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct CheckpointQuery {
    /// `json`; or `note`: the signed note alone, as verifiers take it.
    #[param(value_type = Option<String>, pattern = "^(json|note)$", default = "json")]
    format: bool,
}

impl Parameters for CheckpointQuery {
    const KNOWN: &'static [&'static str] = &["format"];

    fn read(mut fields: Fields) -> Result<Self, Problem> {
        let is_note = fields.take("format", |text| match text {
            "json" => Ok(false),
            "note" => Ok(true),
            _ => Err(format!("`{}` is not `json` or `note`", shown(text))),
        });
        fields.finish()?;
        Ok(Self { format: is_note.unwrap_or(false) })
    }
}

/// The proof that a posting is sealed
///
/// Under a signed checkpoint: `docs/ledger.md` says how it is checked.
#[utoipa::path(get, operation_id = "prove_posting", path = "/api/v1/ledger/postings/{posting_id}/proof", tag = "ledger",
    params(("posting_id" = Uuid, Path, description = "The posting's id"), ProofQuery),
    responses((status = 200, description = "The proof", body = api::LedgerInclusion), LogProblems))]
pub(crate) async fn inclusion(
    State(state): State<ApiState>,
    caller: Caller,
    posting_id: Segment,
    Query(query): Query<ProofQuery>,
) -> Result<Json<api::LedgerInclusion>, Problem> {
    let size = query.tree_size.map(i64::unsigned_abs);
    let mut tx = state.db().tenant_tx(&[caller.tenant_id]).await.map_err(RepoError::from)?;
    Ok(Json(proofs::inclusion(&mut tx, caller.tenant_id, posting_id.id()?, size).await?))
}

/// The proof that nothing was rewritten between two checkpoints
///
/// That the log of the earlier is the beginning of the log of the later.
#[utoipa::path(get, operation_id = "prove_consistency", path = "/api/v1/ledger/consistency", tag = "ledger", params(ConsistencyQuery),
    responses((status = 200, description = "The proof", body = api::LedgerConsistency), LogProblems))]
pub(crate) async fn consistency(
    State(state): State<ApiState>,
    caller: Caller,
    Query(query): Query<ConsistencyQuery>,
) -> Result<Json<api::LedgerConsistency>, Problem> {
    let (from, to) = (query.from.unsigned_abs(), query.to.map(i64::unsigned_abs));
    let mut tx = state.db().tenant_tx(&[caller.tenant_id]).await.map_err(RepoError::from)?;
    Ok(Json(proofs::consistency(&mut tx, caller.tenant_id, from, to).await?))
}

/// The latest checkpoint
///
/// Keep it: the older the one that you hold, the further back nothing can be rewritten without your knowing.
#[utoipa::path(get, operation_id = "show_latest_checkpoint", path = "/api/v1/ledger/checkpoints/latest", tag = "ledger", params(CheckpointQuery),
    responses((status = 200, description = "The checkpoint", content((api::LedgerCheckpoint = "application/json"), (String = "text/plain"))), LogProblems))]
pub(crate) async fn latest_checkpoint(
    State(state): State<ApiState>,
    caller: Caller,
    Query(query): Query<CheckpointQuery>,
) -> Result<Response, Problem> {
    told(&state, &caller, None, &query).await
}

/// A checkpoint, by the size of its log
#[utoipa::path(get, operation_id = "show_checkpoint", path = "/api/v1/ledger/checkpoints/{tree_size}", tag = "ledger",
    params(("tree_size" = u64, Path, description = "How many postings the log had"), CheckpointQuery),
    responses((status = 200, description = "The checkpoint", content((api::LedgerCheckpoint = "application/json"), (String = "text/plain"))), LogProblems))]
pub(crate) async fn checkpoint(
    State(state): State<ApiState>,
    caller: Caller,
    tree_size: Segment,
    Query(query): Query<CheckpointQuery>,
) -> Result<Response, Problem> {
    let size =
        bigint(&tree_size.0).map_err(|_| Problem::new(ProblemKind::NotFound, "no log has such a size"))?;
    told(&state, &caller, Some(size.unsigned_abs()), &query).await
}

async fn told(
    state: &ApiState,
    caller: &Caller,
    tree_size: Option<u64>,
    query: &CheckpointQuery,
) -> Result<Response, Problem> {
    let mut tx = state.db().tenant_tx(&[caller.tenant_id]).await.map_err(RepoError::from)?;
    let found = proofs::checkpoint(&mut tx, caller.tenant_id, tree_size).await?;
    if !query.format {
        return Ok(Json(found).into_response());
    }
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    Ok(([(header::CONTENT_TYPE, plain)], found.note).into_response())
}

/// The keys of the tenant's log
///
/// Each that has signed its checkpoints. Have them confirmed by another way than this one: whoever could forge an answer could forge the key in it.
#[utoipa::path(get, operation_id = "list_ledger_keys", path = "/api/v1/ledger/keys", tag = "ledger",
    responses((status = 200, description = "The keys", body = api::LedgerKeys), LogProblems))]
pub(crate) async fn keys(
    State(state): State<ApiState>,
    caller: Caller,
    _: Query<NoParameters>,
) -> Result<Json<api::LedgerKeys>, Problem> {
    let mut tx = state.db().tenant_tx(&[caller.tenant_id]).await.map_err(RepoError::from)?;
    let items = proofs::keys(&mut tx, caller.tenant_id).await.map_err(RepoError::from)?;
    Ok(Json(api::LedgerKeys { items }))
}

impl From<ProofError> for Problem {
    fn from(error: ProofError) -> Self {
        let kind = match error {
            ProofError::Database(error) => return RepoError::from(error).into(),
            ProofError::UnknownPosting { .. } | ProofError::NoCheckpoint { .. } => ProblemKind::NotFound,
            ProofError::NotCovered | ProofError::Range(_) => ProblemKind::Conflict,
            ProofError::Broken(_) => {
                tracing::error!(%error, "a proof could not be made");
                ProblemKind::Internal
            }
        };
        Self::new(kind, error.to_string())
            .with_remedy("`/api/v1/ledger/checkpoints/latest` is the latest checkpoint; a posting is sealed about a second after it was booked")
    }
}
