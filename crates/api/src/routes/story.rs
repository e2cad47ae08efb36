//! `GET /api/v1/events/chain/{correlation_id}`.

use axum::Json;
use axum::extract::{Path, State};
use plimsoll_bus::{Causality, Edge, Sight, StoredEvent, causality};
use plimsoll_identity::Permission::EventsRead;
use plimsoll_types::api::{CausalityEdge, CausalityGraph, SequenceNumber};

use crate::gateway::Access::Needs;
use crate::gateway::{Caller, Declaration, Routes};
use crate::openapi::DataProblems;
use crate::problem::{Problem, ProblemKind};
use crate::query::{NoParameters, Query};
use crate::repo::RepoError;
use crate::state::ApiState;

/// The longest id of a story that is looked for.
const CORRELATION_ID_MAX_BYTES: usize = 255;

pub(super) fn routes() -> Routes<ApiState> {
    let declaration = Declaration::read("/api/v1/events/chain/{correlation_id}", Needs(EventsRead)).costly();
    Routes::default().read(declaration, story)
}

/// A story as a graph
///
/// Every event of one story (spec 4 §1) that is your tenant's, as CloudEvents 1.0, and which of them caused which. A request opens a story under its own id (`X-Request-Id`, where
/// that is a UUID), and whatever follows from it goes on in it: events of folds and jobs, and entries of the audit. An event appears once it has its number, a moment after it was
/// committed.
#[utoipa::path(
    get,
    path = "/api/v1/events/chain/{correlation_id}",
    tag = "bus",
    params(("correlation_id" = String, Path, description = "The story's id", max_length = 255, example = "5f0c7f0e-6a54-4d0b-9f2c-6f7a1d2b3c4d")),
    responses((status = 200, description = "The graph", body = CausalityGraph), DataProblems)
)]
pub(crate) async fn story(
    State(state): State<ApiState>,
    caller: Caller,
    Path(correlation_id): Path<String>,
    _: Query<NoParameters>,
) -> Result<Json<CausalityGraph>, Problem> {
    // Postgres keeps no NUL: there can be no such story.
    let is_id = correlation_id.len() <= CORRELATION_ID_MAX_BYTES && !correlation_id.contains('\0');
    let graph = if is_id { Some(read(&state, &caller, &correlation_id).await?) } else { None };
    graph.filter(|graph| !graph.nodes.is_empty()).and_then(shown).map(Json).ok_or_else(|| {
        Problem::new(ProblemKind::NotFound, "no event of this story is known here")
            .with_remedy("an event appears a moment after its commit; the id is the `correlationid` of an event, or of an entry of the audit")
    })
}

async fn read(state: &ApiState, caller: &Caller, correlation_id: &str) -> Result<Causality, RepoError> {
    let mut tx = state.db().tenant_tx(&[caller.tenant_id]).await?;
    let graph = causality(&mut tx, &Sight::Tenants(vec![caller.tenant_id]), correlation_id).await?;
    tx.commit().await?;
    Ok(graph)
}

fn shown(graph: Causality) -> Option<CausalityGraph> {
    let edge =
        |edge: Edge| CausalityEdge { cause: SequenceNumber(edge.cause), effect: SequenceNumber(edge.effect) };
    Some(CausalityGraph {
        correlation_id: graph.correlation_id,
        nodes: graph.nodes.iter().map(StoredEvent::to_cloud_event).collect::<Option<_>>()?,
        edges: graph.edges.into_iter().map(edge).collect(),
        roots: graph.roots.into_iter().map(SequenceNumber).collect(),
        truncated: graph.is_truncated,
    })
}
