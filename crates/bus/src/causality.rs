//! A story as a graph: which event caused which (spec 4, "event tracing").

use std::collections::{HashMap, HashSet};

use sqlx::PgConnection;
use uuid::Uuid;

use crate::event::StoredEvent;
use crate::keys::Sight;
use crate::repo::events as repo;

/// The most events of one story that a graph shows, the earliest first.
pub const MAX_NODES: usize = 1_000;

/// The events of one story and what caused what among them.
#[derive(Clone, Debug, PartialEq)]
pub struct Causality {
    /// The story.
    pub correlation_id: String,
    /// Its events, in the order of the stream. Each has its number.
    pub nodes: Vec<StoredEvent>,
    /// From each cause to its effect, in the order of the effects.
    pub edges: Vec<Edge>,
    /// The numbers of the events that no event of the graph caused: where the story begins, or a part of it whose cause the reader may not see.
    pub roots: Vec<i64>,
    /// Whether the story has more events than [`MAX_NODES`].
    pub is_truncated: bool,
}

/// What caused what, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    /// The cause.
    pub cause: i64,
    /// The effect.
    pub effect: i64,
}

/// The graph of the story `correlation_id`, as far as it may be seen. A story that nobody has heard of is an empty one.
///
/// # Errors
/// The database's.
pub async fn causality(
    conn: &mut PgConnection,
    sight: &Sight,
    correlation_id: &str,
) -> Result<Causality, sqlx::Error> {
    let limit = i64::try_from(MAX_NODES).unwrap_or(i64::MAX) + 1;
    let mut nodes = repo::story(conn, correlation_id, sight.tenants(), limit).await?;
    let is_truncated = nodes.len() > MAX_NODES;
    nodes.truncate(MAX_NODES);
    let edges = edges(&nodes);
    let caused: HashSet<i64> = edges.iter().map(|edge| edge.effect).collect();
    let roots =
        nodes.iter().filter_map(|node| node.sequence).filter(|number| !caused.contains(number)).collect();
    Ok(Causality { correlation_id: correlation_id.to_owned(), nodes, edges, roots, is_truncated })
}

/// Ids are unique in their tenant only: a cause is looked for in the effect's own tenant, then among the platform's own events.
fn edges(nodes: &[StoredEvent]) -> Vec<Edge> {
    let numbers: HashMap<(Option<Uuid>, &str), i64> =
        nodes.iter().filter_map(|node| Some(((node.tenant_id, &*node.event_id), node.sequence?))).collect();
    let edge = |node: &StoredEvent| {
        let cause_id = node.causation_id.as_deref()?;
        let cause = numbers.get(&(node.tenant_id, cause_id)).or_else(|| numbers.get(&(None, cause_id)))?;
        Some(Edge { cause: *cause, effect: node.sequence? })
    };
    nodes.iter().filter_map(edge).collect()
}
