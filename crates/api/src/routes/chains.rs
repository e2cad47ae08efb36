//! `GET /api/v1/chains`, `GET /api/v1/chains/{chain_id}`.

use axum::Json;
use axum::extract::{Path, State};
use plimsoll_types::api::{Chain, Chains};

use crate::openapi::{ChainProblems, DataProblems};
use crate::problem::{Problem, ProblemKind};
use crate::query::{NoParameters, Query, bigint};
use crate::repo::chains as repo;
use crate::state::ApiState;

/// All chains that are followed
///
/// For each: head, confirmed and final block, the node's head, the journal's end, and the watermark and lag of every fold.
#[utoipa::path(get, path = "/api/v1/chains", tag = "chains", responses((status = 200, description = "The chains, by id", body = Chains), DataProblems))]
pub(crate) async fn chains(
    State(state): State<ApiState>,
    _: Query<NoParameters>,
) -> Result<Json<Chains>, Problem> {
    let standings = repo::standings(state.app(), None, &state.options().freshness).await?;
    Ok(Json(Chains { items: standings.into_iter().map(|standing| standing.chain).collect() }))
}

/// One chain
///
/// Head, confirmed and final block, the node's head, the journal's end, and the watermark and lag of every fold.
#[utoipa::path(
    get,
    path = "/api/v1/chains/{chain_id}",
    tag = "chains",
    params(("chain_id" = u64, Path, description = "The chain's EIP-155 id", example = 31_337)),
    responses((status = 200, description = "The chain", body = Chain), ChainProblems)
)]
pub(crate) async fn chain(
    State(state): State<ApiState>,
    Path(chain_id): Path<String>,
    _: Query<NoParameters>,
) -> Result<Json<Chain>, Problem> {
    let id = bigint(&chain_id)
        .map_err(|reason| Problem::new(ProblemKind::InvalidParameter, format!("`chain_id`: {reason}")))?;
    let standings = repo::standings(state.app(), Some(id), &state.options().freshness).await?;
    match standings.into_iter().next() {
        Some(standing) => Ok(Json(standing.chain)),
        None => Err(Problem::unknown_chain(id.unsigned_abs())),
    }
}
