//! `GET /readyz`: whether this process can do its work now, and what each part waits for.

use std::path::Path;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use plimsoll_types::api::{
    Chain, ChainReadiness, DatabaseReadiness, Fence, Fold, FoldReadiness, Readiness, Reason, ReasonCode,
    Role, RoleState,
};

use crate::fresh::reason;
use crate::limits::PROBE_TIMEOUT_MS;
use crate::problem::{ProblemKind, kind_of};
use crate::repo::operations::LeaseStanding;
use crate::repo::{RepoError, chains, operations};
use crate::state::ApiState;

/// Whether this process can do its work
///
/// 200 when the database answers with the right schema, every role of this process works or stands by, and every chain and fold keeps up within
/// its limits; else 503. The body names each part, its lag, and why it is not ready. A role stands by while another process holds its
/// lease. The fence of a restored database is told under `database`.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "operations",
    responses((status = 200, description = "Ready", body = Readiness), (status = 503, description = "Not ready: `why` says what it waits for", body = Readiness))
)]
pub(crate) async fn readyz(State(state): State<ApiState>) -> (StatusCode, Json<Readiness>) {
    let limit = Duration::from_millis(PROBE_TIMEOUT_MS);
    let (seen, leases) = tokio::join!(tokio::time::timeout(limit, look(&state)), leases(&state));
    let seen = match seen {
        Ok(Ok(seen)) => seen,
        Ok(Err(error)) => Seen { why: vec![database_reason(&error)], ..Seen::default() },
        Err(_) => {
            let text = format!("the database did not answer within {PROBE_TIMEOUT_MS} ms");
            Seen { why: vec![reason(ReasonCode::DatabaseUnreachable, text)], ..Seen::default() }
        }
    };
    let holder_of = |name: &str| {
        let lease = leases.iter().find(|lease| lease.name == name && lease.is_held());
        lease.map(|lease| lease.holder.as_str())
    };
    let roles = state.roles().seen_from(holder_of);
    let fence = state.options().data_dir.as_deref().and_then(fence);
    let readiness = judge(seen.why, fence, seen.chains, &state.options().chains, roles);
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness))
}

/// [`readyz`] for the public, where an internal listener tells the rest: ready or not, and no more.
pub(crate) async fn in_brief(state: State<ApiState>) -> (StatusCode, Json<Readiness>) {
    let (status, Json(Readiness { ready, database, .. })) = readyz(state).await;
    let database = DatabaseReadiness { ready: database.ready, why: Vec::new(), fence: None };
    (status, Json(Readiness { ready, why: Vec::new(), database, roles: Vec::new(), chains: Vec::new() }))
}

/// What the database says.
#[derive(Default)]
struct Seen {
    why: Vec<Reason>,
    chains: Vec<Chain>,
}

async fn look(state: &ApiState) -> Result<Seen, RepoError> {
    let mut why = Vec::new();
    let (found, known) = (operations::schema_version(state.app()).await?, plimsoll_store::latest_version());
    if found != Some(known) {
        let found = found.map_or_else(|| "none".to_owned(), |found| found.to_string());
        let text = format!("the database has schema version {found}, this version knows {known}");
        why.push(reason(ReasonCode::SchemaMismatch, text));
    }
    let standings = chains::standings(state.app(), None, &state.options().freshness).await?;
    Ok(Seen { why, chains: standings.into_iter().map(|standing| standing.chain).collect() })
}

/// Who holds which lease. It only tells standing by from running, and both are ready: a worker pool that is busy must not make
/// the process unready, so what cannot be read in time is left out.
async fn leases(state: &ApiState) -> Vec<LeaseStanding> {
    let pool = state.operations();
    let limit = Duration::from_millis(PROBE_TIMEOUT_MS);
    match tokio::time::timeout(limit, operations::leases(pool)).await {
        Ok(Ok(leases)) => leases,
        Ok(Err(error)) => {
            tracing::debug!(%error, "the readiness check cannot read the leases");
            Vec::new()
        }
        Err(_) => {
            tracing::debug!(limit_ms = PROBE_TIMEOUT_MS, "the leases were not read in time");
            Vec::new()
        }
    }
}

/// A small file, read at each probe: an operator lifts the fence while this process runs.
fn fence(data_dir: &Path) -> Option<Fence> {
    let (since, backup_made_at, reason) = match plimsoll_store::fence_status(data_dir) {
        Ok(fence) => {
            let fence = fence?;
            (Some(fence.since), Some(fence.backup_made_at), fence.reason)
        }
        Err(error) => (None, None, error.to_string()),
    };
    let remedy =
        "nothing may be sent from this database: look for what the backup forgot, then `plimsoll fence lift`"
            .into();
    Some(Fence { since, backup_made_at, reason, remedy })
}

fn database_reason(error: &RepoError) -> Reason {
    tracing::warn!(%error, "the readiness check cannot read the database");
    match kind_of(error) {
        ProblemKind::SchemaMismatch => reason(
            ReasonCode::SchemaMismatch,
            "a table, column or grant that this version needs is missing".to_owned(),
        ),
        _ => reason(
            ReasonCode::DatabaseUnreachable,
            "the database does not answer: the log has the cause".to_owned(),
        ),
    }
}

/// Pure. `configured`: the chains that count; empty: all.
fn judge(
    database: Vec<Reason>,
    fence: Option<Fence>,
    chains: Vec<Chain>,
    configured: &[u64],
    roles: Vec<Role>,
) -> Readiness {
    let is_readable = database.is_empty();
    let mut seen: Vec<ChainReadiness> = chains
        .into_iter()
        .filter(|chain| configured.is_empty() || configured.contains(&chain.chain_id))
        .map(of_chain)
        .collect();
    for chain_id in configured {
        if is_readable && !seen.iter().any(|chain| chain.chain_id == *chain_id) {
            seen.push(never_followed(*chain_id));
        }
    }
    let mut why = database.clone();
    if is_readable && seen.is_empty() {
        why.push(reason(ReasonCode::ChainNotStarted, "no chain is followed yet".to_owned()));
    }
    why.extend(roles.iter().filter_map(role_reason));
    for chain in &seen {
        why.extend(chain.why.iter().cloned());
        why.extend(chain.folds.iter().flat_map(|fold| fold.why.iter().cloned()));
    }
    Readiness {
        ready: why.is_empty(),
        why,
        database: DatabaseReadiness { ready: is_readable, why: database, fence },
        roles,
        chains: seen,
    }
}

fn role_reason(role: &Role) -> Option<Reason> {
    let state = match role.state {
        RoleState::Running | RoleState::Standby => return None,
        RoleState::Starting => "starting",
        RoleState::Retrying => "failed and will be tried again",
        RoleState::Stopped => "stopped",
    };
    let chain = role.chain_id.map(|chain_id| format!(" of chain {chain_id}")).unwrap_or_default();
    let detail = role.detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default();
    Some(reason(ReasonCode::RoleDown, format!("role {}{chain} is {state}{detail}", role.role)))
}

fn never_followed(chain_id: u64) -> ChainReadiness {
    let why = vec![reason(
        ReasonCode::ChainNotStarted,
        format!("chain {chain_id} is configured, but was never followed"),
    )];
    ChainReadiness {
        chain_id,
        ready: false,
        why,
        state: None,
        head_number: None,
        node_head_number: None,
        lag_blocks: None,
        head_age_seconds: None,
        folds: Vec::new(),
    }
}

fn of_chain(chain: Chain) -> ChainReadiness {
    ChainReadiness {
        chain_id: chain.chain_id,
        ready: chain.why.is_empty(),
        why: chain.why,
        state: Some(chain.state),
        head_number: chain.head.map(|head| head.number),
        node_head_number: chain.node_head.as_ref().map(|head| head.number),
        lag_blocks: chain.lag_blocks,
        head_age_seconds: chain.node_head.and_then(|head| head.age_seconds),
        folds: chain.folds.into_iter().map(of_fold).collect(),
    }
}

fn of_fold(fold: Fold) -> FoldReadiness {
    FoldReadiness {
        fold: fold.fold,
        ready: fold.why.is_empty(),
        why: fold.why,
        state: fold.state,
        lag_blocks: fold.lag_blocks,
        lag_records: fold.lag_records,
        lag_seconds: fold.lag_seconds,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(state: RoleState) -> Role {
        Role { role: "ingest".into(), chain_id: Some(1), state, detail: Some("wrong chain".into()) }
    }

    #[test]
    fn a_role_that_stands_by_is_ready_and_one_that_failed_says_why() {
        assert_eq!(role_reason(&role(RoleState::Standby)), None);
        let reason = role_reason(&role(RoleState::Stopped)).unwrap();
        assert_eq!(reason.text, "role ingest of chain 1 is stopped: wrong chain");
    }

    #[test]
    fn a_configured_chain_that_was_never_followed_is_named() {
        let readiness = judge(Vec::new(), None, Vec::new(), &[7], Vec::new());
        assert!(!readiness.ready);
        assert_eq!(readiness.chains[0].why[0].code, ReasonCode::ChainNotStarted);
    }

    #[test]
    fn an_unreachable_database_is_the_one_reason_and_no_chain_is_blamed() {
        let why = vec![reason(ReasonCode::DatabaseUnreachable, "gone".into())];
        let readiness = judge(why, None, Vec::new(), &[7], vec![role(RoleState::Running)]);
        assert_eq!((readiness.why.len(), readiness.chains.len(), readiness.database.ready), (1, 0, false));
    }
}
